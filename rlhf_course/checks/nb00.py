"""Checks of notebook 00."""

from __future__ import annotations

import torch

from ..checking.expect import call, expect, randn
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
    word = "".join(sorted(letter for letter in str(answer).upper() if letter in "ABC"))
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
    X, y, lam, n = randn(12, 4), randn(12, seed=1), 0.3, 12

    def solve(shift):
        return torch.linalg.solve(X.T @ X / n + shift * torch.eye(4), X.T @ y / n)

    expect(
        call(answer, X, y, lam),
        solve(lam),
        {
            "λ is missing: the penalty adds λ I to the matrix.": solve(0.0),
            "The loss is a mean: divide both X'X and X'y by n, or multiply λ by n.": solve(lam / n),
            "The penalty is λ|w|²/2, so its curvature is λ, not 2λ.": solve(2 * lam),
            "The penalty is λ|w|²/2, so its curvature is λ, not λ/2.": solve(lam / 2),
            "The sign is wrong: set the gradient X'(Xw - y)/n + λw to zero.": -solve(lam),
        },
        "Set the gradient X'(Xw - y)/n + λw to zero and solve it for w.",
    )
    return correct("The minimum depends on λ alone; there is no damping in your formula.")
