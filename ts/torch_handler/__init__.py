"""Handlers to use or to subclass; importing one of them imports torch."""
