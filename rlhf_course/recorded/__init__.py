"""Recorded runs: what a notebook or a claim shows of a computation that is too long to repeat.

Each file beside this one is the record of a study (`make evidence`) or of the benchmarks
(`make bench`), with its command, seeds, device and date. They are part of the package, so that an
installed copy gives the verdicts of the checkout.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent


class NotRecorded(LookupError):
    """A record does not hold the runs that are needed (yet)."""


class Document(dict):
    """A record that is read and not changed, so that what follows from it is found once.

    Attributes:
        memo: for readers, by a name of theirs.
    """

    def __init__(self, content: Mapping[str, Any]):
        super().__init__(content)
        self.memo: dict[Any, Any] = {}

    def __deepcopy__(self, memo: dict) -> dict[str, Any]:
        """A dict like any other, to be changed."""
        return copy.deepcopy(dict(self), memo)


def indexed(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The runs of a study's record by their settings; see :func:`key`."""
    if isinstance(document, Document):
        if "by settings" not in document.memo:
            document.memo["by settings"] = indexed(dict(document))
        return document.memo["by settings"]
    return {key(run["settings"]): run for run in document["runs"]}


def recorded(name: str) -> Any:
    """The content of a recorded JSON file, such as "nb10_sst2.json" or "benchmarks/products.json".

    Raises FileNotFoundError with the names that there are.
    """
    path = FOLDER / str(name)
    if not path.is_file() or path.suffix != ".json" or FOLDER not in path.resolve().parents:
        there = sorted(p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*.json"))
        raise FileNotFoundError(f"expected one of the recorded {', '.join(there)}, got {name!r}")
    content = json.loads(path.read_text(encoding="utf-8"))
    return Document(content) if isinstance(content, dict) else content


def key(settings: Mapping[str, Any]) -> str:
    """Settings of a run as text, the same whatever their order."""
    return json.dumps(settings, sort_keys=True)


def runs_with(
    document: Mapping[str, Any], wanted: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The runs with these settings in a study's record, in this order: settings, result and more.

    Raises NotRecorded with the first run that is not there, and how many are not.
    """
    by_settings = indexed(document)
    names = [key(settings) for settings in wanted]
    missing = [name for name in names if name not in by_settings]
    if missing:
        more = f", nor of {len(missing) - 1} more" if len(missing) > 1 else ""
        raise NotRecorded(f"no run of {missing[0]}{more}")
    return [by_settings[name] for name in names]


def results(document: Mapping[str, Any], wanted: Iterable[Mapping[str, Any]]) -> list[Any]:
    """What came of the runs with these settings; see :func:`runs_with`."""
    return [run["result"] for run in runs_with(document, wanted)]
