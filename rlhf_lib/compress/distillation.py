"""The task of a student: a teacher's logits beside the labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..text.cached import batches
from ..text.task import Task
from .distill import distillation_loss


class Distillation(Task):
    """Classify as a teacher does; scored on the labels alone.

    student: trained. teacher: a model for the same inputs, called once on the training set in eval
    mode, or its logits (n, C). training, validation: dicts of inputs with `labels`. temperature,
    alpha: of `distillation_loss`.

    Raises ValueError where the number of logits is not that of the samples.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | Tensor,
        training: dict[str, Tensor],
        validation: dict[str, Tensor],
        *,
        temperature: float,
        alpha: float,
        micro_batch: int = 64,
    ):
        if isinstance(teacher, nn.Module) and "hidden" in training:
            raise ValueError(
                "expected inputs that the teacher reads, got cached activations (top_layers=...): "
                "give its logits (n, C) instead, or a task of whole models"
            )
        super().__init__(student, student, training, validation, micro_batch=micro_batch)
        self.temperature, self.alpha = temperature, alpha
        if isinstance(teacher, nn.Module):
            was_training = teacher.training
            teacher.eval()
            with torch.no_grad():
                parts = [_logits(teacher, b) for b in batches(training, 2 * micro_batch)]
            teacher.train(was_training)
            teacher = torch.cat(parts)
        if len(teacher) != self.samples:
            raise ValueError(
                f"expected the teacher's logits of {self.samples} samples, got {len(teacher)}"
            )
        if not bool(teacher.logsumexp(1).isfinite().all()):
            raise ValueError(
                "expected teacher's logits that are finite, or -inf for classes that are left out, "
                "got NaN, +inf or a sample with no class left"
            )
        self.training = {**training, "teacher": teacher.detach().to(self.device)}

    def loss_fn(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(mean cross-entropy on the labels, logits of shape (n, C)): what scores show."""
        logits = _logits(self.module, batch)
        return nn.functional.cross_entropy(logits, batch["labels"]), logits

    def training_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(distillation loss, logits of shape (n, C)): what is minimized."""
        logits = _logits(self.module, batch)
        loss = distillation_loss(
            logits,
            batch["teacher"],
            batch["labels"],
            temperature=self.temperature,
            alpha=self.alpha,
        )
        return loss, logits

    def correct(self, outputs: Tensor, batch: dict[str, Tensor]) -> int:
        """How many samples have their largest logit at their label."""
        return int((outputs.argmax(1) == batch["labels"]).sum())


def _logits(module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    inputs = {key: value for key, value in batch.items() if key not in ("labels", "teacher")}
    outputs = module(**inputs)
    return outputs if isinstance(outputs, Tensor) else outputs.logits
