"""Answers to the exercises of notebook 05."""

import torch
from answers import Shown, record


def solver(
    *,
    beta=lambda new, old: new / old,
    alpha=lambda rr, curvature: rr / curvature,
    steps=200,
    stop=lambda r, b, rtol: r.norm() <= rtol * b.norm(),
    extra=False,
    carried=True,
    zero=False,
):
    """Conjugate gradients with faults of choice."""

    def cg(A, b, rtol):
        x, r = torch.zeros_like(b), b.clone()
        if zero:
            r = b - A @ x
        p, rr = r, r @ r
        for _ in range(steps):
            if stop(r, b, rtol):
                break
            Ap = A @ p
            a = alpha(rr, p @ Ap)
            x = x + a * p
            r = b - A @ x if extra else r - a * Ap
            new = r @ r
            p = r + beta(new, rr) * p
            rr = new if carried else rr
        return x

    return cg


def in_place(A, b, rtol):
    r = b
    p = b.clone()
    Ap = A @ p
    r -= (r @ r) / (p @ Ap) * Ap
    return b


def one_step(steps):
    return Shown(
        [record(step=k) for k in range(steps + 1)], {"start": 30.0, "method": "steepest descent"}
    )


def solved(spectrum, preconditioner, products, residual=9e-9):
    values = {"spectrum": spectrum, "condition": 3e4, "preconditioner": preconditioner}
    return Shown([record(products=products, extra={"residual": residual})], values)


UNITS = "badly scaled variables"

SOLUTIONS = {"05.one_step": one_step(1), "05.few_products": solved(UNITS, "diagonal", 18)}

MISTAKES = {
    "05.one_step": [
        (one_step(7), "takes 7 steps"),
        (one_step(0), "takes 0 steps"),
        (30, "the panel itself"),
    ],
    "05.cg": [
        (solver(beta=lambda new, old: 0.0), "steepest descent"),
        (solver(beta=lambda new, old: old / new), "not A-orthogonal"),
        (solver(beta=lambda new, old: -new / old), "not A-orthogonal"),
        (solver(carried=False), "carried over"),
        (solver(extra=True), "again"),
        (solver(alpha=lambda rr, curvature: 1.0), "yours went on"),
        (solver(alpha=lambda rr, curvature: -rr / curvature, steps=1), "sign"),
        (solver(alpha=lambda rr, curvature: 2 * rr / curvature, steps=1), "2 times"),
        (solver(steps=0), "No product"),
        (solver(steps=1), "after one product"),
        (solver(zero=True), "wasted"),
        (solver(stop=lambda r, b, rtol: r.norm() <= rtol), "where |r| <= rtol;"),
        (solver(stop=lambda r, b, rtol: r @ r <= rtol * (b @ b)), "too early"),
        (solver(stop=lambda r, b, rtol: r.norm() <= 1e-10 * b.norm()), "as soon as"),
        (solver(stop=lambda r, b, rtol: False), "does the loop end"),
        (in_place, "b in place"),
        (lambda A, b, rtol: torch.linalg.solve(A, b), "raised"),
    ],
    "05.count": [
        ((1000, 3, 3, 2), "round bowl"),
        ((1, 1000, 3, 2), "how often"),
        ((1, 3, 2, 2), "perpendicular"),
        ((1, 3, 3, 6), "no part in b"),
        (3, "Four whole numbers"),
    ],
    "05.few_products": [
        (solved("bulk and outliers", "none", 30), "rescaling"),
        (solved(UNITS, "estimated diagonal", 60), "noisy"),
        (solved("three clusters", "diagonal", 90), "not axes"),
        (solved(UNITS, "none", 200), "takes it out"),
        (solved(UNITS, "diagonal", 8, residual=1e-2), "tolerance"),
    ],
}
