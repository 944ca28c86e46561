"""The front end: one event loop that speaks HTTP, forms batches, and keeps workers alive."""
