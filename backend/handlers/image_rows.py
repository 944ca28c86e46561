"""Requests with several images: one row for each image on the way in, one answer on the way out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NoReturn

from tsl.protocol.errors import InvalidInput, TslError

from ..regroup import Regroup, refuse_rows
from ..rows import RequestRow
from .views import View


class ImageRow(dict[str, Any]):
    """One image of a request, in the shape of a row.

    Attributes:
        view: the form that the request wants explanations in.
    """

    view = View.JSON


class ImageRows:
    """A batch with one row for each image.

    Args:
        data: the rows as they came.
        limit: images in one request at most.
        views: the form of each request's explanation; None for predictions.

    Attributes:
        rows: one for each image.

    Raises:
        Regroup: some request has too many images.
        InvalidInput: the only request has.
    """

    def __init__(self, data: Sequence[Any], limit: int, views: Sequence[View] | None) -> None:
        self.rows: list[Any] = []
        self._owners: list[int] = []
        self._count = len(data)
        refused: dict[int, TslError] = {}
        for number, row in enumerate(data):
            images = list(_images(row))
            if len(images) > limit:
                msg = f"{len(images)} images are too many; send at most {limit} in a request."
                refused[number] = InvalidInput(msg)
            for image in images:
                if views is not None and isinstance(image, ImageRow):
                    image.view = views[number]
            self.rows += images
            self._owners += [number] * len(images)
        refuse_rows(refused, self._count)

    def refuse(self, plan: Regroup) -> NoReturn:
        """Say by requests what was said by images: a bad one fails its own request.

        Raises:
            Regroup: with the bad requests and the others.
            TslError: the only request is bad.
        """
        refused: dict[int, TslError] = {}
        for number, error in sorted(plan.refused.items()):
            owner = self._owners[number]
            refused.setdefault(owner, self._named(number, error))
        refuse_rows(refused, self._count)
        raise plan

    def _named(self, number: int, error: TslError) -> TslError:
        owner = self._owners[number]
        count = self._owners.count(owner)
        if count == 1:
            return error
        place = number - self._owners.index(owner) + 1
        return type(error)(f"Image {place} of {count}: {error.message}", hint=error.hint)

    def gather(self, answers: Sequence[Any]) -> list[list[Any]]:
        """The answers of each request.

        Args:
            answers: one for each of `rows`.
        """
        pairs = zip(self._owners, answers, strict=True)
        return [[answer for _, answer in group] for _, group in groupby(pairs, key=_first)]


def _first(pair: tuple[int, Any]) -> int:
    return pair[0]


def _images(row: Any) -> Iterator[Any]:
    """A row for each image of a request; what an envelope has unwrapped is left alone."""
    if not isinstance(row, RequestRow):
        yield row
        return
    name = "data" if "data" in row else "body"
    for value in row.getlist(name) or [None]:
        image = ImageRow(row)
        image[name] = value
        yield image


def has_several(data: Sequence[Any]) -> bool:
    """Whether some request of a batch repeats a field."""
    return any(isinstance(row, RequestRow) and row.has_repeated for row in data)
