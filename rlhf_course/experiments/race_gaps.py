"""What a race says of speed: gaps above the least objective known, after equal budgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..recorded import results
from ..studies import Study, end_or_start
from ..verdicts.comparison import Comparison
from .race import FLOOR, GRADIENTS, OURS, SECONDS


def judged_by(seeds: Iterable[int], chosen: Mapping[str, dict[str, Any]]) -> Iterator[dict]:
    """All methods of a seed, one after the other: the machine's state is theirs."""
    for seed in seeds:
        yield {"method": FLOOR, "for": GRADIENTS, "seed": seed}
        for settings in chosen.values():
            yield settings | {"seed": seed}


@dataclass(frozen=True)
class Gaps:
    """The judged runs of a race.

    Attributes:
        data: what it is run on, for the comparisons. study: gives the study. resolution: of a gap;
            minima that different starts lead to differ by more.
    """

    data: str
    study: Callable[[], Study]
    resolution: float

    def ends(self, document: Mapping[str, Any], method: str, quantity: str, seeds) -> list[dict]:
        """The judged runs of a tuned method."""
        chosen = self.study().chosen(document)[f"{method}, {quantity}"]
        return results(document, [chosen | {"seed": seed} for seed in seeds])

    def gaps(self, document: Mapping[str, Any], method: str, quantity: str, seeds) -> list[float]:
        """Objective above its floor, log10 of it, one for each seed."""
        floors = results(
            document, [{"method": FLOOR, "for": GRADIENTS, "seed": seed} for seed in seeds]
        )
        return [
            math.log10(max(end_or_start(r["objective"]) - floor["objective"][-1], self.resolution))
            for r, floor in zip(self.ends(document, method, quantity, seeds), floors, strict=True)
        ]

    def faster_than(self, theirs: tuple[str, ...], beside: tuple[str, ...] = ()):
        """Gap against these methods at equal gradients and at equal CPU seconds."""

        def compare(document: Mapping[str, Any], seeds) -> list[Comparison]:
            found = []
            for method in (*theirs, *beside):
                for quantity in (GRADIENTS, SECONDS):
                    pairs = zip(
                        self.gaps(document, method, quantity, seeds),
                        self.gaps(document, OURS, quantity, seeds),
                        strict=True,
                    )
                    equal = "gradients" if quantity == GRADIENTS else "CPU seconds"
                    found.append(
                        Comparison(
                            f"{self.data}, RLHF against {method}, gap at equal {equal}",
                            tuple(other - ours for other, ours in pairs),
                            "decades",
                            primary=method in theirs,
                        )
                    )
            return found

        return compare
