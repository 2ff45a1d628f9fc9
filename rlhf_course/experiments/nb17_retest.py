"""Claims that can be tested again in seconds, one benefit for each seed of the reader's own."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..claims.sketch import CLOSE, apart
from ..recorded import recorded
from ..studies import nb17_digits, nb17_lambda, nb17_models
from .nb17_race import DigitsRace
from .race import GRADIENTS, Purse

TUNED, DEFAULT = "tuned", "torch's default"
ADAM, DESCENT = "faster than Adam", "faster than gradient descent"
CROSS_VALIDATION, EVERY_MODEL = "λ by cross-validation", "every pre-trained model"
SKETCH = "the code sketch"
# What the two claims on speed are tested against, and what torch sets if nobody asks.
OPPONENTS = {ADAM: nb17_digits.DECAYED, DESCENT: nb17_digits.DESCENT}
UNTUNED = {
    ADAM: {"method": nb17_digits.ADAM, "rate": 1e-3, "batch": 50},
    DESCENT: {"method": nb17_digits.DESCENT, "rate": 1e-3},
}
BUDGET = nb17_digits.BUDGETS[GRADIENTS]
FLOOR_EVALUATIONS = 400  # of L-BFGS, to find the objective's floor; the record's has 1,500


def against(claim: str) -> Callable[[int, str], float]:
    """Gap of RLHF's objective on the digits against a first-order method's, in decades."""

    def benefit(seed: int, baseline: str) -> float:
        chosen = nb17_digits.STUDY.chosen(recorded("nb17_digits.json"))
        theirs = chosen[f"{OPPONENTS[claim]}, {GRADIENTS}"]
        if baseline == DEFAULT:
            theirs = UNTUNED[claim] | {"for": GRADIENTS}
        floor = DigitsRace(seed, False, nb17_digits.LAMBDA)
        floor.lbfgs(50, Purse(GRADIENTS, FLOOR_EVALUATIONS))
        least = floor.measured()["objective"]
        ours = chosen[f"{nb17_digits.RLHF}, {GRADIENTS}"]
        gaps = []
        for settings in (ours, theirs):
            race, _ = nb17_digits.race(settings | {"seed": seed})
            above = race.measured()["objective"] - least
            gaps.append(math.log10(max(above, nb17_digits.RESOLUTION)))
        return gaps[1] - gaps[0]

    return benefit


def chosen_by_cross_validation(seed: int, baseline: str) -> float:
    """Test loss with next to no penalty, less that at the λ of cross-validation, in nats."""
    found = nb17_lambda.run({"seed": seed})
    loss = found["test_loss"]
    return loss[f"{found['none']:g}"] - loss[f"{found['cross-validation']:g}"]


def tiny_bert(seed: int, baseline: str) -> float:
    """How far RLHF steps lower the training loss of a tiny random BERT, in nats."""
    losses = nb17_models.run({"family": "bert", "seed": seed})["train_loss"]
    return losses[0] - losses[-1]


def by_matrix(seed: int, baseline: str) -> float:
    """How much closer than a tenth to Newton's a step matrix by matrix is, in decades."""
    return math.log10(CLOSE / apart(seed))


# Claim -> (benefit of a seed, what it is, its unit).
RETESTS: dict[str, tuple[Callable[[int, str], float], str, str]] = {
    ADAM: (against(ADAM), f"digits, gap after {BUDGET:g} gradients, RLHF against Adam", "decades"),
    DESCENT: (
        against(DESCENT),
        f"digits, gap after {BUDGET:g} gradients, RLHF against gradient descent",
        "decades",
    ),
    CROSS_VALIDATION: (
        chosen_by_cross_validation,
        "test loss, λ by cross-validation against next to none",
        "nats",
    ),
    EVERY_MODEL: (tiny_bert, "a tiny random BERT, training loss before less after", "nats"),
    SKETCH: (
        by_matrix,
        f"one inverse for each matrix, within {CLOSE:.0%} of Newton's step",
        "decades",
    ),
}
