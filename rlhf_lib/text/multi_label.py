"""Classify texts that may have several classes at once, or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import real
from .checked import check_parts
from .datasets import TextDataset
from .text_task import TextTask


@dataclass(frozen=True)
class LabelsPrediction:
    """The classes of a text, likely at least as the threshold says, and the probability of each."""

    labels: tuple[str, ...]
    scores: Mapping[str, float]


class MultiLabelTask(TextTask):
    """Learn for each class whether a text, or a pair of texts, has it.

    The loss is the binary cross-entropy of each output, its mean over texts and classes, as
    transformers has it. Accuracy is that of whole sets: the share of texts all of whose classes are
    right. Beside it, micro_f1 counts all (text, class) pairs together, and macro_f1 is the mean
    over classes, of which those that neither truth nor prediction has are left out.

    model, tokenizer: as `load_model("classification", num_labels=len(data.label_names))`.
    training, validation: data sets whose labels are tuples of 0 and 1, one a class.
    threshold: a class is predicted from this probability on.
    top_layers, frozen, max_length, overlap, micro_batch: as in ClassificationTask.
    """

    problem_type = "multi_label_classification"
    reports = ("loss", "accuracy", "micro_f1", "macro_f1")

    def __init__(
        self, model, tokenizer, training, validation, *, threshold: float = 0.5, **options: Any
    ):
        check_parts(model, tokenizer, (training, validation), TextDataset)
        if not 0 < real("threshold", threshold) < 1:
            raise ValueError(f"threshold: expected a probability in (0, 1), got {threshold!r}")
        if model.config.num_labels != len(training.label_names):
            raise ValueError(
                f"expected a model with an output for each of the {len(training.label_names)} "
                f"classes of {training.name}, got one with {model.config.num_labels}: load it "
                f"with num_labels={len(training.label_names)}"
            )
        self.threshold = threshold
        super().__init__(model, tokenizer, training, validation, **options)

    def targets(self, data: TextDataset) -> Tensor:
        """0 or 1 for each class, (n, C), in the model's precision."""
        return torch.tensor(data.labels, dtype=self.dtype)

    def losses(
        self, outputs: Tensor, labels: Tensor, reduction: str, *, training: bool = False
    ) -> Tensor:
        """Binary cross-entropies, a text's mean over its classes."""
        found = nn.functional.binary_cross_entropy_with_logits(
            outputs, labels.to(outputs), reduction=reduction
        )
        return found.mean(1) if reduction == "none" else found

    def correct(self, outputs: Tensor, batch: dict[str, Tensor]) -> int:
        """How many texts have all their classes right."""
        return int((self.decided(outputs) == (batch["labels"] > 0)).all(1).sum())

    def decided(self, outputs: Tensor) -> Tensor:
        """Which classes each text has, (n, C) booleans."""
        return outputs.sigmoid() >= self.threshold

    def scores(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """accuracy of whole sets, micro_f1 and macro_f1; 0 where no class is there or found."""
        found, truth = self.decided(outputs), labels > 0
        right = (found & truth).sum(0).double()
        counts = (found.sum(0) + truth.sum(0)).double()
        there = counts > 0
        return {
            "accuracy": float((found == truth).all(1).double().mean()),
            "micro_f1": float(2 * right.sum() / counts.sum().clamp(min=1)),
            "macro_f1": float((2 * right / counts)[there].mean()) if bool(there.any()) else 0.0,
        }

    def predict(
        self, texts: Iterable[Any], *, batch_size: int | None = None
    ) -> list[LabelsPrediction]:
        """The classes of each text, in their order; arguments as in ClassificationTask."""
        found = []
        for row in self._predicted_outputs(texts, batch_size).sigmoid().tolist():
            scores = dict(zip(self.label_names, row, strict=True))
            labels = tuple(name for name, p in scores.items() if p >= self.threshold)
            found.append(LabelsPrediction(labels, scores))
        return found
