"""Serve a large language model: ``python -m ts.llm_launcher``."""

from tsl.backend.llm_launcher import (
    create_mar_file,
    create_tensorrt_llm_engine,
    get_model_config,
    main,
    run,
)

__all__ = ["create_mar_file", "create_tensorrt_llm_engine", "get_model_config", "main", "run"]

if __name__ == "__main__":
    raise SystemExit(run())
