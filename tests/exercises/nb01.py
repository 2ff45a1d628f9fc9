"""Answers to the exercises of notebook 01."""

import numpy as np
import torch
from answers import Shown, record


def panel(lam, train, new, **changes):
    sweep = [
        record(train_loss=t, val_loss=v, extra={"lambda": at})
        for at, t, v in ((1e-6, 0.04, 3.56), (0.1, 0.06, 0.16), (10.0, 0.84, 0.85))
    ]
    chosen = record(train_loss=train, val_loss=new, extra={"lambda": lam})
    values = {"lambda_reg": lam, "degree": 12, "n": 20, "noise": 0.3}
    return Shown([chosen, *sweep], values, **changes)


def ridge(task=1.0, penalty=1.0, task_slope=1.0, penalty_slope=1.0):
    def answer(X, y, w, lam):
        r, n = X @ w - y, len(y)
        loss = task * r @ r / (2 * n) + penalty * lam * w @ w / 2
        return loss, task_slope * X.T @ r / n + penalty_slope * lam * w

    return answer


def summed(X, y, w, lam):
    r = X @ w - y
    return r @ r / 2 + lam * w @ w / 2, X.T @ r + lam * w


def by_n(X, y, w, lam):
    loss, gradient = ridge()(X, y, w, lam)
    return loss, len(y) * (gradient - lam * w) + lam * w


def backward(X, y, w, lam):
    w.requires_grad_(True)
    loss = (X @ w - y).square().mean() / 2 + lam * w @ w / 2
    loss.backward()
    return loss, w.grad


def split(bias=lambda b: (b**2).mean(), spread=lambda p: p.var(0, correction=0).mean()):
    return lambda p, truth: (bias(p.mean(0) - truth), spread(p))


def by_autograd(X, y, w, lam):
    w = w.clone().requires_grad_(True)
    loss = 0.5 * (X @ w - y).square().mean() + 0.5 * lam * w.square().sum()
    return loss, torch.autograd.grad(loss, w)[0]


def by_numpy(X, y, w, lam):
    X, y, w = X.numpy(), y.numpy(), w.numpy()
    r, n = X @ w - y, len(y)
    return r @ r / (2 * n) + lam * w @ w / 2, X.T @ r / n + lam * w


def by_loops(X, y, w, lam):
    n, p = X.shape
    r = [sum(X[i, j] * w[j] for j in range(p)) - y[i] for i in range(n)]
    loss = sum(e * e for e in r) / (2 * n) + lam * sum(v * v for v in w) / 2
    slope = [sum(r[i] * X[i, j] for i in range(n)) / n + lam * w[j] for j in range(p)]
    return [float(loss), slope]


def differences(X, y, w, lam):
    def loss(v):
        return ridge()(X, y, v, lam)[0]

    slope = [(loss(w + e) - loss(w)) / 1e-4 for e in 1e-4 * torch.eye(len(w), dtype=w.dtype)]
    return loss(w), torch.stack(slope)


def fixed(n=None, lam=None):
    def answer(X, y, w, given):
        rows, strength = n or len(y), lam or given
        r = X @ w - y
        return r @ r / (2 * rows) + strength * w @ w / 2, X.T @ r / rows + strength * w

    return answer


def numpy_split(p, truth):
    p, truth = p.numpy(), truth.numpy()
    return np.mean((p.mean(0) - truth) ** 2), p.var(0).mean()


def by_the_sum(p, truth):
    """Variance as what the bias leaves of the whole error."""
    bias2 = (p.mean(0) - truth).square().mean()
    return torch.stack([bias2, (p - truth).square().mean() - bias2])


def loops_split(p, truth):
    colleagues, places = p.shape
    means = [sum(p[:, j]) / colleagues for j in range(places)]
    bias2 = sum((m - t) ** 2 for m, t in zip(means, truth, strict=True)) / places
    spread = sum((p[i, j] - means[j]) ** 2 for i in range(colleagues) for j in range(places))
    return {"bias2": bias2, "variance": spread / (colleagues * places)}


SOLUTIONS = {"01.target": panel(0.15, 0.07, 0.16), "01.experiment": {4: 0.024, 8: 0.1, 12: 0.1}}

