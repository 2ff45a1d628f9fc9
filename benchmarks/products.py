"""Cost of gradients, curvature products and damped solves: time, memory and error of each."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from torch import Tensor

from rlhf_lib.objective import flatten

from . import ours, peers, problems  # noqa: F401 - ours and peers enter the contenders
from .contenders import CONTENDERS, RTOL, Contender
from .machine import about
from .measure import Mode, failure, modes, settled, summary, timed
from .memory import in_fresh_process
from .truth import Truth, relative_error, relative_residual

# mu of (G + mu I) d = -g: CG takes 10 to 20 products there, as in a typical step.
SHIFT = 0.03

# A float32 product is good to about 1e-6: what is off by more than this is wrong, not rounded.
WRONG, WRONG_LOW_PRECISION = 1e-4, 0.1

FULL = {
    "bert": ("gradient", "Hv", "Gv"),
    "bert-solve": ("gradient", "solve"),
    "mlp": ("gradient", "Hv", "Gv"),
    "mlp-solve": ("gradient", "solve"),
}
GPU = {
    name: ("gradient", "Hv", "Gv", "solve")
    for name in ("bert-base", "bert-base-bf16", "bert-large", "bert-large-bf16")
}
FAST = {name: ("gradient", "Hv", "Gv", "solve") for name in ("tiny-bert", "tiny-mlp")}


@dataclass
class Entry:
    """A contender on a problem, and what has been measured of it."""

    contender: Contender
    error: str | None = None
    accuracy: float | None = None
    wrong: bool = False
    memory: dict = field(default_factory=dict)
    timings: dict[str, dict] = field(default_factory=dict)

    def as_dict(self) -> dict:
        """For the result file."""
        c = self.contender
        known = "residual" if c.quantity == "solve" else "relative_error"
        return {
            "quantity": c.quantity,
            "contender": c.name,
            "package": c.package,
            "error": self.error,
            known: self.accuracy,
            "wrong": self.wrong,
            "memory_mib": self.memory.get("mib"),
            "memory_error": self.memory.get("error"),
            "timings": self.timings,
        }


def _flat(product) -> Tensor:
    return (product if isinstance(product, Tensor) else flatten(product)).detach()


class Bench:
    """One problem, its right-hand side and its truth, for all of its contenders."""

    def __init__(self, problem: problems.Problem, shift: float, products: int):
        self.problem, self.shift, self.products = problem, shift, products
        self.v = problem.vector()
        self.b = -flatten(problem.gradient())
        self.truth = Truth(problem)
        self._true = {}

    def _true_product(self, quantity: str) -> Tensor:
        if quantity not in self._true:
            product = self.truth.hessian if quantity == "Hv" else self.truth.gauss_newton
            self._true[quantity] = product(self.v)
        return self._true[quantity]

    def run(self, contender: Contender, mode: Mode, count: int) -> tuple[dict[str, float], object]:
        """Seconds of each part with that many products on one set-up, and the last result."""
        problem, make = self.problem, contender.make
        if contender.quantity == "solve":
            seconds, x = timed(lambda: make(problem, self.b, self.shift), mode)
            return {"solve": seconds}, x
        if contender.quantity == "gradient":
            return {"gradient": settled(make(problem), mode)}, None
        set_up, product = timed(lambda: make(problem), mode)
        each, result = [], None
        for _ in range(count):
            seconds, result = timed(lambda: product(self.v), mode)
            each.append(seconds)
        parts = {
            "set-up": set_up,
            "product": statistics.median(each),
            f"set-up + {count} products": set_up + sum(each),
        }
        return parts, result

    def accuracy(self, contender: Contender, result) -> float | None:
        """Relative error of a product, relative residual of a solve, by the independent truth."""
        if contender.quantity == "solve":
            return relative_residual(self.truth, result.detach(), self.b, self.shift)
        if contender.quantity == "gradient":
            return None
        return relative_error(_flat(result), self._true_product(contender.quantity))

    def tolerance(self, contender: Contender) -> float:
        """The accuracy that counts as right."""
        if contender.quantity == "solve":
            return 1.5 * RTOL
        return WRONG if self.problem.module.low_precision is None else WRONG_LOW_PRECISION


def measure_times(
    bench: Bench, entries: list[Entry], mode: Mode, rounds: int, say: Callable[[str], None]
) -> None:
    """Fill in timings and accuracy: all contenders in turn, round after round.

    A gradient is measured before each contender; the median of a round's gradients is its unit,
    so that a machine that slows down slows both sides of a ratio. Round 0 warms up.
    """
    kept: dict[int, list[tuple[dict, float]]] = {i: [] for i in range(len(entries))}
    with mode.active():
        for round_ in range(rounds + 1):
            say(f"  {bench.problem.name}, {mode.title}, round {round_} of {rounds}")
            gradients, parts, count = [], {}, bench.products if round_ else 1
            for i, entry in enumerate(entries):
                if entry.error is not None or (round_ == 0 and entry.contender.quantity == "solve"):
                    continue
                gc.collect()
                gradients.append(settled(bench.problem.gradient, mode))
                try:
                    parts[i], result = bench.run(entry.contender, mode, count)
                    if entry.accuracy is None:
                        entry.accuracy = bench.accuracy(entry.contender, result)
                        entry.wrong = (entry.accuracy or 0.0) > bench.tolerance(entry.contender)
                except Exception as error:  # any contender may fail, in any way
                    entry.error = failure(error)
                    parts.pop(i, None)
                result = None  # it may hold a graph
            if round_ == 0:
                continue
            unit = statistics.median(gradients)
            for i, measured in parts.items():
                kept[i].append((measured, unit))
    for i, entry in enumerate(entries):
        if entry.error is None:
            units = [unit for _, unit in kept[i]]
            entry.timings[mode.key] = {
                part: summary([measured[part] for measured, _ in kept[i]], units)
                for part in kept[i][0][0]
            }
        else:
            entry.timings = {}


def run_problem(
    name: str,
    quantities: Iterable[str],
    *,
    device: str,
    rounds: int,
    products: int,
    memory: bool,
    contenders: Iterable[Contender] | None = None,
    timing: Iterable[Mode] | None = None,
    say: Callable[[str], None] = print,
) -> dict:
    """All that is measured on one problem, as it stands in the result file."""
    problem = problems.load(name, device)
    chosen = CONTENDERS if contenders is None else contenders
    entries = [Entry(c) for c in chosen if c.quantity in tuple(quantities)]
    if memory:
        for entry in entries:
            say(f"  {name}, memory of {entry.contender.quantity}, {entry.contender.name}")
            entry.memory = in_fresh_process(entry.contender, name, device, SHIFT)
    bench = Bench(problem, SHIFT, products)
    gc.collect()
    gc.freeze()  # or each collection would look through all that was imported
    try:
        for mode in timing or modes(device):
            measure_times(bench, entries, mode, rounds, say)
    finally:
        gc.unfreeze()
    return {
        "name": name,
        "title": problem.title,
        "parameters": problem.size,
        "shift": SHIFT,
        "results": [entry.as_dict() for entry in entries],
    }


def run(
    *,
    device: str = "cpu",
    fast: bool = False,
    rounds: int | None = None,
    memory: bool = True,
    contenders: Iterable[Contender] | None = None,
    timing: Iterable[Mode] | None = None,
    say: Callable[[str], None] = print,
) -> dict:
    """Every problem of the device; `fast` takes tiny ones, to try the harness itself."""
    timing = tuple(timing or modes(device))
    suite = FAST if fast else GPU if device == "cuda" else FULL
    rounds = rounds or (2 if fast else 3)
    products = 3 if fast else 10
    return {
        **about(device),
        "rounds": rounds,
        "products": products,
        "fast": fast,
        "modes": {mode.key: mode.title for mode in timing},
        "problems": [
            run_problem(
                name,
                quantities,
                device=device,
                rounds=rounds,
                products=products,
                memory=memory,
                contenders=contenders,
                timing=timing,
                say=say,
            )
            for name, quantities in suite.items()
        ],
    }
