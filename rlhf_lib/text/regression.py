"""Predict a number for each text: how good, how similar, how long."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .checked import check_parts
from .datasets import TextDataset
from .text_task import TextTask


class RegressionTask(TextTask):
    """Learn a number for each text, or each pair of texts, by least squares.

    The loss is the mean squared error in the labels' own units, as transformers has it, so that
    the saved model gives numbers in them, too. Nothing is scaled: with labels far from the size of
    1 divide them first, since penalties and learning rates are meant for outputs of that size.

    Scores are r2, 1 - mean squared error / variance of the labels, and the correlations pearson
    and spearman (of ranks); NaN where labels or predictions do not vary. There is no accuracy.

    model, tokenizer: as `load_model("classification", num_labels=1)` gives them.
    training, validation: data sets of texts with numbers, `load_dataset(..., regression=True)`.
    top_layers, frozen, max_length, overlap, micro_batch: as in ClassificationTask.
    """

    problem_type = "regression"
    reports = ("loss", "r2", "pearson", "spearman")

    def __init__(self, model, tokenizer, training, validation, **options: Any):
        check_parts(model, tokenizer, (training, validation), TextDataset)
        if model.config.num_labels != 1:
            raise ValueError(
                "expected a model with one output for regression, got one with "
                f"{model.config.num_labels}: load it with num_labels=1"
            )
        super().__init__(model, tokenizer, training, validation, **options)

    def targets(self, data: TextDataset) -> Tensor:
        """The numbers, (n,), in the model's precision."""
        return torch.tensor(data.labels, dtype=self.dtype)

    def losses(
        self, outputs: Tensor, labels: Tensor, reduction: str, *, training: bool = False
    ) -> Tensor:
        """Squared errors."""
        return nn.functional.mse_loss(outputs[:, 0], labels.to(outputs), reduction=reduction)

    def decided(self, outputs: Tensor) -> Tensor:
        """The numbers, (n,)."""
        return outputs[:, 0]

    def scores(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """r2, pearson and spearman."""
        found, truth = outputs[:, 0].double(), labels.double()
        spread = float((truth - truth.mean()).square().sum())
        error = float((found - truth).square().sum())
        return {
            "r2": 1 - error / spread if spread > 0 else math.nan,
            "pearson": _correlation(found, truth),
            "spearman": _correlation(_ranks(found), _ranks(truth)),
        }

    def predict(self, texts: Iterable[Any], *, batch_size: int | None = None) -> list[float]:
        """The number of each text, in their order; arguments as in ClassificationTask."""
        return self._predicted_outputs(texts, batch_size)[:, 0].tolist()


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    norms = float(a.norm() * b.norm())
    return float(a @ b) / norms if norms > 0 else math.nan


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 0, equal values at the mean of theirs."""
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts + 1) / 2)[place].double()
