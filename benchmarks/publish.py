"""Fill a page with tables and draw its plots from kept numbers: ``python -m benchmarks.publish``.

Tables stand between ``<!-- table: SCENARIO -->`` and ``<!-- end -->``, curves between
``<!-- curve: SCENARIO -->`` and ``<!-- end -->``; everything else of the page is written by people.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from . import plots, results
from .processes import ROOT
from .scenarios.registry import SCENARIOS
from .tables import provenance, scenario_table

PAGE: Final = ROOT / "docs" / "benchmarks" / "README.md"
DATA: Final = PAGE.parent / "data"
_PLACE: Final = re.compile(
    r"(?P<begin><!-- (?P<kind>table|curve): (?P<name>[a-z0-9-]+) -->\n).*?(?P<end><!-- end -->)",
    re.DOTALL,
)


def fill(page: str, data: Path) -> str:
    """The page with its tables and curves as the numbers have them now.

    Args:
        page: Markdown with places for them.
        data: folder of the numbers.

    Raises:
        ValueError: a place names a scenario that there is not.
    """

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in SCENARIOS:
            raise ValueError(f"there is no scenario {name!r}")
        written = _WRITERS[match["kind"]](name, results.read(data, name))
        return f"{match['begin']}\n{written}\n\n{match['end']}"

    return _PLACE.sub(replace, page)


def _table(name: str, document: Mapping[str, Any]) -> str:
    if not document:
        return "Not measured yet."
    return f"{scenario_table(SCENARIOS[name], document)}\n\n{provenance(document)}"


def _curve(name: str, document: Mapping[str, Any]) -> str:
    if not document or not plots.is_curve(document):
        return "Not drawn yet: it takes three points."
    return f"![{SCENARIOS[name].title}]({name}.svg)"


_WRITERS: Final = {"table": _table, "curve": _curve}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publish", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="default docs/benchmarks/data")
    parser.add_argument("--page", type=Path, default=PAGE, help="default docs/benchmarks/README.md")
    options = parser.parse_args()
    page = options.page.read_text(encoding="utf-8")
    options.page.write_text(fill(page, options.data), encoding="utf-8")
    for name, scenario in SCENARIOS.items():
        document = results.read(options.data, name)
        if document and plots.is_curve(document):
            plots.draw(scenario, document, options.page.parent / f"{name}.svg")


if __name__ == "__main__":
    main()
