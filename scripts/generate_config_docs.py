"""Write docs/configuration.md from the fields of `ServerConfig`.

Run it after a change of frontend/config.py; a unit test compares the file with `page()`.
"""

from __future__ import annotations

from pathlib import Path

from tsl.frontend.config import SETTINGS
from tsl.frontend.config_fields import Setting
from tsl.frontend.config_merge import JAVA_ONLY_KEYS

TARGET = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"

INTRODUCTION = """\
# Configuration

<!-- Written by scripts/generate_config_docs.py from frontend/config.py; do not edit. -->

Settings live in a Java properties file: the one that `TS_CONFIG_FILE` names, else the one of
`--ts-config`, else the newest [snapshot](snapshots.md) (not with `--ncs`), else `config.properties` in
the current folder. A value counts in this order, the last one wins:

1. the default,
2. the file; `$$NAME$$` in a value stands for the environment variable `NAME`,
3. the command line,
4. the environment: the variables below, but only if the file says `enable_envvars_config=true`.
   Variables marked *always* are read in any case.

Only `true`, in any case, switches a yes/no setting on; everything else switches it off, with a
warning unless it is `false`. An empty value means the default. Numbers, addresses and JSON are
checked at the start, and everything that is wrong is reported at once. Unknown properties are
reported in the log and not used.

`tsl config show` prints every setting with its value and source, `tsl config explain KEY` what one
means and how it can be set.
"""

OWN = """\
## Settings that TorchServe does not have
"""

IGNORED = """\
## Accepted and not used

These steer the Java server and mean nothing here: {keys}. A file that holds them needs no change.
"""

_NO_VALUE = "–"


def page() -> str:
    """The whole page."""
    settings = list(SETTINGS.values())
    inherited = [setting for setting in settings if not setting.own]
    own = [setting for setting in settings if setting.own]
    keys = ", ".join(f"`{key}`" for key in sorted(JAVA_ONLY_KEYS))
    return "\n".join(
        [
            INTRODUCTION,
            "## Settings\n",
            *_table(inherited),
            "",
            OWN,
            *_table(own),
            "",
            IGNORED.format(keys=keys),
        ]
    )


def _table(settings: list[Setting]) -> list[str]:
    return [
        "| Property | Default | Variable | Meaning |",
        "| --- | --- | --- | --- |",
        *(_row(setting) for setting in settings),
    ]


def _row(setting: Setting) -> str:
    name = f"`{setting.key}`" if setting.in_file else f"{setting.key} (variable only)"
    default = _code(setting.default_text) if setting.default_text else _NO_VALUE
    return f"| {name} | {default} | {_variables(setting)} | {setting.help} |"


def _variables(setting: Setting) -> str:
    always = [f"`{name}` (always)" for name in setting.always_env]
    switched = [f"`{setting.env_name}`"] if setting.env_name else []
    return ", ".join(always + switched) or _NO_VALUE


def _code(text: str) -> str:
    escaped = text.replace("|", "\\|")
    return f"`{escaped}`"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
