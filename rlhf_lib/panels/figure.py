"""What all figures of a panel share: looks, fixed axes, labels, a goal, and former runs.

A panel asks four things of a figure, and a custom one needs no more:

- `figure.widget`, what is shown;
- `figure.begin(label)`, a new run starts: what is drawn becomes a dimmed ghost of that
  name, or is removed when `label` is None;
- `figure.draw(records, values)`, show the records so far (a non-empty list), got with
  these values of the controls;
- `figure.clear()`, take the ghosts away, `figure.forget(label)`, those of that name;
  `figure.keep` is how many there may be (the panel sets it).

Axes are fixed when made, so that curves of different settings can be compared. A figure can also
be shown by itself, as the last line of a cell; then `readout` says it in one sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels.plot import Plot
from rlhf_lib.panels.show import display_data
from rlhf_lib.panels.theme import DASHES, GOAL, GREY, GRID, INK, PALETTE, run_colours
from rlhf_lib.panels.ticks import log_ticks
from rlhf_lib.panels.trace import Trace

__all__ = ["DASHES", "GREY", "PALETTE", "Figure"]

GHOST_SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star"]
GHOST_PLACES = ["middle right", "bottom right", "top right", "middle left", "bottom left"]
HEIGHT = 300
LETTER, LINE = 7.3, 15  # width of a letter and height of a line of a label, in pixels
WRAP = 18  # letters of a label's line
NARROW = 420  # pixels: how wide a figure is at least where two stand side by side


class Figure:
    """Fixed axes, traces that follow a run, and ghosts; the base of the concrete figures.

    A subclass adds traces with `fix` (never change) and `follow` (change with the run),
    fills the latter in `update`, and says by the `ghost` of a followed scatter trace how
    its ghost looks. The titles name the axes and their units; ranges are in data units,
    also with `x_log=True` and `y_log=True`; `height` is in pixels. `goal` is drawn as a line
    ("y": 0.6) or as a region ("y": (0, 0.6)), likewise for "x", with both as a box.

    Names stand at the right end of curves where `names` gives them; with `legend=True` they stand
    in one row under the title.
    """

    legend = False

    def __init__(
        self,
        *,
        title: str = "",
        x_title: str = "",
        y_title: str = "",
        x_range: Sequence[float] | None = None,
        y_range: Sequence[float] | None = None,
        x_log: bool = False,
        y_log: bool = False,
        height: int = HEIGHT,
        goal: Mapping[str, Any] | None = None,
        equal: bool = False,
        readout: str = "",
    ):
        self.keep = 4
        self.title, self.readout = title, readout
        self._logs = {"x": x_log, "y": y_log}
        self._traces: list = []
        self._remembered: list[tuple[Any, dict]] = []  # traces that leave a ghost, its style
        self._slots: list[list] = []  # for each ghost its traces, the oldest first
        self._pushed: list[list] | None = []  # those that the page has
        x_axis = {"title": _axis_title(x_title), **_axis(x_range, x_log)}
        y_axis = {"title": _axis_title(y_title), **_axis(y_range, y_log)}
        if equal:
            # One unit is as long along both axes: a gradient stands upright on its contour.
            y_axis |= {"scaleanchor": "x", "scaleratio": 1}
        margin = {"l": 76, "r": 16, "t": 56 if self.legend else 34, "b": 46}
        # Whole from the start: what is changed in `axes` later does not reach the browser.
        layout = _layout(title, x_axis, y_axis, height, margin, self.legend)
        layout.shapes, layout.annotations = _goal(goal) if goal else ([], [])
        self.widget = Plot(axes=layout.to_plotly_json(), label=title)

    def fix(self, trace: Any) -> None:
        """Add a trace that never changes."""
        self.widget.fixed = [*self.widget.fixed, trace.to_plotly_json()]

    def follow(self, trace: Any, ghost: dict | None = None) -> Any:
        """Add a trace that `update` changes; returns what it is to change."""
        trace = Trace(trace.to_plotly_json())
        self._traces.append(trace)
        if ghost is not None:
            self._remembered.append((trace, ghost))
        return trace

    def begin(self, label: str | None) -> None:
        """Keep what is drawn as a ghost named `label`, or drop it (None)."""
        if label is not None and self.keep > 0 and self._remembered:
            self._keep(label)
        self.update([], {})
        self._push()

    def draw(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        """Show the records so far."""
        self.update(records, values)
        self._push()

    def show(self, records: Sequence[Any] = (), values: Mapping[str, Any] | None = None) -> Figure:
        """Draw these records and return the figure, as the last line of a cell."""
        self.draw(list(records), values or {})
        self.fit_legend()
        return self

    def clear(self) -> None:
        """Take the ghosts away."""
        self._slots = []
        self._push()

    def forget(self, label: str) -> None:
        """Take away the ghosts of this name."""
        self._slots = [slot for slot in self._slots if slot[0].name != label]
        self._colour_ghosts()
        self._push()

    @property
    def ghosts(self) -> list[str]:
        """The names of the former runs, the oldest first."""
        return [slot[0].name for slot in self._slots]

    def update(self, records: Sequence[Any], values: Mapping[str, Any]) -> None:
        """Set the data of the followed traces; no records: empty them."""
        raise NotImplementedError

    def names(self) -> list[Any]:
        """The traces whose names stand at their right ends; none by default."""
        return []

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return display_data([self], self.title or "figure", self.readout, **kwargs)

    # -- margins, which a panel makes alike for figures that stand side by side ---------------

    @property
    def margin(self) -> dict[str, float]:
        """Pixels around the plot's area: l, r, t and b."""
        return dict(self.widget.axes["margin"])

    @margin.setter
    def margin(self, margin: Mapping[str, float]) -> None:
        self.widget.axes = self.widget.axes | {"margin": dict(margin)}

    def falling(self) -> Figure:
        """The same figure with the larger numbers of its x axis on the left; returns it."""
        axis = self.widget.axes["xaxis"]
        self.widget.axes = self.widget.axes | {"xaxis": axis | {"range": axis["range"][::-1]}}
        return self

    def room(self, names: Sequence[str]) -> None:
        """Make room on the right for these names."""
        longest = max((len(line) for name in names for line in _wrap(name)), default=0)
        if longest:
            self.margin = self.margin | {"r": max(self.margin["r"], 14 + LETTER * longest)}

    def fit_legend(self) -> None:
        """Make room on top for as many rows of names as a narrow page needs."""
        traces = [*self.widget.fixed, *self._traces]
        named = [t["name"] for t in traces if t.get("name") and t.get("showlegend") is not False]
        if not self.legend or not named:
            return
        entries = [62 + LETTER * len(name) for name in named]
        area = NARROW - self.margin["l"] - self.margin["r"]
        # plotly makes columns of one width as soon as one row does not hold all.
        columns = len(named) if sum(entries) <= area else max(int(area / max(entries)), 1)
        rows = math.ceil(len(named) / columns)
        self.margin = self.margin | {"t": max(self.margin["t"], 37 + 19 * rows)}

    # -- ghosts and labels ----------------------------------------------------------------

    def _keep(self, label: str) -> None:
        # A symbol at the end of its lines tells each ghost from the others, also where
        # colours cannot; bars get one symbol each.
        used = [slot[0].legendgroup for slot in self._slots[-self.keep + 1 :]] * (self.keep > 1)
        number = next((i for i, s in enumerate(GHOST_SYMBOLS) if s not in used), 0)
        symbol = GHOST_SYMBOLS[number]
        slot = []
        for first, (trace, style) in enumerate(self._remembered):
            size = [0] * (len(trace.x or ()) - 1) + [8] if "lines" in style["mode"] else 9
            named = {"name": label, "legendgroup": symbol, "showlegend": first == 0}
            ghost = Trace(go.Scatter(**named, **style).to_plotly_json())
            ghost.update(x=trace.x, y=trace.y)
            ghost.update(opacity=0.85, marker={"symbol": symbol, "size": size})
            ghost.meta = {"former": True}
            if first == 0 and not self.names():
                # Its name stands at its last point, for nothing names it at the right end.
                ghost.update(
                    mode=f"{ghost.mode}+text",
                    text=[""] * (len(trace.x or ()) - 1) + [label],
                    textposition=GHOST_PLACES[number % len(GHOST_PLACES)],
                    textfont={"size": 11},
                )
            slot.append(ghost)
        self._slots = [*self._slots, slot][-self.keep :]
        self._colour_ghosts()

    def _colour_ghosts(self) -> None:
        self._pushed = None
        for slot, colour in zip(self._slots, run_colours(self.ghosts), strict=True):
            for trace in slot:
                trace.update(marker={"color": colour}, textfont={"color": colour})
                if trace.line.color is not None or "lines" in trace.mode:
                    trace.update(line={"color": colour})

    def _shown_ghosts(self) -> list[list]:
        """All but those that what is drawn now lies on: their names would hide its own."""
        now = [(trace.x, trace.y) for trace, _ in self._remembered]
        return [slot for slot in self._slots if [(ghost.x, ghost.y) for ghost in slot] != now]

    def _push(self) -> None:
        shown = self._shown_ghosts()
        with self.widget.hold_sync():
            self.widget.notes = self._end_labels(shown)
            if shown != self._pushed:
                self._pushed = shown
                self.widget.ghosts = [_sent(trace) for slot in shown for trace in slot]
            self.widget.moving = [_sent(trace) for trace in self._traces]

    def _end_labels(self, ghosts: Sequence[list]) -> list[dict[str, Any]]:
        """The names at the right ends, moved apart so that none covers another."""
        # Of a former run the one curve that comes first here, so that it is named once.
        named = [t for t in self.names() if t.name]
        if named:
            named += [slot[self._named_ghost(slot)] for slot in ghosts]
        axes = self.widget.axes
        area = axes["height"] - axes["margin"]["t"] - axes["margin"]["b"]
        low, high = axes["yaxis"].get("range") or self._spread(named)
        labels = []
        for trace in named:
            end = _end(trace, self._logs["y"])
            if end is None:
                continue
            share = (end - low) / ((high - low) or 1.0)
            colour = trace.line.color if trace.line.color is not None else trace.marker.color
            # Names of former runs come later than the room was made: they fit into what there is.
            lines = _wrap(trace.name, int((axes["margin"]["r"] - 14) / LETTER + 0.01))
            labels.append([min(max(share, 0.0), 1.0) * area, lines, colour])
        labels.sort(key=lambda label: label[0])
        _spread_out(labels, area)
        return [
            {
                "text": "<br>".join(lines),
                "x": 1,
                "xref": "paper",
                "xanchor": "left",
                "xshift": 6,
                "y": height / area,
                "yref": "paper",
                "yanchor": "middle",
                "showarrow": False,
                "align": "left",
                "font": {"size": 12, "color": colour},
            }
            for height, lines, colour in labels
        ]

    def _named_ghost(self, slot: list) -> int:
        """Which curve of a former run carries its name: that of the first named trace."""
        wanted = {id(trace) for trace in self.names()}
        places = [i for i, (trace, _) in enumerate(self._remembered) if id(trace) in wanted]
        return min(places[-1] if places else 0, len(slot) - 1)

    def _spread(self, traces: Sequence[Any]) -> tuple[float, float]:
        """What plotly will choose for the y axis, nearly: the data and a little more."""
        log = self._logs["y"]
        fixed = [go.Scatter(y=t.get("y")) for t in self.widget.fixed if t.get("type") == "scatter"]
        ys = [_scale(y, log) for t in (*self._traces, *fixed, *traces) for y in (t.y or ())]
        ys = [y for y in ys if y is not None]
        if not ys:
            return 0.0, 1.0
        edge = 0.055 * (max(ys) - min(ys))
        return min(ys) - edge, max(ys) + edge


