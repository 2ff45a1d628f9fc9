"""Studies: the experiments whose results notebooks show as recorded.

Each is a module `rlhf_course/studies/NAME.py` with one `STUDY`; `make evidence STUDY=NAME` runs
what is missing of it and writes `rlhf_course/recorded/NAME.json`. A test runs a small part again.

A study that tunes has two phases, so that no value is chosen by hand: its first runs try the
values, its rule chooses among them by the record of these runs alone, and the runs that judge
follow from what it chose. A study with `looks` judges in batches of seeds and stops when its own
questions are decided. What it asks for next is always a function of what is recorded.
"""

from __future__ import annotations

import importlib
import math
import os
import pkgutil
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..recorded import Document, NotRecorded, indexed, key, runs_with
from ..verdicts.comparison import Comparison
from ..verdicts.rule import ALL, NOT_ENOUGH, can_decide, verdict
from .tuning import Search

DATA_VARIABLE = "RLHF_EVIDENCE_DATA"
Settings = dict[str, Any]
Rows = Mapping[str, Iterable[Hashable]]


@dataclass(frozen=True)
class Question:
    """What the seeds of a study are to decide, stated before they run.

    Attributes:
        about: its name, such as that of the claim.
        compare: (record, seeds) -> the primary comparisons over these seeds, all recorded. Their
            `looks` are filled in by the study.
        quantifier: whether it asks about "all" of them or about "some".
    """

    about: str
    compare: Callable[[Mapping[str, Any], tuple[Any, ...]], list[Comparison]]
    quantifier: str = ALL


class Look(NamedTuple):
    """What was seen after so many seeds.

    Attributes:
        words: the verdict for each question.
        ends: why no more seeds are run; "" if more are. One such reason is that no number of them
            would decide what is open, at two looks in a row: all are judged on the same few rows.
        hopeless: whether that is so at this look.
    """

    seeds: int
    words: Mapping[str, str]
    ends: str
    hopeless: bool


