"""What the data sets of all tasks have in common: a length, a name, and parts of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np


class Samples:
    """n samples with a `name`; a kind of data set defines `__len__` and `take`."""

    if TYPE_CHECKING:  # not when it runs: a dataclass would take it for the field's default

        @property
        def name(self) -> str: ...

    def __len__(self) -> int:
        raise NotImplementedError

    def take(self, indices: Sequence[int]) -> Self:
        """The samples with these indices, in this order."""
        raise NotImplementedError

    def subset(self, n: int, seed: int = 0) -> Self:
        """n samples drawn at random, in file order.

        With one seed a smaller subset is a part of a larger one.
        """
        return self.take(sorted(self._shuffled(n, seed)[:n]))

    def _shuffled(self, n: int, seed: int) -> list[int]:
        """All indices in the random order of a seed, if n is a size that a subset can have."""
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= len(self):
            raise ValueError(
                f"Size of a subset of {self.name}: expected an integer from 1 to "
                f"{len(self)}, got {n!r}."
            )
        return np.random.default_rng(seed).permutation(len(self)).tolist()
