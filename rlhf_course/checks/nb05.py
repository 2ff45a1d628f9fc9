"""Checks of notebook 05."""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf_lib.solve import conjugate_gradient

from ..checking.expect import call, expect, randn
from ..checking.feedback import Wrong, almost, attempted, correct, require
from ..checking.goals import goal
from ..checking.registry import exercise


@goal("05.one_step", method="steepest descent")
def one_step(records, values):
    """A start from which steepest descent is at the minimum after one step."""
    require(
        len(records) == 2,
        f"From {values['start']:g}° it takes {records[-1].step} steps. Look for a start at which "
        "the line at right angles to the contour goes through the origin.",
    )
    return correct("An eigenvector's gradient points straight at the solution: one product does.")


class TooMany(Exception):
    """Ends a function that goes on and on."""


class Watched:
    """A matrix that notes what it is multiplied with, and gives up after so many products."""

    def __init__(self, A: Tensor, most: int):
        self.A, self.most, self.seen = A, most, []
        self.shape, self.dtype = A.shape, A.dtype

    def __matmul__(self, v):
        require(
            isinstance(v, Tensor) and v.shape == self.A.shape[:1],
            f"A was multiplied with something else than a vector of shape ({len(self.A)},).",
        )
        self.seen.append(v.detach().clone())
        if len(self.seen) > self.most:
            raise TooMany(f"not at an end after {self.most} products for {len(self.A)} unknowns")
        return self.A @ v


def _watch(answer, A, b, rtol, most):
    """x, or None if there is no end to it, and the vectors that A was multiplied with."""
    watched = Watched(A, most)
    try:
        return call(answer, watched, b, rtol), watched.seen
    except TooMany:
        return None, watched.seen


def _parallel(u, v):
    return abs(float(u @ v)) > (1 - 1e-9) * float(u.norm() * v.norm()) > 0


def _one_product(answer):
    """With A = 2I the first step is the whole way."""
    b = randn(5)
    x, seen = _watch(answer, 2 * torch.eye(5), b, 1e-8, most=50)
    require(seen, "No product A @ v was made. Nothing else tells anything about A.")
    require(
        float(seen[0].norm()) > 0,
        "At x = 0 the residual is b itself: the product with zero is wasted.",
    )
    require(_parallel(seen[0], b), "The first direction is the residual at x = 0, which is b.")
    require(
        len(seen) == 1 or not _parallel(seen[1], b),
        "With A = 2I one step is the whole way, and one step needs one product, A @ p; yours "
        "multiplied A with that direction again. Is α right, and is A @ p kept to update r?",
    )
    require(
        len(seen) == 1,
        "With A = 2I the first step ends at b/2, where the residual is zero; yours went on. Is α "
        "= r·r / p·Ap, and does the loop end where |r| <= rtol · |b|?",
    )
    expect(
        x,
        b / 2,
        {"x came back as zero: is x updated in the loop?": 0 * b},
        "With A = 2I the very first step should end at b/2: look at α = r·r / p·Ap.",
        what="solution",
    )


def _directions(answer, A, b):
    """The vectors multiplied with A have to be A-orthogonal."""
    _, seen = _watch(answer, A, b, 1e-8, most=8 * len(A))
    require(len(seen) > 1, "It stopped after one product, far from the solution.")
    residual = b - (b @ b) / (b @ (A @ b)) * (A @ b)
    require(
        not _parallel(seen[1], residual),
        "The second direction is the residual itself: that is steepest descent. β p is missing.",
    )
    P = torch.stack(seen)[: len(A)]
    P = P / (P @ A * P).sum(1, keepdim=True).sqrt()
    off = (P @ A @ P.T - torch.eye(len(P))).abs()
    require(
        float(off[0, 1]) < 1e-6,
        "The first two directions are not A-orthogonal. Is β the new r·r over the old one, and "
        "the sign of β p a plus?",
    )
    require(
        float(off.max()) < 1e-4,
        "The first two directions are A-orthogonal, later ones are not: has r·r been carried over "
        "to the next step?",
    )
    require(
        len(seen) <= len(A),
        f"More than {len(A)} products for {len(A)} unknowns: in so few dimensions CG is at the "
        "solution by then, so look at when your loop ends.",
    )


