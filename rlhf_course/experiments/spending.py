"""A run that ends with its budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from rlhf_lib.record import Record


def affordable(records: Iterable[Record], most: float) -> Iterator[Record]:
    """The records of a run until its next step would cost more than `most` in all, start apart.

    most: in the unit of the records' cost. The next step is taken to be as dear as the dearest so
    far; the first is always taken.
    """
    costs = []
    for record in records:
        yield record
        costs.append(record.cost)
        dearest = max((b - a for a, b in pairwise(costs)), default=0)
        if costs[-1] - costs[0] + dearest > most:
            break