@dataclass(frozen=True)
class Study:
    """An experiment made of independent runs, in one phase or in two.

    Attributes:
        about: one sentence: what is compared on what.
        run: settings -> results, JSON values only. A run that diverges returns null for its
            numbers; one that raises is not recorded, and no look is taken without it.
        runs: the settings of every run, JSON values only, all different; `seed` among them where
            there is chance. With `choose`: of every run that tunes. With a search: none.
        choose: with two phases: the runs that tune, as recorded -> what is chosen.
        search: in place of `runs` and `choose`: a tuning that finds its own values.
        judge: with two phases: what is chosen -> the settings of the runs that judge it, with
            `looks` of all seeds up to the last look.
        looks: numbers of seeds after which the questions are looked at; the last is the cap. Seeds
            are taken in the order in which they first appear.
        questions: with looks, what they are to decide: all of them, and the study stops.
        rows: settings -> by role ("train", "test", ...), the rows that the run draws: indices or
            texts. Those of a run do not overlap, nor do those that tune and those that judge.
        shared: roles whose rows tuning may use, too, because no verdict rests on them.
        small: settings of one run that takes seconds: a test runs it again and compares.
            None where every run takes longer or reads a file that is not in the project.
        files: names of files that the runs read from the folder given by `--data`.
    """

    about: str
    run: Callable[[Settings], dict[str, Any]]
    runs: Callable[[], Iterable[Settings]] = tuple
    choose: Callable[[list[dict[str, Any]]], Any] | None = None
    search: Search | None = None
    judge: Callable[[Any], Iterable[Settings]] | None = None
    looks: tuple[int, ...] = ()
    questions: tuple[Question, ...] = ()
    rows: Callable[[Settings], Rows] | None = None
    shared: tuple[str, ...] = ()
    small: Settings | None = None
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.choose is not None and self.search is not None:
            raise ValueError("expected one way to tune, got both choose and a search")
        if self.tunes != (self.judge is not None):
            raise ValueError(
                "expected judge with choose or a search, or neither, got one of the two"
            )
        if bool(self.looks) != bool(self.questions):
            raise ValueError("expected both looks and the questions that they decide, or neither")

    @property
    def tunes(self) -> bool:
        """Whether values are tried before others judge them."""
        return self.choose is not None or self.search is not None

    def chosen(self, document: Mapping[str, Any]) -> Any:
        """What the rule chooses by the tuning runs of this record.

        Raises NotRecorded while one of them is missing, ValueError for a study of one phase.
        """
        memo = document.memo if isinstance(document, Document) else {}
        study, found = memo.get("chosen", (None, None))
        if study is not self:
            found = self._choice(document)
            memo["chosen"] = self, found
        return found

    def _choice(self, document: Mapping[str, Any]) -> Any:
        if self.search is not None:
            return self.search.chosen(document)
        if self.choose is None:
            raise ValueError("expected a study of two phases, got one that chooses nothing")
        return self.choose(runs_with(document, self.runs()))

    def tuning(self, document: Mapping[str, Any]) -> list[Settings]:
        """Settings of the runs that tune, as far as this record tells; none in one phase."""
        if self.search is not None:
            return self.search.asked(document)
        return list(self.runs()) if self.choose is not None else []

    def judging(self, document: Mapping[str, Any]) -> list[Settings]:
        """Settings of the runs that judge, by this record: up to the next look, or to the last.

        In a study of one phase these are its runs. Raises NotRecorded while a tuning run is
        missing.
        """
        everything = self._up_to_the_cap(document)
        if not self.looks:
            return everything
        looked = self.looked(document)
        last = looked[-1].seeds if looked and looked[-1].ends else self.looks[len(looked)]
        return _of(everything, self._seeds(everything)[:last])

    def asked(self, document: Mapping[str, Any]) -> list[Settings]:
        """Settings of all runs that this record asks for, in order."""
        return [*self.tuning(document), *self.judging(document)]

    def looked(self, document: Mapping[str, Any]) -> list[Look]:
        """Each look that was taken; the last one ended the study, or is all this record allows.

        None without `looks`. Raises NotRecorded while a tuning run is missing.
        """
        if not self.looks:
            return []
        everything = self._up_to_the_cap(document)
        seeds, there = self._seeds(everything), indexed(document)
        found: list[Look] = []
        for n in self.looks:
            if not all(key(settings) in there for settings in _of(everything, seeds[:n])):
                break
            rows = {q: self._compare(q, document, seeds[:n]) for q in self.questions}
            words = {q.about: verdict(some, q.quantifier) for q, some in rows.items()}
            waiting = [some for q, some in rows.items() if words[q.about] == NOT_ENOUGH]
            hopeless = bool(waiting) and not any(map(can_decide, waiting))
            if not waiting:
                ends = "decided"
            elif n == self.looks[-1]:
                ends = "the cap is reached"
            elif hopeless and found and found[-1].hopeless:
                ends = "no number of seeds would decide what is open"
            else:
                ends = ""
            found.append(Look(n, words, ends, hopeless))
            if ends:
                break
        return found

    def compared(self, document: Mapping[str, Any], about: str) -> list[Comparison]:
        """The comparisons of a question over the seeds of the last look.

        Raises NotRecorded before the first look.
        """
        looked = self.looked(document)
        if not looked:
            raise NotRecorded(f"not all runs of the first {self.looks[0]} seeds")
        seeds = self._seeds(self._up_to_the_cap(document))[: looked[-1].seeds]
        (question,) = (q for q in self.questions if q.about == about)
        return self._compare(question, document, seeds)

    def _compare(self, question: Question, document: Mapping[str, Any], seeds) -> list[Comparison]:
        found = question.compare(document, seeds)
        return [c if c.exact else replace(c, looks=self.looks) for c in found]

    def _up_to_the_cap(self, document: Mapping[str, Any]) -> list[Settings]:
        return list(self.runs() if self.judge is None else self.judge(self.chosen(document)))

    def _seeds(self, everything: list[Settings]) -> tuple[Any, ...]:
        seeds = tuple(dict.fromkeys(settings["seed"] for settings in everything))
        if len(seeds) != self.looks[-1]:
            raise ValueError(f"expected {self.looks[-1]} seeds, one cap, got {len(seeds)}")
        return seeds


