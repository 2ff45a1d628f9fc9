"""What a study is: runs that tune, runs that judge, and looks at the seeds until it is decided."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..recorded import Document, NotRecorded, indexed, key, runs_with
from ..verdicts.comparison import Comparison
from ..verdicts.rule import ALL, NOT_ENOUGH, can_decide, verdict
from .tuning import Search, Settings

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
