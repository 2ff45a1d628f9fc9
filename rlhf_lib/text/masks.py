"""Dropout in training, with one mask per step: all passes over a batch see the same function."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..objective.draws import seeded


class Drawn(dict):
    """A batch with the seed of its dropout mask, which stays the same while the batch lives."""

    def __init__(self, batch: dict, seed: int):
        super().__init__(batch)
        self.seed = seed


class Batches(Sized, Iterable, Protocol):
    """Batches, or lists of micro-batches, as many at each pass."""


class Masked:
    """Each batch of `source` as a `Drawn` one; an element that is a list has micro-batches."""

    def __init__(self, source: Batches, seed: int):
        self.source = source
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Drawn | list[Drawn]]:
        for element in self.source:
            if isinstance(element, list):
                yield [self._draw(batch) for batch in element]
            else:
                yield self._draw(element)

    def _draw(self, batch: dict[str, Tensor]) -> Drawn:
        return Drawn(batch, int(torch.randint(2**62, (), generator=self.generator)))


@contextmanager
def dropout_at(module: nn.Module, rate: float) -> Generator[None]:
    """Train mode, with this rate in every `nn.Dropout` below; afterwards all is as it was.

    Raises ValueError for a rate outside [0, 1) and for a module without dropout.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: expected a rate in [0, 1), got {rate!r}")
    layers = [m for m in module.modules() if isinstance(m, nn.Dropout)]
    if not layers:
        raise ValueError(
            f"dropout: expected a module with nn.Dropout inside, got {type(module).__name__} "
            "without any; leave dropout out, or build the module with dropout layers"
        )
    modes = [(m, m.training) for m in module.modules()]
    rates = [layer.p for layer in layers]
    try:
        module.train()
        for layer in layers:
            layer.p = rate
        yield
    finally:
        for m, training in modes:
            m.training = training
        for layer, p in zip(layers, rates, strict=True):
            layer.p = p


def with_dropout(loss_fn: Callable, module: nn.Module, rate: float) -> Callable:
    """`loss_fn(batch)` under dropout, whose mask hangs on the seed of the batch (`Drawn`) alone.

    Value, gradient, line search and curvature products then belong to one function, which a Newton
    step needs: with a new mask at each product the matrix would change while it is solved with
    (Martens and Sutskever, 2012, section 20.11, hold the noise fixed for this reason). Torch's own
    generators are left as they were.
    """

    def masked(batch: Drawn) -> Any:
        devices = {p.device for p in module.parameters()}
        with dropout_at(module, rate), seeded(devices, batch.seed):
            return loss_fn(batch)

    return masked
