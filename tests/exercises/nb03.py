"""Answers to the exercises of notebook 03."""

import math

import numpy as np
import torch
from answers import Shown, record

from rlhf_course.experiments.nb03_cubic import cubic_step


def path(damping, y_end, smallest):
    eigenvalues = torch.tensor([smallest - damping, 1.0])
    steps = [
        record(theta=torch.tensor([0.0, y]), damping=damping, extra={"eigenvalues": eigenvalues})
        for y in (0.2, y_end)
    ]
    return Shown(steps, {"x": 1.5, "y": 0.2, "damping": damping})


def safe(H, margin):
    return max(0.0, margin - float(torch.linalg.eigvalsh(H)[0]))


def in_place(H, margin):
    answer = safe(H, margin)
    H += answer * torch.eye(len(H), dtype=H.dtype)
    return answer


def by_numpy(H, margin):
    return np.maximum(0.0, margin - np.linalg.eigvalsh(H.numpy()).min())


def by_bisection(H, margin):
    """The least μ with a Cholesky factor, from above."""
    low, high = 0.0, margin + float(H.abs().sum())
    eye = torch.eye(len(H), dtype=H.dtype)
    for _ in range(80):
        mu = (low + high) / 2
        fails = int(torch.linalg.cholesky_ex(H + (mu - margin) * eye).info)
        low, high = (mu, high) if fails else (low, mu)
    return low if high > 1e-9 else 0.0


def from_eigh(H, margin):
    return (margin - torch.linalg.eigh(H).eigenvalues.min()).clamp(min=0)


def gershgorin(H, margin):
    """A bound that is safe, and not the least."""
    spread = H.abs().sum(1) - 2 * H.diagonal().clamp(min=0)
    return max(0.0, margin + float(spread.max()))


def damped(mu):
    return lambda g, H, gamma: -torch.linalg.solve(H + mu * torch.eye(len(g), dtype=g.dtype), g)


def fixed_point(g, H, gamma, rounds=30):
    d = torch.zeros_like(g)
    for _ in range(rounds):
        mu = max(gamma * float(d.norm()), 1.1)
        d = damped(mu)(g, H, gamma)
    return d


def without_the_hard_case(g, H, gamma):
    h, V = torch.linalg.eigh(H)
    c, low = V.T @ g, max(0.0, -float(h[0])) + 1e-9
    high = low + 100.0
    for _ in range(200):
        mu = (low + high) / 2
        low, high = (mu, high) if gamma * float((c / (h + mu)).norm()) > mu else (low, mu)
    return -V @ (c / (h + high))


def by_descent(g, H, gamma):
    d = -1e-3 * g
    for _ in range(60):
        d = d - 0.1 * (g + H @ d + gamma * d.norm() * d)
    return d


def numpy_cubic(g, H, gamma):
    return cubic_step(g, H, gamma).numpy()


def other_side(g, H, gamma):
    """The same with every eigenvector flipped: the other of two steps in the hard case."""
    return -cubic_step(-g, H, gamma)


def by_newton_on_mu(g, H, gamma):
    """The secular equation 1/|d(μ)| = γ/μ by bisection in log μ."""
    h, V = torch.linalg.eigh(H)
    c, floor = V.T @ g, max(0.0, -float(h[0]))
    if floor and abs(float(c[0])) < 1e-12:
        d = torch.cat([torch.zeros(1, dtype=g.dtype), -c[1:] / (h[1:] + floor)])
        if gamma * float(d.norm()) < floor:
            d[0] = -math.sqrt((floor / gamma) ** 2 - float(d @ d))
            return V @ d
    low, high = -40.0, 12.0
    for _ in range(300):
        middle = (low + high) / 2
        mu = floor + math.exp(middle)
        longer = gamma * float((c / (h + mu)).norm()) > mu
        low, high = (middle, high) if longer else (low, middle)
    return -V @ (c / (h + floor + math.exp(high)))


SOLUTIONS = {"03.escape": path(0.9, 1.0, 0.02), "03.experiment": (0.35, 3.0, 0.3)}

RIGHT = {
    "03.escape": [
        path(mu, y, smallest)
        for mu, y, smallest in ((0.9, -1.0, 0.02), (0.9, 0.995, 0.02), (0.9, 1.005, 0.02))
    ],
    "03.safe_damping": [by_numpy, by_bisection, from_eigh],
    "03.ended": ["S, M, N, ?", ["s", "m", "n", "?"], tuple("smn?")],
    "03.cubic": [cubic_step, numpy_cubic, other_side, by_newton_on_mu],
    "03.experiment": [[0.4, 3, 0.34], torch.tensor([0.35, 3.0, 0.3]), np.array([0.35, 0.3, 3.0])],
}

MISTAKES = {
    "03.escape": [
        (path(0.1, 0.0, -0.78), "at the saddle"),
        (path(0.5, -1.0, -0.38), "by luck"),
        (path(0.88, 1.0, 0.0), "by luck"),
        (path(0.94, 1.0, 0.06), "smaller μ"),
        (path(2.9, 0.6, 2.02), "on the way"),
        (path(0.92, 1.0, 0.04), "smaller μ"),
        (0.9, "the panel itself"),
    ],
    "03.safe_damping": [
        (lambda H, m: safe(H, 0.0), "margin is missing"),
        (lambda H, m: m - float(torch.linalg.eigvalsh(H)[0]), "not be negative"),
        (lambda H, m: max(0.0, m - float(H.diagonal().min())), "not the spectrum"),
        (lambda H, m: m + float(torch.linalg.eigvalsh(H).abs().max()), "the least"),
        (lambda H, m: max(0.0, m - float(torch.linalg.eigvalsh(H)[-1])), "not the largest"),
        (in_place, "in place"),
        (lambda H, m: 0.123, "Wanted here"),
        (lambda H, m: torch.linalg.eigvalsh(H), "a number"),
        (gershgorin, "Wanted here"),
        (lambda H, m: abs(safe(H, m)) + 1e-3, "Wanted here"),
        (lambda H, m: float(torch.linalg.eigvalsh(H).abs().min()) + m, ""),
    ],
    "03.ended": [
        ("mmn?", "A has no slope"),
        ("ssn?", "B has no slope"),
        ("smm?", "C has a slope"),
        ("smnm", "D's smallest"),
        ("smns", "D's smallest"),
        ("sm", "four signs"),
        ("none", "four signs"),
    ],
    "03.cubic": [
        (damped(0.0), "undamped"),
        (damped(1.5), "is μ equal"),
        (fixed_point, ""),
        (without_the_hard_case, "hard case"),
        (by_descent, ""),
        (lambda g, H, gamma: -cubic_step(g, H, gamma), ""),
        (lambda g, H, gamma: cubic_step(g, H, gamma / 2), ""),
        (lambda g, H, gamma: cubic_step(g, H, 1.0), ""),
        (lambda g, H, gamma: gamma, "shape"),
    ],
    "03.experiment": [
        ((0.2, 3.0, 0.34), "held it"),
        ((0.3, 3.0, 0.34), "It rests at"),
        ((0.5, 3.0, 0.34), "flies away"),
        ((0.35, 3.0, 0.2), "the loss is"),
        ((0.35, 1.5, 0.66), "sharper"),
        ((0.22, 3.0, 0.34), "not come to rest"),
        ((-0.35, 3.0, 0.3), "positive"),
        ((0.35, 3.0), "Return the triple"),
    ],
}
