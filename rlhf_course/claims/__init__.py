"""The ledger of the article's claims: each with its test, its numbers and the verdict they give.

>>> from rlhf_course.claims import ledger
>>> len(ledger()) >= 12
True

A verdict is computed by `rlhf_course.verdicts.rule` from what is recorded, and never typed. Where
a study is not recorded yet, the ledger says so.
"""

from __future__ import annotations

from ..verdicts.comparison import Comparison, interval, student
from ..verdicts.rule import verdict
from .breadth import EVERY_MODEL, FOUR_APPLICATIONS
from .claim import Claim, Judged, judge
from .convergence import FASTER_THAN_ADAM, FASTER_THAN_GRADIENT_DESCENT
from .cost import CHEAPER_SECOND_ORDER, COST_IS_THE_OBSTACLE
from .future import COMPRESSION, DISTILLATION
from .lambdas import LAMBDA_BY_CROSS_VALIDATION
from .overfitting import (
    DROPOUT_AND_L2_HELP_LITTLE,
    LESS_OVERFITTING_BY_L1,
    LESS_OVERFITTING_BY_SECOND_ORDER,
    PENALTY_AT_THE_START,
)
from .sketch import THE_CODE

CLAIMS = (
    FASTER_THAN_GRADIENT_DESCENT,
    FASTER_THAN_ADAM,
    LESS_OVERFITTING_BY_SECOND_ORDER,
    LESS_OVERFITTING_BY_L1,
    EVERY_MODEL,
    FOUR_APPLICATIONS,
    LAMBDA_BY_CROSS_VALIDATION,
    COST_IS_THE_OBSTACLE,
    DROPOUT_AND_L2_HELP_LITTLE,
    CHEAPER_SECOND_ORDER,
    PENALTY_AT_THE_START,
    COMPRESSION,
    DISTILLATION,
    THE_CODE,
)
__all__ = [
    "CLAIMS",
    "Claim",
    "Comparison",
    "Judged",
    "interval",
    "judge",
    "ledger",
    "student",
    "verdict",
]


def ledger(documents: dict | None = None) -> list[Judged]:
    """All claims, in the article's order, with the verdicts of today's records."""
    return [judge(claim, documents) for claim in CLAIMS]
