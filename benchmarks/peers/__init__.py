"""The servers of the comparison: how each is started and asked."""
