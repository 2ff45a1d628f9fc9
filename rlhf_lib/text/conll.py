"""Sentences with named entities, and how they are read from a file in the style of CoNLL-2003.

Sang and De Meulder (2003), "Introduction to the CoNLL-2003 shared task".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from .labels import alike
from .samples import Samples, as_tuple, checked_names, unusable
from .sources import Source, lines, place_error
from .tags import TAG, Row, as_bio

NUMBER = re.compile(r"\d+([-.]\d+)?")  # also of CoNLL-U: 1-2, 1.1


class Cells(NamedTuple):
    """A line of the file, counted from 1, cut into columns."""

    line: int
    columns: list[str]


@dataclass(frozen=True, repr=False)
class EntityDataset(Samples):
    """n sentences whose words have a tag each; `len`, iteration over `(tokens, tags)`, `subset`.

    Attributes:
        tokens: n tuples of words and punctuation marks, none empty.
        tags: n tuples of as many strings out of `label_names`, in the scheme BIO (IOB2): B-PER
            begins a person's name, I-PER continues it, O is outside of all.
        label_names: "O", then B- and I- of each type of entity.
        name: where it comes from, for titles and messages.
        guesses: what the reader took to be so, and found to fit the whole file.

    Raises ValueError for sentences with another number of tags than words, for tags that
    `label_names` does not have, and words that no tokenizer takes (lone surrogates).
    """

    tokens: tuple[tuple[str, ...], ...]
    tags: tuple[tuple[str, ...], ...]
    label_names: tuple[str, ...]
    name: str
    guesses: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        for key in ("tokens", "tags"):
            found = as_tuple(key, getattr(self, key))
            object.__setattr__(self, key, tuple(as_tuple(key, sentence) for sentence in found))
        object.__setattr__(self, "label_names", checked_names(self.label_names))
        if len(self.tokens) != len(self.tags):
            raise ValueError(
                f"{self.name}: expected tags of {len(self.tokens)} sentences, got {len(self.tags)}."
            )
        names = {*self.label_names}
        for place, (tokens, tags) in enumerate(self):
            if len(tokens) != len(tags):
                raise ValueError(
                    f"{self.name}, sentence {place}: expected {len(tokens)} tags, one a word, got "
                    f"{len(tags)}."
                )
            for word, tag in zip(tokens, tags, strict=True):
                reason = unusable(word) if isinstance(word, str) else f"expected str, got {word!r}."
                if tag not in names:
                    reason = f"expected a tag out of {list(self.label_names)}, got {tag!r}."
                if reason:
                    raise ValueError(f"{self.name}, sentence {place}: {reason}")

    def __len__(self) -> int:
        return len(self.tokens)

    def __iter__(self) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
        return iter(zip(self.tokens, self.tags, strict=True))

    @property
    def contents(self) -> str:
        """How many sentences and words, and how many entities of each type."""
        begun = Counter(tag[2:] for tags in self.tags for tag in tags if tag[0] == "B")
        kinds = ", ".join(f"{kind} {n}" for kind, n in begun.most_common(20)) or "no entities"
        return f"{len(self)} sentences, {sum(map(len, self.tokens))} words, {kinds}"

    def take(self, indices: Any) -> Self:
        """The sentences with these indices, in this order, or those where a mask is True."""
        rows = self._positions(indices)
        return replace(
            self, tokens=tuple(self.tokens[i] for i in rows), tags=tuple(self.tags[i] for i in rows)
        )


def tag_names(types: Sequence[str]) -> tuple[str, ...]:
    """("PER", "LOC") -> ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")."""
    return ("O", *(f"{place}-{kind}" for kind in types for place in "BI"))


def read_conll(
    path: Path,
    source: Source,
    label_names: Sequence[str] | None = None,
    token_column: int | None = None,
    tag_column: int | None = None,
) -> EntityDataset:
    """A file with a token a line, its tag in the last column, a blank line after each sentence.

    Columns are separated by tabs, or by spaces where the file has no tab, and every line has as
    many. Those that are neither tokens nor tags (parts of speech, chunks) are skipped, and so are
    lines that begin with -DOCSTART- and comments: "# " and another number of columns. Tags are
    BIO, IOB1, BIOES, BILOU or BMES (see `as_bio`), and become BIO.

    label_names: "O" and the tags in order; None takes O, then B- and I- of every type found, the
        types sorted.
    token_column, tag_column: their numbers, counted from 1. None takes the first column, or the
        second where the first counts the words of each sentence, and the last.
    Raises ValueError naming file, line, reason and what to do.
    """
    sentences, comments = _sentences(path, source.text)
    if not sentences:
        raise place_error(
            path,
            1,
            "there are no sentences.",
            "write a token and its tag a line, and a blank line after a sentence.",
        )
    width = len(sentences[0][0].columns)
    for key, column in (("text_column", token_column), ("label_column", tag_column)):
        if column is not None and not 1 <= column <= width:
            raise ValueError(f"{key}: expected a number from 1 to {width}, got {column!r}.")
    last = (tag_column or width) - 1
    first = _token_column(path, sentences, last) if token_column is None else token_column - 1
    if tag_column is None:
        _refuse_other_tags(path, sentences, last)
    rows = [[_row(path, cells, first, last) for cells in sentence] for sentence in sentences]
    converted, scheme = as_bio(path, rows)
    flat = [row for sentence in converted for row in sentence]
    types = sorted({row.tag[2:] for row in flat} - {""})
    for one, other in alike(types) if label_names is None else ():
        line = next(row.line for row in flat if row.tag[2:] == other)
        raise place_error(
            path,
            line,
            f"the types {one} and {other} look like one.",
            f"write them alike, or label_names={tag_names(types)} for two.",
        )
    names = tuple(label_names or tag_names(types))
    for row in flat:
        if row.tag not in names:
            raise place_error(
                path,
                row.line,
                f"expected a tag out of {list(names)}, got {row.tag!r}.",
                "correct it, or give other label_names.",
            )
    guesses = [f"tokens from column {first + 1}, tags from column {last + 1} of {width}", scheme]
    guesses += [f"{comments} comments are left out"] if comments else []
    return EntityDataset(
        tuple(tuple(row.token for row in sentence) for sentence in converted),
        tuple(tuple(row.tag for row in sentence) for sentence in converted),
        names,
        path.name,
        (*source.guesses, *guesses),
    )


