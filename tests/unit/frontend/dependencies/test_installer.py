"""Which commands install packages; that they do is shown by tests/e2e/test_dependencies.py."""

import sys
from pathlib import Path

import pytest

from tsl.frontend.dependencies import installer
from tsl.frontend.dependencies.installer import (
    InstallError,
    choose_tool,
    inherit_packages,
    inherited_places,
    install_command,
)

FILE = Path("/m/requirements.txt")


@pytest.mark.parametrize(
    ("asked", "has_pip", "has_uv", "expected"),
    [("auto", True, True, "pip"), ("auto", False, True, "uv"), ("pip", False, True, "pip"),
     ("uv", True, True, "uv")],
)  # fmt: skip
def test_the_tool(monkeypatch, asked, has_pip, has_uv, expected):
    monkeypatch.setattr(installer.importlib.util, "find_spec", lambda name: has_pip or None)
    monkeypatch.setattr(installer.shutil, "which", lambda name: "/bin/uv" if has_uv else None)

    assert choose_tool(asked) == expected


@pytest.mark.parametrize("asked", ["auto", "uv"])
def test_without_a_tool(monkeypatch, asked):
    monkeypatch.setattr(installer.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(installer.shutil, "which", lambda name: None)

    with pytest.raises(InstallError, match=r"not installed|is installed"):
        choose_tool(asked)


def test_pip_installs_into_a_folder_or_an_environment():
    to_folder = install_command("pip", FILE, target=Path("/t"))
    to_venv = install_command("pip", FILE, python="/v/bin/python")

    assert to_folder[0] == sys.executable
    assert to_folder[-5:] == ["-U", "-t", "/t", "-r", str(FILE)]
    assert to_venv[0] == "/v/bin/python"
    assert to_venv[-5:] == ["-U", "--upgrade-strategy", "only-if-needed", "-r", str(FILE)]
    assert "--no-input" in to_venv


def test_uv_installs_into_a_folder_or_an_environment():
    to_folder = install_command("uv", FILE, target=Path("/t"))
    to_venv = install_command("uv", FILE, python="/v/bin/python")

    assert to_folder[:5] == ["uv", "pip", "install", "--python", sys.executable]
    assert to_folder[-4:] == ["--target", "/t", "-r", str(FILE)]
    assert "/v/bin/python" in to_venv
    assert "--target" not in to_venv


def test_an_environment_brings_the_servers_packages_in(tmp_path):
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = tmp_path / "lib" / version / "site-packages"
    packages.mkdir(parents=True)

    inherit_packages(tmp_path)

    (file,) = packages.glob("*.pth")
    lines = file.read_text().splitlines()
    assert inherited_places()
    assert lines == [f"import site; site.addsitedir({place!r})" for place in inherited_places()]
