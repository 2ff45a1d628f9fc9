"""Answers to the exercises of notebook 05."""

import numpy as np
import torch
from answers import Shown, record, stopped


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


def gram_schmidt(A, b, rtol, copies=False):
    x, r, P, Q = torch.zeros_like(b), b.clone(), [], []
    while r.norm() > rtol * b.norm():
        p = r.clone()
        for old, image in zip(P, Q, strict=True):
            p = p - (p @ image) / (old @ image) * old
        image = A @ p
        P.append(p.clone() if copies else p)
        Q.append(image.clone() if copies else image)
        step = (p @ r) / (p @ image)
        x, r = x + step * p, r - step * image
    return x


def do_while(A, b, rtol):
    x, r, p = torch.zeros_like(b), b, b
    while True:
        Ap = A @ p
        a = (r @ r) / (p @ Ap)
        x, new = x + a * p, r - a * Ap
        if new.norm() <= rtol * b.norm():
            return x
        p, r = new + (new @ new) / (r @ r) * p, new


def with_lists(A, b, rtol):
    x, residuals = torch.zeros_like(b), [b]
    p = b
    while residuals[-1].norm() > rtol * b.norm():
        r = residuals.pop()
        Ap = A.__matmul__(p)
        a = torch.dot(r, r) / torch.dot(p, Ap)
        x = torch.add(x, p, alpha=float(a))
        residuals.append(r - a * Ap)
        p = residuals[-1] + torch.dot(residuals[-1], residuals[-1]) / torch.dot(r, r) * p
    return x


def by_curvature(A, b, rtol):
    """β from the product that makes the new direction A-orthogonal: one product all the same."""
    x, r, p = b * 0, b, b
    while not float(r @ r) <= float(rtol * b.norm()) ** 2:
        Ap = A @ p
        curvature = p @ Ap
        a = (p @ r) / curvature
        x, r = x + a * p, r - a * Ap
        p = r - (r @ Ap) / curvature * p
    return x


def damped(h, mu, k):
    return 1 - (mu / (h + mu)) ** k


def freedom(h, mu, k):
    return damped(h, mu, k).sum()


def damped_by_loop(h, mu, k):
    """The recursion itself, for b = h, so that the solution is 1."""
    x = torch.zeros_like(h)
    for _ in range(k):
        x = x + (h - h * x) / (h + mu)
    return x


def damped_by_numpy(h, mu, k):
    return 1 - np.exp(k * np.log(mu / (h.numpy() + mu)))


def faulty(own):
    return own, lambda h, mu, k: own(h, mu, k).sum()


def diagnosis(twice=True, symmetric=True, lowest=True, tolerance=1e-8, probes=None):
    """The phrases, leaving out some of the questions."""

    def diagnose(A):
        n = len(A)
        once, again = (torch.stack([A @ v for v in torch.eye(n)], 1) for _ in range(2))
        size = tolerance * float(once.abs().max())
        if twice and float((once - again).abs().max()) > size:
            return "not the same twice"
        if symmetric and float((once - once.T).abs().max()) > size:
            return "not symmetric"
        if probes:
            V = torch.randn(n, probes, dtype=torch.float64)
            below = bool(((V * (once @ V)).sum(0) < 0).any())
        else:
            below = float(torch.linalg.eigvalsh((once + once.T) / 2)[0]) < -size
        return "indefinite" if lowest and below else "none of these"

    return diagnose


def by_forms(A):
    """u'Av against v'Au, and Cholesky's factor."""
    n = len(A)
    u, v = torch.randn(2, n, dtype=torch.float64)
    first, second, other = A @ v, A @ v, A @ u
    size = 1e-9 * float(first.norm() * u.norm() + other.norm() * v.norm())
    if float((first - second).norm()) * float(u.norm()) > size:
        return "not the same twice"
    if abs(float(u @ first - v @ other)) > size:
        return "not symmetric"
    full = torch.stack([A @ e for e in torch.eye(n)])
    return "indefinite" if int(torch.linalg.cholesky_ex(full)[1]) else "none of these"


def by_numpy(A):
    def whole():
        return np.stack([(A @ v).numpy() for v in torch.eye(len(A))])

    a, b = whole(), whole()
    if not np.allclose(a, b, rtol=1e-9, atol=1e-9 * abs(a).max()):
        return "not the same twice"
    if not np.allclose(a, a.T, rtol=1e-9, atol=1e-9 * abs(a).max()):
        return "not symmetric"
    return "indefinite" if np.linalg.eigvalsh(a)[0] < 0 else "none of these"


def one_step(steps):
    return Shown(
        [record(step=k) for k in range(steps + 1)], {"start": 30.0, "method": "steepest descent"}
    )


