"""Log how long a function takes."""

from tsl.backend.timer import timeit

__all__ = ["timeit"]
