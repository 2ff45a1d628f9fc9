"""Group lasso: whole groups of weights, such as a neuron's, become exactly zero together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from ..arguments import numbers, vector
from .base import Regularizer, pairs, steps


@dataclass(frozen=True, eq=False, kw_only=True)
class GroupLasso(Regularizer):
    """R(d) = sum_g w_g |d_g|, the sum of the groups' 2-norms (Yuan and Lin, 2006, eq. 2.1).

    Args:
        params: as for every regularizer. A group is then a row of a weight matrix (a slice along
            its first dimension): what comes into one neuron, or one token's embedding.
        groups: for a flat vector, or for other groups: a tensor of shape (n,) with the group
            0, 1, ... of each entry and -1 for an entry that is not penalized, or a sequence of
            index tensors, one for each group. They decide alone what is left out.
        group_weights: w_g, shape (number of groups,) in the order of the groups; default the square
            root of the group's size, so that groups of different sizes are treated alike.
        weight, include_all, center: as for every regularizer; a vector ``weight`` has to be
            constant within each group.
    """

    groups: Tensor | list[Tensor] | tuple[Tensor, ...] | None = field(default=None, repr=False)
    group_weights: Tensor | None = field(default=None, repr=False)
    _bound_ids: Tensor | None = field(default=None, init=False, repr=False)

    smooth = False
    separable = False

    def __post_init__(self):
        groups, weights = self.groups, self.group_weights
        if not isinstance(groups, Tensor | list | tuple | None):
            raise TypeError(
                "expected groups as a tensor with the group of each entry, or a list of tensors of "
                f"indices, got {type(groups).__name__}"
            )
        if weights is not None:
            numbers("group_weights", weights, 0.0)
        super().__post_init__()

    def on(self, params, lambdas=None, center=None) -> Self:
        named = pairs(params)
        if self.groups is None and all(p.ndim < 2 for _, p in named):
            raise ValueError(
                "expected weight matrices, whose rows are GroupLasso's groups, got vectors only: "
                "pass groups=, a tensor with the group of each entry"
            )
        bound = super().on(named, lambdas, center)
        if self.groups is None:
            rows = _rows([p for _, p in named], self._flags(named))
            bound = bound._with(_bound_ids=rows)
        assert bound.weights is not None  # it is bound
        bound._norms_and_weights(bound.weights)  # finds unequal weights in a group at once
        return bound

    def _flags(self, named) -> list[bool]:
        return [True] * len(named) if self.groups is not None else super()._flags(named)

    def _ids(self, like: Tensor) -> Tensor:
        """The group of each entry, shape (n,); -1 for those in no group."""
        if self.groups is None:
            ids = self._bound_ids
            if ids is None:
                raise ValueError(
                    "expected groups, got a GroupLasso that has no groups: pass groups=, a tensor "
                    "with the group of each entry, or construct it with model.named_parameters()"
                )
        elif isinstance(self.groups, Tensor):
            ids = self.groups
        else:
            ids = _from_lists(self.groups, like.numel())
        wrong = ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool
        if ids.shape != like.shape or wrong or ids.is_meta:
            raise ValueError(
                f"expected groups as integers of shape {tuple(like.shape)}, got {ids.dtype} of "
                f"shape {tuple(ids.shape)}"
            )
        return ids.to(like.device)

    def _norms_and_weights(self, d: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Each entry's group (as 1, 2, ...; 0 for none), |d_g| and w_g, both by group."""
        ids = self._ids(d) + 1
        count = int(ids.max()) + 1
        norms = _group_norms(d, ids, count)
        w = self._w(d)
        if w.ndim:
            w = _constant_in_groups(w, ids, count, "the weight")
        if self.group_weights is None:
            own = torch.bincount(ids, minlength=count).to(d.dtype).sqrt()
        else:
            given = torch.as_tensor(self.group_weights, dtype=d.dtype, device=d.device)
            if given.shape != (count - 1,):
                raise ValueError(
                    f"expected {count - 1} group_weights, got shape {tuple(given.shape)}"
                )
            own = torch.cat([given.new_zeros(1), given])
        w = w * own
        w[0] = 0.0
        return ids, norms, w

    def value(self, theta: Tensor | None = None) -> Tensor:
        d = self._offset(theta)
        _, norms, w = self._norms_and_weights(d)
        return (w * norms).sum()

    def gradient(self, theta: Tensor | None = None) -> Tensor:
        d = self._offset(theta)
        ids, norms, w = self._norms_and_weights(d)
        return w[ids] * _quotient(d, norms[ids])

    def subgradient(self, task_gradient: Tensor, theta: Tensor | None = None) -> Tensor:
        """Minimum-norm subgradient of task + R, shape (n,).

        In a group at zero it is the task gradient shortened by w_g, or zero if it is no longer
        than that (Yuan and Lin, 2006, eq. 2.2 and 2.3).
        """
        d = self._offset(theta)
        vector("task_gradient", task_gradient, d.numel())
        ids, norms, w = self._norms_and_weights(d)
        task_norms = _group_norms(task_gradient, ids, len(w))
        shortened = (1 - _quotient(w, task_norms)).clamp(min=0)
        zero = (norms == 0) & (w > 0)
        return torch.where(
            zero[ids],
            shortened[ids] * task_gradient,
            task_gradient + w[ids] * _quotient(d, norms[ids]),
        )

    def curvature(self, theta: Tensor | None = None) -> Tensor:
        """Refused: the Hessian is not diagonal; ``curvature_product`` has the whole of it."""
        raise ValueError(
            "expected a penalty with a diagonal Hessian, got GroupLasso, where it is not diagonal: "
            "use curvature_product(v, theta), or the proximal method, which needs no curvature of "
            "the penalty"
        )

    def curvature_product(self, v: Tensor, theta: Tensor | None = None) -> Tensor:
        """w_g (v_g / |d_g| - d_g (d_g'v_g) / |d_g|^3) of v of shape (n,) or (n, k)."""
        d = self._offset(theta)
        ids, norms, w = self._norms_and_weights(d)
        unit = _quotient(d, norms[ids])
        columns = v[:, None] if v.ndim == 1 else v
        along = columns.new_zeros(len(norms), columns.shape[1])
        along.index_add_(0, ids, unit[:, None] * columns)
        bend = _quotient(w, norms).clamp(max=torch.finfo(d.dtype).max)
        product = bend[ids, None] * (columns - unit[:, None] * along[ids])
        return product[:, 0] if v.ndim == 1 else product

    def prox(self, x: Tensor, step: float | Tensor = 1.0) -> Tensor:
        """Block soft threshold: each group shortened by step * w_g; ``step`` constant in groups."""
        d = self._offset(x)
        ids, norms, w = self._norms_and_weights(d)
        step = steps(step, d)
        if isinstance(step, Tensor) and step.ndim:
            step = _constant_in_groups(step, ids, len(w), "the step")
        z = (1 - _quotient(step * w, norms)).clamp(min=0)[ids] * d
        return z if self.center is None else z + self.center

    def at_kink(self, theta: Tensor) -> Tensor:
        ids, norms, w = self._norms_and_weights(self._offset(theta))
        return ((norms == 0) & (w > 0))[ids]

    def crossed(self, start: Tensor, end: Tensor) -> Tensor:
        """Mask of the groups that point backwards at the end, which is to pass by zero."""
        a, b = self._offset(start), self._offset(end)
        ids, norms, w = self._norms_and_weights(a)
        along = torch.zeros_like(w).index_add_(0, ids, _quotient(a, norms[ids]) * b)
        return ((along < 0) & (w > 0))[ids]

    def orthant(self, theta: Tensor, descent: Tensor) -> tuple[Tensor, Tensor]:
        """Refused: a group's kink is a point, not a plane, so there are no orthants."""
        raise ValueError(
            "expected a separable penalty (L1, elastic net) for the orthant-wise method, got "
            "GroupLasso: use the proximal method, method='proximal'"
        )

    def project(self, theta: Tensor, signs: Tensor) -> Tensor:
        """Refused like ``orthant``, unless ``signs`` restrict nothing."""
        if bool(signs.any()):
            self.orthant(theta, signs)
        return theta


