"""The claims on overfitting: by second order, by L1, and how little dropout and L2 do."""

from __future__ import annotations

from dataclasses import replace

from ..experiments.nb12_cures import BARE_RATE, BUDGET, SENTENCES
from ..experiments.nb12_record import CuresRecord
from ..studies import nb12_reviews, nb12_sst2, nb17_digits
from ..verdicts.comparison import Comparison
from ..verdicts.rule import SOME
from .claim import Claim, Source
from .convergence import TUNED, of_digits

# File of a record, and what its data are called here.
FILM = ("nb12_sst2.json", nb12_sst2, "SST-2, top layer")
REVIEWS = ("nb12_reviews.json", nb12_reviews, "reviews, top layer")
TOP_LAYER = (
    f"{SENTENCES} SST-2 sentences with right labels, {SENTENCES} reviews with "
    f"{nb12_reviews.NOISE:.0%} wrong ones, the top layer of a 6-layer BERT"
)
SEARCHED = (
    f"{BUDGET} gradients each, from one probe; rates, λ and damping searched alike, with two seeds "
    "of their own"
)


def at_one_price(where: tuple, ours: str, theirs: str, about: str) -> Source:
    """Test loss at the end of equal gradients: how much lower ours is than theirs."""
    file, study, data = where

    def compare(document: dict) -> list[Comparison]:
        gain = CuresRecord(study.CURES, study.STUDY, document).gain(ours, theirs)
        return [replace(gain, about=f"{data}, {about}, test loss at the end")]

    return Source(file, compare)


def leaves_most_of_the_rise(method: str, about: str) -> Source:
    """Whether a cure takes away less than half of what early stopping would.

    The rise is the test loss at the end less that at the step of least selection loss, both
    without the cure, at the learning rate that the cure has.
    """
    file, study, data = REVIEWS

    def compare(document: dict) -> list[Comparison]:
        record = CuresRecord(study.CURES, study.STUDY, document)
        names = (method, "adamw bare", "adamw bare-stopped")
        rows = zip(*(record.measure(name, "test_loss") for name in names), strict=True)
        left = tuple(cured - (end + best) / 2 for cured, end, best in rows)
        about_it = f"{data}, {about} leaves more than half of the rise"
        return [Comparison(about_it, left, "nats", looks=record.looks)]

    return Source(file, compare)


LESS_OVERFITTING_BY_SECOND_ORDER = Claim(
    name=nb17_digits.LESS_OVERFITTING.about,
    words="Because it sees the curvature, the method avoids overfitting.",
    test="Without any penalty, RLHF ends at a lower test loss than AdamW at equal gradients.",
    data=f"digits, {nb17_digits.SAMPLES} images to learn from, 400 others to test; {TOP_LAYER}",
    baselines="AdamW with a rate that falls linearly to 0, on the digits with a weight decay of "
    f"0.01; there Adam without decay of either kind and L-BFGS are shown beside; {TUNED}; on the "
    f"sentences {SEARCHED}",
    tested_on="one small network, and the top layer of a 6-layer BERT",
    shown_in=("09_rlhf_optimizer", "17_reading_the_article"),
    sources=(
        of_digits(nb17_digits.LESS_OVERFITTING.about),
        *(
            at_one_price(where, "rlhf none", "adamw linear", "RLHF without a penalty against AdamW")
            for where in (FILM, REVIEWS)
        ),
    ),
    note="The penalty is left out on purpose: this is about what curvature does alone.",
)
LESS_OVERFITTING_BY_L1 = Claim(
    name="less overfitting by L1",
    words="The L1 penalty on all weights keeps a fine-tuned BERT from overfitting.",
    test="Without early stopping, RLHF with λ Σ|θ| ends at a lower test loss than AdamW, and than "
    "RLHF without the penalty.",
    data=TOP_LAYER,
    baselines=f"AdamW with a rate that falls linearly to 0; RLHF without a penalty; {SEARCHED}",
    tested_on="the top layer of a 6-layer BERT",
    shown_in=("12_regularizers",),
    sources=tuple(
        at_one_price(where, "rlhf l1", theirs, f"L1 against {about}")
        for where in (FILM, REVIEWS)
        for theirs, about in (("adamw linear", "AdamW"), ("rlhf none", "none"))
    ),
    note="A loss near 0.69 is that of a coin: a penalty that forbids learning does not overfit.",
)
PENALTY_AT_THE_START = Claim(
    name="other regularizers do better",
    words="As future work: other regularizers may serve better than L1.",
    test="RLHF with a penalty centred at the pre-trained weights ends below RLHF with L1 at zero.",
    data=TOP_LAYER,
    baselines=f"RLHF with L1 at zero; {SEARCHED}",
    tested_on="the top layer of a 6-layer BERT",
    shown_in=("12_regularizers",),
    quantifier=SOME,
    sources=(
        *(
            at_one_price(where, "rlhf l2sp", "rlhf l1", "L2-SP against L1")
            for where in (FILM, REVIEWS)
        ),
        at_one_price(REVIEWS, "rlhf l1sp", "rlhf l1", "L1-SP against L1"),
    ),
)
DROPOUT_AND_L2_HELP_LITTLE = Claim(
    name="dropout and L2 help little",
    words="For large pre-trained models dropout and L2 penalties have a limited effect.",
    test="Each leaves more than half of the rise of the test loss that early stopping avoids.",
    data=TOP_LAYER.partition("right labels, ")[2],
    baselines=f"AdamW without them at the same learning rate, {BARE_RATE:g}, at its best step and "
    f"its last; {SEARCHED}",
    tested_on="the top layer of a 6-layer BERT",
    shown_in=("12_regularizers",),
    sources=(
        leaves_most_of_the_rise("adamw dropout", "dropout"),
        leaves_most_of_the_rise("adamw decay", "decoupled weight decay"),
    ),
    note="22.7 million weights are few beside today's models, and only the top layer is trained. "
    "Decoupled decay stands in for an L2 penalty.",
)