def solved(spectrum, preconditioner, products, residual=9e-9):
    values = {"spectrum": spectrum, "condition": 3e4, "preconditioner": preconditioner}
    return Shown([record(products=products, extra={"residual": residual})], values)


UNITS = "badly scaled variables"

SOLUTIONS = {
    "05.one_step": one_step(1),
    "05.few_products": solved(UNITS, "diagonal", 18),
    "05.growth": (0.51, 0.21),
}

RIGHT = {
    "05.one_step": [
        Shown(one_step(1).records, one_step(1).values | {"start": s}) for s in (120, 210, 300)
    ],
    "05.cg": [solver(steps=10_000), with_lists, by_curvature],
    "05.count": [[1, 3, 3, 2], torch.tensor([1, 3, 3, 2]), np.array([1.0, 3.0, 3.0, 2.0])],
    "05.few_products": [solved(UNITS, "diagonal", k) for k in (10, 20, 25)],
    "05.filters": [
        (damped, lambda h, mu, k: float(freedom(h, mu, k))),
        [damped_by_loop, freedom],
        (damped_by_numpy, lambda h, mu, k: damped_by_numpy(h, mu, k).sum()),
    ],
    "05.diagnose": [diagnosis(), by_forms, by_numpy],
    "05.growth": [[0.5, 0.2], torch.tensor([0.48, 0.25]), (np.float64(0.53), 0.17)],
}

MISTAKES = {
    "05.one_step": [
        (one_step(7), "takes 7 steps"),
        (one_step(0), "takes 0 steps"),
        (30, "the panel itself"),
        (one_step(2), "takes 2 steps"),
        (one_step(1).records, "the panel itself"),
        (stopped(one_step(1)), "a whole one"),
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
        (lambda A, b, rtol: solver(steps=len(b))(A, b, rtol), "of the residual"),
        (lambda A, b, rtol: solver(steps=len(b) + 5)(A, b, rtol), "of the residual"),
        (do_while, "zero by zero"),
        (gram_schmidt, "former directions"),
        (lambda A, b, rtol: gram_schmidt(A, b, rtol, copies=True), "former directions"),
        (in_place, "b in place"),
        (lambda A, b, rtol: torch.linalg.solve(A, b), "raised"),
    ],
    "05.count": [
        ((1000, 3, 3, 2), "round bowl"),
        ((1, 1000, 3, 2), "how often"),
        ((1, 3, 2, 2), "perpendicular"),
        ((1, 3, 3, 6), "no part in b"),
        ((1, 3, 3), "tuple"),
        ((1, 1, 3, 2), "how often"),
        (3, "tuple"),
    ],
    "05.few_products": [
        (solved("bulk and outliers", "none", 30), "rescaling"),
        (solved(UNITS, "estimated diagonal", 60), "noisy"),
        (solved("three clusters", "diagonal", 90), "not axes"),
        (solved(UNITS, "none", 200), "takes it out"),
        (solved(UNITS, "diagonal", 8, residual=1e-2), "tolerance"),
        (solved(UNITS, "diagonal", 26), "Look for a spectrum"),
        (solved(UNITS, "diagonal", 12, residual=2e-8), "tolerance"),
    ],
    "05.filters": [
        (faulty(lambda h, mu, k: h / (h + mu)), "ridge, one step"),
        (faulty(lambda h, mu, k: (mu / (h + mu)) ** k), "left of the error"),
        (faulty(lambda h, mu, k: (h / (h + mu)) ** k), "factors of the errors"),
        (faulty(lambda h, mu, k: k * h / (h + mu)), "added up"),
        (faulty(lambda h, mu, k: 1 - (1 - h / mu) ** k), "gradient descent"),
        (faulty(lambda h, mu, k: damped(h, mu, k - 1)), "once more or less"),
        (faulty(lambda h, mu, k: h / (h + mu / k)), "What becomes of"),
        ((damped, lambda h, mu, k: damped(h, mu, k).mean()), "the mean"),
        (damped, "pair"),
    ],
    "05.diagnose": [
        (lambda A: "none of these", "differs by 1 %"),
        (diagnosis(twice=False), "differs by 1 %"),
        (diagnosis(symmetric=False), "not symmetric"),
        (diagnosis(lowest=False), "negative eigenvalue"),
        (diagnosis(probes=5), "negative eigenvalue"),
        (diagnosis(tolerance=0), "rounding"),
        (diagnosis(tolerance=0.1), "Expected"),
        (lambda A: 3, "phrases"),
    ],
    "05.growth": [
        ((1.0, 0.2), "steepest descent"),
        ((2.0, 0.2), "off by"),
        ((0.5, 0.5), "the bound's exponent"),
        ((0.5, 0.0), "grow"),
        ((0.2, 0.5), "Count again"),
        (0.5, "pair"),
    ],
}
