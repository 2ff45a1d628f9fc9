"""The colours of every figure, in the light and in the dark theme: the one place for both.

Figures are written in the light theme's colours. Where a page is dark, the browser replaces each
colour by its partner in `DARK`; so a figure, its picture and its tests know one set of colours.
"""

from __future__ import annotations

from collections.abc import Sequence

# Okabe and Ito (2008): distinct for colour-blind readers. Dashes and markers repeat the
# distinction for print and for readers who see no colour.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"]
SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon"]
GREY = "#6b6b6b"
INK = "#222222"
GRID = "#e5e5e5"
PAPER = "#ffffff"
GOAL = "#00734f"
LOW_FILL = "#c6dbef"  # the low end of filled contours; the high end is the paper
CONTOUR = "#9a9a9a"
# Former runs, from the least to the largest value of the control that was moved.
RUNS = ["#a48bd6", "#8a6cc4", "#704fae", "#583694", "#412277", "#2a1259"]

DARK = {
    "#0072B2": "#4FA8E0",
    "#D55E00": "#F0833A",
    "#009E73": "#2CC197",
    "#CC79A7": "#DE9CC0",
    "#E69F00": "#F0B73E",
    "#56B4E9": "#8CCBF2",
    "#000000": "#F2F2F2",
    GREY: "#A6A6A6",
    INK: "#E0E0E0",
    GRID: "#3A3A3A",
    PAPER: "#111111",
    GOAL: "#3FCF9F",
    LOW_FILL: "#1E3B57",
    CONTOUR: "#5F6B75",
    "#a48bd6": "#6F57A3",
    "#8a6cc4": "#8770BB",
    "#704fae": "#9F8ACF",
    "#583694": "#B6A5DF",
    "#412277": "#CDC1EC",
    "#2a1259": "#E4DDF7",
}


def pale(colour: str) -> str:
    """The colour of a band around a line of this colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.18)"


def run_colours(labels: Sequence[str]) -> list[str]:
    """A colour for each former run: from pale to dark in the order of the value that its label
    ends with ("λ = 0.3"), or in the order of the runs where labels have no such value."""
    values = [_value(label) for label in labels]
    order: list = list(range(len(labels)))
    if None not in values:
        order.sort(key=lambda i: values[i])
    places = {run: rank for rank, run in enumerate(order)}
    last = max(len(labels) - 1, 1)
    return [RUNS[round(places[i] * (len(RUNS) - 1) / last)] for i in range(len(labels))]


def _value(label: str) -> float | None:
    if label.count(" = ") != 1:
        return None
    try:
        return float(label.rpartition(" = ")[2])
    except ValueError:
        return None
