"""The linearized model: what a user holds. It answers for every lambda, mu, subset and labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from ..arguments import flag
from ..objective.parameters import assign, flatten, unflatten
from ..step.globalization import DampingRule
from .data import Part
from .files import save_grams
from .fold_fit import FoldFit
from .gram import Cell, Grams, Rows, fingerprint_of
from .lift import lift
from .losses import OutputLoss
from .problems import Problems
from .run import take_steps
from .solution import Fit, LambdaCurve, Run


class LinearModel:
    """z(theta) = z_0 + J (theta - theta_0), made by :func:`~rlhf_lib.linearized.linearize`.

    Its objective is that of RLHFOptimizer: mean loss + lambda / 2 |theta - center|^2 over the
    penalized parameters, the center being theta_0 ("l2sp") or zero ("l2"). Biases and normalization
    weights are left out unless ``include_all``.

    In all methods:

        lambda_reg: lambda, or one for each named group: ``{"head": 0.1, "rest": 1.0}``.
        samples: indices of the training samples to train on; None takes all.
        labels: other labels for *all* training samples; None keeps those that they came with.
        regularizer: "l2sp" or "l2", or one for each named group, as Xuhong Li et al. (2018) have
            it for a new head: ``{"head": "l2", "rest": "l2sp"}``.
        include_all: see above; None is what `linearize` was told.

    Attributes:
        grams: the Gram matrices and the margins at theta_0. cells: what each is of.
        params, names: the trained parameters. theta0: their values, flat, (n,).
        training, held_out: the data as terms; held_out may be None.
        loss: the OutputLoss. m: margins of a term.
        cost: what the set-up took, in gradients of the mean loss over all samples.
    """

    def __init__(
        self,
        grams: Grams,
        cells: Sequence[Cell],
        rows: Rows,
        named: Sequence[tuple[str, Tensor]],
        include_all: bool,
    ):
        self.grams, self.cells, self.rows = grams, tuple(cells), rows
        self.names = [name for name, _ in named]
        self.params = [p for _, p in named]
        self.theta0 = flatten(p.detach() for p in self.params).clone()
        self.m = len(rows.contrast)
        rounding = torch.finfo(self.params[0].dtype).eps
        self._problems = Problems(grams, self.cells, rows, include_all, rounding)

    @cached_property
    def fingerprint(self) -> dict:
        """What the Gram matrices belong to: theta_0, the data without its labels, the cells."""
        pieces = unflatten(self.theta0, self.params)
        return fingerprint_of(self.rows, list(zip(self.names, pieces, strict=True)), self.cells)

    @property
    def loss(self) -> OutputLoss:
        return self.rows.loss

    @property
    def training(self) -> Part:
        return self.rows.parts[0]

    @property
    def held_out(self) -> Part | None:
        return self.rows.parts[1] if len(self.rows.parts) > 1 else None

    @property
    def cost(self) -> float:
        return self.grams.cost

    @property
    def groups(self) -> tuple[str, ...]:
        """The names that a lambda_reg by groups has."""
        return self._problems.groups

    def __repr__(self) -> str:
        held = 0 if self.held_out is None else len(self.held_out)
        return (
            f"LinearModel({len(self.theta0):,} parameters in {', '.join(self.groups)}; "
            f"{len(self.training)} training and {held} held-out samples, {self.m} margins a term)"
        )

    @torch.no_grad()
    def run(
        self,
        lambda_reg: float | Mapping[str, float] = 0.0,
        *,
        damping: float = 1.0,
        steps: int = 12,
        damping_rule: str | DampingRule = "fixed",
        line_search: bool = True,
        tol: float = 1e-8,
        **chosen,
    ) -> Run:
        """Damped Gauss-Newton steps from theta_0, as Records.

        Args:
            damping: mu > 0, or 0 where lambda holds the parameters. damping_rule: "fixed",
                "nielsen", "martens" or a DampingRule.
            line_search: False takes the full step wherever the objective decreases at all.
            tol: converged when the gradient's 2-norm in the parameters is at most this share of
                that of the mean loss at the start.
            chosen: samples, labels, regularizer, include_all, see the class.

        Returns:
            The Records of `train` with train_loss, train_accuracy, val_loss and val_accuracy after
            each step, and the point where it ended.
        """
        flag("line_search", line_search)
        problem, index = self._problems.make(lambda_reg, damping=damping, **chosen)
        trace = take_steps(
            problem,
            problem.origin(),
            damping=damping,
            steps=steps,
            tol=tol,
            damping_rule=damping_rule,
            line_search=line_search,
        )
        return Run(self, problem, index, trace.point, trace.reason, trace)

    @torch.no_grad()
    def minimum(
        self,
        lambda_reg: float | Mapping[str, float],
        *,
        start: Fit | None = None,
        max_steps: int = 100,
        tol: float = 1e-11,
        **chosen,
    ) -> Fit:
        """The minimum for a lambda, by Newton's method with a line search in sample space.

        Args:
            start: another minimum of the same samples to start from. tol: see :meth:`run`.
            chosen: see the class.

        Raises:
            ValueError: the parameters without a penalty fit any labels, so that lambda has no say
                and the loss may have no minimum: see include_all.
        """
        problem, index = self._problems.make(lambda_reg, damping=0.0, **chosen)
        point = problem.origin()
        if start is not None:
            self._check(start)
            point = start.carried_to(problem)
        trace = take_steps(problem, point, damping=0.0, steps=max_steps, tol=tol, slack=4.0)
        return Fit(self, problem, index, trace.point, trace.reason)

    def path(self, lambdas: Iterable[float | Mapping[str, float]], **options) -> LambdaCurve:
        """The minimum for each lambda, each started where the last ended, in the order given.

        From large to small is fastest. ``options`` are those of :meth:`minimum`.
        """
        if isinstance(lambdas, str | Mapping) or not isinstance(lambdas, Iterable):
            raise TypeError(f"lambdas: expected a list of numbers, got {lambdas!r}")
        fits, last = [], options.pop("start", None)
        for value in lambdas:
            last = self.minimum(value, start=last, **options)
            fits.append(last)
        return LambdaCurve(tuple(fits))

    @property
    def samples(self) -> int:
        """How many training samples there are."""
        return len(self.training)

    def fold_fit(self, **options) -> FoldFit:
        """The ``fit`` of :func:`~rlhf_lib.select_lambda`, whose ``by`` may be any.

        ``options`` are those of :meth:`minimum` but samples.

            select_lambda(linear.fold_fit(regularizer="l2"), linear.samples, lambdas, by="loo")
        """
        return FoldFit(self, options)

    @torch.no_grad()
    def judge(self, fit: Fit, samples: Sequence[int] | Tensor, labels=None) -> dict[str, float]:
        """Mean loss and accuracy of a fit on training samples, such as those left out of it.

        labels: as for :meth:`run`; None takes those that the data came with.
        """
        self._check(fit)
        if samples is None:
            samples = range(self.samples)
        terms, g = self._problems.terms(samples), self.grams
        assert terms is not None  # those of the samples
        there, used = self._problems.rows_of(terms), self._problems.rows_of(fit.index)
        y, n = g.start[there], len(used)
        for block, b in zip(fit.problem.blocks, fit.point.b, strict=True):
            cells = list(block.cells)
            y = y + g.matrices[cells].sum(0)[there][:, used] @ b[:n]
            if block.pulled:
                y = y + g.reach[cells].sum(0)[there] * (b[-1] - 1)
        targets = self.training.targets
        if labels is not None:
            targets = self.training.relabelled(labels, self.loss)
        y, targets = y.view(-1, self.m), targets[terms]
        correct = self.loss.correct(y, targets)
        found = {"loss": float(self.loss.value(y, targets).mean())}
        return found if correct is None else found | {"accuracy": float(correct.double().mean())}

    def held_blocks(self, fit: Fit) -> list[Tensor]:
        """J_c J_c' of each held-out term with itself for a fit's blocks, (R_h, m, m)."""
        return [self.grams.held[list(block.cells)].sum(0) for block in fit.problem.blocks]

    @torch.no_grad()
    def assign(self, fit: Fit) -> None:
        """Write theta_0 + J'a (a minimum's, or the end of a run) into the model's parameters.

        The model is put back to theta_0 first, where J belongs.
        """
        self._check(fit)
        self.back()
        assign(self.params, self.theta(fit))

    def theta(self, fit: Fit) -> Tensor:
        """The parameters of a minimum or of a run's end, flat, (n,); the model stays at theta_0.

        One pass over the training data for each lambda of the groups.

        Raises:
            ValueError: the model's parameters are no longer theta_0.
        """
        self._check(fit)
        now = flatten(p.detach() for p in self.params)
        if not torch.equal(now, self.theta0):
            raise ValueError(
                "expected the model at the point where it was linearized, but its parameters have "
                "changed since: put them back with back(), or linearize anew"
            )
        return self.theta0 + lift(self, fit)

    def _check(self, fit: object) -> None:
        if not isinstance(fit, Fit | Run):
            raise TypeError(
                f"expected a fit of this model, got {type(fit).__name__}: minimum() gives one"
            )

    @torch.no_grad()
    def back(self) -> None:
        """Put the model's parameters back to theta_0."""
        assign(self.params, self.theta0)

    def save(self, path: str | os.PathLike, dtype: torch.dtype = torch.float64) -> None:
        """Write the Gram matrices, for ``linearize(..., load=path)`` on the same model and data.

        Args:
            dtype: torch.float32 takes half the room and leaves seven digits.
        """
        save_grams(self.grams, path, self.fingerprint, dtype)
