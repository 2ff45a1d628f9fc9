"""What a cell's output holds of figures: the live ones, a sentence, and a picture of them.

The picture is for GitHub, print and a notebook without a kernel. A kernel cannot draw it, since
plotly draws in a browser: the tool that saves notebooks sets RLHF_PICTURES=1, gets the figures as
plotly's JSON under `FIGURES_MIME`, and puts a PNG in its place (`tools/pictures.py`). In a page the
browser itself draws it, and the notebook's server puts it in when the notebook is saved.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

FIGURES_MIME = "application/vnd.rlhf.figures+json"


def figures_json(figures: Sequence[Any]) -> list[dict[str, Any]]:
    """Each figure as plotly's JSON, with what moves put in."""
    return [
        {
            "data": plot.data,
            "layout": plot.axes | {"annotations": [*plot.axes.get("annotations", ()), *plot.notes]},
        }
        for plot in (figure.widget for figure in figures)
        if hasattr(plot, "axes")
    ]


def widget_data(widget: Any, **kwargs: Any) -> dict[str, Any]:
    """A widget's own display data: anywidget's come with metadata, those of ipywidgets without."""
    bundle = widget._repr_mimebundle_(**kwargs)
    return dict(bundle[0] if isinstance(bundle, tuple) else bundle)


def display_data(
    figures: Sequence[Any], title: str, readout: str = "", widget: Any = None, **kwargs: Any
) -> dict[str, Any]:
    """A cell's output: `widget`, or the figures over their read-out, and the text of both."""
    import ipywidgets

    from rlhf_lib.panels.saving import keep_pictures

    if widget is None:
        from rlhf_lib.panels.frame import LiveText

        said = LiveText()
        said.say(readout)
        # As wide as in a panel, where two stand side by side, and a little more.
        layout = {"max_width": "720px"}
        widget = ipywidgets.VBox(
            [*(figure.widget for figure in figures), *[said] * bool(readout)], layout=layout
        )
        widget.add_class("rlhf-panel")
        widget.add_class("rlhf-still")
        keep_pictures(widget, figures)
    bundle = widget_data(widget, **kwargs)
    # The text of a widget holds random names; a stored notebook must not.
    bundle["text/plain"] = title + (f"\n{readout}" if readout else "")
    if os.environ.get("RLHF_PICTURES") == "1":
        bundle[FIGURES_MIME] = figures_json(figures)
    return bundle
