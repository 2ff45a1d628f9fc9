"""Which exercises are solved: a small JSON file in the user's data folder, and a table of it.

RLHF_DATA_DIR names another folder. Nothing depends on the file: without it, or when it cannot be
read or written, checks work as they do with it.
"""

from __future__ import annotations

import html
import json
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

from .series import SERIES


def data_file() -> Path:
    """Where the progress is kept; RLHF_DATA_DIR comes first, then the system's data folder."""
    folder = os.environ.get("RLHF_DATA_DIR") or platformdirs.user_data_dir("rlhf-lib", False)
    return Path(folder) / "progress.json"


def note(name: str) -> None:
    """Keep that this exercise is solved, and since when; the first time counts.

    What cannot be kept is not an error here: the answer is right all the same.
    """
    try:
        solved, _ = load()
        if name not in solved:
            _save(solved | {name: datetime.now(UTC).isoformat(timespec="seconds")})
    except OSError:
        pass


def load() -> tuple[dict[str, str], str]:
    """Name of each solved exercise -> since when (ISO 8601, UTC); and a note, mostly empty.

    A damaged file is set aside as progress.json.bak, and the note says so.
    """
    path = data_file()
    try:
        solved = json.loads(path.read_text(encoding="utf-8"))["solved"]
        for when in solved.values():
            datetime.fromisoformat(when)
        return dict(solved), ""
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, f"{path} could not be read ({error.strerror}), so nothing counts as solved."
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}, _set_aside(path)


def progress(number: str | None = None) -> Progress:
    """The table of exercises, of one notebook ("05") or of all that there are.

    Raises ValueError for a number that no notebook has.
    """
    from .register import exercises

    known = [notebook.number for notebook in SERIES]
    if number is not None and number not in known:
        raise ValueError(f"no notebook has the number {number!r}; there are {', '.join(known)}")
    solved, said = load()
    rows = tuple(
        (f"{notebook.number} {notebook.title}", name, solved.get(name))
        for notebook in SERIES
        if number in (None, notebook.number)
        for name in exercises(notebook.number)
    )
    return Progress(rows, said)


@dataclass(frozen=True)
class Progress:
    """`rows` of (notebook, exercise, when it was solved or None), and a `note`, mostly empty."""

    rows: tuple[tuple[str, str, str | None], ...]
    note: str = ""

    @property
    def summary(self) -> str:
        solved = sum(when is not None for *_, when in self.rows)
        return f"{solved} of {len(self.rows)} exercises solved. {self.note}".rstrip()

    def _cells(self):
        yield "notebook", "exercise", "state", "when"
        for notebook, name, when in self.rows:
            local = datetime.fromisoformat(when).astimezone() if when else None
            yield notebook, name, "solved" if when else "open", f"{local:%Y-%m-%d}" if when else ""

    def __repr__(self) -> str:
        rows = list(self._cells())
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n".join([self.summary, "", *lines])

    def _repr_html_(self) -> str:
        head, *body = ([html.escape(cell) for cell in row] for row in self._cells())
        titles = "".join(f'<th scope="col">{cell}</th>' for cell in head)
        rows = "".join(
            f'<tr><td>{notebook}</td><th scope="row">{name}</th>'
            f"<td>{state}</td><td>{when}</td></tr>"
            for notebook, name, state, when in body
        )
        return (
            f"<table><caption>{html.escape(self.summary)}</caption>"
            f"<thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"
        )


def _save(solved: dict[str, str]) -> None:
    path = data_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Never half a file: written beside it, then put in its place in one go.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"version": 1, "solved": solved}, file, indent=1)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _set_aside(path: Path) -> str:
    kept = path.with_name(path.name + ".bak")
    try:
        os.replace(path, kept)
    except OSError as error:
        return f"{path} is damaged and could not be set aside ({error.strerror})."
    return f"The record of progress was damaged; it is kept as {kept.name}, and a new one begun."
