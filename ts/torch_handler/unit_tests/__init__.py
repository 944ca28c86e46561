"""Tools for tests of handlers."""
