"""Going through the steps of a run once more: a button that plays them, and a slider over them."""

from __future__ import annotations

import anywidget
import traitlets

from rlhf_lib.panels.page import page


class Player(anywidget.AnyWidget):
    """Plays the `count` steps of a run; the page sends the step that is to be shown.

    Who asks the system for less motion goes on by one step with each press of the button.
    """

    _esm = page("player.js")
    _css = page("player.css")
    count = traitlets.Int(0).tag(sync=True)
    runs = traitlets.Int(0).tag(sync=True)  # changes with each run, also of equal length

    def load(self, count: int) -> None:
        """Another run, of so many records, is shown whole."""
        with self.hold_sync():
            self.count, self.runs = count, self.runs + 1
