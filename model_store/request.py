"""What a caller may say when it registers a model.

HTTP, gRPC and the start-up loader each fill in one `RegistrationRequest`. Nothing is checked
here: `config.merge_config` and `store.ModelStore` decide what the values mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationRequest:
    """One request to register a model; None stands for "not given".

    Attributes:
        url: name of a file or folder of the model store, or a URL.
        model_name: name to register under; default: the one in the manifest.
        runtime: ``python`` or ``python3``; default: the one in the manifest.
        handler: ``module[.py][:function]``; default: the one in the manifest.
        batch_size: jobs per batch at most; -1 also means "not given".
        max_batch_delay_ms: how long a batch may wait; -100 also means "not given".
        batch_policy: one of `config.BATCH_POLICIES`.
        initial_workers: workers to start.
        response_timeout_s: limit for one batch; -1 also means "not given".
        startup_timeout_s: limit for loading; -1 also means "not given".
        loaded_at_startup: whether the operator named the model at the start of the server,
            rather than a client at run time. The operator may name any folder of the host.
        sha256: digest that the archive must have, 64 hexadecimal digits; None for any.
        signs_s3: sign the download for S3 (``s3_sse_kms``).
        restored: settings of a snapshot, by the name of `ModelConfig`'s attribute. They were in
            force when it was made, and beat all others.
    """

    url: str
    model_name: str | None = None
    runtime: str | None = None
    handler: str | None = None
    batch_size: int | None = None
    max_batch_delay_ms: int | None = None
    batch_policy: str | None = None
    initial_workers: int | None = None
    response_timeout_s: int | None = None
    startup_timeout_s: int | None = None
    loaded_at_startup: bool = False
    sha256: str | None = None
    signs_s3: bool = False
    restored: Mapping[str, Any] = field(default_factory=dict)
