"""Answers to the exercises of notebook 00."""

import numpy as np
import torch
from answers import Shown, record


def at_rest(lambda_reg, error, last_step, **fields):
    thetas = torch.tensor([[1.0, 1.0], [1.0, 1.0 + last_step]])
    values = {"lambda_reg": lambda_reg, "damping": 0.1}
    return Shown([record(theta=theta, val_loss=error) for theta in thetas], values, **fields)


def ridge(shift=lambda lam, n: lam, sign=1):
    def answer(X, y, lam):
        n, p = X.shape
        matrix = X.T @ X / n + shift(lam, n) * torch.eye(p, dtype=X.dtype)
        return sign * torch.linalg.solve(matrix, X.T @ y / n)

    return answer


def fixed(n=None, p=None, lam=None):
    """Sizes or λ of one case, written in."""

    def answer(X, y, given):
        rows, columns = n or len(X), p or X.shape[1]
        matrix = X.T @ X / rows + (lam or given) * torch.eye(columns, dtype=X.dtype)
        return torch.linalg.solve(matrix, X.T @ y / rows)

    return answer


def stacked(X, y, lam):
    """Least squares with rows √(nλ) I below."""
    n, p = X.shape
    rows = torch.cat([X, (n * lam) ** 0.5 * torch.eye(p, dtype=X.dtype)])
    return torch.linalg.lstsq(rows, torch.cat([y, torch.zeros(p, dtype=X.dtype)])).solution


def by_samples(X, y, lam):
    n = len(X)
    return X.T @ torch.linalg.solve(X @ X.T / n + lam * torch.eye(n, dtype=X.dtype), y) / n


def with_numpy(X, y, lam):
    A = X.numpy()
    matrix = A.T @ A / len(A) + lam * np.eye(A.shape[1])
    return np.linalg.solve(matrix, A.T @ y.numpy() / len(A))


def descent(steps):
    def answer(X, y, lam):
        w = torch.zeros(X.shape[1], dtype=X.dtype)
        for _ in range(steps):
            w = w - 0.05 * (X.T @ (X @ w - y) / len(y) + lam * w)
        return w

    return answer


SOLUTIONS = {
    "00.at_rest": at_rest(0.003, 0.072, 0.001),
    "00.wrong_run": ("b", 0.183),
    "00.experiment": (2, 7),
}

RIGHT = {
    "00.at_rest": [at_rest(lam, 0.075, 0.004) for lam in (0.0015, 0.002, 0.005)],
    "00.same_rest": ["A and B", "b, a", ("A", "B"), {"A", "B"}, "a&b"],
    "00.ridge_minimum": [stacked, by_samples, with_numpy],
    "00.wrong_run": [["B", 0.18], ("(b)", torch.tensor(0.183)), ("b.", np.float64(0.1825))],
    "00.experiment": [[29, 13], torch.tensor([31, 30]), (np.int64(2), 30)],
}

MISTAKES = {
    "00.at_rest": [
        (at_rest(0, 0.084, 0.019), "walks on"),
        (at_rest(0, 0.07, 0.001), "walks on"),
        (at_rest(0.001, 0.073, 0.007), "still moving"),
        (at_rest(0.1, 0.346, 0), "Take a smaller one"),
        (at_rest(0.003, 0.072, 0.001, status="Stopped after 8 records."), "stopped"),
        (0.003, "the panel itself"),
    ],
    "00.same_rest": [
        ("AC", "different functions"),
        ("c, b", "another λ"),
        ("all", "two of the letters"),
        ("not AB", "two of the letters"),
        ("AB or AC", "two of the letters"),
        ("ABC", "two of the letters"),
        (("A", "B", "C"), "two of the letters"),
        (True, "two of the letters"),
    ],
    "00.ridge_minimum": [
        (ridge(lambda lam, n: 0.0), ""),
        (ridge(lambda lam, n: lam / n), "divide both"),
        (ridge(lambda lam, n: 2 * lam), "not 2λ"),
        (ridge(lambda lam, n: lam / 2), "not λ/2"),
        (ridge(sign=-1), "sign"),
        (fixed(n=12), ""),
        (fixed(p=4), ""),
        (fixed(lam=0.3), "off by"),
        (descent(100), "off by"),
        (lambda X, y, lam: X.T @ X, "shape"),
        (lambda X, y, lam: X.no_such_method(), "AttributeError"),
    ],
    "00.wrong_run": [
        (("a", 0.183), "sooner"),
        (("c", 0.346), "not part"),
        (("d", 0.183), "1000 test inputs"),
        (("b", 0.084), "after 100 steps"),
        (("b", 0.092), "where λ = 0.01 rests"),
        (("b", 0.174), "not at its end either"),
        ("b", "Return the pair"),
        (("b or d", 0.183), "one of a, b"),
    ],
    "00.experiment": [
        ((7, 2), "other way round"),
        ((1, 7), "not stopping better"),
        ((2, 1), "not λ better"),
        ((2, 2), "not λ better"),
        ((2.5, 7), "two seeds"),
        ((-2, 7), "two seeds"),
        ((0.84, 1.53), "two seeds"),
        (2, "Return the pair"),
    ],
}
