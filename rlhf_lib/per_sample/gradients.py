"""Per-sample gradients of one parameter, in the forms in which they cost least.

Each class holds the gradients of n samples with respect to one parameter: n rows of a Jacobian, the
first of them row number ``row``. It can write out a part of them, multiply with them, and add up a
combination of them, without having them all at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Outer:
    """Sample i's gradient is the matrix sum_t left[i, t] right[i, t]' (Goodfellow, 2015)."""

    row: int
    left: Tensor = field(repr=False)  # (n, T, rows of the parameter)
    right: Tensor = field(repr=False)  # (n, T, columns)

    @property
    def n(self) -> int:
        return len(self.left)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.left, self.right

    def write(self, lo: int, hi: int, out: Tensor) -> None:
        """Add entries lo to hi of the parameter's first dimension to out, (n, hi - lo, columns)."""
        out.baddbmm_(self.left[:, :, lo:hi].transpose(1, 2), self.right)

    def project(self, v: Tensor) -> Tensor:
        """Inner product of every sample's gradient with v of the parameter's shape; (n,)."""
        along = self.left @ v.reshape(self.left.shape[2], -1)
        return (along * self.right).sum((1, 2))

    def lift(self, alpha: Tensor, into: Tensor) -> None:
        """Add the gradients, weighted by alpha of shape (n,), to ``into``."""
        left = (self.left * alpha[:, None, None]).flatten(0, 1)
        into.view(left.shape[1], -1).addmm_(left.T, self.right.flatten(0, 1))


@dataclass
class Plain:
    """The gradients themselves, as a matrix of shape (n, entries of the parameter)."""

    row: int
    matrix: Tensor = field(repr=False)

    @property
    def n(self) -> int:
        return len(self.matrix)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.matrix,)

    def write(self, lo: int, hi: int, out: Tensor) -> None:
        out += self.matrix.view(self.n, -1, out.shape[2])[:, lo:hi]

    def project(self, v: Tensor) -> Tensor:
        return self.matrix @ v.reshape(-1)

    def lift(self, alpha: Tensor, into: Tensor) -> None:
        into.view(-1).add_(alpha @ self.matrix)


@dataclass
class Lookup:
    """Rows of a table: sample i's gradient has g[i, t] in row ids[i, t], nothing where it is -1."""

    row: int
    ids: Tensor = field(repr=False)  # (n, T)
    g: Tensor = field(repr=False)  # (n, T, columns)

    @property
    def n(self) -> int:
        return len(self.ids)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.ids, self.g

    def write(self, lo: int, hi: int, out: Tensor) -> None:
        inside = (self.ids >= lo) & (self.ids < hi)
        sample = torch.arange(self.n, device=self.ids.device)[:, None].expand_as(self.ids)
        place = (sample * (hi - lo) + self.ids - lo)[inside]
        out.view(-1, out.shape[2]).index_add_(0, place, self.g[inside])

    def project(self, v: Tensor) -> Tensor:
        found = v[self.ids.clamp(min=0)] * (self.ids >= 0)[:, :, None]
        return (found * self.g).sum((1, 2))

    def lift(self, alpha: Tensor, into: Tensor) -> None:
        inside = self.ids >= 0
        into.index_add_(0, self.ids[inside], (self.g * alpha[:, None, None])[inside])

    def renumbered(self, used: Tensor) -> Lookup:
        """The same in the table of the sorted ids ``used`` alone."""
        ids = torch.searchsorted(used, self.ids.clamp(min=0)).masked_fill(self.ids < 0, -1)
        return Lookup(self.row, ids, self.g)


PerSample = Outer | Plain | Lookup
