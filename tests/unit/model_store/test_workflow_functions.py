from __future__ import annotations

import pytest

from tsl.model_store.workflow_functions import MAX_SOURCE_BYTES, check_functions
from tsl.protocol.workflow_errors import InvalidWorkflow


@pytest.fixture
def check(tmp_path):
    def do(source, *functions):
        path = tmp_path / "wf.py"
        path.write_text(source)
        check_functions(path, functions)

    return do


@pytest.mark.parametrize(
    "source",
    [
        "def f(data, context): return data",
        "async def f(data, context): return data",
        "f = lambda data, context: data",
        "from other import f",
        "from other import g as f",
        "if True:\n  def f(data, context): pass",
        "try:\n  import f\nexcept ImportError:\n  f = None",
        "class f: pass",
        "(f, g) = 1, 2",
    ],
)
def test_a_function_that_is_there_is_found(check, source):
    check(source, "f")


@pytest.mark.parametrize(
    "source",
    [
        "from other import *",
        "globals()['f'] = print",
        "def __getattr__(name): return print",
        "exec('def f(data, context): pass')",
    ],
)
def test_what_only_an_import_can_tell_is_left_to_the_worker(check, source):
    check(source, "f")


@pytest.mark.parametrize(
    "source", ["", "def g(): pass", "class C:\n  def f(self): pass", "def g():\n  def f(): pass"]
)
def test_a_missing_function_is_named(check, source):
    with pytest.raises(InvalidWorkflow, match=r"'wf\.py': f, other\."):
        check(source, "f", "other")


@pytest.mark.parametrize("source", ["def f(:", "\0", "x" + "-x" * 10**6])
def test_a_file_that_is_no_python_is_refused(check, source):
    with pytest.raises(InvalidWorkflow, match=r"wf\.py"):
        check(source, "f")


def test_nothing_of_the_file_is_run(check):
    check("raise SystemExit\ndef f(): pass", "f")


def test_a_missing_or_very_large_file_is_refused(check, tmp_path):
    with pytest.raises(InvalidWorkflow, match=r"gone\.py.*No such file"):
        check_functions(tmp_path / "gone.py", ["f"])
    with pytest.raises(InvalidWorkflow, match="larger"):
        check("#" * (MAX_SOURCE_BYTES + 1), "f")
