"""The kinds of penalty by name, as `RLHFOptimizer(regularizer="l2sp")` takes them."""

from __future__ import annotations

from .base import Regularizer, check_lambda
from .box import NonNegative
from .elementwise import L1, L1SP, L2, L2SP, ElasticNet, PseudoHuber
from .group_lasso import GroupLasso
from .sparse_group_lasso import SparseGroupLasso

KINDS = {
    "l1": L1,
    "l2": L2,
    "elastic-net": ElasticNet,
    "l2sp": L2SP,
    "l1sp": L1SP,
    "group-lasso": GroupLasso,
    "sparse-group-lasso": SparseGroupLasso,
    "non-negative": NonNegative,
    "pseudo-huber": PseudoHuber,
}


def make_regularizer(kind: str | Regularizer | None) -> Regularizer | None:
    """A regularizer by its name, or the given one, which nobody can change; None stays None."""
    if kind is None or isinstance(kind, Regularizer):
        return kind
    if isinstance(kind, str) and kind.lower().replace("-sp", "sp") in KINDS:
        return KINDS[kind.lower().replace("-sp", "sp")]()
    raise ValueError(f"expected a Regularizer, None or one of {sorted(KINDS)}, got {kind!r}")


def check_has_penalty(value: float, regularizer: str | Regularizer | None) -> None:
    """A ValueError for a positive regularization weight with nothing that it could weigh."""
    if check_lambda(value) > 0 and regularizer is None:
        raise ValueError(
            f"expected a penalty for lambda_reg = {value}, which has no effect without a penalty, "
            "got regularizer=None: pass regularizer='l2' or another kind"
        )
