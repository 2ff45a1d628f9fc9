"""The map of notebook 16, read from its record: who wins on which problem, by how much."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..recorded import results
from ..studies import nb16_map as study
from ..studies import nb16_sizes
from ..verdicts.comparison import AGAINST, FOR, SAME, Comparison
from ..verdicts.rule import holm

AXES = {"equal gradients": study.GRADIENTS, "equal CPU seconds": study.SECONDS}
OURS = (study.TUNED, study.DEFAULTS)
OPEN, LEVEL = "open", "level"


@dataclass(frozen=True)
class Place:
    """One place of the map.

    Attributes:
        problem, axis, mine: the problem, "gradients" or "seconds", and which RLHF is meant.
        against: a comparison with each other method, its benefit positive where RLHF is ahead.
        nearest: the name of the method against which the mean benefit is least.
    """

    problem: str
    axis: str
    mine: str
    against: Mapping[str, Comparison]

    @property
    def nearest(self) -> str:
        return min(self.against, key=lambda name: self.against[name].mean)

    @property
    def gain(self) -> Comparison:
        """Against the nearest."""
        return self.against[self.nearest]

    @property
    def winner(self) -> str:
        """RLHF if it is ahead of every other method beyond chance; another one, if that is ahead of
        RLHF; "level", or "open".

        To be ahead of all needs no correction, as all have to be wrong for that to be; being
        behind one of several is tested by Holm's (1979) procedure.
        """
        rows = list(self.against.values())
        if all(row.says == FOR for row in rows):
            return "RLHF"
        shared = dict(zip(self.against, holm(rows), strict=True))
        behind = [name for name, word in shared.items() if word == AGAINST]
        if behind:
            return min(behind, key=lambda name: self.against[name].mean)
        return LEVEL if all(row.says == SAME for row in rows) else OPEN


class MapRecord:
    """Both records together.

    document: of the study nb16_map. sizes: of nb16_sizes.
    """

    def __init__(self, document: Mapping[str, Any], sizes: Mapping[str, Any]):
        self.document = document
        self.chosen = study.STUDY.chosen(document)
        self.sizes = {run["settings"]["problem"]: run["result"] for run in sizes["runs"]}

    def settings(self, problem: str, method: str, axis: str) -> dict[str, Any]:
        """By which a method is judged, without a seed."""
        return study.settings_of(self.chosen, problem, method, axis)

    def runs(self, problem: str, method: str, axis: str) -> list[dict[str, Any]]:
        """The results of all judging seeds."""
        settings = self.settings(problem, method, axis)
        return results(self.document, [settings | {"seed": seed} for seed in study.SEEDS])

    def ends(self, problem: str, method: str, axis: str) -> list[float]:
        """log10 of the error at the end of the budget, by seed; in nats where the unit is that."""
        found = [study.ending(run, axis) for run in self.runs(problem, method, axis)]
        return found if study.PROBLEMS[problem].unit == "decades" else [10**end for end in found]

    def error(self, problem: str, method: str, axis: str) -> float:
        """The median over the seeds of what the problem is judged by."""
        ends = [study.ending(run, axis) for run in self.runs(problem, method, axis)]
        return 10 ** statistics.median(ends)

    def start(self, problem: str) -> float:
        """The median error before any step."""
        runs = self.runs(problem, study.DEFAULTS, study.SECONDS)
        return 10 ** statistics.median(run["start"] for run in runs)

    def curve(self, problem: str, method: str, axis: str) -> tuple[list[float], list[float]]:
        """(what was spent, medians over the seeds of the error)."""
        budget = study.BUDGETS[problem]
        most = budget.gradients if axis == study.GRADIENTS else budget.seconds
        rows = zip(*(run[axis] for run in self.runs(problem, method, axis)), strict=True)
        medians = [10 ** statistics.median(row) if None not in row else None for row in rows]
        kept = [(s * most, m) for s, m in zip(study.SHARES, medians, strict=True) if m is not None]
        return [x for x, _ in kept], [y for _, y in kept]

    def place(self, problem: str, axis: str, mine: str = study.TUNED) -> Place:
        """RLHF against every method that is none."""
        unit = study.PROBLEMS[problem].unit
        ours = self.ends(problem, mine, axis)
        found = {}
        for name in study.methods(problem):
            if name not in OURS:
                theirs = self.ends(problem, name, axis)
                benefits = tuple(b - a for a, b in zip(ours, theirs, strict=True))
                found[name] = Comparison(f"{problem}: {mine} against {name}", benefits, unit)
        return Place(problem, axis, mine, found)

    def condition(self, problem: str) -> float:
        """h₁ / h₂₀ of the Gauss-Newton matrix, see the study nb16_sizes."""
        return self.sizes[problem]["spread"]


RANK = nb16_sizes.RANK
