"""Studies: the experiments whose results notebooks show as recorded.

Each is a module `rlhf_course/studies/NAME.py` with one `STUDY`; `make evidence STUDY=NAME` runs
what is missing of it and writes `rlhf_course/recorded/NAME.json`. A test runs a small part again.

A study that tunes has two phases, so that no value is chosen by hand: its first runs try the
values, its rule chooses among them by the record of these runs alone, and the runs that judge
follow from what it chose.
"""

from __future__ import annotations

import importlib
import math
import os
import pkgutil
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..recorded import runs_with

DATA_VARIABLE = "RLHF_EVIDENCE_DATA"
Settings = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """An experiment made of independent runs, in one phase or in two.

    Attributes:
        about: one sentence: what is compared on what.
        runs: the settings of every run, JSON values only, all different; `seed` among them where
            there is chance. With two phases: of every run that tunes.
        run: settings -> results, JSON values only.
        choose: with two phases: the runs that tune, as recorded -> what is chosen.
        judge: with two phases: what is chosen -> the settings of the runs that judge it.
        small: settings of one run of `runs` that takes seconds: a test runs it again and compares.
            None where every run takes longer or reads a file that is not in the project.
        files: names of files that the runs read from the folder given by `--data`.
    """

    about: str
    runs: Callable[[], Iterable[Settings]]
    run: Callable[[Settings], dict[str, Any]]
    choose: Callable[[list[dict[str, Any]]], Any] | None = None
    judge: Callable[[Any], Iterable[Settings]] | None = None
    small: Settings | None = None
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.choose is None) != (self.judge is None):
            raise ValueError("expected both of choose and judge, or neither, got one of them")

    def chosen(self, document: Mapping[str, Any]) -> Any:
        """What the rule chooses by the tuning runs of this record.

        Raises NotRecorded while one of them is missing, ValueError for a study of one phase.
        """
        if self.choose is None:
            raise ValueError("expected a study of two phases, got one that chooses nothing")
        return self.choose(runs_with(document, self.runs()))

    def judging(self, document: Mapping[str, Any]) -> list[Settings]:
        """Settings of the runs that judge, by this record; none in a study of one phase.

        Raises NotRecorded while a tuning run is missing.
        """
        return [] if self.judge is None else list(self.judge(self.chosen(document)))


def least(
    tried: Iterable[dict[str, Any]],
    of: Callable[[Settings], Hashable],
    loss: Callable[[dict[str, Any]], float | None],
) -> dict[Any, Any]:
    """The `value` of least loss for each group of runs, the first of equal ones.

    tried: recorded runs, whose settings have a `value`. Runs of one group and value (their seeds)
        are added up.
    of: settings -> the group that they belong to, such as their method.
    loss: run -> number; None or what is not finite, of a run that diverged, is never the least.

    Raises ValueError for a group whose every value diverged.
    """
    sums: dict[Any, dict[Any, float]] = {}
    for run in tried:
        settings, found = run["settings"], loss(run)
        group = sums.setdefault(of(settings), {})
        bad = found is None or not math.isfinite(found)
        group[settings["value"]] = group.get(settings["value"], 0) + (math.inf if bad else found)
    for name, losses in sums.items():
        if not math.isfinite(min(losses.values())):
            raise ValueError(f"no value of {name} can be chosen: all of its runs diverged")
    return {name: min(losses, key=losses.__getitem__) for name, losses in sums.items()}


def names() -> list[str]:
    """All studies, in the order of their notebooks."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if name.startswith("nb"))


def study(name: str) -> Study:
    """The study of this name. Raises ValueError with the names there are."""
    if name not in names():
        raise ValueError(f"expected one of the studies {', '.join(names())}, got {name!r}")
    return importlib.import_module(f"{__name__}.{name}").STUDY


def short(value: Any) -> Any:
    """Floats to five digits, what is not finite as None (JSON has no such number); also inside
    dicts and lists."""
    if isinstance(value, dict):
        return {key: short(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [short(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def data_file(name: str) -> Path:
    """A file of the folder that `--data` or the variable RLHF_EVIDENCE_DATA names."""
    folder = os.environ.get(DATA_VARIABLE)
    path = Path(folder or ".").expanduser() / name
    if folder is None or not path.is_file():
        raise FileNotFoundError(
            f"this study reads {name}, which is not in the project: give the folder that holds it "
            f"by --data FOLDER or by the variable {DATA_VARIABLE}; "
            + (f"there is no {path}" if folder else "none was given")
        )
    return path
