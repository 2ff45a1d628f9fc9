"""Stop a long computation from outside, between two products or two passes over a batch.

A step of the optimizer can take seconds. A thread cannot be ended from outside, so the work itself
looks, at every product and every micro-batch, whether it should go on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

_should_stop: ContextVar[Callable[[], bool] | None] = ContextVar("should_stop", default=None)


class Interrupted(Exception):
    """The caller asked to stop. Parameters are as they were before the step that was under way."""


@contextmanager
def interruptible(should_stop: Callable[[], bool]) -> Generator[None]:
    """In this block, and this thread, :func:`checkpoint` raises once ``should_stop()`` is true."""
    token = _should_stop.set(should_stop)
    try:
        yield
    finally:
        _should_stop.reset(token)


def checkpoint() -> None:
    """Raise Interrupted if the surrounding :func:`interruptible` block was asked to stop."""
    should_stop = _should_stop.get()
    if should_stop is not None and should_stop():
        raise Interrupted("stopped on request")
