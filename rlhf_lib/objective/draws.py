"""The random numbers of a call, the same each time it is made: one dropout mask for all passes."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager

import torch
from torch import Tensor


class Draws:
    """What a call draws from torch's generators, the same at each repetition.

    Without a seed these are the numbers that the generators are at when the call is first made,
    which moves them on, so that the next call gets fresh ones; with one they hang on it alone.
    Otherwise the generators stay as they were.

    Args:
        devices: where numbers may be drawn (only CUDA's need to be named).
        seed: of the numbers, or None.
    """

    def __init__(self, devices: Iterable[torch.device] = (), seed: int | None = None):
        self._cuda = [device for device in devices if device.type == "cuda"]
        self._seed = seed
        self._states: list[Tensor] | None = None

    @contextmanager
    def held(self) -> Generator[None]:
        """What is called in here draws those numbers."""
        if self._seed is None and self._states is None:
            # Before the call, because it may be left half way by an error.
            self._states = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self._cuda)]
            yield
            return
        with torch.random.fork_rng(devices=self._cuda):
            if self._states is not None:
                torch.set_rng_state(self._states[0])
                for state, device in zip(self._states[1:], self._cuda, strict=True):
                    torch.cuda.set_rng_state(state, device)
            elif self._seed is not None:
                self._start_from(self._seed)
            yield

    def _start_from(self, seed: int) -> None:
        # Not torch.manual_seed, which would reach the generators of devices not in use, too.
        torch.default_generator.manual_seed(seed)
        for device in self._cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
