import importlib
import sys

import pytest

from tsl.backend.context import Context
from tsl.backend.ts_names import TsFinder, keep_ts_ours


@pytest.fixture
def original(tmp_path, monkeypatch):
    """Another package ``ts``, in front of ours on the path; nothing of either is imported yet."""
    package = tmp_path / "ts"
    package.mkdir()
    (package / "__init__.py").write_text("WHO = 'original'\n")
    (package / "context.py").write_text("raise ImportError('a mixture')\n")
    (package / "only_theirs.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "ts"]:
        monkeypatch.delitem(sys.modules, name)
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "ts"]:
        del sys.modules[name]


def test_without_the_finder_the_other_package_wins(original):
    assert importlib.import_module("ts").WHO == "original"


def test_with_it_ours_does_with_all_its_modules(original):
    keep_ts_ours()

    ts = importlib.import_module("ts")

    assert not hasattr(ts, "WHO")
    assert importlib.import_module("ts.context").Context is Context
    assert importlib.import_module("ts.handler_utils.timer")
    with pytest.raises(ModuleNotFoundError, match="only_theirs"):
        importlib.import_module("ts.only_theirs")


def test_nothing_is_imported_before_it_is_asked_for(original):
    keep_ts_ours()
    keep_ts_ours()

    importlib.import_module("colorsys")
    assert "ts" not in sys.modules
    assert sum(isinstance(finder, TsFinder) for finder in sys.meta_path) == 1


def test_without_a_private_copy_the_usual_places_are_searched(original):
    sys.meta_path.insert(0, TsFinder("tsl.no_such_copy"))

    assert importlib.import_module("ts").WHO == "original"
