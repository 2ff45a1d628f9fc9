"""A panel's states as a table: what its figures and its read-out show at each of its stops.

A state is what the panel's own Python draws, with everything that a page needs to draw it again.
Traces are kept apart in their look, of which there are few, and their places, which are rows of
numbers. Those are rounded to what an eye can tell on the figure's axes, and written as differences
(of first or second order, or from the row before), whichever takes the fewest bytes.
"""

import gzip
import itertools
import json
import math

import ipywidgets

from rlhf_lib.panels.controls import NumberSlider
from rlhf_lib.panels.escape import as_text
from rlhf_lib.panels.frame import Head
from rlhf_lib.panels.labels import end_labels
from rlhf_lib.panels.panel import FOLLOWS
from rlhf_lib.panels.plot import Library

STEPS = 2000  # how many different places an axis has from one end to the other
DIGITS = {"z": 4, "customdata": 3}  # of heights the eye sees a colour, and reads a few digits
BEYOND = 20 * STEPS  # further than that outside of the axes nothing is told apart


def chosen_stops(control, wanted):
    """The values of a control that a table has: those `wanted`, or so many of its own.

    wanted: None for the starting value alone, a number, or a list of values.
    """
    if wanted is None:
        return [control.start]
    if not isinstance(wanted, int):
        return [control.check(value) for value in wanted]
    if isinstance(control.widget, NumberSlider):
        all_of_them = [control.check(stop) for stop in control.widget.stops]
    elif isinstance(control.widget, ipywidgets.Checkbox):
        all_of_them = [False, True]
    else:
        all_of_them = list(control.widget.options)
    last = len(all_of_them) - 1
    if wanted > last:
        return all_of_them
    places = {round(i * last / (wanted - 1)) for i in range(wanted)}
    # The start takes the place of the nearest of them.
    start = all_of_them.index(control.start)
    places.discard(min(places, key=lambda place: (abs(place - start), place)))
    return [all_of_them[place] for place in sorted(places | {start})]


def states(panel, stops):
    """What the panel shows at each combination of its controls' stops, {name: [values]}.

    Yields (figures, text, reached): the traces of each figure with its axes, the read-out, and
    whether this run reaches the goal. Raises ValueError for a figure with notes of its own.
    """
    panel.clear()
    for figure in panel.figures:
        figure.keep = 0
        if figure.widget.notes != end_labels(figure.widget.data, figure.widget.axes):
            raise ValueError(f"{figure.title}: expected the names of curves and no other notes")
    head = next(part for part in panel.widget.children if isinstance(part, Head))
    for values in itertools.product(*stops.values()):
        panel.run(**dict(zip(stops, values, strict=True)))
        figures = [(figure.widget.data, figure.widget.axes) for figure in panel.figures]
        yield figures, panel.text, head.reached


def table(panel, stops, *, goal=True):
    """The table of a panel, ready to be written as JSON but for its `bytes`.

    goal: False where one run alone does not tell whether the goal is reached.
    """
    around = outside(panel, stops)
    kept, texts, reached = _Kept(), _Numbered(), []
    shown = []  # of each state: its text, and of each figure the axes and the traces
    for figures, text, done in states(panel, stops):
        shown.append([texts(text), [kept.figure(i, *figure) for i, figure in enumerate(figures)]])
        reached.append(int(goal and done))
    slots, data = kept.rows()
    return around | {
        "source": "table",
        "manner": FOLLOWS,
        "said": f"Made beforehand by the notebook's own Python: {len(shown):,} settings.",
        "texts": texts.found,
        "looks": kept.looks.found,
        "axes": kept.axes.found,
        "slots": slots,
        "states": shown,
        "reached": reached,
    }, data


def outside(panel, stops):
    """What a page needs of a panel besides its states: widgets, controls and their stops."""
    return {
        "tree": tree(panel.widget),
        "plots": [figure.widget.model_id for figure in panel.figures],
        "pairs": [list(getattr(figure, "start_by", ())) for figure in panel.figures],
        "keep": max(figure.keep for figure in panel.figures),
        "controls": [
            {
                "name": name,
                "id": control.widget.model_id,
                "start": control.start,
                "stops": stops.get(name),
                "label": control.label,
            }
            for name, control in panel._controls.items()
        ],
    }


class _Numbered:
    """Numbers different texts in the order in which they come."""

    def __init__(self):
        self.found, self._places = [], {}

    def __call__(self, text):
        if text not in self._places:
            self._places[text] = len(self.found)
            self.found.append(text)
        return self._places[text]


