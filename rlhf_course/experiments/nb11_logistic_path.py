"""L2-penalized logistic regression on fixed features, fast enough for thousands of fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor


def logistic_path(
    X: Tensor, y: Tensor, lambdas: Sequence[float], *, tol: float = 1e-9, max_steps: int = 50
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (w, b) for each lambda in turn, each fit starting from the last one.

    Minimizes mean cross-entropy of the logits X w + b plus lambda |w|^2 / 2 by Newton's method
    with halving; b is not penalized. The minimum lies in the span of the rows of X, so the systems
    have at most n + 1 unknowns however many features there are (Hastie and Tibshirani, 2004).

    X: (n, p) float. y: (n,) of 0 and 1. lambdas: numbers > 0.
    tol: of the largest entry of the gradient. Raises RuntimeError after `max_steps` Newton steps.
    """
    if min(lambdas) <= 0:
        raise ValueError(f"expected every lambda > 0, got {min(lambdas)}")
    # In NumPy: on matrices this small, torch's calls cost three times what they compute.
    U, S, Vh = np.linalg.svd(X.numpy(), full_matrices=False)
    Z = np.concatenate([U * S, np.ones((len(U), 1))], axis=1)  # (n, r + 1), intercept last
    labels = y.numpy().astype(Z.dtype)
    penalized = np.ones(Z.shape[1])
    penalized[-1] = 0
    theta = np.zeros(Z.shape[1])
    for value in lambdas:
        theta = _newton(Z, labels, value * penalized, theta, value, tol, max_steps)
        yield torch.from_numpy(Vh.T @ theta[:-1]), torch.tensor(theta[-1])


def _newton(Z, y, ridge, theta, value, tol, max_steps):
    def objective(logits, theta):
        # log(1 + exp z) - y z, without overflow
        return np.mean(np.logaddexp(0.0, logits) - y * logits) + 0.5 * (ridge * theta) @ theta

    logits = Z @ theta
    now = objective(logits, theta)
    for _ in range(max_steps):
        p = 0.5 * (1 + np.tanh(0.5 * logits))
        gradient = Z.T @ (p - y) / len(y) + ridge * theta
        if np.abs(gradient).max() <= tol:
            return theta
        H = (Z.T * (p * (1 - p))) @ Z / len(y)
        np.einsum("ii->i", H)[:] += ridge
        step = np.linalg.solve(H, gradient)
        slope, length, along = gradient @ step, 1.0, Z @ step
        # Rounding of the objective ends the halving where there is nothing left to gain.
        while True:
            trial, at = theta - length * step, logits - length * along
            then = objective(at, trial)
            if then <= now - 1e-4 * length * slope + 1e-14 or length <= 1e-8:
                break
            length /= 2
        theta, logits, now = trial, at, then
    raise RuntimeError(f"no minimum after {max_steps} Newton steps at lambda = {value:g}")


def logistic_scores(X: Tensor, y: Tensor, w: Tensor, b: Tensor) -> dict[str, float]:
    """Mean cross-entropy in nats, and accuracy, of the logits X w + b."""
    z = X @ w + b
    loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y.to(z.dtype))
    return {"loss": float(loss), "accuracy": float(((z > 0) == (y == 1)).double().mean())}
