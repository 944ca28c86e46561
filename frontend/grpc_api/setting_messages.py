"""Log and trace settings as messages of the Open Inference Protocol's service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .protos import open_inference_pb2 as pb


def log_values(request: pb.LogSettingsRequest) -> dict[str, Any]:
    """What a request wants; None for a setting without a value."""
    values: dict[str, Any] = {}
    for name, setting in request.settings.items():
        choice = setting.WhichOneof("parameter_choice")
        values[name] = None if choice is None else getattr(setting, choice)
    return values


def log_response(settings: Mapping[str, Any]) -> pb.LogSettingsResponse:
    """All settings."""
    response = pb.LogSettingsResponse()
    for name, value in settings.items():
        if isinstance(value, bool):
            response.settings[name].bool_param = value
        elif isinstance(value, int):
            response.settings[name].uint32_param = value
        else:
            response.settings[name].string_param = value
    return response


def trace_response(settings: Mapping[str, Sequence[str]]) -> pb.TraceSettingResponse:
    """All settings."""
    response = pb.TraceSettingResponse()
    for name, values in settings.items():
        response.settings[name].value.extend(values)
    return response
