"""Which requirements files are equal enough to share an environment."""

import pytest

from tsl.frontend.dependencies import fingerprint as module
from tsl.frontend.dependencies.fingerprint import fingerprint
from tsl.protocol.errors import DependenciesFailed


@pytest.fixture
def hash_of(tmp_path):
    def hash_of(text, files=None):
        for name, content in (files or {}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        (tmp_path / "requirements.txt").write_text(text)
        return fingerprint(tmp_path / "requirements.txt", tmp_path)

    return hash_of


def test_comments_do_not_count(hash_of):
    assert hash_of("a==1  # one\n# two\nb @ https://x/b.whl#sha256=1\n") == hash_of(
        "a==1\n\nb @ https://x/b.whl#sha256=1\n"
    )


def test_versions_count(hash_of):
    assert hash_of("a==1\n") != hash_of("a==2\n")


@pytest.mark.parametrize(
    "line",
    ["-r more.txt", "--requirement=more.txt", "-c more.txt", "--constraint more.txt",
     "./more.txt", "more.txt ; python_version > '3'", "x @ file:more.txt", "-e more.txt",
     "--find-links more.txt", "-f\\\n more.txt"],
)  # fmt: skip
def test_local_files_count_with_their_content(hash_of, line):
    before = hash_of(f"{line}\n", {"more.txt": "1"})

    assert hash_of(f"{line}\n", {"more.txt": "2"}) != before
    assert hash_of(f"{line}\n", {"more.txt": "1"}) == before


def test_files_that_others_name_count(hash_of):
    first = hash_of("-r a.txt\n", {"a.txt": "-r b.txt\n", "b.txt": "./c.whl\n", "c.whl": "1"})

    assert hash_of("-r a.txt\n", {"c.whl": "2"}) != first


def test_a_folder_counts_with_its_files(hash_of):
    before = hash_of("-f wheels\n", {"wheels/a": "1"})

    assert hash_of("-f wheels\n", {"wheels/__pycache__/x": "1"}) == before
    assert hash_of("-f wheels\n", {"wheels/b": "1"}) != before


def test_files_that_name_each_other_end(hash_of):
    assert hash_of("-r a.txt\n", {"a.txt": "-r requirements.txt\n"})


def test_names_of_packages_are_no_files(hash_of):
    assert hash_of("a\n") != hash_of("b\n")
    assert hash_of("a" * 5000 + "\n\0\n")


def test_what_cannot_be_read(hash_of, tmp_path, monkeypatch):
    with pytest.raises(DependenciesFailed, match=r"nothing\.txt cannot be read: No such file"):
        fingerprint(tmp_path / "nothing.txt", tmp_path)
    monkeypatch.setattr(module, "MAX_REQUIREMENTS_BYTES", 10)
    with pytest.raises(DependenciesFailed, match="larger than 10 bytes"):
        hash_of("a" * 11)
    monkeypatch.setattr(module, "MAX_NESTED_FILES", 1)
    with pytest.raises(DependenciesFailed, match="too many others"):
        hash_of("-r a.txt", {"a.txt": "b"})
