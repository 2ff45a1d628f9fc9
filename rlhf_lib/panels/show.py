"""What a cell's output holds of figures: the live ones, a sentence, and a picture of them.

The picture is for GitHub, print and a notebook without a kernel. A kernel cannot draw it, since
plotly draws in a browser: the tool that saves notebooks sets RLHF_PICTURES=1, gets the figures as
plotly's JSON under `FIGURES_MIME`, and puts a PNG in its place (`tools/pictures.py`). In a page the
browser itself draws it, and the notebook's server puts it in when the notebook is saved.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from rlhf_lib.panels.escape import as_text

FIGURES_MIME = "application/vnd.rlhf.figures+json"


def figures_json(figures: Sequence[Any]) -> list[dict[str, Any]]:
    """Each figure as plotly's JSON, with what moves put in."""
    return as_text(
        [
            {
                "data": plot.data,
                "layout": plot.axes
                | {"annotations": [*plot.axes.get("annotations", ()), *plot.notes]},
            }
            for plot in (figure.widget for figure in figures)
            if hasattr(plot, "axes")
        ]
    )


def widget_data(widget: Any, **kwargs: Any) -> dict[str, Any]:
    """A widget's own display data: anywidget's come with metadata, those of ipywidgets without."""
    bundle = widget._repr_mimebundle_(**kwargs)
    return dict(bundle[0] if isinstance(bundle, tuple) else bundle)


def close_all(widget: Any) -> None:
    """Close a widget with all that stands in it: page and kernel forget them."""
    for child in getattr(widget, "children", ()):
        close_all(child)
    for part in (widget, getattr(widget, "layout", None), getattr(widget, "style", None)):
        if part is not None:
            part.close()


# What each cell shows: in which execution, and what closes it.
_SHOWN: dict[str, tuple[str, dict[Any, Callable[[], Any]]]] = {}


def replace_former(widget: Any, close: Callable[[], Any]) -> None:
    """Close what an earlier run of the cell that is running has shown, and no other cell shows.

    Which cell runs is known in JupyterLab; elsewhere nothing is closed.
    """
    from IPython.core.getipython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    asked = kernel.get_parent() if kernel is not None else {}
    cell = asked.get("metadata", {}).get("cellId")
    if cell is None:
        return
    execution = asked["header"]["msg_id"]
    former, shown = _SHOWN.get(cell, (execution, {}))
    closing, kept = ([], shown) if former == execution else (list(shown.items()), {})
    _SHOWN[cell] = (execution, {**kept, widget: close})
    for old, close_old in closing:
        if not any(old in there for _, there in _SHOWN.values()):
            close_old()


def display_data(
    figures: Sequence[Any],
    title: str,
    readout: str = "",
    widget: Any = None,
    close: Callable[[], Any] | None = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """A cell's output: `widget`, or the figures over their read-out, and the text of both.

    When its cell is run again, `close()` is called, or the widgets are closed.
    """
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
    replace_former(widget, close or (lambda: close_all(widget)))
    bundle = widget_data(widget, **kwargs)
    # The text of a widget holds random names; a stored notebook must not.
    bundle["text/plain"] = title + (f"\n{readout}" if readout else "")
    if os.environ.get("RLHF_PICTURES") == "1":
        bundle[FIGURES_MIME] = figures_json(figures)
    return bundle
