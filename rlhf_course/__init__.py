"""The course's exercises: `check("03.safe_damping", answer)` says whether an answer is right.

`progress()` shows what is solved, `recorded(name)` reads a recorded run. The checks of each
notebook live in the file named after it; how to write one is told in docs/writing_notebooks.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .recorded import recorded
from .series import SERIES, Notebook

if TYPE_CHECKING:
    from .checking.feedback import Feedback
    from .checking.predictions import look_back, predict
    from .checking.progress import progress
    from .checking.registry import check
    from .checking.review import review
    from .table import Table

__all__ = [
    "SERIES",
    "Feedback",
    "Notebook",
    "Table",
    "check",
    "look_back",
    "predict",
    "progress",
    "recorded",
    "review",
]

# Imported when asked for: `python -m rlhf_course.doctor` has to run where torch is missing.
_PLACES = {
    "Feedback": "checking.feedback",
    "Table": "table",
    "check": "checking.registry",
    "look_back": "checking.predictions",
    "predict": "checking.predictions",
    "progress": "checking.progress",
    "review": "checking.review",
}


def __getattr__(name: str):
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    return found
