"""Panels: controls, a generator of records, and the figures that follow it.

The only part of the library that knows widgets. A panel is given a generator function,
so everything it shows can also be had from a plain `for` loop.
"""

from rlhf_lib.panels import charts, figures
from rlhf_lib.panels.controls import Control, checkbox, choice, log_slider, slider
from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.panel import Panel

__all__ = [
    "Control",
    "Figure",
    "Panel",
    "charts",
    "checkbox",
    "choice",
    "figures",
    "log_slider",
    "slider",
]
