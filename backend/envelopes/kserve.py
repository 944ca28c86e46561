"""The ``kserve`` envelope: KServe protocol, version 1."""

from __future__ import annotations

from typing import Any

from tsl.protocol.errors import InvalidInput

from .base import (
    BaseEnvelope,
    EntryPoint,
    Rows,
    list_member,
    parse_document,
    row_value,
    split_results,
)


class KServeEnvelope(BaseEnvelope):
    """``{"instances": [...]}`` in, ``{"predictions": ...}`` or ``{"explanations": ...}`` out.

    A single request is answered with whatever the handler returned. With several requests in
    a batch the instances are joined, and the handler must return one result for each.
    """

    def __init__(self, handle_fn: EntryPoint) -> None:
        super().__init__(handle_fn)
        self._lengths: list[int] = []

    def parse_input(self, data: Rows) -> list[Any]:
        """The instances of all rows, in order."""
        self._lengths = []
        joined: list[Any] = []
        for number, row in enumerate(data):
            try:
                instances = list_member(parse_document(row_value(row)), "instances")
            except InvalidInput as error:
                self.refuse(number, error)
            else:
                self._lengths.append(len(instances))
                joined += instances
        return joined

    def _sizes(self) -> list[int]:
        return self._lengths

    def format_output(self, data: Any) -> list[dict[str, Any]]:
        """One answer document for each row.

        Raises:
            InvalidOutput: several rows, and not one result for each instance.
        """
        # Handlers take the kind of the whole batch from its first row; so must the answer.
        explain = self.context.get_request_header(0, "explain") == "True"
        key = "explanations" if explain else "predictions"
        if len(self._lengths) == 1:
            return [{key: data.tolist() if hasattr(data, "tolist") else data}]
        return [{key: part} for part in split_results(data, self._lengths)]
