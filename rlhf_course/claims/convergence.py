"""The claims on speed: fewer steps is not less work, so all is at equal cost."""

from __future__ import annotations

from ..recorded import NotRecorded
from ..studies import names, nb17_digits, study
from ..verdicts.comparison import Comparison
from .claim import Claim, Source

DIGITS, REVIEWS = "nb17_digits.json", "nb12_speed.json"
TUNED = (
    f"each method is tuned for the very quantity that judges it, {nb17_digits.TRIES} values or "
    f"until no better one is near, on {len(nb17_digits.TUNING_SEEDS)} seeds and rows that judge "
    "nothing"
)


def of_digits(about: str):
    """A question's comparisons in the study of the digits: document -> comparisons."""
    return Source(DIGITS, lambda document: nb17_digits.STUDY.compared(document, about))


def of_reviews(about: str):
    """Likewise of the reviews, whose study a checkout may not hold."""

    def compare(document: dict) -> list[Comparison]:
        if "nb12_speed" not in names():
            raise NotRecorded("no study of that name")
        return study("nb12_speed").compared(document, about)

    return Source(REVIEWS, compare)


def _faster(question, short: str, opponents: str, note: str) -> Claim:
    return Claim(
        name=question.about,
        words=f"Using the Hessian, training converges faster than with {short}.",
        test="After one budget of gradients, and after one of CPU seconds on one thread, the "
        "objective is nearer to the least that is known of it.",
        data=f"handwritten digits, {nb17_digits.SAMPLES} images, a network of 2,410 weights with "
        "an L2 penalty",
        baselines=f"{opponents}; {TUNED}",
        tested_on="one small network",
        shown_in=("09_rlhf_optimizer", "17_reading_the_article"),
        sources=(of_digits(question.about), of_reviews(question.about)),
        note=note,
    )


FASTER_THAN_GRADIENT_DESCENT = _faster(
    nb17_digits.FASTER_THAN_DESCENT,
    "gradient descent",
    "gradient descent on all images; SGD with momentum in batches is shown beside",
    "Steps are not compared: one of Newton's costs many gradients.",
)
FASTER_THAN_ADAM = _faster(
    nb17_digits.FASTER_THAN_ADAM,
    "Adam",
    "Adam in batches with a rate that falls linearly to 0; with a constant rate, AdamW and L-BFGS "
    "are shown beside",
    "A schedule decides, and so does what is held equal.",
)
