"""A review: five questions out of a pool, drawn anew each time, each wrong answer explained.

    review("06")                          # five questions to click through, in a notebook
    review("06", seed=7).answer("badca")  # the same five for everybody, without widgets

The pool of the review after notebook NN is `QUESTIONS` in `rlhf_course/checks/review_NN.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from ..series import SERIES
from .cases import chosen_seed

LETTERS = "abcd"
DRAWN = 5


@dataclass(frozen=True)
class Question:
    """`right` is the answer and `because` its reason; `wrong` maps each wrong answer to what makes
    it tempting and where it fails. `read` names the notebook to read again."""

    text: str
    right: str
    because: str
    wrong: Mapping[str, str] = field(hash=False)
    read: str

    def said(self, option: str) -> str:
        """What one hears after this answer."""
        if option == self.right:
            return f"✓ Right. {self.because}"
        return f"✗ No. {self.wrong[option]} {self.because} (Notebook {self.read}.)"


@dataclass(frozen=True)
class Asked:
    """A question with its answers in the order in which they are shown."""

    question: Question
    options: tuple[str, ...]

    def __str__(self) -> str:
        options = (f"\n   {k}) {o}" for k, o in zip(LETTERS, self.options, strict=False))
        return self.question.text + "".join(options)


@dataclass(frozen=True)
class Marked:
    """The score of a review, out of five, and what is said to each answer."""

    score: int
    said: tuple[str, ...]

    def __repr__(self) -> str:
        lines = (f"{k}. {line}" for k, line in enumerate(self.said, start=1))
        return "\n".join([f"{self.score} of {len(self.said)} right.", *lines])


def pool(number: str) -> tuple[Question, ...]:
    """All questions of the review after this notebook. Raises ValueError where there is none."""
    known = [n.number for n in SERIES if find_spec(_module(n.number)) is not None]
    if number not in known:
        raise ValueError(f"expected a review after notebook {', '.join(known)}, got {number!r}")
    return import_module(_module(number)).QUESTIONS


def _module(number: str) -> str:
    return f"rlhf_course.checks.review_{number}"


class Review:
    """Five questions out of the pool after notebook `number`, drawn by `seed` (None: anew).

    A cell shows them as buttons to choose from; `answer` marks them without. Raises ValueError for
    a notebook without a review, and for a seed that is none.
    """

    def __init__(self, number: str, seed: int | None = None):
        self.number, self.questions = number, pool(number)
        self.draw(seed)

    def draw(self, seed: int | None = None) -> None:
        """Another five."""
        self.seed = chosen_seed(seed)
        numbers = torch.Generator().manual_seed(self.seed)

        def shuffled(things):
            return [things[i] for i in torch.randperm(len(things), generator=numbers).tolist()]

        self.asked = tuple(
            Asked(question, tuple(shuffled([question.right, *question.wrong])))
            for question in shuffled(self.questions)[:DRAWN]
        )

    def answer(self, *letters: str) -> Marked:
        """Mark five answers: "badca", or one letter each. Raises ValueError for others."""
        given = "".join(map(str, letters)).lower().replace(" ", "").replace(",", "")
        fits = [g in LETTERS[: len(a.options)] for g, a in zip(given, self.asked, strict=False)]
        if len(given) != DRAWN or not all(fits):
            raise ValueError(
                f"expected {DRAWN} letters out of {', '.join(LETTERS)}, one a question, such as "
                f"answer('badca'), got {letters!r}"
            )
        chosen = [a.options[LETTERS.index(g)] for a, g in zip(self.asked, given, strict=True)]
        return self._marked(chosen)

    def _marked(self, chosen: list[str]) -> Marked:
        pairs = [(a.question, option) for a, option in zip(self.asked, chosen, strict=True)]
        score = sum(option == question.right for question, option in pairs)
        return Marked(score, tuple(question.said(option) for question, option in pairs))

    def __repr__(self) -> str:
        asked = (f"{k}. {a}" for k, a in enumerate(self.asked, start=1))
        return "\n".join([f"Review after notebook {self.number}: five questions.", *asked])

    @cached_property
    def widget(self) -> Any:
        """The questions as entries, a line with the score, and a button that draws another five."""
        import ipywidgets

        from rlhf_lib.panels.frame import LiveText

        score = LiveText()
        again = ipywidgets.Button(description="Five others")
        box = ipywidgets.VBox()

        def show(_button: Any = None) -> None:
            if _button is not None:
                self.draw()
            entries = [self._entry(k, a) for k, a in enumerate(self.asked, start=1)]
            for entry in entries:
                entry.observe(partial(self._count, entries, score.say), names="value")
            former, box.children = box.children, (*entries, score, again)
            for old in former[:DRAWN]:
                old.close()
            score.say("Choose an answer to each question; you may change it.")

        again.on_click(show)
        show()
        return box

    def _entry(self, number: int, asked: Asked) -> Any:
        from rlhf_lib.panels.entry import Entry

        entry = Entry(
            kind="choice", question=f"{number}. {asked.question.text}", options=list(asked.options)
        )

        def tell(change: Any) -> None:
            entry.status = asked.question.said(change["new"])

        entry.observe(tell, names="value")
        return entry

    def _count(self, entries: list[Any], say: Callable[[str], Any], _change: Any) -> None:
        chosen = [(a.question, e.value) for a, e in zip(self.asked, entries, strict=True)]
        right = sum(value == question.right for question, value in chosen)
        done = sum(value is not None for _, value in chosen)
        say(f"{right} right, {done} of {DRAWN} answered.")

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        from rlhf_lib.panels.show import close_all, replace_former, widget_data

        replace_former(self.widget, lambda: close_all(self.widget))
        return widget_data(self.widget, **kwargs) | {"text/plain": repr(self)}


def review(number: str, *, seed: int | None = None) -> Review:
    """Five questions out of the pool after notebook `number`, drawn anew, or by `seed`.

    Raises ValueError for a notebook without a review.
    """
    return Review(number, seed)
