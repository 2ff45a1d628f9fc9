"""Notebook 14: smaller models by accuracy, bytes and time, made here and as recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rlhf_lib.panels import Panel, checkbox, log_slider, slider
from rlhf_lib.panels import choice as choose
from rlhf_lib.panels.points import Point
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice
from ..checks.nb14 import LOST, MEGABYTES
from ..studies import nb14_smaller as plan
from .model_map import Labelled, spots
from .nb14_recorded import Study, everything, l1, less_accuracy, orders, times

__all__ = [
    "Study",
    "everything",
    "l1",
    "label",
    "less_accuracy",
    "made_here",
    "orders",
    "plan",
    "roads",
    "times",
]

choice(
    "14.zeros",
    "Half of the weights of all layers are set to zero. What becomes of the file and of the time?",
    [
        "file and time are halved",
        "the file is halved, the time stays",
        "the file shrinks by about a fifth, the time stays",
        "both stay",
    ],
    truth=2,
    why="Only the layers shrink, which hold less than half of the numbers, and a zero still takes "
    "a bit. A matrix with zeros is multiplied in full.",
)
choice(
    "14.half",
    "By size or by curvature: does it matter which half? (Means of three seeds.)",
    ["no", "by size is better", "by curvature is better"],
    truth=2,
    why="By size half of the weights cost six hundredths of accuracy, by curvature one.",
)
choice(
    "14.road",
    "Take the file to a sixth, 15 MB, at hardly any loss of accuracy. Which road gets there?",
    [
        "zeros, chosen well",
        "heads and neurons taken out",
        "fewer bits, in the layers",
        "fewer bits, the tables too",
        "a student of two layers",
    ],
    truth=3,
    why="Half of the bytes are tables, so a road that leaves them in 32 bits cannot get there.",
)

KINDS = {
    "by size": "zeros",
    "by curvature": "zeros",
    "by surgeon": "zeros",
    "heads": "parts taken out",
    "neurons": "parts taken out",
    "bits": "fewer bits",
    "teacher": "student of 2 layers",
}

Shrink = Callable[..., Iterable[Mapping[str, Any]]]
Measures = Mapping[str, Any]


def label(way: str, fraction: float, bits: int, tables: bool, temperature: float) -> str:
    """What a model made with these settings is called."""
    if way == "bits":
        return f"{bits} bits{', all' if tables else ''}"
    return f"teacher, τ = {temperature:g}" if way == "teacher" else f"{way}, {fraction:g}"


def roads(shrink: Shrink, whole: Measures) -> Panel:
    """`shrink(way, fraction, bits, tables, temperature)` yields measures of smaller models."""
    size, accuracy = whole["bytes"] / 1e6, whole["accuracy"]
    found: dict[str, list[tuple]] = {kind: [] for kind in ("whole", *dict.fromkeys(KINDS.values()))}
    found["whole"].append((size, accuracy, 1.0, "whole"))

    def follow(**settings: Any) -> Iterator[Record]:
        name, points = label(**settings), found[KINDS[settings["way"]]]
        before = [p for p in points if p[3] != name]
        for step, m in enumerate(shrink(**settings), 1):
            newest = (m["bytes"] / 1e6, m["accuracy"], m["ms"] / m["ms_whole"], name)
            points[:] = [*before, newest]  # a student's epochs are one point that moves
            yield Record(
                step=step,
                loss=m["loss"],
                extra=dict(m)
                | {
                    "megabytes": newest[0],
                    "megabytes_whole": size,
                    "whole": accuracy,
                    "points": {kind: list(some) for kind, some in found.items()},
                    "newest": newest,
                },
            )

    def by_time(point: tuple) -> Point:
        return point[2], point[1], 1.0, point[3]

    def by_bytes(point: tuple) -> Point:
        return point[0], point[1], 1.0, point[3]

    def figure(place: Callable[[tuple], Point], **axes: Any) -> Labelled:
        return Labelled(
            lambda r: {kind: [place(p) for p in some] for kind, some in r.extra["points"].items()},
            list(found),
            newest=lambda r: place(r.extra["newest"]),
            unit=1.6,
            y_title="accuracy",
            y_range=[0.45, 1.0],
            x_log=True,
            **axes,
        )

    return Panel(
        follow,
        controls=[
            choose("way", "way", list(KINDS), "neurons"),
            slider("fraction", "fraction", low=0.1, high=0.9, step=0.1, value=0.5),
            slider("bits", "bits", low=2, high=8, step=1, value=8),
            checkbox("tables", "tables too", False),
            log_slider("temperature", "temperature τ", low=0.5, high=20, value=2),
        ],
        figures=[
            figure(
                by_bytes,
                title="Accuracy against bytes",
                x_title="file in MB",
                x_range=[4, 130],
                goal={"x": (4, MEGABYTES), "y": (accuracy - LOST, 1.0)},
            ),
            figure(
                by_time,
                title="Accuracy against time",
                x_range=[0.2, 5],
                x_title="CPU time of 16 reviews / the whole model's",
            ),
        ],
        readout=_read,
        total=lambda values: 3 if values["way"] == "teacher" else 1,
        title="Four roads to a smaller model",
        goal="at most 15 MB, and at most 0.03 of accuracy lost",
        on_release=False,
        reached=reached("14.small"),
    )


def _read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    m = records[-1].extra
    return (
        f"{m['newest'][3]}: {m['megabytes']:.1f} MB of {m['megabytes_whole']:.1f}; accuracy "
        f"{m['accuracy']:.3f}, {m['accuracy'] - m['whole']:+.3f} against the whole model's; "
        f"validation loss {records[-1].loss:.3f}; {m['zeros']:.0%} of the layers' weights are "
        f"zero; time {m['ms']:.0f} ms, the whole model's {m['ms_whole']:.0f} ms."
    )


def made_here(ends: Mapping[str, Measures], whole: Measures) -> Labelled:
    """The models made in this notebook: accuracy against bytes."""
    points = {"whole": [(whole["bytes"] / 1e6, whole["accuracy"], "whole")]}
    for name, m in ends.items():
        points[name] = [(m["bytes"] / 1e6, m["accuracy"], name)]
    return spots(
        points,
        title="Five small models, and the whole one",
        x_log=True,
        x_range=[4, 130],
        y_range=[0.45, 1.0],
        readout="Half of the weights at zero cost a few reviews. In 8 bits the file is a quarter, "
        "at no loss; in 2 bits little is left.",
    )
