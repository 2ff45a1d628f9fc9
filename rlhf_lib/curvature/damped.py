"""A + diag(shift): the damped operator, on the coordinates that may move."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from ..arguments import real, symmetric, vector


@runtime_checkable
class Products(Protocol):
    """A symmetric matrix known by its products alone: ``A @ v`` for v of shape (n,)."""

    def __matmul__(self, v: Tensor, /) -> Tensor: ...


class Symmetric(Products, Protocol):
    """A symmetric matrix of shape (n, n): a tensor, or an operator with ``A @ v``."""

    @property
    def shape(self) -> tuple[int, ...]: ...


Operator_co = TypeVar("Operator_co", bound=Symmetric, covariant=True)


class Shifted(Generic[Operator_co]):
    """A + diag(shift) on the free coordinates, the identity on the others.

    Args:
        A: a symmetric operator of shape (n, n).
        shift: damping plus the regularizer's curvature: a number or a vector of shape (n,).
        free: mask of shape (n,) of the coordinates that may move; None frees all.
    """

    def __init__(self, A: Operator_co, shift: float | Tensor, free: Tensor | None = None):
        symmetric("A", A)
        if isinstance(shift, Tensor) and shift.ndim:
            vector("shift", shift, A.shape[0])
        else:
            real("shift", shift, finite=False)
        if free is not None and not (isinstance(free, Tensor) and free.dtype == torch.bool):
            raise TypeError(f"expected free as a mask, a tensor of torch.bool, got {free!r}")
        if free is not None and free.shape != A.shape[:1]:
            raise ValueError(f"expected free of shape ({A.shape[0]},), got {tuple(free.shape)}")
        self.A, self.shift, self.free = A, shift, free
        self.shape = A.shape

    @property
    def dtype(self) -> torch.dtype:
        """That of A, if it has one."""
        return self.A.dtype  # pyrefly: ignore[missing-attribute] only some operators have one

    @property
    def device(self) -> torch.device:
        """That of A, if it has one."""
        return self.A.device  # pyrefly: ignore[missing-attribute] only some operators have one

    def __matmul__(self, v: Tensor) -> Tensor:
        dtype = self.A.dtype if isinstance(self.A, Tensor) else None  # an operator sees to it
        check_columns(v, self.shape[0], dtype)
        if v.ndim == 2:
            return torch.stack([self.matvec(column) for column in v.T], dim=1)
        return self.matvec(v)

    def matvec(self, v: Tensor, out: Tensor | None = None) -> Tensor:
        """The product with one vector; into ``out`` of shape (n,) if it is given."""
        product = matvec(self.A, v if self.free is None else v * self.free, out)
        if isinstance(self.shift, Tensor):
            product.addcmul_(v, self.shift)
        elif self.shift:
            product.add_(v, alpha=self.shift)
        return product if self.free is None else torch.where(self.free, product, v, out=out)


def check_columns(v: Tensor, n: int, dtype: torch.dtype | None = None) -> None:
    """Raise TypeError for what is no tensor, ValueError for a shape other than (n,) and (n, k).

    ``dtype`` is the only one that will do; None takes all floating point types.
    """
    if not isinstance(v, Tensor):
        raise TypeError(
            f"expected a tensor, got {type(v).__name__}: use torch.as_tensor(v), or "
            "to_scipy(op), which takes NumPy's arrays"
        )
    if v.shape[:1] != (n,) or v.ndim > 2:
        raise ValueError(
            f"expected a vector of shape ({n},) or a matrix with that many rows, got "
            f"{tuple(v.shape)}"
        )
    if dtype not in (None, v.dtype):
        raise ValueError(f"expected numbers in {dtype}, got {v.dtype}")
    if not v.is_floating_point() or v.is_meta:
        raise ValueError(
            "expected numbers of a floating point type, got "
            f"{'a tensor on the meta device' if v.is_meta else v.dtype}"
        )


def matvec(A: Products, v: Tensor, out: Tensor | None = None) -> Tensor:
    """A @ v, into ``out`` if A can do that; never v itself or anything that A keeps."""
    into = getattr(A, "matvec", None)
    if into is not None:
        return into(v, out)
    if isinstance(A, Tensor):
        return torch.mv(A, v, out=out)
    product = A @ v
    return product.clone() if out is None else out.copy_(product)
