"""Stop a long computation from outside, or follow it, between two products or two batches.

A step of the optimizer can take seconds. A thread cannot be ended from outside, so the work itself
looks, at every product and every micro-batch, whether it should go on, and tells how far it is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

Report = Callable[[str, int, int], object]

_report: ContextVar[Report | None] = ContextVar("report", default=None)
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


@contextmanager
def followed(report: Report) -> Generator[None]:
    """In this block, and this thread, :func:`checkpoint` calls ``report(what, number, total)``.

    what: "path" (of a search), "part" (of the parameters, for a Gram matrix), "product" or
    "micro-batch", each within those before it; the one of that number, from 1, now begins, out of
    at most so many. It is called often and must be quick.
    """
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def checkpoint(what: str = "", number: int = 0, total: int = 0) -> None:
    """Raise Interrupted if the surrounding :func:`interruptible` block was asked to stop.

    Otherwise tell what begins, if it has a name and somebody follows.
    """
    should_stop = _should_stop.get()
    if should_stop is not None and should_stop():
        raise Interrupted("stopped on request")
    report = _report.get()
    if report is not None and what:
        report(what, number, total)