def _stops(answer):
    """As soon as |r| <= rtol |b|."""
    q, _ = torch.linalg.qr(randn(30, 30))
    A = q @ torch.diag(torch.linspace(1, 20, 30)) @ q.T
    for rtol in (1e-1, 1e-3):
        b = randn(30, seed=1)
        norm = float(b.norm())

        def needed(atol, b=b):
            return conjugate_gradient(A, b, rtol=0, atol=atol).iterations

        _, seen = _watch(answer, A, b, rtol, most=300)
        spent, truth = len(seen), needed(rtol * norm)
        require(
            spent == truth or spent != needed(rtol),
            "It stops where |r| <= rtol; asked for is |r| <= rtol · |b|.",
        )
        require(
            spent == truth or spent != needed(rtol**0.5 * norm),
            "It stops too early: r·r is the square of the norm.",
        )
        require(
            spent == truth,
            f"With rtol = {rtol:g} it makes {spent} products where {truth} are enough: stop as "
            "soon as |r| <= rtol · |b|.",
        )


@exercise("05.cg")
def cg(answer):
    """A function (A, b, rtol) -> x with |b - Ax| <= rtol |b|, by conjugate gradients."""
    _one_product(answer)
    for seed in range(3):
        M, b = randn(6, 6, seed=seed), randn(6, seed=seed + 10)
        A = M @ M.T + torch.eye(6)
        _directions(answer, A, b)
        expect(
            call(answer, Watched(A, 50), b, 1e-10),
            torch.linalg.solve(A, b),
            {},
            "The directions are right; is α the same in x and in r?",
            what="solution",
        )
    _stops(answer)
    return correct("One product a step, A-orthogonal directions, and it stops when it may.")


@exercise("05.count")
def count(answer):
    """Products of CG in exact arithmetic, for the four matrices a to d of the notebook."""
    require(
        isinstance(answer, tuple | list) and len(answer) == 4,
        "Four whole numbers are asked for: products = (a, b, c, d).",
    )
    hints = (
        (1, "a: in a round bowl the first direction, b, points at the solution."),
        (3, "b: one zero for each different eigenvalue; how often it occurs does not matter."),
        (
            3,
            "c: besides the two eigenvalues in the plane of u and w there is the 1 of all "
            "vectors perpendicular to it.",
        ),
        (2, "d: four of the six eigenvectors have no part in b; there is no error along them."),
    )
    for value, (truth, hint) in zip(attempted(answer), hints, strict=True):
        if value != truth:
            return almost(hint)
    return correct("One zero of the polynomial for each different eigenvalue that b knows of.")


@goal("05.few_products", condition=3e4)
def few_products(records, values):
    """At kappa 30,000 a relative residual of 1e-8 for at most 25 products."""
    last, spectrum, M = records[-1], values["spectrum"], values["preconditioner"]
    require(
        last.extra["residual"] <= 1.01e-8,
        f"The relative residual is {last.extra['residual']:.1e}: move the tolerance to 1e-8.",
    )
    if last.products > 25:
        reason = f"{last.products} products. "
        require(
            spectrum != "bulk and outliers" or M != "none",
            reason + "Near: a few outliers are cheap. But a matrix that a rescaling of its "
            "variables makes round is cheaper.",
        )
        require(
            spectrum != "badly scaled variables" or M != "estimated diagonal",
            reason + "The right idea, but the estimate costs 10 products and is noisy.",
        )
        require(
            M == "none" or spectrum == "badly scaled variables",
            reason + "These eigenvectors are random directions, not axes: a diagonal cannot "
            "rescale them.",
        )
        raise Wrong(
            reason + "Look for a spectrum whose trouble lies in its variables, and for the M "
            "that takes it out."
        )
    return correct("The diagonal took the units out, and a round bowl was left.")
