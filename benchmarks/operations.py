"""Where the time of a product goes, by kind of operation, beside that of a gradient.

A gradient takes three matrix products for each weight matrix (forward, and two backward), a Hessian
product six and a Gauss-Newton product four, with the forward pass kept: floors of 2 and 4/3
gradients if nothing else took time. What is above them is what the table shows.
"""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile

from rlhf_lib import HessianOperator

from . import problems
from .ours import _into_one_vector

KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm"),
    "copies and fills": ("copy_", "fill_", "zero_", "cat", "clone"),
}
ROUNDS = 5


def run(name: str = "bert", say=print) -> dict:
    """Seconds by kind of operation, one thread, as fractions of one gradient."""
    problem = problems.load(name)
    v = problem.vector()
    hessian = _into_one_vector(HessianOperator(problem.loss, problem.params))
    gauss_newton = _into_one_vector(problem.gauss_newton())
    work = {"gradient": problem.gradient, "Hv": lambda: hessian(v), "Gv": lambda: gauss_newton(v)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = {key: _profiled(call) for key, call in work.items()}
    finally:
        torch.set_num_threads(threads)
    unit = sum(seconds for seconds, _ in found["gradient"].values())
    table = {
        key: {
            kind: {"ratio": round(s / unit, 3), "calls": calls}
            for kind, (s, calls) in kinds.items()
        }
        for key, kinds in found.items()
    }
    for key, kinds in table.items():
        total = sum(part["ratio"] for part in kinds.values())
        parts = ", ".join(f"{k} {p['ratio']:.2f} ({p['calls']} calls)" for k, p in kinds.items())
        say(f"  {key}: {total:.2f} gradients: {parts}")
    return {"problem": problem.title, "parts": table}


def _profiled(call) -> dict[str, tuple[float, int]]:
    """(seconds, calls) by kind, of the fastest of some rounds."""
    call()
    best = None
    for _ in range(ROUNDS):
        with profile(activities=[ProfilerActivity.CPU]) as measured:
            call()
        kinds = {kind: (0.0, 0) for kind in (*KINDS, "the rest")}
        for event in measured.key_averages():
            short = event.key.removeprefix("aten::")
            kind = next((k for k, names in KINDS.items() if short in names), "the rest")
            seconds, calls = kinds[kind]
            kinds[kind] = (seconds + event.self_cpu_time_total / 1e6, calls + event.count)
        if best is None or sum(s for s, _ in kinds.values()) < sum(s for s, _ in best.values()):
            best = kinds
    return best
