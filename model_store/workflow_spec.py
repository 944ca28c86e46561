"""The specification of a workflow: its nodes, how each is run, and which follows which.

Parsed and checked here, from the text alone. A node that ``models`` does not name is a function
of the handler file; whether there is such a function is `workflow_functions`' to find out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from tsl.protocol.errors import InvalidArchive
from tsl.protocol.workflow_errors import InvalidDag, InvalidWorkflow

from .model_yaml import load_model_yaml
from .names import check_name

MAX_NODES: Final = 256
"""Each node is a worker process at least."""
MAX_WORKERS: Final = 1024
"""Workers of one node at most, as of one model."""
MAX_RETRIES: Final = 1000

_FILE: Final = "The specification file"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """How a node is run.

    Attributes:
        min_workers: shown by describe; a node starts with ``max_workers``, as in TorchServe.
        max_workers: workers of the node.
        batch_size: jobs per batch at most, across requests.
        max_batch_delay_ms: how long a batch waits for more jobs.
        retry_attempts: how often a node that failed is run again.
        timeout_ms: limit for one attempt, waiting in the queue included.
    """

    min_workers: int = 1
    max_workers: int = 1
    batch_size: int = 1
    max_batch_delay_ms: int = 50
    retry_attempts: int = 1
    timeout_ms: int = 10_000


_LIMITS: Final[Mapping[str, tuple[str, int, int]]] = {
    "min-workers": ("min_workers", 0, MAX_WORKERS),
    "max-workers": ("max_workers", 0, MAX_WORKERS),
    "batch-size": ("batch_size", 1, 2**31 - 1),
    "max-batch-delay": ("max_batch_delay_ms", 0, 2**31 - 1),
    "retry-attempts": ("retry_attempts", 0, MAX_RETRIES),
    "timeout-ms": ("timeout_ms", 1, 2**31 - 1),
}
"""Key of the file → attribute, smallest and largest value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowNode:
    """One node.

    Attributes:
        name: as in the file.
        url: archive of a model; None for a function of the handler file.
        settings: how it is run.
        predecessors: nodes whose outputs it gets, in the order of the file.
        successors: nodes that get its output, in the order of the file.
    """

    name: str
    url: str | None
    settings: NodeSettings
    predecessors: tuple[str, ...]
    successors: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSpec:
    """A graph that can be run: one start, no cycle.

    Attributes:
        settings: the defaults of the file, as describe shows them.
        nodes: by name, in the order in which the file's ``dag`` names them first.
        start: name of the node that gets the request.
        leaves: names of the nodes without successors; their outputs are the answer.
        dag: ``dag`` as the file has it.
        warnings: sentences about what was probably not meant.
    """

    settings: NodeSettings
    nodes: Mapping[str, WorkflowNode]
    start: str
    leaves: tuple[str, ...]
    dag: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...]

    @classmethod
    def parse(cls, text: bytes) -> WorkflowSpec:
        """Parse a specification file.

        Args:
            text: YAML.

        Raises:
            InvalidWorkflow: the file, or a setting in it, is not as it must be.
            InvalidDag: the graph cannot be run.
        """
        try:
            document = load_model_yaml(text, _FILE) or {}
        except InvalidArchive as error:
            raise InvalidWorkflow(error.message) from error
        warnings: list[str] = []
        models, settings = _models(document.get("models"), warnings)
        dag = _dag(document.get("dag"))
        predecessors = _predecessors(dag)
        start = _check_shape(predecessors)
        nodes = {
            name: _node(name, models.get(name), settings, tuple(before), dag.get(name, ()))
            for name, before in predecessors.items()
        }
        warnings += [
            f"the model {name!r} is not in the dag and is not loaded"
            for name in models
            if name not in nodes
        ]
        return cls(
            settings=settings,
            nodes=nodes,
            start=start,
            leaves=tuple(name for name, node in nodes.items() if not node.successors),
            dag=dag,
            warnings=tuple(warnings),
        )

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of the nodes that are functions."""
        return tuple(node.name for node in self.nodes.values() if node.url is None)


@dataclass(frozen=True, slots=True)
class _Model:
    """An entry of ``models``."""

    url: Any
    settings: NodeSettings


def _models(section: Any, warnings: list[str]) -> tuple[dict[str, _Model], NodeSettings]:
    """The models by name, and the defaults that hold at the end of the section."""
    if section is None:
        return {}, NodeSettings()
    if not isinstance(section, dict):
        raise InvalidWorkflow('"models" of the specification must be a mapping.')
    settings = NodeSettings()
    models = {}
    for key, value in section.items():
        if key in _LIMITS:  # a default holds for the models below it
            settings = replace(settings, **_setting(key, value, "models"))
            continue
        name = _name(key, "models")
        if not isinstance(value, dict):
            msg = f'"{name}" in "models" of the specification is neither a setting nor a model.'
            known = ", ".join(_LIMITS)
            raise InvalidWorkflow(msg, hint=f"A model is a mapping with url; settings are {known}.")
        models[name] = _model(name, value, settings, warnings)
    return models, settings


def _model(name: str, entry: dict[Any, Any], settings: NodeSettings, warnings: list[str]) -> _Model:
    place = f"models.{name}"
    for key, value in entry.items():
        if key in _LIMITS:
            settings = replace(settings, **_setting(key, value, place))
        elif key != "url":
            warnings.append(f"{place} has the key {key!r}, which is none of its settings")
    if settings.min_workers > settings.max_workers:
        warnings.append(
            f"{place} has min-workers {settings.min_workers}, but starts with"
            f" max-workers {settings.max_workers}"
        )
    return _Model(entry.get("url"), settings)


def _setting(key: str, value: Any, place: str) -> dict[str, int]:
    attribute, smallest, largest = _LIMITS[key]
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if not is_integer or not smallest <= value <= largest:
        raise InvalidWorkflow(
            f"{key} in {place} of the specification must be a whole number from {smallest} to"
            f" {largest}, not {value!r:.60}."
        )
    return {attribute: value}


def _name(key: Any, section: str) -> str:
    if not isinstance(key, str):
        msg = f"{key!r:.60} in {section} of the specification is no text."
        raise InvalidWorkflow(msg, hint="Put it into quotes.")
    check_name(key, f"A node of {section}", InvalidWorkflow)
    return key


def _dag(section: Any) -> dict[str, tuple[str, ...]]:
    """The graph as the file has it; empty names are left out."""
    if not section:
        raise InvalidDag('The specification has no "dag", so there is nothing to run.')
    if not isinstance(section, dict):
        raise InvalidDag('"dag" of the specification must be a mapping of nodes to lists of nodes.')
    return {_name(key, "dag"): _successors(key, value) for key, value in section.items()}


def _successors(node: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidDag(f"The dag has no list of nodes after {node!r}, but {value!r:.60}.")
    names = [_name(item, "dag") for item in value if item not in ("", None)]
    if node in names:
        raise InvalidDag(f"Self loop: the node {node!r} of the dag follows itself.")
    for name in names:
        if names.count(name) > 1:
            raise InvalidDag(f"The dag names {name!r} more than once after {node!r}.")
    return tuple(names)


def _predecessors(dag: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """Predecessors of every node, nodes and predecessors in the order of the file."""
    found: dict[str, list[str]] = {}
    for name, successors in dag.items():
        found.setdefault(name, [])
        for successor in successors:
            found.setdefault(successor, []).append(name)
    if len(found) > MAX_NODES:
        raise InvalidDag(f"The dag has more than {MAX_NODES} nodes.")
    return found


def _check_shape(predecessors: Mapping[str, list[str]]) -> str:
    """Refuse a graph that cannot be run; the name of its start."""
    try:
        TopologicalSorter(predecessors).prepare()
    except CycleError as error:
        circle = " → ".join(error.args[1])
        msg = f"Not a valid DAG: it goes round in a circle, {circle}."
        raise InvalidDag(msg) from error
    starts = [name for name, before in predecessors.items() if not before]
    if len(starts) > 1:
        msg = f"DAG should have only one start node, but it has {', '.join(starts)}."
        raise InvalidDag(msg, hint="Let one node come before all others.")
    return starts[0]


def _node(
    name: str,
    model: _Model | None,
    defaults: NodeSettings,
    predecessors: tuple[str, ...],
    successors: tuple[str, ...],
) -> WorkflowNode:
    if model is None:
        # A function: what it does is quick, and it takes one request at a time.
        settings = replace(
            defaults, min_workers=1, max_workers=1, batch_size=1, max_batch_delay_ms=0
        )
        return WorkflowNode(
            name=name, url=None, settings=settings, predecessors=predecessors, successors=successors
        )
    if not isinstance(model.url, str) or not model.url:
        msg = f"models.{name} of the specification has no url."
        raise InvalidWorkflow(msg, hint="Give the archive's name in the model store, or its URL.")
    return WorkflowNode(
        name=name,
        url=model.url,
        settings=model.settings,
        predecessors=predecessors,
        successors=successors,
    )


assert {name for name, _, _ in _LIMITS.values()} == {each.name for each in fields(NodeSettings)}
