"""Write docs/states.md from the tables of protocol/channel.py and frontend/worker_state.py.

Run it after a change of one of them; a unit test compares the file with `page()`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any

from tsl.frontend import worker_state
from tsl.frontend.worker_state import WorkerEvent, WorkerState
from tsl.protocol import channel
from tsl.protocol.channel import ChannelState, Side

TARGET = Path(__file__).resolve().parent.parent / "docs" / "states.md"

INTRODUCTION = """\
# States

<!-- Written by scripts/draw_states.py from protocol/channel.py and frontend/worker_state.py;
do not edit. -->

Two tables say what may happen next; there are no transitions outside of them. What is not listed
is an error: of the frame's sender in the first table, a bug of ours in the second one.
"""

CHANNEL = """\
## A worker's connection

Both ends look up every frame they send or receive in the same table, so they always agree on
what may follow. A `ProtocolError` ends the worker, never the server.
"""

WORKER = """\
## A worker

A worker stays the same over restarts of its process. Whether a serving worker is idle is no state
of its own: it is the number of batches in flight.
"""

_SENDERS = {Side.FRONT_END: "front end", Side.WORKER: "worker"}


def page() -> str:
    """The whole page."""
    return "\n".join(
        [
            INTRODUCTION,
            CHANNEL,
            *_states(ChannelState),
            "",
            *_diagram(_frame_edges(), ChannelState.GREETING),
            "",
            "| state | sender | frame | next state |",
            "| --- | --- | --- | --- |",
            *_rows(_frame_cells()),
            "",
            WORKER,
            *_states(WorkerState),
            "",
            *_diagram(_event_edges(), WorkerState.STARTING),
            "",
            "| state | event | next state |",
            "| --- | --- | --- |",
            *_rows(_event_cells()),
            "",
        ]
    )


def _frame_edges() -> Iterable[tuple[str, str, str]]:
    """Edges with all their frames; a diagram with one arrow for each could not be read."""
    labels: dict[tuple[str, str], list[str]] = {}
    for state, rows in channel.TRANSITIONS.items():
        for (_, frame), following in rows.items():
            labels.setdefault((state.name, following.name), []).append(frame.__name__)
    for (state_name, following_name), frames in labels.items():
        yield state_name, following_name, ", ".join(frames)


def _frame_cells() -> Iterable[tuple[str, ...]]:
    for state, rows in channel.TRANSITIONS.items():
        for (side, frame), following in rows.items():
            yield state.name, _SENDERS[side], f"`{frame.__name__}`", following.name


def _event_edges() -> Iterable[tuple[str, str, str]]:
    for (state, event), following in worker_state.TRANSITIONS.items():
        yield state.name, following.name, event.name


def _event_cells() -> Iterable[tuple[str, ...]]:
    for (state, event), following in sorted(
        worker_state.TRANSITIONS.items(), key=lambda item: _order(*item[0])
    ):
        yield state.name, event.name, following.name


def _order(state: WorkerState, event: WorkerEvent) -> tuple[int, int]:
    return list(WorkerState).index(state), list(WorkerEvent).index(event)


def _diagram(edges: Iterable[tuple[str, str, str]], first: Enum) -> list[str]:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first.name}"]
    lines += [f"    {state} --> {following}: {label}" for state, following, label in edges]
    return [*lines, "```"]


def _rows(cells: Iterable[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in cells]


def _states(kind: type[Enum]) -> list[str]:
    texts = _member_docs(kind)
    return [f"* **{member.name}**: {texts[member.name]}" for member in kind]


def _member_docs(kind: type[Enum]) -> dict[str, str]:
    """Texts that stand behind an enum's members; Python itself does not keep them."""
    tree: Any = ast.parse(inspect.getsource(kind)).body[0]
    found = {}
    for member, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr):
            name: Any = member.targets[0]
            value: Any = text.value
            found[name.id] = " ".join(value.value.split())
    return found


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
