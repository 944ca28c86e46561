"""The worker's table as such, and the page that is drawn from both tables."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tsl.frontend.worker_state import (
    TRANSITIONS,
    InvalidTransition,
    WorkerEvent,
    WorkerState,
    next_state,
)

ROOT = Path(__file__).resolve().parents[3]
PAIRS = [
    pytest.param(state, event, id=f"{state.name}-{event.name}")
    for state in WorkerState
    for event in WorkerEvent
]
ALIVE = {WorkerState.STARTING, WorkerState.LOADING, WorkerState.SERVING, WorkerState.STOPPING}


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_an_event_has_a_following_state_or_is_refused(state, event):
    following = TRANSITIONS.get((state, event))

    if following is None:
        with pytest.raises(InvalidTransition, match=f"{event.name} in state {state.name}"):
            next_state(state, event)
    else:
        assert next_state(state, event) is following


@pytest.mark.parametrize("state", list(WorkerState), ids=lambda state: state.name)
def test_every_worker_can_be_stopped_unless_it_is(state):
    can_stop = (state, WorkerEvent.STOP) in TRANSITIONS

    assert can_stop == (state not in (WorkerState.STOPPING, WorkerState.STOPPED))


@pytest.mark.parametrize("state", list(WorkerState), ids=lambda state: state.name)
def test_a_process_can_end_in_every_state_that_has_one(state):
    assert ((state, WorkerEvent.GONE) in TRANSITIONS) == (state in ALIVE)


def test_stopped_is_final():
    assert not any(state is WorkerState.STOPPED for state, _ in TRANSITIONS)


def test_every_state_can_be_reached():
    reached = {WorkerState.STARTING, *TRANSITIONS.values()}

    assert reached == set(WorkerState)


def test_the_page_of_states_is_up_to_date():
    script = ROOT / "scripts" / "draw_states.py"
    spec = importlib.util.spec_from_file_location("draw_states", script)
    drawing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawing)

    page = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")
    assert page == drawing.page(), "run scripts/draw_states.py"
