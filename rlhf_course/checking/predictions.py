"""Predictions: what a learner commits to before looking, kept, and shown beside the result.

A notebook's predictions are registered in its module of panels (`panels/nb03.py`):

    choice("03.undamped", "Where will Newton end?", ["the saddle", ...], truth=0, why="...")
    number("03.least", "...", truth=0.54, within=0.02, why="...")
    curve("01.validation", "...", truth=ys, axes={...}, why="...")

`predict("03.undamped")` shows the entry, `look_back("03.undamped")` what was entered and, after a
click, the result. Nothing waits for an entry. A claim holds each truth (tests/notebooks/).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from rlhf_lib.arguments import text_of

from ..series import BY_NUMBER, SERIES
from .progress import keep_prediction, predictions


@dataclass(frozen=True)
class Prediction:
    """`kind` is "choice", "number" or "curve"; `truth` an option, a number or a curve's values."""

    name: str
    kind: str
    question: str
    truth: Any
    why: str
    options: tuple[str, ...] = ()
    unit: str = ""
    within: float = 0.0
    axes: Mapping[str, Any] = field(default_factory=dict)

    def said(self, value: Any) -> str:
        """The result in words, beside what was entered (None: nothing)."""
        if self.kind == "choice":
            told = f"It is: {self.truth}."
            right = None if value is None else value == self.truth
        elif self.kind == "number":
            told = f"It is {self.truth:.4g}{' ' + self.unit if self.unit else ''}."
            right = None if value is None else abs(value - self.truth) <= self.within
        else:
            told, right = "The solid line is the result.", None
        verdict = {None: "", True: "As you said. ", False: "Another than you said. "}[right]
        return f"{verdict}{told} {self.why}"

    def entered(self, value: Any) -> str:
        if value is None:
            return "You have not predicted this yet; there is still time."
        if self.kind == "curve":
            return "The dashed line is your sketch."
        return f"You predicted: {value:.6g}" if self.kind == "number" else f"You predicted: {value}"


_PREDICTIONS: dict[str, Prediction] = {}


def choice(name: str, question: str, options: Sequence[str], *, truth: int, why: str) -> None:
    """Register a prediction by one of `options`; `truth` is the place of the right one."""
    _register(Prediction(name, "choice", question, options[truth], why, tuple(options)))


def number(
    name: str, question: str, *, truth: float, within: float, why: str, unit: str = ""
) -> None:
    """Register a prediction of a number; one that is `within` of the truth counts as right."""
    _register(Prediction(name, "number", question, float(truth), why, unit=unit, within=within))


def curve(
    name: str, question: str, *, truth: Sequence[float], axes: Mapping[str, Any], why: str
) -> None:
    """Register a sketch over `axes` (x_range, y_range, x_title, y_title); `truth` are the curve's
    values at equal distances from the left end to the right one."""
    settings = {"points": len(truth), **axes}
    asked = ("x_range", "x_title", "y_range", "y_title")
    if not settings.keys() >= set(asked) or not all(map(math.isfinite, truth)):
        raise ValueError(
            f"{name}: expected a finite truth and {', '.join(asked)}, got {list(truth)} and "
            f"{', '.join(axes) or 'none of these'}"
        )
    _register(Prediction(name, "curve", question, list(map(float, truth)), why, axes=settings))


def _register(made: Prediction) -> None:
    if made.name.split(".")[0] not in BY_NUMBER:
        raise ValueError(
            f"expected a name that begins with the number of a notebook, got {made.name!r}"
        )
    _PREDICTIONS[made.name] = made


def predictions_of(number: str) -> dict[str, Prediction]:
    """The predictions of the notebook with this number, by name."""
    module = f"rlhf_course.panels.nb{number}"
    if number in BY_NUMBER and find_spec(module) is not None:
        import_module(module)
    return {name: p for name, p in _PREDICTIONS.items() if name.startswith(f"{number}.")}


def find(name: str) -> Prediction:
    """The prediction of this name. Raises ValueError that lists the known ones."""
    found = predictions_of(text_of("name", name).split(".")[0]).get(name)
    if found is None:
        known = [n for notebook in SERIES for n in predictions_of(notebook.number)]
        raise ValueError(f"expected a prediction out of {', '.join(known)}, got {name!r}")
    return found


@dataclass
class Shown:
    """A prediction as a cell shows it, as an entry or as a look back at it."""

    prediction: Prediction
    back: bool = False
    _widget: Any = None

    @property
    def widget(self) -> Any:
        if self._widget is None:
            self._widget = self._made()
        return self._widget

    def _made(self) -> Any:
        from rlhf_lib.panels.entry import Entry

        p, value = self.prediction, predictions().get(self.prediction.name)
        widget = Entry(
            kind=p.kind,
            question=p.question,
            options=list(p.options),
            unit=p.unit,
            axes=dict(p.axes),
            value=value,
            locked=self.back,
        )
        if self.back:
            widget.mine, widget.said = p.entered(value), p.said(value)
            widget.truth = p.truth if p.kind == "curve" else None
        else:
            widget.observe(self._keep, names="value")
        return widget

    def _keep(self, change: Any) -> None:
        self.widget.status = keep_prediction(self.prediction.name, change["new"]) or "Kept."
        for shown in _LOOKS.get(self.prediction.name, []):
            shown.renew(change["new"])

    def renew(self, value: Any) -> None:
        """Show another entry in a look back."""
        self.widget.value, self.widget.mine = value, self.prediction.entered(value)
        self.widget.said = self.prediction.said(value)

    def __repr__(self) -> str:
        p = self.prediction
        if self.back:
            return f"Look back: {p.question}"
        options = "".join(f"\n  ( ) {option}" for option in p.options)
        return f"Predict: {p.question}{options}"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        from rlhf_lib.panels.show import widget_data

        return widget_data(self.widget, **kwargs) | {"text/plain": repr(self)}


_LOOKS: dict[str, list[Shown]] = {}


def predict(name: str) -> Shown:
    """The entry for a prediction, as the last line of a cell."""
    return Shown(find(name))


def look_back(name: str) -> Shown:
    """What was predicted, and a button that shows the result beside it."""
    shown = Shown(find(name), back=True)
    _LOOKS.setdefault(name, []).append(shown)
    return shown
