"""The claim on choosing lambda."""

from __future__ import annotations

from ..recorded import results
from ..studies import nb17_lambda
from ..verdicts.comparison import Comparison
from .claim import Claim, Source

CHOICES = "nb17_lambda.json"


def against(other: str):
    """Test loss at the lambda of cross-validation and at another one: document -> comparisons."""

    def compare(document: dict) -> list[Comparison]:
        found = results(document, list(nb17_lambda.STUDY.runs()))
        gains = tuple(_loss(r, other) - _loss(r, "cross-validation") for r in found)
        about = f"λ by {nb17_lambda.FOLDS}-fold cross-validation against {other}, test loss"
        return [Comparison(about, gains, "nats")]

    return compare


def _loss(result: dict, choice: str) -> float:
    return result["test_loss"][f"{result[choice]:g}"]


LAMBDA_BY_CROSS_VALIDATION = Claim(
    name="λ by cross-validation",
    words="The weight λ of the penalty is to be chosen by cross-validation.",
    test="The λ it chooses gives a lower test loss than none, and than the choice of one split.",
    data=f"{nb17_lambda.TRAINING} rows of breast-cancer data, {nb17_lambda.NOISE:.0%} of their "
    "labels wrong; the other 509 rows test",
    baselines="next to no penalty; the best λ on one held-out fifth",
    tested_on="a logistic regression",
    shown_in=("11_choosing_lambda", "17_reading_the_article"),
    sources=(Source(CHOICES, against("none")), Source(CHOICES, against("one split"))),
    note="Five folds cost five fits for each λ; one split costs one.",
)
