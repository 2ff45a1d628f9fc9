"""The preconditioner of one step: made for its operator and shift, on the coordinates that move."""

from __future__ import annotations

import torch
from torch import Tensor

from ..curvature.damped import Products
from ..curvature.diagonals import (
    diagonal_preconditioner,
    empirical_fisher_diagonal,
    gauss_newton_diagonal,
    hutchinson_diagonal,
)
from ..curvature.operators import CurvatureOperator
from .model import LocalModel

KINDS = ("fisher", "ggn", "hutchinson")


def check_preconditioner(kind) -> None:
    """A ValueError for a name that none has, and for what preconditions nothing."""
    fits = kind is None or callable(kind) or isinstance(kind, Tensor | Products)
    if kind not in KINDS if isinstance(kind, str) else not fits:
        raise ValueError(
            f"expected a preconditioner from {KINDS}, a tensor or a function, got {kind!r}"
        )


def preconditioner_for(kind, model: LocalModel, *, check: bool = True):
    """What conjugate_gradient takes as such, and its cost in gradients.

    Args:
        kind: None, one of KINDS, a tensor, an operator, or a function of (operator, shift).
        check: whether the rows of "fisher" and "ggn" are checked by a backward pass.

    Raises:
        ValueError: "fisher" or "ggn" for a model in which samples act on one another.
    """
    if kind is None:
        return None, 0.0
    operator, shift, cost = model.curvature, model.shift + model.damping, 0.0
    if kind == "hutchinson":
        approximate = diagonal_preconditioner(hutchinson_diagonal(operator), shift)
    elif isinstance(kind, str):
        if not isinstance(operator, CurvatureOperator):
            raise ValueError(
                "expected the preconditioner 'hutchinson', a tensor or a function for a curvature "
                f"that is a matrix, got {kind!r}, which needs the outputs of a model"
            )
        diagonal = {"fisher": empirical_fisher_diagonal, "ggn": gauss_newton_diagonal}[kind]
        try:
            found = diagonal(operator.task, operator.params, check="raise" if check else "none")
        except ValueError as error:
            raise ValueError(
                f"preconditioner={kind!r}: {error}. Use preconditioner='hutchinson', which takes "
                "products alone, or None"
            ) from error
        approximate = diagonal_preconditioner(found, shift)
        cost = 1.0  # forward, backward and the rows, for one direction of the outputs
    else:
        approximate = kind if hasattr(kind, "__matmul__") else kind(operator, shift)
    if model.free is None:
        return approximate, cost
    inside = approximate * model.free if isinstance(approximate, Tensor) else None
    if inside is not None and inside.ndim == 1:
        return torch.where(model.free, inside, 1.0), cost
    product = approximate if callable(approximate) else approximate.__matmul__
    return (lambda r: product(r * model.free) * model.free + r * ~model.free), cost
