"""Checks of notebook 01."""

from __future__ import annotations

from functools import cache

import torch

from ..checking.cases import integer, randn, uniform
from ..checking.expect import call, expect, parts
from ..checking.feedback import correct, require
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
        n, p, lam = integer(7, 15, seed), integer(3, 6, seed + 50), uniform(0.2, 0.9, seed + 60)
        X, y, w = randn(n, p, seed=seed), randn(n, seed=seed + 10), randn(p, seed=seed + 20)
        loss, gradient = parts(call(answer, X, y, w, lam), "(loss, gradient)")
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
        _, rest = parts(call(answer, X, y, minimum, lam), "(loss, gradient)")
        require(
            float(torch.as_tensor(rest).detach().norm()) < 1e-10,
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
    for seed in range(3):
        m, k = integer(4, 9, seed + 50), integer(3, 8, seed + 60)
        predictions = randn(m, k, seed=seed) + torch.arange(k)
        truth = randn(k, seed=seed + 10)
        bias2, variance = parts(call(answer, predictions, truth), "(bias2, variance)")
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
                "Divided by one less than there are: for (3) to be exact, divide by all of them (correction=0).": predictions.var(
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


ILLNESSES = {
    "A": ("2", "A has no gap, and both errors are far above σ² = 0.09: it cannot bend enough."),
    "B": ("1", "B has a small training error and a large gap: it has learnt the noise."),
    "C": ("3", "C is at σ² = 0.09: better than the noise no model gets."),
    "D": (
        "4",
        "D has no gap between the first two, and a large one to the last: its validation data are not "
        "like the data it met.",
    ),
}


@exercise("01.illness")
def illness(answer):
    """ "2134": the cures of the models A to D."""
    joined = "".join(map(str, answer)) if isinstance(answer, list | tuple) else str(answer)
    given = joined.replace(",", "").replace(" ", "")
    require(
        len(given) == 4 and set(given) <= set("1234"),
        'Answer with four numbers out of 1 to 4, for A, B, C and D, such as "1234".',
    )
    for cure, (right, hint) in zip(given, ILLNESSES.values(), strict=True):
        require(cure == right, hint)
    return correct("Compare with the noise, with one another, and with what comes later.")


@cache
def _best_lambda(degree):
    """The λ that is best on average over 2000 data sets of 20 measurements with noise 0.3."""
    numbers = torch.Generator().manual_seed(5)
    x = 2 * (torch.arange(20.0) + torch.rand(2000, 20, generator=numbers)) / 20 - 1
    y = (3 * x).sin() + x / 2 + 0.3 * torch.randn(2000, 20, generator=numbers)
    at = torch.linspace(-1, 1, 41)
    X, F = _legendre(x, degree), _legendre(at, degree)
    h, V = torch.linalg.eigh(X.mT @ X / 20)
    b, F = (V.mT @ (X.mT @ y[..., None] / 20))[..., 0], F @ V
    truth = (3 * at).sin() + at / 2
    lams = torch.logspace(-4, 1, 61)
    errors = [((F @ (b / (h + lam))[..., None])[..., 0] - truth).square().mean() for lam in lams]
    return float(lams[int(torch.stack(errors).argmin())])


def _legendre(x, degree):
    """Legendre polynomials 0 to `degree`, each with a mean square of 1 on [-1, 1]."""
    found = [torch.ones_like(x), x]
    for k in range(1, degree):
        found.append(((2 * k + 1) * x * found[k] - k * found[k - 1]) / (k + 1))
    return torch.stack(found[: degree + 1], -1) * (2 * torch.arange(degree + 1.0) + 1).sqrt()


@exercise("01.experiment")
def experiment(answer):
    """{degree: best λ} for at least three degrees from 3 to 15, 4 and 12 among them."""
    require(hasattr(answer, "items"), "Expected a dictionary {degree: best λ}.")
    found = {int(degree): float(lam) for degree, lam in answer.items()}
    require(
        len(found) >= 3 and {4, 12} <= set(found) and all(3 <= degree <= 15 for degree in found),
        "Expected at least three degrees from 3 to 15, 4 and 12 among them.",
    )
    require(
        all(lam > 0 for lam in found.values()), "A λ is a positive number: one that you measured."
    )
    for degree, lam in sorted(found.items()):
        ratio = lam / _best_lambda(degree)
        require(
            1 / 1.9 < ratio < 1.9,
            f"For degree {degree} the best λ, over 2000 data sets of our own, is not near {lam:.2g}: "
            f"{'smaller' if ratio > 1 else 'larger'}. Did each degree have features of its own, and "
            "was the error that against the true curve, averaged over many data sets?",
        )
    return correct("More coefficients can fit more noise: the best λ grows, and then levels off.")
