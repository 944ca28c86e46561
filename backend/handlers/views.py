"""The form in which a client wants an explanation: JSON, a picture or a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final
from urllib.parse import parse_qs

from tsl.protocol.errors import InvalidInput

QUERY_HEADER: Final = "url_query"
"""Where the server puts the query string of an explanation's address."""


class View(Enum):
    """A form of an explanation."""

    JSON = "json"
    PNG = "png"
    HTML = "html"


_VIEW_BY_TYPE: Final = {
    "application/json": View.JSON,
    "application/*": View.JSON,
    "*/*": View.JSON,
    "image/png": View.PNG,
    "image/*": View.PNG,
    "text/html": View.HTML,
    "text/*": View.HTML,
}


def wanted_view(headers: Mapping[str, Any]) -> View:
    """What a request asks for: ``?format=`` decides, else the header ``Accept``, else JSON.

    Args:
        headers: of the request, names in any spelling.

    Raises:
        InvalidInput: there is no such format.
    """
    query = parse_qs(str(headers.get(QUERY_HEADER, "")))
    if "format" in query:
        name = query["format"][-1].lower()
        try:
            return View(name)
        except ValueError as error:
            names = ", ".join(view.value for view in View)
            msg = f"There is no format {name[:40]!r}; explanations have the formats {names}."
            raise InvalidInput(msg) from error
    accepted = [value for name, value in headers.items() if name.lower() == "accept"]
    return _best(part for value in accepted for part in str(value).split(","))


def _best(media_ranges: Iterable[str]) -> View:
    """The form of the highest weight; of equal ones, the first."""
    best, best_weight = View.JSON, 0.0
    for media_range in media_ranges:
        media_type, *parameters = (part.strip().lower() for part in media_range.split(";"))
        view = _VIEW_BY_TYPE.get(media_type)
        weight = _weight(parameters)
        if view is not None and weight > best_weight:
            best, best_weight = view, weight
    return best


def _weight(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
