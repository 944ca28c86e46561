from pathlib import Path

import pytest

from tsl.model_store.packing_members import PackingOrder, select_members, split_extra_files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a handler in it; paths of orders are relative to it."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "h.py", "handler")
    return tmp_path


def write(path, content="content"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def order(*extra_files, handler="base_handler", **members):
    return PackingOrder(
        model_name="m", model_version="1.0", handler=handler, extra_files=extra_files, **members
    )


def names(*extra_files, **options):
    selection = select_members(order(*extra_files, **options))
    assert selection.problems == []
    return sorted(selection.members)


@pytest.mark.parametrize(
    ("handler", "file", "in_manifest"),
    [
        ("x/h.py", "x/h.py", "h.py"),
        ("x/h", "x/h.py", "h"),
        ("x/h:fn", "x/h.py", "h:fn"),
        ("x/h.py:fn", "x/h.py", "h.py:fn"),
        ("h", "h.py", "h"),
        ("./a:b/h.py", "a:b/h.py", "h.py"),
        ("image_classifier", None, "image_classifier"),
        ("BaseHandler", None, "BaseHandler"),
    ],
)
def test_the_handler_s_file_and_name_follow_from_its_form(handler, file, in_manifest):
    result = order(handler=handler)

    assert result.handler_file == (Path(file) if file else None)
    assert result.manifest_handler == in_manifest


@pytest.mark.parametrize(
    ("text", "parts"),
    [(None, ()), ("", ()), ("a", ("a",)), ("a,b", ("a", "b")), (" a , b,", ("a", "b"))],
)
def test_extra_files_are_separated_by_commas(text, parts):
    assert split_extra_files(text) == parts


def test_named_files_lose_their_folders(folder):
    for name in ("w.pt", "m.py", "r.txt", "c.yaml"):
        write(folder / "deep" / name)

    assert names(
        handler="h",
        serialized_file=Path("deep/w.pt"),
        model_file=Path("deep/m.py"),
        requirements_file=Path("deep/r.txt"),
        config_file=Path("deep/c.yaml"),
    ) == ["c.yaml", "h.py", "m.py", "r.txt", "w.pt"]


def test_the_content_of_a_folder_is_packed_with_its_folders(folder):
    write(folder / "extra" / "a.txt")
    write(folder / "extra" / "sub" / "b.txt")

    assert names("extra") == names("extra/") == ["a.txt", "sub/b.txt"]


@pytest.mark.parametrize("name", ["__pycache__", "__MACOSX", ".git"])
def test_folders_that_nobody_means_are_left_out(folder, name):
    write(folder / "extra" / "a.txt")
    write(folder / "extra" / name / "x")
    write(folder / "extra" / "sub" / name / "x")

    assert names("extra") == names("extra/*") == ["a.txt"]


def test_hidden_files_are_packed(folder):
    write(folder / "extra" / ".vocabulary")

    assert names("extra") == [".vocabulary"]


def test_wildcards_name_files_and_folders(folder):
    write(folder / "extra" / "1.json")
    write(folder / "extra" / "2.json")
    write(folder / "extra" / "other.txt")
    write(folder / "extra" / "d.json" / "in_folder")

    assert names("extra/*.json") == ["1.json", "2.json", "in_folder"]


def test_a_file_may_be_called_like_a_pattern(folder):
    write(folder / "a[1].txt")

    assert names("a[1].txt") == ["a[1].txt"]


def test_a_wildcard_without_a_match_is_a_warning(folder):
    selection = select_members(order("no*such"))

    assert selection.problems == []
    assert selection.warnings == ["--extra-files: nothing matches 'no*such'."]


def test_all_missing_files_are_reported_at_once(folder):
    selection = select_members(
        order(
            "nothing.txt",
            handler="none",
            serialized_file=Path("w.pt"),
            model_file=Path("m.py"),
            requirements_file=Path("r.txt"),
            config_file=Path("c.yaml"),
        )
    )

    assert len(selection.problems) == 6
    for name in ("none.py", "w.pt", "m.py", "r.txt", "c.yaml", "nothing.txt"):
        assert name in "\n".join(selection.problems)


def test_weights_must_be_a_file(folder):
    (folder / "weights").mkdir()

    (problem,) = select_members(order(serialized_file=Path("weights"))).problems

    assert problem == "--serialized-file: weights is a folder; it must be a file."


def test_two_files_of_one_name_are_refused(folder):
    write(folder / "a" / "x.txt", "one")
    write(folder / "b" / "x.txt", "other")

    (problem,) = select_members(order("a", "b")).problems

    assert problem == "Two files would be 'x.txt' in the archive: a/x.txt and b/x.txt."


@pytest.mark.parametrize("content", ["one", ""], ids=["equal", "empty"])
def test_two_files_of_one_name_and_content_are_one(folder, content):
    write(folder / "a" / "__init__.py", content)
    write(folder / "b" / "__init__.py", content)

    assert names("a", "b") == ["__init__.py"]


def test_a_file_may_be_named_twice(folder):
    assert names("h.py", "./h.py", handler="h.py") == ["h.py"]


def test_a_file_and_a_folder_of_one_name_are_refused(folder):
    write(folder / "a" / "x")
    write(folder / "b" / "x" / "y")

    (problem,) = select_members(order("a", "b")).problems

    assert problem.startswith("'x' would be a file and a folder in the archive")


def test_a_link_within_the_folder_is_followed(folder):
    write(folder / "extra" / "a.txt")
    (folder / "extra" / "b.txt").symlink_to("a.txt")
    write(folder / "extra" / "d" / "c.txt")
    (folder / "extra" / "e").symlink_to("d")

    assert names("extra") == ["a.txt", "b.txt", "d/c.txt", "e/c.txt"]


@pytest.mark.parametrize("target", ["h.py", "elsewhere"], ids=["file", "folder"])
def test_a_link_out_of_the_folder_is_refused(folder, target):
    write(folder / "elsewhere" / "x")
    (folder / "extra").mkdir()
    (folder / "extra" / "link").symlink_to(folder / target)

    (problem,) = select_members(order("extra")).problems

    assert "leads out of the folder" in problem


def test_a_link_that_is_named_by_itself_is_followed(folder):
    write(folder / "blobs" / "1234")
    (folder / "snapshot").mkdir()
    (folder / "snapshot" / "weights.bin").symlink_to("../blobs/1234")

    assert names("snapshot/*") == names("snapshot/weights.bin") == ["weights.bin"]


def test_a_link_to_nothing_is_refused(folder):
    (folder / "extra").mkdir()
    (folder / "extra" / "dangling").symlink_to("nowhere")
    (folder / "extra" / "circle").symlink_to("circle")

    problems = select_members(order("extra")).problems

    assert len(problems) == 2
    assert all("leads to nothing" in problem for problem in problems)


def test_a_link_to_a_folder_above_is_refused(folder):
    write(folder / "extra" / "sub" / "x")
    (folder / "extra" / "sub" / "up").symlink_to("..")

    (problem,) = select_members(order("extra")).problems

    assert "leads to a folder above" in problem


@pytest.mark.parametrize("name", ["a\\b", b"\xff".decode(errors="surrogateescape")])
def test_a_name_that_archives_cannot_hold_is_refused(folder, name):
    write(folder / "extra" / name)

    (problem,) = select_members(order("extra")).problems

    assert "rename it" in problem


def test_the_manifest_of_an_unpacked_model_is_not_taken_over(folder):
    write(folder / "old" / "MAR-INF" / "MANIFEST.json")
    write(folder / "old" / "x")

    assert names("old") == ["x"]


def test_the_output_of_an_earlier_run_is_left_out(folder):
    output = write(folder / "m.mar")

    for extra in (".", "*"):
        selection = select_members(order(extra), left_out=output)

        assert sorted(selection.members) == ["h.py"]
