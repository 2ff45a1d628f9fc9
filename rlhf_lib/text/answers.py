"""Answers as spans of tokens: where they are in a window, and which no window can give."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .said import say
from .squad import Answer, QuestionDataset


@dataclass
class Found:
    """Of one question, over its windows: the best span, and what speaks for no answer.

    score: the sum of both logits. share: the product of their probabilities. begin, stop:
    characters of the context. nothing, nothing_share: the same of [CLS], where that sum is least.
    """

    score: float = -math.inf
    share: float = 0.0
    begin: int = 0
    stop: int = 0
    nothing: float = math.inf
    nothing_share: float = 0.0

    @property
    def doubt(self) -> float:
        """How much more [CLS] has than the best span."""
        return self.nothing - self.score


def places_of(spans: Tensor, answer: Answer) -> tuple[int, int] | None:
    """First and last token of an answer in a window with these (T, 2) spans; None if not whole."""
    start, stop = _bounds(answer)
    meets = (spans[:, 0] < stop) & (spans[:, 1] > start)
    places = meets.nonzero().flatten().tolist()
    if places and spans[places[0], 0] <= start and spans[places[-1], 1] >= stop:
        return places[0], places[-1]
    return None


def length_of(windows: Tensor, answer: Answer) -> int:
    """How many tokens an answer has, by the spans (w, T, 2) of all windows."""
    start, stop = _bounds(answer)
    return len(windows[(windows[..., 0] < stop) & (windows[..., 1] > start)].unique(dim=0))


def _bounds(answer: Answer) -> tuple[int, int]:
    """Its characters; no token holds the space around it."""
    start = answer.start + len(answer.text) - len(answer.text.lstrip())
    return start, start + len(answer.text.strip())


def check_reach(
    data: QuestionDataset,
    origin: list[int],
    spans: Tensor,
    places: list[tuple[int, int] | None],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    stride: int,
    max_answer: int,
) -> None:
    """Refuse a first answer that no window holds, and say which are longer than is found.

    origin: the question of each window. places: of its first answer there.
    """
    rows: dict[int, list[int]] = {}
    for row, k in enumerate(origin):
        rows.setdefault(k, []).append(row)
    asked = {k: data.questions[k] for k in rows if data.questions[k].answers}
    missing = {
        k: length_of(spans[rows[k]], q.answers[0])
        for k, q in asked.items()
        if all(places[row] is None for row in rows[k])
    }
    for k, size in missing.items():
        if not size:
            raise ValueError(
                f"{data.name}, question {asked[k].id}: the tokenizer has no token for its "
                f"answer {asked[k].answers[0].text!r}. Do: leave it out."
            )
    if missing:
        special = tokenizer.num_special_tokens_to_add(pair=True)
        ids = tokenizer([asked[k].question for k in missing], add_special_tokens=False)
        needed = max(map(len, ids["input_ids"])) + max(missing.values()) + special + 1
        cure = f"stride={max(missing.values())}"
        if needed > max_length:
            cure += f" and max_length={needed}, if the model has so many positions"
        k, size = max(missing.items(), key=lambda pair: pair[1])
        raise ValueError(
            f"{data.name}: expected answers that a window holds whole, got {len(missing)} of "
            f"{len(data)} that none does, the longest {size} tokens, of question "
            f"{asked[k].id}: windows share {stride} tokens. All of them would be trained "
            f"to deny it. Do: {cure}, or leave these questions out."
        )
    long = {}
    for row, k in enumerate(origin):
        place = places[row]
        if place is not None and place[1] - place[0] >= max_answer:
            size = min(length_of(spans[rows[k]], answer) or 1 for answer in asked[k].answers)
            if size > max_answer:
                long[k] = size
    if long:
        say(
            f"{data.name}: {len(long)} of {len(data)} questions have no accepted answer of at "
            f"most {max_answer} tokens, so that none can be found. Do: max_answer="
            f"{max(long.values())} to find them all."
        )
