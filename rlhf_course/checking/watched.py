"""A function that sees where a learner's answer evaluates it: a quotient needs other points."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class Watched:
    """`f`, noting in `elsewhere` whether it was evaluated further than `tolerance` from a point.

    Inside vmap a tensor has no values to compare; what is done there shows when work is counted.
    """

    def __init__(self, f: Callable[[Tensor], Tensor], point: Tensor, tolerance: float = 0.0):
        self.f, self.point, self.tolerance = f, point.detach().clone(), tolerance
        self.elsewhere = False

    def __call__(self, t: Tensor) -> Tensor:
        try:
            if t.shape == self.point.shape:
                apart = float((t.detach() - self.point).abs().max())
                self.elsewhere |= not apart <= self.tolerance
        except RuntimeError:
            pass
        return self.f(t)
