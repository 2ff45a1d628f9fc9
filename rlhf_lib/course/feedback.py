"""What a learner gets back for an answer, and the register of all checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_CHECKS: dict[str, Callable] = {}


@dataclass(frozen=True)
class Feedback:
    """Status is "correct", "almost" or "not attempted yet"; the message says why, or what next."""

    status: str
    message: str

    def __repr__(self) -> str:
        marks = {"correct": "✓ Correct", "almost": "✗ Not yet"}
        return f"{marks.get(self.status, '… Not attempted yet')}. {self.message}"

    def __bool__(self) -> bool:
        return self.status == "correct"


def correct(message: str) -> Feedback:
    """The answer is right; the message says in one sentence what that shows."""
    return Feedback("correct", message)


def almost(hint: str) -> Feedback:
    """The answer is wrong in a way that the hint names."""
    return Feedback("almost", hint)


def exercise(name: str) -> Callable:
    """Register a check: a function from the learner's answer to Feedback."""

    def register(function: Callable) -> Callable:
        _CHECKS[name] = function
        return function

    return register


def check(name: str, answer) -> Feedback:
    """Check an answer to the exercise of this name.

    ``...`` and None count as not attempted, and so does a function that returns one of them. An
    error raised by the learner's function becomes a hint; it does not end the notebook.
    """
    if name not in _CHECKS:
        raise ValueError(f"no exercise is named {name!r}; there are {', '.join(sorted(_CHECKS))}")
    if answer is None or answer is ...:
        return Feedback("not attempted yet", "Replace the ... and run the cell again.")
    try:
        return _CHECKS[name](answer)
    except NotAttempted:
        return Feedback("not attempted yet", "Replace the ... and run the cell again.")
    except Exception as error:
        return almost(f"Your answer raised {type(error).__name__}: {error}")


class NotAttempted(Exception):
    """The learner's function still returns the stub."""


def attempted(value):
    """The value, or NotAttempted for the stub."""
    if value is None or value is ...:
        raise NotAttempted
    return value
