"""Answer questions by a span of a text: the likeliest first and last token."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from .cached import CachedTop
from .metrics import answer_scores
from .predictions import AnswerPrediction, checked_texts
from .squad import Answer, Question, QuestionDataset
from .task import Task

_numbers = itertools.count()
# By question: the sum of two logits, the product of their probabilities, and the characters.
Best = dict[int, tuple[float, float, int, int]]


class QuestionTask(Task):
    """Extractive question answering: the whole model, or its top layers on cached activations.

    Question and context go in together (Devlin et al., 2019, section 4.2). A context too long for
    `max_length` goes in windows that overlap by `stride` tokens; each window is a sample of its
    own, so the loss is a mean over windows and `samples` counts these. A window that does not hold
    the whole of the first accepted answer is trained to point to its first token, [CLS].

    The loss of a window is the mean of two cross-entropies, of the first and of the last token of
    the answer, over all tokens but padding.

    The answer to a question is the span of the largest sum of both logits over all its windows:
    inside the context, the last token not before the first, of at most `max_answer` tokens. A
    Record's accuracy is the exact match, the mean over questions and not over windows; F1 is in
    its `extra` as val_f1 and train_f1 (see `answer_scores`: both from 0 to 1).

    model, tokenizer: as `load_model("qa")` gives them.
    training, validation: QuestionDatasets.
    top_layers: k >= 1 trains the top k layers and the outputs' layer on activations that are
        computed once, here; None trains all parameters.
    max_length: most tokens of question and context together, special tokens among them.
    stride: tokens of a context that two windows share.
    micro_batch: most windows in one graph; bounds the memory.

    The dicts of tensors hold, beside what the model takes, `labels` (n, 2), first and last token
    of the answer, `spans` (n, T, 2), each token's characters in the context, -1 outside it, and
    `question` (n,), a number by which this task knows the question.

    Raises ValueError for a question or a context without a token, for a question that leaves no
    room for its context, and for a tokenizer that cannot tell the characters of a token.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        training: QuestionDataset,
        validation: QuestionDataset,
        *,
        top_layers: int | None = None,
        max_length: int = 256,
        stride: int = 64,
        max_answer: int = 30,
        micro_batch: int = 16,
    ):
        if not tokenizer.is_fast:
            raise ValueError(
                "tokenizer: expected a fast one, which knows the characters of each token, got "
                f"{type(tokenizer).__name__}"
            )
        self.tokenizer, self.max_answer = tokenizer, max_answer
        self.max_length, self.stride = min(max_length, tokenizer.model_max_length), stride
        self.module = model if top_layers is None else CachedTop(model, top_layers)
        self.device = next(model.parameters()).device
        self._asked: dict[int, Question] = {}
        super().__init__(
            model,
            self.module,
            self.encode(training),
            self.encode(validation),
            micro_batch=micro_batch,
        )

    def encode(self, data: QuestionDataset) -> dict[str, Tensor]:
        """A data set as this task takes it, for `assess` and `predict`."""
        if not len(data):
            raise ValueError(f"{data.name}: expected at least one question, got none.")
        self._check_room(data)
        encoded = self.tokenizer(
            [q.question for q in data],
            [q.context for q in data],
            truncation="only_second",
            max_length=self.max_length,
            stride=self.stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding="longest",
            return_tensors="pt",
        )
        origin = encoded.pop("overflow_to_sample_mapping").tolist()
        spans = encoded.pop("offset_mapping")
        inside = torch.tensor(
            [[part == 1 for part in encoded.sequence_ids(i)] for i in range(len(origin))]
        )
        # A token without characters, as a mark of a word's beginning, cannot bound an answer.
        inside &= spans[:, :, 1] > spans[:, :, 0]
        spans = spans.masked_fill(~inside[:, :, None], -1)
        labels = [
            self._label(spans[i], encoded["input_ids"][i], data.questions[k])
            for i, k in enumerate(origin)
        ]
        numbers = [next(_numbers) for _ in data]
        self._asked.update(zip(numbers, data.questions, strict=True))
        tensors = {
            **encoded,
            "labels": torch.tensor(labels),
            "spans": spans,
            "padding": encoded["attention_mask"] == 0,
            "question": torch.tensor([numbers[k] for k in origin]),
        }
        tensors = {key: value.to(self.device) for key, value in tensors.items()}
        return self.module.cache(tensors) if isinstance(self.module, CachedTop) else tensors

    def _check_room(self, data: QuestionDataset) -> None:
        room = self.max_length - self.tokenizer.num_special_tokens_to_add(pair=True)
        for key in ("question", "context"):
            texts = [getattr(q, key) for q in data]
            ids = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
            for q, found in zip(data, ids, strict=True):
                if not found:
                    raise ValueError(f"{data.name}, question {q.id}: the {key} is empty.")
                if key == "question" and len(found) + self.stride >= room:
                    raise ValueError(
                        f"{data.name}, question {q.id}: its {len(found)} tokens and a stride of "
                        f"{self.stride} leave no room for the context among {self.max_length}. "
                        "Do: raise max_length, or lower stride."
                    )

    def _label(self, spans: Tensor, ids: Tensor, question: Question) -> tuple[int, int]:
        """First and last token of the answer in a window, or twice the place of [CLS]."""
        answer = question.answers[0]
        # No token holds the space around an answer.
        start = answer.start + len(answer.text) - len(answer.text.lstrip())
        stop = start + len(answer.text.strip())
        meets = (spans[:, 0] < stop) & (spans[:, 1] > start)
        places = meets.nonzero().flatten().tolist()
        if places and spans[places[0], 0] <= start and spans[places[-1], 1] >= stop:
            return places[0], places[-1]
        cls, found = self.tokenizer.cls_token_id, ids.tolist()  # no [CLS] in GPT-2 and T5
        place = found.index(cls) if cls in found else 0
        return place, place

    def loss_fn(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(mean span loss, logits of shape (n, T, 2), of first and of last tokens) of a batch."""
        other = ("labels", "spans", "padding", "question")
        found = self.module(**{key: value for key, value in batch.items() if key not in other})
        if not isinstance(found, Tensor):
            found = torch.stack((found.start_logits, found.end_logits), -1)
        # Else the loss of a window would depend on the longest of its batch.
        scored = found.masked_fill(batch["padding"][:, :, None], torch.finfo(found.dtype).min)
        return nn.functional.cross_entropy(scored, batch["labels"]), found

    def correct(self, outputs: Tensor, batch: dict[str, Tensor]) -> int:
        """How many windows have their largest logits at their first and last token."""
        outputs = outputs.masked_fill(batch["padding"][:, :, None], -torch.inf)
        return int((outputs.argmax(1) == batch["labels"]).all(1).sum())

    def assess(self, data: dict[str, Tensor]) -> dict[str, float]:
        """`loss` over windows; `accuracy`, the exact match, and `f1` over questions."""
        total, loss = 0, 0.0
        best: Best = {}
        for batch, mean, outputs in self.outputs(data):
            n = self.count(batch)
            total, loss = total + n, loss + n * mean
            self._keep_best(best, batch, outputs)
        scores = []
        for number, (_, _, begin, stop) in best.items():
            asked = self._asked[number]
            scores.append(answer_scores(asked.context[begin:stop], [a.text for a in asked.answers]))
        exact, f1 = (sum(column) / len(scores) for column in zip(*scores, strict=True))
        return {"loss": loss / total, "accuracy": exact, "f1": f1}

    @overload
    def predict(self, questions: dict[str, Tensor]) -> list[str]: ...
    @overload
    def predict(
        self, questions: Iterable[str], contexts: Iterable[str], *, batch_size: int | None = None
    ) -> list[AnswerPrediction]: ...
    def predict(
        self,
        questions: Any,
        contexts: Iterable[str] | None = None,
        *,
        batch_size: int | None = None,
    ) -> list[Any]:
        """The answer to each question in its context; or, of data from `encode`, its text.

        questions, contexts: as many of one as of the other.
        batch_size: questions at a time; default twice micro_batch.

        Raises TypeError or ValueError, with its place, for what is no text or has nothing to read.
        """
        if isinstance(questions, dict):
            best = self._best(questions)
            return [self._asked[number].context[slice(*span)] for number, _, _, *span in best]
        asked = checked_texts(questions, "questions")
        given = checked_texts([] if contexts is None else contexts, "contexts")
        if len(asked) != len(given):
            raise ValueError(
                f"predict: expected a context for each of the {len(asked)} questions, got "
                f"{len(given)} contexts"
            )
        pairs = [*zip(asked, given, strict=True)]
        return self._predicted(pairs, batch_size, self._answers)

    def _answers(self, pairs: Sequence[tuple[str, str]]) -> list[AnswerPrediction]:
        nowhere = (Answer("", 0),)
        asked = [Question(str(i), q, context, nowhere) for i, (q, context) in enumerate(pairs)]
        data = self.encode(QuestionDataset(tuple(asked), "questions"))
        try:
            return [
                AnswerPrediction(context[begin:stop], share, begin, stop)
                for (_, context), (_, _, share, begin, stop) in zip(
                    pairs, self._best(data), strict=True
                )
            ]
        finally:
            for number in data["question"].unique().tolist():
                del self._asked[number]

    def _best(self, data: dict[str, Tensor]) -> list[tuple[int, float, float, int, int]]:
        """By question: its number, then what `Best` holds."""
        best: Best = {}
        for batch, _, outputs in self.outputs(data):
            self._keep_best(best, batch, outputs)
        return [(number, *found) for number, found in sorted(best.items())]

    def _keep_best(self, best: Best, batch: dict[str, Tensor], outputs: Tensor) -> None:
        """Put each window's best span into `best` where it beats the question's others."""
        spans = batch["spans"]
        inside = spans[:, :, 0] >= 0
        shares = outputs.masked_fill(batch["padding"][:, :, None], -torch.inf).log_softmax(1)
        start, end = outputs.masked_fill(~inside[:, :, None], -torch.inf).unbind(2)
        scores = start[:, :, None] + end[:, None, :]  # (n, first token, last token)
        allowed = torch.ones_like(scores[0]).triu().tril(self.max_answer - 1).bool()
        value, place = scores.masked_fill(~allowed, -torch.inf).flatten(1).max(1)
        first, last = place // start.shape[1], place % start.shape[1]
        rows = torch.arange(len(spans), device=spans.device)
        found = zip(
            batch["question"].tolist(),
            value.tolist(),
            (shares[rows, first, 0] + shares[rows, last, 1]).exp().tolist(),
            spans[rows, first, 0].tolist(),
            spans[rows, last, 1].tolist(),
            strict=True,
        )
        for number, score, *answer in found:
            if number not in self._asked:
                raise ValueError("these data were encoded by another task: use this one's encode")
            if number not in best or score > best[number][0]:
                best[number] = (score, *answer)
