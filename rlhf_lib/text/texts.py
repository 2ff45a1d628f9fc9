"""Texts with a class, a number or several classes each, or none, and pairs of texts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, NamedTuple, Self, TypeVar

from ..arguments import is_whole
from .samples import Samples, as_tuple, checked_names, generator, unusable

Value = TypeVar("Value")


class TextPair(NamedTuple):
    """Two texts that are judged together: a premise and a hypothesis, two questions."""

    first: str
    second: str


@dataclass(frozen=True, repr=False)
class TextDataset(Samples):
    """n texts and what is to be learned of them; `len`, iteration over `(text, label)`, `subset`.

    Attributes:
        texts: n strings, or n `TextPair`s.
        labels: one a text, the ones to train on: integers, indices into `label_names`; floats in
            regression; tuples of 0 and 1, one a name, where a text may have several classes; empty
            for texts alone.
        label_names: one name per class, sorted (numbers by value); empty in regression and for
            texts alone.
        name: where it comes from, for titles and messages.
        clean_labels: `labels` as they were before `label_noise` flipped some of them.
        columns: the file's other columns by name, n strings each (phenomenon, domain, ...).
        groups: n names of groups that folds must not tear (an author, a patient), or empty.
        guesses: what the reader took to be so, and found to fit the whole file.

    Raises ValueError for lengths that differ, labels that `label_names` does not have, and texts
    that no tokenizer takes (lone surrogates).
    """

    texts: tuple[Any, ...]
    labels: tuple[Any, ...]
    label_names: tuple[str, ...]
    name: str
    clean_labels: tuple[Any, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    guesses: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        for key in ("texts", "labels", "clean_labels", "groups", "guesses"):
            values = as_tuple(key, getattr(self, key))
            rows = (tuple(row) if isinstance(row, list) else row for row in values)
            object.__setattr__(self, key, tuple(rows))
        texts = [TextPair(*t) if isinstance(t, tuple) and len(t) == 2 else t for t in self.texts]
        object.__setattr__(self, "texts", tuple(texts))
        object.__setattr__(self, "label_names", as_tuple("label_names", self.label_names))
        if self.label_names:
            checked_names(self.label_names)
        if not self.clean_labels:
            object.__setattr__(self, "clean_labels", self.labels)
        sizes = {"labels": self.labels, "clean_labels": self.clean_labels, "groups": self.groups}
        for key, values in {**sizes, **self.columns}.items():
            if values and len(values) != len(self.texts):
                raise ValueError(
                    f"{self.name}: expected {len(self.texts)} of {key}, one a text, got "
                    f"{len(values)}."
                )
        kind = TextPair if self.paired else str
        for place, text in enumerate(texts):
            if not isinstance(text, kind):
                raise ValueError(
                    f"{self.name}, text {place}: expected {kind.__name__}, got {text!r}."
                )
            for part in text if self.paired else (text,):
                reason = unusable(part) if isinstance(part, str) else f"expected str, got {part!r}."
                if reason:
                    raise ValueError(f"{self.name}, text {place}: {reason}")
        self._check_labels()

    def _check_labels(self) -> None:
        names = len(self.label_names)
        expected = f"an integer from 0 to {names - 1}, or where a text may have several classes "
        expected += f"{names} values 0 or 1"
        problem = self.problem_type
        for place, label in enumerate(self.labels):
            if problem == "single_label_classification":
                fits = is_whole(label, 0) and label < names
            elif problem == "regression":
                fits, expected = isinstance(label, Real) and math.isfinite(label), "a finite number"
            else:
                fits = isinstance(label, tuple) and len(label) == names and {*label} <= {0, 1}
                expected = f"{names} values 0 or 1"
            if not fits:
                raise ValueError(
                    f"{self.name}, text {place}: expected {expected} as label, with the "
                    f"label_names {self.label_names}, got {label!r}."
                )

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[tuple[str | TextPair, Any]]:
        return iter(zip(self.texts, self.labels or (None,) * len(self), strict=True))

    @property
    def problem_type(self) -> str | None:
        """What transformers calls it: single_label_classification, multi_label_classification or
        regression; None for texts alone."""
        if not self.labels:
            return None
        if not self.label_names:
            return "regression"
        several = isinstance(self.labels[0], tuple)
        return "multi_label_classification" if several else "single_label_classification"

    @property
    def contents(self) -> str:
        """How many texts, and how many of each class or the range of the numbers."""
        found = f"{len(self)} {'pairs of texts' if self.paired else 'texts'}"
        if self.problem_type is None:
            return f"{found}, no labels"
        if self.problem_type == "regression":
            return f"{found}, numbers from {min(self.labels):g} to {max(self.labels):g}"
        if self.problem_type == "multi_label_classification":
            counts = dict(enumerate(map(sum, zip(*self.labels, strict=True))))
        else:
            counts = Counter(self.labels)
        shown = [f"{name} {counts.get(i, 0)}" for i, name in enumerate(self.label_names[:20])]
        more = len(self.label_names) - len(shown)
        return f"{found}, {', '.join(shown)}" + (f" and {more} more classes" if more else "")

    @property
    def paired(self) -> bool:
        """Whether the texts are pairs."""
        return bool(self.texts) and isinstance(self.texts[0], TextPair)

    def take(self, indices: Any) -> Self:
        """The rows with these indices, in this order, or those where a mask is True."""
        rows = self._positions(indices)

        def pick(values: Sequence[Value]) -> tuple[Value, ...]:
            return tuple(values[i] for i in rows) if values else ()

        return replace(
            self,
            texts=pick(self.texts),
            labels=pick(self.labels),
            clean_labels=pick(self.clean_labels),
            columns={key: pick(values) for key, values in self.columns.items()},
            groups=pick(self.groups),
        )

    def subset(self, n: int, seed: int = 0) -> Self:
        """n rows drawn at random, as evenly over the classes as they allow, in file order.

        With one seed a smaller subset is a part of a larger one.
        """
        order = self._shuffled(n, seed)
        if self.problem_type != "single_label_classification":
            return self.take(sorted(order[:n]))
        place = [0] * len(self.label_names)  # how many of each class were met so far
        rank = {}
        for i in order:
            rank[i] = place[self.labels[i]]
            place[self.labels[i]] += 1
        # Sorting by rank deals the classes out in turn; the sort keeps ties in random order.
        return self.take(sorted(sorted(order, key=rank.__getitem__)[:n]))

    def with_label_noise(self, share: float, seed: int = 0) -> Self:
        """Exactly `round(share * n)` labels moved to another class, `clean_labels` kept."""
        if isinstance(share, bool) or not isinstance(share, Real) or not 0 <= share <= 1:
            raise ValueError(f"label_noise: expected a share from 0 to 1, got {share!r}.")
        if not share:
            return self
        rng = generator(seed, 1)  # another stream than that of `subset`
        classes = len(self.label_names)
        if classes < 2 or self.problem_type != "single_label_classification":
            raise ValueError(
                f"label_noise: expected 0, for {self.name} has no other class to move a label to, "
                f"got {share!r}."
            )
        labels = list(self.labels)
        for i in rng.permutation(len(self))[: round(share * len(self))]:
            labels[i] = int((labels[i] + rng.integers(1, classes)) % classes)
        return replace(self, labels=tuple(labels))
