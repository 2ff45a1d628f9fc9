"""Points whose names stand beside them, as in a map: models by size and accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.points import Points
from rlhf_lib.panels.theme import GREY, INK
from rlhf_lib.panels.trace import Trace


def Labelled(*args: Any, width: float = 415, **axes: Any) -> Figure:
    """Points whose labels stand beside them, moved apart, with a line where they had to go far.

    The axes need ranges. Labels are placed for an area of `width` pixels; a wider page has room.
    """
    return Points(*args, legend=False, ring=22, notes=partial(_labels, width=width), **axes)


def _labels(traces: Sequence[Trace], axes: Mapping[str, Any], width: float) -> list[dict[str, Any]]:
    """The annotations with the labels of the points."""
    height = axes["height"] - axes["margin"]["t"] - axes["margin"]["b"]
    (low, high), (bottom, top) = axes["xaxis"]["range"], axes["yaxis"]["range"]
    spots = []
    for trace in traces:
        for x, y, label in zip(trace["x"], trace["y"], trace.get("text", ()), strict=False):
            at = (math.log10(x) if axes["xaxis"]["type"] == "log" else x, y)
            px, py = (
                width * (at[0] - low) / (high - low),
                height * (at[1] - bottom) / (top - bottom),
            )
            spots.append((at, label, px, py))
    taken = [(x - 7, y - 7, x + 7, y + 7) for _, _, x, y in spots]
    made = []
    for at, name, x, y in sorted(spots, key=lambda spot: (-spot[3], spot[2])):
        near, (dx, dy) = _place_label(_half(name), x, y, taken, (width, height))
        taken += [_box(_half(name), x + dx, y + dy), *(() if near else _line(x, y, dx, dy))]
        arrow = {"ax": dx, "ay": -dy, "arrowhead": 0, "arrowwidth": 1, "arrowcolor": GREY}
        where = {"xshift": dx, "yshift": dy} if near else arrow | {"standoff": 6}
        font = {"size": 11, "color": INK}
        note = {"x": at[0], "y": at[1], "text": name, "font": font, "showarrow": not near}
        made.append(note | where)
    return made


Box = tuple[float, float, float, float]


def _half(name: str) -> float:
    """Half the width of a label, in pixels."""
    return 3.1 * len(name) + 2


def _box(half: float, x: float, y: float) -> Box:
    return x - half, y - 7, x + half, y + 7


def _line(x: float, y: float, dx: float, dy: float) -> list[Box]:
    """Small boxes along the line from a point to its label."""
    n = max(int(math.hypot(dx, dy) // 5), 1)
    return [
        (x + dx * k / n - 1, y + dy * k / n - 1, x + dx * k / n + 1, y + dy * k / n + 1)
        for k in range(2, n)
    ]


def _place_label(
    half: float, x: float, y: float, taken: Sequence[Box], area: tuple[float, float]
) -> tuple[bool, tuple[float, float]]:
    """Whether a label stands right beside its point, and where its middle goes: the nearest place
    that is free, for the label and for the line to it."""
    others = [b for b in taken if not (b[0] < x < b[2] and b[1] < y < b[3])]
    beside = [(0.0, 18.0), (0.0, -18.0), (half + 12, 0.0), (-half - 12, 0.0)]
    far = [
        (r * math.cos(a) + half * round(math.cos(a), 3), r * math.sin(a))
        for r in range(22, 130, 8)
        for a in (k * math.pi / 12 for k in range(24))
    ]

    def shared(a: Box, boxes: Sequence[Box]) -> float:
        return sum(
            max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
            * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
            for b in boxes
        )

    def cost(place: tuple[float, float]) -> float:
        box = _box(half, x + place[0], y + place[1])
        outside = (
            max(0, -box[0])
            + max(0, box[2] - area[0] - 14)
            + max(0, 7 - box[1])
            + max(0, box[3] - area[1])
        )
        crossed = (
            0.0 if place in beside else sum(shared(piece, others) for piece in _line(x, y, *place))
        )
        return (
            10 * (5 * outside + shared(box, taken) + 5 * crossed)
            + math.hypot(place[0], place[1])
            + 15 * (place not in beside)
        )

    best = min(beside + far, key=cost)
    return best in beside, best


def spots(points: Mapping[str, Sequence[tuple[float, float, str]]], **axes: Any) -> Figure:
    """A still figure of `points`: kind -> (MB, accuracy, label)."""
    record = {kind: [(x, y, 1.0, name) for x, y, name in some] for kind, some in points.items()}
    return Labelled(
        lambda r: r, list(points), unit=2.0, x_title="file in MB", y_title="accuracy", **axes
    ).show([record])
