"""Trace and log-determinant from products alone, with standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..arguments import symmetric, whole
from .damped import Symmetric
from .lanczos import lanczos, signs, values_of


@dataclass(frozen=True)
class Estimate:
    """A number estimated by random probes.

    Attributes:
        value: the estimate, without bias but for what its function's docstring says.
        standard_error: its standard deviation, estimated from the spread of the probes.
    """

    value: float
    standard_error: float


@torch.no_grad()
def trace(
    A: Symmetric, products: int = 60, *, generator: torch.Generator | None = None
) -> Estimate:
    """The trace of A by Hutch++ (Meyer, Musco, Musco and Woodruff, 2021, algorithm 1).

    A third of the products finds a basis Q of A's large eigenvalues, a third gives trace(Q'AQ), and
    the rest is Hutchinson's estimate (1989) of what is left, the mean of g'Ag over vectors g of
    random signs orthogonal to Q. For a positive semi-definite A the error falls like 1 / products,
    that of Hutchinson's estimate alone like its root.

    Args:
        A: symmetric, of shape (n, n), with ``A @ v``.
        products: with A, at least 6; from 3 n on the trace is exact.
        generator: of the signs; default torch's own.

    >>> trace(torch.diag(torch.tensor([1.0, 2.0, 5.0])), 9)
    Estimate(value=8.0, standard_error=0.0)
    """
    products = whole("products", products, 6)
    symmetric("A", A)
    k, n = products // 3, A.shape[0]
    if k >= n:
        eye = torch.diag(torch.ones_like(signs(A, generator)))
        return Estimate(float((A @ eye).diagonal().double().sum()), 0.0)
    sketch = torch.stack([signs(A, generator) for _ in range(k)], 1)
    Q, _ = torch.linalg.qr(A @ sketch)
    large = float((Q * (A @ Q)).double().sum())
    rest = torch.stack([signs(A, generator) for _ in range(products - 2 * k)], 1)
    rest -= Q @ (Q.T @ rest)
    return _mean((rest * (A @ rest)).double().sum(0), large)


@torch.no_grad()
def trace_of(
    f: Callable[[Tensor], Tensor],
    A: Symmetric,
    steps: int = 30,
    probes: int = 10,
    *,
    generator: torch.Generator | None = None,
) -> Estimate:
    """The trace of f(A) by stochastic Lanczos quadrature (Ubaru, Chen and Saad, 2017).

    Its bias falls exponentially with ``steps`` for an f that is analytic around the spectrum.

    Args:
        f: of a tensor of eigenvalues, entry by entry, such as torch.sqrt.
        A: symmetric, of shape (n, n), with ``A @ v``.
        steps: Lanczos steps, and products, of each probe. More than n count as n.
        probes: vectors of random signs, at least 2; the standard error falls like their root.
        generator: of the signs; default torch's own.
    """
    steps, probes = whole("steps", steps, 1), whole("probes", probes, 2)
    n, found = symmetric("A", A).shape[0], []
    for _ in range(probes):
        quadrature = lanczos(A, min(steps, n), start=signs(A, generator))
        values = values_of(f, quadrature.ritz_values.double())
        found.append(n * float(quadrature.first_components.double().square() @ values))
    return _mean(torch.tensor(found, dtype=torch.float64), 0.0)


def log_determinant(
    A: Symmetric, steps: int = 30, probes: int = 10, *, generator: torch.Generator | None = None
) -> Estimate:
    """log det A for a positive definite A, the trace of log A: see :func:`trace_of`.

    Raises:
        ValueError: a Ritz value is not positive, so that A is not positive definite; damp it, as
            ``Shifted(A, damping)`` does.
    """

    def log(eigenvalues: Tensor) -> Tensor:
        if not bool((eigenvalues > 0).all()):
            raise ValueError(
                "expected a positive definite matrix, got a Ritz value of "
                f"{float(eigenvalues.min()):.3g}: damp it, as Shifted(A, damping) does"
            )
        return eigenvalues.log()

    return trace_of(log, A, steps, probes, generator=generator)


def _mean(values: Tensor, known: float) -> Estimate:
    return Estimate(known + float(values.mean()), float(values.std()) / math.sqrt(len(values)))
