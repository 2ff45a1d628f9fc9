"""Notebook 12's record, read by data set, method and measure."""

from __future__ import annotations

from typing import Any

from ..recorded import results
from ..studies import nb12_regularizers as study
from ..verdicts.comparison import Comparison


class RegularizerRecord:
    """The runs of the fresh seeds, each method at the value that the tuning seed chose.

    document: the content of `nb12_regularizers.json`. Raises NotRecorded while one of the runs that
        choose is missing.
    """

    def __init__(self, document: dict[str, Any]):
        self.document = document
        self.chosen = study.STUDY.chosen(document)

    def value(self, data: str, method: str) -> float | str:
        """What was chosen for this method on this data set."""
        return self.chosen[data][method]

    def at_edge(self, data: str, method: str) -> bool:
        """Whether the chosen value is the first or the last of three numbers: more may be better.

        False for what is no number (the parts to freeze).
        """
        grid = study.GRID[study.run_of(method)]
        return not isinstance(grid[0], str) and self.value(data, method) in (grid[0], grid[-1])

    def measure(self, data: str, method: str, name: str) -> tuple[float, ...]:
        """A number of each seed, where the run ended; for early stopping where it was best."""
        moment = "best" if method in study.STOPPED else "end"
        runs = results(self.document, study.fresh(data, method, self.value(data, method)))
        return tuple(result[moment][name] for result in runs)

    def mean(self, data: str, method: str, name: str) -> float:
        """The mean over the seeds."""
        found = self.measure(data, method, name)
        return sum(found) / len(found)

    def gain(self, data: str, method: str, other: str) -> Comparison:
        """How much lower the test loss is than the other method's, seed by seed, in nats."""
        mine, theirs = (self.measure(data, m, "test_loss") for m in (method, other))
        gains = tuple(b - a for a, b in zip(mine, theirs, strict=True))
        return Comparison(f"{data}: {method} against {other}, test loss", gains, "nats")
