"""The claims on speed: fewer steps is not less work, so all is at equal cost."""

from __future__ import annotations

from ..studies import nb17_digits, nb17_reviews
from .claim import Claim, Source

DIGITS, REVIEWS = "nb17_digits.json", "nb17_reviews.json"
TUNED = (
    f"each method is tuned for the very quantity that judges it, {nb17_digits.TRIES} values or "
    f"until no better one is near, on {len(nb17_digits.TUNING_SEEDS)} seeds and rows that judge "
    "nothing"
)


def of_digits(about: str):
    """A question's comparisons in the study of the digits: document -> comparisons."""
    return Source(DIGITS, lambda document: nb17_digits.STUDY.compared(document, about))


def of_reviews(about: str):
    """A question's comparisons in the study of a BERT's top layer on reviews."""
    return Source(REVIEWS, lambda document: nb17_reviews.STUDY.compared(document, about))


def _faster(question, short: str, opponents: str, note: str) -> Claim:
    return Claim(
        name=question.about,
        words=f"Using the Hessian, training converges faster than with {short}.",
        test="After one budget of gradients, and after one of CPU seconds on one thread, the "
        "objective is nearer to the least that is known of it.",
        data=f"handwritten digits, {nb17_digits.SAMPLES} images, a network of 2,410 weights with "
        f"an L2 penalty; {nb17_reviews.SENTENCES} reviews, {nb17_reviews.NOISE:.0%} wrong labels, "
        f"the top layer of a 6-layer BERT from a probe, L2-SP with λ = {nb17_reviews.LAMBDA:g}",
        baselines=f"{opponents}; {TUNED}",
        tested_on="one small network, and the top layer of a 6-layer BERT",
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
