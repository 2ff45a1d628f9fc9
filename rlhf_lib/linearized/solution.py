"""What the linearized model finds: a minimum, a run's records and end, the minima along lambda."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..record import Record
from .posterior import LeaveOneOut, Posterior
from .problem import Local, Point, Problem
from .run import CONVERGED, Trace

if TYPE_CHECKING:
    from .model import LinearModel


@dataclass(frozen=True)
class Predictions:
    """Of the terms of one part.

    Attributes:
        margins: (R, m). variance: covariance of the margins, (R, m, m).
        probabilities: of the classes, (R, C), at the margins; None for losses without classes.
        averaged: the same averaged over the margins' distribution, by MacKay's (1992) factor
            1 / sqrt(1 + pi v / 8) on each margin; None without.
    """

    margins: Tensor
    variance: Tensor
    probabilities: Tensor | None
    averaged: Tensor | None


class Fit:
    """A minimum of the linearized model's objective, or the point that was reached.

    Attributes:
        reason: "converged", or why not: "max_steps", "line_search_failed", "singular",
            "not_finite". problem, point: the objective and the coefficients.
        index: the training terms that it is of, (R,).
    """

    def __init__(
        self, model: LinearModel, problem: Problem, index: Tensor, point: Point, reason: str
    ):
        self.model, self.problem, self.index = model, problem, index
        self.point, self.reason = point, reason

    @property
    def converged(self) -> bool:
        return self.reason == CONVERGED

    @cached_property
    def lambda_reg(self) -> float:
        """The largest lambda: the one, if groups have none of their own."""
        return max(self.problem.lams)

    @cached_property
    def margins(self) -> Tensor:
        """Of the training terms and then the held-out ones, (R + R_h, m)."""
        return self.problem.margins([self.point])[0]

    @cached_property
    def _scores(self) -> dict[str, float]:
        return scored(self.model, self.problem, [self.point])[0]

    @property
    def train_loss(self) -> float:
        return self._scores["train_loss"]

    @property
    def train_accuracy(self) -> float | None:
        return self._scores.get("train_accuracy")

    @property
    def val_loss(self) -> float | None:
        """On the held-out data."""
        return self._scores.get("val_loss")

    @property
    def val_accuracy(self) -> float | None:
        return self._scores.get("val_accuracy")

    @property
    def penalty(self) -> float:
        """lambda / 2 |theta - center|^2."""
        return self.problem.penalty(self.point)

    @property
    def distance(self) -> float:
        """2-norm of theta - center."""
        return max(sum(self.point.norms), 0.0) ** 0.5

    @cached_property
    def posterior(self) -> Posterior:
        """Laplace's approximation here."""
        local = Local(self.problem, self.point)
        return Posterior(
            local, self.model.training.sample[self.index], self.model.held_blocks(self)
        )

    @property
    def dof(self) -> float:
        """Effective degrees of freedom."""
        return self.posterior.dof

    @property
    def log_evidence(self) -> float:
        """The Laplace evidence, see :attr:`Posterior.log_evidence`."""
        return self.posterior.log_evidence

    @property
    def loo(self) -> LeaveOneOut:
        """Leave-one-out in closed form, see :attr:`Posterior.loo`."""
        return self.posterior.loo

    @torch.no_grad()
    def predict(self, part: str = "held_out") -> Predictions:
        """Margins with their covariance, and probabilities, of "held_out" or "training" terms."""
        if part not in ("held_out", "training"):
            raise ValueError(f"expected part 'held_out' or 'training', got {part!r}")
        held, R = part == "held_out", len(self.index)
        y = self.margins[R:] if held else self.margins[:R]
        variance = self.posterior.variances(held)
        probabilities = getattr(self.model.loss, "probabilities", None)
        if probabilities is None:
            return Predictions(y, variance, None, None)
        spread = variance.diagonal(dim1=1, dim2=2)
        shrunk = y / (1 + torch.pi / 8 * spread).sqrt()
        return Predictions(y, variance, probabilities(y), probabilities(shrunk))

    def carried_to(self, problem: Problem) -> Point:
        """The same theta as a start for another lambda; theta_0 where it is not in its form."""
        origin, b = problem.origin(), self.point.b
        same = [x.shape for x in origin.b] == [x.shape for x in b]
        return problem.point(b) if same else origin

    def __repr__(self) -> str:
        return (
            f"Fit(lambda_reg={self.lambda_reg:g}, {self.reason}, train_loss={self.train_loss:.4g})"
        )


