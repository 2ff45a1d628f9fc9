"""Sentences with named entities, and how they are read from a file in the style of CoNLL-2003.

Sang and De Meulder (2003), "Introduction to the CoNLL-2003 shared task".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Self

from .samples import Samples
from .tables import decode, table_error

TAG = re.compile(r"O|[BI]-\S+")
Row = tuple[int, str, str]  # line, token, tag


@dataclass(frozen=True)
class EntityDataset(Samples):
    """n sentences whose words have a tag each; `len`, iteration over `(tokens, tags)`, `subset`.

    Attributes:
        tokens: n tuples of words and punctuation marks, none empty.
        tags: n tuples of as many strings out of `label_names`, in the scheme BIO (IOB2): B-PER
            begins a person's name, I-PER continues it, O is outside of all.
        label_names: "O", then B- and I- of each type of entity.
        name: where it comes from, for titles and messages.
    """

    tokens: tuple[tuple[str, ...], ...]
    tags: tuple[tuple[str, ...], ...]
    label_names: tuple[str, ...]
    name: str

    def __len__(self) -> int:
        return len(self.tokens)

    def __iter__(self) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
        return iter(zip(self.tokens, self.tags, strict=True))

    def take(self, indices: Sequence[int]) -> Self:
        """The sentences with these indices, in this order."""
        return replace(
            self,
            tokens=tuple(self.tokens[i] for i in indices),
            tags=tuple(self.tags[i] for i in indices),
        )


def tag_names(types: Sequence[str]) -> tuple[str, ...]:
    """("PER", "LOC") -> ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")."""
    return ("O", *(f"{place}-{kind}" for kind in types for place in "BI"))


def read_conll(path: Path, label_names: Sequence[str] | None = None) -> EntityDataset:
    """A file with a token a line, its tag in the last column, a blank line after each sentence.

    Columns are separated by tabs where a line has one, else by white space; those between the
    first and the last (parts of speech, chunks) are skipped, and so are lines that begin with
    -DOCSTART-. Tags are O, B-TYPE and I-TYPE, in one of two schemes:

    - BIO (IOB2): every entity begins with B-.
    - IOB1: I- may begin an entity, and B- stands only directly after another one of its type.
      The file is taken for IOB1 if an I- begins an entity and every B- is of that kind; its tags
      are converted to BIO.

    An I- that begins an entity in any other file is an error.

    label_names: "O" and the tags in order; None takes O, then B- and I- of every type found, the
        types sorted.
    Raises ValueError naming file, line, reason and what to do.
    """
    sentences = _sentences(path)
    if not sentences:
        raise table_error(
            path,
            1,
            "there are no sentences.",
            "Write a token and its tag a line, and a blank line after a sentence.",
        )
    sentences = _as_bio(path, sentences)
    rows = [row for sentence in sentences for row in sentence]
    names = tuple(label_names or tag_names(sorted({tag[2:] for _, _, tag in rows} - {""})))
    for line, _, tag in rows:
        if tag not in names:
            raise table_error(
                path,
                line,
                f"expected a tag out of {list(names)}, got {tag!r}.",
                "Correct it, or give other label_names.",
            )
    return EntityDataset(
        tuple(tuple(token for _, token, _ in sentence) for sentence in sentences),
        tuple(tuple(tag for _, _, tag in sentence) for sentence in sentences),
        names,
        path.name,
    )


def _sentences(path: Path) -> list[list[Row]]:
    sentences: list[list[Row]] = [[]]
    for number, line in enumerate(decode(path).split("\n"), 1):
        columns = _columns(line)
        if not any(columns) or columns[0] == "-DOCSTART-":
            sentences.append([])
            continue
        if len(columns) < 2 or not columns[0]:
            raise table_error(
                path,
                number,
                f"expected a token and its tag, got {line.strip()!r}.",
                "Separate them by a tab or a space.",
            )
        if not TAG.fullmatch(columns[-1]):
            raise table_error(
                path,
                number,
                f"expected a tag O, B-TYPE or I-TYPE in the last column, got {columns[-1]!r}.",
                "Put the tags into the last column; convert other schemes (BIOES, BILOU) to BIO.",
            )
        sentences[-1].append((number, columns[0], columns[-1]))
    return [sentence for sentence in sentences if sentence]


def _columns(line: str) -> list[str]:
    # Not str.split(): a no-break space inside a token separates nothing.
    line = line.strip(" \t\r")
    return [c.strip(" ") for c in line.split("\t")] if "\t" in line else re.split(" +", line)


def looks_like_conll(text: str) -> bool:
    """Whether the first line that says anything is -DOCSTART- or ends in a tag."""
    columns = next((c for c in map(_columns, text.split("\n")) if any(c)), [""])
    return columns[0] == "-DOCSTART-" or (
        len(columns) > 1 and TAG.fullmatch(columns[-1]) is not None
    )


def _as_bio(path: Path, sentences: list[list[Row]]) -> list[list[Row]]:
    pairs = [
        (before, row)
        for sentence in sentences
        for before, row in pairwise([(0, "", "O"), *sentence])
    ]
    orphans = [row for before, row in pairs if row[2][0] == "I" and before[2][1:] != row[2][1:]]
    if not orphans:
        return sentences
    for before, row in pairs:
        if row[2][0] == "B" and before[2][1:] != row[2][1:]:
            line, token, tag = orphans[0]
            raise table_error(
                path,
                line,
                f"{tag} of {token!r} follows no {tag[2:]}, and this is no IOB1 either: "
                f"line {row[0]} begins an entity with {row[2]}.",
                f"Write B-{tag[2:]} here.",
            )
    first = {line for line, _, _ in orphans}
    return [
        [(line, token, f"B{tag[1:]}" if line in first else tag) for line, token, tag in sentence]
        for sentence in sentences
    ]
