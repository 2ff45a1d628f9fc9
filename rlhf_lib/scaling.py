"""Vectors whose squares leave the range of their type: norms, and exact units of powers of two."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def norm(v: Tensor) -> float:
    """The 2-norm of v, of any shape, also where the squares of its entries under- or overflow."""
    plain = float(v.norm())
    k = _exponent(v, plain)
    return ldexp(float(shifted(v, -k).norm()), k) if k else plain


def dot(a: Tensor, b: Tensor) -> float:
    """a'b, also where products of their entries under- or overflow."""
    plain, ends = float(a @ b), torch.finfo(a.dtype)
    if ends.tiny / ends.eps <= abs(plain) <= ends.max:
        return plain
    i, j = exponent(a), exponent(b)
    return ldexp(float(shifted(a, -i) @ shifted(b, -j)), i + j) if i or j else plain


BLOCK, MANY = 256, 2**16


def weighted_sum(w: Tensor, values: Tensor) -> Tensor:
    """w'values, a scalar of their type. Many terms are summed in blocks, these in float64.

    One float32 sum of 20 million terms of one sign is off by a ten-thousandth, which is more than
    a step may change it by.
    """
    whole = len(w) // BLOCK * BLOCK
    if len(w) < MANY or w.dtype == torch.float64:
        return w @ values
    parts = torch.bmm(w[:whole].reshape(-1, 1, BLOCK), values[:whole].reshape(-1, BLOCK, 1))
    rest = (w[whole:] @ values[whole:]).double()
    return (parts.sum(dtype=torch.float64) + rest).to(w.dtype)


def exponent(v: Tensor) -> int:
    """k for which 2^-k v has a largest entry between 1/2 and 1.

    0 for what need not be changed: a v that is zero or not finite, or so far from the ends of its
    type's range that squares of it, sums and quotients of these stay inside. What is computed in
    units of 2^k is then the same, bit by bit, as without.
    """
    return _exponent(v, float(v.norm()))


def _exponent(v: Tensor, size: float) -> int:
    safe = torch.finfo(v.dtype).max ** 0.25
    if 1 / safe <= size <= safe or not v.numel():
        return 0
    largest = float(torch.linalg.vector_norm(v, math.inf))
    return math.frexp(largest)[1] if math.isfinite(largest) else 0


def shifted(v: Tensor, k: int, *, out: Tensor | None = None) -> Tensor:
    """2^k v, rounded once where it leaves the type's range; v itself for k = 0, unless ``out``."""
    if k == 0:
        return v if out is None else out.copy_(v)
    half = k // 2  # 2^k itself need not be a number of this type
    return torch.mul(torch.mul(v, 2.0**half, out=out), 2.0 ** (k - half), out=out)


def ldexp(x: float, k: int) -> float:
    """2^k x, infinite where that is too large."""
    try:
        return math.ldexp(x, k)
    except OverflowError:
        return math.copysign(math.inf, x)
