"""Speed on a BERT: its top layer on reviews with wrong labels, the objective that the course
recommends, four methods, each tuned for the very budget that judges it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from ..experiments.nb17_reviews_race import LENGTH, NOISE, SENTENCES, ReviewsRace, drawn
from ..experiments.race import FIRST_ORDER, GRADIENTS, SECONDS, Purse
from ..experiments.race_gaps import FLOOR, OURS, Gaps
from . import Question, Study, end_or_start, short
from .tuning import Axis, Search, Tuned

RLHF, LBFGS = OURS, "L-BFGS"
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


def judge(chosen: Mapping[str, dict[str, Any]]):
    for seed in SEEDS:  # all methods of a seed, one after the other: the machine's state is theirs
        yield {"method": FLOOR, "for": GRADIENTS, "seed": seed}
        for settings in chosen.values():
            yield settings | {"seed": seed}


def rows(settings: dict[str, Any]) -> dict[str, list[str]]:
    """The reviews of a run."""
    return {"train": list(drawn(settings["seed"], settings["seed"] in TUNING_SEEDS).texts)}


def _race(settings: dict[str, Any]) -> tuple[ReviewsRace, float]:
    """A run to the end of its budget, and the gradients that it took."""
    method, seed = settings["method"], settings["seed"]
    race = ReviewsRace(seed, seed in TUNING_SEEDS, LAMBDA)
    most = MOST_EVALUATIONS if method == FLOOR else BUDGETS[settings["for"]]
    purse = Purse(settings["for"], most)
    if method == FLOOR:
        race.lbfgs(50, purse)
    elif method == LBFGS:
        race.lbfgs(settings["history"], purse)
    elif method == RLHF:
        race.rlhf(settings["damping"], settings["products"], settings["curvature"], purse)
    else:
        race.first_order(method, settings["rate"], settings.get("batch", SENTENCES), purse)
    return race, purse.used


@cache
def _warm() -> None:
    """What is loaded with the first step of each kind is no cost of a method."""
    for method in (DECAYED, RLHF, LBFGS):
        race, purse = ReviewsRace(TUNING_SEEDS[0], True, LAMBDA), Purse(GRADIENTS, 3.0)
        if method == RLHF:
            race.rlhf(1.0, 2, 16, purse)
        elif method == LBFGS:
            race.lbfgs(10, purse)
        else:
            race.first_order(method, 1e-5, 32, purse)


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Objective at the start and at the end, and the gradients that it took."""
    _warm()
    seed = settings["seed"]
    start = ReviewsRace(seed, seed in TUNING_SEEDS, LAMBDA).measured()["objective"]
    try:
        race, gradients = _race(settings)
        end: float | None = race.measured()["objective"]
    except FloatingPointError:  # RLHF says so where it diverges
        end, gradients = None, None
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
    judge=judge,
    looks=LOOKS,
    questions=(FASTER_THAN_DESCENT, FASTER_THAN_ADAM),
    rows=rows,
    small={"method": LBFGS, "for": GRADIENTS, "history": 10, "seed": TUNING_SEEDS[0]},
)
