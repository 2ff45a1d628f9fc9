"""Texts with a class each, and how they are read from a CSV or TSV file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from .samples import Samples
from .tables import read_table, table_error

Value = TypeVar("Value")


@dataclass(frozen=True)
class TextDataset(Samples):
    """n texts with a class each; `len`, iteration over `(text, label)`, `subset`.

    Attributes:
        texts: n strings, none empty.
        labels: n integers, indices into `label_names`; the ones to train on.
        label_names: one name per class, sorted (numbers by value).
        name: where it comes from, for titles and messages.
        clean_labels: `labels` as they were before `label_noise` flipped some of them.
        columns: the file's other columns by name, n strings each (phenomenon, domain, ...).
    """

    texts: tuple[str, ...]
    labels: tuple[int, ...]
    label_names: tuple[str, ...]
    name: str
    clean_labels: tuple[int, ...]
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(zip(self.texts, self.labels, strict=True))

    def take(self, indices: Sequence[int]) -> Self:
        """The rows with these indices, in this order."""

        def pick(values: Sequence[Value]) -> tuple[Value, ...]:
            return tuple(values[i] for i in indices)

        return replace(
            self,
            texts=pick(self.texts),
            labels=pick(self.labels),
            clean_labels=pick(self.clean_labels),
            columns={key: pick(values) for key, values in self.columns.items()},
        )

    def subset(self, n: int, seed: int = 0) -> Self:
        """n rows drawn at random, as evenly over the classes as they allow, in file order.

        With one seed a smaller subset is a part of a larger one.
        """
        order = self._shuffled(n, seed)
        place = [0] * len(self.label_names)  # how many of each class were met so far
        rank = {}
        for i in order:
            rank[i] = place[self.labels[i]]
            place[self.labels[i]] += 1
        # Sorting by rank deals the classes out in turn; the sort keeps ties in random order.
        return self.take(sorted(sorted(order, key=rank.__getitem__)[:n]))

    def with_label_noise(self, share: float, seed: int = 0) -> Self:
        """Exactly `round(share * n)` labels moved to another class, `clean_labels` kept."""
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise ValueError(f"label_noise: expected a share from 0 to 1, got {share!r}.")
        rng = np.random.default_rng([seed, 1])  # another stream than that of `subset`
        labels = list(self.labels)
        classes = len(self.label_names)
        for i in rng.permutation(len(self))[: round(share * len(self))]:
            labels[i] = int((labels[i] + rng.integers(1, classes)) % classes)
        return replace(self, labels=tuple(labels))


def read_texts(path: Path, label_names: Sequence[str] | None = None) -> TextDataset:
    """A CSV or TSV file with the columns `text` and `label` as one data set.

    label_names: classes in order; None takes those found, sorted, numbers by value.
    Raises ValueError naming file, line, reason and what to do.
    """
    names, rows = read_table(path, ("text", "label"))
    for line, row in rows:
        if label_names is not None and row["label"] not in label_names:
            raise table_error(
                path,
                line,
                f"expected a label out of {list(label_names)}, got {row['label']!r}.",
                "Correct it, or give other label_names.",
            )
    found = {row["label"] for _, row in rows}
    if label_names is None and len(found) < 2:
        raise table_error(
            path,
            rows[-1][0],
            f"every label up to here is {found.pop()!r}, and a classifier needs two classes.",
            "Add rows of another class, or give label_names.",
        )
    classes = tuple(label_names or sorted(found, key=_by_value(found)))
    labels = tuple(classes.index(row["label"]) for _, row in rows)
    return TextDataset(
        texts=tuple(row["text"] for _, row in rows),
        labels=labels,
        label_names=classes,
        name=path.name,
        clean_labels=labels,
        columns={
            column: tuple(row[column] for _, row in rows)
            for column in names
            if column not in ("text", "label")
        },
    )


def _by_value(labels: set[str]) -> Callable[[str], Any]:
    """Sort key under which numbers go by value (2 before 10) and other labels by alphabet."""
    try:
        values = {label: int(label) for label in labels}
    except ValueError:
        return str
    return values.__getitem__
