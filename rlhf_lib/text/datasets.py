"""Labelled texts: the reviews embedded in the course, or anyone's own CSV or TSV file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .tables import read_table, table_error

DATA = Path(__file__).resolve().parent.parent / "data"
# Name -> label names in the order of the file's integer labels.
EMBEDDED_DATA = {"course-reviews": ("negative", "positive")}
SPLITS = ("train", "validation")


@dataclass(frozen=True)
class TextDataset:
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

    def take(self, indices: Sequence[int]) -> TextDataset:
        """The rows with these indices, in this order."""
        def pick(values):
            return tuple(values[i] for i in indices)
        return replace(self, texts=pick(self.texts), labels=pick(self.labels),
                       clean_labels=pick(self.clean_labels),
                       columns={key: pick(values) for key, values in self.columns.items()})

    def subset(self, n: int, seed: int = 0) -> TextDataset:
        """n rows drawn at random, as evenly over the classes as they allow, in file order.

        With one seed a smaller subset is a part of a larger one.
        """
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= len(self):
            raise ValueError(f"Size of a subset of {self.name}: expected an integer from 1 to "
                             f"{len(self)}, came {n!r}.")
        order = np.random.default_rng(seed).permutation(len(self))
        place = [0] * len(self.label_names)  # how many of each class were met so far
        rank = {}
        for i in order:
            rank[int(i)] = place[self.labels[i]]
            place[self.labels[i]] += 1
        # Sorting by rank deals the classes out in turn; the sort keeps ties in random order.
        chosen = sorted((int(i) for i in order), key=rank.__getitem__)[:n]
        return self.take(sorted(chosen))

    def with_label_noise(self, share: float, seed: int = 0) -> TextDataset:
        """Exactly `round(share * n)` labels moved to another class, `clean_labels` kept."""
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise ValueError(f"label_noise: expected a share from 0 to 1, came {share!r}.")
        rng = np.random.default_rng([seed, 1])  # another stream than that of `subset`
        labels = list(self.labels)
        classes = len(self.label_names)
        for i in rng.permutation(len(self))[:round(share * len(self))]:
            labels[i] = int((labels[i] + rng.integers(1, classes)) % classes)
        return replace(self, labels=tuple(labels))


class Splits(NamedTuple):
    train: TextDataset
    validation: TextDataset


def load_dataset(name: str | Path, *, split: str | None = None, label_noise: float = 0.0,
                 seed: int = 0, limit: int | None = None,
                 label_names: Sequence[str] | None = None) -> TextDataset | Splits:
    """Read the embedded reviews or a CSV/TSV file with the columns `text` and `label`.

    name: "course-reviews", or a path. Tabs separate the columns of .tsv, .tab and of files whose
        header holds a tab and no comma. UTF-8, with or without byte order mark; standard quoting.
    split: "train" or "validation" gives that part of a file that has a column `split`, as the
        embedded one does. None gives `Splits(train, validation)` of such a file, and of a file
        without that column one `TextDataset`.
    label_noise: share of TRAINING labels to flip: exactly `round(share * n)`, each to another
        class. A file without splits counts as training data.
    seed: of the choice of rows and of flips.
    limit: at most this many rows of each part, as even over the classes as they allow; drawn
        before labels are flipped.
    label_names: classes in order, for a second file that must number them as the first one did:
        `load_dataset("test.csv", label_names=train.label_names)`. None: those found, sorted.

    Raises ValueError naming file, line, reason and what to do, FileNotFoundError for no such file.
    """
    if split is not None and split not in SPLITS:
        raise ValueError(f"split: expected one of {SPLITS} or None, came {split!r}.")
    if split == "validation" and label_noise:
        raise ValueError(f"label_noise: expected 0 with split='validation', came {label_noise!r}. "
                         f"Validation labels stay clean, or they would not show what noise did.")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"limit: expected an integer of at least 1 or None, came {limit!r}.")
    embedded = str(name) in EMBEDDED_DATA
    path = DATA / f"{name}.csv" if embedded else Path(name).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'name: expected {sorted(EMBEDDED_DATA)} or the path of a CSV or '
                                f'TSV file with the columns text and label, came "{name}"; there '
                                f"is no file {path.absolute()}.")
    whole = _from_table(path, None if embedded else label_names)
    if embedded:
        whole = replace(whole, name=str(name), label_names=EMBEDDED_DATA[str(name)])

    def part(of):
        chosen = whole
        if of is not None:
            column = whole.columns["split"]
            chosen = whole.take([i for i, value in enumerate(column) if value == of])
            if not len(chosen):
                raise ValueError(f"{path}: expected rows with split={of}, came none. Do: write "
                                 f"train or validation into the column split, or leave it out.")
        if limit is not None and limit < len(chosen):
            chosen = chosen.subset(limit, seed)
        return chosen if of == "validation" else chosen.with_label_noise(label_noise, seed)

    if "split" in whole.columns:
        return part(split) if split is not None else Splits(*map(part, SPLITS))
    if split is not None:
        raise ValueError(f"split: expected None, because {path} has no column split, came "
                         f"{split!r}. Do: leave split out, or add a column split to the file.")
    return part(None)


def encode(tokenizer, texts: Sequence[str], max_length: int = 64) -> dict[str, torch.Tensor]:
    """Token ids and attention mask, (n, T) each, padded to the longest of these texts.

    max_length: longer texts are cut to this many tokens, or to the model's own limit if that is
    less. BERT also gets `token_type_ids`.
    """
    if isinstance(texts, str) or not len(texts):
        raise ValueError(f"texts: expected a list of at least one string, came {texts!r}.")
    if max_length < 3:
        raise ValueError(f"max_length: expected at least 3 (start, one piece, end), "
                         f"came {max_length!r}.")
    return dict(tokenizer(list(texts), padding="longest", truncation=True, return_tensors="pt",
                          max_length=min(max_length, tokenizer.model_max_length)))


def _from_table(path: Path, label_names: Sequence[str] | None) -> TextDataset:
    """A file as one data set, label names sorted; see `load_dataset` for format and errors."""
    names, rows = read_table(path, ("text", "label"))
    for line, row in rows:
        if label_names is not None and row["label"] not in label_names:
            raise table_error(path, line, f"expected a label out of {list(label_names)}, came "
                              f"{row['label']!r}.", "Correct it, or give other label_names.")
    found = {row["label"] for _, row in rows}
    if label_names is None and len(found) < 2:
        raise table_error(path, rows[-1][0], f"every label up to here is {found.pop()!r}, and a "
                          "classifier needs two classes.",
                          "Add rows of another class, or give label_names.")
    classes = tuple(label_names or sorted(found, key=_by_value(found)))
    labels = tuple(classes.index(row["label"]) for _, row in rows)
    return TextDataset(
        texts=tuple(row["text"] for _, row in rows), labels=labels, label_names=classes,
        name=path.name, clean_labels=labels,
        columns={column: tuple(row[column] for _, row in rows) for column in names
                 if column not in ("text", "label")})


def _by_value(labels):
    """Sort key under which numbers go by value (2 before 10) and other labels by alphabet."""
    try:
        values = {label: int(label) for label in labels}
    except ValueError:
        return str
    return values.__getitem__
