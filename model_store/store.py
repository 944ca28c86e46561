"""From "register this" to a model version that can be served.

The store finds or fetches the archive, has it unpacked, and puts manifest and settings
together. It keeps no list of what it resolved: which models are registered, and under which
names, is the caller's knowledge. All methods block (on disk and network) and may be called
from any thread.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tsl.protocol.errors import (
    ConfigError,
    InvalidArchive,
    InvalidParameter,
    ModelNotFound,
    Unsupported,
    UrlNotAllowed,
)

from .allow_list import DEFAULT_ALLOWED_URLS, AllowList, is_url
from .archive import ArchiveCache, ModelFolder, StageProgress, stage
from .config import ServerDefaults, merge_config
from .download import Download, Downloader, DownloadLimits, check_digest, check_sha256, file_digest
from .manifest import RUNTIMES, Manifest
from .model_yaml import MAX_YAML_BYTES
from .names import check_name, default_name
from .request import RegistrationRequest
from .unpacking import ExtractionLimits
from .version import ModelVersion

ModelsSetting = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""The server's ``models`` option: name, then version, then settings."""

_ARCHIVE_SUFFIXES: Final = (".mar", ".model", ".tar.gz")
_FOREIGN_RUNTIME: Final = "LSP"

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Location:
    """Where an archive is, and how it is to be shown."""

    path: Path
    url: str
    download: Download | None = None


