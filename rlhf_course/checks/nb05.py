"""Checks of notebook 05."""

from __future__ import annotations

import math
import weakref

import torch
from torch import Tensor

from rlhf_lib.solve import conjugate_gradient

from ..checking.cases import integer, randn, uniform
from ..checking.expect import call, expect, parts
from ..checking.feedback import Wrong, almost, correct, require
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
    """A matrix that notes what it is multiplied with, and gives up after so many products.

    `kept` is the largest number of vectors and products of former steps that were still alive.
    """

    def __init__(self, A: Tensor, most: int):
        self.A, self.most, self.seen = A, most, []
        self.shape, self.dtype = A.shape, A.dtype
        self.kept, self._alive = 0, []

    def __matmul__(self, v):
        require(
            isinstance(v, Tensor) and v.shape == self.A.shape[:1],
            f"A was multiplied with something else than a vector of shape ({len(self.A)},).",
        )
        self.seen.append(v.detach().clone())
        if len(self.seen) > self.most:
            raise TooMany(f"not at an end after {self.most} products for {len(self.A)} unknowns")
        product = self.A @ v
        self.kept = max(self.kept, sum(one() is not None for one in self._alive))
        self._alive += [weakref.ref(v), weakref.ref(product)]
        return product


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


def _at_rest(answer):
    """b = 0 is solved by x = 0, with no product; every other b is divided by something."""
    x, seen = _watch(answer, 2 * torch.eye(4), torch.zeros(4), 1e-8, most=9)
    require(
        x is not None and bool(torch.as_tensor(x).isfinite().all()),
        "With b = 0 the answer is x = 0; yours divides zero by zero. Ask first whether the residual "
        "is small enough already, then make a product.",
    )
    require(not seen, "With b = 0 the start is the solution: no product is needed.")


