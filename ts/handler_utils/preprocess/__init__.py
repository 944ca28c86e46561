"""Preprocessing on accelerators."""
