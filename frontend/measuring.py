"""Build what measures, from the configuration."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Collection, Iterable

from .config import ServerConfig
from .logs import fields as logs
from .logs.line_log import LineWriter
from .logs.settings import LogSettings
from .metrics.board import Board
from .metrics.definitions import load_definitions
from .metrics.gpus import GpuReader
from .metrics.handler_metrics import HandlerMetrics
from .metrics.own import OwnMetrics, StateMetrics
from .metrics.server_stats import ServerStats
from .metrics.system import TORCHSERVE_COMMAND, BuiltIn, Command, Measure, SystemMetrics
from .registry import ModelRegistry


class Measuring:
    """The parts that measure, and where their values go.

    Args:
        config: the server's configuration.
        log_settings: how logs are written.
        lines: writes them.
        registry: what is served.
        connections: live client connections.
    """

    def __init__(
        self,
        config: ServerConfig,
        log_settings: LogSettings,
        lines: LineWriter,
        registry: ModelRegistry,
        connections: Collection[object],
    ) -> None:
        self._config = config
        self._registry = registry
        definitions = load_definitions(config.metrics_config)
        is_json = log_settings.is_json
        # Both files exist in every mode, as with TorchServe.
        ts_log = log_settings.open_lines(logs.TS_METRICS, lines)
        model_log = log_settings.open_lines(logs.MODEL_METRICS, lines)
        self.board = Board(
            definitions, config.metrics_mode, ts_log.add if ts_log else None, is_json=is_json
        )
        own = OwnMetrics() if self.board.mode == "prometheus" else None
        self.handlers = HandlerMetrics(
            self.board,
            definitions.model,
            model_log.add if model_log else None,
            auto_detect=config.model_metrics_auto_detect,
            own=own,
            is_json=is_json,
        )
        self.stats = ServerStats(self.board, own)
        if own is not None:
            state = StateMetrics(registry, lambda: len(connections), lambda: lines.dropped)
            self.board.also(own.collect)
            self.board.also(state.collect)
        has_model_metrics = definitions.is_usable and bool(definitions.model)
        self.worker_config = (
            config if has_model_metrics else dataclasses.replace(config, metrics_config=None)
        )
        """The configuration for workers: a file they could not use is kept from them."""

    def system(self, gpus: int) -> SystemMetrics | None:
        """What measures the machine; None when that is off.

        Args:
            gpus: accelerators to look at.
        """
        config = self._config
        if config.disable_system_metrics:
            return None
        words = shlex.split(config.system_metrics_cmd)
        measure: Measure = BuiltIn(GpuReader(gpus))
        if words and words[0] != TORCHSERVE_COMMAND:
            measure = Command(words, config.model_server_home, self._worker_pids)
        return SystemMetrics(self.board, config.metric_time_interval_s, measure)

    def _worker_pids(self) -> Iterable[int]:
        workers = (worker for served in self._registry for worker in served.pool.workers)
        return [worker.pid for worker in workers if worker.pid > 0]
