"""Models at rest: archives, their manifests and settings, and where they come from.

What only the archiver needs is imported from its modules, `packing`, `packing_members` and
`inspection`: a server starts without them.
"""

from .allow_list import DEFAULT_ALLOWED_URLS, AllowList, is_url
from .archive import ArchiveCache, ModelFolder, StageProgress
from .config import BATCH_POLICIES, ModelConfig, ServerDefaults, merge_config
from .download import DownloadLimits
from .manifest import Manifest
from .model_yaml import load_model_yaml
from .names import check_name, default_name
from .parallel import Torchrun
from .request import RegistrationRequest
from .snapshot import Snapshot, SnapshotEntry, parse_snapshot
from .snapshot_folder import SnapshotFolder, SnapshotKind
from .store import ModelsSetting, ModelStore
from .unpacking import ExtractionLimits
from .version import ModelVersion
from .workflow_spec import WorkflowNode, WorkflowSpec
from .workflow_store import Workflow, WorkflowRequest, WorkflowStore

__all__ = [
    "BATCH_POLICIES",
    "DEFAULT_ALLOWED_URLS",
    "AllowList",
    "ArchiveCache",
    "DownloadLimits",
    "ExtractionLimits",
    "Manifest",
    "ModelConfig",
    "ModelFolder",
    "ModelStore",
    "ModelVersion",
    "ModelsSetting",
    "RegistrationRequest",
    "ServerDefaults",
    "Snapshot",
    "SnapshotEntry",
    "SnapshotFolder",
    "SnapshotKind",
    "StageProgress",
    "Torchrun",
    "Workflow",
    "WorkflowNode",
    "WorkflowRequest",
    "WorkflowSpec",
    "WorkflowStore",
    "check_name",
    "default_name",
    "is_url",
    "load_model_yaml",
    "merge_config",
    "parse_snapshot",
]
