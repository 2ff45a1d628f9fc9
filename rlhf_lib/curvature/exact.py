"""The exact Hessian, for toys: a matrix of n^2 numbers, and a matrix as an operator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..arguments import byte_count, function, symmetric, vector, whole
from ..objective.second_derivative import refuse_weight_norm
from ..objective.task_loss import gradients
from .damped import check_columns


def exact_hessian(
    f: Callable[[Tensor], Tensor], theta: Tensor, *, max_bytes: int = 2**31, chunk: int = 256
) -> Tensor:
    """The matrix of second derivatives of f at theta, by double backward.

    Args:
        f: maps a vector of shape (n,) to a scalar.
        theta: the point, shape (n,).
        max_bytes: refuse to build a matrix larger than this (default 2 GiB).
        chunk: rows computed at a time; more is faster and takes chunk times the graph's memory.

    Returns:
        H of shape (n, n), H[i, j] = d2 f / d theta_i d theta_j; symmetric up to rounding.

    Raises:
        ValueError: theta is not a vector, or f(theta) is not a scalar.
        MemoryError: n * n numbers do not fit in max_bytes.
        RuntimeError: an operation in f has no second derivative, or weight_norm, which has a wrong
            one in PyTorch; the message has the way out.

    >>> exact_hessian(lambda t: (t**3).sum(), torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    vector("theta", theta)
    if not theta.numel():
        raise ValueError("expected theta of shape (n,), n > 0, got none")
    function("f", f)
    max_bytes, chunk = byte_count("max_bytes", max_bytes), whole("chunk", chunk, 1)
    n = theta.numel()
    needed = n * n * theta.element_size()
    if needed > max_bytes:
        raise MemoryError(
            f"the Hessian of {n:,} parameters takes {needed / 2**30:,.1f} GiB, more than "
            f"max_bytes = {max_bytes / 2**30:,.1f} GiB: use HessianOperator, which needs "
            "a few vectors, or raise max_bytes"
        )
    with torch.enable_grad():
        point = theta.detach().clone().requires_grad_(True)
        value = f(point)
        if not isinstance(value, Tensor):
            raise TypeError(f"expected f(theta) to be a tensor, got {type(value).__name__}")
        if value.numel() != 1:
            raise ValueError(f"expected f(theta) to be a scalar, got {tuple(value.shape)}")
        refuse_weight_norm([value])
        (gradient,) = gradients(value.reshape(()), [point], create_graph=True)
        if not gradient.requires_grad:  # f is linear
            return theta.new_zeros(n, n)
        rows = [
            _rows(gradient, point, block)
            for block in torch.eye(n, dtype=theta.dtype, device=theta.device).split(min(chunk, n))
        ]
    return torch.cat(rows).detach()


def _rows(gradient: Tensor, point: Tensor, block: Tensor) -> Tensor:
    """The products of a block of unit vectors with the Hessian, (rows, n)."""
    try:
        return torch.autograd.grad(
            gradient,
            point,
            block,
            retain_graph=True,
            is_grads_batched=True,
            allow_unused=True,
            materialize_grads=True,
        )[0]
    except RuntimeError:  # an operation whose second derivative cannot be batched, or has none
        return torch.stack([gradients(gradient, [point], v, retain_graph=True)[0] for v in block])


class MatrixOperator:
    """A symmetric matrix that is there, asked like a CurvatureOperator: ``op @ v``, ``op.dense()``.

    Args:
        matrix: shape (n, n).

    Attributes:
        products: matrix-vector products so far.
        product_cost: of one product, in gradients: none that passes through a model.

    >>> MatrixOperator(torch.eye(2)) @ torch.tensor([1.0, 2.0])
    tensor([1., 2.])
    """

    product_cost = 0.0

    def __init__(self, matrix: Tensor):
        if not isinstance(matrix, Tensor):
            raise TypeError(f"expected matrix as a tensor, got {type(matrix).__name__}")
        self._matrix, self.products = symmetric("matrix", matrix), 0
        self.shape, self.dtype, self.device = matrix.shape, matrix.dtype, matrix.device

    def __matmul__(self, v: Tensor) -> Tensor:
        check_columns(v, self.shape[0], self.dtype)
        self.products += 1 if v.ndim == 1 else v.shape[1]
        return self._matrix @ v

    def matvec(self, v: Tensor, out: Tensor | None = None) -> Tensor:
        """The product with one vector; into ``out`` of shape (n,) if it is given."""
        self.products += 1
        return torch.mv(self._matrix, v, out=out)

    def dense(self) -> Tensor:
        """The matrix itself, at no product."""
        return self._matrix
