"""Notebook 09's search for settings with which RLHF beats Adam on the digits."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

from ..experiments.nb09_digits import Digits
from . import Study

SEEDS = range(5)
GRID = {
    "damping": (0.01, 0.03, 0.1, 0.3, 1.0),
    "max_iter": (2, 3, 5, 8, 12),
    "curvature_size": (50, 100, 200, 1000),
    "warm_start": (0.0, 0.7),
}


def runs():
    for values in itertools.product(*GRID.values()):
        yield dict(zip(GRID, values, strict=True))


@cache
def digits() -> Digits:
    """The notebook's digits; further runs of one process share them."""
    from sklearn.datasets import load_digits

    return Digits(*load_digits(return_X_y=True))


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """The objective that each seed ends with when the notebook's budget is spent."""
    ends = [list(digits().rlhf(seed, **settings))[-1] for seed in SEEDS]
    return {"objective": [r.train_loss for r in ends]}


STUDY = Study(
    about="Every combination of RLHF's settings on the digits, five seeds each.",
    runs=runs,
    run=run,
    small={"damping": 1.0, "max_iter": 12, "curvature_size": 50, "warm_start": 0.7},
)
