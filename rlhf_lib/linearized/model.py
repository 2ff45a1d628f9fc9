"""The linearized model: what a user holds. It answers for every lambda, mu, subset and labels."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from ..objective.parameters import assign, flatten, unflatten
from ..regularizers import check_lambda
from ..step.globalization import DampingRule
from .data import Part
from .files import save_grams
from .gram import Cell, Grams, Rows, fingerprint_of
from .lift import lift
from .losses import OutputLoss
from .problem import Block, Problem
from .run import take_steps
from .solution import Fit, LambdaCurve, Run

_CENTERS = {"l2sp": False, "l2": True}
_KEPT = 4  # choices of samples and equal lambdas whose matrices stay joined, for a slider's sake


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
        self.include_all = include_all
        self.m = len(rows.contrast)
        self._made: dict[tuple, tuple] = {}

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
        return tuple(dict.fromkeys(cell.group for cell in self.cells))

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
        problem, index = self._problem(lambda_reg, damping=damping, **chosen)
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
        problem, index = self._problem(lambda_reg, damping=0.0, **chosen)
        point = problem.origin()
        if start is not None:
            point = start.carried_to(problem)
        trace = take_steps(problem, point, damping=0.0, steps=max_steps, tol=tol, slack=4.0)
        return Fit(self, problem, index, trace.point, trace.reason)

    def path(self, lambdas: Iterable[float | Mapping[str, float]], **options) -> LambdaCurve:
        """The minimum for each lambda, each started where the last ended, in the order given.

        From large to small is fastest. ``options`` are those of :meth:`minimum`.
        """
        fits, last = [], options.pop("start", None)
        for value in lambdas:
            last = self.minimum(value, start=last, **options)
            fits.append(last)
        return LambdaCurve(tuple(fits))

    def fold_fit(self, **options) -> Callable:
        """The ``fit`` of :func:`~rlhf_lib.select_lambda`: minima without a fold, judged on it.

        Scores are loss, accuracy (if there is one) and train_loss. ``options`` are those of
        :meth:`minimum` but samples.

            select_lambda(linear.fold_fit(), len(linear.training), lambdas)
        """

        def fit(train, validation, lambdas, seed):
            last = None
            for value in lambdas:
                last = self.minimum(value, start=last, samples=train, **options)
                scores = self.judge(last, validation, options.get("labels"))
                yield {**scores, "train_loss": last.train_loss}

        return fit

    @torch.no_grad()
    def judge(self, fit: Fit, samples: Sequence[int] | Tensor, labels=None) -> dict[str, float]:
        """Mean loss and accuracy of a fit on training samples, such as those left out of it.

        labels: as for :meth:`run`; None takes those that the data came with.
        """
        terms, g = self._terms(samples), self.grams
        there, used = self._rows_of(terms), self._rows_of(fit.index)
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

    @torch.no_grad()
    def assign(self, fit: Fit) -> None:
        """Write theta_0 + J'a (a minimum's, or the end of a run) into the model's parameters.

        The model is put back to theta_0 first, where J belongs.
        """
        self.back()
        assign(self.params, self.theta(fit))

    def theta(self, fit: Fit) -> Tensor:
        """The parameters of a minimum or of a run's end, flat, (n,); the model stays at theta_0.

        One pass over the training data for each lambda of the groups.

        Raises:
            ValueError: the model's parameters are no longer theta_0.
        """
        now = flatten(p.detach() for p in self.params)
        if not torch.equal(now, self.theta0):
            raise ValueError(
                "expected the model at the point where it was linearized, but its parameters have "
                "changed since: put them back with model.back(), or linearize anew"
            )
        return self.theta0 + lift(self, fit)

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

    def _by_group(self, name: str, setting) -> dict:
        if not isinstance(setting, Mapping):
            return dict.fromkeys(self.groups, setting)
        if set(setting) != set(self.groups):
            raise ValueError(
                f"expected a {name} for each of {', '.join(self.groups)}, got {', '.join(setting)}"
            )
        return dict(setting)

    def _problem(
        self,
        lambda_reg,
        *,
        damping: float,
        samples: Sequence[int] | Tensor | None = None,
        labels: Tensor | None = None,
        regularizer: str | Mapping[str, str] = "l2sp",
        include_all: bool | None = None,
    ) -> tuple[Problem, Tensor]:
        """The objective, and the training terms that it is of."""
        kinds = self._by_group("regularizer", regularizer)
        lambdas = self._by_group("lambda_reg", lambda_reg)
        for kind in kinds.values():
            if kind not in _CENTERS:
                raise ValueError(
                    "expected regularizer 'l2sp' or 'l2', whose minimum lies in the span of the "
                    f"rows, got {kind!r}: train the model itself with another"
                )
        for value in lambdas.values():
            check_lambda(value)
        if not 0 <= damping < math.inf:
            raise ValueError(f"expected a finite damping >= 0, got {damping}")
        everything = self.include_all if include_all is None else include_all
        held = []  # lambda of each cell, and whether it pulls to zero
        for cell in self.cells:
            value = lambdas[cell.group] if cell.penalized or everything else 0.0
            held.append((value, _CENTERS[kinds[cell.group]] and value > 0))
        terms = self._terms(samples)
        base, blocks = self._blocks(held, terms)
        targets = self.training.targets
        if labels is not None:
            targets = self.training.relabelled(labels, self.loss)
        targets = targets if terms is None else targets[terms]
        rounding = torch.finfo(self.params[0].dtype).eps
        problem = Problem(base, blocks, targets, self.loss, self.m, rounding)
        if damping == 0 and not all(value for value, _ in held):
            _check_determined(problem)
        index = torch.arange(len(self.training.targets)) if terms is None else terms
        return problem, index

    def _terms(self, samples) -> Tensor | None:
        if samples is None:
            return None
        samples = torch.as_tensor(samples)
        if samples.dtype == torch.bool:
            samples = samples.nonzero().flatten()
        n = len(self.training)
        if not len(samples) or bool(((samples < 0) | (samples >= n)).any()):
            raise ValueError(f"expected samples as indices from 0 to {n - 1}, got {samples}")
        if len(samples.unique()) < len(samples):
            raise ValueError("expected different samples, got one twice")
        return torch.isin(self.training.sample, samples).nonzero().flatten()

    def _rows_of(self, terms: Tensor) -> Tensor:
        return (terms[:, None] * self.m + torch.arange(self.m)).flatten()

    def _blocks(self, held: list[tuple[float, bool]], terms) -> tuple[Tensor, list[Block]]:
        """The cells joined by their lambda, for the chosen terms; kept for the next call."""
        kinds = list(dict.fromkeys(held))
        cells = tuple(tuple(c for c, other in enumerate(held) if other == kind) for kind in kinds)
        pulled = tuple(pull for _, pull in kinds)
        key = (cells, pulled, None if terms is None else tuple(terms.tolist()))
        if key not in self._made:
            while len(self._made) >= _KEPT:
                del self._made[next(iter(self._made))]
            self._made[key] = self._joined(cells, pulled, terms)
        base, matrices = self._made[key]
        blocks = []
        for (lam, pull), members, (K, train) in zip(kinds, cells, matrices, strict=True):
            size = sum(self.cells[c].size for c in members)
            blocks.append(Block(K, lam, pull, size, members, train))
        return base, blocks

    def _joined(self, cells, pulled, terms) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """The margins at the centers, and each block's K and its part of the training terms."""
        g, n = self.grams, self.grams.matrices.shape[1]
        rows = torch.arange(n) if terms is None else self._rows_of(terms)
        k, every = len(rows), torch.cat([rows, torch.arange(n, len(g.start))])
        base, joined = g.start[every], []
        for members, pull in zip(map(list, cells), pulled, strict=True):
            K = g.matrices[members].sum(0)[rows][:, every].T
            if any(pulled):
                reach = g.reach[members].sum(0)[every] * pull
                base = base - reach
                corner = g.norms[members].sum()[None] * pull
                row = torch.cat([reach[:k], corner])
                K = torch.cat([K, reach[:, None]], 1)
                K = torch.cat([K[:k], row[None], K[k:]])
            K = K.contiguous()
            joined.append((K, K[: k + any(pulled), :k]))
        return base, joined

    def held_blocks(self, problem: Problem) -> list[Tensor]:
        """J_c J_c' of each held-out term with itself for the problem's blocks, (R_h, m, m)."""
        return [self.grams.held[list(block.cells)].sum(0) for block in problem.blocks]


def _check_determined(problem: Problem) -> None:
    if problem.loss.quadratic:
        return
    V, _ = problem.free
    if V.shape[1] >= problem.n:
        raise ValueError(
            f"the parameters without a penalty fit any labels of the {problem.n} training margins, "
            "so that lambda_reg has no say and the loss may have no minimum: include_all=True "
            "penalizes biases and normalization weights, too; or give every group a lambda_reg > 0"
        )
