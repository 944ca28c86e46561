"""The whole server configuration as one frozen value.

Merged and validated once by `ServerConfig.load`, which is pure: the text of the file, the
environment and the command line's values come in as arguments; config_merge.py says which of
them counts, config_fields.py how text becomes a value. After that nobody reads ``os.environ``;
classes take the single values they need. Finding and reading the file is config_source.py's part.

The reference page, docs/configuration.md, is generated from the fields below.
"""

# ruff: noqa: RUF009  (`setting` makes a dataclass field; it is not a shared default value)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tsl.model_store import BATCH_POLICIES, Snapshot

from .addresses import Address
from .config_fields import (
    InitialModels,
    Setting,
    address,
    boolean,
    choice,
    initial_models,
    key_text,
    minutes_or_default,
    model_options,
    model_snapshot,
    optional_choice,
    optional_path,
    optional_route,
    optional_whole_number,
    pattern_list,
    seconds,
    setting,
    settings_of,
    temporary_dir,
    text,
    whole_number,
)
from .config_merge import FROM_COMMAND_LINE, merge
from .config_workers import WorkerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig(WorkerConfig):
    """Every setting of a server.

    Sizes are bytes and times seconds where the name does not say otherwise. A field's name is
    its property name, with the unit added where the property has none.

    Attributes:
        file: the properties file; for a snapshot the one that the snapshot was made with.
        snapshot_file: the snapshot that was found and took the place of the file.
        texts: values that are not at their default, as a properties file has them, by property.
        sources: where the value of each property comes from: ``default``, ``file``,
            ``command line`` or ``environment``.
        ignored: properties of the file that only the Java server has a use for.
        warnings: sentences about properties that are unknown or had to be left at their default.
    """

    # -- listeners
    inference_address: Address = setting(
        "inference_address",
        address(80, 443),
        "http://127.0.0.1:8080",
        "Where the inference API listens: `http://host[:port]`, `https://host[:port]` or `unix:/path`.",
    )
    management_address: Address = setting(
        "management_address",
        address(8081, 8444),
        "http://127.0.0.1:8081",
        "Where the management API listens; it may be the inference address.",
    )
    metrics_address: Address = setting(
        "metrics_address",
        address(8082, 8445),
        "http://127.0.0.1:8082",
        "Where the metrics API listens.",
    )
    enable_metrics_api: bool = setting(
        "enable_metrics_api", boolean, "true", "Open the metrics listener."
    )
    enable_grpc: bool = setting(
        "enable_grpc", boolean, "true", "Whether the gRPC APIs are served.", own=True
    )
    grpc_inference_address: str = setting(
        "grpc_inference_address", text, "127.0.0.1", "Host of the gRPC inference API."
    )
    grpc_inference_port: int = setting(
        "grpc_inference_port", whole_number(0, 65535), "7070", "Port of the gRPC inference API."
    )
    grpc_management_address: str = setting(
        "grpc_management_address", text, "127.0.0.1", "Host of the gRPC management API."
    )
    grpc_management_port: int = setting(
        "grpc_management_port", whole_number(0, 65535), "7071", "Port of the gRPC management API."
    )
    grpc_inference_max_connection_age_ms: int | None = setting(
        "grpc_inference_max_connection_age_ms",
        optional_whole_number(1),
        "",
        "Longest life of a gRPC inference connection, in milliseconds.",
    )
    grpc_inference_max_connection_age_grace_ms: int | None = setting(
        "grpc_inference_max_connection_age_grace_ms",
        optional_whole_number(0),
        "",
        "Time for running calls after that, in milliseconds.",
    )
    grpc_management_max_connection_age_ms: int | None = setting(
        "grpc_management_max_connection_age_ms",
        optional_whole_number(1),
        "",
        "Longest life of a gRPC management connection, in milliseconds.",
    )
    grpc_management_max_connection_age_grace_ms: int | None = setting(
        "grpc_management_max_connection_age_grace_ms",
        optional_whole_number(0),
        "",
        "Time for running calls after that, in milliseconds.",
    )
    cors_allowed_origin: str = setting(
        "cors_allowed_origin", text, "", "Value of `access-control-allow-origin`; empty for none."
    )
    cors_allowed_methods: str = setting(
        "cors_allowed_methods", text, "", "Value of `access-control-allow-methods`."
    )
    cors_allowed_headers: str = setting(
        "cors_allowed_headers", text, "", "Value of `access-control-allow-headers`."
    )

    # -- encryption
    enable_grpc_ssl: bool = setting(
        "enable_grpc_ssl",
        boolean,
        "false",
        "Encrypt gRPC; needs `certificate_file` and `private_key_file`.",
    )
    keystore: Path | None = setting(
        "keystore", optional_path, "", "Key store; beats `private_key_file` and `certificate_file`."
    )
    keystore_pass: str = setting(
        "keystore_pass", text, "changeit", "Password of the key store.", secret=True
    )
    keystore_type: str = setting("keystore_type", text, "PKCS12", "Format of the key store.")
    private_key_file: Path | None = setting(
        "private_key_file", optional_path, "", "Private key, PEM (PKCS#8 or PKCS#1)."
    )
    certificate_file: Path | None = setting(
        "certificate_file", optional_path, "", "X.509 certificate chain, PEM."
    )

    # -- models
    model_store: Path | None = setting(
        "model_store", optional_path, "", "Folder with the model archives; required to start."
    )
    workflow_store: Path | None = setting(
        "workflow_store",
        optional_path,
        "",
        "Folder with the workflow archives; the model store if not given.",
    )
    load_models: InitialModels = setting(
        "load_models",
        initial_models,
        "",
        "Models to load at start: `all`, or a comma-separated list of `archive` and `name=archive`.",
    )
    models: Mapping[str, Mapping[str, Mapping[str, Any]]] = setting(
        "models",
        model_options,
        "",
        "JSON with options per model and version, used for models loaded at start.",
        env=False,
    )
    model_snapshot: Snapshot | None = setting(
        "model_snapshot",
        model_snapshot,
        "",
        "JSON with the models to restore; `load_models` is not used then.",
        env=False,
    )
    default_workers_per_model: int = setting(
        "default_workers_per_model",
        whole_number(0),
        "0",
        "Workers of a model that does not say; 0: one per GPU, else per CPU, for models loaded "
        "at start and none for models registered later.",
    )
    default_response_timeout_s: int = setting(
        "default_response_timeout",
        whole_number(1),
        "120",
        "Seconds a model may take for an answer.",
    )
    default_startup_timeout_s: int = setting(
        "default_startup_timeout", whole_number(1), "120", "Seconds a worker may take to load."
    )
    unregister_model_timeout_s: int = setting(
        "unregister_model_timeout",
        whole_number(1),
        "120",
        "Seconds that unregistering a model may take.",
    )
    default_service_handler: str = setting(
        "default_service_handler", text, "", "Handler of models that name none (`module:function`)."
    )
    service_envelope: str = setting(
        "service_envelope",
        optional_choice("base", "body", "json", "kserve", "kservev2"),
        "",
        "How requests wrap their data: `body`, `json`, `kserve` or `kservev2`.",
    )
    install_py_dep_per_model: bool = setting(
        "install_py_dep_per_model", boolean, "false", "Install the archive's requirements file."
    )
    install_py_dep_timeout_s: float = setting(
        "install_py_dep_timeout",
        seconds,
        "600",
        "Seconds that installing the packages of a model may take.",
        own=True,
    )
    install_py_dep_tool: str = setting(
        "install_py_dep_tool",
        choice("auto", "pip", "uv"),
        "auto",
        "What installs them; `auto` is pip where the server's Python has it, else uv.",
        own=True,
    )
    allowed_urls: str = setting(
        "allowed_urls",
        pattern_list,
        "file://.*|http(s)?://.*",
        "Comma-separated regular expressions of the URLs that archives may come from. The variable "
        "also needs `use_env_allowed_urls=true`.",
    )
    use_env_allowed_urls: bool = setting(
        "use_env_allowed_urls", boolean, "false", "Let `TS_ALLOWED_URLS` override.", env=False
    )

    default_batch_policy: str = setting(
        "default_batch_policy",
        choice(*BATCH_POLICIES),
        "window",
        "How batches are made of models that do not say (`batchPolicy`): `window` waits for the "
        "delay, `eager` never, `learned` when it pays.",
        own=True,
    )

    # -- limits
    job_queue_size: int = setting(
        "job_queue_size", whole_number(1), "100", "Requests that may wait, per model version."
    )
    job_queue_bytes: int = setting(
        "job_queue_bytes",
        whole_number(1),
        "268435456",
        "Bytes of request bodies that may wait, per model version.",
        own=True,
    )
    max_request_size_bytes: int = setting(
        "max_request_size", whole_number(1), "6553500", "Largest request body, in bytes."
    )
    max_response_size_bytes: int = setting(
        "max_response_size", whole_number(1), "6553500", "Largest answer of a model, in bytes."
    )
    max_request_line_size_bytes: int = setting(
        "max_request_line_size",
        whole_number(64),
        "4096",
        "Longest request line, in bytes.",
        own=True,
    )
    max_header_size_bytes: int = setting(
        "max_header_size", whole_number(256), "8192", "Largest header section, in bytes.", own=True
    )
    max_connections: int = setting(
        "max_connections",
        whole_number(1),
        "10000",
        "Client connections that may be open.",
        own=True,
    )
    keep_alive_timeout_s: float = setting(
        "keep_alive_timeout", seconds, "75", "Seconds an idle connection is kept.", own=True
    )
    request_read_timeout_s: float = setting(
        "request_read_timeout",
        seconds,
        "60",
        "Seconds within which a request, head and body, must arrive.",
        own=True,
    )
    client_write_timeout_s: float = setting(
        "client_write_timeout",
        seconds,
        "60",
        "Seconds after which a client that does not read its answer is cut off.",
        own=True,
    )
    drain_timeout_s: float = setting(
        "drain_timeout",
        seconds,
        "25",
        "Seconds that running requests get when the server is told to stop.",
        own=True,
    )

    # -- API behaviour
    enable_model_api: bool = setting(
        "enable_model_api", boolean, "false", "Allow to register and unregister models by the API."
    )
    disable_token_authorization: bool = setting(
        "disable_token_authorization", boolean, "false", "Serve without tokens."
    )
    token_expiration_min: float = setting(
        "token_expiration_min",
        minutes_or_default,
        "60",
        "Minutes after which tokens expire.",
        env="TS_TOKEN_EXPIRATION_TIME_MIN",
    )
    inference_key: str = setting(
        "inference_key",
        key_text,
        "",
        "A key for the inference API that stays the same; made at every start if not given.",
        env=False,
        always_env=("TSL_INFERENCE_KEY",),
        in_file=False,
        own=True,
        secret=True,
    )
    management_key: str = setting(
        "management_key",
        key_text,
        "",
        "A key for the management API that stays the same.",
        env=False,
        always_env=("TSL_MANAGEMENT_KEY",),
        in_file=False,
        own=True,
        secret=True,
    )
    api_key: str = setting(
        "api_key",
        key_text,
        "",
        "A key for `/token` that stays the same.",
        env=False,
        always_env=("TSL_API_KEY",),
        in_file=False,
        own=True,
        secret=True,
    )
    keys_file: Path | None = setting(
        "keys_file",
        optional_path,
        "",
        "Where such keys are read from: a JSON file as `key_file.json`, or a folder with the files "
        "`inference`, `management` and `API` (a mounted secret). The variables beat it.",
        env=False,
        always_env=("TSL_KEYS_FILE",),
        own=True,
    )
    status_codes: str = setting(
        "status_codes",
        choice("torchserve", "standard"),
        "torchserve",
        "`torchserve` answers errors with the statuses of TorchServe, `standard` with those "
        "that HTTP asks for.",
        own=True,
    )
    ts_open_inference_protocol: bool = setting(
        "ts_open_inference_protocol",
        boolean,
        "false",
        "Open Inference Protocol (`/v2`). The variable is always read; `oip` switches on, any "
        "other text off.",
        env=False,
    )
    shared_memory: str = setting(
        "shared_memory",
        choice("off", "loopback", "any"),
        "off",
        "Who may have tensors in shared memory, by the Open Inference Protocol: nobody, clients "
        "on this machine, or any client. They can reach all of `/dev/shm` that this server's user can.",
        own=True,
    )
    max_shared_memory_size_bytes: int = setting(
        "max_shared_memory_size",
        whole_number(1),
        "268435456",
        "Bytes of shared memory that clients may register in all, and that one request may read.",
        own=True,
    )
    health_route: str = setting(
        "health_route",
        optional_route,
        "",
        "Another path that tells whether every model can be used now, for platforms that choose "
        "it themselves.",
        own=True,
    )
    predict_route: str = setting(
        "predict_route",
        optional_route,
        "",
        "Another path that runs the one model loaded at start, as `/invocations` does.",
        own=True,
    )
    ts_header_key_sequence_id: str = setting(
        "ts_header_key_sequence_id",
        text,
        "ts_request_sequence_id",
        "Header with the id of a sequence.",
        env="TS_HEADER_KEY_SEQUENCE_ID",
    )
    ts_header_key_sequence_start: str = setting(
        "ts_header_key_sequence_start",
        text,
        "ts_request_sequence_start",
        "Header that starts a sequence.",
        env="TS_HEADER_KEY_SEQUENCE_START",
    )
    ts_header_key_sequence_end: str = setting(
        "ts_header_key_sequence_end",
        text,
        "ts_request_sequence_end",
        "Header that ends a sequence.",
        env="TS_HEADER_KEY_SEQUENCE_END",
    )

    # -- where things are
    work_dir: Path = setting(
        "work_dir",
        temporary_dir,
        "",
        "Folder of the pid file, the sockets and the unpacked models; the system's temporary "
        "folder if neither variable is set.",
        env=False,
        always_env=("TEMP", "TMPDIR"),
        in_file=False,
        own=True,
    )
    config_snapshots: bool = setting(
        "config_snapshots",
        boolean,
        "true",
        "Write a snapshot of what is served after each change; see [snapshots](snapshots.md).",
        own=True,
    )
    max_snapshots: int = setting(
        "max_snapshots", whole_number(1), "50", "Snapshots that are kept.", own=True
    )
    enable_envvars_config: bool = setting(
        "enable_envvars_config", boolean, "false", "Let `TS_*` variables override.", env=False
    )

    file: Path | None = None
    snapshot_file: Path | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    ignored: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def load(
        cls,
        file_text: str | None,
        environ: Mapping[str, str],
        overrides: Mapping[str, Any],
        *,
        notes: ConfigNotes | None = None,
    ) -> ServerConfig:
        """Merge and validate: defaults < file < command line < environment.

        Args:
            file_text: content of the properties file; None when there is no file.
            environ: environment variables; ``TS_*`` only count if the file allows it.
            overrides: values of the command line by property name; a text is parsed as if it
                stood in the file, anything else is taken as it is.
            notes: what is known about the file.

        Raises:
            ConfigError: with every problem that was found.
        """
        merged = merge(settings_of(cls), file_text, environ, overrides)
        values = {"workflow_store": merged.values.get("model_store"), **merged.values}
        notes = notes or ConfigNotes()
        warnings = [*notes.warnings, *merged.warnings]
        is_restored = merged.values.get("model_snapshot") and not notes.snapshot_file
        if is_restored and merged.sources["load_models"] == FROM_COMMAND_LINE:
            warnings.append("model_snapshot of the file says what to load; --models is not used.")
        return cls(
            **values,
            file=notes.file,
            snapshot_file=notes.snapshot_file,
            sources=merged.sources,
            texts=merged.texts,
            ignored=merged.ignored,
            warnings=tuple(warnings),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigNotes:
    """Where a configuration comes from; see `ServerConfig` for the attributes."""

    file: Path | None = None
    snapshot_file: Path | None = None
    warnings: tuple[str, ...] = ()


SETTINGS: Final[Mapping[str, Setting]] = settings_of(ServerConfig)
"""What is known about each setting, by field name."""
