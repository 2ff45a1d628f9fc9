"""Several tasks, and several runs, on one model: what each of them trains, and whose turn it is.

A model has one set of parameters. Each task keeps for itself which of them it trains, and a run
from which another has taken the model ends with an error: it would go on from the other's weights.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from torch import nn

from .cached import CachedTop
from .freezing import freeze

if TYPE_CHECKING:
    from .task import Task

P = ParamSpec("P")
T = TypeVar("T")


class Turn:
    """What tasks on one model have in common.

    lock: of who computes with the parameters. run: the run that goes on. owner: the task whose
    `requires_grad` the parameters have. changed: (parameter, before, after) of those that making
    this task has changed.
    """

    def __init__(self):
        self.lock = threading.RLock()
        self.run: Generator | None = None
        self.owner: weakref.ref[Task] | None = None
        self.before: list[tuple[nn.Parameter, bool]] = []
        self.changed: list[tuple[nn.Parameter, bool, bool]] = []


_turns: weakref.WeakKeyDictionary[nn.Module, Turn] = weakref.WeakKeyDictionary()


def turn_of(model: nn.Module) -> Turn:
    """The turn of a model, always the same one."""
    return _turns.setdefault(model, Turn())


def part_to_train(
    model: nn.Module, top_layers: int | None = None, frozen: Iterable[str] | None = None
) -> nn.Module:
    """What a new task trains of its model: all, or the top; the rest, or `frozen` parts, frozen.

    What the last task on this model froze is free again first, unless it was set by hand since.
    """
    turn = turn_of(model)
    keep_flags(turn)
    for p, before, after in turn.changed:
        if p.requires_grad == after:
            p.requires_grad_(before)
    turn.changed = []
    turn.before = [(p, p.requires_grad) for p in model.parameters()]
    module = model if top_layers is None else CachedTop(model, top_layers)
    if frozen is not None:
        freeze(module, frozen)
    return module


def keep_flags(turn: Turn) -> None:
    """Let the present owner remember what it trains."""
    owner = None if turn.owner is None else turn.owner()
    if owner is not None:
        owner.trains = [(p, p.requires_grad) for p in owner.model.parameters()]
        owner.changed = turn.changed


def begin(task: Task) -> None:
    """A task has been made: the parameters' `requires_grad` is its own from here on."""
    turn = turn_of(task.model)
    turn.changed = [(p, was, p.requires_grad) for p, was in turn.before if p.requires_grad != was]
    task.changed = turn.changed  # a copy of the task takes it along
    turn.before, turn.owner = [], weakref.ref(task)


def own(task: Task) -> bool:
    """Give the parameters the `requires_grad` that this task left them with; whether it was not
    its own."""
    turn = turn_of(task.model)
    if turn.owner is not None and turn.owner() is task:
        return False
    keep_flags(turn)
    for p, flag in task.trains:
        p.requires_grad_(flag)
    turn.changed, turn.owner = task.changed, weakref.ref(task)
    return True


def check_task(task: object) -> None:
    """Raise TypeError for what is no task."""
    if not hasattr(task, "model") or not hasattr(task, "own"):
        raise TypeError(f"expected a task, as ClassificationTask(...), got {type(task).__name__}")


def in_turn(task: Task, start: Callable[[], Generator[T]]) -> Iterator[T]:
    """What a run yields, while no other run begins on its task's model.

    One that begins waits for the step that is under way and ends the earlier run, which finds that
    out at its next step: RuntimeError.
    """
    check_task(task)
    turn = turn_of(task.model)
    with turn.lock:
        if turn.run is not None:
            turn.run.close()
        run = turn.run = start()
    try:
        while True:
            with turn.lock:
                if turn.run is not run:
                    raise RuntimeError(
                        "this run has ended: another one has begun on the same model, from its own "
                        "start. Do: let one end before the next, or give each its own model."
                    )
                task.own()
                try:
                    found = next(run)
                except StopIteration:
                    return
            yield found
    finally:
        with turn.lock:
            run.close()
            if turn.run is run:
                turn.run = None


def one_at_a_time(
    run: Callable[Concatenate[Task, P], Generator[T]],
) -> Callable[Concatenate[Task, P], Iterator[T]]:
    """A generator function of a task as a run of `in_turn`."""

    @wraps(run)
    def started(task: Task, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        yield from in_turn(task, lambda: run(task, *args, **kwargs))

    return started
