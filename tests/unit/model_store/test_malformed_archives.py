"""Each malformed archive is refused with words that say why, and leaves nothing behind."""

import pytest
from malformed_archives import MALFORMED, UNLOADABLE

from tsl.model_store.request import RegistrationRequest
from tsl.model_store.store import ModelStore
from tsl.protocol.errors import InvalidArchive


@pytest.fixture
def area(tmp_path):
    """Folders of a server, in one that holds nothing else."""
    for name in ("store", "work", "beside"):
        (tmp_path / name).mkdir()
    (tmp_path / "beside" / "h.py").write_text("untouched")
    return tmp_path


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_archive_is_refused_and_leaves_nothing(area, what):
    name, content, words = MALFORMED[what]
    (area / "store" / name).write_bytes(content)
    store = ModelStore(area / "store", area / "work")
    before = files(area)

    with pytest.raises(InvalidArchive) as caught:
        store.resolve(RegistrationRequest(url=name))

    text = str(caught.value)
    assert words in text
    assert str(area) not in text  # it goes to clients
    assert len(text) < 600
    assert files(area) == before
    assert list((area / "work" / "models").iterdir()) == []


@pytest.mark.parametrize("what", UNLOADABLE)
def test_what_only_a_worker_can_tell_is_not_looked_for_here(area, what):
    (area / "store" / "bad.mar").write_bytes(UNLOADABLE[what])

    version = ModelStore(area / "store", area / "work").resolve(RegistrationRequest(url="bad.mar"))

    assert version.name == "bad"


def test_there_are_enough_kinds():
    assert len(MALFORMED) >= 40
