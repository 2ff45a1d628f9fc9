"""What tasks predict for new texts, and what they can be asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Numbers, abbreviations and hyphenated words are one word, other marks stand alone.
_WORD = re.compile(r"\w+(?:[-'’.,]\w+)*|[^\w\s]")


@dataclass(frozen=True)
class ClassPrediction:
    """The likeliest class of a text, its probability, and those of all classes by name."""

    label: str
    score: float
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Entity:
    """A named entity.

    type: as "PER". words: those that it is made of. score: mean probability of their tags.
    start, stop: characters of the text, `text[start:stop]`; of a list of words, its words.
    """

    type: str
    words: tuple[str, ...]
    score: float
    start: int
    stop: int


@dataclass(frozen=True)
class AnswerPrediction:
    """The likeliest answer to a question.

    text: `context[start:stop]`; None, with start and stop, where the context has no answer.
    score: product of the probabilities of its first and its last token, in its window.
    """

    text: str | None
    score: float
    start: int | None
    stop: int | None


@dataclass(frozen=True)
class TextScore:
    """How well a language model foresees a text.

    loss: mean cross-entropy of its tokens but the first, in nats. perplexity: exp(loss). tokens:
    how many are predicted.
    """

    loss: float
    perplexity: float
    tokens: int


def checked_texts(texts: Iterable[str], what: str = "texts") -> list[str]:
    """The texts as a list, each of them a string with something to read in it.

    Raises TypeError or ValueError, with its place, for the first that is none.
    """
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
        raise TypeError(
            f"{what}: expected a list of strings, got {_shown(texts)}. Do: for one, [text]."
        )
    found = list(texts)
    for i, text in enumerate(found):
        if not isinstance(text, str):
            raise TypeError(f"{what}[{i}]: expected a string, got {_shown(text)}.")
        if not text.strip():
            raise ValueError(
                f"{what}[{i}]: expected something to read, got {_shown(text)}. Do: leave it out."
            )
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"{what}[{i}]: expected characters of Unicode, got a lone surrogate at "
                    f"{error.start}. Do: decode the text anew from where it comes from."
                ) from None
    return found


def split_words(text: str) -> tuple[tuple[str, ...], list[tuple[int, int]]]:
    """The words and punctuation marks of a text, and the characters of each."""
    found = [*_WORD.finditer(text)]
    return tuple(m.group() for m in found), [m.span() for m in found]


def read_entities(
    words: Sequence[str],
    spans: Sequence[tuple[int, int]],
    label_names: Sequence[str],
    probabilities: Sequence[Sequence[float]],
) -> list[Entity]:
    """The entities of a sentence by the likeliest tag of each word, in strict BIO.

    spans: where each word lies. probabilities: of each word's tags, in the order of label_names.
    """
    best = [max(range(len(row)), key=row.__getitem__) for row in probabilities]
    parts: list[tuple[str, list[int]]] = []
    kind_before = ""  # of the entity that the word before belongs to
    for k, number in enumerate(best):
        place, _, kind = label_names[number].partition("-")
        if place == "B":
            parts.append((kind, []))
        elif place == "O" or kind != kind_before:
            kind_before = ""
            continue
        kind_before = kind
        parts[-1][1].append(k)
    return [
        Entity(
            kind,
            tuple(words[k] for k in ks),
            sum(probabilities[k][best[k]] for k in ks) / len(ks),
            spans[ks[0]][0],
            spans[ks[-1]][1],
        )
        for kind, ks in parts
    ]


def _shown(value: Any) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 60 else shown[:57] + '...'}"
