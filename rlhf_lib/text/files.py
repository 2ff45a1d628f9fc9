"""Which kind of data a file holds, by its suffix or its content, and its reader."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from .conll import EntityDataset, looks_like_conll, read_conll
from .documents import UNITS, read_documents, read_folder
from .reading import Columns, read_texts
from .records import first_keys, is_records
from .sources import Source, decode
from .squad import QuestionDataset, read_squad
from .tables import has_header, suffix_of
from .texts import TextDataset

SUFFIXES = {
    **dict.fromkeys((".csv", ".tsv", ".tab"), "texts"),
    **dict.fromkeys((".jsonl", ".ndjson"), "records"),
    **dict.fromkeys((".conll", ".bio", ".bioes", ".iob", ".iob2"), "entities"),
}


@dataclass(frozen=True)
class FileOptions:
    """How a caller says that a file is read; see `load_dataset`."""

    text_column: str | int = "text"
    second_column: str | None = None
    label_column: str | int | Sequence[str] | None = "label"
    split_column: str | None = "split"
    group_column: str | None = None
    regression: bool = False
    documents: str | None = None
    encoding: str | None = None
    separator: str | None = None
    quotes: bool | None = None

    def __post_init__(self) -> None:
        kinds = {
            "text_column": (str, int),
            "second_column": (str, type(None)),
            "split_column": (str, type(None)),
            "group_column": (str, type(None)),
            "encoding": (str, type(None)),
            "regression": (bool,),
            "quotes": (bool, type(None)),
        }
        for key, kind in kinds.items():
            value = getattr(self, key)
            if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind):
                expected = " or ".join(k.__name__ for k in kind)
                raise ValueError(f"{key}: expected {expected}, got {value!r}.")
        label = self.label_column
        if not isinstance(label, str | int | None):
            names = tuple(label) if isinstance(label, Sequence) else ()
            if len(names) < 2 or not all(isinstance(name, str) for name in names):
                raise ValueError(
                    f"label_column: expected a name, None, or two names and more, got {label!r}."
                )
        if self.documents not in (None, *UNITS):
            raise ValueError(f"documents: expected one of {UNITS} or None, got {self.documents!r}.")
        if self.separator is not None and (
            not isinstance(self.separator, str)
            or len(self.separator) != 1
            or self.separator in '\r\n"'
        ):
            raise ValueError(f"separator: expected one character, got {self.separator!r}.")

    def given(self, *allowed: str) -> list[str]:
        """Names of the options that differ from their defaults, and are none of `allowed`."""
        changed = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
        return [name for name in changed if name not in (*allowed, "encoding")]

    def only(self, path: Path, kind: str, *allowed: str) -> None:
        """Raise ValueError for an option that files of this kind do not have."""
        for name in self.given(*allowed, "split_column"):
            raise ValueError(
                f"{name}: expected none, for {path} is read as {kind}, got "
                f"{getattr(self, name)!r}. Do: leave it out."
            )

    def numbers(self) -> list[int | None]:
        """The numbers of the columns of tokens and of tags; None for the usual ones."""
        found: list[int | None] = []
        for key, usual in (("text_column", "text"), ("label_column", "label")):
            value = getattr(self, key)
            if not isinstance(value, int) and value != usual:
                raise ValueError(
                    f"{key}: expected the number of a column, counted from 1, for a file of tokens "
                    f"and tags, got {value!r}."
                )
            found.append(None if value == usual else value)
        return found

    def columns(self) -> Columns:
        """What a table's reader needs of them."""
        text, label = self.text_column, self.label_column
        for key, value in (("text_column", text), ("label_column", label)):
            if isinstance(value, int):
                raise ValueError(f"{key}: expected the name of a column, got {value!r}.")
        assert isinstance(text, str) and not isinstance(label, int)
        return Columns(
            text,
            self.second_column,
            label,
            self.split_column,
            self.group_column,
            self.regression,
            self.separator,
            self.quotes,
        )


def read_file(
    path: Path, options: FileOptions, label_names: Sequence[str] | None
) -> TextDataset | EntityDataset | QuestionDataset:
    """The data set in a file or a folder."""
    if path.is_dir():
        options.only(path, "a folder of texts", "documents")
        return read_folder(path, options.documents, options.encoding, label_names)
    source = decode(path, options.encoding)
    kind = _kind(path, source, options)
    if kind == "documents":
        options.only(path, "plain text", "documents")
        _refuse_names(label_names, "plain text")
        return read_documents(path, source, options.documents)
    if kind in ("texts", "records"):
        return read_texts(path, source, options.columns(), label_names, kind == "records")
    if kind == "entities":
        options.only(path, "tokens and tags", "text_column", "label_column")
        return read_conll(path, source, label_names, *options.numbers())
    options.only(path, "questions")
    _refuse_names(label_names, "questions")
    return read_squad(path, source, kind == "rows of questions")


def _refuse_names(label_names: Sequence[str] | None, kind: str) -> None:
    if label_names is not None:
        raise ValueError(f"label_names: expected None for {kind}, got {label_names!r}.")


def _kind(path: Path, source: Source, options: FileOptions) -> str:
    suffix, text = suffix_of(path), source.text
    if options.documents is not None:
        return "documents"
    if suffix in (".tsv", ".tab") and looks_like_conll(text):
        return "entities"
    if suffix in SUFFIXES and SUFFIXES[suffix] != "records":
        return SUFFIXES[suffix]
    if suffix in SUFFIXES or suffix == ".json" or _is_json(text):
        rows = suffix in SUFFIXES or is_records(text)
        asks = rows and {"question", "context", "answers"} <= first_keys(text)
        return "rows of questions" if asks else "records" if rows else "questions"
    if looks_like_conll(text):
        return "entities"
    of_tables = options.given("documents", "split_column")
    return "texts" if of_tables or has_header(text) or not text.strip() else "documents"


def _is_json(text: str) -> bool:
    """Whether a text of unknown kind is JSON, whole or in its first line."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    for part in (text, text.lstrip().split("\n")[0]):
        try:
            json.loads(part)
        except (ValueError, RecursionError):
            continue
        return True
    return False
