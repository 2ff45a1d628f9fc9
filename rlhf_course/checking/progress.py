"""Which exercises are solved and what was predicted: a small JSON file in the user's data folder.

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
from typing import Any

import platformdirs

from ..series import SERIES


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
            _save(solved | {name: datetime.now(UTC).isoformat(timespec="seconds")}, predictions())
    except OSError:
        pass


def keep_prediction(name: str, value: Any) -> bool:
    """Keep what the user predicts, a number, a text or a list of points; whether it was kept."""
    try:
        solved, _ = load()
        _save(solved, predictions() | {name: value})
    except OSError:
        return False
    return True


def predictions() -> dict[str, Any]:
    """Name of each prediction -> what the user entered last; empty where nothing can be read."""
    try:
        found = json.loads(data_file().read_text(encoding="utf-8")).get("predictions", {})
        return dict(found)
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


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
    from .registry import exercises

    known = [notebook.number for notebook in SERIES]
    if number is not None and number not in known:
        raise ValueError(f"expected a notebook out of {', '.join(known)}, got {number!r}")
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
    """`rows` of (notebook, exercise, when it was solved or None), and a `note`, mostly empty.

    Shown as one line a notebook, with a bar; the exercises of one notebook by their names when it
    is the only one.
    """

    rows: tuple[tuple[str, str, str | None], ...]
    note: str = ""

    @property
    def summary(self) -> str:
        solved = sum(when is not None for *_, when in self.rows)
        return f"{solved} of {len(self.rows)} exercises solved. {self.note}".rstrip()

    def _notebooks(self) -> dict[str, list[tuple[str, str | None]]]:
        found: dict[str, list[tuple[str, str | None]]] = {}
        for notebook, name, when in self.rows:
            found.setdefault(notebook, []).append((name, when))
        return found

    def _lines(self):
        """(notebook, how many are solved, of how many, what is said beside it)."""
        notebooks = self._notebooks()
        for notebook, exercises in notebooks.items():
            days = [datetime.fromisoformat(when).astimezone() for _, when in exercises if when]
            said = f"last on {max(days):%Y-%m-%d}" if days else ""
            if len(notebooks) == 1:
                opened = [name for name, when in exercises if when is None]
                said = f"open: {', '.join(opened)}" if opened else "all solved"
            yield notebook, len(days), len(exercises), said

    def __repr__(self) -> str:
        rows = list(self._lines())
        width = max((len(notebook) for notebook, *_ in rows), default=0)
        lines = (
            f"{notebook:<{width}}  {'■' * solved}{'□' * (of - solved)}  {solved} of {of}  {said}"
            for notebook, solved, of, said in rows
        )
        return "\n".join([self.summary, "", *(line.rstrip() for line in lines)])

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{html.escape(notebook)}</th>'
            f'<td><progress value="{solved}" max="{of}" '
            f'aria-label="{html.escape(notebook)}"></progress></td>'
            f"<td>{solved} of {of}</td>"
            f'<td style="text-align:left">{html.escape(said)}</td></tr>'
            for notebook, solved, of, said in self._lines()
        )
        return f"<table><caption>{html.escape(self.summary)}</caption><tbody>{rows}</tbody></table>"


def _save(solved: dict[str, str], predicted: dict[str, Any]) -> None:
    path = data_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Never half a file: written beside it, then put in its place in one go.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"version": 1, "solved": solved, "predictions": predicted}, file, indent=1)
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
