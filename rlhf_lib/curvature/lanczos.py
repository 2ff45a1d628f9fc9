"""Eigenvalues from products alone: Lanczos, and the density of the whole spectrum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..arguments import function, real, seeded, symmetric, vector, whole
from ..interrupt import checkpoint
from ..scaling import norm
from .damped import Symmetric, matvec

STEPS = "steps"
INVARIANT_SUBSPACE = "invariant_subspace"


@dataclass(frozen=True)
class LanczosResult:
    """A on the Krylov space of the start, as the tridiagonal matrix T = Q A Q' of m steps.

    Attributes:
        diagonal, off_diagonal: entries of T, shapes (m,) and (m - 1,).
        ritz_values: eigenvalues of T, ascending, shape (m,): estimates of eigenvalues of A, the
            best ones at the ends of the spectrum.
        bounds: for each Ritz value, A has an eigenvalue at most this far from it (Golub and Van
            Loan, 2013, section 10.1), up to rounding; shape (m,).
        first_components: first entries of T's eigenvectors, shape (m,).
        reason: "steps" (all that were asked for) or "invariant_subspace": the space is mapped into
            itself, so that every Ritz value is an eigenvalue and another step has nowhere to go.
            The start has no part in the other eigenvectors, and a multiple eigenvalue shows once.
        basis: Q with orthonormal rows, the first of them the normalized start; shape (m, n).
    """

    diagonal: Tensor
    off_diagonal: Tensor
    ritz_values: Tensor
    bounds: Tensor
    first_components: Tensor = field(repr=False)
    reason: str
    basis: Tensor = field(repr=False)

    @property
    def ritz_vectors(self) -> Tensor:
        """Unit vectors that belong to the Ritz values, in columns, shape (n, m)."""
        return self.basis.T @ _eigh(self.diagonal, self.off_diagonal)[1].to(self.basis)


@torch.no_grad()
def lanczos(
    A: Symmetric, k: int, *, start: Tensor | None = None, generator: torch.Generator | None = None
) -> LanczosResult:
    """Lanczos' tridiagonalization with full reorthogonalization, k products with A.

    Golub and Van Loan (2013, sections 10.1 and 10.3). Without reorthogonalization
    rounding would bring converged eigenvalues back as copies; here every new vector is made
    orthogonal to all former ones, twice. That takes memory for k vectors.

    Args:
        A: symmetric, of shape (n, n), with ``A @ v``: a tensor or an operator. An operator without
            a ``dtype`` gets vectors of torch's default one.
        k: steps, 1 to n.
        start: shape (n,), not zero; default standard normal numbers.
        generator: of these numbers; default torch's own.

    Raises:
        ValueError: k is out of range, the start does not fit, or is zero or not finite.
        FloatingPointError: a product has NaN or infinite entries.

    >>> A = torch.diag(torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64))
    >>> lanczos(A, 3).ritz_values.round(decimals=6)
    tensor([1., 2., 5.], dtype=torch.float64)
    """
    n = symmetric("A", A).shape[0]
    if not 1 <= whole("k", k) <= n:
        raise ValueError(f"expected 1 <= k <= {n} steps for a matrix of this size, got {k}")
    if start is None:
        start = torch.randn(n, generator=generator, **_like(A, generator)).to(_device(A))
    vector("start", start, n)
    dtype = getattr(A, "dtype", start.dtype)
    if start.dtype != dtype:
        raise ValueError(f"expected start in A's type {dtype}, got {start.dtype}")
    size = norm(start)
    if not 0 < size < float("inf"):
        raise ValueError(f"expected a start other than zero and finite, got norm {size}")
    basis = start.new_empty(k, n)
    basis[0] = start / size
    diagonal, off_diagonal = [], []
    scale, remainder, reason = 0.0, 0.0, STEPS
    for j in range(k):
        checkpoint()
        w = matvec(A, basis[j])
        size = norm(w)
        if not size < float("inf"):
            raise FloatingPointError(f"product {j + 1} with A has NaN or infinite entries")
        scale = max(scale, size)
        diagonal.append(float(basis[j] @ w))
        former = basis[: j + 1]
        for _ in range(2):  # once leaves errors of the size of the rounding over what remains
            w = w - former.T @ (former @ w)
        remainder = norm(w)
        if remainder <= 100 * torch.finfo(w.dtype).eps * scale:
            reason, remainder = INVARIANT_SUBSPACE, 0.0
            break
        if j + 1 < k:
            off_diagonal.append(remainder)
            basis[j + 1] = w / remainder
    m = len(diagonal)
    d, e = (torch.tensor(x, dtype=torch.float64) for x in (diagonal, off_diagonal))
    values, vectors = _eigh(d, e)
    d, e, values, first, bounds = (
        x.to(start) for x in (d, e, values, vectors[0], remainder * vectors[-1].abs())
    )
    return LanczosResult(d, e, values, bounds, first, reason, basis[:m])


def _eigh(diagonal: Tensor, off_diagonal: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors of a symmetric tridiagonal matrix, in float64."""
    d, e = diagonal.double(), off_diagonal.double()
    return torch.linalg.eigh(torch.diag(d) + torch.diag(e, 1) + torch.diag(e, -1))


