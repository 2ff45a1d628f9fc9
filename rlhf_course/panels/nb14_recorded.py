"""Notebook 14's recorded runs: orders of pruning, all roads, their times."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rlhf_lib.panels import Panel, charts
from rlhf_lib.panels import choice as choose
from rlhf_lib.panels.bands import Bands
from rlhf_lib.panels.figure import Figure

from ..studies import nb14_smaller as plan
from .model_map import Labelled, spots

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
    **{("teacher", T): f"student, teacher at τ = {T}" for T in plan.TEMPERATURES},
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
                "accuracy", title="Accuracy (recorded)", y_title="accuracy", y_range=[0.65, 0.95]
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
            "zeros by size": [at("magnitude", 0.5, "size 50 %"), at("magnitude", 0.7, "size 70 %")],
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
                at("teacher", 2, "student, τ = 2"),
                at("labels alone", 2, "student, labels alone"),
            ],
        },
        title="Accuracy against bytes (recorded)",
        x_range=[0, 100],
        y_range=[0.75, 0.94],
        height=400,
        readout="Means of three seeds. Left of 25 MB are only models whose tables are in few bits.",
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
        x_range=[-0.12, 0.02],
        x_title="seed by seed: mean, least, largest",
        readout="Bits of the layers; table: of the embeddings, too. The "
        f"student's loss is {taught:.2f} with a teacher at τ = 2, {alone:.2f} with labels "
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
        readout="Recorded, one thread, all kinds in turn, with VNNI. Smaller matrices are quicker; "
        "of the small integers those that are multiplied as integers.",
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
        x_range=[0, 80],
        y_range=[0.5, 0.95],
        readout="Zeros of λ = "
        + ", ".join(
            f"{value:g} ({share:.0f} %)" for value, share in zip(plan.L1, zeros, strict=True)
        )
        + "; means of three seeds, and from the least to the largest.",
    )