def _of(everything: list[Settings], seeds: tuple[Any, ...]) -> list[Settings]:
    return [settings for settings in everything if settings["seed"] in seeds]


def overlaps(study: Study, document: Mapping[str, Any]) -> Iterator[str]:
    """Where rows meet that must not: within a run, or between what tunes and what judges."""
    if study.rows is None:
        return
    drawn: dict[bool, set[Hashable]] = {True: set(), False: set()}
    for tunes, runs in ((True, study.tuning(document)), (False, study.judging(document))):
        for settings in runs:
            seen: dict[Hashable, str] = {}
            for role, rows in study.rows(settings).items():
                rows = set(rows)
                if role not in study.shared:
                    drawn[tunes] |= rows
                for row in rows & seen.keys():
                    yield f"{key(settings)}: {row!r} is in {seen[row]} and in {role}"
                seen |= dict.fromkeys(rows, role)
    for row in drawn[True] & drawn[False]:
        yield f"{row!r} tunes and judges"


def end_or_start(losses: list[float | None]) -> float:
    """The last loss of a curve; of a run that diverged, or ends above where it began, its first.

    Whoever sees a run diverge throws it away, and has what he began with.
    """
    start, end = losses[0], losses[-1]
    if start is None or not math.isfinite(start):
        raise ValueError(f"expected a curve that begins with a finite loss, got {start}")
    return start if end is None or not math.isfinite(end) else min(start, end)


def least(
    tried: Iterable[dict[str, Any]],
    of: Callable[[Settings], Hashable],
    loss: Callable[[dict[str, Any]], float | None],
) -> dict[Any, Any]:
    """The `value` of least loss for each group of runs, the first of equal ones.

    tried: recorded runs, whose settings have a `value`. Runs of one group and value (their seeds)
        are added up.
    of: settings -> the group that they belong to, such as their method.
    loss: run -> number; None or what is not finite, of a run that diverged, is never the least.

    Raises ValueError for a group whose every value diverged.
    """
    sums: dict[Any, dict[Any, float]] = {}
    for run in tried:
        settings, found = run["settings"], loss(run)
        group = sums.setdefault(of(settings), {})
        bad = found is None or not math.isfinite(found)
        group[settings["value"]] = group.get(settings["value"], 0) + (math.inf if bad else found)
    for name, losses in sums.items():
        if not math.isfinite(min(losses.values())):
            raise ValueError(f"no value of {name} can be chosen: all of its runs diverged")
    return {name: min(losses, key=losses.__getitem__) for name, losses in sums.items()}


def names() -> list[str]:
    """All studies, in the order of their notebooks."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if name.startswith("nb"))


def study(name: str) -> Study:
    """The study of this name. Raises ValueError with the names there are."""
    if name not in names():
        raise ValueError(f"expected one of the studies {', '.join(names())}, got {name!r}")
    return importlib.import_module(f"{__name__}.{name}").STUDY


def short(value: Any) -> Any:
    """Floats to five digits, what is not finite as None (JSON has no such number); also inside
    dicts and lists."""
    if isinstance(value, dict):
        return {key: short(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [short(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def data_file(name: str) -> Path:
    """A file of the folder that `--data` or the variable RLHF_EVIDENCE_DATA names."""
    folder = os.environ.get(DATA_VARIABLE)
    path = Path(folder or ".").expanduser() / name
    if folder is None or not path.is_file():
        raise FileNotFoundError(
            f"this study reads {name}, which is not in the project: give the folder that holds it "
            f"by --data FOLDER or by the variable {DATA_VARIABLE}; "
            + (f"there is no {path}" if folder else "none was given")
        )
    return path
