"""The handlers of language model engines, over stand-ins of vllm and tensorrt_llm."""

import asyncio
import json
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from optional_packages import block, install

from tsl.backend.context import Context
from tsl.backend.handlers import trt_llm_handler, vllm_handler
from tsl.backend.handlers.trt_llm_handler import TRTLLMHandler
from tsl.backend.handlers.vllm_handler import VLLMHandler
from tsl.backend.metrics import MetricsCache
from tsl.backend.util import PredictionException
from tsl.protocol.errors import InvalidInput, LoadFailed
from tsl.protocol.frames import Row


def make_context(yaml, url_path="", model_dir="/nowhere"):
    context = Context("m", str(model_dir), {}, 1, None, "v", True, None, yaml)
    context.metrics = MetricsCache.from_config("", "m", [].append)
    context.begin_batch([Row("r0", [], ["url_path", url_path], [])], NoLine())
    return context


class NoLine:
    def is_cancelled(self, row):
        return False


@pytest.fixture
def pieces(monkeypatch):
    """What the handlers stream."""
    sent = []

    def send(ret, req_id_map, message, code, context):
        sent.append((ret, req_id_map))

    for module in (trt_llm_handler, vllm_handler):
        monkeypatch.setattr(module, "send_intermediate_predict_response", send)
    return sent


# vLLM.


@dataclass
class EngineArgs:
    model: str
    max_num_seqs: int = 1
    served_model_name: object = None


class Engine:
    def __init__(self, args):
        self.args = args

    @classmethod
    def from_engine_args(cls, args):
        return cls(args)

    async def get_model_config(self):
        return "model config"


class Answer(SimpleNamespace):
    def model_dump(self):
        return vars(self)


class Refusal(Answer):
    pass


class Request:
    def __init__(self, fields):
        if "prompt" not in fields and "messages" not in fields:
            raise ValueError("prompt or messages: field required")
        self.fields = fields
        self.stream = fields.get("stream", False)

    model_validate = classmethod(lambda cls, value: cls(value))
    model_validate_json = classmethod(lambda cls, text: cls(json.loads(text)))


class OldService:
    """Takes what vLLM 0.6 takes."""

    def __init__(
        self, engine, model_config, served_model_names, *, lora_modules, prompt_adapters=None
    ):
        self.made_with = (model_config, served_model_names, lora_modules)

    async def show_available_models(self):
        return Answer(data=self.made_with[1])

    async def create(self, request, connection):
        assert await connection.is_disconnected() is False
        if "refuse" in request.fields:
            return Refusal(code=400, message="no")
        if request.stream:
            return self._pieces()
        return Answer(text="done", **request.fields)

    async def _pieces(self):
        for piece in ("data: a\n\n", "data: b\n\n", "data: [DONE]\n\n"):
            yield piece

    create_completion = create_chat_completion = create


class NewService(OldService):
    """Takes what later versions take."""

    def __init__(self, engine_client, models, *, response_role=None, chat_template=None):
        self.made_with = (models, response_role, chat_template)


class NewModels:
    def __init__(self, engine_client, base_model_paths, lora_modules=None):
        self.made_with = base_model_paths

    async def show_available_models(self):
        return Answer(data=self.made_with)


@pytest.fixture
def vllm(monkeypatch):
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "fork")
    install(monkeypatch, "vllm", AsyncEngineArgs=EngineArgs, AsyncLLMEngine=Engine)
    openai = "vllm.entrypoints.openai"
    install(
        monkeypatch,
        f"{openai}.protocol",
        CompletionRequest=Request,
        ChatCompletionRequest=Request,
        ErrorResponse=Refusal,
    )
    install(monkeypatch, f"{openai}.serving_chat", OpenAIServingChat=OldService)
    install(monkeypatch, f"{openai}.serving_completion", OpenAIServingCompletion=OldService)
    install(monkeypatch, f"{openai}.serving_engine", LoRAModulePath=lambda *pair: pair)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


def vllm_yaml(**handler):
    return {"handler": {"model_path": "org/model", **handler}}


def ask_vllm(loop, url_path, body, yaml=None):
    handler = VLLMHandler()
    context = make_context(yaml or vllm_yaml(), url_path)
    handler.initialize(context)
    return loop.run_until_complete(handler.handle([{"body": body}], context))


def test_the_engine_gets_its_settings(vllm, tmp_path):
    (tmp_path / "weights").mkdir()
    handler = VLLMHandler()

    config = {"max_num_seqs": 7, "unknown": 1}
    yaml = vllm_yaml(model_path="weights", vllm_engine_config=config)
    handler.initialize(make_context(yaml, model_dir=tmp_path))

    assert handler.vllm_engine.args == EngineArgs(str(tmp_path / "weights"), 7)
    assert handler.initialized


@pytest.mark.parametrize("path", ["v1/completions", "v1/chat/completions"])
@pytest.mark.parametrize("body", [{"prompt": "x"}, b'{"prompt": "x"}', '{"prompt": "x"}'])
def test_a_request_is_answered(vllm, path, body):
    assert ask_vllm(vllm, path, body) == [{"text": "done", "prompt": "x"}]


def test_a_stream_ends_with_the_engine_s_last_piece(vllm, pieces):
    answer = ask_vllm(vllm, "v1/completions", {"prompt": "x", "stream": True})

    assert answer == ["data: [DONE]\n\n"]
    assert pieces == [(["data: a\n\n"], {0: "r0"}), (["data: b\n\n"], {0: "r0"})]


