"""Vocabularies in all their formats, those of torchtext without torchtext."""

from __future__ import annotations

import collections
import json
import sys
from types import ModuleType

import pytest
import torch

from tsl.backend.handlers.vocabulary import load_vocabulary
from tsl.protocol.errors import LoadFailed


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("v.json", lambda path: path.write_text(json.dumps({"<unk>": 0, "good": 1}))),
        ("list.json", lambda path: path.write_text(json.dumps(["<unk>", "good"]))),
        ("v.txt", lambda path: path.write_text("<unk>\ngood\n")),
        ("v.pt", lambda path: torch.save({"<unk>": 0, "good": 1}, path)),
        ("list.pt", lambda path: torch.save(["<unk>", "good"], path)),
        ("o.pt", lambda path: torch.save(collections.OrderedDict(good=1), path)),
    ],
    ids=["json", "json-list", "txt", "dict", "list", "ordered-dict"],
)
def test_plain_formats(tmp_path, name, write):
    write(tmp_path / name)

    assert load_vocabulary(str(tmp_path / name))["good"] == 1


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("v.json", lambda path: path.write_text("{")),
        ("v.json", lambda path: path.write_text("5")),
        ("v.pt", lambda path: torch.save(torch.zeros(3), path)),
        ("v.pt", lambda path: torch.save([1, 2], path)),
    ],
    ids=["broken-json", "number", "tensor", "list-of-numbers"],
)
def test_what_is_no_vocabulary_is_refused(tmp_path, name, write):
    write(tmp_path / name)

    with pytest.raises(LoadFailed):
        load_vocabulary(str(tmp_path / name))


@pytest.fixture
def torchtext():
    """Writes an object whose classes have the names of torchtext's; they are gone afterwards."""
    names = ["torchtext", "torchtext.vocab", "torchtext.vocab.vocab", "torchtext._torchtext"]

    def make_class(module, base=object, **members):
        made = type("Vocab", (base,), {"__module__": module, **members})
        vars(sys.modules[module])["Vocab"] = made
        return made

    def write(build, argument, path):
        with pytest.MonkeyPatch.context() as patch:
            for name in names:
                patch.setitem(sys.modules, name, ModuleType(name))
            torch.save(build(make_class, argument), path)

    return write


def old(make_class, unk_index):
    vocabulary = make_class("torchtext.vocab")()
    vocabulary.freqs = collections.Counter(["good", "good"])
    vocabulary.itos, vocabulary.stoi = ["<unk>", "good"], {"<unk>": 0, "good": 1}
    vocabulary.vectors = None
    if unk_index is not None:
        vocabulary.unk_index = unk_index
    return vocabulary


def new(make_class, default):
    state = ("0.0.2", default, ["<unk>", "good"], [])
    native = make_class(
        "torchtext._torchtext",
        __getstate__=lambda self: state,
        __setstate__=lambda self, state: None,
    )
    module = make_class("torchtext.vocab.vocab", base=torch.nn.Module)()
    module.vocab = native()
    return module


@pytest.mark.parametrize(
    ("build", "argument", "unknown"),
    [(old, 0, 0), (old, None, 0), (new, [0], 0), (new, [], None)],
    ids=["old", "older", "new", "new-without-default"],
)
def test_vocabularies_of_torchtext_are_read_without_it(
    torchtext, tmp_path, build, argument, unknown
):
    path = tmp_path / "source_vocab.pt"
    torchtext(build, argument, path)

    vocabulary = load_vocabulary(str(path))

    assert vocabulary["good"] == 1
    assert len(vocabulary) == 2
    assert "good" in vocabulary
    if unknown is None:
        with pytest.raises(KeyError):
            vocabulary["new"]
    else:
        assert vocabulary["new"] == unknown


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def test_a_vocabulary_that_is_code_is_never_executed(tmp_path, capsys):
    torch.save({"good": Evil()}, tmp_path / "v.pt")

    with pytest.raises(LoadFailed, match="allow_pickle"):
        load_vocabulary(str(tmp_path / "v.pt"))

    assert "executed" not in capsys.readouterr().out