def _rounding(answer):
    """On an ill-conditioned matrix rounding makes CG take more steps than there are unknowns."""
    n = integer(40, 60, seed=7)
    Q, _ = torch.linalg.qr(randn(n, n, seed=8))
    A, b = Q @ torch.diag(torch.logspace(0, 5, n)) @ Q.T, randn(n, seed=9)
    truth = conjugate_gradient(A, b, rtol=1e-6, max_iter=100 * n).iterations
    watched = Watched(A, 40 * truth)
    x = call(answer, watched, b, 1e-6)
    left, spent = float((b - A @ x).norm() / b.norm()), len(watched.seen)
    require(
        left < 2e-6,
        f"With {n} unknowns and κ = 10⁵ it ends after {spent} products with {left:.2g} of the residual "
        "left. Rounding spoils the end after n steps: go on until |r| <= rtol · |b|.",
    )
    hoarding = (
        "You keep the former directions. They are not needed: x, r, p and A p are all the memory "
        "that CG takes, which is why it serves for a BERT."
    )
    require(watched.kept < 12, hoarding)
    require(
        spent > (n + truth) / 2,
        f"{spent} products, where CG by (4) and (5) takes {truth}. " + hoarding,
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
    _at_rest(answer)
    _rounding(answer)
    return correct("One product a step, A-orthogonal directions, and it stops when it may.")


@exercise("05.count")
def count(answer):
    """Products of CG in exact arithmetic, for the four matrices a to d of the notebook."""
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
    for value, (truth, hint) in zip(parts(answer, "(a, b, c, d)"), hints, strict=True):
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


@exercise("05.filters")
def filters(answer):
    """(filter, degrees of freedom), functions of (h, mu, k): k damped steps from zero."""
    own, total = parts(answer, "(damped_filter, degrees_of_freedom)")
    for seed in range(3):
        size, k, mu = (
            integer(4, 8, seed=seed),
            integer(2, 6, seed=seed),
            uniform(0.3, 2.0, seed=seed),
        )
        k = 1 if seed == 2 else k
        h = randn(size, seed=seed).abs() + 0.1
        Q, _ = torch.linalg.qr(randn(size, size, seed=seed + 10))
        A, b = Q @ torch.diag(h) @ Q.T, randn(size, seed=seed + 20)
        x, damped = torch.zeros(size), A + mu * torch.eye(size)
        for _ in range(k):
            x = x + torch.linalg.solve(damped, b - A @ x)
        truth = (Q.T @ x) / (Q.T @ b / h)
        ridge = h / (h + mu)
        expect(
            call(own, h, mu, k),
            truth,
            {
                "That is ridge, one step; k steps let more through.": None if k == 1 else ridge,
                "That is what is left of the error; the filter is the rest.": 1 - truth,
                "The factors of the errors multiply, not those of the filter: with more steps the filter "
                "comes nearer to 1.": None if k == 1 else ridge**k,
                "k filters added up exceed 1: each step sees only the error that is left.": None
                if k == 1
                else k * ridge,
                "That is the filter of gradient descent with the step 1/μ.": 1 - (1 - h / mu) ** k,
                "The error is multiplied by μ/(h + μ) once more or less than you have.": None
                if k == 1
                else 1 - (mu / (h + mu)) ** (k - 1),
            },
            "What becomes of the error in one step, and after k?",
            what="filter",
        )
        expect(
            call(total, h, mu, k),
            truth.sum(),
            {"That is the mean; the sum is asked for.": truth.mean()},
            "It is the sum of the filter's factors over the eigenvalues.",
            what="number of degrees of freedom",
        )
    return correct("Ridge, damped steps and CG: three filters on the same eigenvalues.")


class Suspect:
    """A small operator that may have a fault: its answer differs by `noise` each time."""

    def __init__(self, A: Tensor, noise: float = 0.0):
        self.A, self.noise, self.shape, self.dtype = A, noise, A.shape, A.dtype

    def __len__(self):
        return len(self.A)

    def __matmul__(self, v):
        product = self.A @ v
        return product + self.noise * product.norm() * torch.randn(product.shape, dtype=self.dtype)


@exercise("05.diagnose")
def diagnose(answer):
    """A function A -> what is wrong with a small operator, in one of four phrases."""
    cases = []
    for seed in range(2):
        n = integer(5, 9, seed=seed)
        Q, _ = torch.linalg.qr(randn(n, n, seed=seed))
        h = torch.linspace(0.5, 40, n)
        # Scales far from 1: what is small is so beside the matrix.
        good = 10.0 ** (6 * seed - 3) * Q @ torch.diag(h) @ Q.T
        top, lowest = good.abs().max(), torch.outer(Q[:, 0], Q[:, 0])
        skew = 0.02 * top * torch.triu(torch.ones(n, n), 1)
        cases += [
            (Suspect(good), "none of these", "One operator here is fine; rounding is no fault."),
            (
                Suspect(good, 0.01),
                "not the same twice",
                "One operator here differs by 1 % each time.",
            ),
            (
                Suspect(good + skew, 0.01),
                "not the same twice",
                "One that differs each time looks unsymmetric, too; ask the first question first.",
            ),
            (
                Suspect(good + skew),
                "not symmetric",
                "One is not symmetric, by 2 % of its largest entry.",
            ),
            (
                Suspect(good - (0.5 + 0.6) * 10.0 ** (6 * seed - 3) * lowest),
                "indefinite",
                "One has a single negative eigenvalue, small beside the others: few random vectors find it.",
            ),
            (
                Suspect(good - 0.5 * 10.0 ** (6 * seed - 3) * 0.9 * lowest),
                "none of these",
                "One has a small eigenvalue, and a positive one: that is no fault.",
            ),
        ]
    for suspect, truth, hint in cases:
        found = call(answer, suspect)
        require(isinstance(found, str), "Return one of the four phrases, a string.")
        require(found == truth, f"{hint} Expected {truth!r}, got {found!r}.")
    return correct("Ask first whether it is the same twice, then whether it is symmetric.")


@exercise("05.growth")
def growth(answer):
    """The exponents of kappa, evenly in the logarithm and evenly spread."""
    logs, even = (
        part.double() if isinstance(part, Tensor) else part
        for part in parts(answer, "(in_the_logarithm, even)")
    )

    def measured(spread, low, high):
        counts = [
            conjugate_gradient(
                torch.diag(spread(k)), randn(1000, seed=1), rtol=1e-6, max_iter=5000
            ).iterations
            for k in (low, high)
        ]
        return math.log10(counts[1] / counts[0]) / (high - low)

    expect(
        logs,
        measured(lambda k: torch.logspace(0, k, 1000), 1, 3),
        {
            "That is steepest descent's exponent; CG's is smaller.": 1.0,
            "That is a ratio of counts; the exponent is its logarithm over the logarithm of the ratio "
            "of the κs.": None,
        },
        "Count again at κ = 10 and κ = 1,000, for a residual of 1e-6.",
        what="exponent, evenly in the logarithm",
        rtol=0,
        atol=0.1,
    )
    expect(
        even,
        measured(lambda k: torch.linspace(1, 10**k, 1000), 2, 4),
        {
            "That is the bound's exponent; this spectrum is not the worst one.": 0.5,
            "It does grow, if only a little: few eigenvalues are near 1.": 0.0,
        },
        "Count again at κ = 100 and κ = 10,000, for a residual of 1e-6.",
        what="exponent, evenly spread",
        rtol=0,
        atol=0.1,
    )
    return correct("The exponent belongs to the spectrum; the bound holds for the worst one.")
