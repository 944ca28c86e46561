"""Serve a large language model with one command: ``python -m ts.llm_launcher``.

Packs a folder whose handler is an engine's, starts a server on it, and waits for Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from tsl.model_store.packing import ArchiveFormat, pack_model
from tsl.model_store.packing_members import PackingOrder
from tsl.protocol.errors import ConfigError, TslError

from . import hf_utils, launching
from .distributed import need

CONFIG_FILE: Final = "model-config.yaml"
DEFAULT_MODEL: Final = "meta-llama/Meta-Llama-3.1-8B-Instruct"


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="ts.llm_launcher", description="Serve a large language model."
    )
    add = parser.add_argument
    add("--model_name", default="model", help="name in the API; default: %(default)s")
    add("--model_store", default="model_store", help="folder for the model; default: %(default)s")
    add("--model_id", default=DEFAULT_MODEL, help="folder or hub name; default: %(default)s")
    add("--disable_token_auth", action="store_true", help="serve without tokens")
    add("--vllm_engine.max_num_seqs", type=int, default=256, help="sequences at a time")
    add("--vllm_engine.max_model_len", type=int, default=None, help="length of the context")
    add("--vllm_engine.download_dir", default=None, help="folder for weights")
    add("--startup_timeout", type=int, default=1200, help="seconds for loading")
    add("--engine", choices=("vllm", "trt_llm"), default="vllm", help="what runs the model")
    add("--dtype", default="bfloat16", help="number format of a TensorRT-LLM engine")
    add("--trt_llm_engine.max_batch_size", type=int, default=4, help="requests at a time")
    add(
        "--trt_llm_engine.kv_cache_free_gpu_memory_fraction",
        type=float,
        default=0.1,
        help="share of free accelerator memory for the cache",
    )
    return parser


def get_model_config(
    args: argparse.Namespace, model_snapshot_path: str | Path | None = None
) -> dict[str, Any]:
    """The model's settings.

    Args:
        args: what `make_parser`'s parser returned.
        model_snapshot_path: folder of the downloaded model; TensorRT-LLM only.
    """
    config: dict[str, Any] = {
        "minWorkers": 1,
        "maxWorkers": 1,
        "batchSize": 1,
        "maxBatchDelay": 100,
        "responseTimeout": 1200,
        "startupTimeout": args.startup_timeout,
        "deviceType": "gpu",
        "asyncCommunication": True,
    }
    options = vars(args)
    if args.engine == "trt_llm":
        fraction = options["trt_llm_engine.kv_cache_free_gpu_memory_fraction"]
        config["handler"] = {
            "tokenizer_dir": str(Path(str(model_snapshot_path)).resolve()),
            "engine_dir": f"{args.model_name}-engine",
            "kv_cache_config": {"free_gpu_memory_fraction": fraction},
        }
        return config
    accelerators = _accelerators()
    folder = options["vllm_engine.download_dir"]
    config["parallelLevel"] = accelerators
    config["handler"] = {
        "model_path": args.model_id,
        "vllm_engine_config": {
            "max_num_seqs": options["vllm_engine.max_num_seqs"],
            "max_model_len": options["vllm_engine.max_model_len"],
            "download_dir": str(Path(folder).resolve()) if folder else None,
            "tensor_parallel_size": accelerators,
        },
    }
    return config


@contextmanager
def create_mar_file(
    args: argparse.Namespace, model_snapshot_path: str | Path | None = None
) -> Iterator[str]:
    """Pack the model's folder; the one for vLLM is removed when the block ends.

    Args:
        args: what `make_parser`'s parser returned.
        model_snapshot_path: see `get_model_config`.

    Yields:
        Path of the folder.

    Raises:
        ConfigError: it cannot be packed.
    """
    store = Path(args.model_store)
    target = store / args.model_name
    if not target.exists():
        config_file = store / CONFIG_FILE
        config_file.write_text(yaml.safe_dump(get_model_config(args, model_snapshot_path)))
        try:
            order = PackingOrder(
                model_name=args.model_name,
                handler=f"{args.engine}_handler",
                model_version="1.0",
                config_file=config_file,
            )
            pack_model(order, store, ArchiveFormat.NO_ARCHIVE)
        finally:
            config_file.unlink()
    try:
        yield str(target)
    finally:
        if args.engine == "vllm":
            shutil.rmtree(target, ignore_errors=True)


def create_tensorrt_llm_engine(
    model_store: str | Path,
    model_name: str,
    dtype: str,
    snapshot_path: str | Path,
    max_batch_size: int,
) -> None:
    """Build a TensorRT-LLM engine into the model's folder, unless it is there.

    Args:
        model_store: the model store.
        model_name: the model's folder in it.
        dtype: number format, such as ``bfloat16``.
        snapshot_path: folder of the downloaded model.
        max_batch_size: requests at a time.

    Raises:
        LoadFailed: tensorrt_llm is not installed.
    """
    engine_dir = Path(model_store, model_name, f"{model_name}-engine")
    if engine_dir.exists():
        return
    what = "Building a TensorRT-LLM engine"
    package = need("tensorrt_llm", what)
    api = package if hasattr(package, "BuildConfig") else need("tensorrt_llm.llmapi", what)
    build = api.BuildConfig(max_batch_size=max_batch_size)
    api.LLM(str(snapshot_path), dtype=dtype, build_config=build).save(str(engine_dir))


def main(args: argparse.Namespace | None = None) -> int:
    """Serve until interrupted.

    Args:
        args: parsed options; default is the command line.

    Returns:
        The exit code.
    """
    if args is None:
        args = make_parser().parse_args()
    Path(args.model_store).mkdir(parents=True, exist_ok=True)
    snapshot = hf_utils.download_model(args.model_id) if args.engine == "trt_llm" else None
    with create_mar_file(args, snapshot):
        if snapshot is not None:
            batch = vars(args)["trt_llm_engine.max_batch_size"]
            create_tensorrt_llm_engine(
                args.model_store, args.model_name, args.dtype, snapshot, batch
            )
        try:
            launching.start(
                model_store=args.model_store,
                no_config_snapshots=True,
                models=args.model_name,
                disable_token=args.disable_token_auth,
            )
            signal.pause()
        except KeyboardInterrupt:
            pass
        finally:
            launching.stop()
    return 0


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; mistakes are one line on the console.

    Args:
        argv: its options; default is ``sys.argv``.

    Returns:
        The exit code.
    """
    parser = make_parser()
    try:
        return main(parser.parse_args(argv))
    except (ConfigError, TslError, ImportError, RuntimeError) as error:
        parser.exit(1, f"{error}\n")


def _accelerators() -> int:
    """Accelerators of this machine, at least 1: the engine itself says when there is none."""
    torch = importlib.import_module("torch")
    return max(int(torch.cuda.device_count()), 1)
