"""True runs of notebook 10's BERT over a grid of λ, μ and wrong labels, all from one start."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

from ..experiments.nb10_linear import LinearReviews
from ..experiments.nb10_review_tasks import ReviewTasks
from . import Study, short

SENTENCES, HELD_OUT, STEPS = 200, 400, 24
LAMBDAS, DAMPINGS, NOISES = (0.0, 0.1, 1.0), (0.3, 3.0), (0.0, 0.2, 0.4)
TO_ZERO = (0.01, 0.1, 1.0)  # lambda of the penalty that pulls to zero instead
KEPT = ("step", "train_loss", "val_loss", "train_accuracy", "val_accuracy", "rho", "step_length")


def runs():
    for noise, damping, value in itertools.product(NOISES, DAMPINGS, LAMBDAS):
        yield {"lambda_reg": value, "damping": damping, "noise": noise, "steps": STEPS}
    for value in TO_ZERO:
        yield {"lambda_reg": value, "damping": 0.3, "noise": 0.2, "steps": 6, "regularizer": "l2"}


@cache
def _reviews() -> LinearReviews:
    return LinearReviews(ReviewTasks(SENTENCES, HELD_OUT, pooling=None), linear=False)


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """What each step came to; `cost` in gradients of the training set."""
    records = list(_reviews().true(**settings))
    steps = [{key: getattr(r, key) for key in KEPT} | {"cost": r.cost / SENTENCES} for r in records]
    return short({"steps": steps, "reason": records[-1].reason})


STUDY = Study(
    about=f"The top layer of BERT on {SENTENCES} reviews by Gauss-Newton steps solved in sample "
    "space, from a head that is a probe: λ, μ and the share of wrong labels.",
    runs=runs,
    run=run,
)
