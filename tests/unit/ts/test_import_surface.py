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
    "ts.handler_utils": [],
    "ts.handler_utils.distributed": [],
    "ts.handler_utils.distributed.deepspeed": ["create_checkpoints_json", "get_ds_engine"],
    "ts.handler_utils.distributed.pt_pippy": ["get_pipeline_driver", "initialize_rpc_workers"],
    "ts.handler_utils.hf_batch_streamer": ["TextIteratorStreamerBatch"],
    "ts.handler_utils.micro_batching": [
        "HANDLER_METHODS",
        "MicroBatching",
        "WorkerThread",
        "execute_call",
    ],
    "ts.handler_utils.preprocess": [],
    "ts.handler_utils.preprocess.dali": ["get_dali_pipeline"],
    "ts.handler_utils.text_utils": ["get_tokenizer", "ngrams_iterator"],
    "ts.handler_utils.timer": ["timed"],
    "ts.handler_utils.utils": [
        "create_predict_response",
        "import_class",
        "send_intermediate_predict_response",
    ],
    "ts.launcher": ["register_model", "register_model_with_params", "start", "stop"],
    "ts.llm_launcher": [
        "create_mar_file",
        "create_tensorrt_llm_engine",
        "get_model_config",
        "main",
    ],
    "ts.metrics": [
        "dimension",
        "metric",
        "metric_encoder",
        "metrics_store",
        "system_metrics",
        "unit",
    ],
    "ts.metrics.caching_metric": ["CachingMetric"],
    "ts.metrics.dimension": ["Dimension"],
    "ts.metrics.metric": ["Metric"],
    "ts.metrics.metric_abstract": ["MetricAbstract"],
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
    "ts.metrics.metric_collector": ["check_process_mem_usage"],
    "ts.metrics.metric_encoder": ["MetricEncoder"],
    "ts.metrics.metric_type_enum": ["MetricTypes"],
    "ts.metrics.metrics_store": ["MetricsStore"],
    "ts.metrics.process_memory_metric": ["check_process_mem_usage", "get_cpu_usage"],
    "ts.metrics.system_metrics": [
        "collect_all",
        "cpu_utilization",
        "dimension",
        "disk_available",
        "disk_used",
        "disk_utilization",
        "gpu_utilization",
        "memory_available",
        "memory_used",
        "memory_utilization",
        "system_metrics",
    ],
    "ts.metrics.unit": ["Units"],
    "ts.model_loader": ["ModelLoader", "ModelLoaderFactory", "TsModelLoader"],
    "ts.model_service": ["model_service"],
    "ts.model_service.model_service": ["ModelService", "SingleNodeService"],
    "ts.protocol": [],
    "ts.protocol.otf_message_handler": [
        "create_load_model_response",
        "create_predict_response",
        "encode_response_headers",
        "retrieve_msg",
        "send_intermediate_predict_response",
    ],
    "ts.service": ["PREDICTION_METRIC", "PredictionException", "Service", "emit_metrics"],
    "ts.torch_handler": [],
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
    "ts.torch_handler.contractions": ["CONTRACTION_MAP"],
    "ts.torch_handler.dali_handler": ["DALIHandler"],
    "ts.torch_handler.dali_image_classifier": ["DALIImageClassifier"],
    "ts.torch_handler.densenet_handler": ["DenseNetHandler", "list_classes_from_module"],
    "ts.torch_handler.distributed": [],
    "ts.torch_handler.distributed.base_deepspeed_handler": ["BaseDeepSpeedHandler"],
    "ts.torch_handler.distributed.base_pippy_handler": ["BasePippyHandler"],
    "ts.torch_handler.image_classifier": ["ImageClassifier"],
    "ts.torch_handler.image_segmenter": ["ImageSegmenter"],
    "ts.torch_handler.object_detector": ["ObjectDetector"],
    "ts.torch_handler.request_envelope": [],
    "ts.torch_handler.request_envelope.base": ["BaseEnvelope"],
    "ts.torch_handler.request_envelope.body": ["BodyEnvelope"],
    "ts.torch_handler.request_envelope.json": ["JSONEnvelope"],
    "ts.torch_handler.request_envelope.kserve": ["KServeEnvelope"],
    "ts.torch_handler.request_envelope.kservev2": ["KServev2Envelope"],
    "ts.torch_handler.text_classifier": ["TextClassifier"],
    "ts.torch_handler.text_handler": ["TextHandler"],
    "ts.torch_handler.trt_llm_handler": ["TRTLLMHandler"],
    "ts.torch_handler.unit_tests.test_utils.mock_context": ["MockContext"],
    "ts.torch_handler.unit_tests.test_utils.model_dir": ["copy_files", "download_model"],
    "ts.torch_handler.vision_handler": ["VisionHandler"],
    "ts.torch_handler.vllm_handler": ["VLLMHandler"],
    "ts.utils": [],
    "ts.utils.hf_utils": ["download_model"],
    "ts.utils.setup_model_venv": ["create_venv", "inherit_site_packages"],
    "ts.utils.timeit_decorator": ["timeit"],
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
"""Every module and name of TorchServe 0.12's ``ts`` that handlers, tools and tests import."""

