"""Studies: the experiments whose results notebooks show as recorded.

Each is a module `rlhf_course/studies/NAME.py` with one `STUDY`; `make evidence STUDY=NAME` runs
what is missing of it and writes `rlhf_course/recorded/NAME.json`. A test runs a small part again.
"""

from __future__ import annotations

import importlib
import math
import os
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA_VARIABLE = "RLHF_EVIDENCE_DATA"


@dataclass(frozen=True)
class Study:
    """An experiment made of independent runs.

    Attributes:
        about: one sentence: what is compared on what.
        runs: the settings of every run, JSON values only, all different; `seed` among them where
            there is chance.
        run: settings -> results, JSON values only.
        small: settings of one of the runs that takes seconds: a test runs it again and compares.
            None where every run takes longer or reads a file that is not in the project.
        files: names of files that the runs read from the folder given by `--data`.
    """

    about: str
    runs: Callable[[], Iterable[dict[str, Any]]]
    run: Callable[[dict[str, Any]], dict[str, Any]]
    small: dict[str, Any] | None = None
    files: tuple[str, ...] = ()


def names() -> list[str]:
    """All studies, in the order of their notebooks."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if name.startswith("nb"))


def study(name: str) -> Study:
    """The study of this name. Raises ValueError with the names there are."""
    if name not in names():
        raise ValueError(f"expected one of the studies {', '.join(names())}, got {name!r}")
    return importlib.import_module(f"{__name__}.{name}").STUDY


def short(value: Any) -> Any:
    """Floats to five digits, what is not finite as None (JSON has no such number); also inside
    dicts and lists."""
    if isinstance(value, dict):
        return {key: short(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [short(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def data_file(name: str) -> Path:
    """A file of the folder that `--data` or the variable RLHF_EVIDENCE_DATA names."""
    folder = os.environ.get(DATA_VARIABLE)
    path = Path(folder or ".").expanduser() / name
    if folder is None or not path.is_file():
        raise FileNotFoundError(
            f"this study reads {name}, which is not in the project: give the folder that holds it "
            f"by --data FOLDER or by the variable {DATA_VARIABLE}; "
            + (f"there is no {path}" if folder else "none was given")
        )
    return path
