"""Peak memory of one contender, in a fresh process.

What is reported is the peak resident memory (GPU: the peak allocation) while the contender works,
above what the process holds once the model has been built and used for one gradient, and the
contender's library has been loaded. That of one plain gradient is measured in the same way, in a
process of its own, so the difference of the two is what a product needs on top of a gradient.
"""

from __future__ import annotations

import torch

from rlhf_course.cost.memory import held_bytes, in_own_process

from . import ours, peers, problems  # noqa: F401 - ours and peers enter the contenders
from .contenders import Contender, find
from .measure import failure

PRODUCTS = 3
TINY = "tiny-mlp"


def work(contender: Contender, problem: problems.Problem, shift: float) -> None:
    """Set up and use a contender as the timing does, a few products long."""
    if contender.quantity == "solve":
        contender.make(problem, problem.vector(), shift)
    elif contender.quantity == "gradient":
        contender.make(problem)()
    else:
        product, v = contender.make(problem), problem.vector()
        for _ in range(PRODUCTS):
            product(v)


def used_bytes(quantity: str, name: str, problem: str, device: str, shift: float) -> int:
    """What the contender of that quantity and name adds to this process at its peak."""
    torch.set_num_threads(1)
    contender, big = find(quantity, name), problems.load(problem, device)
    # Loads what the contender imports, which is no part of what its products take.
    work(contender, problems.load(TINY, device), shift)
    big.gradient()  # weights read from a mapped file are resident from here on
    return held_bytes(lambda: work(contender, big, shift), device)


def in_fresh_process(contender: Contender, problem: str, device: str, shift: float) -> dict:
    """`{"mib": ...}` or `{"error": ...}` of a contender on a problem."""
    try:
        used = in_own_process(
            used_bytes, contender.quantity, contender.name, problem, device, shift
        )
    except Exception as error:  # a contender may fail in any way; the run goes on and says how
        return {"error": failure(error)}
    return {"mib": round(used / 2**20, 1)}
