"""`MockContext`: handlers run under it without a server."""

from __future__ import annotations

from tsl.backend.handlers.base_handler import BaseHandler
from tsl.backend.mock_context import MockContext


class Length(BaseHandler):
    def preprocess(self, data):
        return data

    def inference(self, data, *args, **kwargs):
        return data

    def postprocess(self, data):
        return [len(row) for row in data]


def test_handler_initializes_and_answers(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mock_model.py").write_text("import torch\nclass M(torch.nn.Module): ...")
    (tmp_path / "config.yaml").write_text("handler: {profile: true}")
    context = MockContext(
        model_pt_file=None,
        model_dir=tmp_path,
        model_file="mock_model.py",
        model_yaml_config_file="config.yaml",
    )
    handler = Length()

    handler.initialize(context)

    assert handler.handle(["abc"], context) == [3]
    assert [metric.name for metric in context.metrics.store] == ["HandlerTime"]
    assert context.model_yaml_config == {"handler": {"profile": True}}


def test_explanation_is_asked_for_in_later_rows_only():
    context = MockContext()
    context.explain = True

    asked = [context.get_request_header(idx, "explain") for idx in (0, 1)]

    assert asked == [False, True]
    assert not context.get_request_header(1, "describe")
