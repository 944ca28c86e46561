"""Python packages that models bring their own list of."""
