"""Classify texts: any number of classes, the whole model or its top layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from .cached import CachedTop
from .datasets import TextDataset, encode
from .freezing import freeze
from .predictions import ClassPrediction, checked_texts
from .task import Task

if TYPE_CHECKING:  # it takes seconds, and a model comes with it
    from transformers import PreTrainedModel


class ClassificationTask(Task):
    """Classify texts with a pre-trained model: whole, or the top layers on cached activations.

    model, tokenizer: as `load_model("classification")` gives them.
    training, validation: data sets of texts and labels.
    top_layers: k >= 1 trains the top k layers, pooler and classifier on activations that are
        computed once, here; None trains all parameters.
    frozen: parts not to be trained, as `freeze` names them ("embeddings", "biases", "weights",
        "body", ...), the rest is trained; None leaves `requires_grad` of each parameter as it is.
    label_smoothing: share of every training label that is spread evenly over all classes; scores
        are against the labels themselves.
    max_length: longer texts are cut to this many tokens.
    micro_batch: most samples in one graph; bounds the memory.

    Raises ValueError where the data sets have other classes than each other, or more than the
    model, and for a share of smoothing outside [0, 1).
    """

    cross_entropy = True

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        training: TextDataset,
        validation: TextDataset,
        *,
        top_layers: int | None = None,
        frozen: Iterable[str] | None = None,
        label_smoothing: float = 0.0,
        max_length: int = 64,
        micro_batch: int = 64,
    ):
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                f"label_smoothing: expected a share in [0, 1), got {label_smoothing!r}"
            )
        self.label_smoothing = label_smoothing
        if validation.label_names != training.label_names:
            raise ValueError(
                f"{validation.name}: expected the classes {training.label_names} of "
                f"{training.name}, got {validation.label_names}: load it with "
                "label_names=training.label_names"
            )
        classes = model.config.num_labels or 0
        for data in (training, validation):
            if len(data.label_names) > classes:
                raise ValueError(
                    f"expected a model with the {len(data.label_names)} classes of {data.name}, "
                    f"got one with {classes}: load it with num_labels={len(data.label_names)}"
                )
        self.module = model if top_layers is None else CachedTop(model, top_layers)
        if frozen is not None:
            freeze(self.module, frozen)
        self.tokenizer, self.max_length = tokenizer, max_length
        self.label_names = training.label_names
        self.device = next(model.parameters()).device
        super().__init__(
            model,
            self.module,
            self.encode(training),
            self.encode(validation),
            micro_batch=micro_batch,
        )

    def encode(self, data: TextDataset) -> dict[str, Tensor]:
        """A data set as this task takes it, for `assess`."""
        return self._inputs(data.texts) | {"labels": torch.tensor(data.labels, device=self.device)}

    def _inputs(self, texts: Sequence[str]) -> dict[str, Tensor]:
        encoded = encode(self.tokenizer, texts, max_length=self.max_length)
        encoded = {key: value.to(self.device) for key, value in encoded.items()}
        return self.module.cache(encoded) if isinstance(self.module, CachedTop) else encoded

    def predict(
        self, texts: Iterable[str], *, batch_size: int | None = None
    ) -> list[ClassPrediction]:
        """The likeliest class of each text, with the probabilities of all, in their order.

        texts: any number, each cut to `max_length` tokens as in training. batch_size: texts at a
        time; default twice micro_batch.

        Raises TypeError or ValueError, with its place, for what is no text or has nothing to read.
        """

        def predict(texts: Sequence[str]) -> list[ClassPrediction]:
            found = []
            for row in self._logits(self._inputs(texts)).double().softmax(1).tolist():
                scores = dict(zip(self.label_names, row, strict=False))
                label = max(scores, key=scores.__getitem__)
                found.append(ClassPrediction(label, scores[label], scores))
            return found

        return self._predicted(checked_texts(texts), batch_size, predict)

    def loss_fn(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(mean cross-entropy, logits of shape (n, C)) of a batch."""
        logits = self._logits(batch)
        return nn.functional.cross_entropy(logits, batch["labels"]), logits

    def training_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """`loss_fn` against smoothed labels: (1 - s) times it + s times the mean of -log p_c over
        all classes c (Szegedy et al., 2016, section 7)."""
        logits = self._logits(batch)
        loss = nn.functional.cross_entropy(
            logits, batch["labels"], label_smoothing=self.label_smoothing
        )
        return loss, logits

    def _logits(self, batch: dict[str, Tensor]) -> Tensor:
        logits = self.module(**{key: value for key, value in batch.items() if key != "labels"})
        return logits if isinstance(logits, Tensor) else logits.logits

    def correct(self, outputs: Tensor, batch: dict[str, Tensor]) -> int:
        """How many texts have their largest logit at their label."""
        return int((outputs.argmax(1) == batch["labels"]).sum())
