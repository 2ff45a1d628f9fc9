"""The course's exercises: `check("03.safe_damping", answer)` says whether an answer is right.

`progress()` shows what is solved, `recorded(name)` reads a recorded run. The checks of each
notebook live in the file named after it; how to write one is told in docs/writing_notebooks.md.
"""

from .checking.feedback import Feedback
from .checking.predictions import look_back, predict
from .checking.progress import progress
from .checking.registry import check
from .recorded import recorded
from .series import SERIES, Notebook
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
]
