"""What click lacks for the options of TorchServe: one option followed by many values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import click

_GREEDY_OPTION: Final = "--models"


class ManyValuesCommand(click.Command):
    """A command without positional arguments whose ``--models`` takes every word up to the next option.

    ``--models a.mar b=c.mar --ncs`` is read as ``--models a.mar --models b=c.mar --ncs``.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each of its values, then parse as usual."""
        return super().parse_args(ctx, repeat_option(args, _GREEDY_OPTION))


def repeat_option(args: Sequence[str], option: str) -> list[str]:
    """Write ``option`` before each word that follows it up to the next option.

    Args:
        args: words of a command line.
        option: the option that takes many values; without any it disappears, as TorchServe's does.
    """
    repeated: list[str] = []
    is_greedy = False
    for word in args:
        if word == option:
            is_greedy = True
        elif word.startswith("-"):
            is_greedy = word.startswith(f"{option}=")
            repeated.append(word)
        elif is_greedy:
            repeated += [option, word]
        else:
            repeated.append(word)
    return repeated


def join_models(values: Iterable[str]) -> str:
    """The values of ``--models`` as the property ``load_models`` writes them."""
    parts = (part.strip() for value in values for part in value.split(","))
    return ",".join(part for part in parts if part)


def split_settings(values: Iterable[str]) -> dict[str, str]:
    """The values of ``--set`` as settings.

    Raises:
        UsageError: one of them is not ``KEY=VALUE``.
    """
    found = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key.strip():
            msg = f"--set {value}: expected KEY=VALUE"
            raise click.UsageError(msg)
        found[key.strip()] = text
    return found
