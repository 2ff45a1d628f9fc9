"""Speed on a BERT: its top layer on reviews with wrong labels, the objective that the course
recommends, four methods, each tuned for the very budget that judges it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from ..experiments.nb17_reviews_race import LENGTH, NOISE, SENTENCES, ReviewsRace, drawn
from ..experiments.race import FIRST_ORDER, FLOOR, GRADIENTS, LBFGS, OURS, SECONDS, Purse
from ..experiments.race_gaps import Gaps, judged_by
from . import Question, Study, end_or_start, short
from .tuning import Axis, Search, Tuned

RLHF = OURS
DESCENT, _, _, DECAYED, _ = FIRST_ORDER
LAMBDA = 0.5
BUDGETS = {GRADIENTS: 30.0, SECONDS: 9.0}  # about the same; the latter of CPU on one thread
MOST_EVALUATIONS = 250  # of the long run of L-BFGS that finds the floor of the objective
RESOLUTION = 1e-3  # of a gap: what that run has left

LOOKS = (5, 10)
SEEDS, TUNING_SEEDS = range(LOOKS[-1]), (1000, 1001)
TRIES = 9
AXES = {
    DESCENT: {"rate": Axis(0.03, 2.0)},
    DECAYED: {"rate": Axis(3e-4, 3.0), "batch": Axis(16, 2.0, low=4, high=SENTENCES, whole=True)},
    LBFGS: {"history": Axis(10, 2.0, low=1, whole=True)},
    RLHF: {
        "damping": Axis(0.1, 3.0),
        "products": Axis(8, 1.6, low=1, whole=True),
        "curvature": Axis(32, 2.0, high=SENTENCES, whole=True),
    },
}


def _loss(result: Mapping[str, Any]) -> float:
    return end_or_start(result["objective"])


SEARCH = Search(
    {
        f"{method}, {quantity}": Tuned({"method": method, "for": quantity}, AXES[method], _loss)
        for quantity in BUDGETS
        for method in AXES
    },
    TUNING_SEEDS,
    TRIES,
)


def rows(settings: dict[str, Any]) -> dict[str, list[str]]:
    """The reviews of a run."""
    return {"train": list(drawn(settings["seed"], settings["seed"] in TUNING_SEEDS).texts)}


@cache
def _warm() -> None:
    """What is loaded with the first step of each kind is no cost of a method."""
    for settings in (
        {"method": DECAYED, "rate": 1e-5, "batch": 32},
        {"method": RLHF, "damping": 1.0, "products": 2, "curvature": 16},
        {"method": LBFGS, "history": 10},
    ):
        race = ReviewsRace(TUNING_SEEDS[0], True, LAMBDA)
        race.run(settings, Purse(GRADIENTS, 3.0))


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Objective at the start and at the end, and the gradients that it took."""
    _warm()
    seed, quantity = settings["seed"], settings["for"]
    race = ReviewsRace(seed, seed in TUNING_SEEDS, LAMBDA)
    start = race.measured()["objective"]
    floor = settings["method"] == FLOOR
    purse = Purse(quantity, MOST_EVALUATIONS if floor else BUDGETS[quantity])
    end: float | None = None
    gradients: float | None = None
    try:
        race.run(settings, purse)
        end, gradients = race.measured()["objective"], purse.used
    except FloatingPointError:
        pass
    return short({"objective": [start, end], "gradients": gradients})


def _study() -> Study:
    return STUDY


GAPS = Gaps("reviews, BERT's top layer", _study, RESOLUTION)
FASTER_THAN_DESCENT = Question("faster than gradient descent", GAPS.faster_than((DESCENT,)))
FASTER_THAN_ADAM = Question("faster than Adam", GAPS.faster_than((DECAYED,), beside=(LBFGS,)))

STUDY = Study(
    about=f"The top layer of MiniLM from a probe on {SENTENCES} reviews, {NOISE:.0%} of the labels "
    f"wrong, {LENGTH} tokens, L2-SP with λ = {LAMBDA:g}: four methods, each tuned for the gap "
    f"after {BUDGETS[GRADIENTS]:g} gradients and after {BUDGETS[SECONDS]:g} CPU seconds.",
    run=run,
    search=SEARCH,
    judge=partial(judged_by, SEEDS),
    looks=LOOKS,
    questions=(FASTER_THAN_DESCENT, FASTER_THAN_ADAM),
    rows=rows,
    small={"method": LBFGS, "for": GRADIENTS, "history": 10, "seed": TUNING_SEEDS[0]},
)