class Run(Fit):
    """The Records of a run, step 0 first, and the point where it ended, as a :class:`Fit`."""

    def __init__(self, model, problem, index, point, reason, trace: Trace):
        super().__init__(model, problem, index, point, reason)
        after = scored(model, problem, trace.points)
        self.records = [
            record.with_(**found) for record, found in zip(trace.records, after, strict=True)
        ]
        self.points = trace.points

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, i):
        return self.records[i]

    def at(self, step: int) -> Fit:
        """The point after this step."""
        return Fit(
            self.model, self.problem, self.index, self.points[step], self.records[step].reason
        )


@dataclass(frozen=True)
class LambdaCurve:
    """Minima along lambda, in the order in which they were asked for.

    Attributes:
        fits: one for each lambda.
    """

    fits: tuple[Fit, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.fits)

    def __iter__(self) -> Iterator[Fit]:
        return iter(self.fits)

    def __getitem__(self, i):
        return self.fits[i]

    def column(self, name: str) -> list:
        """An attribute of every fit: "val_loss", "dof", "log_evidence", "reason", ..."""
        return [getattr(fit, name) for fit in self.fits]

    @property
    def lambdas(self) -> list[float]:
        return self.column("lambda_reg")

    @property
    def loo(self) -> list[float]:
        """The leave-one-out losses."""
        return [fit.loo.loss for fit in self.fits]

    @property
    def evidence(self) -> list[float]:
        """The Laplace evidence, as its logarithm."""
        return self.column("log_evidence")

    def criterion(self, by: str) -> list[tuple[float, float]]:
        """(score, its standard error) of each lambda, the least the best.

        by: "loo", the leave-one-out loss; "evidence", minus the log evidence per term, which has
            no standard error; or "held_out", the held-out loss.
        """
        if by == "loo":
            return [(fit.loo.loss, fit.loo.standard_error) for fit in self.fits]
        if by == "evidence":
            return [(-fit.log_evidence / len(fit.index), 0.0) for fit in self.fits]
        if by == "held_out":
            losses = [fit.val_loss for fit in self.fits if fit.val_loss is not None]
            if len(losses) < len(self.fits):
                raise ValueError(
                    "expected held-out data for by='held_out', got none: linearize with held_out="
                )
            return [(loss, 0.0) for loss in losses]
        raise ValueError(f"expected by 'loo', 'evidence' or 'held_out', got {by!r}")

    def best(self, by: str) -> Fit:
        """The fit of the least score."""
        scores = [score for score, _ in self.criterion(by)]
        return self.fits[scores.index(min(scores))]


def scored(model: LinearModel, problem: Problem, points: Sequence[Point]) -> list[dict[str, float]]:
    """Losses and accuracies on both parts at each of several points."""
    y, loss, R = problem.margins(points), problem.loss, len(problem.targets)
    found: dict[str, list[float]] = {}
    parts = [("train", y[:, :R], problem.targets)]
    if model.held_out is not None:
        parts.append(("val", y[:, R:], model.held_out.targets))
    for name, margins, targets in parts:
        found[f"{name}_loss"] = loss.value(margins, targets).mean(-1).tolist()
        correct = loss.correct(margins, targets)
        if correct is not None:
            found[f"{name}_accuracy"] = correct.double().mean(-1).tolist()
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
