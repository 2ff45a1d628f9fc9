"""Claims that can be tested again in seconds, one benefit for each seed of the reader's own."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..claims.sketch import CLOSE, apart
from ..recorded import recorded
from ..studies import nb17_digits, nb17_lambda, nb17_models

TUNED, DEFAULT = "tuned", "torch's default"
ADAM, DESCENT = "faster than Adam", "faster than gradient descent"
CROSS_VALIDATION, EVERY_MODEL = "λ by cross-validation", "every pre-trained model"
SKETCH = "the code sketch"
BUDGET = 40  # gradients; the record has 60


def against(method: str) -> Callable[[int, str], float]:
    """Objective of RLHF on the digits against a first-order method, in decades."""

    def benefit(seed: int, baseline: str) -> float:
        chosen = nb17_digits.STUDY.chosen(recorded("nb17_digits.json"))
        value = chosen[method]
        if baseline == DEFAULT:
            value = nb17_digits.DEFAULTS.get(method, value)
        ours = nb17_digits.curve("RLHF", chosen["RLHF"], seed, BUDGET)
        theirs = nb17_digits.curve(method, value, seed, BUDGET)
        return math.log10(theirs[-1].train_loss / ours[-1].train_loss)

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
    ADAM: (
        against("Adam"),
        f"digits, objective after {BUDGET} gradients, RLHF against Adam",
        "decades",
    ),
    DESCENT: (
        against("gradient descent"),
        f"digits, objective after {BUDGET} gradients, RLHF against gradient descent",
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
