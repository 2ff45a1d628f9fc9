"""What a reader can set: sliders with a number field, a choice, a checkbox.

The slider is our own small widget because the ones of ipywidgets have handles without
an accessible name, and its logarithmic one announces the exponent, not the number.
Here a browser's own range input and number input share one value and one label.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anywidget
import ipywidgets
import traitlets

_SLIDER_JS = """
function render({ model, el }) {
  const stops = model.get("stops"), label = model.get("label");
  const number = v => String(+v.toPrecision(6));
  const nearest = v => stops.reduce(
    (best, s, i) => Math.abs(s - v) < Math.abs(stops[best] - v) ? i : best, 0);

  const caption = document.createElement("label");
  const range = document.createElement("input");
  const field = document.createElement("input");
  caption.append(label, range);
  Object.assign(range, { type: "range", min: 0, max: stops.length - 1, step: 1 });
  Object.assign(field, { type: "number", step: "any", min: stops[0], max: stops.at(-1) });
  field.setAttribute("aria-label", `${label}, exact value`);
  caption.title = range.title = field.title = model.get("hint");

  const show = v => {
    range.value = nearest(v);
    range.setAttribute("aria-valuetext", number(v));
    field.value = number(v);
  };
  // What is set for good. `rest` counts such moments: a hand may come back to where it began.
  const commit = v => {
    model.set("value", v);
    model.set("rest", model.get("rest") + 1);
    model.save_changes();
    show(v);
  };

  // While a hand holds the handle, or a key, each value goes to the kernel if the panel is alive:
  // one at a time, and the next one, the latest, when the kernel has answered. So nothing queues.
  const me = Math.random();  // there may be another view of this slider
  let held = "", moved = false, sent = 0, answered = 0, latest = null;
  const send = () => {
    if (latest === null || answered < sent) return;
    model.send({ drag: latest, by: me, n: ++sent, rest: model.get("rest") });
    latest = null;
    el.dataset.sent = sent;  // for tests, as `answered`
  };
  const drag = v => {
    moved = true;
    show(v);
    if (model.get("alive")) { latest = v; send(); }
  };
  const rest = v => {
    held = "";
    moved = false;
    latest = null;
    commit(v);
  };
  model.on("msg:custom", message => {
    if (message.by !== me) return;
    answered = el.dataset.answered = message.n;
    send();
  });

  const at = () => stops[range.value];
  range.addEventListener("input", () => drag(at()));
  range.addEventListener("change", () => held === "key" || rest(at()));
  range.addEventListener("pointerdown", () => { held = "pointer"; });
  const letGo = by => { if (held === by) { held = ""; if (moved) rest(at()); } };
  // Later than a "change", which the browser leaves out where a hand comes back to where it began.
  for (const kind of ["pointerup", "pointercancel"])
    range.addEventListener(kind, () => setTimeout(letGo, 0, "pointer"));
  const typed = () => {
    let v = field.valueAsNumber;
    if (Number.isNaN(v)) return show(model.get("value"));
    v = Math.min(Math.max(v, stops[0]), stops.at(-1));
    const low = model.get("low");
    if (v < low) v = v < low / 2 ? 0 : low;  // an exact zero, and nothing between it and low
    if (model.get("whole")) v = Math.round(v);
    if (v === model.get("value") && !moved) show(v);  // the browser says so again when it leaves
    else rest(v);
  };
  // A key that is held down moves the handle again and again: its value is set when it is let go.
  const MOVES = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight",
                 "PageUp", "PageDown", "Home", "End"];
  range.addEventListener("keydown", event => { if (MOVES.includes(event.key)) held = "key"; });
  // Also when the hand goes from the field to the handle, which has moved by then.
  field.addEventListener("change", () => held || typed());
  field.addEventListener("keydown", event => {
    if (event.key === "Enter") return typed();
    const move = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    held = "key";
    const next = nearest(field.valueAsNumber || 0) + move;
    drag(stops[Math.min(Math.max(next, 0), stops.length - 1)]);
  });
  for (const part of [range, field])
    for (const kind of ["keyup", "blur"]) part.addEventListener(kind, () => letGo("key"));
  model.on("change:value", () => held || show(model.get("value")));

  el.classList.add("rlhf-slider");
  el.append(caption, field);
  show(model.get("value"));
}
export default { render };
"""

_SLIDER_CSS = """
.rlhf-slider, .rlhf-slider label { display: flex; align-items: center; gap: 8px; }
.rlhf-slider { margin: 2px 0; width: 100%; box-sizing: border-box; justify-content: flex-end;
  font-family: var(--jp-ui-font-family, sans-serif); font-size: 14px;
  color: var(--jp-ui-font-color1, #222); }
.rlhf-slider label { flex: 1 1 auto; min-width: 0; justify-content: flex-end; white-space: nowrap; }
.rlhf-slider input[type=range] { flex: 1 1 150px; min-width: 56px; max-width: 320px;
  accent-color: #0072B2; }
.rlhf-slider input[type=number] { width: 64px; font: inherit; padding: 1px 4px;
  color: inherit; background: var(--jp-layout-color1, #fff); appearance: textfield;
  border: 1px solid var(--jp-border-color0, #8c8c8c); border-radius: 2px; }
.rlhf-slider input[type=number]::-webkit-inner-spin-button { display: none; }
.rlhf-slider input:focus-visible { outline: 2px solid #0072B2; outline-offset: 0; }
"""


class NumberSlider(anywidget.AnyWidget):
    """A range input over `stops` and a number field, both showing `value`."""

    _esm = _SLIDER_JS
    _css = _SLIDER_CSS
    label = traitlets.Unicode().tag(sync=True)
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
    whole = all(isinstance(v, int) for v in (low, high, step, value))
    if not (low < high and step > 0):
        raise ValueError(f"{name}: a slider needs low < high and step > 0")
    # Rounded, because 0.1 * 3 would otherwise show as 0.30000000000000004.
    stops = [round(low + i * step, 10) for i in range(math.ceil((high - low) / step))] + [high]
    return _number(name, label, stops, low, high, value, whole=whole)


def log_slider(
    name: str, label: str, *, low: float, high: float, value: float, zero: bool = False
) -> Control:
    """A slider over round numbers, six to the decade, from `low` > 0 to `high`;
    `zero=True` puts an exact 0 left of `low`. Other numbers can be typed."""
    if not 0 < low < high:
        raise ValueError(f"{name}: a log slider needs 0 < low < high, got {low} and {high}")
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    stops = [float(f"{m}e{d}") for d in decades for m in (1, 1.5, 2, 3, 5, 7)]
    stops = [s for s in stops if low < s < high] + [low, high]
    return _number(name, label, ([0.0] if zero else []) + stops, low, high, value)


def choice(name: str, label: str, options: list[str], value: str | None = None) -> Control:
    """A drop-down list of strings; `value` is the first one unless given."""
    options = list(options)

    def check(new: Any) -> str:
        if new not in options:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {new!r}")
        return new

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
            raise ValueError(f"{name} must be True or False, got {new!r}")
        return new

    widget = ipywidgets.Checkbox(
        value=check(value),
        description=label,
        indent=False,
        layout={"width": "auto", "margin": "2px 0"},
    )
    return Control(name, label, widget, check, value)


def _number(name, label, stops, low, high, value, whole=False) -> Control:
    zero = 0 in stops and low > 0
    allowed = f"{'0 or ' if zero else ''}between {low:g} and {high:g}"

    def check(new: Any) -> float | int:
        try:
            number = float(new)
        except (TypeError, ValueError):
            raise ValueError(f"{name} must be a number, got {new!r}") from None
        if not (low <= number <= high or (zero and number == 0)):
            raise ValueError(f"{name} must be {allowed}, got {new!r}")
        if whole and number != round(number):
            raise ValueError(f"{name} must be a whole number, got {new!r}")
        return round(number) if whole else number

    start = check(value)
    stops = sorted({float(s) for s in stops} | {float(start)})
    hint = f"{label}: {allowed}. Arrow keys or drag; the exact number can be typed."
    widget = NumberSlider(
        label=label, hint=hint, stops=stops, low=low, whole=whole, value=float(start)
    )
    return Control(name, label, widget, check, start)
