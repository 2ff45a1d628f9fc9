"""Answers to the exercises of notebook 08."""

from itertools import pairwise

import numpy as np
import torch
from answers import Shown, record
from scipy.optimize import brentq


def stepped(rho, length, damping=0.0, radius=100.0):
    values = {"a": -2.0, "b": 1.0, "damping": damping, "radius": radius, "c": 1e-4}
    return Shown([record(rho=rho, extra={"length": length})], values)


def promise(d, g, B):
    return -(g @ d + 0.5 * d @ B @ d)


def fall(f, theta, d):
    return f(theta) - f(theta + d)


def nielsen(mu, nu, rho, *, power=3, floor=1 / 3, reset=2.0, sign=1):
    if rho > 0:
        return mu * max(floor, 1 - sign * (2 * rho - 1) ** power), reset or nu
    return mu * nu, 2 * nu


def raising(mu, nu, rho, then):
    return then(mu, nu) if rho <= 0 else nielsen(mu, nu, rho)


def martens(mu, nu, rho):
    return mu * (1.5 if rho < 0.25 else 2 / 3 if rho > 0.75 else 1.0), nu


def length(B, g, mu):
    return float(torch.linalg.solve(B + mu * torch.eye(len(g)), -g).norm())


def search(B, g, radius, low=0.0):
    high = float(g.norm()) / radius
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if length(B, g, middle) > radius else (low, middle)
    return (low + high) / 2


def in_place(B, g, radius):
    answer = search(B, g, radius) if length(B, g, 0.0) > radius else 0.0
    B += answer * torch.eye(len(g))
    return answer


def unbound(B, g, radius):
    return search(B, g, radius, low=-float(torch.linalg.eigvalsh(B)[0]) + 1e-12)


def late_reset(mu, nu, rho):
    new, reset = nielsen(mu, nu, rho)
    return new, (reset if rho > 0.25 or rho <= 0 else nu)


def forgetful(mu, nu, rho):
    """Multiplies by ν after doubling it, and then by 2."""
    return nielsen(mu, nu, rho) if rho > 0 else (mu * 2 * nu, 2 * nu)


def newton_on_the_length(B, g, radius):
    """Newton's method on 1/‖d(μ)‖ - 1/radius."""
    mu = 0.0
    for _ in range(60):
        A = B + mu * torch.eye(len(g))
        d = torch.linalg.solve(A, -g)
        if d.norm() <= radius and mu == 0.0:
            return 0.0
        slope = -float(d @ torch.linalg.solve(A, d)) / float(d.norm())
        mu += float(d.norm()) * (radius - float(d.norm())) / (radius * slope)
    return mu


def by_eigenvalues(B, g, radius):
    h, V = torch.linalg.eigh(B)
    c = (V.T @ g).numpy()
    h = h.numpy()
    excess = lambda mu: float((c**2 / (h + mu) ** 2).sum()) - radius**2  # noqa: E731
    if excess(0.0) <= 0:
        return 0
    return brentq(excess, 0.0, float(np.linalg.norm(c)) / radius, xtol=1e-14, rtol=1e-14)


def by_terms(f, t, d, g, B):
    bend = sum(d[i] * B[i, j] * d[j] for i in range(len(d)) for j in range(len(d)))
    return fall(f, t, d) / (-torch.dot(g, d) - bend / 2)


def read(log, **wrong):
    """The diagnosis; `wrong` replaces a test by another one of two rows that follow each other."""
    tests = {
        "kept": lambda a, b: a["rho"] <= 0 and a["after"] > a["loss"],
        "turned": lambda a, b: a["rho"] <= 0 and b["mu"] < a["mu"],
        "mixed": lambda a, b: abs(b["loss"] - a["after"]) > 1e-9,
    } | wrong
    for a, b in pairwise(log):
        for word, test in tests.items():
            if test(a, b):
                return word
    return "nothing"


def by_columns(log):
    loss, after, mu, rho = (np.array([r[k] for r in log]) for k in ("loss", "after", "mu", "rho"))
    if (after > loss + 1e-12).any():
        return "kept"
    if not np.allclose(loss[1:], after[:-1]):
        return "mixed"
    return "turned" if (mu[1:] < mu[:-1])[rho[:-1] < 0].any() else "nothing"


def by_half(log):
    """By Nielsen's rule itself: above a half μ falls, below it rises."""
    if any(b["loss"] != a["after"] for a, b in pairwise(log)):
        return "MIXED"
    if any(r["after"] == r["trial"] and r["rho"] <= 0 for r in log):
        return "kept"
    turned = any((a["rho"] > 0.5) == (b["mu"] > a["mu"]) for a, b in pairwise(log))
    return "turned" if turned else "nothing"


def by_the_end(log):
    """By the curve alone."""
    if log[-1]["after"] > log[0]["loss"]:
        return "kept"
    return "turned" if log[-1]["after"] == log[1]["after"] else "nothing"


