"""From the rows of a table or of JSON to a data set: texts or pairs, labels, groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .labels import MISSING, SPELLINGS, Doubt, class_names, numbers_of, order
from .records import read_records
from .sources import Source
from .tables import Table, read_table
from .texts import TextDataset, TextPair


@dataclass(frozen=True)
class Columns:
    """Which columns a table's texts, labels, splits and groups are in, and how to read it."""

    text: str = "text"
    second: str | None = None
    label: str | Sequence[str] | None = "label"
    split: str | None = None
    group: str | None = None
    regression: bool = False
    separator: str | None = None
    quotes: bool | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns of labels: one, none, or one a class."""
        names = (self.label,) if isinstance(self.label, str) else self.label or ()
        return tuple(name.strip().lower() for name in names)

    @property
    def others(self) -> tuple[str, ...]:
        """The columns of texts, and of groups."""
        names = (self.text, self.second, self.group)
        return tuple(name.strip().lower() for name in names if name is not None)


def read_texts(
    path: Path,
    source: Source,
    columns: Columns,
    label_names: Sequence[str] | None = None,
    of_json: bool = False,
) -> TextDataset:
    """A table of a file, or rows of JSON, as one data set.

    label_names: classes in order; None takes those found, sorted, numbers by value.
    Raises ValueError naming file, line, reason and what to do.
    """
    required = (*columns.others, *columns.labels)
    one_label = columns.labels[0] if len(columns.labels) == 1 else None
    different = required[: 1 + (columns.second is not None)] + columns.labels
    if len({*different}) < len(different):
        raise ValueError(f"columns: expected different ones, got {', '.join(different)}.")
    if label_names is not None and (columns.regression or one_label is None):
        raise ValueError(
            f"label_names: expected None without one column of classes, got {label_names!r}."
        )
    if of_json:
        table = read_records(path, source.text, required)
    else:
        table = read_table(
            path,
            source.text,
            required,
            separator=columns.separator,
            quotes=columns.quotes,
            label=one_label,
        )
    of_labels = columns.labels
    for place, row in table.rows:
        for column in required:
            value = row[column]
            if not isinstance(value, str) or not value:
                _refuse_value(path, place, column, value, column in of_labels)
    said = _checked_splits(path, table, columns.split)
    labels, names, more = _labels(path, table, columns, one_label, label_names)

    def strings(column: str) -> tuple[str, ...]:
        return tuple(str(row[column]) for _, row in table.rows)

    text, *rest = columns.others
    texts: Any = strings(text)
    if columns.second is not None:
        texts = tuple(map(TextPair, texts, strings(rest[0])))
    others = columns.others
    missing = sum(row[column] in MISSING for _, row in table.rows for column in others)
    if missing:
        said.append(f"{missing} texts are words for a missing value, as NA; they are kept")
    return TextDataset(
        texts=texts,
        labels=labels,
        label_names=names,
        name=path.name,
        columns={column: strings(column) for column in table.names if column not in required},
        groups=strings(rest[-1]) if columns.group is not None else (),
        guesses=(*source.guesses, *table.guesses, *said, *more),
    )


def _checked_splits(path: Path, table: Table, column: str | None) -> list[str]:
    """What the values of the column of splits mean; ValueError for one that is not known."""
    key = column.strip().lower() if column is not None else ""
    if key not in table.names:
        if key in ("", "split"):
            return []
        raise ValueError(
            f"split_column: expected one of the columns {', '.join(table.names)} of {path}, got "
            f"{column!r}."
        )
    meanings: dict[str, str] = {}
    for place, row in table.rows:
        value = str(row[key])
        if value.lower() not in SPELLINGS:
            raise ValueError(
                f"{path}, {place}: expected train, validation or test in the column {key}, got "
                f"{value!r}. Do: correct it, or split_column=None to read all rows as one data set."
            )
        meanings[value] = SPELLINGS[value.lower()]
    return [f"{key} {value!r} means {meaning}" for value, meaning in meanings.items()]


def _refuse_value(path: Path, place: str, column: str, value: Any, is_label: bool) -> None:
    """ValueError for what is no string, but a list of strings as label."""
    reason = f"expected a string as {column}, got {type(value).__name__}. Do: write one text a row."
    if value == "":
        reason = f"the {column} is missing. Do: fill it in or delete the row."
    elif is_label and isinstance(value, list):
        wrong = [part for part in value if not isinstance(part, str)]
        if not wrong:
            return
        reason = f"expected a list of strings as {column}, got {wrong[0]!r}. Do: write names."
    raise ValueError(f"{path}, {place}: {reason}")


def _labels(
    path: Path,
    table: Table,
    columns: Columns,
    one_label: str | None,
    label_names: Sequence[str] | None,
) -> tuple[tuple[Any, ...], tuple[str, ...], list[str]]:
    """Labels, names of classes, and what was guessed of them."""
    places = [place for place, _ in table.rows]

    def doubtful(make: Callable[[Sequence[Any]], Any], values: Sequence[Any]) -> Any:
        try:
            return make(values)
        except Doubt as doubt:
            row, reason, cure = doubt.args
            raise ValueError(f"{path}, {places[row]}: {reason} Do: {cure}") from None

    if not columns.labels:
        return (), (), ["texts alone, without labels"]
    if one_label is None:
        return _indicators(path, table, columns.labels), columns.labels, ["a class a column"]
    values = [row[one_label] for _, row in table.rows]
    if columns.regression:
        commas = any("," in value for value in values)
        said = ["numbers with a comma before the fraction"] if commas else []
        return doubtful(numbers_of, list(map(str, values))), (), said
    several = [isinstance(value, list) for value in values]
    if any(several):
        if not all(several):
            raise ValueError(
                f"{path}, {places[several.index(False)]}: expected a list of labels as in other "
                f"rows, got {values[several.index(False)]!r}. Do: write a list."
            )
        found = {name for value in values for name in value}
        names = tuple(label_names or sorted(found, key=order(tuple(found))))
        for place, value in zip(places, values, strict=True):
            _known(path, place, value, names)
        rows = tuple(tuple(int(name in value) for name in names) for value in values)
        return rows, names, ["several classes a text"]
    if label_names is None:
        names = doubtful(class_names, values)
        if len(names) < 2:
            raise ValueError(
                f"{path}, {places[-1]}: every label up to here is {values[0]!r}, and a classifier "
                "needs two classes. Do: add rows of another class, or give label_names."
            )
    else:
        names = tuple(label_names)
        for place, value in zip(places, values, strict=True):
            _known(path, place, [value], names)
    number = {name: i for i, name in enumerate(names)}
    return tuple(number[value] for value in values), names, []


def _known(path: Path, place: str, values: Sequence[str], names: Sequence[str]) -> None:
    for value in values:
        if value not in names:
            raise ValueError(
                f"{path}, {place}: expected a label out of {list(names)}, got {value!r}. "
                "Do: correct it, or give other label_names."
            )


def _indicators(path: Path, table: Table, labels: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Rows of 0 and 1 from a column a class."""
    meaning = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
    for place, row in table.rows:
        for name in labels:
            if str(row[name]).lower() not in meaning:
                raise ValueError(
                    f"{path}, {place}: expected 0 or 1 in the column {name}, got {row[name]!r}. "
                    "Do: write 1 where the text has this class."
                )
    return tuple(tuple(meaning[str(row[name]).lower()] for name in labels) for _, row in table.rows)
