"""Schemes of tags, told by their letters over a whole file, checked, and converted to BIO.

Ramshaw and Marcus (1995) for IOB1; Ratinov and Roth (2009), "Design challenges and misconceptions
in named entity recognition", for BILOU.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from .sources import place_error

TAG = re.compile(r"O|[BIESLUM]-\S+")
# Name of a scheme -> what its letters are in BIOES, which has one for each place in an entity.
SCHEMES = {
    "BIOES": {"B": "B", "I": "I", "E": "E", "S": "S"},
    "BILOU": {"B": "B", "I": "I", "L": "E", "U": "S"},
    "BMES": {"B": "B", "M": "I", "E": "E", "S": "S"},
}


class Row(NamedTuple):
    """A line of the file with its token and tag."""

    line: int
    token: str
    tag: str


def as_bio(path: Path, sentences: list[list[Row]]) -> tuple[list[list[Row]], str]:
    """The sentences with tags in BIO (IOB2), and which scheme they came in.

    - BIO: every entity begins with B-.
    - IOB1: I- may begin an entity, and B- stands only directly after another one of its type. Taken
      for it is a file where an I- begins an entity and every B- is of that kind.
    - BIOES, BILOU, BMES: an entity of one word is S- or U-, the last of several words E- or L-.

    Raises ValueError naming file and line for letters of several schemes, and for a tag that cannot
    follow the one before it.
    """
    letters: dict[str, Row] = {}
    for sentence in sentences:
        for row in sentence:
            letters.setdefault(row.tag[0], row)
    of_entities = {*letters} - {"O"}
    if of_entities <= {"B", "I"}:
        return _of_two_letters(path, sentences)
    for name, meaning in SCHEMES.items():
        if of_entities <= {*meaning}:
            return _of_four_letters(path, sentences, meaning), f"tags of {name}, made BIO"
    rows = sorted(letters[letter] for letter in of_entities)
    shown = ", ".join(f"{row.tag} (line {row.line})" for row in rows)
    raise place_error(
        path,
        rows[-1].line,
        f"expected tags of one scheme, BIO, BIOES, BILOU or BMES, got {shown}.",
        "write all tags in BIO.",
    )


def _of_two_letters(path: Path, sentences: list[list[Row]]) -> tuple[list[list[Row]], str]:
    pairs = [
        (before, row)
        for sentence in sentences
        for before, row in zip([Row(0, "", "O"), *sentence[:-1]], sentence, strict=True)
    ]
    orphans = [row for before, row in pairs if row.tag[0] == "I" and before.tag[1:] != row.tag[1:]]
    if not orphans:
        return sentences, "tags of BIO"
    for before, row in pairs:
        if row.tag[0] == "B" and before.tag[1:] != row.tag[1:]:
            line, token, tag = orphans[0]
            raise place_error(
                path,
                line,
                f"{tag} of {token!r} follows no {tag[2:]}, and this is no IOB1 either: "
                f"line {row.line} begins an entity with {row.tag}.",
                f"write B-{tag[2:]} here.",
            )
    first = {row.line for row in orphans}
    converted = [
        [row._replace(tag=f"B{row.tag[1:]}") if row.line in first else row for row in sentence]
        for sentence in sentences
    ]
    return converted, "tags of IOB1, made BIO"


def _of_four_letters(
    path: Path, sentences: list[list[Row]], meaning: dict[str, str]
) -> list[list[Row]]:
    named = {place: letter for letter, place in meaning.items()}
    converted = []
    for sentence in sentences:
        open_type, rows = None, []
        for row in [*sentence, Row(sentence[-1].line + 1, "", "O")]:
            place, kind = meaning.get(row.tag[0], "O"), row.tag[2:]
            inside = place in "IE" and place != "O"
            if inside != (open_type is not None) or (inside and kind != open_type):
                before = f"an open {open_type}" if open_type else f"no open {kind}"
                at = f"{row.tag} of {row.token!r}" if row.token else "the end of the sentence"
                raise place_error(
                    path,
                    row.line,
                    f"{at} follows {before}.",
                    f"{named['B']}- begins an entity of several words, {named['I']}- continues it, "
                    f"{named['E']}- is its last word, {named['S']}- is an entity of one word: "
                    "correct the tag here or before.",
                )
            open_type = kind if place in ("B", "I") else None
            rows.append(
                row._replace(tag=f"{'B' if place in 'BS' else 'I'}-{kind}" if kind else "O")
            )
        converted.append(rows[:-1])
    return converted
