"""Checks of notebook 01."""

from __future__ import annotations

import torch

from ..checking.expect import call, expect, randn
from ..checking.feedback import Wrong, correct, require
from ..checking.goals import goal
from ..checking.registry import exercise

TARGET = 0.17


@goal("01.target", degree=12, n=20, noise=0.3)
def target(records, values):
    """With 20 noisy measurements and degree 12, a λ with a validation error below 0.17."""
    chosen, sweep = records[0], records[1:]
    best = min(sweep, key=lambda r: r.val_loss).extra["lambda"]
    require(
        chosen.val_loss < TARGET or values["lambda_reg"] > best,
        f"Overfitting: the training error is {chosen.train_loss:.3f}, the validation error "
        f"{chosen.val_loss:.3f}. The gap says that λ is too small.",
    )
    require(
        chosen.val_loss < TARGET,
        f"Underfitting: both errors are large ({chosen.train_loss:.3f} and "
        f"{chosen.val_loss:.3f}), so λ is too large.",
    )
    return correct("You gave away some training error and got back much more validation error.")


@exercise("01.ridge")
def ridge(answer):
    """A function (X, y, w, lam) -> (loss, gradient) of |Xw - y|^2 / (2n) + lam |w|^2 / 2."""
    for seed in range(3):
        n, p, lam = 9, 4, 0.3 + 0.2 * seed
        X, y, w = randn(n, p, seed=seed), randn(n, seed=seed + 10), randn(p, seed=seed + 20)
        loss, gradient = _pair(call(answer, X, y, w, lam), "(loss, gradient)")
        fit, size = (X @ w - y).square().sum(), w @ w
        expect(
            loss,
            fit / (2 * n) + lam * size / 2,
            {
                "The penalty is missing from the loss.": fit / (2 * n),
                "The task loss is a mean over the samples: divide the sum by n.": fit / 2
                + lam * size / 2,
                "Half is missing: equation (1) has 1/(2n).": fit / n + lam * size / 2,
                "The penalty has the factor λ/2, not λ.": fit / (2 * n) + lam * size,
                "Both terms of equation (1) have a half.": fit / n + lam * size,
                "The penalty is the square of the length of w, not the length.": fit / (2 * n)
                + lam * size.sqrt() / 2,
            },
            "It is |Xw − y|²/(2n) + λ|w|²/2.",
            what="loss",
        )
        task = X.T @ (X @ w - y) / n
        expect(
            gradient,
            _central_differences(X, y, w, lam),
            {
                "The gradient lacks the penalty's part: it is not the slope of your loss.": task,
                "The derivative of λw²/2 is λw, not 2λw.": task + 2 * lam * w,
                "The derivative of λw²/2 is λw, not λw/2.": task + lam * w / 2,
                "The gradient of the task loss is to be divided by n, as the loss is.": n * task
                + lam * w,
                "A factor 2 is left in the task's part: it cancels the half.": 2 * task + lam * w,
                "The residual is Xw − y, not y − Xw.": -task + lam * w,
            },
            "It is X'(Xw − y)/n + λw.",
            what="gradient",
            rtol=1e-6,
        )
        minimum = torch.linalg.solve(X.T @ X / n + lam * torch.eye(p), X.T @ y / n)
        _, rest = _pair(call(answer, X, y, minimum, lam), "(loss, gradient)")
        require(
            float(rest.detach().norm()) < 1e-10,
            "At the closed-form ridge solution your gradient is not zero.",
        )
    return correct("It is the slope of the loss, and it vanishes at the closed-form solution.")


def _central_differences(X, y, w, lam, eps=1e-5):
    def loss(v):
        return (X @ v - y).square().mean() / 2 + lam * v @ v / 2

    return torch.stack(
        [(loss(w + eps * e) - loss(w - eps * e)) / (2 * eps) for e in torch.eye(len(w))]
    )


@exercise("01.bias_variance")
def bias_variance(answer):
    """A function (predictions (m, k), truth (k,)) -> (squared bias, variance), over k places."""
    m, k = 6, 5
    for seed in range(3):
        predictions = randn(m, k, seed=seed) + torch.arange(k)
        truth = randn(k, seed=seed + 10)
        bias2, variance = _pair(call(answer, predictions, truth), "(bias2, variance)")
        mean = predictions.mean(0)
        wanted = ((mean - truth) ** 2).mean()
        scatter = ((predictions - mean) ** 2).mean()
        expect(
            bias2,
            wanted,
            {
                "That is the whole error: average the colleagues before taking the difference.": (
                    predictions - truth
                )
                .square()
                .mean(),
                "Square the bias at each place, then average: else its signs cancel.": (
                    mean - truth
                ).mean()
                ** 2,
                "The bias is to be squared.": (mean - truth).mean(),
                "One number is asked for: average over the places.": (mean - truth) ** 2,
                "The order is (bias², variance).": scatter,
            },
            "It is the mean over places of (mean prediction − truth)².",
            what="bias²",
        )
        expect(
            variance,
            scatter,
            {
                "Divided by m − 1: for (3) to be exact, divide by m (correction=0).": predictions.var(
                    0
                ).mean(),
                "That is the scatter over places and colleagues together: take the mean of each "
                "place, over dimension 0.": predictions.var(correction=0),
                "That is the scatter of each colleague over the places: use dimension 0.": predictions.var(
                    1, correction=0
                ).mean(),
                "That is the standard deviation; it is to be squared.": predictions.std(
                    0, correction=0
                ).mean(),
                "That is the distance from the truth: variance is about the mean prediction.": (
                    predictions - truth
                )
                .square()
                .mean(),
                "One number is asked for: average over the places.": predictions.var(
                    0, correction=0
                ),
            },
            "It is the mean of (prediction − mean prediction)².",
            what="variance",
        )
    return correct("The two add up to the mean squared error, exactly.")


def _pair(value, names):
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise Wrong(f"Return the pair {names}, two things with a comma between them.")
    for part, name in zip(value, names.strip("()").split(", "), strict=True):
        require(isinstance(part, torch.Tensor | float | int), f"The {name} is no tensor.")
    return value
