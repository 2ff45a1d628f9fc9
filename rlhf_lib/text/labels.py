"""What the values of a label column are: classes, numbers, or several classes at once."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence

# What pandas reads as a missing value (pandas.read_csv, na_values).
MISSING = frozenset(
    "#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|"
    "nan|null|NaT".split("|")
)
FEW = 20  # classes; more of them than half the rows have are taken for a slip


# What the values of a column of splits mean.
SPELLINGS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(
        ("validation", "validate", "valid", "val", "dev", "devel", "development", "eval"),
        "validation",
    ),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}


class Doubt(Exception):
    """Values that no guess fits: (the row's number, reason, what to do)."""


def class_names(values: Sequence[str]) -> tuple[str, ...]:
    """The classes of a column of labels, sorted, numbers by value.

    Raises Doubt for what is likely no class: a missing value, numbers with a fraction, names that
    differ in case or spaces alone, one number written in two ways, or nearly one a row.
    """
    counts = Counter(values)
    all_names = sorted(counts, key=order(counts))
    keep = f"label_names={tuple(all_names[:FEW])}" if len(all_names) <= FEW else "label_names=[...]"
    first = {name: i for i, name in reversed(list(enumerate(values)))}
    for name in counts:
        if name in MISSING:
            raise Doubt(
                first[name],
                f"the label {name!r} is what many programs write for a missing value.",
                f"delete the row, or, if it is a class, {keep}.",
            )
        if name[0] == '"':
            raise Doubt(
                first[name],
                f"the label {name!r} has its quote in it.",
                "delete the white space before the quote, or quotes=True if quotes enclose values.",
            )
    numbers = {name: number(name.replace(",", ".")) for name in counts}
    fraction = next((n for n, x in numbers.items() if x is not None and x % 1), None)
    if fraction is not None and None not in numbers.values():
        raise Doubt(
            first[fraction],
            f"the label {fraction!r} is a number with a fraction, one of {len(counts)}, and not "
            "the name of a class.",
            f"regression=True to learn numbers, or {keep} for classes.",
        )
    for one, other in alike(counts):
        raise Doubt(
            first[other],
            f"the labels {one!r} (row {first[one] + 1}) and {other!r} (row {first[other] + 1}) "
            "look like one class.",
            f"write them alike, or {keep} for two.",
        )
    if len(counts) > max(FEW, len(values) / 2):
        raise Doubt(
            0,
            f"{len(counts)} different labels in {len(values)} rows: is this the column of classes?",
            "label_column= another one, regression=True for numbers, or label_names= with all of "
            "them.",
        )
    return tuple(all_names)


def order(names: Sequence[str] | Counter[str]):
    """Sort key under which numbers go by value (2.0 before 10.0) and other names by alphabet."""
    values = {name: number(name) for name in names}
    return str if None in values.values() else (lambda name: (values[name], name))


def number(name: str) -> float | None:
    """The finite number that a name is, or None. 1_000 and nan are none."""
    try:
        value = float(name)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in name else None


def alike(names) -> list[tuple[str, str]]:
    """Pairs of names that differ in case, spaces, invisible characters or digits' form alone."""
    seen: dict[object, str] = {}
    pairs = []
    for name in names:
        plain = unicodedata.normalize("NFKC", name)
        shown = "".join(c for c in plain if unicodedata.category(c) != "Cf")
        value = number(name)
        key = value if value is not None else " ".join(shown.casefold().split())
        if key in seen:
            pairs.append((seen[key], name))
        seen.setdefault(key, name)
    return pairs


def numbers_of(values: Sequence[str]) -> tuple[float, ...]:
    """Labels of a regression, with a point or all with a comma before the fraction.

    Raises Doubt for the first that is no finite number, and for commas that may be of thousands.
    """
    commas = [value for value in values if "," in value]
    if commas and not any("." in value for value in values):
        if all(value[-4:-3] == "," for value in commas):
            raise Doubt(
                values.index(commas[0]),
                f"the comma of {commas[0]!r} may be of a fraction or of thousands.",
                "write a point, or no comma.",
            )
        values = [value.replace(",", ".") for value in values]
    found = [number(value) for value in values]
    if None in found:
        place = found.index(None)
        raise Doubt(
            place,
            f"expected a finite number as label, got {values[place]!r}.",
            "correct it or delete the row.",
        )
    return tuple(x for x in found if x is not None)
