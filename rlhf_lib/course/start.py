"""Checks of notebook 00."""

from __future__ import annotations

import torch

from .feedback import almost, attempted, correct, exercise


@exercise("00.same_rest")
def same_rest(answer):
    """Which two of A (λ 0.01, μ 0), B (λ 0.01, μ 0.1) and C (λ 0.1, μ 0) rest at one point."""
    word = "".join(sorted(letter for letter in str(answer).upper() if letter in "ABC"))
    if word == "AB":
        return correct(
            "λ is part of the function that is minimized; damping only changes the way there."
        )
    if word == "AC":
        return almost("A and C minimize different functions: their λ differ.")
    if word == "BC":
        return almost("μ = 0.1 and λ = 0.1 give B and C like first steps, but B has another λ.")
    return almost('Answer with two of the letters, "AB", "AC" or "BC".')


@exercise("00.ridge_minimum")
def ridge_minimum(answer):
    """A function (X, y, lam) -> w that minimizes |Xw - y|^2 / (2n) + lam |w|^2 / 2."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    y = torch.randn(12, generator=generator, dtype=torch.float64)
    lam, n = 0.3, len(X)
    w = attempted(answer(X.clone(), y.clone(), lam))
    if not isinstance(w, torch.Tensor) or w.shape != (4,):
        return almost(f"Expected a vector of shape (4,), got {getattr(w, 'shape', type(w))}.")

    def solve(shift, scale=1.0):
        return torch.linalg.solve(X.T @ X / n + shift * torch.eye(4, dtype=X.dtype), X.T @ y / n)

    if torch.allclose(w, solve(lam)):
        return correct("The minimum depends on λ alone; there is no damping in your formula.")
    hints = {
        "λ is missing: the penalty adds λ I to the matrix.": solve(0.0),
        "The loss is a mean: divide both X'X and X'y by n, or multiply λ by n.": solve(lam / n),
        "The penalty is λ|w|²/2, so its curvature is λ, not 2λ.": solve(2 * lam),
        "The penalty is λ|w|²/2, so its curvature is λ, not λ/2.": solve(lam / 2),
        "The sign is wrong: set the gradient X'(Xw - y)/n + λw to zero.": -solve(lam),
    }
    for hint, wrong in hints.items():
        if torch.allclose(w, wrong):
            return almost(hint)
    return almost("Set the gradient X'(Xw - y)/n + λw to zero and solve it for w.")
