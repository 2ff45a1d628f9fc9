"""Digits, for the claims on speed and on what curvature alone does against overfitting.

Seven methods, each tuned for each quantity that it is judged by, on images of which none judges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache, partial
from typing import Any

import torch

from ..experiments.nb17_race import SAMPLES, DigitsRace
from ..experiments.nb17_race import rows as images_of
from ..experiments.race import FIRST_ORDER, FLOOR, GRADIENTS, LBFGS, OURS, SECONDS, Purse
from ..experiments.race_gaps import Gaps, judged_by
from ..verdicts.comparison import Comparison
from . import Question, Study, end_or_start
from .tuning import Axis, Search, Tuned

RLHF = OURS
DESCENT, SGD, ADAM, DECAYED, ADAMW = FIRST_ORDER
VALIDATION = "validation"
LAMBDA = 1e-3  # of the objective λ|W|²/2 that all minimize; for VALIDATION there is none
BUDGETS = {GRADIENTS: 60.0, SECONDS: 0.3, VALIDATION: 60.0}
MOST_EVALUATIONS = 1500  # of the long run of L-BFGS that finds the floor of the objective
RESOLUTION = 1e-4  # of a gap: minima that different starts lead to differ by more

LOOKS = (5, 10, 15, 20, 25, 30, 35, 40)
SEEDS, TUNING_SEEDS = range(LOOKS[-1]), (1000, 1001, 1002)
TRIES = 15
BATCH = Axis(50, 2.0, low=5, high=SAMPLES, whole=True)
AXES = {
    DESCENT: {"rate": Axis(1.0, 2.0)},
    SGD: {"rate": Axis(0.1, 2.0), "batch": BATCH},
    ADAM: {"rate": Axis(0.01, 3.0), "batch": BATCH},
    DECAYED: {"rate": Axis(0.01, 3.0), "batch": BATCH},
    ADAMW: {"rate": Axis(0.01, 3.0), "batch": BATCH},
    LBFGS: {"history": Axis(10, 2.0, low=1, whole=True)},
    RLHF: {
        "damping": Axis(0.3, 3.0),
        "products": Axis(5, 1.6, low=1, whole=True),
        "curvature": Axis(100, 2.0, high=SAMPLES, whole=True),
    },
}
RACERS = {
    GRADIENTS: tuple(AXES),
    SECONDS: tuple(AXES),
    VALIDATION: (ADAM, DECAYED, ADAMW, LBFGS, RLHF),
}


def loss_of(quantity: str):
    """What a run is tuned for: result -> the number that judges it, too."""
    field = "val_loss" if quantity == VALIDATION else "objective"
    return lambda result: end_or_start(result[field])


SEARCH = Search(
    {
        f"{method}, {quantity}": Tuned({"method": method, "for": quantity}, AXES[method], loss)
        for quantity, methods in RACERS.items()
        for loss in [loss_of(quantity)]
        for method in methods
    },
    TUNING_SEEDS,
    TRIES,
)


def rows(settings: dict[str, Any]) -> dict[str, list[int]]:
    """The images of a run."""
    return images_of(settings["seed"], settings["seed"] in TUNING_SEEDS)


def race(settings: dict[str, Any]) -> tuple[DigitsRace, Purse]:
    """A run to the end of its budget. Raises FloatingPointError where RLHF diverges."""
    method, quantity, seed = settings["method"], settings["for"], settings["seed"]
    weight = 0.0 if quantity == VALIDATION else LAMBDA
    _warm()
    found = DigitsRace(seed, seed in TUNING_SEEDS, weight)
    unit = SECONDS if quantity == SECONDS else GRADIENTS
    purse = Purse(unit, MOST_EVALUATIONS if method == FLOOR else BUDGETS[quantity])
    found.run(settings, purse)
    return found, purse


@cache
def _warm() -> None:
    """What is loaded with the first step of each kind is no cost of a method."""
    for settings in (
        {"method": ADAM, "rate": 0.01, "batch": SAMPLES // 2},
        {"method": RLHF, "damping": 1.0, "products": 3, "curvature": SAMPLES // 2},
        {"method": LBFGS, "history": 10},
    ):
        DigitsRace(0, True, LAMBDA).run(settings, Purse(GRADIENTS, 20.0))


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Objective and test loss at the start and at the end, and the gradients that it took."""
    seed, judges = settings["seed"], settings["seed"] not in TUNING_SEEDS
    before = DigitsRace(seed, not judges, 0.0 if settings["for"] == VALIDATION else LAMBDA)
    start = before.measured()
    try:
        after, purse = race(settings)
        end, gradients = after.measured(), float(f"{purse.used:.4g}")
    except FloatingPointError:
        end = {
            "objective": math.nan,
            "test_losses": torch.full_like(start["test_losses"], math.nan),
        }
        gradients = None
    found = {
        "objective": _short(m["objective"] for m in (start, end)),
        "val_loss": _short(float(m["test_losses"].mean()) for m in (start, end)),
        "gradients": gradients,
    }
    if settings["method"] in (ADAMW, RLHF) and settings["for"] == VALIDATION and judges:
        found["test_losses"] = _short(end["test_losses"].tolist(), 2)
    return found