def _sentences(path: Path, text: str) -> tuple[list[list[Cells]], int]:
    """The lines of each sentence, all of one width, and how many comments were left out."""
    everything = [_columns(line) for line in lines(text)]
    says = [cells for cells in everything if any(cells) and cells[0] != "-DOCSTART-"]
    width = len(next((cells for cells in says if cells[0] != "#"), says[0] if says else []))
    sentences: list[list[Cells]] = [[]]
    comments = 0
    for number, columns in enumerate(everything, 1):
        if not any(columns) or columns[0] == "-DOCSTART-":
            sentences.append([])
        elif columns[0] == "#" and len(columns) != width:
            comments += 1
        elif len(columns) < 2 or len(columns) != width or not columns[0]:
            expected = "a token and its tag" if width <= 2 else f"{width} columns as before"
            raise place_error(
                path,
                number,
                f"expected {expected}, got {' '.join(columns)!r}.",
                "separate them by a tab or a space, as many in each line; or, if this is plain "
                'text, documents="lines".',
            )
        else:
            sentences[-1].append(Cells(number, columns))
    return [sentence for sentence in sentences if sentence], comments


def _columns(line: str) -> list[str]:
    # Not str.split(): a no-break space inside a token separates nothing.
    line = line.strip(" \t")
    return [c.strip(" ") for c in line.split("\t")] if "\t" in line else re.split(" +", line)


def _row(path: Path, cells: Cells, first: int, last: int) -> Row:
    token, tag = cells.columns[first], cells.columns[last]
    if not token:
        raise place_error(path, cells.line, "the token is missing.", "fill it in.")
    if broken := unusable(token):
        raise ValueError(f"{path}, line {cells.line}: {broken}")
    if not TAG.fullmatch(tag):
        raise place_error(
            path,
            cells.line,
            f"expected a tag O, B-TYPE or I-TYPE in column {last + 1}, got {tag!r}.",
            "put the tags into the last column, or name another by label_column= and its number; "
            "write tags as BIO, IOB1, BIOES, BILOU or BMES do; delete the line if it is a comment.",
        )
    return Row(cells.line, token, tag)


def _token_column(path: Path, sentences: list[list[Cells]], last: int) -> int:
    """0, or 1 where the first column counts the words of each sentence.

    Raises ValueError where the first column has numbers, or one name a sentence, and no words.
    """
    firsts = [[cells.columns[0] for cells in sentence] for sentence in sentences]
    words = [word for sentence in firsts for word in sentence]
    width = len(sentences[0][0].columns)
    counts = all(
        sentence in ([*map(str, range(k, k + len(sentence)))] for k in (0, 1))
        for sentence in firsts
    )
    if counts and width > 2 and last != 1:
        return 1
    numbers = sum(NUMBER.fullmatch(word) is not None for word in words)
    named = all(len(set(sentence)) == 1 for sentence in firsts) and len(words) > len(firsts)
    what = None
    if (counts and len(words) > 1) or (width > 2 and 2 * numbers > len(words)):
        what = "mostly numbers"
    elif width > 2 and named and len(words) > 3:
        what = "one name a sentence"
    if what:
        raise place_error(
            path,
            sentences[0][0].line,
            f"the first column has {what}, as {words[0]!r}: are these the words?",
            "text_column= the number of the words' column, as text_column=2, or text_column=1.",
        )
    return 0


def _refuse_other_tags(path: Path, sentences: list[list[Cells]], last: int) -> None:
    """ValueError where a second column has tags of the same types, as of nested entities."""
    rows = [cells for sentence in sentences for cells in sentence]
    types = {cells.columns[last][2:] for cells in rows} - {""}
    for column in range(1, len(rows[0].columns)):
        values = {cells.columns[column] for cells in rows}
        tags = column != last and all(map(TAG.fullmatch, values))
        if tags and types & {tag[2:] for tag in values}:
            raise place_error(
                path,
                rows[0].line,
                f"the columns {column + 1} and {last + 1} both have tags of {', '.join(types)}.",
                f"label_column={column + 1} or label_column={last + 1}.",
            )


def looks_like_conll(text: str) -> bool:
    """Whether the first line that says anything is -DOCSTART- or ends in a tag, and most do."""
    said = [c for c in map(_columns, lines(text)) if any(c) and c[0] != "#"]
    if not said or said[0][0] == "-DOCSTART-":
        return bool(said)
    tagged = [len(c) > 1 and TAG.fullmatch(c[-1]) is not None for c in said]
    return tagged[0] and sum(tagged) * 2 > len(tagged)
