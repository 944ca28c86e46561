"""Base classes for models that are split over a group of processes."""