RIGHT = {
    "08.diagnose": [by_columns, by_half, lambda log: np.str_(read(log))],
    "08.longest": [
        stepped(0.8, 1.98, 0.1),
        stepped(0.76, 2.2, radius=2.2),
        stepped(0.83, 1.92, 0.11),
    ],
    "08.ratio": [
        by_terms,
        lambda f, t, d, g, B: float(fall(f, t, d)) / float(promise(d, g, B)),
        lambda f, t, d, g, B: (f(t + d) - f(t)) / (d @ (g + B @ d / 2)),
    ],
    "08.nielsen": [
        lambda m, n, r: torch.tensor(nielsen(m, n, r)),
        lambda m, n, r: list(nielsen(m, n, r)) if r > 0 else [n * m, n + n],
        lambda m, n, r: np.array(nielsen(m, n, r)),
        lambda m, n, r: {"mu": torch.tensor(nielsen(m, n, r)[0]), "nu": nielsen(m, n, r)[1]},
    ],
    "08.radius": [
        newton_on_the_length,
        by_eigenvalues,
        lambda *a: torch.tensor(by_eigenvalues(*a)),
    ],
}

SOLUTIONS = {"08.longest": stepped(0.81, 2.0, radius=2.0)}

MISTAKES = {
    "08.diagnose": [
        (lambda log: read(log, kept=lambda a, b: a["trial"] > a["loss"]), "healthy run"),
        (lambda log: read(log, turned=lambda a, b: b["mu"] > a["mu"]), "healthy run"),
        (lambda log: read(log, mixed=lambda a, b: b["loss"] != a["trial"]), "healthy run"),
        (lambda log: read(log, mixed=lambda a, b: a["rho"] > 1e3), "before the next one"),
        (lambda log: read(log, kept=lambda a, b: False), "what it was before"),
        (lambda log: read(log, turned=lambda a, b: b["mu"] < a["mu"] / 10), "μ has to rise"),
        (by_the_end, "before the next one"),
        (lambda log: "nothing", "what it was before"),
        (lambda log: read(log, kept=lambda a, b: a["after"] == a["trial"]), "healthy run"),
        (lambda log: {read(log)}, "one of the words"),
    ],
    "08.longest": [
        (stepped(0.52, 5.84), "Nothing limits"),
        (stepped(0.71, 2.28, damping=0.07), "More damping"),
        (stepped(0.6, 3.0, radius=3.0), "smaller radius"),
        (stepped(0.94, 1.35, damping=0.2), "less damping"),
        (stepped(1.01, 1.0, radius=1.0), "larger radius"),
        (0.81, "the panel itself"),
    ],
    "08.ratio": [
        (lambda f, t, d, g, B: promise(d, g, B) / fall(f, t, d), "Upside down"),
        (lambda f, t, d, g, B: -fall(f, t, d) / promise(d, g, B), "an increase"),
        (lambda f, t, d, g, B: fall(f, t, d) / -(g @ d + d @ B @ d), "½ before"),
        (lambda f, t, d, g, B: fall(f, t, d) / -(g @ d), "slope alone"),
        (lambda f, t, d, g, B: fall(f, t, d) / -(g @ d - 0.5 * d @ B @ d), "both terms"),
        (lambda f, t, d, g, B: fall(f, t, d) / -(0.5 * g @ d), "only if"),
        (lambda f, t, d, g, B: fall(f, t, -d) / promise(d, g, B), "leads to"),
        (lambda f, t, d, g, B: fall(f, t, d), "divide it"),
        (lambda f, t, d, g, B: promise(d, g, B), "the promised decrease; ρ"),
    ],
    "08.nielsen": [
        (lambda m, n, r: nielsen(m, n, r, floor=-1e9), "floor"),
        (lambda m, n, r: nielsen(m, n, r, power=1), "third power"),
        (lambda m, n, r: nielsen(m, n, r, reset=None), "back to 2"),
        (late_reset, "small ρ"),
        (forgetful, "old ν"),
        (lambda m, n, r: nielsen(m, n, r, sign=-1), "minus"),
        (lambda m, n, r: raising(m, n, r, lambda m, n: (m * n, n)), "double"),
        (lambda m, n, r: raising(m, n, r, lambda m, n: (m * 2 * n, 2 * n)), "old ν"),
        (lambda m, n, r: raising(m, n, r, lambda m, n: (m / n, 2 * n)), "not shrink"),
        (lambda m, n, r: nielsen(m, n, r or 1e-300), "ρ = 0"),
        (martens, "Martens"),
        (lambda m, n, r: nielsen(m, n, r)[0], "pair"),
    ],
    "08.radius": [
        (unbound, "nothing binds"),
        (lambda B, g, r: 0.0 if length(B, g, 0.0) <= r else float(g.norm()) / r, "upper end"),
        (
            lambda B, g, r: 0.0 if length(B, g, 0.0) <= r else length(B, g, 0.0) / r - 1,
            "would not turn",
        ),
        (lambda B, g, r: 0.0 if length(B, g, 0.0) <= r else r, "how long"),
        (in_place, "in place"),
        (lambda B, g, r: by_eigenvalues(B, g, r) * (1 + 1e-3), "The radius is"),
        (lambda B, g, r: search(B, g, r, low=1e-3), "The radius is"),
        (lambda B, g, r: g / r, "a number"),
    ],
}
