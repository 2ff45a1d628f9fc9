"""Read rows of texts from JSON: an object a line (JSONL), or one list of objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .samples import unusable
from .sources import lines, place_error
from .tables import Table, column_error


def is_records(text: str) -> bool:
    """Whether a JSON text is a list, or an object and another after it, as JSONL has."""
    if text.lstrip()[:1] != "{":
        return text.lstrip()[:1] == "["
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.msg == "Extra data"
    except (ValueError, RecursionError):
        pass  # the reader says why
    return False


def read_json(path: Path, text: str, first: int = 1) -> Any:
    """What a JSON text says; ValueError for what is none, for NaN, and for a key twice in one
    object, of which only the last would be kept.

    first: the text's first line in the file.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise place_error(
                path, first, f"the key {twice!r} is there twice in one object.", "keep one of them."
            )
        return found

    def constant(name: str) -> Any:
        raise place_error(path, first, f"{name} is no value of JSON.", "write null or a number.")

    def integer(digits: str) -> int:
        if len(digits) > 400:  # no float holds it
            raise place_error(path, first, f"{digits[:9]}... is too large.", "write a string.")
        return int(digits)

    hooks = {"object_pairs_hook": unique, "parse_constant": constant, "parse_int": integer}
    try:
        return json.loads(text, **hooks)
    except json.JSONDecodeError as error:
        raise place_error(
            path,
            first + error.lineno - 1,
            f"this is no JSON: {error.msg}.",
            "write the file with a JSON library, of JSONL each object on one line.",
        ) from None
    except RecursionError:
        raise place_error(path, first, "this is nested too deeply.", "write flat rows.") from None


def first_keys(text: str) -> set[str]:
    """The keys of the first row; none where it is no JSON, which the reader will say."""
    for part in (next((line for line in lines(text) if line.strip()), ""), text):
        try:
            found = json.loads(part)
        except (ValueError, RecursionError):
            continue
        found = found[0] if isinstance(found, list) and found else found
        return {*found} if isinstance(found, dict) else set()
    return set()


def read_rows(path: Path, text: str) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """(place, object) of each row, none of another type, and how they are written."""
    if text.lstrip().startswith("["):
        found = [(f"item {i}", item) for i, item in enumerate(read_json(path, text), 1)]
        guess = "JSON, a list of rows"
    else:
        numbered = [(i, line) for i, line in enumerate(lines(text), 1) if line.strip()]
        found = [(f"line {i}", read_json(path, line, i)) for i, line in numbered]
        guess = "JSON, a row a line"
    for place, item in found:
        if not isinstance(item, dict):
            raise ValueError(
                f"{path}, {place}: expected an object, got {type(item).__name__}. Do: write rows "
                f'such as {{"text": "...", "label": "..."}}.'
            )
    return found, guess


def read_records(path: Path, text: str, required: Sequence[str]) -> Table:
    """Objects with the same keys as a table's columns; numbers, true and false become strings.

    Raises ValueError naming the file, the line or item, and what to do.
    """
    found, guess = read_rows(path, text)
    rows, names = [], {}
    for place, item in found:
        row = {}
        for key, value in item.items():
            name = key.strip().lower()
            if name in row:
                raise ValueError(
                    f"{path}, {place}: expected keys that differ by more than case, got {name!r} "
                    "twice. Do: rename one of them."
                )
            row[name] = _value(value)
            for part in _strings(row[name]):
                if broken := unusable(part):
                    raise ValueError(f"{path}, {place}, {key!r}: {broken}")
        rows.append((place, row))
        names.update(dict.fromkeys(row))
    if not rows:
        raise place_error(path, 1, "there are no rows.", 'write {"text": ..., "label": ...}.')
    for column in required:
        if column not in names:
            raise column_error(path, rows[0][0], list(names), column, required)
    full = [(place, {name: row.get(name, "") for name in names}) for place, row in rows]
    return Table(list(names), full, (f"{guess}, with the keys {', '.join(names)}",))


def _strings(value: Any) -> list[str]:
    """A value's strings, of lists and objects all that are in them."""
    if isinstance(value, list | dict):
        inside = value if isinstance(value, list) else [*value, *value.values()]
        return [text for part in inside for text in _strings(part)]
    return [value] if isinstance(value, str) else []


def _value(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return [_value(v) for v in value]
    return value if isinstance(value, dict) else json.dumps(value)