def _spread_out(labels: list[list], area: float) -> None:
    """Move labels (height, lines, ...) apart, in place, within the plot's area."""
    for _ in range(50):
        moved = False
        for one, other in pairwise(labels):
            need = LINE * (len(one[1]) + len(other[1])) / 2
            gap = need - (other[0] - one[0])
            if gap > 0.5:
                one[0], other[0], moved = one[0] - gap / 2, other[0] + gap / 2, True
        for label in labels:
            half = LINE * len(label[1]) / 2
            label[0] = min(max(label[0], half - LINE / 2), area - half + LINE / 2)
        if not moved:
            return


def _wrap(name: str, letters: int = WRAP) -> list[str]:
    """A name in lines of at most so many letters, broken at blanks; a longer word stays whole."""
    letters = min(letters, WRAP)
    lines = [""]
    for word in name.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > letters:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _end(trace: Any, log: bool) -> float | None:
    """The last number of a trace, on the axis' own scale; None without one."""
    return next(
        (y for y in (_scale(y, log) for y in reversed(trace.y or ())) if y is not None), None
    )


def _scale(y: Any, log: bool) -> float | None:
    if y is None or isinstance(y, str) or not math.isfinite(y) or (log and y <= 0):
        return None
    return math.log10(y) if log else float(y)


