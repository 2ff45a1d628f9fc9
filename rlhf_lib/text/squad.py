"""Questions whose answers are spans of a text, and how they are read from a file like SQuAD's.

Rajpurkar et al. (2016), "SQuAD: 100,000+ questions for machine comprehension of text".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from .records import read_json, read_rows
from .samples import Samples, unusable
from .sources import Source


class Answer(NamedTuple):
    """A span of a context: its text, and its first character, counted from 0."""

    text: str
    start: int


class Question(NamedTuple):
    """A question, a text, and the accepted answers in it; the first is trained on.

    There is no answer where the text has none (SQuAD 2.0).
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    title: str = ""

    @property
    def is_impossible(self) -> bool:
        """Whether its context does not answer it."""
        return not self.answers

    @property
    def kind(self) -> str:
        """The last part of the id: in the course's own questions direct, paraphrase, comparison."""
        return self.id.rsplit("-", 1)[-1]


@dataclass(frozen=True, repr=False)
class QuestionDataset(Samples):
    """n questions; `len`, iteration over `Question`s, `subset`.

    Attributes:
        questions: n of them.
        name: where it comes from, for titles and messages.
        guesses: what the reader says of the file.

    Raises ValueError for answers that are not where they say, and for texts that no tokenizer
    takes (lone surrogates).
    """

    questions: tuple[Question, ...]
    name: str
    guesses: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "questions", tuple(self.questions))
        for question in self.questions:
            if not isinstance(question, Question):
                raise ValueError(f"{self.name}: expected Questions, got {question!r}.")
            for text in (question.question, question.context):
                if reason := unusable(text):
                    raise ValueError(f"{self.name}, question {question.id}: {reason}")
            for answer in question.answers:
                if reason := misplaced(*answer, question.context):
                    raise ValueError(f"{self.name}, question {question.id}: {reason}")

    def __len__(self) -> int:
        return len(self.questions)

    def __iter__(self) -> Iterator[Question]:
        return iter(self.questions)

    @property
    def groups(self) -> tuple[str, ...]:
        """The titles: questions of one article belong into one fold."""
        return tuple(q.title for q in self.questions)

    @property
    def contents(self) -> str:
        """How many questions, of how many texts, and how many without an answer."""
        impossible = sum(q.is_impossible for q in self.questions)
        texts = len({q.context for q in self.questions})
        return f"{len(self)} questions of {texts} texts" + (
            f", {impossible} of them without an answer" if impossible else ""
        )

    def take(self, indices: Any) -> Self:
        """The questions with these indices, in this order, or those where a mask is True."""
        return replace(self, questions=tuple(self.questions[i] for i in self._positions(indices)))


def read_squad(path: Path, source: Source, of_rows: bool = False) -> QuestionDataset:
    """A JSON file in the layout of SQuAD 1.1 or 2.0, or rows of it as the library datasets writes.

    Questions that 2.0 marks as `is_impossible` are kept, without answers.

    Raises ValueError naming the file, the place in it, the reason and what to do: no JSON, a key
    that is missing, there twice or of another type, an empty text, an id that occurs twice, an
    answer that is not where its `answer_start` says.
    """
    if of_rows:
        articles = _of_rows(path, source.text)
    else:
        articles = _Place(path, "the file", read_json(path, source.text)).items("data")
    questions, ids = [], set()
    for article in articles:
        title = article.text("title") if article.value.get("title") else ""
        for paragraph in article.items("paragraphs"):
            context = paragraph.text("context")
            for qa in paragraph.items("qas"):
                identifier, question = qa.text("id"), qa.text("question")
                if identifier in ids:
                    raise qa.error(f"the id {identifier!r} occurs twice.", "Number them anew.")
                ids.add(identifier)
                impossible = qa.value.get("is_impossible", False)
                if not isinstance(impossible, bool):
                    raise qa.error(
                        f"expected true or false as 'is_impossible', got {impossible!r}.",
                        "Write it without quotes.",
                    )
                given = qa.items("answers") if "answers" in qa.value or not impossible else []
                answers = tuple(_answer(a, context) for a in given)
                if not answers and not impossible:
                    raise qa.error("there is no answer.", "Give one, or set is_impossible to true.")
                if answers and impossible:
                    raise qa.error(
                        "is_impossible is true, and there is an answer.",
                        "Delete the answer, or set is_impossible to false.",
                    )
                questions.append(Question(identifier, question, context, answers, title))
    if not questions:
        raise ValueError(f"{path}, the file: there are no questions. Give at least one.")
    return QuestionDataset(tuple(questions), path.name, source.guesses)


def _of_rows(path: Path, text: str) -> list[_Place]:
    """Articles of one question each, from rows whose answers are `{"text": [...], "answer_start":
    [...]}`."""
    articles = []
    for place, row in read_rows(path, text)[0]:
        found = row.get("answers")
        if isinstance(found, dict):
            texts, starts = found.get("text"), found.get("answer_start")
            if (
                not isinstance(texts, list)
                or not isinstance(starts, list)
                or len(texts) != len(starts)
            ):
                raise ValueError(
                    f"{path}, {place}: expected lists text and answer_start of one length in "
                    f"answers, got {found!r}. Do: write them as the library datasets does."
                )
            pairs = zip(texts, starts, strict=True)
            row["answers"] = [{"text": t, "answer_start": s} for t, s in pairs]
        row.setdefault("is_impossible", row.get("answers") == [])
        paragraph = {"context": row.get("context"), "qas": [row]}
        article = {"title": row.get("title", ""), "paragraphs": [paragraph]}
        articles.append(_Place(path, place, article))
    return articles


def _answer(place: _Place, context: str) -> Answer:
    text, start = place.text("text"), place.value.get("answer_start")
    if isinstance(start, bool) or not isinstance(start, int) or start < 0:
        raise place.error(
            f"expected a number of characters from 0 as answer_start, got {start!r}.",
            "Count characters, not bytes or words.",
        )
    if reason := misplaced(text, start, context):
        raise ValueError(f"{place.path}, {place.name}: {reason}")
    return Answer(text, start)


def misplaced(text: str, start: int, context: str) -> str | None:
    """Why an answer is not at its start, and what to do; None if it is there."""
    found = context[start : start + len(text)]
    if start >= 0 and found == text:
        return None
    places = [i for i in range(len(context)) if context.startswith(text, i)] if text else []
    where = (
        f"it is at {', '.join(map(str, places[:5]))}" if places else "it is nowhere in the context"
    )
    cure = "Count characters of the context as it stands in the file."
    for unit, encoding, size in (("bytes of UTF-8", "utf-8", 1), ("UTF-16 units", "utf-16-le", 2)):
        before = context.encode(encoding, "replace")[: start * size].decode(encoding, "ignore")
        if len(before) in places:
            cure = f"Count characters: {start} counts {unit}."
    return f"expected {text!r} at answer_start {start}, got {found!r}; {where}. {cure}"


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
                "Use the layout of SQuAD 1.1: data, paragraphs, qas, answers; or, for texts, a "
                'list of objects such as {"text": "...", "label": "..."}.',
            )
        before = "" if self.name == "the file" else f"{self.name}."
        return [_Place(self.path, f"{before}{key}[{i}]", v) for i, v in enumerate(values)]

    def text(self, key: str) -> str:
        value = self.value.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"expected a text as {key!r}, got {value!r}.", "Fill it in.")
        if broken := unusable(value):
            raise ValueError(f"{self.path}, {self.name}, {key!r}: {broken}")
        return value
