"""Notebook 12's records, read by method and measure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..recorded import NotRecorded, results
from ..studies import Study
from ..studies import nb12_regularizers as study
from ..verdicts.comparison import Comparison
from .nb12_cures import Cures


class CuresRecord:
    """The seeds that judge of a comparison at equal gradients, up to its last look.

    cures, judged_by: what a study such as `nb12_sst2` has as CURES and STUDY. document: its record.
    Raises NotRecorded before the first look.

    Attributes: seeds; chosen, by method the settings without a seed.
    """

    def __init__(self, cures: Cures, judged_by: Study, document: dict[str, Any]):
        looked = judged_by.looked(document)
        if not looked:
            raise NotRecorded(f"the first {judged_by.looks[0]} seeds are not all recorded")
        self.cures, self.document, self.looks = cures, document, judged_by.looks
        self.seeds, self.chosen = range(looked[-1][0]), judged_by.chosen(document)

    def measure(self, name: str, key: str) -> tuple[float, ...]:
        """A number of each seed, where the run ended; for early stopping where it was best."""
        return tuple(r[key] for r in self.cures.judged(self.document, name, self.seeds))

    def mean(self, name: str, key: str) -> float:
        """The mean over the seeds."""
        found = self.measure(name, key)
        return sum(found) / len(found)

    def gain(self, name: str, other: str) -> Comparison:
        """How much lower the test loss is than the other's, by seed and by sentence, in nats."""
        found = self.cures.gain(self.document, name, other, self.seeds)
        return replace(found, looks=self.looks)


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
