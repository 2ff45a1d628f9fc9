"""Data sets for every task: those embedded in the course, or anyone's own files, by one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from .. import arguments
from .conll import EntityDataset, tag_names
from .files import FileOptions, read_file
from .labels import SPELLINGS
from .samples import Samples, checked_names, unusable
from .squad import QuestionDataset
from .texts import TextDataset, TextPair

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
SPLITS = ("train", "validation", "test")
DataSet = TextDataset | EntityDataset | QuestionDataset


# Types and not their names: whoever asks a NamedTuple's constructor would not find these.
class Splits(NamedTuple("Splits", [("train", Samples), ("validation", Samples)])):
    """The two parts of a data set: what is trained on, and what judges.

    `test` is the third part where the data have one; it is no part of the tuple.
    """

    test: Samples | None = None

    def __repr__(self) -> str:
        parts = {**self._asdict(), "test": self.test}
        shown = [f"{name}: {part.contents}" for name, part in parts.items() if part is not None]
        return "\n".join([*shown, *(f"  {guess}" for guess in getattr(self.train, "guesses", ()))])


def load_dataset(
    name: str | Path,
    *,
    split: str | None = None,
    label_noise: float = 0.0,
    seed: int = 0,
    limit: int | None = None,
    label_names: Sequence[str] | None = None,
    text_column: str | int = "text",
    second_column: str | None = None,
    label_column: str | int | Sequence[str] | None = "label",
    split_column: str | None = "split",
    group_column: str | None = None,
    regression: bool = False,
    documents: str | None = None,
    encoding: str | None = None,
    separator: str | None = None,
    quotes: bool | None = None,
) -> Any:  # Samples of the file's kind, or Splits: who calls knows which
    """Read embedded data or a file: texts with classes, sentences with entities, or questions.

    What is guessed about a file is held against all of it, and stands in the data set's `guesses`;
    printed, the data set shows them. What does not fit is refused.

    name: "course-reviews" (a TextDataset), "course-entities" (an EntityDataset),
        "course-questions" (a QuestionDataset), or the path of a file:

        - .csv, .tsv, .tab, .jsonl, or .json with a list: texts, in the columns `text` and `label`;
          separated by commas, semicolons, tabs or bars;
        - .conll, .bio, .bioes, .iob, .iob2: a token and its tag a line (see `read_conll`);
        - .json: SQuAD 1.1 or 2.0, .jsonl: rows of it with context, question and answers (see
          `read_squad`).

        Any other suffix, as .txt, is told by the content, and so is a .tsv of tokens and tags. What
        is neither a table nor tagged is plain text, without labels, and so is a folder of .txt
        files; a folder of folders has a class in each (see `documents`). All may be packed by gzip.
    split: "train", "validation" or "test" gives that part of embedded data, or of a table that has
        a column `split`. None gives `Splits(train, validation)` of these, and of other files one
        data set.
    label_noise: for texts, the share of TRAINING labels to flip: exactly `round(share * n)`, each
        to another class. A file without splits counts as training data.
    seed: of the choice of samples and of flips.
    limit: at most this many samples of each part (texts, sentences, questions), drawn at random;
        of texts as even over the classes as they allow, and before labels are flipped.
    label_names: of texts and entities, classes or tags in order, for a second file that must
        number them as the first one did: `load_dataset("test.csv", label_names=train.label_names)`.
        None: those found, sorted, numbers by value.
    text_column, label_column: names of a table's columns; of tokens and tags their numbers, from 1.
        `label_column=None` reads texts alone, several names a class of 0 and 1 each.
    second_column: the column of second texts, for `TextPair`s.
    split_column, group_column: the columns of parts and of groups that folds keep together.
        `split_column=None` reads all rows as one.
    regression: labels are numbers to be learned, not classes.
    documents: reads plain text: "lines", "paragraphs" (between blank lines) or "file" is one text.
    encoding: of a file that is not UTF-8, as "cp1252".
    separator, quotes: of a table's columns, and whether double quotes enclose values, or, if False,
        are part of the texts.

    Raises ValueError naming file, place, reason and what to do, FileNotFoundError for no such file.
    """
    if split is not None and split not in SPLITS:
        raise ValueError(f"split: expected one of {SPLITS} or None, got {split!r}.")
    label_noise, seed = arguments.real("label_noise", label_noise), arguments.whole("seed", seed, 0)
    arguments.flag("regression", regression)
    if split not in (None, "train") and label_noise:
        raise ValueError(
            f"label_noise: expected 0 with split={split!r}, got {label_noise!r}. "
            f"Validation labels stay clean, or they would not show what noise did."
        )
    limit = limit if limit is None else arguments.whole("limit", limit, 1)
    label_names = checked_names(label_names)
    embedded = EMBEDDED_DATA.get(str(name)) if isinstance(name, str) else None
    path = _find(name)
    options = FileOptions(
        text_column,
        second_column,
        label_column,
        split_column,
        group_column,
        regression,
        documents,
        encoding,
        separator,
        quotes,
    )
    reviews = str(name) == "course-reviews"  # whose file has 0 and 1
    if reviews and label_names is not None:
        raise ValueError(f"label_names: expected None for {name}, got {label_names!r}.")
    whole = read_file(path, options, None if reviews else label_names or embedded)
    if label_noise and not isinstance(whole, TextDataset):
        raise ValueError(
            f"label_noise: expected 0 for {path.name}, got {label_noise!r}: only texts "
            "with one label each can have noise."
        )
    if str(name) in EMBEDDED_DATA:
        whole = replace(whole, name=str(name), guesses=())
    if isinstance(whole, TextDataset) and reviews:
        whole = replace(whole, label_names=REVIEW_CLASSES)
    places = _places(str(name), whole, split_column)

    def part(of: str | None) -> DataSet:
        chosen = whole
        if of is not None:
            chosen = whole.take([i for i, value in enumerate(places or ()) if value == of])
        if limit is not None and limit < len(chosen):
            chosen = chosen.subset(limit, seed)
        noisy = isinstance(chosen, TextDataset) and of in (None, "train")
        return chosen.with_label_noise(label_noise, seed) if noisy else chosen

    if places is None:
        if split is None:
            return part(None)
        cure = "put each part into a file of its own"
        if isinstance(whole, TextDataset):
            cure = "name the column of parts by split_column, or add a column split to the file"
        raise ValueError(
            f"split: expected None, because {path} has no column {split_column or 'split'}, got "
            f"{split!r}. Do: leave split out, or {cure}."
        )
    counts = {of: list(places).count(of) for of in SPLITS}
    for of in (split,) if split is not None else ("train", "validation"):
        if not counts[of]:
            there = ", ".join(f"{key} {n}" for key, n in counts.items() if n)
            raise ValueError(
                f"{path}: expected rows with split={of}, got {there}. Do: load a part that is "
                f"there by split=..., or all rows as one data set by split_column=None."
            )
    if split is not None:
        return part(split)
    both = Splits(part("train"), part("validation"))
    both.test = part("test") if counts["test"] else None
    return both


def _find(name: str | Path) -> Path:
    """The file of a name or a path, or the folder."""
    if not isinstance(name, str | Path) or not str(name):
        raise ValueError(f"name: expected a string or a path, got {name!r}.")
    if str(name) in EMBEDDED_DATA:
        return next(p for p in sorted(DATA.glob(f"{name}.*")) if p.suffix != ".md")
    path = Path(name).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"name: expected one of {sorted(EMBEDDED_DATA)} or the path of a CSV or TSV file with "
            f"the columns text and label, a CoNLL file (.conll, .txt, .bio) or a SQuAD file (.json)"
            f', got "{name}"; there is no file {path.absolute()}.'
        )
    return path


def _places(name: str, whole: DataSet, split_column: str | None) -> Sequence[str] | None:
    """ "train", "validation" or "test" for each sample, or None where the data are not split."""
    if name == "course-entities":
        return [SPLITS[i >= TRAINING_SENTENCES] for i in range(len(whole))]
    if isinstance(whole, QuestionDataset) and name == "course-questions":
        first = list(dict.fromkeys(q.title for q in whole))[:TRAINING_TITLES]
        return [SPLITS[q.title not in first] for q in whole]
    if split_column is None or not isinstance(whole, TextDataset):
        return None
    values = whole.columns.get(split_column.strip().lower())
    return None if values is None else [SPELLINGS[value.lower()] for value in values]


LEAST_LENGTH = 3  # tokens of a text: start, one piece, end


def encode(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str] | Sequence[TextPair],
    max_length: int = 64,
) -> dict[str, torch.Tensor]:
    """Token ids and attention mask, (n, T) each, padded to the longest of these texts.

    texts: strings, or pairs of them, which go in together.
    max_length: longer texts are cut to this many tokens, or to the model's own limit if that is
    less; of a pair the longer one is cut first. BERT also gets `token_type_ids`.
    """
    listed = isinstance(texts, Iterable) and not isinstance(texts, str | bytes | dict)
    found = list(texts) if listed else []
    pairs = [tuple(text) if isinstance(text, tuple) else (text,) for text in found]
    if not found or len({*map(len, pairs)}) > 1 or len(pairs[0]) > 2:
        raise ValueError(
            f"texts: expected a list of at least one string, or of pairs alone, got {texts!r}."
        )
    for place, text in enumerate(pairs):
        for part in text:
            reason = unusable(part) if isinstance(part, str) else f"expected str, got {part!r}."
            if reason:
                raise ValueError(f"texts, number {place}: {reason}")
    max_length = arguments.whole("max_length", max_length, LEAST_LENGTH)
    firsts, *seconds = ([text[i] for text in pairs] for i in range(len(pairs[0])))
    return dict(
        tokenizer(
            firsts,
            *seconds,
            padding="longest",
            truncation=True,
            return_tensors="pt",
            max_length=min(max_length, tokenizer.model_max_length),
        )
    )


__all__ = ["EntityDataset", "QuestionDataset", "Splits", "TextDataset", "encode", "load_dataset"]
