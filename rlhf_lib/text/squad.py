"""Questions whose answers are spans of a text, and how they are read from a file like SQuAD's.

Rajpurkar et al. (2016), "SQuAD: 100,000+ questions for machine comprehension of text".
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from .samples import Samples
from .tables import decode, table_error


class Answer(NamedTuple):
    """A span of a context: its text, and its first character, counted from 0."""

    text: str
    start: int


class Question(NamedTuple):
    """A question, the text that answers it, and accepted answers; the first is trained on."""

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    title: str = ""

    @property
    def kind(self) -> str:
        """The last part of the id: in the course's own questions direct, paraphrase, comparison."""
        return self.id.rsplit("-", 1)[-1]


@dataclass(frozen=True)
class QuestionDataset(Samples):
    """n questions; `len`, iteration over `Question`s, `subset`.

    Attributes:
        questions: n of them, each with at least one answer.
        name: where it comes from, for titles and messages.
        left_out: questions of the file that its context does not answer (SQuAD 2.0).
    """

    questions: tuple[Question, ...]
    name: str
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.questions)

    def __iter__(self) -> Iterator[Question]:
        return iter(self.questions)

    def take(self, indices: Sequence[int]) -> Self:
        """The questions with these indices, in this order."""
        return replace(self, questions=tuple(self.questions[i] for i in indices))


def read_squad(path: Path) -> QuestionDataset:
    """A JSON file in the layout of SQuAD 1.1 or 2.0.

    Questions that 2.0 marks as `is_impossible` are left out, with a warning that counts them:
    extractive tasks here expect an answer in the context.

    Raises ValueError naming the file, the place in it, the reason and what to do: no JSON, a key
    that is missing or of another type, an empty text, an id that occurs twice, an answer that is
    not where its `answer_start` says.
    """
    try:
        root = json.loads(decode(path))
    except json.JSONDecodeError as error:
        raise table_error(
            path,
            error.lineno,
            f"this is no JSON: {error.msg}.",
            "Write the file with a JSON library.",
        ) from None
    file = _Place(path, "the file", root)
    questions, ids, left_out = [], set(), 0
    for article in file.items("data"):
        title = article.value.get("title", "")
        for paragraph in article.items("paragraphs"):
            context = paragraph.text("context")
            for qa in paragraph.items("qas"):
                identifier, question = qa.text("id"), qa.text("question")
                if identifier in ids:
                    raise qa.error(f"the id {identifier!r} occurs twice.", "Number them anew.")
                ids.add(identifier)
                if qa.value.get("is_impossible"):
                    left_out += 1
                    continue
                answers = tuple(_answer(a, context) for a in qa.items("answers"))
                if not answers:
                    raise qa.error("there is no answer.", "Give one, or set is_impossible to true.")
                questions.append(Question(identifier, question, context, answers, str(title)))
    if left_out:
        warnings.warn(
            f"{path}: {left_out} questions without an answer in their context "
            f"(is_impossible) are left out, {len(questions)} stay.",
            stacklevel=3,
        )
    if not questions:
        raise file.error("there are no questions to answer.", "Give at least one.")
    return QuestionDataset(tuple(questions), path.name, left_out)


def _answer(place: _Place, context: str) -> Answer:
    text, start = place.text("text"), place.value.get("answer_start")
    if isinstance(start, bool) or not isinstance(start, int) or start < 0:
        raise place.error(
            f"expected a number of characters from 0 as answer_start, got {start!r}",
            "Count characters, not bytes or words.",
        )
    found = context[start : start + len(text)]
    if found != text:
        at = context.find(text)
        where = f"it is at {at}" if at >= 0 else "it is nowhere in the context"
        raise place.error(
            f"expected {text!r} at answer_start {start}, got {found!r}; {where}.",
            "Count characters of the context as it stands in the file.",
        )
    return Answer(text, start)


class _Place:
    """An object of the file, and how to get to it."""

    def __init__(self, path: Path, name: str, value: Any):
        self.path, self.name, self.value = path, name, value
        if not isinstance(value, dict):
            raise self.error(
                f"expected an object, got {type(value).__name__}.", "Use the layout of SQuAD 1.1."
            )

    def error(self, reason: str, cure: str) -> ValueError:
        return ValueError(f"{self.path}, {self.name}: {reason} {cure}")

    def items(self, key: str) -> list[_Place]:
        values = self.value.get(key)
        if not isinstance(values, list):
            raise self.error(
                f"expected a list {key!r}, got {type(values).__name__}.",
                "Use the layout of SQuAD 1.1: data, paragraphs, qas, answers.",
            )
        before = "" if self.name == "the file" else f"{self.name}."
        return [_Place(self.path, f"{before}{key}[{i}]", v) for i, v in enumerate(values)]

    def text(self, key: str) -> str:
        value = self.value.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"expected a text as {key!r}, got {value!r}.", "Fill it in.")
        return value
