"""Checks of notebook 00."""

from __future__ import annotations

import re
from functools import cache

import torch

from ..checking.cases import integer, randn, uniform
from ..checking.expect import call, expect, parts
from ..checking.feedback import almost, correct, require
from ..checking.goals import goal
from ..checking.registry import exercise


@goal("00.at_rest", damping=0.1)
def at_rest(records, values):
    """With μ = 0.1, a λ with which the run ends at rest with a test error below 0.08."""
    error, last_step = records[-1].val_loss, float((records[-1].theta - records[-2].theta).norm())
    require(
        values["lambda_reg"] > 0,
        f"With λ = 0 the run is not at rest: it passed low errors, stands at {error:.3f} and "
        "walks on to the least-squares fit. Damping holds nothing for good; λ does.",
    )
    require(
        last_step < 0.005,
        f"It is still moving: its last step has the length {last_step:.2g}, and 0.005 is asked "
        "for. A larger λ brings it to rest sooner.",
    )
    require(
        error < 0.08,
        f"At rest, but with a test error of {error:.3f}: so large a λ keeps the weights from "
        "what the data say. Take a smaller one.",
    )
    return correct("λ made a better place to rest; the damping only changed the way there.")


@exercise("00.same_rest")
def same_rest(answer):
    """Which two of A (λ 0.01, μ 0), B (λ 0.01, μ 0.1) and C (λ 0.1, μ 0) rest at one point."""
    said = "".join(map(str, answer)) if isinstance(answer, list | tuple | set) else str(answer)
    rest = re.sub(r"\bAND\b|[\s,;&+/]", "", said.upper())
    word = "".join(sorted(rest)) if re.fullmatch("[ABC]+", rest) else ""
    hints = {
        "AC": "A and C minimize different functions: their λ differ.",
        "BC": "μ = 0.1 and λ = 0.1 give B and C like first steps, but B has another λ.",
    }
    if word != "AB":
        return almost(hints.get(word, 'Answer with two of the letters, "AB", "AC" or "BC".'))
    return correct(
        "λ is part of the function that is minimized; damping only changes the way there."
    )


@exercise("00.ridge_minimum")
def ridge_minimum(answer):
    """A function (X, y, lam) -> w that minimizes |Xw - y|^2 / (2n) + lam |w|^2 / 2."""
    for seed in range(3):
        n, p, lam = integer(6, 15, seed), integer(2, 9, seed + 10), uniform(0.1, 0.9, seed + 20)
        X, y = randn(n, p, seed=seed + 30), randn(n, seed=seed + 40)

        def solve(shift, X=X, y=y, n=n, p=p):
            return torch.linalg.solve(X.T @ X / n + shift * torch.eye(p), X.T @ y / n)

        expect(
            call(answer, X, y, lam),
            solve(lam),
            {
                "λ is missing: the penalty adds λ I to the matrix.": solve(0.0) if n > p else None,
                "The loss is a mean: divide both X'X and X'y by n, or multiply λ by n.": solve(
                    lam / n
                ),
                "The penalty is λ|w|²/2, so its curvature is λ, not 2λ.": solve(2 * lam),
                "The penalty is λ|w|²/2, so its curvature is λ, not λ/2.": solve(lam / 2),
                "The sign is wrong: set the gradient X'(Xw - y)/n + λw to zero.": -solve(lam),
            },
            f"Set the gradient X'(Xw - y)/n + λw to zero and solve it for w. (Here X has the shape "
            f"({n}, {p}) and λ is {lam:.2g}.)",
            rtol=1e-8,
        )
    return correct("The minimum depends on λ alone; there is no damping in your formula.")


@cache
def _drawn(seed):
    numbers = torch.Generator().manual_seed(seed)
    scale = torch.logspace(0, -1.5, 20)
    X = torch.randn(30, 20, generator=numbers) * scale
    X_test = torch.randn(1000, 20, generator=numbers) * scale
    weights = torch.randn(20, generator=numbers)
    return X, X @ weights + 0.3 * torch.randn(30, generator=numbers), X_test, X_test @ weights


@exercise("00.wrong_run")
def wrong_run(answer):
    """("b", the test error of the least-squares fit): λ = 0, μ = 0.1 was read before its end."""
    letter, error = parts(answer, "(letter, number)")
    X, y, X_test, y_test = _drawn(1)
    fit = torch.linalg.lstsq(X, y).solution
    hints = {
        "a": "Longer steps only get there sooner: the place where the run ends has no μ in it.",
        "c": "μ is not part of what is minimized: at rest g + λθ = 0, without μ.",
        "d": "With 1000 test inputs the error of such a mean is a few percent; and more of them "
        "would not bring the run to its end.",
    }
    letter = str(letter).strip().lower().strip(".()")
    if letter != "b":
        return almost(hints.get(letter, "The letter is one of a, b, c and d."))
    expect(
        error,
        (X_test @ fit - y_test).square().mean(),
        {
            "That is where it stands after 100 steps; it goes on.": 0.084,
            "That is where λ = 0.01 rests; the question is about λ = 0.": 0.0925,
            "That is the test error of the best moment to stop.": 0.0713,
            "That run, with μ = 0.01, has come further; it is not at its end either.": 0.174,
        },
        "Without a penalty there is one point of rest: where the gradient of the loss is zero.",
        what="test error at the end",
        rtol=0.03,
    )
    return correct("An error read in passing is not an end: ask for the length of the last step.")


def least_errors(seed):
    """Least test error over the steps 1 to 100 with μ = 0.01, and over λ, on the data of a seed."""
    X, y, X_test, y_test = _drawn(seed)
    h, V = torch.linalg.eigh(X.T @ X / len(y))
    b = V.T @ (X.T @ y) / len(y)
    lams, steps = torch.logspace(-4, 0, 201), torch.arange(1, 101)
    stopped = (b / h)[:, None] * (1 - (0.01 / (h + 0.01))[:, None] ** steps)
    penalized = b[:, None] / (h[:, None] + lams)
    return tuple(
        float(((X_test @ (V @ theta)) - y_test[:, None]).square().mean(0).min())
        for theta in (stopped, penalized)
    )


@exercise("00.experiment")
def experiment(answer):
    """(a seed where stopping beats the best λ by a tenth, one where λ beats stopping)."""
    seeds = parts(answer, "(stopping, lambda)")
    for seed in seeds:
        whole = not isinstance(seed, bool) and isinstance(seed, int | float | torch.Tensor)
        whole = whole or hasattr(seed, "__index__")
        require(
            whole and float(seed) == int(seed) and int(seed) >= 0,
            f"Expected two seeds, whole numbers of at least 0, got {seed!r}.",
        )
    ratios = []
    for seed in seeds:
        stopped, penalized = least_errors(int(seed))
        ratios.append(stopped / penalized)
    require(
        not (ratios[0] > 1.1 and ratios[1] < 0.9),
        "The other way round: first the seed where stopping is better.",
    )
    for name, seed, ratio, good in (
        ("stopping", seeds[0], ratios[0], ratios[0] < 0.9),
        ("λ", seeds[1], ratios[1], ratios[1] > 1.1),
    ):
        require(
            good,
            f"With seed {int(seed)} the best stop has {ratio:.2f} times the error of the best λ: "
            f"that is not {name} better by a tenth.",
        )
    return correct("Neither is better in general: both leave out what flat directions say.")
