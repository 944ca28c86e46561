import pytest

from tsl.model_store.names import check_name, default_name
from tsl.protocol.errors import InvalidArchive, InvalidParameter


@pytest.mark.parametrize("name", ["m", "my model", "a+b", "größe", "模型", "a.b", "..a", "x" * 255])
def test_names_are_free_text(name):
    check_name(name, "model_name")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/", "a\nb", "a\0", "\x7f", "a\x85b", "\ud800", "x" * 256]
)
def test_names_that_no_path_could_have_are_refused(name):
    with pytest.raises(InvalidParameter, match="model_name"):
        check_name(name, "model_name")


def test_the_error_is_the_callers_choice():
    with pytest.raises(InvalidArchive, match="the manifest's name"):
        check_name("", "the manifest's name", InvalidArchive)


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("echo.mar", "echo"),
        ("no-man.ifest.mar", "no_man_ifest"),
        ("a.model", "a"),
        ("_a b.mar", "_a_b"),
        ("größe.mar", "gr__e"),
        ("x.tar.gz", "x_tar_gz"),
        ("folder", "folder"),
    ],
)
def test_a_file_name_becomes_a_model_name(file_name, name):
    assert default_name(file_name) == name
