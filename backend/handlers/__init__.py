"""Built-in handlers, one class per module; importing one of them imports torch."""
