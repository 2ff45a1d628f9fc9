"""Studies: the experiments whose results notebooks show as recorded.

Each is a module `rlhf_course/studies/NAME.py` with one `STUDY`; `make evidence STUDY=NAME` runs
what is missing of it and writes `rlhf_course/recorded/NAME.json`. A test runs a small part again.

A study that tunes has two phases, so that no value is chosen by hand: its first runs try the
values, its rule chooses among them by the record of these runs alone, and the runs that judge
follow from what it chose. A study with `looks` judges in batches of seeds and stops when its own
questions are decided. What it asks for next is always a function of what is recorded.
"""

from __future__ import annotations

import importlib
import math
import os
import pkgutil
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any

from .protocol import Look, Question, Study, overlaps
from .tuning import Settings

__all__ = [
    "DATA_VARIABLE",
    "Look",
    "Question",
    "Study",
    "data_file",
    "end_or_start",
    "least",
    "names",
    "overlaps",
    "short",
    "study",
]

DATA_VARIABLE = "RLHF_EVIDENCE_DATA"


def end_or_start(losses: list[float | None]) -> float:
    """The last loss of a curve; of a run that diverged, or ends above where it began, its first.

    Whoever sees a run diverge throws it away, and has what he began with.
    """
    start, end = losses[0], losses[-1]
    if start is None or not math.isfinite(start):
        raise ValueError(f"expected a curve that begins with a finite loss, got {start}")
    return start if end is None or not math.isfinite(end) else min(start, end)


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
