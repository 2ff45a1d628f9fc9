"""Answers to the exercises of notebook 00."""

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


SOLUTIONS = {"00.at_rest": at_rest(0.003, 0.072, 0.001)}

MISTAKES = {
    "00.at_rest": [
        (at_rest(0, 0.084, 0.019), "walks on"),
        (at_rest(0.001, 0.073, 0.007), "still moving"),
        (at_rest(0.1, 0.346, 0), "Take a smaller one"),
        (at_rest(0.003, 0.072, 0.001, status="Stopped after 8 records."), "stopped"),
        (0.003, "the panel itself"),
    ],
    "00.same_rest": [
        ("AC", "different functions"),
        ("c, b", "another λ"),
        ("all", "two of the letters"),
    ],
    "00.ridge_minimum": [
        (ridge(lambda lam, n: 0.0), "λ is missing"),
        (ridge(lambda lam, n: lam / n), "divide both"),
        (ridge(lambda lam, n: 2 * lam), "not 2λ"),
        (ridge(lambda lam, n: lam / 2), "not λ/2"),
        (ridge(sign=-1), "sign"),
        (lambda X, y, lam: X.T @ X, "shape"),
        (lambda X, y, lam: X.no_such_method(), "AttributeError"),
    ],
}
