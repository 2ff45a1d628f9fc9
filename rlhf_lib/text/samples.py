"""What the data sets of all tasks have in common: a length, a name, and parts of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..arguments import is_whole, whole


class Samples:
    """n samples with a `name`; a kind of data set defines `__len__` and `take`.

    Printed, a data set says what is in it (`summary`) and what was guessed when it was read.
    """

    if TYPE_CHECKING:  # not when it runs: a dataclass would take them for the fields' defaults

        @property
        def name(self) -> str: ...

        @property
        def guesses(self) -> tuple[str, ...]: ...

    def __len__(self) -> int:
        raise NotImplementedError

    def take(self, indices: Any) -> Self:
        """The samples with these indices, in this order, or those where a mask is True.

        indices: integers from 0 to n - 1, or n booleans; a list, a range, an array or a tensor.
        """
        raise NotImplementedError

    def subset(self, n: int, seed: int = 0) -> Self:
        """n samples drawn at random, in file order.

        With one seed a smaller subset is a part of a larger one.
        """
        return self.take(sorted(self._shuffled(n, seed)[:n]))

    @property
    def contents(self) -> str:
        """What is in it, in a few words: how many samples of which kind."""
        return f"{len(self)} samples"

    @property
    def summary(self) -> str:
        """What is in it, and what was guessed about the file that it comes from."""
        first = f"{type(self).__name__} {self.name}: {self.contents}"
        return "\n".join([first, *(f"  {guess}" for guess in getattr(self, "guesses", ()))])

    def __repr__(self) -> str:
        return self.summary

    def _positions(self, indices: Any) -> list[int]:
        """Indices or a mask, as `take` gets them, as indices from 0 to n - 1."""
        expected = f"indices of {self.name}: expected integers from 0 to {len(self) - 1}"
        expected += f", or a mask of {len(self)} booleans"
        if isinstance(indices, str | bytes | dict) or not isinstance(indices, Iterable):
            raise ValueError(f"{expected}, got {indices!r}.")
        to_list = getattr(indices, "tolist", None)  # of arrays, tensors and pandas' columns
        found = to_list() if to_list is not None else list(indices)
        if not isinstance(found, list):
            raise ValueError(f"{expected}, got {indices!r}.")
        if found and all(isinstance(i, bool | np.bool_) for i in found):
            if len(found) != len(self):
                raise ValueError(f"{expected}, got {len(found)} booleans.")
            return [i for i, chosen in enumerate(found) if chosen]
        for place, i in enumerate(found):
            if not is_whole(i, 0) or i >= len(self):
                raise ValueError(f"{expected}, got {i!r} at place {place}.")
        return [int(i) for i in found]

    def _shuffled(self, n: int, seed: int) -> list[int]:
        """All indices in the random order of a seed, if n is a size that a subset can have."""
        if not is_whole(n, 1) or n > len(self):
            share = isinstance(n, float) and 0 < n < 1
            raise ValueError(
                f"Size of a subset of {self.name}: expected an integer from 1 to "
                f"{len(self)}, got {n!r}."
                + (f" Do: for that share, {round(n * len(self))}." if share else "")
            )
        return generator(seed).permutation(len(self)).tolist()


def generator(seed: int, *stream: int) -> np.random.Generator:
    """numpy's generator of a seed; TypeError for what would give other draws each time."""
    seed = whole("seed", seed, 0)
    return np.random.default_rng([seed, *stream] if stream else seed)


def as_tuple(key: str, values: Any) -> tuple[Any, ...]:
    """A sequence, an array or a tensor as a tuple; ValueError for a string and for no sequence."""
    if isinstance(values, str | bytes | dict) or not isinstance(values, Iterable):
        raise ValueError(f"{key}: expected a sequence of them, got {values!r}.")
    to_list = getattr(values, "tolist", None)
    return tuple(to_list() if to_list is not None else values)


def checked_names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """label_names as a tuple, if they are different strings, none empty."""
    if names is None:
        return None
    several = isinstance(names, Iterable) and not isinstance(names, str | bytes)
    found = tuple(names) if several else ()
    if not found or not all(isinstance(name, str) and name for name in found):
        example = tuple(map(str, found)) or ("negative", "positive")
        raise ValueError(
            f"label_names: expected strings, one a class, got {names!r}. Do: such as {example}."
        )
    if len(set(found)) < len(found):
        twice = next(name for name in found if found.count(name) > 1)
        raise ValueError(f"label_names: expected different names, got {twice!r} twice.")
    return found


BROKEN = re.compile("[\ud800-\udfff\0]")


def unusable(text: str) -> str | None:
    """Why a text cannot be encoded: a lone surrogate or a NUL, and what to do; None if it can."""
    found = BROKEN.search(text)
    if found is None:
        return None
    what = "NUL" if found[0] == "\0" else "half of a surrogate pair, which no UTF-8 has"
    return (
        f"character {found.start()} is U+{ord(found[0]):04X}, {what}. "
        "Do: delete it, or write U+FFFD in its place."
    )
