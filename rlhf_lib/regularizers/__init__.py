"""The penalties R(theta): value, (minimum-norm sub)gradient, curvature and prox of each formula."""

from .base import Regularizer, check_lambda, penalized
from .box import Box, NonNegative
from .elementwise import L1, L1SP, L2, L2SP, ElasticNet, PseudoHuber
from .group_lasso import GroupLasso
from .kinds import KINDS, check_has_penalty, make_regularizer
from .sparse_group_lasso import SparseGroupLasso

__all__ = [
    "KINDS",
    "L1",
    "L1SP",
    "L2",
    "L2SP",
    "Box",
    "ElasticNet",
    "GroupLasso",
    "NonNegative",
    "PseudoHuber",
    "Regularizer",
    "SparseGroupLasso",
    "check_has_penalty",
    "check_lambda",
    "make_regularizer",
    "penalized",
]
