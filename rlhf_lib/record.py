"""What one optimization step reports: made once, then only read by panels, tables and tests."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Record:
    """One step of an optimizer.

    Attributes:
        step: 0 is the state before the first step.
        loss: task loss, mean over the samples of the gradient batch, before the step.
        penalty: lambda * R(theta), before the step; ``objective`` is the sum of the two.
        grad_norm: 2-norm of the (minimum-norm sub)gradient of the objective.
        step_norm: 2-norm of the parameter change; exactly 0 when the step was rejected.
        step_length: factor on the solver's direction that the line search settled on.
        damping: mu that the linear system was solved with.
        rho: true reduction over predicted reduction, both of the full step.
        products: curvature products spent in this step.
        reason: why the linear solver stopped, or why the run ended.
        accepted: False when the parameters were put back as they were.
        cost: cumulative cost in gradients of one sample (forward + backward). A forward pass
            counts 1/3, a Hessian product 2, a Gauss-Newton product 4/3: the counts of matrix
            products with the forward pass kept.
        seconds: wall time since the run began, evaluation excluded.
        train_loss, train_accuracy, val_loss, val_accuracy: after the step, on whole sets, where
            an evaluation was asked for.
        theta: parameters after the step, toys only; shape (n,).
        extra: anything a particular method wants to report.
    """

    step: int
    loss: float
    penalty: float = 0.0
    grad_norm: float | None = None
    step_norm: float | None = None
    step_length: float | None = None
    damping: float | None = None
    rho: float | None = None
    products: int = 0
    reason: str = ""
    accepted: bool = True
    cost: float = 0.0
    seconds: float = 0.0
    train_loss: float | None = None
    train_accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    theta: Tensor | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def objective(self) -> float:
        """Task loss plus penalty, what the optimizer minimizes."""
        return self.loss + self.penalty

    def with_(self, **changes: Any) -> Record:
        """A copy with some fields replaced."""
        return replace(self, **changes)
