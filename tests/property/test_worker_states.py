"""Any story of events that the worker's table allows ends well, and nothing else is allowed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tsl.frontend.restart import DELAYS_S, RestartPolicy
from tsl.frontend.worker_state import (
    TRANSITIONS,
    InvalidTransition,
    WorkerEvent,
    WorkerState,
    next_state,
)

events = st.lists(st.sampled_from(WorkerEvent), max_size=30)
PROCESS = {
    WorkerState.STARTING,
    WorkerState.LOADING,
    WorkerState.SERVING,
    WorkerState.STOPPING,
}


def live(story):
    """The states of a worker that meets these events; refused ones change nothing."""
    state, seen = WorkerState.STARTING, []
    for event in story:
        before = state
        try:
            state = next_state(state, event)
        except InvalidTransition:
            assert (before, event) not in TRANSITIONS
        else:
            seen.append((before, event, state))
    return seen, state


@given(events)
def test_a_worker_serves_only_after_it_was_greeted_and_loaded(story):
    seen, _ = live(story)

    for at, (_, event, state) in enumerate(seen):
        if state is WorkerState.SERVING:
            assert event is WorkerEvent.LOADED
            assert seen[at - 1][1] is WorkerEvent.GREETED


@given(events)
def test_once_told_to_stop_a_worker_never_comes_back(story):
    seen, _ = live(story)
    stopped = False

    for _, event, state in seen:
        stopped = stopped or event is WorkerEvent.STOP
        if stopped:
            assert state in (WorkerState.STOPPING, WorkerState.STOPPED)


@given(events)
def test_a_process_begins_and_ends_in_turns(story):
    seen, _ = live(story)

    for before, event, state in seen:
        if (before in PROCESS) != (state in PROCESS):
            assert event in (WorkerEvent.GONE, WorkerEvent.RETRY)


@given(events)
def test_stop_and_gone_always_lead_to_the_end(story):
    _, state = live(story)

    for event in (WorkerEvent.STOP, WorkerEvent.GONE):
        if (state, event) in TRANSITIONS:
            state = next_state(state, event)

    assert state is WorkerState.STOPPED


# -- the policy that decides between RETRY and GIVE_UP

steps = st.lists(st.tuples(st.floats(0, 1000), st.booleans()), min_size=1, max_size=40)


@given(st.integers(0, 3000), steps)
def test_a_worker_is_given_up_exactly_when_it_fails_for_the_whole_window(window, story):
    policy, now, failing_since = RestartPolicy(window), 0.0, None

    for pause, loads in story:
        now += pause
        if loads:
            policy.loaded(now)
            failing_since = None
        delay = policy.died(now)
        failing_since = now if failing_since is None else failing_since

        assert (delay is None) == (now - failing_since >= window)
        assert delay is None or delay in DELAYS_S
        assert policy.failing_since == failing_since
