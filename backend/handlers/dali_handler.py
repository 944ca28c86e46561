"""Image handlers that decode and scale on the accelerator, with NVIDIA DALI."""

from __future__ import annotations

from abc import ABC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from tsl.protocol.errors import InvalidInput, LoadFailed

from ..distributed import need
from .vision_handler import VisionHandler

if TYPE_CHECKING:
    from ..context import Context

IMAGENET_MEAN: Final = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD: Final = (0.229 * 255, 0.224 * 255, 0.225 * 255)
SETTINGS: Final = ("batch_size", "num_threads", "device_id", "seed")


def get_dali_pipeline(ctx: Any) -> Any:
    """Build the pipeline that a model's settings describe.

    Args:
        ctx: context; its section ``dali`` has ``batch_size``, ``num_threads``, ``device_id``,
            ``seed`` and perhaps ``pipeline_file``, a serialized pipeline in the model's folder.
            Without one, images are decoded, scaled to 256 on the short side, cropped to 224 and
            normalized as networks for ImageNet expect.

    Raises:
        LoadFailed: DALI is not installed, or a setting or the file is missing.
    """
    section = (getattr(ctx, "model_yaml_config", None) or {}).get("dali")
    missing = [name for name in SETTINGS if name not in (section or {})]
    if not section or missing:
        msg = f"model-config.yaml lacks dali: {{{', '.join(missing)}}}"
        raise LoadFailed(f"{msg}; the DALI handlers need it.")
    dali = need("nvidia.dali", "The DALI handler", "nvidia-dali-cuda120")
    settings = {name: section[name] for name in SETTINGS}
    name = section.get("pipeline_file")
    if not name:
        return _default_pipeline(dali, settings)
    path = Path(str(ctx.system_properties.get("model_dir")), str(name))
    if not path.is_file():
        msg = f"The pipeline file {path.name} is missing in the archive."
        raise LoadFailed(msg, hint="Add it with --extra-files.")
    pipeline = need("nvidia.dali.pipeline", "The DALI handler").Pipeline
    return pipeline.deserialize(filename=str(path), prefetch_queue_depth=1, **settings)


def _default_pipeline(dali: Any, settings: dict[str, Any]) -> Any:
    fn = need("nvidia.dali.fn", "The DALI handler")
    types = need("nvidia.dali.types", "The DALI handler")

    def images() -> Any:
        jpegs = fn.external_source(dtype=types.UINT8, name="source", ndim=1)
        decoded = fn.decoders.image(jpegs, device="mixed", output_type=types.RGB)
        scaled = fn.resize(
            decoded,
            size=[256, 256],
            mode="not_smaller",
            interp_type=types.INTERP_LINEAR,
            antialias=True,
        )
        return fn.crop_mirror_normalize(
            scaled,
            crop=(224, 224),
            dtype=types.FLOAT,
            output_layout="CHW",
            mean=list(IMAGENET_MEAN),
            std=list(IMAGENET_STD),
        )

    pipeline = dali.pipeline_def(images)(prefetch_queue_depth=1, **settings)
    pipeline.build()
    return pipeline


class DALIHandler(VisionHandler, ABC):
    """Decodes images with DALI; explains like `VisionHandler`.

    Attributes:
        pipeline: the DALI pipeline.
    """

    pipeline: Any = None

    def initialize(self, context: Context) -> None:
        """Load the model and build the pipeline.

        Raises:
            LoadFailed: DALI is not installed, or its settings are incomplete.
        """
        super().initialize(context)
        self.pipeline = get_dali_pipeline(context)

    def preprocess(self, data: Any) -> torch.Tensor:
        """Decode the rows into one tensor.

        Args:
            data: rows whose ``data`` or ``body`` is an image file.

        Returns:
            Shape (rows, ...), on the device.

        Raises:
            InvalidInput: a row has no image.
        """
        import numpy as np  # comes with DALI

        files = []
        for row in data:
            value = row.get("data") or row.get("body")
            if not isinstance(value, bytes | bytearray | memoryview):
                raise InvalidInput("The request body is not an image file.")
            files.append(np.frombuffer(value, dtype=np.uint8))
        output = self.pipeline.run(source=files)[0]
        rows = [torch.tensor(output.at(index)) for index in range(len(output))]
        return torch.stack(rows).to(self.device)
