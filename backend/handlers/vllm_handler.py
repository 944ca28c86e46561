"""The built-in handler ``vllm_handler``: the API of OpenAI over a vLLM engine.

Runs with ``asyncCommunication: true``: each request is one call, many run at a time, and the
engine batches them. The package vllm is imported when a model is loaded.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tsl.protocol.errors import InvalidInput, LoadFailed

from ..distributed import need
from ..streaming import send_intermediate_predict_response
from ..util import PredictionException
from .base_handler import BaseHandler

if TYPE_CHECKING:
    from ..context import Context

logger = logging.getLogger(__name__)

WHAT: Final = "The vLLM handler"
END_OF_STREAM: Final = "data: [DONE]\n\n"
ROLE: Final = "assistant"


class _Endpoint(NamedTuple):
    """One path of the API.

    Attributes:
        request: pydantic class of its requests.
        answer: coroutine function that answers one.
    """

    request: Any
    answer: Callable[..., Any]


class _Connection:
    """What vLLM's services ask about a client's connection."""

    headers: Final[dict[str, str]] = {}

    def __init__(self, context: Context) -> None:
        self._context = context

    async def is_disconnected(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return bool(self._context.is_cancelled(0))


class VLLMHandler(BaseHandler):
    """Answers ``/predictions/MODEL/VERSION/v1/completions``, ``.../v1/chat/completions``, ``.../v1/models``.

    ``model-config.yaml``::

        asyncCommunication: true
        handler:
          model_path: meta-llama/...      # a folder of the archive, or a name on the hub
          vllm_engine_config: {max_num_seqs: 16}
          adapters: {name: path}
          chat_template: ...

    Attributes:
        vllm_engine: the engine.
    """

    vllm_engine: Any = None
    _endpoints: Mapping[str, _Endpoint] = {}
    _list_models: Any = None
    _error_class: Any = None

    def initialize(self, ctx: Context) -> None:
        """Start the engine and the services of the API.

        Raises:
            LoadFailed: vllm is not installed, or no model is named.
        """
        self.context = ctx
        self.model_yaml_config = ctx.model_yaml_config or {}
        settings = self.model_yaml_config.get("handler") or {}
        vllm = need("vllm", WHAT)
        # A forked engine process would inherit the state of an accelerator.
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
        arguments = _engine_arguments(vllm, settings, str(ctx.system_properties.get("model_dir")))
        self.vllm_engine = vllm.AsyncLLMEngine.from_engine_args(arguments)
        model_config = _loop().run_until_complete(self.vllm_engine.get_model_config())
        self._open_services(arguments, model_config, settings)
        self.initialized = True

    def _open_services(self, arguments: Any, model_config: Any, settings: Any) -> None:
        protocol = need("vllm.entrypoints.openai.protocol", WHAT)
        chat = need("vllm.entrypoints.openai.serving_chat", WHAT).OpenAIServingChat
        completion = need("vllm.entrypoints.openai.serving_completion", WHAT)
        names = arguments.served_model_name or [arguments.model]
        names = [names] if isinstance(names, str) else list(names)
        adapters = settings.get("adapters") or {}
        offered = {
            "engine": self.vllm_engine,
            "engine_client": self.vllm_engine,
            "model_config": model_config,
            "served_model_names": names,
            "response_role": ROLE,
            "prompt_adapters": None,
            "request_logger": None,
            "chat_template": settings.get("chat_template"),
            "chat_template_content_format": "auto",
            "lora_modules": _lora_modules(adapters),
        }
        offered["models"] = _model_list(offered, arguments.model, names)
        chat_service = _call_with(chat, offered)
        completion_service = _call_with(completion.OpenAIServingCompletion, offered)
        self._error_class = protocol.ErrorResponse
        models = offered["models"] or chat_service
        self._list_models = models.show_available_models
        self._endpoints = {
            "v1/completions": _Endpoint(
                protocol.CompletionRequest, completion_service.create_completion
            ),
            "v1/chat/completions": _Endpoint(
                protocol.ChatCompletionRequest, chat_service.create_chat_completion
            ),
        }

    async def handle(self, data: Any, context: Context) -> Any:
        """Answer one request.

        Args:
            data: a batch of one.
            context: its context; the header ``url_path`` names the endpoint.

        Raises:
            PredictionException: there is no such endpoint (404).
            InvalidInput: the body is not a request of that endpoint.
        """
        started = time.perf_counter()
        if len(data) != 1:
            msg = "The vLLM handler answers one request at a time; set batchSize: 1."
            raise ValueError(msg)
        answer = await self._answer(data[0].get("data") or data[0].get("body"), context)
        elapsed_ms = round((time.perf_counter() - started) * 1000, 2)
        if context.metrics is not None:
            context.metrics.add_time("HandlerTime", elapsed_ms, None, "ms")
        return [answer]

    async def _answer(self, body: Any, context: Context) -> Any:
        path = context.get_request_header(0, "url_path") or ""
        if path == "v1/models":
            return (await self._list_models()).model_dump()
        endpoint = self._endpoints.get(path)
        if endpoint is None:
            msg = f"Unknown API endpoint: {path}"
            raise PredictionException(msg, 404)
        request = _parse(endpoint, path, body)
        answer = await endpoint.answer(request, _Connection(context))
        if isinstance(answer, self._error_class) or not request.stream:
            return answer.model_dump()
        piece = ""
        async for piece in answer:
            if piece != END_OF_STREAM:
                ids = context.request_ids or {0: ""}
                send_intermediate_predict_response([piece], ids, "Result", 200, context)
        return piece


def _parse(endpoint: _Endpoint, path: str, body: Any) -> Any:
    """The request that a body holds.

    Raises:
        InvalidInput: it is none of that endpoint.
    """
    try:
        if isinstance(body, str | bytes | bytearray | memoryview):
            text = body if isinstance(body, str) else bytes(body)
            return endpoint.request.model_validate_json(text)
        return endpoint.request.model_validate(body)
    except ValueError as error:
        msg = f"The body is no request for {path}: {error}"
        raise InvalidInput(msg) from error


def _engine_arguments(vllm: ModuleType, settings: Mapping[str, Any], model_dir: str) -> Any:
    config = settings.get("vllm_engine_config") or {}
    model = config.get("model") or settings.get("model_path")
    if not model:
        msg = "model-config.yaml names no model."
        raise LoadFailed(
            msg, hint="Set handler: {model_path: ...} or vllm_engine_config: {model: ...}."
        )
    if not config.get("model"):
        packed = Path(model_dir, model)
        model = str(packed) if packed.exists() else model
    arguments = vllm.AsyncEngineArgs(model=model)
    for name, value in config.items():
        if not hasattr(arguments, name):
            logger.warning("vllm_engine_config: this vLLM has no setting %r; it is ignored", name)
        elif name != "model":
            setattr(arguments, name, value)
    return arguments


def _lora_modules(adapters: Mapping[str, str]) -> list[Any]:
    if not adapters:
        return []
    # The class has moved between versions.
    for place in ("serving_models", "serving_engine"):
        try:
            module = need(f"vllm.entrypoints.openai.{place}", WHAT)
        except LoadFailed:
            continue
        if hasattr(module, "LoRAModulePath"):
            return [module.LoRAModulePath(name, path) for name, path in adapters.items()]
    raise LoadFailed("This version of vLLM cannot be given adapters.")


def _model_list(offered: Mapping[str, Any], model: str, names: list[str]) -> Any:
    """The object that newer versions keep the model's names in; None with older ones."""
    try:
        module = need("vllm.entrypoints.openai.serving_models", WHAT)
    except LoadFailed:
        return None
    paths = [module.BaseModelPath(name=name, model_path=model) for name in names]
    return _call_with(module.OpenAIServingModels, {**offered, "base_model_paths": paths})


def _call_with(target: Any, offered: Mapping[str, Any]) -> Any:
    """Call a class with those of the arguments that this version of it takes."""
    names = inspect.signature(target).parameters
    return target(**{name: value for name, value in offered.items() if name in names})


def _loop() -> asyncio.AbstractEventLoop:
    """The loop that the worker will run the handler in."""
    try:
        return asyncio.get_event_loop_policy().get_event_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        return loop
