"""An entry for a prediction: a choice, a number or a sketched curve; and the look back at it."""

from __future__ import annotations

import anywidget
import traitlets

from rlhf_lib.panels.page import page


class Entry(anywidget.AnyWidget):
    """A question with a choice, a number or a sketched curve as its answer, which is `value`.

    `locked` makes it a look back: what was entered stands beside a button that shows the result.
    `axes` of a curve: x_range, y_range, x_title, y_title and the number of points.
    """

    _esm = page("number.js") + page("entry.js")
    _css = page("entry.css")
    kind = traitlets.Enum(["choice", "number", "curve"]).tag(sync=True)
    question = traitlets.Unicode().tag(sync=True)
    options = traitlets.List(traitlets.Unicode()).tag(sync=True)
    unit = traitlets.Unicode().tag(sync=True)
    axes = traitlets.Dict().tag(sync=True)
    value = traitlets.Any(None, allow_none=True).tag(sync=True)
    status = traitlets.Unicode().tag(sync=True)
    locked = traitlets.Bool(False).tag(sync=True)
    mine = traitlets.Unicode().tag(sync=True)
    said = traitlets.Unicode().tag(sync=True)
    truth = traitlets.Any(None, allow_none=True).tag(sync=True)
