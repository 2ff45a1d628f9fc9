"""Notebook 14: smaller models by accuracy, bytes and time, made here and as recorded."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rlhf_lib.panels import Panel, charts, checkbox, log_slider, slider
from rlhf_lib.panels import choice as choose
from rlhf_lib.panels.bands import Bands
from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.points import Point, Points
from rlhf_lib.panels.theme import GREY, INK
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice
from ..checks.nb14 import LOST, MEGABYTES
from ..studies import nb14_smaller as plan

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
    "By size or by curvature: does it matter which half?",
    ["no", "by size is much better", "by curvature is much better"],
    truth=2,
    why="By size over all layers this model becomes a coin; by curvature it loses a few reviews.",
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
ORDERS = {"magnitude": "by size", "magnitude layer": "size, each layer", "obd": "OBD", "obs": "OBS"}
LABELS = {  # of what else is recorded
    ("bits", "8 dynamic"): "8 bits dynamic",
    ("bits", "8"): "8 bits",
    ("bits", "8 table"): "8 bits, table",
    ("bits", "4 table"): "4 bits, table",
    ("bits", "4 groups table"): "4 bits, groups, table",
    ("bits", "3 groups table"): "3 bits, groups, table",
    ("heads", 0.5): "half of the heads",
    ("neurons", 0.5): "half of the neurons",
    **{("teacher", T): f"student, teacher at T = {T}" for T in plan.TEMPERATURES},
    ("labels alone", 2): "student, labels alone",
}
TIMED = {
    "dense": "whole",
    "zeros 0.7": "70 % zeros",
    "zeros 0.9": "90 % zeros",
    "heads 0.5": "half of the heads",
    "neurons 0.5": "half of the neurons",
    "both 0.5": "half of both",
    "2 layers": "student of 2 layers",
    "bits 8": "8 bits",
    "bits 8 table": "8 bits, table",
    "bits 4 table": "4 bits, table",
    "bits 4 groups table": "4 bits, groups, table",
    "bits 3 groups table": "3 bits, groups, table",
    "bits 8 dynamic": "8 bits dynamic (torchao)",
    "bits 8 torch.ao": "8 bits dynamic (torch.ao)",
}

Shrink = Callable[..., Iterable[Mapping[str, Any]]]
Measures = Mapping[str, Any]


class Labelled(Points):
    """Points whose labels stand beside them, moved apart, with a line where they had to go far.

    The axes need ranges. Labels are placed for an area of `width` pixels; a wider page has room.
    """

    legend = False

    def __init__(self, *args: Any, width: float = 415, **axes: Any):
        self._width = width
        super().__init__(*args, **axes)
        self._ring.update(marker_size=22)

    def _end_labels(self) -> list[dict[str, Any]]:
        axes = self.widget.axes
        height = axes["height"] - axes["margin"]["t"] - axes["margin"]["b"]
        spots = []
        for trace in self._kinds.values():
            for x, y, label in zip(trace.x or (), trace.y or (), trace.text or (), strict=True):
                at = (math.log10(x) if self._logs["x"] else x, y)
                low, high = axes["xaxis"]["range"]
                bottom, top = axes["yaxis"]["range"]
                spots.append(
                    (
                        at,
                        label,
                        self._width * (at[0] - low) / (high - low),
                        height * (at[1] - bottom) / (top - bottom),
                    )
                )
        taken = [(x - 7, y - 7, x + 7, y + 7) for _, _, x, y in spots]
        made = []
        for at, name, x, y in sorted(spots, key=lambda spot: (-spot[3], spot[2])):
            near, (dx, dy) = _place_label(_half(name), x, y, taken, (self._width, height))
            taken += [_box(_half(name), x + dx, y + dy), *(() if near else _line(x, y, dx, dy))]
            made.append(
                {
                    "x": at[0],
                    "y": at[1],
                    "text": name,
                    "font": {"size": 11, "color": INK},
                    **(
                        {"showarrow": False, "xshift": dx, "yshift": dy}
                        if near
                        else {
                            "showarrow": True,
                            "ax": dx,
                            "ay": -dy,
                            "arrowhead": 0,
                            "arrowwidth": 1,
                            "arrowcolor": GREY,
                            "standoff": 6,
                        }
                    ),
                }
            )
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


def label(way: str, fraction: float, bits: int, tables: bool, temperature: float) -> str:
    """What a model made with these settings is called."""
    if way == "bits":
        return f"{bits} bits{', all' if tables else ''}"
    return f"teacher, T = {temperature:g}" if way == "teacher" else f"{way}, {fraction:g}"


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
            log_slider("temperature", "temperature T", low=0.5, high=20, value=2),
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


def spots(points: Mapping[str, Sequence[tuple[float, float, str]]], **axes: Any) -> Labelled:
    """A still figure of `points`: kind -> (MB, accuracy, label)."""
    record = {kind: [(x, y, 1.0, name) for x, y, name in some] for kind, some in points.items()}
    made = Labelled(
        lambda r: r, list(points), unit=2.0, x_title="file in MB", y_title="accuracy", **axes
    )
    made.show([record])
    return made


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
        readout="Half of the weights at zero are one file, and two models: by size a coin, by "
        "curvature nearly the whole. In 8 bits the file is a quarter, at no loss.",
    )


# -- the recorded runs ------------------------------------------------------------------------


class Study:
    """The recorded runs by method and value: a result for each seed, and the times."""

    def __init__(self, document: Mapping[str, Any]):
        self.runs: dict[tuple, list[Mapping[str, Any]]] = {}
        for r in document["runs"]:
            key = (r["settings"]["method"], r["settings"]["value"])
            self.runs.setdefault(key, []).append(r["result"])
        (self.milliseconds,) = self.runs["latency", 0]

    def all(self, method: str, value: Any, key: str) -> list[float]:
        return [r[key] for r in self.runs[method, value]]

    def mean(self, method: str, value: Any, key: str) -> float:
        return statistics.fmean(self.all(method, value, key))

    def less(self, method: str, value: Any) -> list[float]:
        """Accuracy less the whole model's, seed by seed."""
        return [
            a - b
            for a, b in zip(
                self.all(method, value, "accuracy"), self.all("dense", 0, "accuracy"), strict=True
            )
        ]

    def time(self, name: str, sentences: int) -> float:
        """CPU time as a share of the whole model's."""
        times, size = self.milliseconds, str(sentences)
        return times[name][size][1] / times["dense"][size][1]


