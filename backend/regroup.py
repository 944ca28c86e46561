"""A batch that cannot be answered in one call: some rows are bad, or they do not fit together.

A handler that finds this out raises `Regroup` before it has answered anything. The service then
answers the refused rows with their errors and calls the handler again for each group of the
others, with a context that knows just these rows. So neither a handler nor its subclasses ever
see a hole in a batch.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from tsl.protocol.errors import TslError


class Regroup(Exception):
    """Call the handler again, with these groups of rows.

    Args:
        groups: numbers of rows that may share a call; each group is smaller than the batch.
        refused: errors of the rows that must not be tried again.
    """

    def __init__(
        self,
        groups: Iterable[Sequence[int]] = (),
        refused: Mapping[int, TslError] | None = None,
    ) -> None:
        self.groups = [list(group) for group in groups if group]
        self.refused = dict(refused or {})
        super().__init__(f"groups {self.groups}, refused {sorted(self.refused)}")

    def check(self, count: int) -> None:
        """Make sure that following the plan answers every row, and comes to an end.

        Args:
            count: rows of the batch.

        Raises:
            ValueError: a row is missing, is there twice or does not exist, or a group is as
                large as the batch.
        """
        rows = [row for group in self.groups for row in group] + list(self.refused)
        if sorted(rows) != list(range(count)) or any(len(g) >= count for g in self.groups):
            msg = f"a batch of {count} rows cannot be regrouped like this: {self}"
            raise ValueError(msg)


def refuse_rows(refused: Mapping[int, TslError], count: int) -> None:
    """Refuse some rows of a batch; the others are served as if these had not been there.

    Args:
        refused: errors by number of the row; nothing happens when there are none.
        count: rows of the batch.

    Raises:
        Regroup: some row is refused.
        TslError: the only row is refused.
    """
    if not refused:
        return
    if count == 1:
        raise next(iter(refused.values()))
    raise Regroup([[row for row in range(count) if row not in refused]], refused)


def split_rows(keys: Sequence[Hashable]) -> None:
    """Serve rows together only if their keys are equal.

    Args:
        keys: one for each row.

    Raises:
        Regroup: the keys differ.
    """
    if keys.count(keys[0]) == len(keys):
        return
    groups: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    raise Regroup(groups.values())