def test_models_and_adapters_are_listed(vllm):
    yaml = vllm_yaml(adapters={"a": "path"})

    assert ask_vllm(vllm, "v1/models", b"", yaml) == [{"data": ["org/model"]}]


def test_newer_versions_keep_names_in_an_object(vllm, monkeypatch):
    openai = "vllm.entrypoints.openai"
    install(monkeypatch, f"{openai}.serving_chat", OpenAIServingChat=NewService)
    install(monkeypatch, f"{openai}.serving_completion", OpenAIServingCompletion=NewService)
    install(
        monkeypatch,
        f"{openai}.serving_models",
        BaseModelPath=lambda name, model_path: {name: model_path},
        OpenAIServingModels=NewModels,
    )

    assert ask_vllm(vllm, "v1/models", b"") == [{"data": [{"org/model": "org/model"}]}]
    assert ask_vllm(vllm, "v1/completions", {"prompt": "x"}) == [{"text": "done", "prompt": "x"}]


def test_what_the_engine_refuses_is_passed_on(vllm):
    answer = ask_vllm(vllm, "v1/completions", {"prompt": "x", "refuse": 1, "stream": True})

    assert answer == [{"code": 400, "message": "no"}]


def test_other_paths_are_not_found(vllm):
    with pytest.raises(PredictionException) as caught:
        ask_vllm(vllm, "v1/embeddings", {})

    assert (caught.value.message, caught.value.error_code) == (
        "Unknown API endpoint: v1/embeddings",
        404,
    )


@pytest.mark.parametrize("body", [b"{", {"neither": 1}], ids=["broken", "incomplete"])
def test_a_body_that_is_no_request_is_the_client_s_mistake(vllm, body):
    with pytest.raises(InvalidInput, match="no request for v1/completions"):
        ask_vllm(vllm, "v1/completions", body)


def test_loading_without_a_model_or_without_vllm_says_what_to_do(vllm, monkeypatch):
    with pytest.raises(LoadFailed, match="names no model"):
        VLLMHandler().initialize(make_context({}))

    block(monkeypatch, "vllm")
    with pytest.raises(LoadFailed, match="pip install vllm"):
        VLLMHandler().initialize(make_context(vllm_yaml()))


# TensorRT-LLM.


class Sampling:
    def __init__(self, end_id, pad_id, max_tokens=8):
        self.max_tokens = max_tokens


class TrtEngine:
    def __init__(self, model, tokenizer, kv_cache_config):
        self.model = model
        self.cache = kv_cache_config

    async def generate_async(self, prompt, streaming, sampling_params):
        text = ""
        for number in range(sampling_params.max_tokens):
            text += f"{prompt}{number}"
            if streaming:
                yield output(text, [number])
        if not streaming:
            yield output(text, [number])


def output(text, tokens):
    return SimpleNamespace(outputs=[SimpleNamespace(text=text, token_ids=tokens)])


class Tokenizer:
    pad_token_id = None
    eos_token_id = 2

    @classmethod
    def from_pretrained(cls, folder, **options):
        return cls()

    def decode(self, tokens):
        return f"<{tokens[0]}>"


@pytest.fixture(params=["tensorrt_llm", "tensorrt_llm.hlapi"])
def tensorrt(request, monkeypatch):
    names = {"LLM": TrtEngine, "KvCacheConfig": dict, "SamplingParams": Sampling}
    install(monkeypatch, request.param, **names)
    install(monkeypatch, "transformers", AutoTokenizer=Tokenizer)


TRT_YAML = {
    "handler": {"engine_dir": "engine", "tokenizer_dir": "tok", "kv_cache_config": {"a": 1}}
}


def ask_trt(body, yaml=TRT_YAML):
    handler = TRTLLMHandler()
    context = make_context(yaml)
    handler.initialize(context)
    assert handler.trt_llm_engine.cache == {"a": 1}
    assert handler.tokenizer.pad_token_id == 2
    return asyncio.run(handler.handle([{"body": body}], context))


@pytest.mark.parametrize(
    "body", [{"prompt": "p", "max_tokens": 2}, b'{"prompt":"p","max_tokens":2}']
)
def test_text_is_generated(tensorrt, body):
    assert ask_trt(body) == ["p0p1"]


def test_tokens_are_streamed(tensorrt, pieces):
    assert ask_trt({"prompt": "p", "max_tokens": 2, "streaming": True}) == [""]
    assert [json.loads(ret[0]) for ret, _ in pieces] == [{"text": "<0>"}, {"text": "<1>"}]


@pytest.mark.parametrize("body", [b"{", [], {"prompt": 1}, {"prompt": "p", "odd": 1}], ids=repr)
def test_a_wrong_prompt_is_the_client_s_mistake(tensorrt, body):
    with pytest.raises(InvalidInput):
        ask_trt(body)


def test_loading_says_what_is_missing(tensorrt, monkeypatch):
    with pytest.raises(LoadFailed, match="tokenizer_dir"):
        ask_trt({}, {"handler": {"engine_dir": "e"}})

    block(monkeypatch, "tensorrt_llm")
    with pytest.raises(LoadFailed, match="pip install tensorrt_llm"):
        ask_trt({})
