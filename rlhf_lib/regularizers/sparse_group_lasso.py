"""Sparse group lasso: whole groups become zero, and single entries of the groups that stay."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..arguments import real, vector
from ..scaling import weighted_sum
from .base import steps
from .group_lasso import GroupLasso


@dataclass(frozen=True, eq=False, kw_only=True)
class SparseGroupLasso(GroupLasso):
    """R(d) = (1 - a) sum_g w_g |d_g| + a sum_i |d_i| (Simon et al., 2013, eq. 3).

    Args:
        l1_ratio: a, 0 for the group lasso, 1 for L1 on the entries that are in a group.
        params, groups, group_weights, weight, include_all, center: as for
            :class:`~rlhf_lib.regularizers.GroupLasso`.
    """

    l1_ratio: float = 0.5

    def __post_init__(self):
        if not 0 <= real("l1_ratio", self.l1_ratio) <= 1:
            raise ValueError(f"expected 0 <= l1_ratio <= 1, got {self.l1_ratio}")
        super().__post_init__()

    def _norms_and_weights(self, d: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ids, norms, w = super()._norms_and_weights(d)
        return ids, norms, (1 - self.l1_ratio) * w

    def _single(self, d: Tensor) -> Tensor:
        """Weight of each entry's |d_i|, shape (n,)."""
        return self.l1_ratio * self._w(d) * (self._ids(d) >= 0)

    def value(self, theta: Tensor | None = None) -> Tensor:
        d = self._offset(theta)
        return super().value(theta) + weighted_sum(self._single(d), d.abs())

    def gradient(self, theta: Tensor | None = None) -> Tensor:
        d = self._offset(theta)
        return super().gradient(theta) + self._single(d) * d.sign()

    def subgradient(self, task_gradient: Tensor, theta: Tensor | None = None) -> Tensor:
        """Minimum-norm subgradient of task + R, shape (n,): that of the group lasso, for a task
        gradient to which each entry's share has been added."""
        d = self._offset(theta)
        vector("task_gradient", task_gradient, d.numel())
        each = self._single(d)
        total, jump = task_gradient + each * d.sign(), each * (d == 0)
        return super().subgradient(total - total.clamp(-jump, jump), theta)

    def prox(self, x: Tensor, step: float | Tensor = 1.0) -> Tensor:
        """The group lasso's prox of the soft threshold (Simon et al., 2013, section 3.2)."""
        d = self._offset(x)
        soft = d.sign() * (d.abs() - steps(step, d) * self._single(d)).clamp(min=0)
        return super().prox(soft if self.center is None else soft + self.center, step)

    def at_kink(self, theta: Tensor) -> Tensor:
        d = self._offset(theta)
        return super().at_kink(theta) | ((d == 0) & (self._single(d) > 0))

    def crossed(self, start: Tensor, end: Tensor) -> Tensor:
        a, b = self._offset(start), self._offset(end)
        return super().crossed(start, end) | ((a.sign() * b < 0) & (self._single(a) > 0))
