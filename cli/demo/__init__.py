"""The demo of ``tsl start --demo``: two real models, built from packages of the extra ``demo``."""

from .build import DemoStore, build_demo

__all__ = ["DemoStore", "build_demo"]
