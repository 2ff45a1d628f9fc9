"""Find named entities: a tag for each word, from its first sub-word piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ..arguments import whole
from .cached import CachedTop
from .checked import check_parts
from .class_weights import Weights, weigh_classes
from .conll import TAG, EntityDataset
from .datasets import LEAST_LENGTH
from .label_names import name_outputs
from .metrics import entity_scores
from .predictions import Entity, checked_texts, read_entities, split_words
from .scoring import measured
from .task import BESIDE, IGNORED, Task
from .turns import part_to_train

if TYPE_CHECKING:  # it takes seconds, and a model comes with it
    from transformers import PreTrainedModel


class EntityTask(Task):
    """Tag words in the scheme BIO: the whole model, or its top layers on cached activations.

    A word is scored at the first of its sub-word pieces (Devlin et al., 2019, section 5.3); other
    pieces, [CLS], [SEP] and padding carry the label -100, which the loss leaves out. The loss is
    the mean over scored words, and batches are weighted by how many they have (`count`), so that
    a short sentence's words weigh as much as a long one's.

    A sentence of more than `max_length` pieces goes in windows of whole words that overlap; each
    of its words is scored in exactly one of them, where it has more context, so that none is
    lost. A word for which the tokenizer has no piece at all (a lone zero-width space) stands as
    the unknown token. The tokenizer reads the words joined by spaces, so that bytes, too, come as
    in the texts that the model was trained on.

    A Record's accuracy is the share of words tagged correctly, most of them O; precision, recall
    and F1 of entities (see `entity_scores`) are in its `extra` as val_f1, train_f1, and so on.

    model, tokenizer: as `load_model("ner", num_labels=len(data.label_names))` gives them.
    training, validation: EntityDatasets with the same label_names.
    top_layers: k >= 1 trains the top k layers and the classifier on activations that are computed
        once, here; None trains all parameters.
    max_length: most pieces of a window, [CLS] and [SEP] among them.
    class_weights: how much a training word of each tag counts, as in ClassificationTask.
    overlap: words that a window shares with the one before; fewer where it is shorter than twice
        that.
    micro_batch: most windows in one graph; bounds the memory.

    The dicts of tensors hold, beside what the model takes, `labels` (n, T), `words` (n, T), which
    word of its sentence a scored piece begins, -1 elsewhere, and `sentence` (n,), its number.

    Raises ValueError for label_names that differ between the sets or are not as many as the
    model's outputs, for a sentence without words, and for a tokenizer that cannot tell which
    piece is of which word.
    """

    cross_entropy = linear_head = True
    reports = ("loss", "accuracy", "precision", "recall", "f1")
    model_task = "ner"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        training: EntityDataset,
        validation: EntityDataset,
        *,
        top_layers: int | None = None,
        class_weights: Weights | None = None,
        max_length: int = 64,
        overlap: int = 8,
        micro_batch: int = 64,
    ):
        check_parts(model, tokenizer, (training, validation), EntityDataset)
        self.label_names, self.tokenizer = training.label_names, tokenizer
        other = [name for name in self.label_names if not TAG.fullmatch(name)]
        if other:
            raise ValueError(
                f"{training.name}: expected tags O, B-TYPE and I-TYPE, the scheme BIO, got "
                f"{other[0]!r}. Do: convert BIOES or BILOU to BIO, as `load_dataset` does."
            )
        if validation.label_names != self.label_names:
            raise ValueError(
                f"{validation.name}: expected the label_names of {training.name}, got other "
                f"label_names, {validation.label_names}: load it with "
                "label_names=training.label_names"
            )
        if model.config.num_labels != len(self.label_names):
            raise ValueError(
                f"expected a model with an output for each of the {len(self.label_names)} tags "
                f"of {training.name}, got one with {model.config.num_labels} outputs: load it with "
                f"num_labels={len(self.label_names)}"
            )
        name_outputs(model, self.label_names, training.name)
        if not tokenizer.is_fast:
            raise ValueError(
                "tokenizer: expected a fast one, which knows the word of each piece, got "
                f"{type(tokenizer).__name__}"
            )
        overlap = whole("overlap", overlap, 0)
        max_length = whole("max_length", max_length, LEAST_LENGTH)
        self.class_weights: Tensor | None = None
        if class_weights is not None:
            numbers = {name: i for i, name in enumerate(self.label_names)}
            labels = [numbers.get(tag, 0) for tags in training.tags for tag in tags]
            self.class_weights = weigh_classes(
                class_weights, labels, self.label_names, training.name
            )
        self.max_length = min(max_length, tokenizer.model_max_length)
        self.overlap = overlap
        module = part_to_train(model, top_layers)
        self.device, self.module = next(model.parameters()).device, module
        super().__init__(
            model, module, self.encode(training), self.encode(validation), micro_batch=micro_batch
        )

    def encode(self, data: EntityDataset) -> dict[str, Tensor]:
        """A data set as this task takes it, for `assess` and `predict`."""
        sentences, sizes = self._pieces(data)
        cut = [
            (number, *window)
            for number, tokens in enumerate(sentences)
            for window in self._windows([sizes[token] for token in tokens])
        ]
        encoded = self.tokenizer(
            # A space in front: the words inside a sentence are those that follow one.
            [
                " " * (start > 0) + " ".join(sentences[number][start:stop])
                for number, start, stop, _, _ in cut
            ],
            truncation=True,
            max_length=self.max_length,
            padding="longest",
            return_offsets_mapping=True,
            return_tensors="pt",
        )
        spans = encoded.pop("offset_mapping").tolist()
        words = torch.full_like(encoded["input_ids"], -1)
        labels = torch.full_like(words, IGNORED)
        for i, (number, start, stop, first, last) in enumerate(cut):
            shown = sentences[number][start:stop]
            pieces = zip(spans[i], encoded.sequence_ids(i), strict=True)
            texts = [span if part == 0 else None for span, part in pieces]
            for word, place in _first_pieces(shown, texts, start > 0).items():
                if first <= start + word < last:
                    words[i, place] = start + word
                    labels[i, place] = self.label_names.index(data.tags[number][start + word])
        scored = int((words >= 0).sum())
        if scored != sum(map(len, sentences)):
            raise ValueError(
                f"{data.name}: {sum(map(len, sentences))} words, but a piece for "
                f"{scored} only. Do: raise max_length."
            )
        tensors = {
            **encoded,
            "labels": labels,
            "words": words,
            "sentence": torch.tensor([number for number, *_ in cut]),
        }
        tensors = {key: value.to(self.device) for key, value in tensors.items()}
        return self.module.cache(tensors) if isinstance(self.module, CachedTop) else tensors

    def _pieces(self, data: EntityDataset) -> tuple[list[list[str]], dict[str, int]]:
        """The sentences, and how many pieces each word has: none is left without."""
        if not len(data):
            raise ValueError(f"{data.name}: expected at least one sentence, got none.")
        for i, tokens in enumerate(data.tokens):
            if not tokens:
                raise ValueError(
                    f"{data.name}: expected words, got sentence {i} without any. Do: leave it out."
                )
        for tag in sorted({tag for tags in data.tags for tag in tags} - {*self.label_names}):
            raise ValueError(
                f"{data.name}: expected tags out of {self.label_names}, got {tag!r}. Do: load it "
                "with label_names=training.label_names"
            )
        unique = sorted({token for tokens in data.tokens for token in tokens})
        # As the first word of a text, and behind a space: they may differ in bytes.
        found = [
            self.tokenizer([space + token for token in unique], add_special_tokens=False).input_ids
            for space in ("", " ")
        ]
        sizes = {token: max(map(len, ids)) for token, *ids in zip(unique, *found, strict=True)}
        unknown = self.tokenizer.unk_token
        empty = [token for token, size in sizes.items() if not size]
        if empty and unknown is None:
            raise ValueError(
                f"{data.name}: the tokenizer has no piece for the word {empty[0]!r} "
                "and no unknown token. Do: replace that word."
            )
        sentences = [
            [token if sizes[token] else unknown for token in tokens] for tokens in data.tokens
        ]
        return sentences, {**sizes, unknown: 1}

    def _windows(self, sizes: list[int]) -> Iterator[tuple[int, int, int, int]]:
        """(start, stop) of each window of words, and of those that are scored in it."""
        room = self.max_length - self.tokenizer.num_special_tokens_to_add()
        start, first = 0, 0
        while True:
            stop, used = start, 0
            while stop < len(sizes) and (stop == start or used + sizes[stop] <= room):
                used += sizes[stop]
                stop += 1
            if stop == len(sizes):
                yield start, stop, first, stop
                return
            shared = min(self.overlap, (stop - start - 1) // 2)
            last = stop - shared // 2
            if last > first:
                yield start, stop, first, last
            start, first = stop - shared, last

    def loss_fn(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(mean cross-entropy over scored words, logits of shape (n, T, C)) of a batch."""
        logits = self._logits(batch)
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=IGNORED
        )
        return loss, logits

    def training_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """`loss_fn` with `class_weights`: sum of w l over scored words, by their number."""
        if self.class_weights is None:
            return self.loss_fn(batch)
        logits = self._logits(batch)
        return self.head_loss(logits.flatten(0, 1), batch), logits

    def head_loss(self, outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """`training_loss` as a function of rows of outputs (n, C)."""
        labels, weights = batch["labels"].flatten(), self.row_weights(batch)
        if weights is None:
            return super().head_loss(outputs, batch)
        losses = nn.functional.cross_entropy(
            outputs, labels, ignore_index=IGNORED, reduction="none"
        )
        return (weights.to(losses) * losses).sum() / self.count(batch)

    def row_weights(self, batch: dict[str, Tensor]) -> Tensor | None:
        if self.class_weights is None:
            return None
        return self.class_weights.to(self.device)[batch["labels"].flatten().clamp(min=0)]

    def _logits(self, batch: dict[str, Tensor]) -> Tensor:
        logits = self.module(**{k: v for k, v in batch.items() if k not in BESIDE})
        return logits if isinstance(logits, Tensor) else logits.logits

    def count(self, batch: dict[str, Tensor]) -> int:
        """How many words of the batch are scored."""
        return int((batch["labels"] != IGNORED).sum())

    def correct(self, outputs: Tensor, batch: dict[str, Tensor]) -> int:
        """How many scored words have their largest logit at their tag."""
        return int((outputs.argmax(2) == batch["labels"]).sum())

    def assess(self, data: dict[str, Tensor]) -> dict[str, float]:
        """`loss` and `accuracy` of words; `precision`, `recall` and `f1` of entities."""
        total, loss, correct, seen = 0, 0.0, 0, []
        for batch, mean, outputs in self.outputs(data):
            n = self.count(batch)
            total, loss = total + n, loss + n * mean
            correct += self.correct(outputs, batch)
            seen.append((batch, outputs.argmax(2)))
        truth = self._sentences((batch, batch["labels"]) for batch, _ in seen)
        predicted = self._sentences(seen)
        return {
            "loss": loss / total,
            "accuracy": correct / total,
            **entity_scores(truth, predicted),
            **measured(self.metrics, predicted, truth),
        }

    @overload
    def predict(
        self, inputs: dict[str, Tensor], *, batch_size: int | None = None
    ) -> list[list[str]]: ...
    @overload
    def predict(
        self, inputs: Iterable[str | Sequence[str]], *, batch_size: int | None = None
    ) -> list[list[Entity]]: ...
    def predict(self, inputs: Any, *, batch_size: int | None = None) -> list[list[Any]]:
        """The entities of each text, in their order; or, of data from `encode`, each word's tag.

        inputs: any number of texts, strings or lists of words. A string is split into words (with
            the hyphens, apostrophes and full stops inside them) and other marks, each for itself:
            give lists where the training data are split otherwise.
        batch_size: texts at a time; default twice micro_batch.

        As in `entity_scores` an I- that continues nothing is no entity.

        Raises TypeError or ValueError, with its place, for what is no text or has nothing to read.
        """
        if isinstance(inputs, dict):
            return self._sentences((b, o.argmax(2)) for b, _, o in self.outputs(inputs))
        if isinstance(inputs, str | bytes) or not isinstance(inputs, Iterable):
            checked_texts(inputs)  # raises
        sentences = []
        for i, text in enumerate(inputs):
            words, spans = split_words(text) if isinstance(text, str) else (text, None)
            words = tuple(checked_texts(words, f"texts[{i}]"))
            if not words:
                raise ValueError(f"texts[{i}]: expected words, got none. Do: leave it out.")
            sentences.append((words, spans or [(k, k + 1) for k in range(len(words))]))
        return self._predicted(sentences, batch_size, self._entities)

    def _entities(
        self, sentences: Sequence[tuple[tuple[str, ...], list[tuple[int, int]]]]
    ) -> list[list[Entity]]:
        words = tuple(words for words, _ in sentences)
        unknown = tuple((self.label_names[0],) * len(sentence) for sentence in words)
        data = self.encode(EntityDataset(words, unknown, self.label_names, "texts"))
        outputs = ((batch, logits.double().softmax(2)) for batch, _, logits in self.outputs(data))
        return [
            read_entities(tokens, spans, self.label_names, rows)
            for (tokens, spans), rows in zip(sentences, self._words(outputs), strict=True)
        ]

    def _sentences(self, batches: Iterable[tuple[dict[str, Tensor], Tensor]]) -> list[list[str]]:
        """Tags of sentences from (batch, tag numbers (n, T))."""
        return [[self.label_names[number] for number in found] for found in self._words(batches)]

    def _words(self, batches: Iterable[tuple[dict[str, Tensor], Tensor]]) -> list[list[Any]]:
        """Each sentence's words from (batch, (n, T, ...)); windows are put together again."""
        words: dict[int, dict[int, Any]] = {}
        for batch, values in batches:
            rows, places = (batch["words"] >= 0).nonzero(as_tuple=True)
            for sentence, word, value in zip(
                batch["sentence"][rows].tolist(),
                batch["words"][rows, places].tolist(),
                values[rows, places].tolist(),
                strict=True,
            ):
                words.setdefault(sentence, {})[word] = value
        return [[found[word] for word in sorted(found)] for _, found in sorted(words.items())]


def _first_pieces(
    words: list[str], spans: list[tuple[int, int] | None], space: bool
) -> dict[int, int]:
    """Word -> the place of its first piece; words that were cut off are not there.

    spans: of each piece the characters in the words joined by spaces, with one more in front where
        `space`; None for [CLS] and the like. A space belongs to the word behind it.

    Raises ValueError for a piece of two words.
    """
    owner = [k for k, word in enumerate(words) for _ in range(len(word) + (space or k > 0))]
    text = " " * space + " ".join(words)
    firsts: dict[int, int] = {}
    for place, span in enumerate(spans):
        if span is None:
            continue
        begin, end = span
        last = begin + len(text[begin:end].rstrip(" ")) - 1
        word = owner[begin]
        if last > begin and owner[last] != word:
            raise ValueError(
                f"tokenizer: expected pieces of one word each, got one of {text[begin:end]!r}, so "
                "that its words cannot have a tag each. Do: take another model."
            )
        firsts.setdefault(word, place)
    return firsts
