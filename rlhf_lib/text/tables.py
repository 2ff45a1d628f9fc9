"""Read a CSV or TSV file of a user, with the line and a cure in every error."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path


def table_error(path: Path, line: int, reason: str, cure: str) -> ValueError:
    return ValueError(f"{path}, line {line}: {reason} {cure}")


def read_table(
    path: Path, required: Sequence[str]
) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Column names (lower case) and `(line, {column: value})` of every row that is not blank.

    The tab separates the columns of .tsv, .tab and of files whose first line holds a tab and no
    comma, the comma those of others. Values are stripped of white space; those of the required
    columns must not be empty. A row's line is the one it begins on, counted from 1.
    Raises ValueError from `table_error`.
    """
    content = decode(path)
    header = content.partition("\n")[0]
    tabs = path.suffix.lower() in (".tsv", ".tab") or ("\t" in header and "," not in header)
    reader = csv.reader(
        io.StringIO(content, newline=""), delimiter="\t" if tabs else ",", strict=True
    )
    names: list[str] = []
    rows: list[tuple[int, dict[str, str]]] = []
    while True:
        line = reader.line_num + 1
        try:
            row = [value.strip() for value in next(reader)]
        except StopIteration:
            break
        except csv.Error as error:
            raise table_error(
                path,
                line,
                f"{error}.",
                "Put values that hold a separator, a quote or a line "
                "break into double quotes, and double the quotes inside.",
            ) from None
        if not any(row):
            continue
        if not names:
            names = [value.lower() for value in row]
            for column in required:
                if names.count(column) != 1:
                    raise table_error(
                        path,
                        line,
                        f"expected one column {column}, got the columns {', '.join(names)}.",
                        f"Make the first line: {','.join(required)}",
                    )
            continue
        if len(row) != len(names):
            raise table_error(
                path,
                line,
                f"expected {len(names)} columns ({', '.join(names)}), got {len(row)}.",
                "Fill in what is missing; put a text that holds the separator into double quotes.",
            )
        entry = dict(zip(names, row, strict=True))
        for column in required:
            if not entry[column]:
                raise table_error(
                    path, line, f"the {column} is missing.", "Fill it in or delete the row."
                )
        rows.append((line, entry))
    if not rows:
        raise table_error(
            path,
            1,
            "there are no rows.",
            f"Write a header {','.join(required)} and then one line per row.",
        )
    return names, rows


def decode(path: Path) -> str:
    """A file's text, UTF-8 with or without byte order mark; ValueError names the first bad line."""
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise table_error(
            path,
            raw.count(b"\n", 0, error.start) + 1,
            f"byte 0x{raw[error.start]:02x} is not UTF-8.",
            "Save the file with the encoding UTF-8.",
        ) from None
