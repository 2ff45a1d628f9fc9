"""What a call draws and moves beside the parameters: the same draws each time, moved once.

A step calls the loss 2 to 20 times. Dropout must draw one mask for all of them, and what a forward
pass moves (the statistics of batch normalization, the vectors of spectral normalization) must move
as in one call.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


class Draws:
    """What a call draws and moves, the same at each repetition: ``with draws: call()``.

    The first call draws the numbers that the generators are at and moves generators and buffers on,
    so that the next call gets fresh ones. A repetition starts where the first call did, and leaves
    everything as it found it. Modules that the first call does not write to are not looked at
    again. A first call that fails has moved nothing.

    Args:
        generators: torch's, numpy's or Python's.
        modules: whose buffers are put back, each named once.
        moves: False puts the buffers back after the first call, too.
    """

    def __init__(
        self, generators: Iterable[Any] = (), modules: Iterable[nn.Module] = (), moves: bool = True
    ):
        self._generators, self._modules, self._moves = generators, modules, moves
        self._before: list[tuple[_Drawn | _Buffer, Any]] | None = None
        self._after: list[tuple[_Buffer, Any]] = []
        self._now: list[tuple[_Drawn | _Buffer, Any]] | None = None  # None in a first call

    def __enter__(self) -> None:
        # No generator function: one that is left half way by Ctrl-C would end when it is collected,
        # and write into buffers that somebody has put back meanwhile.
        if self._before is not None:
            self._now = [(place, place.read()) for place, _ in self._before]
            _write(self._before)
        else:
            self._now = None
            # Before the call, because it may be left half way by an error.
            self._before = [(place, place.read()) for place in self._places()]

    def __exit__(self, kind: type | None, error: object, trace: object) -> None:
        if self._now is not None:
            _write(self._now)
        elif kind is not None:
            self.undo()
            self._before = None
        else:
            before = self._before or []
            moved = [(place, state) for place, state in before if place.moved(state)]
            # What a module has moved by chance to where it was, it may move elsewhere next time.
            movers = {id(p.module) for p, _ in moved if isinstance(p, _Buffer)}
            self._before = [
                (place, state)
                for place, state in before
                if place.moved(state) or (isinstance(place, _Buffer) and id(place.module) in movers)
            ]
            self._after = [(p, p.read()) for p, _ in self._before if isinstance(p, _Buffer)]
            if not self._moves:
                self.undo(buffers_only=True)

    def undo(self, *, buffers_only: bool = False) -> None:
        """Put everything back to what it was before the first call."""
        before = self._before or []
        _write([pair for pair in before if isinstance(pair[0], _Buffer) or not buffers_only])

    def settle(self) -> None:
        """Put the buffers to where the first call left them.

        Only what runs outside of all calls can have moved them: checkpointing, which computes parts
        of the model again while a derivative is taken.
        """
        _write(self._after)

    def _places(self) -> Iterable[_Drawn | _Buffer]:
        yield from map(_Drawn, self._generators)
        for module in self._modules:
            for name, buffer in module._buffers.items():
                if buffer is None or not is_lazy(buffer):
                    yield _Buffer(module, name)


def _write(states: list) -> None:
    for place, state in states:
        place.write(state)


class _Drawn:
    """The state of a generator."""

    def __init__(self, generator: Any):
        self._generator = generator

    def read(self) -> Any:
        generator = self._generator
        if hasattr(generator, "get_state"):  # torch's, and numpy's RandomState
            return generator.get_state()
        if hasattr(generator, "bit_generator"):  # numpy's Generator
            return generator.bit_generator.state
        return generator.getstate()

    def write(self, state: Any) -> None:
        generator = self._generator
        if hasattr(generator, "set_state"):
            generator.set_state(state)
        elif hasattr(generator, "bit_generator"):
            generator.bit_generator.state = state
        else:
            generator.setstate(state)

    def moved(self, state: Any) -> bool:
        return not _equal(state, self.read())


class _Buffer:
    """A buffer of a module, by its object and by its numbers."""

    def __init__(self, module: nn.Module, name: str):
        self.module, self._name = module, name
        self._version = _version(module._buffers[name])

    def read(self) -> tuple[Tensor | None, Tensor | None]:
        buffer = self.module._buffers[self._name]
        return buffer, None if buffer is None else buffer.detach().clone()

    def write(self, state: tuple[Tensor | None, Tensor | None]) -> None:
        buffer, numbers = state
        self.module._buffers[self._name] = buffer
        if buffer is not None and numbers is not None:
            # By .data, of which autograd keeps no count: a kept graph may hold the buffer.
            buffer.data.copy_(numbers)

    def moved(self, state: tuple[Tensor | None, Tensor | None]) -> bool:
        buffer, numbers = state
        now = self.module._buffers[self._name]
        if now is not buffer or _version(now) != self._version:  # written to: an observer's range
            return True
        return buffer is not None and numbers is not None and not torch.equal(buffer, numbers)


def _version(buffer: Tensor | None) -> int:
    """How often a buffer was written to, as far as autograd counts it."""
    return 0 if buffer is None or buffer.is_inference() else buffer._version


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    same = a == b
    return bool(same) if isinstance(same, bool) else bool(same.all())


def default_generators(devices: Iterable[torch.device]) -> list[torch.Generator]:
    """Those that torch draws from without being told: the processor's, and these devices'."""
    cuda = [device for device in devices if device.type == "cuda"]
    indices = [torch.cuda.current_device() if d.index is None else d.index for d in cuda]
    return [torch.default_generator, *(torch.cuda.default_generators[i] for i in indices)]


@contextmanager
def seeded(devices: Iterable[torch.device], seed: int) -> Generator[None]:
    """What is called in here draws the numbers of this seed; the generators stay as they were."""
    generators = default_generators(devices)
    states = [generator.get_state() for generator in generators]
    try:
        # Not torch.manual_seed, which would reach the generators of devices not in use, too.
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
