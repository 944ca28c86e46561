"""From "register this workflow" to a graph of model versions that can be served.

Finds or fetches the archive, has it unpacked, and checks all that can be checked without running
anything. The archives of its models are the model store's. All methods block (on disk and
network) and may be called from any thread.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tsl.protocol.errors import InvalidArchive, UrlNotAllowed
from tsl.protocol.workflow_errors import InvalidWorkflow, WorkflowNotFound, WorkflowUrlNotAllowed

from .allow_list import DEFAULT_ALLOWED_URLS, AllowList, is_url
from .archive import ArchiveCache, ModelFolder
from .config import ServerDefaults, merge_config
from .download import Download, Downloader, check_digest, check_sha256, file_digest
from .manifest import DEFAULT_RUNTIME, DEFAULT_VERSION, Manifest
from .model_yaml import MAX_YAML_BYTES
from .names import check_name
from .request import RegistrationRequest
from .store import ModelStore
from .version import ModelVersion
from .workflow_functions import check_functions
from .workflow_manifest import WorkflowManifest
from .workflow_spec import WorkflowNode, WorkflowSpec

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRequest:
    """One request to register a workflow; None stands for "not given".

    Attributes:
        url: name of a file of the workflow store, or a URL.
        workflow_name: name to register under; default: the one in the manifest.
        response_timeout_s: limit for one batch of a node.
        startup_timeout_s: limit for a node's worker to load.
        sha256: digest that the archive must have, 64 hexadecimal digits; None for any.
    """

    url: str
    workflow_name: str | None = None
    response_timeout_s: int | None = None
    startup_timeout_s: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Workflow:
    """A workflow that can be served: the result of `WorkflowStore.resolve`.

    Attributes:
        name: what it is registered under.
        url: where it came from, as list and describe show it.
        spec: its graph.
        handler: name of the file with its functions; None without.
        request: how it was asked for.
        folder: hold on the unpacked archive; the store's business.
        download: the file that was fetched for it, if it came from a URL.
    """

    name: str
    url: str
    spec: WorkflowSpec
    handler: str | None
    request: WorkflowRequest
    folder: ModelFolder = field(repr=False)
    download: Download | None = field(default=None, repr=False)

    def model_name(self, node: str) -> str:
        """Name of the model that serves a node."""
        return f"{self.name}__{node}"


class WorkflowStore:
    """The folder with workflow archives, and what may be brought into it.

    Args:
        root: the workflow store; None when the server has none.
        work_dir: folder for unpacked archives; kept between runs, shared between servers.
        models: the models' own store.
        allowed_urls: see `AllowList`.
        defaults: settings of functions, for which the specification has none.

    Raises:
        ConfigError: one of the folders or expressions cannot be used.
    """

    def __init__(
        self,
        root: Path | None,
        work_dir: Path,
        models: ModelStore,
        *,
        allowed_urls: str = DEFAULT_ALLOWED_URLS,
        defaults: ServerDefaults | None = None,
    ) -> None:
        self._root = None if root is None else root.resolve()
        self._models = models
        self._downloader = Downloader(AllowList(allowed_urls))
        self._cache = ArchiveCache(work_dir / "workflows")
        self._defaults = defaults or ServerDefaults()

    def resolve(self, request: WorkflowRequest) -> Workflow:
        """Make a workflow ready to be served; nothing stays behind when that fails.

        Pass the result to `remove` when the workflow is unregistered, or when it is not
        registered after all.

        Raises:
            InvalidParameter: the name cannot be, or the digest is none.
            WorkflowNotFound: there is no such archive, or no workflow store.
            WorkflowUrlNotAllowed: the archive is at a place that is not allowed.
            DownloadFailed: the archive cannot be fetched.
            Conflict: another archive of that file name is in the store.
            InvalidArchive: the archive has another digest than the request says.
            InvalidWorkflow: archive, manifest, specification or handler cannot be used.
            InvalidDag: the graph cannot be run.
            ServiceUnavailable: the disk is full.
        """
        if request.workflow_name is not None:
            check_name(request.workflow_name, "workflow_name")
        check_sha256(request.sha256)
        path, download = self._locate(request.url, request.sha256)
        try:
            folder = self._open(path)
            try:
                return self._describe(request, folder, download)
            except BaseException:
                self._cache.release(folder)
                raise
        except BaseException:
            if download is not None and download.is_new:
                download.path.unlink(missing_ok=True)
            raise

    def remove(self, workflow: Workflow) -> None:
        """Forget a workflow: delete what was downloaded and unpacked for it.

        Call it once, when no worker of its functions runs any more.
        """
        self._cache.release(workflow.folder)
        if workflow.download is not None and workflow.download.is_copy:
            workflow.download.path.unlink(missing_ok=True)

    def resolve_node(self, workflow: Workflow, node: WorkflowNode) -> ModelVersion:
        """Make one node ready to be served; give the result to `ModelStore.remove` in the end.

        Raises:
            TslError: as `ModelStore.resolve`.
        """
        settings, asked = node.settings, workflow.request
        request = RegistrationRequest(
            url=node.url or workflow.url,
            model_name=workflow.model_name(node.name),
            batch_size=settings.batch_size,
            max_batch_delay_ms=settings.max_batch_delay_ms,
            initial_workers=settings.max_workers,
            response_timeout_s=asked.response_timeout_s,
            startup_timeout_s=asked.startup_timeout_s,
        )
        if node.url is not None:
            return replace(self._models.resolve(request), workflow=workflow.name)
        config, _ = merge_config(None, None, request, self._defaults)
        return ModelVersion(
            name=workflow.model_name(node.name),
            version=DEFAULT_VERSION,
            handler=f"{workflow.handler}:{node.name}",
            runtime=DEFAULT_RUNTIME,
            model_dir=workflow.folder.path,
            url=workflow.url,
            manifest=Manifest(),
            config=config,
            loaded_at_startup=False,
            workflow=workflow.name,
            is_function=True,
            folder=ModelFolder(workflow.folder.path),  # the workflow holds it
        )

    # -- where the archive is ------------------------------------------------------------

    def _locate(self, url: str, sha256: str | None) -> tuple[Path, Download | None]:
        if self._root is None or not self._root.is_dir():
            msg = "The workflow store is not configured, or is no folder."
            raise WorkflowNotFound(msg, hint="Start the server with --workflow-store.")
        try:
            if is_url(url):
                download = self._downloader.fetch(url, self._root, reuse=False, sha256=sha256)
                return download.path, download
            if ".." in url:
                raise UrlNotAllowed(f"Relative path is not allowed in url: {url}")
        except UrlNotAllowed as error:
            raise WorkflowUrlNotAllowed(error.message, hint=error.hint) from error
        # Only the last component counts, as with models.
        name = Path(url).name
        try:
            if name and (self._root / name).is_file():
                if sha256 is not None:
                    check_digest(file_digest(self._root / name), sha256)
                return self._root / name, None
        except (OSError, ValueError):  # no path at all: too long, a NUL, no text
            pass
        msg = f"Workflow not found in workflow store: {url!r}."
        raise WorkflowNotFound(msg, hint="url is the name of a file there, or a URL.")

    def _open(self, path: Path) -> ModelFolder:
        try:
            return self._cache.open(path)
        except InvalidArchive as error:
            raise InvalidWorkflow(error.message) from error

    # -- what the archive says -----------------------------------------------------------

    def _describe(
        self, request: WorkflowRequest, folder: ModelFolder, download: Download | None
    ) -> Workflow:
        manifest = WorkflowManifest.read(folder.path)
        name = request.workflow_name or manifest.workflow_name
        spec = WorkflowSpec.parse(_read_spec(folder.path, manifest.spec_file))
        if spec.functions:
            if manifest.handler is None:
                nodes = ", ".join(spec.functions)
                msg = f"The dag has nodes that are not in models, and no handler file: {nodes}."
                raise InvalidWorkflow(msg, hint="Pack it with --handler.")
            check_functions(folder.path / manifest.handler, spec.functions)
        for warning in spec.warnings:
            _log.warning("workflow %s: %s", name, warning)
        return Workflow(
            name=name,
            url=request.url if download is not None else Path(request.url).name,
            spec=spec,
            handler=manifest.handler,
            request=request,
            folder=folder,
            download=download,
        )


def _read_spec(folder: Path, name: str) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            return file.read(MAX_YAML_BYTES + 1)
    except OSError as error:
        msg = f"The specification file {name!r} of the workflow cannot be read: {error.strerror}."
        raise InvalidWorkflow(msg) from error
