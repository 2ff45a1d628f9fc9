"""What a learner gets back for an answer, and how a check says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NOT_ATTEMPTED = "Replace the ... and run the cell again."


class Wrong(Exception):
    """Ends a check: the answer is wrong in the way that the hint names; a picture may show it."""

    def __init__(self, hint: str, picture: Any = None):
        super().__init__(hint)
        self.picture = picture


class NotAttempted(Exception):
    """Ends a check: the learner's answer is still the stub; the message says what to do."""


@dataclass(frozen=True)
class Feedback:
    """Status is "correct", "almost" or "not attempted yet"; the message says why, or what next.

    `picture`, if there is one, is drawn under the message (see `picture.py`). `seed` made the
    cases. True when correct.
    """

    status: str
    message: str
    picture: Any = field(default=None, compare=False, repr=False)
    seed: int | None = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        marks = {"correct": "✓ Correct", "almost": "✗ Not yet"}
        return f"{marks.get(self.status, '… Not attempted yet')}. {self.message}"

    def __bool__(self) -> bool:
        return self.status == "correct"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        text = {"text/plain": repr(self)}
        return text if self.picture is None else self.picture.under(repr(self), **kwargs) | text


def correct(message: str, picture: Any = None) -> Feedback:
    """The answer is right; the message says in one sentence what that shows."""
    return Feedback("correct", message, picture)


def almost(hint: str, picture: Any = None) -> Feedback:
    """The answer is wrong in a way that the hint names. (Or `raise Wrong(hint)`.)"""
    return Feedback("almost", hint, picture)


def require(condition: Any, hint: str) -> None:
    """Ends the check with this hint unless the condition holds."""
    if not condition:
        raise Wrong(hint)


def attempted(value: Any) -> Any:
    """The value, or NotAttempted for the stub: ``...``, None, or a tuple that holds ``...``."""
    parts = value if isinstance(value, tuple | list) else [value]
    if value is None or any(part is ... for part in parts):
        raise NotAttempted(NOT_ATTEMPTED)
    return value
