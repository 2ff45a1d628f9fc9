"""The register of all checks: `@exercise` and `@goal` fill it, `check` looks answers up in it.

The checks of notebook NN_slug live in `rlhf_course/checks/nbNN.py`, which is imported when the
first of them is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec

import torch

from rlhf_lib.arguments import text_of

from ..series import BY_NUMBER, SERIES
from .cases import chosen_seed, draws
from .feedback import NOT_ATTEMPTED, Feedback, NotAttempted, Wrong, almost, attempted
from .progress import note


@dataclass(frozen=True)
class Exercise:
    """`name` is "NN.what"; `judge` maps an answer to Feedback; a goal's answer is a panel."""

    name: str
    judge: Callable
    goal: bool = False


_EXERCISES: dict[str, Exercise] = {}


def exercise(name: str, *, goal: bool = False) -> Callable:
    """Register a check: a function from the learner's answer to Feedback.

    Raises ValueError for a name that does not begin with the number of a notebook, or that
    another function has taken.
    """
    if name.split(".")[0] not in BY_NUMBER:
        raise ValueError(f"expected the number of a notebook first, as in '05.hvp', got {name!r}")

    def register(judge: Callable) -> Callable:
        if name in _EXERCISES and _EXERCISES[name].judge.__module__ != judge.__module__:
            raise ValueError(f"expected a name of its own for each check, got {name!r} twice")
        _EXERCISES[name] = Exercise(name, judge, goal)
        return judge

    return register


def exercises(number: str) -> dict[str, Exercise]:
    """The checks of the notebook with this number, by name; none where there is no file yet."""
    notebook = BY_NUMBER.get(number)
    module = notebook and f"rlhf_course.checks.nb{number}"
    if module is None or find_spec(module) is None:
        return {}
    import_module(module)
    return {name: e for name, e in _EXERCISES.items() if name.startswith(f"{number}.")}


def check(name: str, answer, *, seed: int | None = None) -> Feedback:
    """Check an answer to the exercise of this name, on fresh cases.

    `seed`, or RLHF_SEED in the environment, makes the cases repeatable; `feedback.seed` says which
    they were.

    ``...`` and None count as not attempted, and so does a function that returns one of them or
    computes with one. An error raised by the learner's function becomes a hint; it does not end
    the notebook. New tensors are float64 meanwhile, and torch's random state is that of the seed
    and put back afterwards. A correct answer is noted for `progress()`.

    Raises ValueError for a name that no exercise has, and for a seed that is none.
    """
    found = exercises(text_of("name", name).split(".")[0]).get(name)
    if found is None:
        known = [n for notebook in SERIES for n in exercises(notebook.number)]
        raise ValueError(f"expected an exercise out of {', '.join(known)}, got {name!r}")
    seed = chosen_seed(seed)
    feedback = replace(_judged(found, answer, seed), seed=seed)
    if feedback and (said := note(name)):
        return replace(feedback, message=f"{feedback.message} {said}")
    return feedback


def _judged(found: Exercise, answer, seed: int) -> Feedback:
    try:
        attempted(answer)
        with _conditions(seed):
            return found.judge(answer)
    except NotAttempted as stub:
        return Feedback("not attempted yet", str(stub))
    except Wrong as wrong:
        return almost(str(wrong), wrong.picture)
    except Exception as error:
        if "ellipsis" in str(error):  # a stub such as `theta - ...`
            return Feedback("not attempted yet", NOT_ATTEMPTED)
        return almost(f"Your answer raised {type(error).__name__}: {error}")


@contextmanager
def _conditions(seed: int):
    dtype, state = torch.get_default_dtype(), torch.get_rng_state()
    try:
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(seed)
        with draws(seed):
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_rng_state(state)
