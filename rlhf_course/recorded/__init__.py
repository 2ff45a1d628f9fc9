"""Recorded runs: what a notebook or a claim shows of a computation that is too long to repeat.

Each file beside this one is the record of a study (`make evidence`), of a tool (`tools/record_*`)
or of the benchmarks (`make bench`), with its command, seeds, device and date. They are part of the
package, so that an installed copy gives the verdicts of the checkout.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent


def recorded(name: str) -> Any:
    """The content of a recorded JSON file, such as "nb10_sst2.json" or "benchmarks/products.json".

    Raises FileNotFoundError with the names that there are.
    """
    path = FOLDER / name
    if not path.is_file():
        there = sorted(p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*.json"))
        raise FileNotFoundError(f"expected one of the recorded {', '.join(there)}, got {name!r}")
    return json.loads(path.read_text(encoding="utf-8"))
