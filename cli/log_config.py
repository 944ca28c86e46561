"""``--log-config``: what a log4j2 file says becomes part of the configuration."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import javaproperties

from tsl.frontend.config import SETTINGS, ServerConfig
from tsl.frontend.logs.log4j import read_log4j
from tsl.protocol.errors import ConfigError

_OPTION: Final = re.compile(r"-Dlog4j2?\.configurationFile=(\S+)")


def log4j_file(properties: str) -> Path | None:
    """The file that ``vmargs`` name, the other way to say it; None when they do not.

    Args:
        properties: content of the configuration file, which has been found to be good.
    """
    found = _OPTION.search(javaproperties.loads(properties).get("vmargs", ""))
    if found is None:
        return None
    written = found[1].strip("\"'")
    return Path(unquote(urlsplit(written).path) if written.startswith("file:") else written)


def with_log4j(config: ServerConfig, file: Path, environ: Mapping[str, str]) -> ServerConfig:
    """Take a log4j2 file into account; the ``log_*`` settings that are written beat it.

    Args:
        config: the configuration.
        file: a log4j2 file in XML.
        environ: environment variables.

    Raises:
        ConfigError: the file cannot be used; the second problem is an advice.
    """
    try:
        found = read_log4j(file, environ)
    except ConfigError as error:
        advice = "Name another one with --log-config, or leave it out."
        raise ConfigError(*error.problems, advice) from error
    names = {declared.key: name for name, declared in SETTINGS.items()}
    values: dict[str, Any] = {
        names[key]: value
        for key, value in found.values.items()
        if config.sources.get(key, "default") == "default"
    }
    note = f"Not used of {file}: {'; '.join(found.ignored)}." if found.ignored else ""
    return dataclasses.replace(config, **values, warnings=(*config.warnings, *filter(None, [note])))
