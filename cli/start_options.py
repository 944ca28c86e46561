"""The command line of ``tsl start``, as it was typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .options import join_models, split_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """The command line of ``tsl start``, one attribute per option."""

    model_store: Path | None
    models: tuple[str, ...]
    workflow_store: Path | None
    inference_address: str | None
    management_address: str | None
    metrics_address: str | None
    ts_config: Path | None
    log_config: Path | None
    foreground: bool
    no_config_snapshots: bool
    enable_model_api: bool
    disable_token_auth: bool
    demo: bool
    settings: tuple[str, ...]
    curl_lines: tuple[str, ...]
    report_fd: int | None
    no_console_log: bool

    def overrides(self) -> dict[str, Any]:
        """The options that are settings, by property name."""
        given: dict[str, Any] = {
            "model_store": self.model_store,
            "workflow_store": self.workflow_store,
            "load_models": join_models(self.models) or None,
            "inference_address": self.inference_address,
            "management_address": self.management_address,
            "metrics_address": self.metrics_address,
            # These two can only be switched on here, as in TorchServe.
            "enable_model_api": self.enable_model_api or None,
            "disable_token_authorization": self.disable_token_auth or None,
            "config_snapshots": False if self.no_config_snapshots else None,
        }
        named = {key: value for key, value in given.items() if value is not None}
        return {**split_settings(self.settings), **named}

    def words(self) -> list[str]:
        """A command line with the same meaning, to run the server in the foreground."""
        valued: dict[str, object] = {
            "--model-store": self.model_store,
            "--workflow-store": self.workflow_store,
            "--inference-address": self.inference_address,
            "--management-address": self.management_address,
            "--metrics-address": self.metrics_address,
            "--ts-config": self.ts_config,
            "--log-config": self.log_config,
            "--models": join_models(self.models) or None,
        }
        switched = {
            "--no-config-snapshots": self.no_config_snapshots,
            "--enable-model-api": self.enable_model_api,
            "--disable-token-auth": self.disable_token_auth,
        }
        return [
            "start",
            "--foreground",
            *(f"{name}={value}" for name, value in valued.items() if value is not None),
            *(f"--set={setting}" for setting in self.settings),
            *(f"--curl-line={line}" for line in self.curl_lines),
            *(name for name, is_on in switched.items() if is_on),
        ]
