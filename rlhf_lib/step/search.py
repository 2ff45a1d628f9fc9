"""The line search along a proposal's path, and a way on where an orthant leaves hardly a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from ..solve.conjugate_gradient import SINGULAR
from .globalization import armijo
from .model import LocalModel, Path, Proposal

# A path that the orthant cuts is given up below this length. On l1 logistic regressions of features
# from 1e-3 to 1e3 anything from 1/2 to 1/32 converges in about as many of newton's steps.
_SHORT = 1 / 16


def search(
    objective: Callable[[Tensor], float],
    model: LocalModel,
    proposal: Proposal,
    path: Path,
    full: float,
    value: float,
    otherwise: Callable[[LocalModel], Proposal] | None,
    *,
    c: float = 1e-4,
    most: int,
) -> tuple[float, Proposal, Path, float]:
    """Backtrack along the path by Armijo's condition, and take a proximal step where it stalls.

    A Newton direction that is cut at the orthant's faces may lead uphill, the more so the worse
    scaled the coordinates are (Bertsekas, 1982), and the line search then leaves next to nothing of
    it; and where the model is flat only a kink bounds the step, which the direction does not know.
    A proximal step (Lee, Sun and Saunders, 2014) is proposed then, and taken if it is lower.

    Args:
        objective: at a point, shape (n,). value: at the model's, with any slack. full: at path(1).
        otherwise: proposes that step at the model with kinks; None for none.
        c, most: as for armijo.

    Returns:
        (step length, 0 for none; the proposal and its path; the objective at the path's end). The
        objective was last evaluated at the point that is returned, unless the length is 0.
    """
    length, lowest, _ = armijo(
        lambda t: objective(path(t)), value, path.slope, first=full, c=c, most=most
    )
    stalled = (path.cut and length < _SHORT) or proposal.reason == SINGULAR
    if otherwise is None or not stalled:
        return length, proposal, path, full
    kinked = model.with_kinks()
    other = otherwise(kinked)
    spent = {"cost": proposal.cost + other.cost, "products": proposal.products + other.products}
    straight = Path(kinked, other, path.lengths)
    whole = objective(straight(1.0))
    reach, lower, _ = armijo(
        lambda t: objective(straight(t)), value, straight.slope, first=whole, c=c, most=most
    )
    if reach and (lower < lowest or not length):
        return reach, replace(other, **spent), straight, whole
    if length:
        objective(path(length))
    return length, replace(proposal, **spent), path, full
