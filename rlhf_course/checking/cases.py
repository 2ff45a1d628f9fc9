"""Fresh cases for every check and review, and the seed that makes the same ones again.

RLHF_SEED=7 in the environment, or `check(name, answer, seed=7)`, makes all draws repeatable: so a
teacher can grade everybody by the same cases.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from rlhf_lib.arguments import whole

# Cases of different seeds must not overlap: a check asks for seeds below this number.
STRIDE = 1_000_003
_DRAW: ContextVar[int] = ContextVar("draw", default=0)


def chosen_seed(seed: int | None = None) -> int:
    """`seed` if it is given, else RLHF_SEED, else a fresh one.

    Raises ValueError for a seed that is no whole number of at least 0.
    """
    given = os.environ.get("RLHF_SEED", "") if seed is None else seed
    if isinstance(given, str) and not given:
        return secrets.randbits(32)
    try:
        number = int(given) if isinstance(given, str) else whole("seed", given)
    except (TypeError, ValueError):
        number = -1
    if number < 0:
        raise ValueError(
            f"expected a whole number of at least 0 as the seed (argument or RLHF_SEED), got "
            f"{given!r}"
        )
    return number


@contextmanager
def draws(seed: int) -> Iterator[None]:
    """Within it the functions below draw the cases of this seed."""
    token = _DRAW.set(seed)
    try:
        yield
    finally:
        _DRAW.reset(token)


def generator(seed: int = 0) -> torch.Generator:
    """Random numbers of the present draw; `seed` tells apart the cases of one check."""
    return torch.Generator().manual_seed((_DRAW.get() * STRIDE + seed) % 2**63)


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal float64 numbers of this shape: within one draw the same for each seed."""
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def integer(low: int, high: int, seed: int = 0) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator(seed)))


def uniform(low: float, high: float, seed: int = 0) -> float:
    """A number between low and high."""
    share = torch.rand((), generator=generator(seed), dtype=torch.float64)
    return low + (high - low) * float(share)