def orders(study: Study) -> Panel:
    """Accuracy and loss over the share of zeros, for four orders, after the cut or an epoch on."""
    after = {"nothing": ("", plan.FRACTIONS), "an epoch of training": (" again", plan.AGAIN)}

    def curve(by: str, then: str, key: str) -> tuple:
        word, fractions = after[then]
        keys = [("dense", 0)] + [(by + word, f) for f in fractions if (by + word, f) in study.runs]
        found = [study.all(*k, key) for k in keys]
        return (
            [100 * f for _, f in keys],
            [statistics.fmean(c) for c in found],
            [min(c) for c in found],
            [max(c) for c in found],
        )

    def show(then: str) -> Iterator[dict]:
        yield {key: {by: curve(by, then, key) for by in ORDERS} for key in ("accuracy", "loss")}

    def read(records: Sequence[dict], values: Mapping[str, Any]) -> str:
        said = ", ".join(
            f"{ORDERS[by]} {records[-1]['accuracy'][by][1][-1]:.3f} (loss "
            f"{records[-1]['loss'][by][1][-1]:.2f})"
            for by in ORDERS
        )
        most = records[-1]["accuracy"]["obs"][0][-1]
        return (
            f"With {most:.0f} % zeros and {values['then']} after the cut, mean accuracy of "
            f"three seeds: {said}."
        )

    def bands(key: str, **axes: Any) -> Bands:
        return Bands(
            {name: lambda record, by=by: record[key][by] for by, name in ORDERS.items()},
            x_title="zeros in the layers, in %",
            x_range=[-2, 92],
            **axes,
        )

    return Panel(
        show,
        controls=[choose("then", "after the cut", list(after))],
        figures=[
            bands(
                "accuracy", title="Accuracy (recorded)", y_title="accuracy", y_range=[0.45, 0.95]
            ),
            bands(
                "loss",
                title="Loss (recorded)",
                y_title="validation loss in nats",
                y_range=[0.15, 0.75],
            ),
        ],
        readout=read,
        title="Which weights may go: four orders",
        keep=0,
    )


