"""Data sets for every task: those embedded in the course, or anyone's own files, by one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from .conll import EntityDataset, looks_like_conll, read_conll, tag_names
from .samples import Samples
from .squad import QuestionDataset, read_squad
from .tables import decode
from .texts import TextDataset, read_texts

DATA = Path(__file__).resolve().parent.parent / "data"
REVIEW_CLASSES = ("negative", "positive")
# Name -> label names in the order in which they are numbered.
EMBEDDED_DATA: dict[str, tuple[str, ...] | None] = {
    "course-reviews": REVIEW_CLASSES,
    "course-entities": tag_names(("PER", "LOC", "ORG", "MISC")),
    "course-questions": None,
}
# How many sentences, and how many titles, are for training: the files have no column that says it.
TRAINING_SENTENCES, TRAINING_TITLES = 180, 48
SUFFIXES = {
    ".csv": "texts",
    ".tsv": "texts",
    ".tab": "texts",
    ".json": "questions",
    ".conll": "entities",
    ".bio": "entities",
    ".iob": "entities",
    ".iob2": "entities",
}
SPLITS = ("train", "validation")
DataSet = TextDataset | EntityDataset | QuestionDataset


# Types and not their names: whoever asks a NamedTuple's constructor would not find these.
class Splits(NamedTuple("Splits", [("train", Samples), ("validation", Samples)])):
    """The two parts of a data set: what is trained on, and what judges."""


def load_dataset(
    name: str | Path,
    *,
    split: str | None = None,
    label_noise: float = 0.0,
    seed: int = 0,
    limit: int | None = None,
    label_names: Sequence[str] | None = None,
) -> Any:  # Samples of the file's kind, or Splits: who calls knows which
    """Read embedded data or a file: texts with classes, sentences with entities, or questions.

    name: "course-reviews" (a TextDataset), "course-entities" (an EntityDataset),
        "course-questions" (a QuestionDataset), or the path of a UTF-8 file:

        - .csv, .tsv, .tab: texts, in the columns `text` and `label` (see `read_texts`);
        - .conll, .bio, .iob, .iob2: a token and its tag a line (see `read_conll`);
        - .json: SQuAD 1.1 or 2.0 (see `read_squad`).

        Any other suffix, as .txt, is told by the content, and so is a .tsv of tokens and tags.
    split: "train" or "validation" gives that part of embedded data, or of a table that has a
        column `split`. None gives `Splits(train, validation)` of these, and of other files one
        data set.
    label_noise: for texts, the share of TRAINING labels to flip: exactly `round(share * n)`, each
        to another class. A file without splits counts as training data.
    seed: of the choice of samples and of flips.
    limit: at most this many samples of each part (texts, sentences, questions), drawn at random;
        of texts as even over the classes as they allow, and before labels are flipped.
    label_names: of texts and entities, classes or tags in order, for a second file that must
        number them as the first one did: `load_dataset("test.csv", label_names=train.label_names)`.
        None: those found, sorted.

    Raises ValueError naming file, place, reason and what to do, FileNotFoundError for no such file.
    """
    if split is not None and split not in SPLITS:
        raise ValueError(f"split: expected one of {SPLITS} or None, got {split!r}.")
    if split == "validation" and label_noise:
        raise ValueError(
            f"label_noise: expected 0 with split='validation', got {label_noise!r}. "
            f"Validation labels stay clean, or they would not show what noise did."
        )
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"limit: expected an integer of at least 1 or None, got {limit!r}.")
    path, kind = _find(name)
    whole: DataSet
    if str(name) == "course-reviews":
        whole = replace(read_texts(path), name=str(name), label_names=REVIEW_CLASSES)
    else:
        whole = _read(path, kind, label_names or EMBEDDED_DATA.get(str(name)), label_noise)
        whole = replace(whole, name=str(name) if str(name) in EMBEDDED_DATA else whole.name)
    places = _places(str(name), whole)

    def part(of: str | None) -> DataSet:
        chosen = whole
        if of is not None:
            indices = [i for i, value in enumerate(places or ()) if value == of]
            if not indices:
                raise ValueError(
                    f"{path}: expected rows with split={of}, got none. Do: write "
                    f"train or validation into the column split, or leave it out."
                )
            chosen = whole.take(indices)
        if limit is not None and limit < len(chosen):
            chosen = chosen.subset(limit, seed)
        noisy = isinstance(chosen, TextDataset) and of != "validation"
        return chosen.with_label_noise(label_noise, seed) if noisy else chosen

    if places is not None:
        return part(split) if split is not None else Splits(*map(part, SPLITS))
    if split is not None:
        column = "column split" if isinstance(whole, TextDataset) else "splits"
        cure = (
            "leave split out, or add a column split to the file"
            if column != "splits"
            else "leave split out, and put each part into a file of its own"
        )
        raise ValueError(
            f"split: expected None, because {path} has no {column}, got {split!r}. Do: {cure}."
        )
    return part(None)


def _find(name: str | Path) -> tuple[Path, str]:
    """The file of a name or a path, and what it holds: texts, entities or questions."""
    embedded = str(name) in EMBEDDED_DATA
    path = (
        next(p for p in sorted(DATA.glob(f"{name}.*")) if p.suffix != ".md")
        if embedded
        else Path(name).expanduser()
    )
    if not path.is_file():
        raise FileNotFoundError(
            f"name: expected one of {sorted(EMBEDDED_DATA)} or the path of a CSV or TSV file with "
            f"the columns text and label, a CoNLL file (.conll, .txt, .bio) or a SQuAD file (.json)"
            f', got "{name}"; there is no file {path.absolute()}.'
        )
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None or path.suffix.lower() in (".tsv", ".tab"):
        text = decode(path)
        if text.lstrip().startswith("{"):
            return path, "questions"
        return path, "entities" if looks_like_conll(text) else "texts"
    return path, kind


def _read(path: Path, kind: str, label_names: Sequence[str] | None, label_noise: float) -> DataSet:
    if kind == "texts":
        return read_texts(path, label_names)
    if label_noise:
        raise ValueError(
            f"label_noise: expected 0 for {kind}, got {label_noise!r}: only texts "
            "with one label each can have noise."
        )
    if kind == "entities":
        return read_conll(path, label_names)
    if label_names is not None:
        raise ValueError(f"label_names: expected None for questions, got {label_names!r}.")
    return read_squad(path)


def _places(name: str, whole: DataSet) -> Sequence[str] | None:
    """ "train" or "validation" for each sample, or None where the data are not split."""
    if name == "course-entities":
        training = [i < TRAINING_SENTENCES for i in range(len(whole))]
    elif isinstance(whole, QuestionDataset) and name == "course-questions":
        first = list(dict.fromkeys(q.title for q in whole))[:TRAINING_TITLES]
        training = [q.title in first for q in whole]
    else:
        return whole.columns.get("split") if isinstance(whole, TextDataset) else None
    return [SPLITS[not is_training] for is_training in training]


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int = 64
) -> dict[str, torch.Tensor]:
    """Token ids and attention mask, (n, T) each, padded to the longest of these texts.

    max_length: longer texts are cut to this many tokens, or to the model's own limit if that is
    less. BERT also gets `token_type_ids`.
    """
    if isinstance(texts, str) or not len(texts):
        raise ValueError(f"texts: expected a list of at least one string, got {texts!r}.")
    if max_length < 3:
        raise ValueError(
            f"max_length: expected at least 3 (start, one piece, end), got {max_length!r}."
        )
    return dict(
        tokenizer(
            list(texts),
            padding="longest",
            truncation=True,
            return_tensors="pt",
            max_length=min(max_length, tokenizer.model_max_length),
        )
    )


__all__ = ["EntityDataset", "QuestionDataset", "Splits", "TextDataset", "encode", "load_dataset"]
