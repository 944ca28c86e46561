import collections
import io
import os
import pickle
import zipfile

import pytest

from tsl.model_store import pickles
from tsl.model_store.pickles import WeightsFile, WeightsKind, read_weights_file


class Named:
    """Pickles as a call of something by name."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def look(path, content):
    path.write_bytes(content)
    return read_weights_file(path, "w.pt")


def torch_zip(pickled, folder="archive", compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(f"{folder}/data.pkl", pickled)
        archive.writestr(f"{folder}/data/0", b"\0" * 100)
    return file.getvalue()


TENSORS = (
    b"\x80\x02ccollections\nOrderedDict\n)Rctorch._utils\n_rebuild_tensor_v2\n"
    b"ctorch\nFloatStorage\nctorch\nbfloat16\n."
)


@pytest.mark.parametrize("content", [TENSORS, torch_zip(TENSORS)], ids=["old", "zip"])
def test_tensors_and_their_containers_are_harmless(tmp_path, content):
    assert look(tmp_path / "w.pt", content) == WeightsFile("w.pt", WeightsKind.PICKLE, ())


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_functions_are_named(tmp_path, protocol):
    harmful = pickle.dumps([collections.OrderedDict(), Named(os.getenv, "HOME")], protocol)

    assert look(tmp_path / "w.pt", harmful).names == ("os.getenv",)
    assert look(tmp_path / "w.pt", torch_zip(harmful)).names == ("os.getenv",)


def test_classes_of_torch_are_named(tmp_path):
    pickled = b"\x80\x02ctorch.nn.modules.linear\nLinear\nctorch.hub\nload\nctorch\nload\n."

    assert look(tmp_path / "w.pt", pickled).names == (
        "torch.hub.load",
        "torch.load",
        "torch.nn.modules.linear.Linear",
    )


@pytest.mark.parametrize(
    "name", ["torch._utils _import_dotted_name", "torch.storage _load_from_bytes", "torch load"]
)
def test_loaders_in_the_modules_of_tensors_are_named(tmp_path, name):
    module, function = name.split()

    found = look(tmp_path / "w.pt", f"\x80\x02c{module}\n{function}\n.".encode("latin-1"))

    assert found.names == (f"{module}.{function}",)


def test_a_name_that_is_put_together_is_not_believed(tmp_path):
    """A text below a removed one: what stands beside the instruction is not what it takes."""
    pickled = (
        b"\x80\x04\x8c\x02os\x8c\x06system"
        b"\x8c\x0bcollections0\x8c\x0bOrderedDict0"  # 0 removes what was put last
        b"\x93."
    )

    assert look(tmp_path / "w.pt", pickled).names == ("a name that cannot be read",)


def test_the_later_pickles_of_an_old_file_are_read_too(tmp_path):
    content = pickle.dumps(1, 2) + pickle.dumps(Named(os.getenv, "x"), 2) + b"\xffweights"

    assert look(tmp_path / "w.pt", content).names == ("os.getenv",)


@pytest.mark.parametrize(
    "content",
    [
        TENSORS[:-5],
        b"\x80\x02\xfe\xfe.",
        b"\x80\x02\x82\x01.",
        b"PK\x03\x04 and then nothing",
        torch_zip(b""),
        torch_zip(TENSORS)[:-30],
    ],
    ids=["cut off", "no pickle", "extension", "no zip", "empty", "cut zip"],
)
def test_what_cannot_be_read_is_not_harmless(tmp_path, content):
    assert look(tmp_path / "w.pt", content).names == ("a name that cannot be read",)


def test_a_pickle_that_is_too_large_is_not_harmless(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MAX_PICKLE_BYTES", 20)

    assert look(tmp_path / "w.pt", TENSORS).names == ("a name that cannot be read",)


def test_torchscript_is_told_apart(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("m/code/__torch__.py", "def forward(self): ...")
        archive.writestr("m/constants.pkl", b"")

    found = look(tmp_path / "w.pt", file.getvalue())

    assert found == WeightsFile("w.pt", WeightsKind.TORCHSCRIPT)


@pytest.mark.parametrize("content", [b"", b"\x08\x07onnx", b"{}"])
def test_other_files_are_none_of_them(tmp_path, content):
    assert look(tmp_path / "w.pt", content) is None


def test_a_zip_file_of_arrays_is_no_pickle(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY")

    assert look(tmp_path / "w.bin", file.getvalue()) is None