class ModelStore:
    """The folder with model archives, and what may be brought into it.

    Args:
        root: the model store; None when the server has none.
        work_dir: folder for unpacked archives; kept between runs, shared between servers.
        allowed_urls: see `AllowList`.
        defaults: settings of models that say nothing.
        models: settings by name and version, from the server's configuration.
        extraction_limits: how much one archive may unpack to.
        download_limits: how large and how slow a download may be.
        ca_bundle: certificates to trust when fetching from ``https``; default: the system's.
        environ: environment variables; AWS's have the credentials for S3.

    Raises:
        ConfigError: one of the folders or expressions cannot be used.
    """

    def __init__(
        self,
        root: Path | None,
        work_dir: Path,
        *,
        allowed_urls: str = DEFAULT_ALLOWED_URLS,
        defaults: ServerDefaults | None = None,
        models: ModelsSetting | None = None,
        extraction_limits: ExtractionLimits | None = None,
        download_limits: DownloadLimits | None = None,
        ca_bundle: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        if root is not None and not root.is_dir():
            msg = f"The model store {root} is no folder."
            raise ConfigError(msg)
        self._root = None if root is None else root.resolve()
        self._downloader = Downloader(
            AllowList(allowed_urls), download_limits, ca_bundle=ca_bundle, environ=environ
        )
        self._cache = ArchiveCache(work_dir / "models", extraction_limits)
        self._defaults = defaults or ServerDefaults()
        self._models = models or {}

    def resolve(
        self, request: RegistrationRequest, on_progress: StageProgress | None = None
    ) -> ModelVersion:
        """Make a model ready to be served; nothing stays behind when that fails.

        Pass the result to `remove` when the model is unregistered, or when it is not
        registered after all.

        Args:
            request: what was asked for.
            on_progress: told about the stages ``downloading``, ``checking`` and ``unpacking``.

        Raises:
            InvalidParameter: the name or the runtime cannot be.
            ModelNotFound: there is no such archive, or no model store.
            UrlNotAllowed: the archive is at a place that is not allowed.
            DownloadFailed: the archive cannot be fetched.
            Conflict: another archive of that file name is in the store.
            InvalidArchive: archive, manifest or ``model-config.yaml`` cannot be used.
            Unsupported: the model is not a Python one.
            ServiceUnavailable: the disk is full.
        """
        _check_request(request)
        location = self._locate(request, on_progress)
        try:
            folder = self._cache.open(location.path, on_progress)
            try:
                return self._describe(request, location, folder)
            except BaseException:
                self._cache.release(folder)
                raise
        except BaseException:
            if location.download is not None and location.download.is_new:
                location.download.path.unlink(missing_ok=True)
            raise

    def has(self, archive: str) -> bool:
        """Whether the store holds an archive or folder of this name.

        Args:
            archive: only its last component counts, as in a registration.
        """
        name = Path(archive).name
        return self._root is not None and bool(name) and (self._root / name).exists()

    def remove(self, version: ModelVersion) -> None:
        """Forget a version: delete what was downloaded and unpacked for it.

        Archives that were in the model store before stay there, and so does an unpacked folder
        that another version uses. Call it once, when no worker runs any more.
        """
        self._cache.release(version.folder)
        if version.download is not None and version.download.is_copy:
            version.download.path.unlink(missing_ok=True)

    def list_start_models(self, load_models: str) -> list[tuple[str | None, str]]:
        """What to load when the server starts.

        Args:
            load_models: ``all``, or ``[name=]location`` separated by commas.

        Returns:
            Pairs of name, if one is given, and location.
        """
        if load_models.strip().lower() != "all":
            entries = (entry.strip() for entry in load_models.split(","))
            pairs = [_split_name(entry) for entry in entries]
            return [(name, location) for name, location in pairs if location]
        if self._root is None:
            return []
        paths = sorted(path for path in self._root.iterdir() if not path.name.startswith("."))
        return [
            (None, path.name)
            for path in paths
            if path.is_dir() or path.name.endswith(_ARCHIVE_SUFFIXES)
        ]

    # -- where the archive is ------------------------------------------------------------

    def _locate(self, request: RegistrationRequest, on_progress: StageProgress | None) -> _Location:
        location = request.url
        if self._root is None:
            msg = "Model store has not been configured."
            raise ModelNotFound(msg, hint="Start the server with --model-store.")
        if is_url(location):
            download = self._downloader.fetch(
                location,
                self._root,
                # A restarted server finds what it fetched the last time.
                reuse=request.loaded_at_startup,
                sha256=request.sha256,
                signs_s3=request.signs_s3,
                on_progress=stage(on_progress, "downloading"),
            )
            return _Location(download.path, location, download)
        if ".." in location:
            msg = f"Relative path is not allowed in url: {location}"
            raise UrlNotAllowed(msg)
        try:
            return self._locate_local(self._root, request)
        except (OSError, ValueError) as error:  # no path at all: too long, a NUL, no text
            raise _not_found(location) from error

    def _locate_local(self, root: Path, request: RegistrationRequest) -> _Location:
        # Only the last component counts: "/any/where/x.mar" is x.mar of the store.
        name = Path(request.url).name
        if not name:
            raise _not_found(request.url)
        if (root / name).is_file():
            if request.sha256 is not None:
                check_digest(file_digest(root / name), request.sha256)
            return _Location(root / name, name)
        if request.sha256 is not None:
            raise _not_found(request.url, "sha256 is for archives; there is no such file.")
        return self._locate_folder(root, name, request)

    def _locate_folder(self, root: Path, name: str, request: RegistrationRequest) -> _Location:
        own = Path(request.url)
        # Clients name models of the store; the operator may name any folder of the host.
        is_trusted = request.loaded_at_startup or own.resolve().is_relative_to(root)
        if own.is_absolute() and is_trusted and own.is_dir():
            return _Location(own, request.url)
        if (root / name).is_dir():
            return _Location(root / name, name)
        if request.loaded_at_startup and own.is_dir():
            return _Location(own, request.url)
        if own.is_absolute() and not is_trusted:
            # The same answer whether something is there or not.
            msg = f"{request.url} is outside of the model store."
            raise UrlNotAllowed(msg, hint="Name such a folder when the server starts.")
        raise _not_found(request.url)

    # -- what the archive says -----------------------------------------------------------

    def _describe(
        self, request: RegistrationRequest, location: _Location, folder: ModelFolder
    ) -> ModelVersion:
        manifest = Manifest.read(folder.path)
        name = _model_name(request, manifest, location)
        check_name(manifest.model_version, "modelVersion of the manifest", InvalidArchive)
        entry = self._models.get(name, {}).get(manifest.model_version, {})
        warnings: list[str] = []
        yaml_text = _read_config_file(folder.path, manifest, warnings)
        config, more_warnings = merge_config(yaml_text, entry, request, self._defaults)
        runtime = _runtime(entry, warnings) or request.runtime or manifest.runtime
        if runtime == _FOREIGN_RUNTIME:
            msg = f"Model {name!r} needs the runtime {runtime}; only Python handlers are served."
            raise Unsupported(msg)
        handler = request.handler or manifest.handler or self._defaults.service_handler
        if handler is None:
            msg = f"Model {name!r} has no handler."
            raise InvalidArchive(
                msg, hint="Name one in the request, or set default_service_handler."
            )
        for warning in warnings + more_warnings:
            _log.warning("model %s version %s: %s", name, manifest.model_version, warning)
        return ModelVersion(
            name=name,
            version=manifest.model_version,
            handler=handler,
            runtime=runtime,
            model_dir=folder.path,
            url=location.url,
            manifest=manifest,
            config=config,
            loaded_at_startup=request.loaded_at_startup,
            folder=folder,
            download=location.download,
        )


def _not_found(
    location: str, hint: str = "url is the name of a file or folder of the model store, or a URL."
) -> ModelNotFound:
    msg = f"Model not found at: {location!r}."
    return ModelNotFound(msg, hint=hint)


def _check_request(request: RegistrationRequest) -> None:
    if request.model_name is not None:
        check_name(request.model_name, "model_name")
    if request.runtime is not None and request.runtime not in RUNTIMES:
        msg = f"Invalid RuntimeType value: {request.runtime}"
        raise InvalidParameter(msg, hint=f"runtime is one of {', '.join(RUNTIMES)}.")
    check_sha256(request.sha256)


def _model_name(request: RegistrationRequest, manifest: Manifest, location: _Location) -> str:
    if request.model_name is not None:
        return request.model_name
    if manifest.model_name is not None:
        check_name(manifest.model_name, "modelName of the manifest", InvalidArchive)
        return manifest.model_name
    if request.loaded_at_startup:
        return default_name(location.path.name)
    msg = "Model name is not defined."
    raise InvalidArchive(msg, hint="The archive has none: give model_name.")


def _read_config_file(model_dir: Path, manifest: Manifest, warnings: list[str]) -> bytes | None:
    if manifest.config_file is None:
        return None
    try:
        with (model_dir / manifest.config_file).open("rb") as file:
            return file.read(MAX_YAML_BYTES + 1)
    except FileNotFoundError:
        warnings.append(f"there is no {manifest.config_file}, which the manifest names")
        return None
    except OSError as error:
        msg = f"{manifest.config_file} of the archive cannot be read: {error.strerror}."
        raise InvalidArchive(msg) from error


def _runtime(entry: Mapping[str, Any], warnings: list[str]) -> str | None:
    runtime = entry.get("runtimeType")
    if runtime is None or runtime in RUNTIMES:
        return runtime
    warnings.append(f"runtimeType of the models setting must be one of {', '.join(RUNTIMES)}")
    return None


def _split_name(entry: str) -> tuple[str | None, str]:
    """Split ``[name=]location``; an equals sign in the query of a URL does not count."""
    name, equals, location = entry.partition("=")
    if not equals or is_url(entry):
        return None, entry
    return name.strip() or None, location.strip()
