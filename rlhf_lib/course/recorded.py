"""Recorded runs: what a notebook shows of a computation that is too long to repeat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def recorded(name: str) -> Any:
    """The content of `notebooks/recorded/NAME`, a JSON file, asked for by a notebook.

    Notebooks run in `notebooks/` and, with their solutions, in `notebooks/solutions/`. Raises
    FileNotFoundError that says where it was looked for.
    """
    places = [Path("recorded") / name, Path("..") / "recorded" / name]
    for path in places:
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
    raise FileNotFoundError(
        f"no recorded run {name!r}: neither {places[0]} nor {places[1]} is there. Open the "
        "notebook where it lies, in the folder notebooks."
    )
