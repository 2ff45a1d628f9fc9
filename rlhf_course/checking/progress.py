"""Which exercises are solved and what was predicted: a small JSON file in the user's data folder.

RLHF_DATA_DIR names another folder. Nothing depends on the file: without it, or when it cannot be
read or written, checks work as they do with it.
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs

from rlhf_lib.disk import locked, replacing

from ..series import SERIES

LOCK_SECONDS = 5.0


def data_file() -> Path:
    """Where the progress is kept; RLHF_DATA_DIR comes first, then the system's data folder."""
    folder = os.environ.get("RLHF_DATA_DIR") or platformdirs.user_data_dir("rlhf-lib", False)
    return Path(folder) / "progress.json"


def note(name: str) -> str:
    """Keep that this exercise is solved, and since when; the first time counts.

    What cannot be kept is not an error here, for the answer is right all the same: the text
    returned says so. It is empty where all went well.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return _change(lambda solved, predicted: ({name: now} | solved, predicted))


def keep_prediction(name: str, value: Any) -> str:
    """Keep what the user predicts, a number, a text or a list of points; what went wrong, or ""."""
    return _change(lambda solved, predicted: (solved, predicted | {name: value}))


def predictions() -> dict[str, Any]:
    """Name of each prediction -> what the user entered last; empty where nothing can be read."""
    try:
        return _content()[1]
    except (OSError, ValueError):
        return {}


def load() -> tuple[dict[str, str], str]:
    """Name of each solved exercise -> since when (ISO 8601, UTC); and a note, mostly empty.

    A damaged file is set aside as progress.json.bak, and the note says so.
    """
    try:
        return _content()[0], ""
    except OSError as error:
        return {}, f"{data_file()} could not be read ({error}), so nothing counts as solved."
    except ValueError:
        return {}, _change(lambda *kept: kept)


def progress(number: str | None = None) -> Progress:
    """The table of exercises, of one notebook ("04") or of all that there are.

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


Kept = tuple[dict[str, str], dict[str, Any]]


def _content() -> Kept:
    """What is solved and predicted. Raises OSError for a file that cannot be read, or is of
    another version, ValueError for a damaged one."""
    try:
        found = json.loads(data_file().read_bytes())
    except FileNotFoundError:
        return {}, {}
    except RecursionError:
        raise ValueError("damaged") from None
    try:
        if found.get("version", 1) != 1:
            raise OSError(f"of another version, {found['version']!r}")
        for when in found["solved"].values():
            datetime.fromisoformat(when)
        return dict(found["solved"]), dict(found.get("predictions", {}))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("damaged") from error


def _change(change: Callable[[dict[str, str], dict[str, Any]], Kept]) -> str:
    """Write what `change` makes of what is kept; other processes wait meanwhile. Says what went
    wrong: a damaged file is set aside, one that cannot be read is left alone."""
    path, said = data_file(), ""
    try:
        with locked(path, LOCK_SECONDS):
            try:
                kept = _content()
            except ValueError:
                kept, said = ({}, {}), _set_aside(path)
            solved, predicted = change(*kept)
            if (solved, predicted) != kept:
                document = {"version": 1, "solved": solved, "predictions": predicted}
                with replacing(path) as part:
                    part.write_text(json.dumps(document, indent=1), encoding="utf-8")
    except OSError as error:
        return f"{said} This could not be kept in {path} ({error}).".strip()
    return said


def _set_aside(path: Path) -> str:
    kept, number = path.with_name(path.name + ".bak"), 1
    while kept.exists():
        kept, number = path.with_name(f"{path.name}.bak{number}"), number + 1
    os.replace(path, kept)
    return f"The record of progress was damaged; it is kept as {kept.name}, and a new one begun."
