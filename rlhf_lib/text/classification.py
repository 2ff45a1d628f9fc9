"""Classify texts: any number of classes, the whole model or its top layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ..arguments import real
from .checked import check_parts
from .class_weights import Weights, weigh_classes
from .datasets import TextDataset
from .predictions import ClassPrediction
from .scoring import Metrics, class_metrics
from .text_task import TextTask

if TYPE_CHECKING:  # it takes seconds, and a model comes with it
    from transformers import PreTrainedModel


class ClassificationTask(TextTask):
    """Classify texts, or pairs of texts, with a pre-trained model: whole, or the top layers on
    cached activations.

    model, tokenizer: as `load_model("classification")` gives them.
    training, validation: data sets of texts and labels.
    top_layers: k >= 1 trains the top k layers, pooler and classifier on activations that are
        computed once, here; None trains all parameters.
    frozen: parts not to be trained, as `freeze` names them ("embeddings", "biases", "weights",
        "body", ...), the rest is trained; None leaves `requires_grad` of each parameter as it is.
    label_smoothing: share of every training label that is spread evenly over all classes; scores
        are against the labels themselves.
    class_weights: how much a training text of each class counts: "balanced" for all classes
        alike, or a number for each class, in order or by name. Scores count every text alike. A
        batch's loss is sum_i w_i l_i / n with weights that have mean 1 over the training set, so
        it is torch's weighted mean on all of it, whatever the micro-batches.
    max_length: longer texts are cut to this many tokens; None: 64. A warning says how many are
        cut and by how much, unless max_length was given and less than 5 % of all tokens are lost.
    overlap: read long texts in windows of `max_length` tokens that share so many instead. Each
        window learns the text's label and counts as its share of the text; the text's class is
        that of the mean of its windows' logits. `samples` are windows then, `groups` their texts.
    micro_batch: most samples in one graph; bounds the memory.

    Raises ValueError where the data sets have other classes than each other, or more than the
    model, for a share of smoothing outside [0, 1), for class_weights that are not one finite number
    >= 0 a class, and for an overlap that no window has.
    """

    cross_entropy = True
    problem_type = "single_label_classification"

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
        class_weights: Weights | None = None,
        max_length: int | None = None,
        overlap: int | None = None,
        micro_batch: int = 64,
    ):
        check_parts(model, tokenizer, (training, validation), TextDataset)
        if not 0 <= real("label_smoothing", label_smoothing, finite=False) < 1:
            raise ValueError(
                f"label_smoothing: expected a share in [0, 1), got {label_smoothing!r}"
            )
        self.label_smoothing = label_smoothing
        classes = model.config.num_labels or 0
        for data in (training, validation):
            if len(data.label_names) > classes:
                raise ValueError(
                    f"expected a model with the {len(data.label_names)} classes of {data.name}, "
                    f"got one with {classes}: load it with num_labels={len(data.label_names)}"
                )
        self.class_weights = (
            None
            if class_weights is None
            else weigh_classes(class_weights, training.labels, training.label_names, training.name)
        )
        super().__init__(
            model,
            tokenizer,
            training,
            validation,
            top_layers=top_layers,
            frozen=frozen,
            max_length=max_length,
            overlap=overlap,
            micro_batch=micro_batch,
        )

    def losses(
        self, outputs: Tensor, labels: Tensor, reduction: str, *, training: bool = False
    ) -> Tensor:
        """Cross-entropy; in training against labels of which a share s is spread over all classes
        (Szegedy et al., 2016, section 7)."""
        smoothing = self.label_smoothing if training else 0.0
        return nn.functional.cross_entropy(
            outputs, labels, reduction=reduction, label_smoothing=smoothing
        )

    def weights(self, labels: Tensor) -> Tensor | None:
        """`class_weights` of the labels."""
        return None if self.class_weights is None else self.class_weights.to(labels.device)[labels]

    def correct(self, outputs: Tensor, batch: dict[str, Tensor]) -> int:
        """How many texts have their largest logit at their label."""
        return int((outputs.argmax(1) == batch["labels"]).sum())

    def decided(self, outputs: Tensor) -> Tensor:
        """The likeliest class of each row, (n,)."""
        return outputs.argmax(1)

    def scores(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """`accuracy`, the share of texts with their largest logit at their label."""
        return {"accuracy": int((outputs.argmax(1) == labels).sum()) / len(labels)}

    def further_metrics(self) -> Metrics:
        """macro_f1 and so on, see :func:`~rlhf_lib.text.scoring.class_metrics`."""
        return class_metrics(self.classes)

    def predict(
        self, texts: Iterable[Any], *, batch_size: int | None = None
    ) -> list[ClassPrediction]:
        """The likeliest class of each text, with the probabilities of all, in their order.

        texts: any number, pairs if the task has learnt pairs; cut, or read in windows, as in
        training. batch_size: texts at a time; default twice micro_batch.

        Raises TypeError or ValueError, with its place, for what is no text or has nothing to read.
        """
        found = []
        for row in self._predicted_outputs(texts, batch_size).softmax(1).tolist():
            scores = dict(zip(self.output_names, row, strict=True))
            label = max(scores, key=scores.__getitem__)
            found.append(ClassPrediction(label, scores[label], scores))
        return found
