"""The record of a comparison at equal gradients, read by method and measure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..recorded import NotRecorded
from ..studies import Study
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
