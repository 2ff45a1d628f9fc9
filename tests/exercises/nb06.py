"""Answers to the exercises of notebook 06."""

import math

import numpy as np
import torch
from answers import Shown, record


def after(lam, alive, kkt=1e-10):
    theta = torch.cat([torch.ones(alive), torch.zeros(30 - alive)])
    return Shown(
        [record(theta=theta, extra={"kkt": kkt})], {"method": "proximal Newton", "lambda_reg": lam}
    )


def soft(x, t):
    return x - x.clamp(-t, t)


def elastic(x, t, s):
    return soft(x, t) / (1 + s)


def in_place(x, t, s):
    x[x.abs() < t] = 0
    return elastic(x, t, s)


def by_branches(x, t, s):
    flat = [
        (v - t) / (1 + s) if v > t else (v + t) / (1 + s) if v < -t else 0 * v for v in x.ravel()
    ]
    return torch.stack(flat).reshape(x.shape)


def subgradient(g, theta, lam):
    return torch.where(theta != 0, g + lam * theta.sign(), soft(g, lam))


def unclamped(g, theta, lam):
    return torch.where(theta != 0, g + lam * theta.sign(), g.abs() - lam).norm()


def wrong_sign(g, theta, lam):
    return torch.where(theta != 0, g - lam * theta.sign(), soft(g, lam)).norm()


def by_loop(g, theta, lam):
    total = 0.0
    for gj, tj in zip(g.tolist(), theta.tolist(), strict=True):
        total += (gj + lam if tj > 0 else gj - lam if tj < 0 else max(abs(gj) - lam, 0)) ** 2
    return total**0.5


def by_numpy(g, theta, lam):
    g, theta = g.numpy(), theta.numpy()
    low = g + lam * np.where(theta == 0, -1, np.sign(theta))
    high = g + lam * np.where(theta == 0, 1, np.sign(theta))
    return np.linalg.norm(np.maximum(low, 0) + np.minimum(high, 0))


def whose(g, theta, alive_agree=True, held=True, sign=True, tolerance=1e-3):
    alive = theta != 0
    pulls = -g[alive] * theta[alive].sign() if sign else g[alive].abs()
    lam = float(pulls.mean())
    if lam <= 0 or (alive_agree and float((pulls - lam).abs().max()) > tolerance * lam):
        return 0.0
    if held and bool((g[~alive].abs() > lam * (1 + tolerance)).any()):
        return 0.0
    return lam


def whose_by_loop(g, theta):
    told = [-float(a) * (1 if b > 0 else -1) for a, b in zip(g, theta, strict=True) if b != 0]
    if min(told) <= 0 or max(told) > 1.001 * min(told):
        return 0
    still = [abs(float(a)) for a, b in zip(g, theta, strict=True) if b == 0]
    return told[0] if max(still, default=0) <= 1.001 * told[0] else 0


SOLUTIONS = {"06.eight": after(0.03, 8), "06.twins": (0.0, 0.2)}

RIGHT = {
    "06.eight": [after(0.0316, 8, 1e-9), after(0.028, 8, 0.0), after(0.035, 8, 9e-7)],
    "06.least_lambda": [
        lambda g: max(abs(v) for v in g.tolist()),
        lambda g: np.abs(g.numpy()).max(),
        lambda g: torch.linalg.vector_norm(g, torch.inf),
    ],
    "06.elastic_prox": [
        elastic,
        by_branches,
        lambda x, t, s: (x - x.clamp(-t, t)).numpy() / (s + 1),
    ],
    "06.kkt_residual": [by_loop, by_numpy, lambda g, theta, lam: subgradient(g, theta, lam).norm()],
    "06.whose_lambda": [whose, whose_by_loop, lambda g, theta: torch.tensor(whose(g, theta))],
    "06.twins": [[1e-9, 0.2], torch.tensor([0.0, 0.2]), (np.float64(0), torch.tensor(0.20001))],
}

