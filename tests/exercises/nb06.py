"""Answers to the exercises of notebook 06."""

import torch
from answers import Shown, record


def after(lam, alive, kkt=1e-10):
    theta = torch.cat([torch.ones(alive), torch.zeros(30 - alive)])
    return Shown(
        [record(theta=theta, extra={"kkt": kkt})], {"method": "proximal Newton", "lambda_reg": lam}
    )


def soft(x, t):
    return x - x.clamp(-t, t)


def in_place(x, t):
    x[x.abs() < t] = 0
    return soft(x, t)


def subgradient(g, theta, lam):
    return torch.where(theta != 0, g + lam * theta.sign(), soft(g, lam))


def unclamped(g, theta, lam):
    return torch.where(theta != 0, g + lam * theta.sign(), g.abs() - lam).norm()


def wrong_sign(g, theta, lam):
    return torch.where(theta != 0, g - lam * theta.sign(), soft(g, lam)).norm()


SOLUTIONS = {"06.eight": after(0.03, 8)}

MISTAKES = {
    "06.eight": [
        (after(0.01, 11), "larger λ"),
        (after(0.1, 4), "smaller λ"),
        (after(0.03, 8, kkt=1e-3), "not a minimum"),
        (0.03, "the panel itself"),
    ],
    "06.least_lambda": [
        (lambda g: g.max(), "absolute values"),
        (lambda g: g.abs().min(), "take the largest"),
        (lambda g: g.norm(), "length of g"),
        (lambda g: g.abs().sum(), "sum of the"),
        (lambda g: g.abs().mean(), "On average"),
        (lambda g: g.abs().argmax(), "place of the entry"),
        (lambda g: g.abs(), "a number"),
    ],
    "06.soft_threshold": [
        (lambda x, t: x.sign() * (x.abs() - t), "clamp"),
        (lambda x, t: torch.where(x.abs() > t, x, 0 * x), "hard threshold"),
        (lambda x, t: (x.abs() - t).clamp(min=0), "sign is lost"),
        (lambda x, t: (x - t).clamp(min=0), "Negative entries"),
        (lambda x, t: x.sign() * (x.abs() + t), "away from zero"),
        (lambda x, t: soft(x, 2 * t), "Twice as far"),
        (lambda x, t: soft(x, t / 2), "Half as far"),
        (lambda x, t: x.clamp(-t, t), "takes away"),
        (in_place, "in place"),
        (lambda x, t: soft(x, t) + 0.01, "stop at zero"),
    ],
    "06.kkt_residual": [
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
}