BASE_HANDLER = [
    "_infer_with_profiler",
    "_is_describe",
    "_is_explain",
    "_load_pickled_model",
    "_load_torchscript_model",
    "describe_handle",
    "explain_handle",
    "get_device",
    "handle",
    "inference",
    "initialize",
    "postprocess",
    "preprocess",
]
METRIC_METHODS = ["add_counter", "add_error", "add_metric", "add_percent", "add_size", "add_time"]

MEMBERS = {
    "ts.context.Context": [
        "get_all_request_header",
        "get_request_header",
        "get_request_id",
        "get_response_content_type",
        "get_response_headers",
        "get_response_status",
        "get_sequence_id",
        "metrics",
        "request_processor",
        "set_all_response_status",
        "set_response_content_type",
        "set_response_header",
        "set_response_status",
        "system_properties",
    ],
    "ts.context.RequestProcessor": [
        "add_response_property",
        "get_request_properties",
        "get_request_property",
        "get_response_header",
        "get_response_headers",
        "get_response_status_code",
        "get_response_status_phrase",
        "report_status",
    ],
    "ts.handler_utils.micro_batching.MicroBatching": [
        "get_micro_batch_idx",
        "handle",
        "parallelism",
        "shutdown",
    ],
    "ts.handler_utils.hf_batch_streamer.TextIteratorStreamerBatch": ["end", "put"],
    "ts.metrics.metric_cache_yaml_impl.MetricsCacheYamlImpl": [
        *METRIC_METHODS,
        "add_metric_to_cache",
        "cache_keys",
        "get_metric",
        "initialize_cache",
        "set_request_ids",
    ],
    "ts.metrics.metrics_store.MetricsStore": METRIC_METHODS,
    "ts.metrics.caching_metric.CachingMetric": ["add_or_update", "update"],
    "ts.metrics.dimension.Dimension": ["to_dict"],
    "ts.metrics.metric.Metric": ["reset", "to_dict", "update"],
    "ts.model_service.model_service.SingleNodeService": ["handle", "inference", "initialize"],
    "ts.service.Service": ["context", "predict", "retrieve_data_for_inference", "set_cl_socket"],
    "ts.torch_handler.base_handler.BaseHandler": BASE_HANDLER,
    "ts.torch_handler.dali_image_classifier.DALIImageClassifier": [
        *BASE_HANDLER,
        "get_max_result_classes",
        "set_max_result_classes",
    ],
    "ts.torch_handler.image_classifier.ImageClassifier": [
        *BASE_HANDLER,
        "get_insights",
        "get_max_result_classes",
        "image_processing",
        "set_max_result_classes",
        "topk",
    ],
    "ts.torch_handler.object_detector.ObjectDetector": ["image_processing", "threshold"],
    "ts.torch_handler.text_classifier.TextClassifier": [
        *BASE_HANDLER,
        "_expand_contractions",
        "_remove_accented_characters",
        "_remove_html_tags",
        "_remove_punctuation",
        "_remove_puncutation",
        "_tokenize",
        "get_insights",
        "get_source_vocab_path",
        "get_word_token",
        "ngrams",
        "summarize_attributions",
    ],
    "ts.torch_handler.unit_tests.test_utils.mock_context.MockContext": ["get_request_header"],
    "ts.torch_handler.vision_handler.VisionHandler": [*BASE_HANDLER, "get_insights", "ig"],
}


@pytest.mark.parametrize("name", SURFACE)
def test_names_are_where_handlers_look_for_them(name):
    module = importlib.import_module(name)

    assert [each for each in SURFACE[name] if not hasattr(module, each)] == []


@pytest.mark.parametrize("name", MEMBERS)
def test_classes_have_the_members_that_subclasses_use(name):
    module, _, class_name = name.rpartition(".")
    found = getattr(importlib.import_module(module), class_name)
    known = {*dir(found), *getattr(found, "__annotations__", {})}

    # `context` of a service is set by its constructor.
    assert [each for each in MEMBERS[name] if each not in known and each != "context"] == []


def test_no_module_is_missing_in_this_list():
    packages = {name for name in MODULES if name.endswith(("unit_tests", "test_utils"))}

    assert set(MODULES) - packages == set(SURFACE)


@pytest.mark.parametrize("name", MODULES)
def test_everything_a_module_declares_exists(name):
    module = importlib.import_module(name)

    assert [each for each in getattr(module, "__all__", []) if not hasattr(module, each)] == []


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_have_no_logic_of_their_own(path):
    body = ast.parse(path.read_text()).body

    logic = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.If, ast.For, ast.Try)
    found = [ast.unparse(node) for node in body if isinstance(node, logic)]
    # Scripts call the function that they import.
    assert [text for text in found if not text.startswith("if __name__ == '__main__':")] == []


def test_old_streaming_name_warns_and_needs_no_context(monkeypatch):
    module = importlib.import_module("ts.protocol.otf_message_handler")
    streaming = importlib.import_module("tsl.backend.streaming")
    monkeypatch.setattr(streaming, "_current", None)

    with (
        pytest.warns(PendingDeprecationWarning, match="ts.handler_utils.utils"),
        pytest.raises(RuntimeError, match="inside of a worker"),
    ):
        module.send_intermediate_predict_response(["x"], {0: "id"}, "message", 200)