def everything(study: Study) -> Labelled:
    """Accuracy against bytes of all roads."""

    def at(method: str, value: Any, name: str) -> tuple[float, float, str]:
        return (
            study.mean(method, value, "bytes") / 1e6,
            study.mean(method, value, "accuracy"),
            name,
        )

    return spots(
        {
            "whole": [at("dense", 0, "whole")],
            "zeros by size": [at("magnitude", 0.5, "size 50 %")],
            "zeros by curvature": [
                at("obd", f, f"OBD {f:.0%}".replace("%", " %")) for f in plan.FRACTIONS
            ]
            + [at("obs", 0.7, "OBS 70 %")],
            "parts taken out": [
                at("heads", 0.5, "half the heads"),
                at("neurons", 0.5, "half the neurons"),
            ],
            "fewer bits": [
                at("bits", "8", "8 bits"),
                at("bits", "8 table", "8 bits, table"),
                at("bits", "4 table", "4 bits, table"),
                at("bits", "4 groups table", "4 bits, groups, table"),
                at("bits", "3 groups table", "3 bits, groups, table"),
            ],
            "student of 2 layers": [
                at("teacher", 2, "student, T = 2"),
                at("labels alone", 2, "student, labels alone"),
            ],
        },
        title="Accuracy against bytes (recorded)",
        x_range=[0, 100],
        y_range=[0.71, 0.94],
        height=400,
        readout="Means of three seeds. Left of 25 MB are only models whose tables are in few bits. "
        "70 % zeros by size, a coin, lie below the picture.",
    )


def less_accuracy(study: Study) -> Figure:
    """Accuracy less the whole model's: bits, parts taken out, students."""
    rows = {}
    for key, name in LABELS.items():
        found = study.less(*key)
        rows[name] = (statistics.fmean(found), min(found), max(found))
    taught, alone = study.mean("teacher", 2, "loss"), study.mean("labels alone", 2, "loss")
    return charts.ranking(
        rows,
        lines={"whole": 0},
        title="Accuracy less the whole model's",
        x_range=[-0.1, 0.02],
        x_title="seed by seed: mean, least, largest",
        readout="Bits of the layers; table: of the embeddings, too. The "
        f"student's loss is {taught:.2f} with a teacher at T = 2, {alone:.2f} with labels "
        "alone.",
    )


def times(study: Study) -> Figure:
    """CPU time as a share of the whole model's, of 16 sentences and of one."""
    values = [[study.time(name, size) for size in (16, 1)] for name in TIMED]
    return charts.cells(
        ["16 sentences", "1 sentence"],
        list(TIMED.values()),
        values,
        log=True,
        digits=2,
        title="CPU time / the whole model's",
        height=380,
        readout="Recorded, one thread, all kinds in turn. Only smaller matrices are quicker; of "
        "the small integers only the older torch.ao.",
    )


def l1(study: Study) -> Figure:
    """Accuracy over the share of zeros: L1 while training, or pruning after."""
    keys = {
        "L1 while training": "accuracy",
        "by size after": "magnitude after",
        "OBD after": "obd after",
    }
    zeros = [100 * study.mean("l1", value, "zeros") for value in plan.L1]
    found = {name: [study.all("l1", value, key) for value in plan.L1] for name, key in keys.items()}
    return charts.chart(
        {name: (zeros, [statistics.fmean(c) for c in columns]) for name, columns in found.items()},
        bands={
            name: ([min(c) for c in columns], [max(c) for c in columns])
            for name, columns in found.items()
        },
        kind="lines+markers",
        title="The same zeros, three ways (recorded)",
        x_title="zeros in the layers, in %",
        y_title="accuracy",
        x_range=[0, 100],
        y_range=[0.45, 0.95],
        readout="Zeros of λ = "
        + ", ".join(
            f"{value:g} ({share:.0f} %)" for value, share in zip(plan.L1, zeros, strict=True)
        )
        + "; means of three seeds, and from the least to the largest.",
    )