def _quotient(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and 0 where b = 0."""
    return torch.where(b > 0, a / torch.where(b > 0, b, 1.0), 0.0)


def _group_norms(d: Tensor, ids: Tensor, count: int) -> Tensor:
    # In units of a power of two near the group's largest entry, so that no square is lost.
    largest = d.new_zeros(count).scatter_reduce_(0, ids, d.abs(), "amax")
    unit = torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent - 1)
    part = d / unit[ids]
    return unit * d.new_zeros(count).index_add_(0, ids, part * part).sqrt()


def _constant_in_groups(value: Tensor, ids: Tensor, count: int, what: str) -> Tensor:
    """A vector by entry as one by group."""
    by_group = value.new_zeros(count).scatter_(0, ids, value)
    other = (by_group[ids] != value) & (ids > 0)
    if bool(other.any()):
        entry = int(other.nonzero()[0])
        raise ValueError(
            f"expected {what} to be constant within each group of GroupLasso, got "
            f"{float(value[entry]):g} and {float(by_group[ids[entry]]):g} in group "
            f"{int(ids[entry]) - 1}"
        )
    return by_group


def _rows(tensors: list[Tensor], flags: list[bool]) -> Tensor:
    """A group for each slice along the first dimension; -1 for parameters that are left out."""
    pieces, next_id = [], 0
    for p, flag in zip(tensors, flags, strict=True):
        rows = p.shape[0] if p.ndim else 1
        ids = torch.arange(next_id, next_id + rows, device=p.device)
        if not flag:
            pieces.append(torch.full((p.numel(),), -1, device=p.device))
            continue
        pieces.append(ids.repeat_interleave(p.numel() // max(rows, 1)))
        next_id += rows
    return torch.cat(pieces)


def _indices(g: int, given: Any, n: int) -> Tensor:
    try:
        index = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        index = torch.empty(0)
    if index.ndim != 1 or index.dtype != torch.int64:
        raise TypeError(f"expected whole numbers, the indices of group {g}, got {given!r}")
    if len(index) and not 0 <= int(index.min()) <= int(index.max()) < n:
        raise ValueError(f"expected indices of group {g} from 0 to {n - 1}, got {given!r}")
    return index


def _from_lists(groups: Sequence[Tensor], n: int) -> Tensor:
    ids = torch.full((n,), -1)
    for g, index in enumerate(groups):
        index = _indices(g, index, n)
        if bool((ids[index] >= 0).any()) or len(index.unique()) < len(index):
            raise ValueError(
                f"expected disjoint groups, got some that overlap: an entry of group {g} appears "
                "twice"
            )
        ids[index] = g
    return ids
