"""A plotly figure in the page, given by its state alone.

plotly's own FigureWidget brings its 5 MB of JavaScript along with each figure. A browser
takes about a second to read them; anywidget gives a widget two seconds to start, then
drops every later change: on a busy machine the second figure of a page stays as it was.
Here the page reads plotly once, and a figure is small. As everything shown is in the
traits, a reloaded page shows it again.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import anywidget
import ipywidgets
import traitlets
from plotly.offline import get_plotlyjs

from rlhf_lib.panels.escape import as_text
from rlhf_lib.panels.page import page
from rlhf_lib.panels.theme import DARK


class Library(ipywidgets.Widget):
    """The text of plotly.js, sent to a page once."""

    code = traitlets.Unicode().tag(sync=True)


@cache
def library() -> Library:
    """The one library of this kernel."""
    return Library(code=get_plotlyjs())


def _packed(traces: Sequence[Mapping[str, Any]], _: Any) -> list[dict[str, Any]]:
    """Long rows of numbers as bytes: JSON of them is slow to write, to send and to read."""
    return as_text(
        [
            {**trace, **{axis: _bytes(trace[axis]) for axis in ("x", "y") if axis in trace}}
            for trace in traces
        ]
    )


def _texts(value: Any, _: Any) -> Any:
    return as_text(value)


def _bytes(row: Sequence[Any]) -> Any:
    if len(row) < 50 or not all(v is None or isinstance(v, float | int) for v in row):
        return row
    return {"f64": memoryview(array("d", [math.nan if v is None else v for v in row]))}


class Plot(anywidget.AnyWidget):
    """Traces over axes: `fixed` ones are sent once, `ghosts` when a run begins, and `moving` ones
    with every redraw.

    `notes` are annotations that move with the traces. The page sends a PNG as a data URL in
    `picture` when `wanted` changes to another number than 0.
    """

    _esm = f"const DARK = {json.dumps(DARK)};\n" + page("plot.js")
    _css = page("plot.css")
    library = traitlets.Instance(Library).tag(sync=True, **ipywidgets.widget_serialization)
    fixed = traitlets.List().tag(sync=True, to_json=_texts)
    ghosts = traitlets.List().tag(sync=True, to_json=_packed)
    moving = traitlets.List().tag(sync=True, to_json=_packed)
    notes = traitlets.List().tag(sync=True, to_json=_texts)
    # plotly's layout; `layout` is the widget's own.
    axes = traitlets.Dict().tag(sync=True, to_json=_texts)
    label = traitlets.Unicode().tag(sync=True)
    grip = traitlets.Bool(False).tag(sync=True)  # whether the start can be dragged
    rest = traitlets.List([0]).tag(sync=True)  # how often it was let go, and where
    wanted = traitlets.Int(0).tag(sync=True)
    picture = traitlets.Unicode().tag(sync=True)

    def __init__(self, **traits):
        super().__init__(library=library(), **traits)

    @property
    def data(self) -> list[dict]:
        """All traces as plotly's JSON, in the order in which they are drawn."""
        return [*self.fixed, *self.ghosts, *self.moving]