def _short(values: Iterable[float], digits: int = 6) -> list[float | None]:
    return [float(f"{x:.{digits}g}") if math.isfinite(x) else None for x in values]


# -- what it is to decide -------------------------------------------------------------------


def _study() -> Study:
    return STUDY


GAPS = Gaps("digits", _study, RESOLUTION)
ends, faster_than = GAPS.ends, GAPS.faster_than


def overfits_less(document: Mapping[str, Any], seeds) -> list[Comparison]:
    """Test loss at the end of the budget without a penalty, against AdamW, and others beside.

    All seeds are tested on the same images, so that these are a draw of their own.
    """
    loss, ours = loss_of(VALIDATION), ends(document, RLHF, VALIDATION, seeds)
    found = []
    for method in (ADAMW, ADAM, LBFGS):
        theirs = ends(document, method, VALIDATION, seeds)
        by_item: tuple[float, ...] = ()
        if method == ADAMW and not any(None in r["val_loss"] for r in (*ours, *theirs)):
            tables = ([r["test_losses"] for r in runs] for runs in (theirs, ours))
            means = ([sum(item) / len(seeds) for item in zip(*t, strict=True)] for t in tables)
            by_item = tuple(a - b for a, b in zip(*means, strict=True))
        found.append(
            Comparison(
                f"digits, RLHF without a penalty against {method}, test loss",
                tuple(loss(a) - loss(b) for a, b in zip(theirs, ours, strict=True)),
                "nats",
                by_item=by_item,
                primary=method == ADAMW,
            )
        )
    return found


FASTER_THAN_DESCENT = Question(
    "faster than gradient descent", faster_than((DESCENT,), beside=(SGD,))
)
FASTER_THAN_ADAM = Question(
    "faster than Adam", faster_than((DECAYED,), beside=(ADAM, ADAMW, LBFGS))
)
LESS_OVERFITTING = Question("less overfitting by second order", overfits_less)

STUDY = Study(
    about=f"Digits, network 64-32-10, {SAMPLES} images: seven methods, each tuned for the gap "
    f"after {BUDGETS[GRADIENTS]:g} gradients, after {BUDGETS[SECONDS]:g} CPU seconds, and for "
    "validation.",
    run=run,
    search=SEARCH,
    judge=partial(judged_by, SEEDS),
    looks=LOOKS,
    questions=(FASTER_THAN_DESCENT, FASTER_THAN_ADAM, LESS_OVERFITTING),
    rows=rows,
    small={
        "method": RLHF,
        "for": GRADIENTS,
        "damping": 0.3,
        "products": 5,
        "curvature": 100,
        "seed": TUNING_SEEDS[0],
    },
)
