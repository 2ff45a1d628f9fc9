"""A claim of the article, its test and its sources; and the verdict that the numbers give."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..recorded import FOLDER, Document, NotRecorded
from ..verdicts import rule
from ..verdicts.comparison import Comparison

LIVE = "live"


@dataclass(frozen=True)
class Source:
    """Where the numbers of some comparisons come from.

    Attributes:
        file: of rlhf_course/recorded, such as "nb10_sst2.json", or LIVE for what
            is computed on the spot in less than a second.
        compare: document -> comparisons; may raise NotRecorded.
    """

    file: str
    compare: Callable[[Any], list[Comparison]]


@dataclass(frozen=True)
class Claim:
    """One claim of the article, and how it is tested here.

    Attributes:
        name: short, for a list. words: what the article says, in our words.
        test: what would support it, in one sentence.
        data: what it is tested on, in full. tested_on: in the few words that belong to the verdict.
        baselines: against what, and how these were tuned.
        sources: the recorded numbers. None at all: not tested.
        quantifier: whether it speaks of "all" its comparisons or of "some" (it "may").
        shown_in: the notebooks whose cells show it.
        note: what to keep in mind when reading the verdict.
    """

    name: str
    words: str
    test: str
    data: str
    baselines: str
    tested_on: str
    shown_in: tuple[str, ...]
    sources: tuple[Source, ...] = ()
    quantifier: str = rule.ALL
    note: str = ""


@dataclass(frozen=True)
class Judged:
    """A claim with what its sources say today.

    Attributes:
        verdict: "supported", "refuted", "no difference", "depends", "not enough data", "not
            tested" or "not recorded yet".
        missing: files, or runs of them, that are not recorded yet.
        seeds: the least and the most seeds of a measured comparison; None where all is counted.
    """

    claim: Claim
    comparisons: tuple[Comparison, ...]
    verdict: str
    missing: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        """The verdict with what it rests on; without that it would say too much."""
        return f"{self.verdict}, as tested on {self.claim.tested_on}"

    @property
    def more(self) -> int | None:
        """Seeds that would decide it, where there is not enough data and a number would do."""
        return rule.more_seeds(self.comparisons) if self.verdict == rule.NOT_ENOUGH else None

    @property
    def seeds(self) -> tuple[int, int] | None:
        counts = [len(c.benefits) for c in self.comparisons if not c.exact]
        return (min(counts), max(counts)) if counts else None

    def __str__(self) -> str:
        more = f" ({self.more} seeds would decide)" if self.more else ""
        lines = [f"{self.claim.name}: {self.says}{more}", f"  the article: {self.claim.words}"]
        lines += [f"  {c}" for c in self.comparisons]
        lines += [f"  not recorded yet: {what}" for what in self.missing]
        return "\n".join(lines)


def judge(claim: Claim, documents: Mapping[str, Any] | None = None) -> Judged:
    """The verdict on a claim, by :mod:`~rlhf_course.verdicts.rule`.

    Args:
        documents: file -> content, in place of the recorded ones.
    """
    comparisons: list[Comparison] = []
    missing: list[str] = []
    for source in claim.sources:
        given = (documents or {}).get(source.file)
        document = load(source.file) if given is None else Document(given)
        if document is None:
            missing.append(source.file)
            continue
        try:
            comparisons += source.compare(document)
        except NotRecorded as error:
            missing.append(f"{source.file}: {error}")
    word = rule.verdict(comparisons, claim.quantifier)
    if not comparisons and missing:
        word = rule.NOT_RECORDED
    return Judged(claim, tuple(comparisons), word, tuple(dict.fromkeys(missing)))


def load(file: str) -> Any:
    """The content of a recorded file; None where there is none."""
    return LIVE if file == LIVE else _read(FOLDER / file, _stamp(FOLDER / file))


def _stamp(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.is_file() else None


@cache
def _read(path: Path, stamp: int | None) -> Any:
    return None if stamp is None else Document(json.loads(path.read_text(encoding="utf-8")))
