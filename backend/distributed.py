"""Helpers for handlers that split one model over the processes of a group.

Each needs its own library, which is imported when the helper is called. The environment is
torchrun's: ``LOCAL_RANK``, ``WORLD_SIZE`` and so on.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from tsl.protocol.errors import LoadFailed

CHECKPOINT_SUFFIXES: Final = (".bin", ".pt", ".pth")


def need(package: str, what: str, install: str = "") -> ModuleType:
    """Import an optional package.

    Args:
        package: dotted name of a module of it.
        what: who needs it, for the error.
        install: what to give to pip; default is the top-level package.

    Raises:
        LoadFailed: it is not installed, or lacks this module.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        name = package.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != name:
            raise  # it is there, something that it needs is not
        if error.name != name:
            msg = f"{what} needs {error.name}, which the installed version of {name} lacks."
            raise LoadFailed(msg, hint="Install another version.") from error
        msg = f"{what} needs the package {name}, which is not installed."
        raise LoadFailed(msg, hint=f"Run pip install {install or name}.") from error


def group_rank(name: str) -> int:
    """A number that torchrun gives to each process.

    Args:
        name: ``LOCAL_RANK``, ``WORLD_SIZE``, ...

    Raises:
        LoadFailed: this process was not started by torchrun.
    """
    try:
        return int(os.environ[name])
    except (KeyError, ValueError) as error:
        msg = f"{name} is not set: this handler runs in a group of processes."
        hint = "Set parallelType and torchrun: {nproc-per-node: N} in model-config.yaml."
        raise LoadFailed(msg, hint=hint) from error


def initialize_rpc_workers(local_rank: int, world_size: int, ctx: Any) -> None:
    """Connect the processes of a group by torch's RPC.

    Args:
        local_rank: number of this process.
        world_size: number of processes.
        ctx: context; its section ``pippy`` may have ``rpc_timeout`` (seconds, 1800 by default)
            and ``num_worker_threads`` (512 by default).
    """
    rpc = importlib.import_module("torch.distributed.rpc")  # only groups need it
    section = _section(ctx, "pippy")
    options = rpc.TensorPipeRpcBackendOptions(
        num_worker_threads=int(section.get("num_worker_threads", 512)),
        rpc_timeout=float(section.get("rpc_timeout", 1800)),
    )
    _map_devices(options, local_rank, world_size)
    rpc.init_rpc(
        f"worker{local_rank}",
        rank=local_rank,
        world_size=world_size,
        rpc_backend_options=options,
    )


def _map_devices(options: Any, local_rank: int, world_size: int) -> None:
    import torch

    count = torch.cuda.device_count()
    if count == 0:
        return
    options.devices = [torch.device(f"cuda:{local_rank % count}")]
    for other in range(world_size):
        options.set_device_map(f"worker{other}", {local_rank % count: other % count})


def get_pipeline_driver(model: Any, world_size: int, ctx: Any) -> Any:
    """Split a model into a pipeline over the group, with the package pippy.

    Args:
        model: the model; with ``pippy: {model_type: HF}`` one of transformers.
        world_size: number of processes.
        ctx: context; uses ``handler.model_path``, ``handler.index_filename`` and the section
            ``pippy``: ``input_names``, ``model_type``, ``chunks``.

    Returns:
        What to call in place of the model: the pipeline's driver, or, for a model of transformers,
        the model itself, which then runs as a pipeline.

    Raises:
        LoadFailed: pippy is not installed, or a setting or file is missing.
    """
    pippy = need("pippy", "get_pipeline_driver", "torchpippy")
    section, handler = _section(ctx, "pippy"), _section(ctx, "handler")
    for name, settings, key in (
        ("pippy", section, "input_names"),
        ("pippy", section, "model_type"),
        ("handler", handler, "model_path"),
    ):
        if not settings.get(key):
            msg = f"model-config.yaml lacks {name}: {{{key}: ...}}"
            raise LoadFailed(f"{msg}; get_pipeline_driver needs it.")
    index_file = handler.get("index_filename")
    checkpoint = Path(handler["model_path"], index_file) if index_file else None
    if checkpoint is not None and not checkpoint.is_file():
        msg = f"The index file {checkpoint.name} is not in the folder of handler.model_path."
        raise LoadFailed(msg)
    is_hugging_face = section["model_type"] == "HF"
    hugging_face = (
        need("pippy.hf", "get_pipeline_driver", "torchpippy") if is_hugging_face else None
    )
    arguments = _other_arguments(model, section["input_names"])
    if is_hugging_face and "bloom" in str(type(model)):
        arguments.setdefault("deprecated_arguments", {})
    model.eval()
    driver, _ = pippy.all_compile(
        model,
        num_ranks=world_size,
        num_chunks=int(section.get("chunks") or 1),
        schedule="FillDrain",
        split_policy=pippy.split_into_equal_size(world_size),
        tracer=hugging_face.PiPPyHFTracer() if hugging_face is not None else None,
        concrete_args=arguments,
        index_filename=None if checkpoint is None else str(checkpoint),
        checkpoint_prefix=None,
    )
    if hugging_face is None:
        return driver
    hugging_face.inject_pipeline_forward(model, driver)
    return model


def _other_arguments(model: Any, input_names: list[str]) -> dict[str, Any]:
    """Defaults of all arguments of ``forward`` that no request gives."""
    parameters = inspect.signature(model.forward).parameters.values()
    return {each.name: each.default for each in parameters if each.name not in input_names}


def get_ds_engine(model: Any, ctx: Any) -> Any:
    """Split a model over the group with DeepSpeed.

    Args:
        model: the model.
        ctx: context; uses ``handler.model_path`` and the section ``deepspeed``: ``config``, a JSON
            file in the model's folder, and ``checkpoint``, the name of the list of checkpoint
            files, which is written.

    Returns:
        The engine; its ``module`` is the model.

    Raises:
        LoadFailed: deepspeed is not installed, or its configuration is missing.
    """
    deepspeed = need("deepspeed", "get_ds_engine")
    section, handler = _section(ctx, "deepspeed"), _section(ctx, "handler")
    folder = Path(str(ctx.system_properties.get("model_dir")))
    config = folder / str(section.get("config") or "")
    if not section.get("config") or not config.is_file():
        msg = "model-config.yaml lacks deepspeed: {config: FILE}, or the archive lacks that file."
        raise LoadFailed(msg, hint="Add the JSON file with --extra-files.")
    model_path = str(handler.get("model_path") or folder)
    name = section.get("checkpoint")
    checkpoint = folder / str(name) if name else None
    if checkpoint is not None:
        create_checkpoints_json(model_path, checkpoint)
    return deepspeed.init_inference(
        model,
        config=str(config),
        base_dir=model_path,
        checkpoint=None if checkpoint is None else str(checkpoint),
    )


def create_checkpoints_json(
    model_path: str | os.PathLike[str], checkpoints_json: str | os.PathLike[str]
) -> None:
    """Write the list of checkpoint files that DeepSpeed reads.

    Args:
        model_path: folder with the checkpoints; folders in it are searched, too.
        checkpoints_json: file to write.
    """
    files = sorted(
        str(path) for path in Path(model_path).rglob("*") if path.suffix in CHECKPOINT_SUFFIXES
    )
    document = {"type": "ds_model", "checkpoints": files, "version": 1.0}
    Path(checkpoints_json).write_text(json.dumps(document))


def _section(ctx: Any, name: str) -> dict[str, Any]:
    config = getattr(ctx, "model_yaml_config", None) or {}
    section = config.get(name)
    return dict(section) if isinstance(section, dict) else {}
