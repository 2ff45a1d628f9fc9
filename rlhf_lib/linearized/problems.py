"""The objective for what a call chooses: lambdas, center, samples and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..arguments import flag, real
from ..regularizers import check_lambda
from .gram import Cell, Grams, Rows
from .problem import Block, Problem

_CENTERS = {"l2sp": False, "l2": True}
_KEPT = 4  # choices of samples and equal lambdas whose matrices stay joined, for a slider's sake


class Problems:
    """Makes the objective for the choices of a call; see :class:`~.model.LinearModel`.

    rounding: relative error of the Gram matrices.
    """

    def __init__(
        self, grams: Grams, cells: Sequence[Cell], rows: Rows, include_all: bool, rounding: float
    ):
        self.grams, self.cells, self.training = grams, cells, rows.parts[0]
        self.loss, self.m = rows.loss, len(rows.contrast)
        self.include_all, self.rounding = include_all, rounding
        self.groups = tuple(dict.fromkeys(cell.group for cell in cells))
        self._made: dict[tuple, tuple] = {}

    def _by_group(self, name: str, setting) -> dict:
        if not isinstance(setting, Mapping):
            return dict.fromkeys(self.groups, setting)
        if set(setting) != set(self.groups):
            raise ValueError(
                f"expected a {name} for each of {', '.join(self.groups)}, got {', '.join(setting)}"
            )
        return dict(setting)

    def make(
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
            if not isinstance(kind, str) or kind not in _CENTERS:
                raise ValueError(
                    "expected regularizer 'l2sp' or 'l2', whose minimum lies in the span of the "
                    f"rows, got {kind!r}: train the model itself with another"
                )
        for value in lambdas.values():
            check_lambda(value)
        real("damping", damping, 0.0)
        everything = self.include_all if include_all is None else flag("include_all", include_all)
        held = []  # lambda of each cell, and whether it pulls to zero
        for cell in self.cells:
            value = lambdas[cell.group] if cell.penalized or everything else 0.0
            held.append((value, _CENTERS[kinds[cell.group]] and value > 0))
        terms = self.terms(samples)
        base, blocks = self._blocks(held, terms)
        targets = self.training.targets
        if labels is not None:
            targets = self.training.relabelled(labels, self.loss)
        targets = targets if terms is None else targets[terms]
        problem = Problem(base, blocks, targets, self.loss, self.m, self.rounding)
        if damping == 0 and not all(value for value, _ in held):
            _check_determined(problem)
        index = torch.arange(len(self.training.targets)) if terms is None else terms
        return problem, index

    def terms(self, samples: Sequence[int] | Tensor | None) -> Tensor | None:
        """The training terms of these samples, in order; None for all."""
        if samples is None:
            return None
        try:
            samples = torch.as_tensor(samples)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"samples: expected indices, got {samples!r}") from error
        if samples.ndim != 1 or samples.is_complex() or samples.is_floating_point():
            raise TypeError(
                "samples: expected a list of indices, or a mask, got "
                f"{samples.dtype} of shape {tuple(samples.shape)}"
            )
        if samples.dtype == torch.bool and len(samples) != len(self.training):
            raise ValueError(
                f"samples: expected a mask of all {len(self.training)} samples, got one of "
                f"{len(samples)}"
            )
        if samples.dtype == torch.bool:
            samples = samples.nonzero().flatten()
        n = len(self.training)
        if not len(samples) or bool(((samples < 0) | (samples >= n)).any()):
            raise ValueError(f"expected samples as indices from 0 to {n - 1}, got {samples}")
        if len(samples.unique()) < len(samples):
            raise ValueError("expected different samples, got one twice")
        return torch.isin(self.training.sample, samples).nonzero().flatten()

    def rows_of(self, terms: Tensor) -> Tensor:
        """The margins of these terms as rows of the Gram matrices, (R m,)."""
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
        rows = torch.arange(n) if terms is None else self.rows_of(terms)
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


def _check_determined(problem: Problem) -> None:
    if not problem.loss.quadratic and problem.fits_anything:
        raise ValueError(
            f"the parameters without a penalty fit any labels of the {problem.n} training margins, "
            "so that lambda_reg has no say and the loss may have no minimum: include_all=True "
            "penalizes biases and normalization weights, too; or give every group a lambda_reg > 0"
        )
