"""Results kept on disk as they come, so that an interrupted experiment goes on where it was."""

from __future__ import annotations

import json
import os
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..disk import locked, replacing

FORMAT = "rlhf_lib journal 1"
CHECK = "crc32"  # of the rest of a row
NO_JOURNAL = "{} is not a journal of results, or its first line is damaged: give another name"

Row = dict[str, Any]


class Journal:
    """A JSON-lines file: a header with the settings, then one finished result a line.

    path: made if it is not there. None keeps nothing.
    settings: JSON values. A file that was begun with others is refused, because its results
        answer another question.
    valid: whether a row can be one of these results.

    A last line that was only half written (power failure, kill) is ignored and cut off. Other
    lines that cannot be read, or are not `valid`, are set aside in NAME.damaged with a warning that
    numbers them, and the rest is used. Several processes may write to one file.

    Attributes: rows, what the file held when it was opened: dicts, in order.

    Raises:
        ValueError: a file of other settings, of another format, or one that is no journal; settings
            that are no JSON values.
        OSError: a file that cannot be read, or not made.
    """

    def __init__(
        self,
        path: str | os.PathLike | None,
        settings: Row,
        valid: Callable[[Row], bool] = lambda row: True,
    ):
        self.path = None if path is None else Path(path).expanduser()
        self.rows: list[Row] = []
        self._valid = valid
        if self.path is None:
            return
        header = _header(settings)
        if self.path.exists() and not self.path.is_file():
            raise OSError(f"expected a file to keep results in, got a folder or device: {path}")
        if not self._read(header, mend=False):
            with locked(self.path):
                self._read(header, mend=True)

    def write(self, row: Row) -> None:
        """Append one result; it is on the disk when this returns. Raises OSError where it cannot be
        written; the file then ends as before."""
        if self.path is None:
            return
        with locked(self.path), self.path.open("rb+", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - 1, 0))
            # Another process may have been killed in the middle of its line.
            line = b"\n" * (file.read() != b"\n") + _line(row | {CHECK: _sum(row)}).encode()
            try:
                while line:  # a disk that fills up takes a part
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self.path, end)
                raise

    def check_writable(self) -> None:
        """Raises OSError where results could not be kept: before they are computed."""
        if self.path is not None:
            with locked(self.path), self.path.open("ab"):
                pass

    def _read(self, header: Row, *, mend: bool) -> bool:
        """Whether the file holds this header and whole rows; with `mend` it does thereafter."""
        assert self.path is not None
        content = self.path.read_bytes() if self.path.exists() else b""
        whole, newline, half = content.rpartition(b"\n")
        if not newline:
            if not _line(header).encode().startswith(half):
                raise ValueError(NO_JOURNAL.format(self.path))
            if mend:
                with replacing(self.path) as part:
                    part.write_text(_line(header))
            return False
        first, *lines = whole.split(b"\n")
        _agree(self.path, _parsed(first), header)
        rows = [_parsed(line) for line in lines]
        good = [row is not None and self._valid(row) for row in rows]
        self.rows = [row for row, fine in zip(rows, good, strict=True) if fine and row is not None]
        if mend and not all(good):
            self._set_aside(first, lines, good)
        elif mend and half:
            os.truncate(self.path, len(whole) + 1)
        return all(good) and not half

    def _set_aside(self, first: bytes, lines: list[bytes], good: list[bool]) -> None:
        assert self.path is not None
        aside = self.path.with_name(self.path.name + ".damaged")
        with aside.open("ab") as file:
            file.writelines(b + b"\n" for b, fine in zip(lines, good, strict=True) if not fine)
        with replacing(self.path) as part:
            kept = [b for b, fine in zip(lines, good, strict=True) if fine]
            part.write_bytes(b"\n".join([first, *kept, b""]))
        bad = ", ".join(str(i) for i, fine in enumerate(good, 2) if not fine)
        warnings.warn(
            f"{self.path}: line {bad} is damaged and was set aside in {aside.name}; what it held "
            "is computed again",
            stacklevel=4,
        )


def _header(settings: Row) -> Row:
    try:
        return json.loads(_line({"format": FORMAT, **settings}))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"settings: expected JSON values (text, numbers, lists, dicts) by name: {error}"
        ) from None


def _agree(path: Path, found: Row | None, header: Row) -> None:
    """Raises ValueError unless the file was begun with this header."""
    if found is None or not str(found.get("format", "")).startswith("rlhf_lib journal"):
        raise ValueError(NO_JOURNAL.format(path))
    if found["format"] != FORMAT:
        raise ValueError(
            f"expected a file of the format {FORMAT!r}, got {found['format']!r} in {path}: another "
            "version of this library wrote it; give another name"
        )
    other = [
        f"{key} is {found.get(key)!r} there and {header.get(key)!r} here"
        for key in sorted({*found, *header})
        # As text, in which NaN equals NaN.
        if json.dumps(found.get(key), sort_keys=True) != json.dumps(header.get(key), sort_keys=True)
    ]
    if other:
        raise ValueError(
            f"{path} holds results of other settings: {'; '.join(other)}. Give another "
            "name, or delete the file to begin again"
        )


def _parsed(line: bytes) -> Row | None:
    """The row of a line; None where it is damaged."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    said = row.pop(CHECK, None)  # older files have none
    return row if said in (None, _sum(row)) else None


def _sum(row: Row) -> int:
    """A checksum: another digit in a number is still a number."""
    return zlib.crc32(_line(row).encode())


def _line(value: Row) -> str:
    # repr of a float, which json writes, comes back as the same float.
    return json.dumps(value) + "\n"
