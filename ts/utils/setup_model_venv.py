"""Make a virtual environment for a model."""

from tsl.backend.model_venv import create_venv, inherit_site_packages, main

__all__ = ["create_venv", "inherit_site_packages", "main"]

if __name__ == "__main__":
    raise SystemExit(main())