RIGHT = {
    "01.target": [panel(lam, 0.07, 0.165) for lam in (0.1, 0.12, 0.2)],
    "01.ridge": [by_autograd, by_numpy, by_loops],
    "01.bias_variance": [numpy_split, by_the_sum, loops_split],
    "01.illness": ["2, 1, 3, 4", [2, 1, 3, 4], ("2", "1", "3", "4"), 2134],
    "01.experiment": [
        {4: 0.018, 6: 0.056, 12: 0.133},
        {"4": 0.024, "12": 0.1, "15": 0.13},
        {4: torch.tensor(0.03), 9: np.float64(0.1), 12: 0.1},
    ],
}

MISTAKES = {
    "01.target": [
        (panel(0.001, 0.04, 2.48), "too small"),
        (panel(1.0, 0.28, 0.34), "too large"),
        (panel(0.15, 0.07, 0.16, status="Stopped after 3 records."), "stopped"),
        (panel(0.05, 0.0, 0.171), "too small"),
        (panel(10.0, 0.5, 0.171), "too large"),
        (0.15, "the panel itself"),
    ],
    "01.ridge": [
        (ridge(penalty=0), "penalty is missing"),
        (summed, "divide the sum by n"),
        (ridge(task=2), "Half is missing"),
        (ridge(penalty=2), "factor λ/2"),
        (ridge(task=2, penalty=2), "Both terms"),
        (ridge(penalty_slope=0), "lacks the penalty"),
        (ridge(penalty_slope=2), "not 2λw"),
        (ridge(penalty_slope=0.5), "not λw/2"),
        (ridge(task_slope=2), "factor 2 is left"),
        (ridge(task_slope=-1), "not y − Xw"),
        (by_n, "divided by n, as the loss is"),
        (backward, "backward"),
        (lambda X, y, w, lam: ridge()(X, y, w, lam)[0], "Return the pair"),
        (lambda X, y, w, lam: (1.0, w), "off by"),
        (differences, "off by"),
        (fixed(n=9), ""),
        (fixed(lam=0.3), ""),
    ],
    "01.bias_variance": [
        (split(bias=lambda b: b.mean() ** 2), "signs cancel"),
        (split(bias=lambda b: b.mean()), "to be squared"),
        (split(bias=lambda b: b**2), "average over the places"),
        (lambda p, t: split()(p, t)[::-1], "order"),
        (lambda p, t: ((p - t).square().mean(), p.var(0, correction=0).mean()), "whole error"),
        (split(spread=lambda p: p.var(0).mean()), "one less"),
        (split(spread=lambda p: p.var(correction=0)), "together"),
        (split(spread=lambda p: p.var(1, correction=0).mean()), "each colleague"),
        (split(spread=lambda p: p.std(0, correction=0).mean()), "standard deviation"),
        (lambda p, t: (split()(p, t)[0], (p - t).square().mean()), "from the truth"),
        (split(spread=lambda p: p.var(0, correction=0)), "average over the places"),
        (lambda p, t: p.mean(0), "Return the pair"),
    ],
    "01.illness": [
        ("1134", "A has no gap"),
        ("2234", "B has a small"),
        ("2114", "C is at"),
        ("2133", "D has no gap"),
        ("ABCD", "four numbers"),
        ("21344", "four numbers"),
        ("1", "four numbers"),
    ],
    "01.experiment": [
        ({4: 0.1, 8: 0.1, 12: 0.1}, "degree 4 the best λ"),
        ({4: 0.024, 8: 0.1, 12: 0.024}, "degree 12 the best λ"),
        ({4: 0.5, 8: 0.5, 12: 0.5}, "smaller"),
        ({4: 0.024, 12: 0.1}, "at least three"),
        ({5: 0.03, 8: 0.1, 12: 0.1}, "4 and 12 among"),
        ({4: 0.0, 8: 0.1, 12: 0.1}, "positive"),
        ({4: 0.024, 12: 0.1, 20: 0.1}, "from 3 to 15"),
        ([0.024, 0.1, 0.1], "dictionary"),
    ],
}