def _sent(trace: Any) -> dict[str, Any]:
    found = dict(trace)
    if found.get("type") == "scatter":
        # plotly leaves out axes that no trace with data asks for.
        found.setdefault("x", [])
        found.setdefault("y", [])
    return found


def _axis_title(text: str) -> dict[str, Any]:
    return {"text": text, "standoff": 6, "font": {"size": 13}}


def _axis(span: Sequence[float] | None, log: bool) -> dict[str, Any]:
    if not log:
        return {"type": "linear", "range": None if span is None else [*span]}
    return log_ticks(span)


def _goal(goal: Mapping[str, Any]) -> tuple[list[dict], list[dict]]:
    """Shapes and the word "goal" of a line, a band or a box."""
    line = {"color": GOAL, "width": 2, "dash": "longdash"}
    spans = {axis: goal[axis] for axis in ("x", "y") if axis in goal}
    if not spans:
        raise ValueError(f"goal: expected 'x', 'y' or both, got {', '.join(goal) or 'nothing'}")
    shape: dict[str, Any] = {"xref": "x", "yref": "y", "layer": "below"}
    for axis in ("x", "y"):
        span = spans.get(axis)
        ends = (0, 1) if span is None else span if isinstance(span, Sequence) else (span, span)
        if span is None:
            shape[f"{axis}ref"] = "paper"
        shape |= {f"{axis}0": ends[0], f"{axis}1": ends[1]}
    flat = all(not isinstance(span, Sequence) for span in spans.values())
    if flat and len(spans) == 1:
        shape |= {"type": "line", "line": line}
    else:
        fill = {"fillcolor": GOAL, "opacity": 0.15}
        shape |= {"type": "rect", "line": line | {"width": 1}, **fill}
    shape["label"] = {
        "text": goal.get("label", "goal"),
        "font": {"color": GOAL, "size": 12},
        "textposition": "start" if shape["type"] == "line" else "top left",
    }
    return [shape], []


def _layout(title, x_axis, y_axis, height, margin, legend) -> go.Layout:
    axis = {
        "showline": True,
        "linecolor": GREY,
        "linewidth": 1,
        "gridcolor": GRID,
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": GREY,
        "tickfont": {"size": 12},
    }
    return go.Layout(
        height=height,
        autosize=True,
        margin=margin,
        title={
            "text": title,
            "font": {"size": 14, "weight": 600},
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 7},
        },
        # A marker on the edge, such as the end of a ghost, is drawn whole.
        template={"data": {"scatter": [{"cliponaxis": False}]}},
        font={"size": 13, "family": "system-ui, sans-serif", "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        xaxis=axis | x_axis,
        yaxis=axis | y_axis,
        showlegend=legend,
        legend={
            "orientation": "h",
            "x": 0,
            "y": 1,
            "yanchor": "bottom",
            "itemsizing": "constant",
            "itemwidth": 30,
            "tracegroupgap": 0,
            "font": {"size": 12},
            "bgcolor": "rgba(0,0,0,0)",
        },
        modebar={"orientation": "h", "bgcolor": "rgba(0,0,0,0)", "color": GREY},
        hovermode="closest",
        uirevision="a reader's zoom outlives a redraw",
    )
