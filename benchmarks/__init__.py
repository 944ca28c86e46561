"""Measurements of tsl; see README.md in this folder. Run from the checkout, as modules."""
