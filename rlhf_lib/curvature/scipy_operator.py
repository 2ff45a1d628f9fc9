"""An operator as SciPy's: for eigsh, lobpcg, minres and whatever else asks for products."""

from __future__ import annotations

from typing import Any

import torch

from ..arguments import symmetric
from .damped import Symmetric


def to_scipy(A: Symmetric):
    """A as a ``scipy.sparse.linalg.LinearOperator``, for NumPy's arrays, each product one of A's.

    Args:
        A: symmetric, of shape (n, n), with ``A @ v``: a tensor or an operator. Vectors go to its
            ``dtype`` and ``device``; results are float32 or float64.

    Raises:
        ImportError: SciPy is not installed.

    >>> float(to_scipy(torch.diag(torch.tensor([1.0, 2.0]))).matvec([0.0, 3.0])[1])
    6.0
    """
    from scipy.sparse.linalg import LinearOperator

    symmetric("A", A)
    own = getattr(A, "dtype", torch.get_default_dtype())
    device = getattr(A, "device", "cpu")
    shown = torch.float64 if own == torch.float64 else torch.float32

    def product(v):
        columns = torch.tensor(v).to(device, own)
        if columns.ndim == 2 and columns.shape[1] == 1:
            columns = columns[:, 0]
        return (A @ columns).detach().to("cpu", shown).numpy().reshape(v.shape)

    make: Any = LinearOperator  # type checkers see its subclasses' constructor
    return make(
        tuple(A.shape),
        matvec=product,
        rmatvec=product,
        matmat=product,
        rmatmat=product,
        dtype=str(shown).removeprefix("torch."),
    )
