"""Causal language modelling: predict each token of a text from those before it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ..arguments import whole
from .checked import check_parts
from .predictions import TextScore, checked_texts
from .said import say
from .task import IGNORED, Task
from .texts import TextDataset
from .turns import part_to_train


class LanguageModelTask(Task):
    """Fine-tune a causal language model on texts; their labels, if they have any, are not used.

    The loss is the mean cross-entropy of the next token (in nats) over all predicted tokens, and
    batches are weighted by how many they have (`count`). A text's first token is not predicted.
    Longer texts go in blocks of `max_length` tokens of which each begins with the last token of
    the one before, so that every other token is predicted once, from its own block. Padding is
    never scored.

    A Record's accuracy is the share of next tokens that have the largest logit; the perplexity,
    exp(loss), is in its `extra` as val_perplexity and train_perplexity.

    model, tokenizer: as `load_model("lm", ...)` gives them: any causal model of transformers. A
        tokenizer without a padding token pads with its end-of-text token.
    training, validation: data sets of texts, or lists of strings. Texts of fewer than two tokens
        have nothing to predict: they are left out, with a warning that counts them.
    max_length: most tokens of a block.
    micro_batch: most blocks in one graph; bounds the memory (the logits are n x T x vocabulary).

    Raises ValueError where no text has two tokens.
    """

    reports = ("loss", "accuracy", "perplexity")
    model_task = "lm"

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        training: TextDataset | Sequence[str],
        validation: TextDataset | Sequence[str],
        *,
        max_length: int = 64,
        micro_batch: int = 16,
    ):
        check_parts(model, tokenizer, (), TextDataset)
        max_length = whole("max_length", max_length, 2)
        self.tokenizer, self.max_length = tokenizer, min(max_length, tokenizer.model_max_length)
        self.device = next(model.parameters()).device
        super().__init__(
            model,
            part_to_train(model),
            self.encode(training),
            self.encode(validation),
            micro_batch=micro_batch,
        )

    def encode(self, data: TextDataset | Sequence[str]) -> dict[str, Tensor]:
        """Texts as this task takes them: `input_ids`, `attention_mask`, `labels`, (n, T), and
        `text` (n,), of which text a block is."""
        if not isinstance(data, TextDataset):
            texts = checked_texts(data)
            data = TextDataset(tuple(texts), (), (), "texts")
        if not len(data) or data.paired:
            got = "pairs" if data.paired else "none"
            raise ValueError(f"{data.name}: expected at least one text, got {got}.")
        found = self._blocks(data.texts)
        short = [i for i, blocks in enumerate(found) if not blocks]
        if len(short) == len(found):
            raise ValueError(
                f"{data.name}: expected texts of at least two tokens, got none: there is nothing "
                "to predict."
            )
        if short:
            say(
                f"{data.name}: {len(short)} of {len(found)} texts are left out: they have fewer "
                f"than two tokens, and none to predict, the first {data.texts[short[0]]!r}."
            )
        tensors = self._padded([block for blocks in found for block in blocks])
        text = [i for i, blocks in enumerate(found) for _ in blocks]
        return tensors | {"text": torch.tensor(text, device=self.device)}

    def _blocks(self, texts: Sequence[Any]) -> list[list[list[int]]]:
        """The blocks of tokens of each text; none where there is nothing to predict."""
        step = self.max_length - 1
        return [
            [ids[k : k + step + 1] for k in range(0, len(ids) - 1, step)]
            for ids in self.tokenizer(list(texts), verbose=False)["input_ids"]
        ]

    def _padded(self, blocks: list[list[int]]) -> dict[str, Tensor]:
        longest = max(map(len, blocks))
        padding = self.tokenizer.pad_token_id
        if padding is None:  # any id would do: padding is neither seen nor scored
            padding = self.tokenizer.eos_token_id or 0
        ids = torch.full((len(blocks), longest), padding)
        mask = torch.zeros_like(ids)
        for i, block in enumerate(blocks):
            ids[i, : len(block)] = torch.tensor(block)
            mask[i, : len(block)] = 1
        tensors = {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": ids.masked_fill(mask == 0, IGNORED),
        }
        return {key: value.to(self.device) for key, value in tensors.items()}

    def predict(self, texts: Iterable[str], *, batch_size: int | None = None) -> list[TextScore]:
        """How well the model foresees each text, in their order.

        batch_size: blocks at a time; default twice micro_batch.

        Raises TypeError or ValueError, with its place, for what is no text, or too short a one.
        """
        texts = checked_texts(texts)
        found = self._blocks(texts)
        for i, of_text in enumerate(found):
            if not of_text:
                raise ValueError(
                    f"texts[{i}]: expected at least two tokens, got {texts[i]!r}, in which there "
                    "is none to predict. Do: leave it out."
                )
        blocks = [block for of_text in found for block in of_text]
        sums = iter(self._predicted(blocks, batch_size, self._sums))
        scores = []
        for of_text in found:
            tokens = sum(len(block) - 1 for block in of_text)
            loss = sum(next(sums) for _ in of_text) / tokens
            scores.append(TextScore(loss, _exp(loss), tokens))
        return scores

    def _sums(self, blocks: Sequence[list[int]]) -> list[float]:
        """The summed cross-entropy of each block's predicted tokens."""
        batch = self._padded([*blocks])
        _, logits = self.loss_fn(batch)
        losses = nn.functional.cross_entropy(
            logits[:, :-1].transpose(1, 2).double(),
            batch["labels"][:, 1:],
            ignore_index=IGNORED,
            reduction="none",
        )
        return losses.sum(1).tolist()

    def loss_fn(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(mean cross-entropy of the next token, logits of shape (n, T, V)) of a batch."""
        logits = self.model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        ).logits
        loss = nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED
        )
        return loss, logits

    def count(self, batch: dict[str, Tensor]) -> int:
        """How many tokens of the batch are predicted."""
        return int((batch["labels"][:, 1:] != IGNORED).sum())

    def correct(self, outputs: Tensor, batch: dict[str, Tensor]) -> int:
        """How many predicted tokens have the largest logit."""
        return int((outputs[:, :-1].argmax(2) == batch["labels"][:, 1:]).sum())

    def assess(self, data: dict[str, Tensor]) -> dict[str, float]:
        """`loss` and `accuracy` of the next token, and `perplexity`."""
        found = super().assess(data)
        return {**found, "perplexity": _exp(found["loss"])}


def _exp(loss: float) -> float:
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