MISTAKES = {
    "06.eight": [
        (after(0.01, 11), "larger λ"),
        (after(0.1, 4), "smaller λ"),
        (after(0.03, 8, kkt=1e-3), "not a minimum"),
        (0.03, "the panel itself"),
        (after(0.03, 8, kkt=math.nan), "not a minimum"),
        (after(0.031, 7), "smaller λ"),
        (after(0.03, 9), "larger λ"),
    ],
    "06.least_lambda": [
        (lambda g: g.max(), "absolute values"),
        (lambda g: -g.min(), "absolute values"),
        (lambda g: max(g.max(), g.mean()), "absolute values"),
        (lambda g: g.abs().min(), "take the largest"),
        (lambda g: g.norm(), "length of g"),
        (lambda g: g.abs().sum(), "sum of the"),
        (lambda g: g.abs().mean(), "On average"),
        (lambda g: g.abs().argmax(), "place of the entry"),
        (lambda g: g.abs(), "a number"),
    ],
    "06.elastic_prox": [
        (lambda x, t, s: x.sign() * (x.abs() - t) / (1 + s), "corner"),
        (lambda x, t, s: soft(x, t), "alone"),
        (lambda x, t, s: soft(x, t) / (1 + 2 * s), "once, not twice"),
        (lambda x, t, s: soft(x / (1 + s), t), "threshold comes first"),
        (lambda x, t, s: soft(x, t + s), "in proportion to z"),
        (lambda x, t, s: soft(x, t).abs() / (1 + s), "sign is lost"),
        (lambda x, t, s: x / (1 + s), "square alone"),
        (lambda x, t, s: soft(x, t) * s, "multiplied by s"),
        (lambda x, t, s: torch.where(x.abs() > t, x, 0 * x) / (1 + s), "off by"),
        (in_place, "in place"),
    ],
    "06.kkt_residual": [
        (lambda g, theta, lam: subgradient(g, theta * (theta.abs() > 0.05), lam).norm(), "small"),
        (
            lambda g, theta, lam: subgradient(g, theta * (theta.abs() > 1e-8), lam).norm(),
            "not zero",
        ),
        (lambda g, theta, lam: (g + lam * theta.sign()).norm(), "autograd"),
        (unclamped, "not negative"),
        (lambda g, theta, lam: subgradient(g, theta, lam)[theta != 0].norm(), "want to leave"),
        (lambda g, theta, lam: subgradient(g, theta, lam)[theta == 0].norm(), "not zero are"),
        (lambda g, theta, lam: g.norm(), "penalty is missing"),
        (wrong_sign, "sign of the penalty"),
        (lambda g, theta, lam: soft(g, lam).norm(), "everywhere"),
        (subgradient, "the vector"),
        (lambda g, theta, lam: subgradient(g, theta, lam).abs().max(), "largest entry"),
        (lambda g, theta, lam: subgradient(g, theta, lam).abs().sum(), "sum of the sizes"),
        (lambda g, theta, lam: subgradient(g, theta, lam).square().sum(), "square"),
    ],
    "06.whose_lambda": [
        (lambda g, theta: float(g.abs().mean()), "Only weights"),
        (lambda g, theta: -whose(g, theta), "points away"),
        (lambda g, theta: whose(g, theta) * int((theta != 0).sum()), "each of them alone"),
        (lambda g, theta: 0.0, "Here is a minimum"),
        (lambda g, theta: whose(g, theta, tolerance=1e-9), "relative error"),
        (lambda g, theta: whose(g, theta, held=False), "would leave"),
        (lambda g, theta: whose(g, theta, alive_agree=False), "have to agree"),
        (lambda g, theta: whose(g, theta, sign=False), "wants to shrink"),
        (lambda g, theta: float(g[theta != 0].abs().max()), "would leave"),
    ],
    "06.twins": [
        ((1.0, 0.2), "second twin"),
        ((0.5, 0.2), "counts twice"),
        ((0.2, 0.0), "what L2 does"),
        ((0.0, 0.8), "second twin"),
        ((0.0, 1 / 3), "share of the weights"),
        ((0.0, 0.0), "something to the first"),
        (0.2, "pair"),
    ],
}
