"""Two still figures next to one another, as the last line of a cell."""

from __future__ import annotations

from typing import Any

from rlhf_lib.panels.align import align
from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.show import display_data


class Beside:
    """Figures side by side where there is room, over one read-out; `title` names them in text."""

    def __init__(self, *figures: Figure, title: str, readout: str = ""):
        self.figures, self.title, self.readout = figures, title, readout
        align(figures)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        import ipywidgets

        from rlhf_lib.panels.frame import LiveText
        from rlhf_lib.panels.saving import keep_pictures

        plots = [
            ipywidgets.Box([figure.widget], layout={"flex": "1 1 380px", "min_width": "300px"})
            for figure in self.figures
        ]
        for plot in plots:
            plot.add_class("rlhf-figure")
        said = LiveText()
        said.say(self.readout)
        row = ipywidgets.Box(plots, layout={"flex_flow": "row wrap"})
        widget = ipywidgets.VBox([row, said])
        widget.add_class("rlhf-panel")
        keep_pictures(widget, self.figures)
        return display_data(self.figures, self.title, self.readout, widget, **kwargs)
