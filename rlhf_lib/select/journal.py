"""Results kept on disk as they come, so that an interrupted experiment goes on where it was."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FORMAT = "rlhf_lib journal 1"


class Journal:
    """A JSON-lines file: a header with the settings, then one finished result a line.

    path: made if it is not there. None keeps nothing.
    settings: JSON values. A file that was begun with others is refused, because its results
        answer another question.

    A last line that was only half written (power failure, kill) is ignored and cut off. One
    process at a time writes to a file.

    Attributes: rows, what the file held when it was opened: dicts, in order.

    Raises ValueError for a file of other settings, or one that is no journal.
    """

    def __init__(self, path: str | os.PathLike | None, settings: dict[str, Any]):
        self.path = None if path is None else Path(path).expanduser()
        self.rows: list[dict[str, Any]] = []
        if self.path is None:
            return
        header = json.loads(_line({"format": FORMAT, **settings}))
        content = self.path.read_bytes() if self.path.exists() else b""
        whole, newline, half = content.rpartition(b"\n")
        if not newline:
            if not _line(header).encode().startswith(half):
                raise ValueError(f"{self.path} is not a journal of results: give another name")
            self.path.write_text(_line(header) + "\n")
            return
        found: Any = None
        try:
            found, *self.rows = map(json.loads, whole.splitlines())
            begun = isinstance(found, dict) and found.get("format") == FORMAT
        except json.JSONDecodeError:
            begun = False
        if not begun:
            raise ValueError(f"{self.path} is not a journal of results: give another name")
        if found != header:
            other = [
                f"{key} is {found.get(key)!r} there and {header.get(key)!r} here"
                for key in sorted({*found, *header})
                if found.get(key) != header.get(key)
            ]
            raise ValueError(
                f"{self.path} holds results of other settings: {'; '.join(other)}. Give another "
                "name, or delete the file to begin again"
            )
        if half:
            os.truncate(self.path, len(whole) + 1)

    def write(self, row: dict[str, Any]) -> None:
        """Append one result; it is on the disk when this returns."""
        if self.path is None:
            return
        with self.path.open("a") as file:
            file.write(_line(row) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _line(value: dict[str, Any]) -> str:
    # repr of a float, which json writes, comes back as the same float.
    return json.dumps(value)
