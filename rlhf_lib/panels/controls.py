"""What a reader can set: sliders with a number field, a choice, a checkbox.

The slider is our own small widget because the ones of ipywidgets have handles without
an accessible name, and its logarithmic one announces the exponent, not the number.
Here a browser's own range input and number input share one value and one label.
"""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anywidget
import ipywidgets
import traitlets

from rlhf_lib.arguments import flag, listed, one_of, text_of
from rlhf_lib.panels.page import page

MOST_STOPS = 10_000


class NumberSlider(anywidget.AnyWidget):
    """A range input over `stops` and a number field, both showing `value`."""

    _esm = page("number.js") + page("slider.js")
    _css = page("slider.css")
    label = traitlets.Unicode().tag(sync=True)
    allowed = traitlets.Unicode().tag(sync=True)  # what a typed number must be
    hint = traitlets.Unicode().tag(sync=True)
    value = traitlets.Float().tag(sync=True)
    stops = traitlets.List(traitlets.Float()).tag(sync=True)
    low = traitlets.Float().tag(sync=True)
    whole = traitlets.Bool(False).tag(sync=True)
    alive = traitlets.Bool(False).tag(sync=True)  # whether values are sent while it is dragged
    rest = traitlets.Int(0).tag(sync=True)  # how often a hand has set a value
    held_since = 0  # `rest` when the hand took hold

    def on_drag(self, handler: Callable[[float, Callable[[], None]], None]) -> None:
        """Call `handler(value, answer)` while the slider is dragged.

        The page sends its next value after `answer()`: when this one has been drawn.
        """

        def late(content: dict[str, Any]) -> bool:
            self.held_since = content["rest"]
            return self.held_since < self.rest

        hear_drags(self, late, handler)


def hear_drags(
    widget: Any,
    late: Callable[[dict[str, Any]], bool],
    handler: Callable[[Any, Callable[[], None]], None],
) -> None:
    """Call `handler(value, answer)` for each value that a page sends while it is dragged.

    What `late` finds to come after its release is only answered: messages may overtake one another.
    """

    def receive(_: Any, content: dict[str, Any], buffers: Any) -> None:
        if "drag" not in content:
            return

        def answer() -> None:
            widget.send({"by": content["by"], "n": content["n"]})

        if late(content):
            answer()
        else:
            handler(content["drag"], answer)

    widget.on_msg(receive)


@dataclass
class Control:
    """One named setting: its widget, its starting value and the check of a new value.

    `check` takes what a caller passes and returns the plain value (float, int, str or
    bool) that `generate` will get; it raises ValueError for anything else.
    """

    name: str
    label: str
    widget: Any  # an ipywidgets.DOMWidget with a trait `value`
    check: Callable[[Any], Any]
    start: Any

    def __post_init__(self):
        text_of("name", self.name)

    @property
    def value(self) -> Any:
        return self.check(self.widget.value)

    @value.setter
    def value(self, value: Any) -> None:
        self.widget.value = self.check(value)

    def describe(self, value: Any) -> str:
        """'λ = 0.3', for the name of a kept curve."""
        if isinstance(value, bool):
            return self.label if value else f"no {self.label}"
        # Of "damping μ" the symbol alone: the name of a curve has little room.
        name = self.label.split()[-1] if len(self.label.split()[-1]) == 1 else self.label
        return f"{name} = {value:.4g}" if isinstance(value, int | float) else str(value)


def slider(name: str, label: str, *, low: float, high: float, step: float, value: float) -> Control:
    """A linear slider from `low` to `high`. With whole `low`, `high`, `step` and `value`
    (Python ints) it gives ints, else floats; a float between two steps may be typed."""
    _finite(name, low=low, high=high, step=step)
    whole = all(isinstance(v, int) for v in (low, high, step, value))
    if not (low < high and step > 0 and (high - low) / step <= MOST_STOPS):
        raise ValueError(
            f"{name}: expected low < high and step > 0, and at most {MOST_STOPS} steps, got "
            f"low={low}, high={high}, step={step}"
        )
    # Rounded, because 0.1 * 3 would otherwise show as 0.30000000000000004.
    stops = [round(low + i * step, 10) for i in range(math.ceil((high - low) / step))] + [high]
    return _number(name, label, stops, low, high, value, whole=whole)


def log_slider(
    name: str, label: str, *, low: float, high: float, value: float, zero: bool = False
) -> Control:
    """A slider over round numbers, six to the decade, from `low` > 0 to `high`;
    `zero=True` puts an exact 0 left of `low`. Other numbers can be typed."""
    _finite(name, low=low, high=high)
    if not 0 < low < high:
        raise ValueError(f"{name}: a log slider: expected 0 < low < high, got {low} and {high}")
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    stops = [float(f"{m}e{d}") for d in decades for m in (1, 1.5, 2, 3, 5, 7)]
    stops = [s for s in stops if low < s < high] + [low, high]
    return _number(name, label, ([0.0] if flag("zero", zero) else []) + stops, low, high, value)


def choice(name: str, label: str, options: list[str], value: str | None = None) -> Control:
    """A drop-down list of strings; `value` is the first one unless given."""
    text_of("label", label)
    options = [
        text_of(f"{name}, options", option) for option in listed(f"{name}, options", options)
    ]
    if not options or len({*options}) < len(options):
        raise ValueError(f"{name}: expected a list of different options, got {options}")

    def check(new: Any) -> str:
        return one_of(name, new, options)

    start = check(options[0] if value is None else value)
    widget = ipywidgets.Dropdown(
        options=options,
        value=start,
        description=label,
        style={"description_width": "initial"},
        layout={"width": "auto", "margin": "2px 0"},
    )
    return Control(name, label, widget, check, start)


def checkbox(name: str, label: str, value: bool = False) -> Control:
    """A box to tick."""

    def check(new: Any) -> bool:
        if not isinstance(new, bool):
            raise ValueError(f"{name}: expected True or False, got {new!r}")
        return new

    text_of("label", label)

    widget = ipywidgets.Checkbox(
        value=check(value),
        description=label,
        indent=False,
        layout={"width": "auto", "margin": "2px 0"},
    )
    return Control(name, label, widget, check, value)


_MOST: Any = sys.float_info.max


def _finite(name: str, **values: Any) -> None:
    for key, value in values.items():
        # Of whole numbers above the largest float math.isfinite has an error of its own.
        real_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not real_number or not abs(value) <= _MOST:
            raise ValueError(f"{name}: expected a finite number as {key}, got {value!r}")


def _number(name, label, stops, low, high, value, whole=False) -> Control:
    text_of("label", label)
    zero = 0 in stops and low > 0
    allowed = f"{'0 or ' if zero else ''}between {low:g} and {high:g}"

    def check(new: Any) -> float | int:
        try:
            if isinstance(new, bool | bytes):
                raise ValueError
            number = float(new)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            raise ValueError(f"{name}: expected a number, got {new!r:.80}") from None
        if not (low <= number <= high or (zero and number == 0)):
            raise ValueError(f"{name}: expected a number {allowed}, got {new!r}")
        if whole and number != round(number):
            raise ValueError(f"{name}: expected a whole number, got {new!r}")
        return round(number) if whole else number

    start = check(value)
    expected = f"{'a whole number' if whole else 'a number'}, {allowed}"
    stops = sorted({float(s) for s in stops} | {float(start)})
    hint = f"{label}: {allowed}. Arrow keys or drag; the exact number can be typed."
    widget = NumberSlider(
        label=label,
        allowed=expected,
        hint=hint,
        stops=stops,
        low=low,
        whole=whole,
        value=float(start),
    )
    return Control(name, label, widget, check, start)