class _Kept:
    """The different looks, axes and rows of all states."""

    def __init__(self):
        self.looks, self.axes, self._rows = _Numbered(), _Numbered(), {}

    def figure(self, number, traces, axes):
        """Its axes, and of each trace the look and the two rows, as numbers."""
        made = [self.axes(short_json(axes))]
        for place, trace in enumerate(traces):
            look, rows = look_of(trace), []
            for axis in ("x", "y"):
                row = list(trace.get(axis, ()))
                if all(v is None or isinstance(v, int | float) for v in row):
                    rows.append(self._row((number, place, axis), axes[f"{axis}axis"], row))
                else:
                    look[axis] = row  # names, not numbers
                    rows.append(-1)
            made.append([self.looks(short_json(look)), *rows])
        return made

    def _row(self, slot, axis, row):
        found, _ = self._rows.setdefault(slot, ({}, axis))
        return found.setdefault(tuple(row), len(found))

    def rows(self):
        """(how each slot is to be read, the bytes of all of them)."""
        slots, data = {}, b""
        for (figure, place, name), (rows, axis) in self._rows.items():
            scale = scale_of(axis, rows)
            order, written = encode([quantized(row, scale) for row in rows])
            slots[f"{figure}.{place}.{name}"] = [len(data), len(written), order, *scale]
            data += written
        return slots, data


def look_of(trace):
    """A trace without its places, and under "rlhf" what a figure knows of it."""
    look = {key: value for key, value in trace.items() if key not in ("x", "y")}
    own = {"named": trace.named, "fixed": trace.fixed, "ghost": trace.ghost}
    return look | {"rlhf": {key: value for key, value in own.items() if value}}


def scale_of(axis, rows):
    """(quantum, whether of the logarithm): what rows are rounded to, in the axis' own units."""
    log = axis.get("type") == "log"
    numbers = [v for row in rows for v in row if v is not None and math.isfinite(v)]
    if all(v == round(v) and abs(v) < 1e9 for v in numbers):
        return 1.0, False  # steps and counts are read on hover
    span = axis.get("range")
    if not span and log:
        numbers = [math.log10(v) for v in numbers if v > 0]
    low, high = sorted(span) if span else (min(numbers, default=0), max(numbers, default=0))
    least = (high - low or 1.0) / STEPS
    power = math.floor(math.log10(least))
    return next(float(f"{m}e{power}") for m in (5, 2, 1) if float(f"{m}e{power}") <= least), log


def quantized(row, scale):
    """Whole numbers, None for what cannot be drawn."""
    quantum, log = scale
    found = []
    for v in row:
        if v is None or not math.isfinite(v) or (log and v <= 0):
            found.append(None)
            continue
        q = round((math.log10(v) if log else v) / quantum)
        found.append(q if quantum == 1 else max(-BEYOND, min(q, BEYOND)))
    return found


def encode(rows):
    """(order, bytes) of rows of whole numbers; order 0 is from the row before, else differences."""
    tried = {order: _written(rows, order) for order in (0, 1, 2)}
    order = min(tried, key=lambda o: len(gzip.compress(tried[o], 6, mtime=0)))
    return order, tried[order]


def _written(rows, order):
    """The rows' lengths and numbers as bytes: 0 for None, else a zigzag difference and one."""
    made, former = bytearray(), []
    for row in rows:
        _put(made, len(row))
        last = slope = 0
        for i, q in enumerate(row):
            if q is None:
                made.append(0)
                continue
            guess = last + slope if order == 2 else last
            if order == 0 and i < len(former) and former[i] is not None:
                guess = former[i]
            d = q - guess
            _put(made, (2 * d if d >= 0 else -2 * d - 1) + 1)
            slope, last = q - last, q
        former = row
    return bytes(made)


def _put(made, number):
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)


def tree(widget):
    """A widget with all that stands in it: its module or its kind, its state and its looks."""
    node = {"kind": type(widget).__name__, "id": widget.model_id}
    style = {k.replace("_", "-"): v for k, v in widget.layout.get_state().items() if v is not None}
    node["style"] = {k: v for k, v in style.items() if not k.startswith("-") and k != "model-id"}
    node["classes"] = list(widget._dom_classes)
    if isinstance(widget, ipywidgets.Box):
        return node | {"children": [tree(child) for child in widget.children]}
    state = widget.get_state()
    skip = ("layout", "style", "tabbable", "fixed", "ghosts", "moving", "notes", "axes")
    node["state"] = {
        key: as_text(value) if key == "axes" else value
        for key, value in state.items()
        if not key.startswith("_") and key not in skip and not isinstance(value, Library)
    }
    return node


def short_json(value):
    """Compact JSON with numbers of six digits, texts such that plotly shows them as they are."""
    return json.dumps(_short(as_text(value)), separators=(",", ":"), ensure_ascii=False)


def _short(value, digits=6):
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _short(part, DIGITS.get(key, digits)) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_short(part, digits) for part in value]
    if hasattr(value, "tolist"):
        return _short(value.tolist(), digits)
    return value
