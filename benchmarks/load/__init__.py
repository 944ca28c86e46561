"""Throughput and latency of a whole server, next to the ceiling of its building blocks."""
