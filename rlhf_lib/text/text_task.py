"""What tasks of whole texts have in common: how texts, pairs and long texts become tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..arguments import is_whole, whole
from .cached import CachedTop, batches
from .checked import check_parts
from .datasets import LEAST_LENGTH, TextDataset, encode
from .label_names import name_outputs
from .predictions import checked_texts
from .said import say
from .scoring import measured
from .task import BESIDE, Task
from .turns import part_to_train

if TYPE_CHECKING:  # it takes seconds, and a model comes with it
    from transformers import PreTrainedModel

# What a data set holds, in transformers' terms, and which task is for it.
KINDS = {
    "single_label_classification": "one class a text, which ClassificationTask learns",
    "multi_label_classification": "any number of classes a text, which MultiLabelTask learns",
    "regression": "a number a text, which RegressionTask learns",
    None: "no labels",
}

DEFAULT_LENGTH = 64
LITTLE = 0.05  # share of tokens that a max_length that was asked for may cut without a word


class TextTask(Task):
    """Learn something of each text, or of each pair of texts: outputs (n, C) of a model.

    A pair goes in as the tokenizer joins two texts, its longer one cut where both are too long.

    model, tokenizer: as `load_model("classification")` gives them.
    training, validation: TextDatasets of one `problem_type`, that of the task.
    outputs: C. options: of :class:`ClassificationTask`.

    The dicts of tensors hold, beside what the model takes, `labels`, and with `overlap` for each
    window `text`, the number of its text, and `share`, one over how many windows that has.

    A kind of task defines `problem_type`, `losses`, `scores`, and for metrics `decided`.
    """

    linear_head = True
    model_task = "classification"
    problem_type: ClassVar[
        Literal["single_label_classification", "multi_label_classification", "regression"]
    ]

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        training: TextDataset,
        validation: TextDataset,
        *,
        top_layers: int | None = None,
        frozen: Iterable[str] | None = None,
        max_length: int | None = None,
        overlap: int | None = None,
        micro_batch: int = 64,
    ):
        check_parts(model, tokenizer, (training, validation), TextDataset)
        for data in (training, validation):
            if data.problem_type != self.problem_type:
                raise ValueError(
                    f"{data.name}: expected {KINDS[self.problem_type]}, got "
                    f"{KINDS[data.problem_type]}"
                )
        if validation.label_names != training.label_names:
            raise ValueError(
                f"{validation.name}: expected the classes {training.label_names} of "
                f"{training.name}, got {validation.label_names}: load it with "
                "label_names=training.label_names"
            )
        if validation.paired != training.paired:
            kinds = [("single texts", "pairs of texts")[d.paired] for d in (training, validation)]
            raise ValueError(
                f"{validation.name}: expected {kinds[0]} as in {training.name}, got {kinds[1]}"
            )
        if max_length is not None:
            max_length = whole("max_length", max_length, LEAST_LENGTH)
        asked = max_length is not None and max_length <= tokenizer.model_max_length
        max_length = DEFAULT_LENGTH if max_length is None else max_length
        self._tolerated = LITTLE if asked else 0.0
        self.label_names, self.paired = training.label_names, training.paired
        names = self.label_names
        self.output_names = name_outputs(model, names, training.name) if names else ()
        self.tokenizer = tokenizer
        self.max_length = min(max_length, tokenizer.model_max_length)
        self.overlap = _checked_overlap(overlap, self.max_length, tokenizer)
        self.module = part_to_train(model, top_layers, frozen)
        self.classes = model.config.num_labels or 0
        first = next(model.parameters())
        self.device, self.dtype = first.device, first.dtype
        model.config.problem_type = self.problem_type  # transformers' own loss is by this
        super().__init__(
            model,
            self.module,
            self.encode(training),
            self.encode(validation),
            micro_batch=micro_batch,
        )

    def encode(self, data: TextDataset) -> dict[str, Tensor]:
        """A data set as this task takes it, for `assess`."""
        self._say_what_is_not_read(data.texts, data.name)
        inputs = self._inputs(data.texts)
        labels = self.targets(data).to(self.device)
        return inputs | {"labels": labels[inputs["text"]] if "text" in inputs else labels}

    def targets(self, data: TextDataset) -> Tensor:
        """The labels of a data set as the loss takes them, one row a text."""
        return torch.tensor(data.labels)

    def losses(
        self, outputs: Tensor, labels: Tensor, reduction: str, *, training: bool = False
    ) -> Tensor:
        """Loss of each row (n,), or their mean, as `reduction` says in torch's losses.

        training: against smoothed labels, say, if there are any.
        """
        raise NotImplementedError

    def weights(self, labels: Tensor) -> Tensor | None:
        """How much each row counts in training, (n,), 1 on average; None: all alike."""
        return None

    def decided(self, outputs: Tensor) -> Tensor:
        """What outputs (n, C) say, as the labels do: classes, numbers."""
        raise NotImplementedError

    def scores(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """What `assess` has beside the loss, of outputs (n, C) and labels of n texts."""
        raise NotImplementedError

    def loss_fn(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(mean loss, outputs of shape (n, C)) of a batch; a text's windows count as one text."""
        outputs = self._outputs(batch)
        return self._mean(outputs, batch, batch.get("share"), training=False), outputs

    def training_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """`loss_fn` as it is trained on: with `weights`, and against smoothed labels."""
        outputs = self._outputs(batch)
        return self._mean(outputs, batch, self.row_weights(batch), training=True), outputs

    def head_loss(self, outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """`training_loss` as a function of rows of outputs (n, C)."""
        return self._mean(outputs, batch, self.row_weights(batch), training=True)

    def row_weights(self, batch: dict[str, Tensor]) -> Tensor | None:
        weights, share = self.weights(batch["labels"]), batch.get("share")
        return share if weights is None else weights if share is None else weights * share

    def _mean(
        self, outputs: Tensor, batch: dict[str, Tensor], weights: Tensor | None, *, training: bool
    ) -> Tensor:
        if weights is None:
            return self.losses(outputs, batch["labels"], "mean", training=training)
        losses = self.losses(outputs, batch["labels"], "none", training=training)
        return (weights.to(losses) * losses).sum() / self.count(batch)

    def count(self, batch: dict[str, Tensor]) -> float:
        """How many texts the batch has, a window being a share of one."""
        share = batch.get("share")
        return len(batch["labels"]) if share is None else float(share.sum())

    def assess(self, data: dict[str, Tensor]) -> dict[str, float]:
        """`loss`, the mean over all texts, and `scores` of them.

        Of a text in windows the loss is the mean over these, and scores are of the mean of their
        outputs.
        """
        total, loss, rows = 0.0, 0.0, []
        for batch, mean, outputs in self.outputs(data):
            n = self.count(batch)
            total, loss = total + n, loss + n * mean
            rows.append(outputs)
        outputs, labels = torch.cat(rows), data["labels"]
        if "text" in data:
            outputs, labels = (_mean_by(data["text"], x) for x in (outputs, labels))
            labels = labels.to(data["labels"].dtype)
        further = measured(self.metrics, self.decided(outputs), labels) if self.metrics else {}
        return {"loss": loss / total, **self.scores(outputs, labels), **further}

    def _predicted_outputs(self, texts: Iterable[Any], batch_size: int | None) -> Tensor:
        """Outputs (n, C) of new texts, in float64."""
        texts = self._checked(texts)
        if not texts:
            return torch.empty(0, self.classes)
        self._say_what_is_not_read(texts, "texts")

        def predict(texts: Sequence[Any]) -> list[Tensor]:
            inputs = self._inputs(texts)
            parts = batches(inputs, batch_size or 2 * self.micro_batch)
            rows = torch.cat([self._outputs(part) for part in parts]).double()
            return list(_mean_by(inputs["text"], rows) if "text" in inputs else rows)

        return torch.stack(self._predicted(texts, batch_size, predict))

    def _checked(self, texts: Iterable[Any]) -> list[Any]:
        if not self.paired:
            return checked_texts(texts)
        pairs = [*texts] if isinstance(texts, Iterable) else [texts]
        for i, pair in enumerate(pairs):
            if isinstance(pair, str | bytes) or not isinstance(pair, Sequence) or len(pair) != 2:
                raise TypeError(
                    f"texts[{i}]: expected a pair of texts, as the task has learnt, got {pair!r}"
                )
            if not all(isinstance(text, str) for text in pair):
                raise TypeError(f"texts[{i}]: expected a pair of strings, got {pair!r}")
            checked_texts([" ".join(pair)], f"texts[{i}]: texts")  # one of them may be empty
        return [tuple(pair) for pair in pairs]

    def _outputs(self, batch: dict[str, Tensor]) -> Tensor:
        inputs = {key: value for key, value in batch.items() if key not in BESIDE}
        found = self.module(**inputs)
        return found if isinstance(found, Tensor) else found.logits

    def _inputs(self, texts: Sequence[Any]) -> dict[str, Tensor]:
        further = {}
        if self.overlap is None:
            encoded = encode(self.tokenizer, texts, max_length=self.max_length)
        else:
            if isinstance(texts[0], tuple):
                raise ValueError(
                    f"overlap: expected None for pairs of texts, which have no windows, got "
                    f"{self.overlap!r}. Do: raise max_length."
                )
            encoded = self.tokenizer(
                list(texts),
                padding="longest",
                truncation=True,
                max_length=self.max_length,
                stride=self.overlap,
                return_overflowing_tokens=True,
                return_tensors="pt",
            )
            text = encoded.pop("overflow_to_sample_mapping")
            share = 1 / text.bincount().to(torch.float64)[text]
            further = {"text": text.to(self.device), "share": share.to(self.device)}
        encoded = {key: value.to(self.device) for key, value in encoded.items()}
        cached = self.module.cache(encoded) if isinstance(self.module, CachedTop) else encoded
        return cached | further

    def _say_what_is_not_read(self, texts: Sequence[Any], name: str) -> None:
        """Warn of texts that are longer than the model is to read, how many and by how much, and
        of those that are unknown tokens for the most part."""
        if not len(texts):
            return
        parts = zip(*texts, strict=True) if isinstance(texts[0], tuple) else [texts]
        ids = self.tokenizer(*map(list, parts), verbose=False)["input_ids"]
        lengths = [len(row) for row in ids]
        special = self.tokenizer.num_special_tokens_to_add(pair=isinstance(texts[0], tuple))
        unknown = sum(row.count(self.tokenizer.unk_token_id) for row in ids)
        pieces = sum(lengths) - special * len(texts)
        if 2 * unknown > pieces:
            say(
                f"{name}: {unknown} of {pieces} tokens are {self.tokenizer.unk_token}, which the "
                f"model cannot tell apart: the tokenizer is not for this language, or damaged. "
                "Do: take another model."
            )
        if self.overlap is not None:
            return
        cut = [n - self.max_length for n in lengths if n > self.max_length]
        if sum(cut) > self._tolerated * sum(lengths):
            cures = []
            most = min(max(lengths), self.tokenizer.model_max_length)
            if most > self.max_length:
                cures.append(f"max_length={most}, of which the longest needs {max(lengths)}")
            if not isinstance(texts[0], tuple):
                cures.append(f"overlap={self.max_length // 4}, which reads them in windows")
            cure = ", or ".join(cures) or "shorten them, the model takes no more"
            say(
                f"{name}: {len(cut)} of {len(texts)} texts are longer than {self.max_length} "
                f"tokens and are cut: {sum(cut) / sum(lengths):.0%} of all tokens are not read. "
                f"Do: {cure}."
            )


def _checked_overlap(
    overlap: int | None, max_length: int, tokenizer: PreTrainedTokenizerBase
) -> int | None:
    room = max_length - tokenizer.num_special_tokens_to_add()
    if overlap is None:
        return None
    if not is_whole(overlap, 0) or overlap >= room:
        raise ValueError(
            f"overlap: expected tokens from 0 to {room - 1}, less than a window of {max_length} "
            f"has without special tokens, or None, got {overlap!r}"
        )
    if not tokenizer.is_fast:
        raise ValueError(
            f"tokenizer: expected a fast one for windows, got {type(tokenizer).__name__}. Do: "
            "overlap=None, which cuts long texts."
        )
    return overlap


def _mean_by(group: Tensor, rows: Tensor) -> Tensor:
    """Means (g, ...) of rows (n, ...) over the groups (n,), in the groups' order."""
    _, place, counts = group.unique(return_inverse=True, return_counts=True)
    wide = rows.to(torch.float64)
    sums = wide.new_zeros(len(counts), *rows.shape[1:]).index_add(0, place, wide)
    return (sums / counts.view(-1, *[1] * (rows.ndim - 1))).to(
        rows.dtype if rows.is_floating_point() else torch.float64
    )
