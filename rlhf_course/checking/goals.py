"""Goals of panels, as exercises: what the learner reached with sliders is the answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

from .feedback import NotAttempted, Wrong, require
from .registry import exercise, exercises

WORDS = {"lambda_reg": "λ", "damping": "damping μ", "a": "start a", "b": "start b"}
WAIT_SECONDS = 120


def goal(name: str, **settings: Any) -> Callable:
    """Register a check of a panel: a function (records, values) -> Feedback.

    `records` are those of the run in the panel's figures, which has come to its end; `values` are
    the controls it ran with. Only a run with these `settings` counts as an attempt, so that a
    cell of the notebook may drive the same panel before.
    """

    def register(judge: Callable) -> Callable:
        def reached(records: Any, values: Any) -> bool:
            try:
                return all(_same(values.get(key), v) for key, v in settings.items()) and bool(
                    judge(records, values)
                )
            except (Wrong, NotAttempted):
                return False

        @wraps(judge)
        def of_panel(panel: Any):
            require(
                hasattr(panel, "records") and hasattr(panel, "values"),
                f'The answer is the panel itself: check("{name}", panel).',
            )
            require(panel.wait(WAIT_SECONDS), "The panel is still running: wait for its end.")
            values, status = panel.values, panel.status
            asked = [f"{WORDS.get(key, key)} = {_text(v)}" for key, v in settings.items()]
            unlike = [key for key, wanted in settings.items() if not _same(values.get(key), wanted)]
            ended = status.startswith(("Finished", "Stopped", "Error"))
            # Any other status says that nothing ran, or that the controls have moved since.
            if unlike or not ended or not panel.records:
                where = f" with {' and '.join(asked)}" if asked else ""
                raise NotAttempted(
                    f"Let the panel come to the end of a run{where}, then run this cell again."
                )
            require(not status.startswith("Error"), f"The panel reports: {status}")
            require(
                status.startswith("Finished"),
                "That run was stopped. The goal is about a whole one: press Run and let it end.",
            )
            return judge(panel.records, values)

        of_panel.reached = reached
        return exercise(name, goal=True)(of_panel)

    return register


def reached(name: str) -> Callable[[Any, Any], bool]:
    """What a panel asks after each run: whether the goal of this check is reached.

    Raises ValueError for a name that is no goal.
    """
    found = exercises(name.split(".")[0]).get(name)
    if found is None or not found.goal:
        raise ValueError(f"expected the name of a goal, got {name!r}")
    return found.judge.reached


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, float) and isinstance(wanted, int | float):
        return math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-12)
    return value == wanted


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
