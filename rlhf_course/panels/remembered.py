"""What a panel has run before, to be drawn while a control is dragged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rlhf_lib.record import Record


class Remembered:
    """A generator of records that keeps its longest run for each setting of the controls `by`.

    `preview(values)` gives those of its records that a run with these values would have, too, by
    `within(record, values)`; none where nothing was run yet.
    """

    def __init__(
        self,
        generate: Callable[..., Iterable[Record]],
        by: Sequence[str],
        within: Callable[[Record, dict[str, Any]], bool],
    ):
        self._generate, self._by, self._within = generate, by, within
        self._kept: dict[tuple, list[Record]] = {}

    def __call__(self, **values: Any) -> Iterator[Record]:
        found: list[Record] = []
        try:
            for record in self._generate(**values):
                found.append(record)
                yield record
        finally:
            key = tuple(values[name] for name in self._by)
            if len(found) > len(self._kept.get(key, ())):
                self._kept[key] = found

    def preview(self, values: dict[str, Any]) -> list[Record]:
        """The records of such a run, as far as they are known."""
        kept = self._kept.get(tuple(values[name] for name in self._by), ())
        return [record for record in kept if self._within(record, values)]
