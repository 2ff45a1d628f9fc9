"""Answer questions by a span of a text: the likeliest first and last token."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ..arguments import flag, real, whole
from .answers import Found, check_reach, places_of
from .cached import CachedTop
from .checked import check_parts
from .metrics import answer_scores, best_threshold
from .predictions import AnswerPrediction, checked_texts
from .scoring import measured
from .squad import Question, QuestionDataset
from .task import BESIDE, Task
from .turns import part_to_train

if TYPE_CHECKING:  # it takes seconds, and a model comes with it
    from transformers import PreTrainedModel

_SAVED = "null_threshold"  # in the model's config
_numbers = itertools.count()


class QuestionTask(Task):
    """Extractive question answering: the whole model, or its top layers on cached activations.

    Question and context go in together (Devlin et al., 2019, section 4.2). A context too long for
    `max_length` goes in windows that overlap by `stride` tokens; each window is a sample of its
    own, so the loss is a mean over windows and `samples` counts these. A window that does not hold
    the whole of the first accepted answer is trained to point to its first token, [CLS], and so are
    all windows of a question without an answer (SQuAD 2.0).

    The loss of a window is the mean of two cross-entropies, of the first and of the last token of
    the answer, over all tokens but padding.

    The answer to a question is the span of the largest sum of both logits over all its windows:
    inside the context, the last token not before the first, of at most `max_answer` tokens. There
    is none where [CLS] has more, in the window where it has least, than that sum and
    `null_threshold` (Devlin et al., 2019, section 4.3). A Record's accuracy is the exact match, the
    mean over questions and not over windows; F1 is in its `extra` as val_f1 and train_f1 (see
    `answer_scores`: both from 0 to 1). Where some questions have no answer, `f1_answerable` and
    `accuracy_unanswerable` are of these parts.

    model, tokenizer: as `load_model("qa")` gives them.
    training, validation: QuestionDatasets.
    top_layers: k >= 1 trains the top k layers and the outputs' layer on activations that are
        computed once, here; None trains all parameters.
    max_length: most tokens of question and context together, special tokens among them.
    stride: tokens of a context that two windows share; as many as the longest answer has.
    max_answer: most tokens of an answer that is found; accepted ones that are longer are counted
        in a warning.
    check_answers: False lets answers be that no window holds whole, or that are longer than is
        found, and says nothing.
    null_threshold: of finding no answer, a difference of sums of two logits; `tune_threshold` sets
        it by the validation set. None: 0, or what the model was saved with, if the training set
        has questions without an answer, else every question is answered.
    micro_batch: most windows in one graph; bounds the memory.

    The dicts of tensors hold, beside what the model takes, `labels` (n, 2), first and last token
    of the answer, `spans` (n, T, 2), each token's characters in the context, -1 outside it, and
    `question` (n,), a number by which this task knows the question.

    Raises ValueError for a question or a context without a token, for a question that leaves no
    room for its context, for an answer that no window holds whole, since all would be trained to
    deny it, and for a tokenizer that cannot tell the characters of a token.
    """

    reports = ("loss", "accuracy", "f1")
    model_task = "qa"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        training: QuestionDataset,
        validation: QuestionDataset,
        *,
        top_layers: int | None = None,
        max_length: int = 256,
        stride: int = 64,
        max_answer: int = 30,
        check_answers: bool = True,
        null_threshold: float | None = None,
        micro_batch: int = 16,
    ):
        check_parts(model, tokenizer, (training, validation), QuestionDataset)
        stride, max_answer = whole("stride", stride, 0), whole("max_answer", max_answer, 1)
        max_length = whole("max_length", max_length, 5)
        if null_threshold is None and any(q.is_impossible for q in training):
            null_threshold = getattr(model.config, _SAVED, 0.0)
        if null_threshold is not None:
            null_threshold = real("null_threshold", null_threshold)
        self.null_threshold = null_threshold
        self.check_answers = flag("check_answers", check_answers)
        if not tokenizer.is_fast:
            raise ValueError(
                "tokenizer: expected a fast one, which knows the characters of each token, got "
                f"{type(tokenizer).__name__}"
            )
        self.tokenizer, self.max_answer = tokenizer, max_answer
        self.max_length, self.stride = min(max_length, tokenizer.model_max_length), stride
        self.module = part_to_train(model, top_layers)
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
        nothing = [self._null(row) for row in encoded["input_ids"].tolist()]
        places = [
            places_of(spans[i], data.questions[k].answers[0]) if data.questions[k].answers else None
            for i, k in enumerate(origin)
        ]
        if self.check_answers:
            check_reach(
                data,
                origin,
                spans,
                places,
                self.tokenizer,
                max_length=self.max_length,
                stride=self.stride,
                max_answer=self.max_answer,
            )
        labels = [
            (null, null) if place is None else place
            for place, null in zip(places, nothing, strict=True)
        ]
        numbers = [next(_numbers) for _ in data]
        self._asked.update(zip(numbers, data.questions, strict=True))
        tensors = {
            **encoded,
            "labels": torch.tensor(labels),
            "spans": spans,
            "padding": encoded["attention_mask"] == 0,
            "nothing": torch.tensor(nothing),
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

    def _null(self, ids: list[int]) -> int:
        """The place that says that there is no answer: [CLS], or the first, as in GPT-2 and T5."""
        cls = self.tokenizer.cls_token_id
        return ids.index(cls) if cls in ids else 0

    def loss_fn(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(mean span loss, logits of shape (n, T, 2), of first and of last tokens) of a batch."""
        found = self.module(**{key: value for key, value in batch.items() if key not in BESIDE})
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
        best: dict[int, Found] = {}
        for batch, mean, outputs in self.outputs(data):
            n = self.count(batch)
            total, loss = total + n, loss + n * mean
            self._keep_best(best, batch, outputs)
        asked = [self._asked[number] for number in best]
        texts = [self._text(number, found) or "" for number, found in best.items()]
        accepted = [_texts(q) or [""] for q in asked]
        scores = [answer_scores(*pair) for pair in zip(texts, accepted, strict=True)]
        exact, f1 = (sum(column) / len(scores) for column in zip(*scores, strict=True))
        parts = {}
        if any(q.is_impossible for q in asked):
            pairs = [*zip(asked, scores, strict=True)]
            parts = {
                "f1_answerable": _mean([f1 for q, (_, f1) in pairs if not q.is_impossible]),
                "accuracy_unanswerable": _mean([same for q, (same, _) in pairs if q.is_impossible]),
            }
        further = measured(self.metrics, texts, accepted)
        return {"loss": loss / total, "accuracy": exact, "f1": f1, **parts, **further}

    def tune_threshold(self, data: dict[str, Tensor] | None = None) -> float:
        """Set `null_threshold` to where F1 is best, here and in the model's config; returns it.

        data: from `encode`; None: the validation set, whose F1 is too good by this choice.
        """
        gains = []
        for number, found in self._best(self.validation if data is None else data).items():
            asked = self._asked[number]
            text = asked.context[found.begin : found.stop]
            gain = -1.0 if asked.is_impossible else answer_scores(text, _texts(asked))[1]
            gains.append((found.doubt, gain))
        threshold = best_threshold(gains)
        self.null_threshold = threshold
        setattr(self.model.config, _SAVED, threshold)
        return threshold

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
        """The answer to each question in its context; or, of data from `encode`, its text, "" where
        there is none.

        questions, contexts: as many of one as of the other.
        batch_size: questions at a time; default twice micro_batch.

        Raises TypeError or ValueError, with its place, for what is no text or has nothing to read.
        """
        if isinstance(questions, dict):
            found = self._best(questions)
            return [self._text(number, best) or "" for number, best in found.items()]
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
        asked = [Question(str(i), q, context, ()) for i, (q, context) in enumerate(pairs)]
        data = self.encode(QuestionDataset(tuple(asked), "questions"))
        try:
            found = self._best(data)
            return [
                AnswerPrediction(None, best.nothing_share, None, None)
                if self._text(number, best) is None
                else AnswerPrediction(
                    context[best.begin : best.stop], best.share, best.begin, best.stop
                )
                for (_, context), (number, best) in zip(pairs, found.items(), strict=True)
            ]
        finally:
            for number in data["question"].unique().tolist():
                del self._asked[number]

    def _best(self, data: dict[str, Tensor]) -> dict[int, Found]:
        """What was found of each question, in their order."""
        best: dict[int, Found] = {}
        for batch, _, outputs in self.outputs(data):
            self._keep_best(best, batch, outputs)
        return dict(sorted(best.items()))

    def _text(self, number: int, found: Found) -> str | None:
        """The answer; None where there is rather none."""
        if self.null_threshold is not None and found.doubt > self.null_threshold:
            return None
        return self._asked[number].context[found.begin : found.stop]

    def _keep_best(self, best: dict[int, Found], batch: dict[str, Tensor], outputs: Tensor) -> None:
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
            outputs[rows, batch["nothing"]].sum(1).tolist(),
            shares[rows, batch["nothing"]].sum(1).exp().tolist(),
            strict=True,
        )
        for number, score, share, begin, stop, nothing, nothing_share in found:
            if number not in self._asked:
                raise ValueError("these data were encoded by another task: use this one's encode")
            one = best.setdefault(number, Found())
            if score > one.score:
                one.score, one.share, one.begin, one.stop = score, share, begin, stop
            if nothing < one.nothing:
                one.nothing, one.nothing_share = nothing, nothing_share


def _texts(question: Question) -> list[str]:
    return [answer.text for answer in question.answers]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
