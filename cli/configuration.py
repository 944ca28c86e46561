"""``tsl config``: which settings count, where they come from, and what they mean."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from tsl.frontend.config import SETTINGS, ServerConfig
from tsl.frontend.config_fields import Setting
from tsl.frontend.config_merge import (
    FROM_COMMAND_LINE,
    FROM_DEFAULT,
    FROM_ENVIRONMENT,
    JAVA_ONLY_KEYS,
)
from tsl.frontend.config_source import find_config
from tsl.protocol.errors import ConfigError

from .exit_codes import ExitCode
from .tables import aligned

MASK: Final = "********"
_LONGEST_CELL: Final = 60
_BY_KEY: Final[Mapping[str, Setting]] = {declared.key: declared for declared in SETTINGS.values()}

_ts_config = click.option(
    "--ts-config", type=click.Path(path_type=Path), help="Configuration file of the start."
)
_no_snapshots = click.option(
    "--no-config-snapshots", "--ncs", is_flag=True, help="Do not look for snapshots."
)


@click.group("config")
def command() -> None:
    """Show the settings that a start in this folder would use, and explain them."""


@command.command("show")
@_ts_config
@_no_snapshots
@click.option("--changed", is_flag=True, help="Only what is not at its default.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def show(ts_config: Path | None, no_config_snapshots: bool, changed: bool, as_json: bool) -> int:
    """Show every setting with its value and source.

    The exit code is 1 when the configuration has mistakes; all of them are named.
    """
    config = _load(ts_config, use_snapshots=not no_config_snapshots)
    if config is None:
        return ExitCode.FAILED
    rows = {
        key: (shown_value(config, declared), source_of(config, declared, os.environ))
        for key, declared in _BY_KEY.items()
        if not changed or config.sources[key] != FROM_DEFAULT
    }
    if as_json:
        document = {
            key: {"value": value, "source": source} for key, (value, source) in rows.items()
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return ExitCode.OK
    cells = [(key, _cut(value), source) for key, (value, source) in rows.items()]
    for line in aligned([("SETTING", "VALUE", "SOURCE"), *cells]):
        click.echo(line)
    for warning in config.warnings:
        click.echo(f"Note: {warning}", err=True)
    if config.ignored:
        click.echo(f"Note: of use to the Java server only: {', '.join(config.ignored)}.", err=True)
    return ExitCode.OK


@command.command("explain")
@click.argument("key")
@_ts_config
@_no_snapshots
def explain(key: str, ts_config: Path | None, no_config_snapshots: bool) -> int:
    """Explain the setting KEY: what it does, its value, and how it can be set."""
    if key in JAVA_ONLY_KEYS:
        click.echo(f"{key}: accepted, because files of TorchServe have it, and not used.")
        return ExitCode.OK
    declared = _BY_KEY.get(key) or _by_variable(key)
    if declared is None:
        close = difflib.get_close_matches(key, _BY_KEY, n=3)
        advice = f"Did you mean {' or '.join(close)}?" if close else "See them: tsl config show"
        click.echo(f"There is no setting {key}. {advice}", err=True)
        return ExitCode.FAILED
    config = _load(ts_config, use_snapshots=not no_config_snapshots)
    if config is None:
        return ExitCode.FAILED
    for line in explanation(config, declared, os.environ):
        click.echo(line)
    return ExitCode.OK


def explanation(config: ServerConfig, declared: Setting, environ: Mapping[str, str]) -> list[str]:
    """What there is to say about a setting, line by line."""
    lines = [
        declared.key,
        f"  {declared.help}",
        f"  value     {shown_value(config, declared) or '(none)'}",
        f"  source    {source_of(config, declared, environ)}",
        f"  default   {declared.default_text or '(none)'}",
    ]
    ways = []
    if declared.in_file:
        ways.append(f"{declared.key}=... in the configuration file")
    ways += [f"{name} in the environment" for name in declared.always_env]
    if declared.env_name:
        ways.append(
            f"{declared.env_name} in the environment, if the file has enable_envvars_config=true"
        )
    lines += [f"  {'set by' if not number else '':<9} {way}" for number, way in enumerate(ways)]
    if declared.own:
        lines.append("  TorchServe does not have this setting.")
    return lines


def shown_value(config: ServerConfig, declared: Setting) -> str:
    """A value as it would be written, a secret masked; "" for none."""
    written = config.texts.get(declared.key)
    if written is None:
        return declared.default_text
    return MASK if declared.secret else written


def source_of(config: ServerConfig, declared: Setting, environ: Mapping[str, str]) -> str:
    """Where a value comes from, with the name of the file or variable."""
    source = config.sources[declared.key]
    if source == FROM_ENVIRONMENT:
        names = (*declared.always_env, declared.env_name)
        name = next((name for name in names if environ.get(name)), declared.env_name)
        return f"environment {name}" if name else FROM_ENVIRONMENT
    if source in (FROM_DEFAULT, FROM_COMMAND_LINE):
        return source
    if config.snapshot_file:
        return f"snapshot {config.snapshot_file}"
    return f"file {config.file}"


def _by_variable(name: str) -> Setting | None:
    return next((one for one in _BY_KEY.values() if name in (one.env_name, *one.always_env)), None)


def _load(ts_config: Path | None, *, use_snapshots: bool) -> ServerConfig | None:
    """The configuration, or None once its mistakes have been told."""
    try:
        source = find_config(os.environ, ts_config, Path.cwd(), use_snapshots=use_snapshots)
        return ServerConfig.load(source.text, os.environ, {}, notes=source.notes)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"Invalid configuration: {problem}", err=True)
        return None


def _cut(value: str) -> str:
    line = " ".join(value.split())
    return line if len(line) <= _LONGEST_CELL else f"{line[: _LONGEST_CELL - 1]}…"
