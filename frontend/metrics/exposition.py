"""The metrics page: Prometheus text format 0.0.4, spelt as TorchServe spells it.

prometheus_client's own writer sorts the labels and puts ``_total`` behind every counter's name;
existing dashboards and scripts know neither. So its data model is used, and the text made here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from .doubles import double_text


def render(families: Iterable[Metric], names: Collection[str] = ()) -> bytes:
    """The text of some families.

    Args:
        families: what to show.
        names: names of samples or of whole families to restrict the text to; all when empty.
    """
    lines: list[str] = []
    for family in families:
        samples = family.samples
        if names and family.name not in names:
            samples = [sample for sample in samples if sample.name in names]
        if names and not samples:
            continue
        lines.append(f"# HELP {family.name} {_escaped_help(family.documentation)}\n")
        lines.append(f"# TYPE {family.name} {family.type}\n")
        lines += map(_line, samples)
    return "".join(lines).encode("utf-8", "replace")


def _line(sample: Sample) -> str:
    labels = "".join(f'{name}="{_escaped(value)}",' for name, value in sample.labels.items())
    return f"{sample.name}{f'{{{labels}}}' if labels else ''} {double_text(sample.value)}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _escaped_help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
