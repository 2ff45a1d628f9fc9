"""Read a table of texts: which separator, what quotes mean, each guess held against all rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .sources import LINE_END, lines, place_error

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SAID = re.compile(r'"?sep=(.)"?(\r\n|\r|\n)')  # Excel's own line before the header
DO_QUOTE = (
    "put values that hold a separator, a quote or a line break into double quotes, and double "
    "the quotes inside"
)


class Table(NamedTuple):
    """Column names (lower case), `(place, {column: value})` of each row, and what was guessed.

    A place is "line 3", where the row begins, or of JSON "item 3". Values are strings without
    white space around them; of JSON's a list stays one.
    """

    names: list[str]
    rows: list[tuple[str, dict[str, Any]]]
    guesses: tuple[str, ...]


class Line(NamedTuple):
    """A row: its first and last line in the file, counted from 1, and its values."""

    first: int
    last: int
    values: list[str]


class Misfit(Exception):
    """A way to read the table does not fit: (line, reason)."""


def column_error(
    path: Path, place: str, names: Sequence[str], column: str, required: Sequence[str]
) -> ValueError:
    """That a column is not there, and what to do."""
    free = next((name for name in names if name and name not in required), names[0])
    argument = {"text": "text_column", "label": "label_column"}.get(column)
    cure = "correct the name of the column"
    if argument:
        cure = f"if another one is meant, name it, as {argument}={free!r}"
        cure += " (or label_column=None for texts alone)" if column == "label" else ""
        cure += f"; if these are no names, write a line of names above, as {','.join(required)}"
    return ValueError(
        f"{path}, {place}: expected one column {column}, got the columns {', '.join(names)}. "
        f"Do: {cure}."
    )


def read_table(
    path: Path,
    text: str,
    required: Sequence[str],
    *,
    separator: str | None = None,
    quotes: bool | None = None,
    label: str | None = None,
) -> Table:
    """A table with the names of its columns in the first line that is not blank.

    required: columns that have to be there. Without a `separator` that one is taken by which the
    first line has them all; a line `sep=;` before it says so itself. quotes: whether double quotes
    enclose values; None: they do, but in tables of tabs only where this fits, for many programs
    write those without. label: the column whose values tell a row inside of quotes from a text.

    Raises ValueError naming file, line and what to do: for a row with more or fewer columns, a
    column that is missing or there twice, quotes that do not close or that seem to hold rows.
    """
    said = SAID.match(text)
    skipped = 0
    if said:
        text, skipped, separator = text[said.end() :], 1, separator or said[1]
    head = next((line for line in LINE_END.split(text) if line.strip()), "")
    tabs = suffix_of(path) in (".tsv", ".tab")
    order = [separator] if separator else sorted(SEPARATORS, key=lambda s: (s == "\t") != tabs)
    headers = {s: _header(head, s, quotes) for s in order}
    fitting = [s for s in order if all(headers[s].count(column) == 1 for column in required)]
    if not head:
        raise place_error(
            path, 1, "there are no rows.", f"write a header {','.join(required)}, then the rows."
        )
    chosen = fitting[0] if fitting else max(order, key=lambda s: len(headers[s]))
    line = skipped + 1 + lines(text).index(head)
    for column in required:
        if headers[chosen].count(column) != 1:
            if column in headers[chosen]:
                _names(path, Line(line, line, headers[chosen]))
            raise column_error(path, f"line {line}", headers[chosen], column, required)
    table = _Reading(path, text, chosen, skipped)
    rows, guesses = table.rows(quotes, headers[chosen].index(label) if label else None)
    kind = SEPARATORS.get(chosen, repr(chosen))
    guesses = [f"columns separated by {kind}: {', '.join(rows[0].values)}", *guesses]
    names = _names(path, rows[0])
    if len(rows) < 2:
        raise place_error(
            path, rows[0].last, "there are no rows.", "write one line per row under the header."
        )
    found = [(f"line {row.first}", dict(zip(names, row.values, strict=True))) for row in rows[1:]]
    return Table(names, found, tuple(guesses))


def suffix_of(path: Path) -> str:
    """The suffix in lower case, without that of gzip."""
    inner = Path(path.stem) if path.suffix.lower() == ".gz" else path
    return inner.suffix.lower()


def has_header(text: str) -> bool:
    """Whether a separator finds the columns text and label in the first line, or names one."""
    head = next((line for line in lines(text) if line.strip()), "")
    headers = [_header(head, separator, None) for separator in SEPARATORS]
    return (
        any(h.count("text") == h.count("label") == 1 for h in headers)
        or SAID.match(text) is not None
    )


def table_width(path: Path, text: str) -> int:
    """How many columns a text has if some separator cuts all its rows alike; 0 if none does."""
    for separator in SEPARATORS:
        rows = _Reading(path, text, separator, 0).fitting(quotes=True)
        few = 5 if separator == "," else 2  # texts have commas, too
        if len(rows) >= few and len(rows[0].values) > 1:
            return len(rows[0].values)
    return 0


def _header(head: str, separator: str, quotes: bool | None) -> list[str]:
    quoting = csv.QUOTE_NONE if quotes is False else csv.QUOTE_MINIMAL
    reader = csv.reader([head], delimiter=separator, quoting=quoting)
    return [value.strip().lower() for value in next(reader)]


def _names(path: Path, header: Line) -> list[str]:
    names = [value.lower() or f"column {i}" for i, value in enumerate(header.values, 1)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise place_error(
            path,
            header.first,
            f"there are {names.count(twice)} columns {twice}: {', '.join(names)}.",
            "give each a name of its own.",
        )
    return names


class _Reading:
    """A table's text with its separator, read with quotes or without."""

    def __init__(self, path: Path, text: str, separator: str, skipped: int):
        self.path, self.text, self.separator, self.skipped = path, text, separator, skipped

    def rows(self, quotes: bool | None, label: int | None) -> tuple[list[Line], list[str]]:
        """Header and rows, all of one width, and what was guessed; ValueError if none fits."""
        if quotes is None and '"' in self.text and self.separator == "\t":
            quotes = self._quotes_of_tabs(label)
        try:
            rows, guesses = self._parse(quotes is not False)
        except Misfit as error:
            line, reason, cure = error.args
            if quotes is None and '"' in self.text and self.fitting(False):
                cure += ", or, if quotes are part of the texts, load_dataset(path, quotes=False)"
            raise place_error(self.path, line, reason, f"{cure}.") from None
        if quotes is None:
            self._refuse_swallowed(rows, label)
        if '"' in self.text:
            meaning = "are part of the texts" if quotes is False else "enclose values"
            guesses.append(f"double quotes {meaning}")
        return rows, guesses

    def _quotes_of_tabs(self, label: int | None) -> bool | None:
        """Whether quotes enclose values in a table of tabs; None where nothing speaks for it."""
        quoted, plain = self.fitting(True), self.fitting(False)
        if not plain or '"' in lines(self.text)[0]:
            return None
        if not quoted or len(quoted) == len(plain):
            return bool(quoted)
        if label is None:
            return None
        known, found = ({row.values[label] for row in rows[1:]} for rows in (quoted, plain))
        return False if found <= known else None

    def fitting(self, quotes: bool) -> list[Line]:
        """The rows of this reading; none where it does not fit."""
        try:
            return self._parse(quotes)[0]
        except Misfit:
            return []

    def _parse(self, quotes: bool) -> tuple[list[Line], list[str]]:
        quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
        reader = csv.reader(
            io.StringIO(self.text, newline=""),
            delimiter=self.separator,
            quoting=quoting,
            strict=True,
        )
        rows: list[Line] = []
        stripped = empty = 0
        first = 1
        limit = csv.field_size_limit(min(len(self.text) + 1, 2**31 - 1))  # by default 131,072
        try:
            while True:
                first = reader.line_num + 1
                raw = next(reader, None)
                if raw is None:
                    break
                values = [value.strip() for value in raw]
                if any(values):
                    stripped += sum(map(str.__ne__, raw, values))
                    rows.append(Line(first + self.skipped, reader.line_num + self.skipped, values))
                else:
                    empty += bool(raw[1:])
        except csv.Error as error:
            raise Misfit(first + self.skipped, f"{error}.", DO_QUOTE) from None
        finally:
            csv.field_size_limit(limit)
        guesses = [f"{empty} rows without any value are left out"] if empty else []
        guesses += [f"white space around {stripped} values is cut off"] if stripped else []
        return self._one_width(rows, guesses), guesses

    def _one_width(self, rows: list[Line], guesses: list[str]) -> list[Line]:
        """The rows without an empty column behind a separator at each line's end."""
        if not rows:
            return []
        header, *body = rows
        width = len(header.values)
        ends = all(not row.values[-1] for row in body)
        if body and ends and all(len(row.values) == width + 1 for row in body):
            body = [row._replace(values=row.values[:-1]) for row in body]
            guesses.append("the separator at the end of each row is left out")
        elif body and ends and not header.values[-1] and all(len(r.values) == width for r in body):
            header, *body = [row._replace(values=row.values[:-1]) for row in rows]
            guesses.append("the separator at the end of each row is left out")
        width = len(header.values)
        for row in body:
            if len(row.values) != width:
                raise Misfit(
                    row.first,
                    f"expected {width} columns ({', '.join(header.values)}), got "
                    f"{len(row.values)}.",
                    f"write {width} values in each line; {DO_QUOTE}",
                )
        return [header, *body]

    def _refuse_swallowed(self, rows: list[Line], label: int | None) -> None:
        """ValueError where lines inside of quotes are rows by themselves."""
        known = {row.values[label] for row in rows[1:]} if label is not None else set()
        everything: list[str] = []
        for row in rows:
            if row.first == row.last:
                continue
            place = next((i for i, v in enumerate(row.values) if LINE_END.search(v)), 0)
            doubtful = self.separator == "\t" and "\t" in row.values[place]
            if label is not None and not doubtful:
                everything = everything or lines(self.text)
                inside = everything[row.first - self.skipped - 1 : row.last - self.skipped]
                # Of the first and the last line the row's own label may be outside of the quotes.
                inside = inside[place >= label : len(inside) - (place <= label)]
                cells = [line.split(self.separator) for line in inside]
                doubtful = any(
                    len(c) == len(row.values) and c[label].strip() in known for c in cells
                )
            if doubtful:
                raise place_error(
                    self.path,
                    row.first,
                    f"a quote opens here and closes on line {row.last}, and what lies between "
                    "looks like rows.",
                    "load_dataset(path, quotes=False) if quotes are part of the texts, "
                    "quotes=True if this is one text.",
                )
