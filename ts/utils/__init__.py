"""Small functions for handlers."""
