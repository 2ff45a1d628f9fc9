"""Tuning that is fair: for the quantity that is judged, with equal effort, and never at an edge.

Each method is searched once for each quantity that it is judged by, from a starting value on, by
compass search (Kolda, Lewis and Torczon, 2003, section 1.1): all neighbours of the best values so
far are tried, and the search moves until none of them is better; then the steps are halved, until
as many values have been tried as for every other method. So the chosen values always lie between
others that were tried and are worse, unless a bound of the axis forbids it, and what a search asks
for next follows from what is recorded alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..recorded import NotRecorded, indexed, key

Settings = dict[str, Any]
Place = tuple[float, ...]
FINEST = 1 / 4  # of a first step; what lies closer is not told apart by a few seeds
FARTHEST = 4  # times the first portions and the tries: a search that still moves has no end


@dataclass(frozen=True)
class Axis:
    """One number that is tuned, on a scale of equal factors.

    Attributes:
        start: where the search begins. factor: between neighbours at first.
        low, high: bounds that have a meaning, such as a batch of all samples; they are tried, and
            to be chosen there is no edge.
        whole: rounded to whole numbers.
    """

    start: float
    factor: float = 2.0
    low: float = 0.0
    high: float = math.inf
    whole: bool = False

    def __post_init__(self) -> None:
        if not (self.factor > 1 and self.start > 0 and self.low <= self.start <= self.high):
            raise ValueError(
                "expected a factor above 1 and a positive start between low and high, got "
                f"{self.start:g} in [{self.low:g}, {self.high:g}] and factor {self.factor:g}"
            )

    def at(self, place: float) -> float:
        """The value so many steps from the start, to three digits."""
        value = min(max(self.start * self.factor**place, self.low), self.high)
        return round(value) if self.whole else float(f"{value:.3g}")


@dataclass(frozen=True)
class Tuned:
    """What is tuned for one method and one judged quantity.

    Attributes:
        fixed: settings of the method, without those that are tuned and the seed.
        axes: name of a setting -> its axis.
        loss: result of a run -> what is to be least; None, or what is not finite, if it diverged.
    """

    fixed: Settings
    axes: Mapping[str, Axis]
    loss: Callable[[dict[str, Any]], float | None]

    def settings(self, place: Place) -> Settings:
        """Settings at this place, without a seed."""
        pairs = zip(self.axes.items(), place, strict=True)
        return self.fixed | {name: axis.at(x) for (name, axis), x in pairs}

    def neighbours(self, place: Place, step: float) -> Iterator[Place]:
        """One step down and one up on each axis."""
        for i in range(len(place)):
            for sign in (-1, 1):
                yield (*place[:i], place[i] + sign * step, *place[i + 1 :])


@dataclass(frozen=True)
class Search:
    """A tuning phase: what was asked for and what is chosen, as functions of the record.

    Two entries that ask for the same settings share the run: a run that serves several quantities
    is made once.

    Attributes:
        tuned: name, such as "Adam, gradients", -> what is tuned.
        seeds: every value is tried with each of them; none of them judges.
        tries: how many different values each entry tries; more only where the search still moves.
    """

    tuned: Mapping[str, Tuned]
    seeds: tuple[int, ...]
    tries: int

    def asked(self, document: Mapping[str, Any]) -> list[Settings]:
        """Settings of all runs that this record asks for; more when these are recorded."""
        runs = indexed(document)
        found: dict[str, Settings] = {}
        for name in self.tuned:
            places, _ = self._replay(name, runs)
            for place in places:
                for settings in self._runs(name, place):
                    found.setdefault(key(settings), settings)
        return list(found.values())

    def chosen(self, document: Mapping[str, Any]) -> dict[str, Settings]:
        """Name -> settings, without a seed. Raises NotRecorded while a search goes on."""
        runs = indexed(document)
        found = {name: self._replay(name, runs) for name in self.tuned}
        open_ones = [name for name, (_, best) in found.items() if best is None]
        if open_ones:
            raise NotRecorded(f"the tuning of {', '.join(open_ones)} has not ended")
        return {
            name: self.tuned[name].settings(best)
            for name, (_, best) in found.items()
            if best is not None
        }

    def effort(self, document: Mapping[str, Any]) -> dict[str, int]:
        """Name -> how many different values have been asked for."""
        runs = indexed(document)
        return {name: len(self._replay(name, runs)[0]) for name in self.tuned}

    def _runs(self, name: str, place: Place) -> list[Settings]:
        settings = self.tuned[name].settings(place)
        return [settings | {"seed": seed} for seed in self.seeds]

    def _loss(self, name: str, place: Place, runs: Mapping[str, Any]) -> float | None:
        """Mean over the seeds; infinite if one diverged, None while one is missing."""
        names = [key(settings) for settings in self._runs(name, place)]
        if not all(n in runs for n in names):
            return None
        losses = [self.tuned[name].loss(runs[n]["result"]) for n in names]
        if any(loss is None or not math.isfinite(loss) for loss in losses):
            return math.inf
        return math.fsum(losses) / len(losses)

    def _replay(self, name: str, runs: Mapping[str, Any]) -> tuple[list[Place], Place | None]:
        """The places asked for so far, and the best one if the search has ended."""
        tuned = self.tuned[name]
        asked: dict[str, Place] = {}  # by settings: at a bound, and rounded, two may be the same
        new, step = [(0.0,) * len(tuned.axes)], 1.0
        while True:
            asked |= {key(tuned.settings(place)): place for place in new}
            places = list(asked.values())
            losses = [self._loss(name, place, runs) for place in places]
            if None in losses:
                return places, None
            best = places[losses.index(min(losses))]
            if len(asked) > 2 * len(tuned.axes) and not math.isfinite(min(losses)):
                raise ValueError(f"{name}: all {len(asked)} values diverged: begin elsewhere")
            if len(asked) > FARTHEST * (self.tries + 2 * len(tuned.axes)):
                raise ValueError(f"{name}: still moving after {len(asked)} values: give it bounds")
            new = self._new(tuned, best, step, asked)
            while not new and len(asked) < self.tries and step > FINEST:
                step /= 2
                new = self._new(tuned, best, step, asked)
            if step < 1:  # the edges are settled; what is left of the effort refines
                new = new[: max(self.tries - len(asked), 0)]
            if not new:
                return places, best

    @staticmethod
    def _new(tuned: Tuned, best: Place, step: float, asked: Mapping[str, Place]) -> list[Place]:
        near = {key(tuned.settings(place)): place for place in tuned.neighbours(best, step)}
        return [place for name, place in near.items() if name not in asked]
