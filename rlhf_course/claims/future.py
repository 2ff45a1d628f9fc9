"""The claims on what the article leaves to future work: compression and distillation."""

from __future__ import annotations

from ..recorded import results
from ..studies import nb14_smaller
from ..verdicts.comparison import Comparison
from ..verdicts.rule import SOME
from .claim import Claim, Source

SMALLER = "nb14_smaller.json"
LOST = 0.02  # accuracy that a smaller model may cost
DATA = "a 6-layer BERT fine-tuned on 400 reviews, 400 others to judge"


def nearly_as_good(method: str, value, about: str):
    """Accuracy against that of the whole model less two points: document -> comparisons."""

    def compare(document: dict) -> list[Comparison]:
        small, whole = _both(document, (method, value), ("dense", 0))
        share = sum(r["bytes"] for r in small) / sum(r["bytes"] for r in whole)
        gains = tuple(
            a["accuracy"] - b["accuracy"] + LOST for a, b in zip(small, whole, strict=True)
        )
        return [
            Comparison(
                f"{about}, {share:.0%} of the bytes, accuracy above the whole model's less {LOST}",
                gains,
                "accuracy",
                margin=0.0,  # it is in the benefits
            )
        ]

    return compare


def listens(measure: str, sign: float, unit: str):
    """A student of two layers with a teacher and without: document -> comparisons."""

    def compare(document: dict) -> list[Comparison]:
        taught, alone = _both(document, ("teacher", 2), ("labels alone", 2))
        gains = tuple(sign * (a[measure] - b[measure]) for a, b in zip(taught, alone, strict=True))
        about = f"two layers, with a teacher against labels alone, validation {measure}"
        return [Comparison(about, gains, unit)]

    return compare


def _both(document: dict, *kinds: tuple) -> list[list[dict]]:
    return [
        results(
            document,
            [{"method": method, "value": value, "seed": seed} for seed in nb14_smaller.SEEDS],
        )
        for method, value in kinds
    ]


COMPRESSION = Claim(
    name="compression",
    words="As future work: compressed models may keep the quality at a lower price.",
    test=f"Each compressed model loses less than {LOST} of accuracy.",
    data=DATA,
    baselines="the whole model; nothing is tuned",
    tested_on="a 6-layer BERT",
    shown_in=("14_smaller_models",),
    quantifier=SOME,
    sources=(
        Source(SMALLER, nearly_as_good("bits", "8 table", "8 bits a weight")),
        Source(SMALLER, nearly_as_good("obd", 0.5, "half of the weights zero, by curvature")),
        Source(SMALLER, nearly_as_good("magnitude", 0.5, "half of the weights zero, by size")),
        Source(SMALLER, nearly_as_good("neurons", 0.5, "half of the neurons gone")),
    ),
    note="Zeros save bytes on disk, and no time; taking neurons out saves both.",
)
DISTILLATION = Claim(
    name="distillation",
    words="As future work: a small model may learn from the fine-tuned large one.",
    test="A student that listens to a teacher has a lower loss and a higher accuracy than without.",
    data=DATA,
    baselines="the same student on the labels alone, with as many epochs",
    tested_on="a 6-layer BERT",
    shown_in=("14_smaller_models",),
    quantifier=SOME,
    sources=(
        Source(SMALLER, listens("loss", -1.0, "nats")),
        Source(SMALLER, listens("accuracy", 1.0, "accuracy")),
    ),
)
