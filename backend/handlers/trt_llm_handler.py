"""The built-in handler ``trt_llm_handler``: generates text with a TensorRT-LLM engine.

Runs with ``asyncCommunication: true``. The packages tensorrt_llm and transformers are imported
when a model is loaded.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from tsl.protocol.errors import InvalidInput, LoadFailed

from ..distributed import need
from ..streaming import send_intermediate_predict_response
from .base_handler import BaseHandler

if TYPE_CHECKING:
    from ..context import Context

WHAT: Final = "The TensorRT-LLM handler"


class TRTLLMHandler(BaseHandler):
    """Answers ``{"prompt": ..., "streaming": false, ...}``; further members are sampling parameters.

    ``model-config.yaml``::

        asyncCommunication: true
        handler:
          engine_dir: ...
          tokenizer_dir: ...
          kv_cache_config: {free_gpu_memory_fraction: 0.1}

    Attributes:
        tokenizer: the model's tokenizer.
        trt_llm_engine: the engine.
    """

    tokenizer: Any = None
    trt_llm_engine: Any = None
    _sampling_params: Any = None

    def initialize(self, ctx: Context) -> None:
        """Load tokenizer and engine.

        Raises:
            LoadFailed: a package is not installed, or a setting is missing.
        """
        self.context = ctx
        self.model_yaml_config = ctx.model_yaml_config or {}
        settings = self.model_yaml_config.get("handler") or {}
        for name in ("engine_dir", "tokenizer_dir"):
            if not settings.get(name):
                msg = f"model-config.yaml lacks handler: {{{name}: ...}}"
                raise LoadFailed(f"{msg}; the TensorRT-LLM handler needs it.")
        engine = _engine_module()
        transformers = need("transformers", WHAT)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(
            settings["tokenizer_dir"],
            legacy=False,
            padding_side="left",
            truncation_side="left",
            trust_remote_code=True,
            use_fast=True,
        )
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token_id = self.tokenizer.eos_token_id
        packed = Path(str(ctx.system_properties.get("model_dir")), settings["engine_dir"])
        self.trt_llm_engine = engine.LLM(
            model=str(packed) if packed.exists() else settings["engine_dir"],
            tokenizer=self.tokenizer,
            kv_cache_config=engine.KvCacheConfig(**(settings.get("kv_cache_config") or {})),
        )
        self._sampling_params = engine.SamplingParams
        self.initialized = True

    async def handle(self, data: Any, context: Context) -> Any:
        """Answer one request.

        Args:
            data: a batch of one.
            context: its context.

        Returns:
            The text; when it is streamed, each token was sent before as ``{"text": ...}``, and
            the result is empty.

        Raises:
            InvalidInput: the body is not a JSON object with a prompt.
        """
        started = time.perf_counter()
        if len(data) != 1:
            msg = "The TensorRT-LLM handler answers one request at a time; set batchSize: 1."
            raise ValueError(msg)
        order = _parse(data[0].get("data") or data[0].get("body"))
        answer = await self._generate(order, context)
        elapsed_ms = round((time.perf_counter() - started) * 1000, 2)
        if context.metrics is not None:
            context.metrics.add_time("HandlerTime", elapsed_ms, None, "ms")
        return [answer]

    async def _generate(self, order: dict[str, Any], context: Context) -> str:
        prompt, is_streaming = order.pop("prompt"), order.pop("streaming", False)
        ids = {"end_id": self.tokenizer.eos_token_id, "pad_id": self.tokenizer.pad_token_id}
        try:
            parameters = self._sampling_params(**{**ids, **order})
        except (TypeError, ValueError) as error:
            msg = f"A sampling parameter cannot be used: {error}"
            raise InvalidInput(msg) from error
        outputs = self.trt_llm_engine.generate_async(
            prompt, streaming=is_streaming, sampling_params=parameters
        )
        async for output in outputs:
            first = output.outputs[0]
            if not is_streaming:
                return str(first.text)
            piece = json.dumps({"text": self.tokenizer.decode([first.token_ids[-1]])})
            request_ids = context.request_ids or {0: ""}
            send_intermediate_predict_response([piece], request_ids, "Result", 200, context)
        return ""


def _engine_module() -> ModuleType:
    """The module with the engine's classes; it has moved between versions."""
    package = need("tensorrt_llm", WHAT)
    names = ("LLM", "KvCacheConfig", "SamplingParams")
    if all(hasattr(package, name) for name in names):
        return package
    for place in ("llmapi", "hlapi"):
        try:
            return need(f"tensorrt_llm.{place}", WHAT)
        except LoadFailed:
            continue
    raise LoadFailed("This version of tensorrt_llm has no LLM interface.")


def _parse(body: Any) -> dict[str, Any]:
    if isinstance(body, bytes | bytearray | memoryview | str):
        try:
            body = json.loads(bytes(body, "utf-8") if isinstance(body, str) else bytes(body))
        except ValueError as error:
            msg = 'The body must be JSON, such as {"prompt": "..."}.'
            raise InvalidInput(msg) from error
    if not isinstance(body, dict) or not isinstance(body.get("prompt"), str):
        msg = 'The body must be a JSON object with a text "prompt".'
        raise InvalidInput(msg)
    return dict(body)
