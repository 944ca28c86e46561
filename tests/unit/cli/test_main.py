"""The tree of commands."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from tsl.cli import main as main_module
from tsl.cli.main import COMMANDS, cli, main


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_page(name):
    result = CliRunner().invoke(cli, [name, "--help"])

    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: cli {name}")


def test_the_list_of_commands_imports_none_of_them(monkeypatch):
    def refuse(name):
        pytest.fail(f"{name} was imported")

    monkeypatch.setattr(main_module.importlib, "import_module", refuse)

    result = CliRunner().invoke(cli, ["--help"])

    assert all(name in result.output for name in COMMANDS)


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tsl ")


@pytest.mark.parametrize("args", [["bogus"], ["start", "--bogus"], ["stop", "extra"]])
def test_a_wrong_command_line_is_a_usage_error(args, capsys):
    assert main(args) == 2
    assert "Usage:" in capsys.readouterr().err


def test_the_exit_code_is_what_the_command_returns(monkeypatch):
    @click.command()
    def command():
        return 4

    monkeypatch.setattr(main_module.LazyGroup, "get_command", lambda *_: command)

    assert main(["status"]) == 4


def test_an_interrupt_is_told_apart(monkeypatch):
    @click.command()
    def command():
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module.LazyGroup, "get_command", lambda *_: command)

    assert main(["status"]) == 130
