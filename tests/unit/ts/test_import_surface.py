"""Every module of ``ts`` offers its names, and nothing but names."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import ts

ROOT = Path(ts.__file__).parent
MODULES = sorted(
    ".".join(("ts", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
)

SURFACE = {
    "ts": ["__version__"],
    "ts.version": ["__version__"],
    "ts.context": ["Context", "RequestProcessor"],
    "ts.handler_utils.micro_batching": ["MicroBatching", "HANDLER_METHODS", "WorkerThread"],
    "ts.handler_utils.text_utils": ["get_tokenizer", "ngrams_iterator"],
    "ts.handler_utils.timer": ["timed"],
    "ts.handler_utils.utils": ["send_intermediate_predict_response", "import_class"],
    "ts.metrics.caching_metric": ["CachingMetric"],
    "ts.metrics.dimension": ["Dimension"],
    "ts.metrics.metric": ["Metric"],
    "ts.metrics.metric_cache_abstract": ["MetricCacheAbstract"],
    "ts.metrics.metric_cache_errors": [
        "GeneralMetricsCacheError",
        "MetricsCacheIOError",
        "MetricsCacheKeyError",
        "MetricsCachePyYamlError",
        "MetricsCacheTypeError",
        "MetricsCacheValueError",
    ],
    "ts.metrics.metric_cache_yaml_impl": ["MetricsCacheYamlImpl"],
    "ts.metrics.metric_encoder": ["MetricEncoder"],
    "ts.metrics.metric_type_enum": ["MetricTypes"],
    "ts.metrics.metrics_store": ["MetricsStore"],
    "ts.metrics.process_memory_metric": ["check_process_mem_usage"],
    "ts.metrics.unit": ["Units"],
    "ts.model_loader": ["ModelLoaderFactory"],
    "ts.protocol.otf_message_handler": ["send_intermediate_predict_response"],
    "ts.service": ["PREDICTION_METRIC", "PredictionException", "Service", "emit_metrics"],
    "ts.torch_handler.base_handler": [
        "BaseHandler",
        "IPEX_AVAILABLE",
        "ONNX_AVAILABLE",
        "PROFILER_AVAILABLE",
        "PT230_AVAILABLE",
        "PT2_AVAILABLE",
        "XLA_AVAILABLE",
        "setup_ort_session",
    ],
    "ts.torch_handler.densenet_handler": ["DenseNetHandler", "list_classes_from_module"],
    "ts.torch_handler.image_classifier": ["ImageClassifier"],
    "ts.torch_handler.image_segmenter": ["ImageSegmenter"],
    "ts.torch_handler.object_detector": ["ObjectDetector"],
    "ts.torch_handler.request_envelope.base": ["BaseEnvelope"],
    "ts.torch_handler.request_envelope.body": ["BodyEnvelope"],
    "ts.torch_handler.request_envelope.json": ["JSONEnvelope"],
    "ts.torch_handler.request_envelope.kserve": ["KServeEnvelope"],
    "ts.torch_handler.request_envelope.kservev2": ["KServev2Envelope"],
    "ts.torch_handler.text_classifier": ["TextClassifier"],
    "ts.torch_handler.text_handler": ["TextHandler"],
    "ts.torch_handler.unit_tests.test_utils.mock_context": ["MockContext"],
    "ts.torch_handler.vision_handler": ["VisionHandler"],
    "ts.utils.util": [
        "CLEANUP_REGEX",
        "PT2Backend",
        "PredictionException",
        "check_valid_pt2_backend",
        "deprecated",
        "get_yaml_config",
        "list_classes_from_module",
        "load_label_mapping",
        "map_class_to_label",
    ],
}


@pytest.mark.parametrize("name", SURFACE)
def test_names_are_where_handlers_look_for_them(name):
    module = importlib.import_module(name)

    assert [each for each in SURFACE[name] if not hasattr(module, each)] == []


@pytest.mark.parametrize("name", MODULES)
def test_everything_a_module_declares_exists(name):
    module = importlib.import_module(name)

    assert [each for each in getattr(module, "__all__", []) if not hasattr(module, each)] == []


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_have_no_logic_of_their_own(path):
    body = ast.parse(path.read_text()).body

    logic = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.If, ast.For, ast.Try)
    assert not [node for node in body if isinstance(node, logic)]


def test_old_streaming_name_warns_and_needs_no_context(monkeypatch):
    module = importlib.import_module("ts.protocol.otf_message_handler")
    streaming = importlib.import_module("tsl.backend.streaming")
    monkeypatch.setattr(streaming, "_current", None)

    with (
        pytest.warns(PendingDeprecationWarning, match="ts.handler_utils.utils"),
        pytest.raises(RuntimeError, match="inside of a worker"),
    ):
        module.send_intermediate_predict_response(["x"], {0: "id"}, "message", 200)
