"""The names at the right ends of curves, moved apart so that none covers another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rlhf_lib.panels.trace import Trace

LETTER, LINE = 7.3, 15  # width of a letter and height of a line of a label, in pixels
WRAP = 18  # letters of a label's line


def end_labels(traces: Sequence[Trace], axes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """plotly's annotations with the names of the `named` traces, in a figure with these axes."""
    area = axes["height"] - axes["margin"]["t"] - axes["margin"]["b"]
    log = axes["yaxis"]["type"] == "log"
    low, high = axes["yaxis"].get("range") or _spread(traces, log)
    labels = []
    for trace in traces:
        end = _end(trace, log)
        if not trace.named or not trace.get("name") or end is None:
            continue
        share = (end - low) / ((high - low) or 1.0)
        colour = trace.get("line", {}).get("color") or trace.get("marker", {}).get("color")
        # Names of former runs come later than the room was made: they fit into what there is.
        lines = wrap(trace["name"], int((axes["margin"]["r"] - 14) / LETTER + 0.01))
        labels.append([min(max(share, 0.0), 1.0) * area, lines, colour])
    labels.sort(key=lambda label: label[0])
    _spread_out(labels, area)
    return [
        {
            "text": "\n".join(lines),
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


def width(names: Sequence[str]) -> float:
    """How many pixels the longest line of these names takes."""
    return LETTER * max((len(line) for name in names for line in wrap(name)), default=0)


def wrap(name: str, letters: int = WRAP) -> list[str]:
    """A name in lines of at most so many letters, broken at blanks; a longer word stays whole."""
    letters = min(letters, WRAP)
    lines = [""]
    for word in name.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > letters:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


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


def _spread(traces: Sequence[Trace], log: bool) -> tuple[float, float]:
    """What plotly will choose for the y axis, nearly: the data and a little more."""
    rows = [t.get("y") or () for t in traces if not t.fixed or t["type"] == "scatter"]
    ys = [y for y in (_scale(y, log) for row in rows for y in row) if y is not None]
    if not ys:
        return 0.0, 1.0
    edge = 0.055 * (max(ys) - min(ys))
    return min(ys) - edge, max(ys) + edge


def _end(trace: Trace, log: bool) -> float | None:
    """The last number of a trace, on the axis' own scale; None without one."""
    ys = (_scale(y, log) for y in reversed(trace.get("y") or ()))
    return next((y for y in ys if y is not None), None)


def _scale(y: Any, log: bool) -> float | None:
    if y is None or isinstance(y, str) or not math.isfinite(y) or (log and y <= 0):
        return None
    return math.log10(y) if log else float(y)