@dataclass(frozen=True)
class SpectralDensity:
    """The eigenvalues of A as weighted points: an estimate of their distribution.

    Attributes:
        nodes: points on the axis of eigenvalues, ascending, shape (m,).
        weights: shares of the eigenvalues that they stand for, >= 0 with sum 1, shape (m,).
    """

    nodes: Tensor
    weights: Tensor

    def mean(self, f: Callable[[Tensor], Tensor]) -> float:
        """Mean of f over the eigenvalues, trace f(A) / n, for f of a tensor of shape (m,)."""
        return float(self.weights @ values_of(f, self.nodes))

    def smoothed(self, grid: Tensor, width: float | Tensor) -> Tensor:
        """The density on a grid of shape (g,), every point widened to a Gaussian; shape (g,).

        ``width`` is its standard deviation, in units of the eigenvalues. The integral over the
        whole axis is 1.
        """
        vector("grid", grid)
        if not real("width", width) > 0:
            raise ValueError(f"expected width > 0, got {width}")
        z = (grid[:, None] - self.nodes) / width
        return (-0.5 * z * z).exp() @ self.weights / (width * (2 * torch.pi) ** 0.5)


def spectral_density(
    A: Symmetric, steps: int, probes: int, *, generator: torch.Generator | None = None
) -> SpectralDensity:
    """Density of the eigenvalues by stochastic Lanczos quadrature, steps * probes products.

    Each probe, a vector v of random signs, gives a Gauss quadrature: the Ritz values of ``steps``
    Lanczos steps from v, weighted by the squared first components of T's eigenvectors. It has
    v' A^p v / n exactly for p < 2 * steps, and the mean over v of that is trace(A^p) / n (Ubaru,
    Chen and Saad, 2017; of networks: Ghorbani, Krishnan and Xiao, 2019).

    Args:
        A: symmetric, of shape (n, n), with ``A @ v``.
        steps: Lanczos steps of each probe; more resolve the ends of the spectrum better. More
            than n count as n.
        probes: random vectors; the error of the weights falls like 1 / sqrt(n * probes).
        generator: of the signs; default torch's own.

    Raises:
        ValueError: steps or probes is below 1. FloatingPointError: see :func:`lanczos`.
    """
    steps, probes = whole("steps", steps, 1), whole("probes", probes, 1)
    symmetric("A", A)
    nodes, weights = [], []
    for _ in range(probes):
        found = lanczos(A, min(steps, A.shape[0]), start=signs(A, generator))
        nodes.append(found.ritz_values)
        weights.append(found.first_components.square())
    order = torch.cat(nodes).argsort()
    shares = torch.cat(weights)[order]
    return SpectralDensity(torch.cat(nodes)[order], shares / shares.sum())


def values_of(f: Callable[[Tensor], Tensor], eigenvalues: Tensor) -> Tensor:
    """f of eigenvalues, entry by entry. Raises TypeError for an f that is none."""
    values = function("f", f)(eigenvalues)
    if not isinstance(values, Tensor) or values.shape != eigenvalues.shape:
        raise TypeError(
            f"f: expected a tensor of values of shape {tuple(eigenvalues.shape)}, got "
            f"{tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__}"
        )
    return values


def signs(A: Symmetric, generator: torch.Generator | None) -> Tensor:
    """A vector of random signs for A, shape (n,)."""
    symmetric("A", A)
    bits = torch.randint(2, A.shape[:1], generator=generator, **_like(A, generator))
    return (2 * bits - 1).to(_device(A))


def _device(A: Symmetric) -> torch.device:
    return getattr(A, "device", torch.device("cpu"))


def _like(A: Symmetric, generator: torch.Generator | None) -> dict:
    """Where random numbers for A are drawn, and in which precision."""
    generator = seeded(generator)
    place = _device(A) if generator is None else generator.device
    return {"dtype": getattr(A, "dtype", torch.get_default_dtype()), "device": place}
