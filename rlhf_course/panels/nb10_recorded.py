"""Notebook 10: what was recorded of the whole BERT, on the reviews and on SST-2."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from statistics import mean, stdev
from typing import Any

from rlhf_lib.panels import charts
from rlhf_lib.panels.figure import Figure

from ..recorded import runs_with
from ..studies import nb10_sst2 as study
from ..table import Table
from .nb10 import COIN, GRADIENT, ends, over_steps, records_of


def _rows(past: Mapping[str, Any], method: str) -> dict[float | None, list[dict[str, Any]]]:
    """The recorded rows of a method's runs by their λ."""
    return {
        run["settings"].get("lambda_reg"): run["result"]["records"]
        for run in past["runs"]
        if run["settings"]["method"] == method
    }


def first(past: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recorded RLHF run of the largest λ: what the live panel begins with."""
    found = [run for run in past["runs"] if run["settings"]["method"] == "rlhf"]
    return max(found, key=lambda run: run["settings"]["lambda_reg"])


def best_adamw(past: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of AdamW's recorded runs the one with the least validation loss on its way."""
    found = [run for run in past["runs"] if run["settings"]["method"] == "adamw"]
    return min(found, key=lambda run: min(r["val_loss"] for r in run["result"]["records"]))


def whole_true(past: Mapping[str, Any]) -> Figure:
    """The recorded runs of the whole model over their cost, and the probe."""
    runs = {"AdamW": best_adamw(past)["result"]["records"]}
    runs |= {f"RLHF, λ = {value:g}": rows for value, rows in _rows(past, "rlhf").items()}
    said = "; ".join(
        f"{name}: least {min(r['val_loss'] for r in rows):.3f}, end {rows[-1]['val_loss']:.3f} "
        f"after {rows[-1]['cost'] / GRADIENT:.1f} gradients, training labels learnt "
        f"{rows[-1]['train_accuracy']:.3f}"
        for name, rows in runs.items()
    )
    probe = _rows(past, "probe")[None][0]["val_loss"]
    return charts.chart(
        {
            name: ([r["cost"] / GRADIENT for r in rows], [r["val_loss"] for r in rows])
            for name, rows in runs.items()
        },
        kind="lines+markers",
        lines={"a coin": COIN, "the probe": probe},
        title="All 22.6 million weights (recorded)",
        x_title="cost in gradients of the training set",
        x_range=[0, 32],
        y_title="validation loss in nats",
        y_range=[0.3, 1.1],
        readout=f"The probe: {probe:.3f}; {said}.",
    )


def whole_linearized(past: Mapping[str, Any]) -> Figure:
    """The whole model linearized at the probe, step by step for each λ."""
    rows = _rows(past, "linearized")
    runs = {f"λ = {value:g}": records_of(run) for value, run in rows.items()}
    probe = _rows(past, "probe")[None][0]["val_loss"]
    return over_steps(
        runs,
        lines={"the probe": probe},
        title="All 22.6 million weights, linearized (recorded)",
        x_range=[0, 24],
        y_range=[0.3, 1.1],
        readout=f"It ends at: {ends(runs)}; the probe has {probe:.3f}.",
    )


EARLY = "AdamW, stopped early"
KNOBS = {"adamw": "learning rate", "l2sp": "λ", "l1sp": "λ", "l1": "λ"}
NAMES = {
    "adamw": "AdamW",
    "l2sp": "RLHF, L2 to the start",
    "l1sp": "RLHF, L1 to the start",
    "l1": "RLHF, L1 to zero",
}


class Sst2:
    """The recorded comparison on SST-2: what tuning chose, and how the contenders did.

    document: the content of `nb10_sst2.json`.
    """

    def __init__(self, document: Mapping[str, Any]):
        self.document = document
        self.chosen = study.STUDY.chosen(document)
        adamw, l2sp = (self.runs(m, self.chosen[m]) for m in ("adamw", "l2sp"))
        l1sp, l1 = (self.runs(m, self.chosen[m]) for m in ("l1sp", "l1"))
        self.contenders = {
            "AdamW, eight epochs": [(_last(r), r) for r in adamw],
            EARLY: [(_stopped(r), r) for r in adamw],
            "RLHF, L2 to the start": [(_last(r), r) for r in l2sp],
            "the same, stopped early": [(_stopped(r), r) for r in l2sp],
            "RLHF, L1 to the start": [(_last(r), r) for r in l1sp],
            "RLHF, L1 to zero": [(_last(r), r) for r in l1],
            "the article's λ = 1e-4": [(_last(r), r) for r in self.runs("l1", study.ARTICLE)],
        }

    def tried(self, method: str) -> dict[float, float]:
        """Value -> the selection loss by which the tuning seed judged it."""
        return {
            run["settings"]["value"]: study.selection_loss(run)
            for run in runs_with(self.document, study.runs())
            if run["settings"]["method"] == method
        }

    def at_edge(self, method: str) -> bool:
        """Whether the smallest or the largest value that was tried was chosen."""
        values = self.tried(method)
        return self.chosen[method] in (min(values), max(values))

    def runs(self, method: str, value: float) -> list[Any]:
        """The runs of the seeds that judge."""
        return [
            r
            for r in self.document["runs"]
            if r["settings"]["seed"] != study.TUNING_SEED
            and (r["settings"]["method"], r["settings"]["value"]) == (method, value)
        ]

    def values(self, name: str, measure: str) -> list[float]:
        """A measure of a contender, one for each seed."""
        return [row[measure] for row, _ in self.contenders[name]]

    def past_least(self, name: str) -> list[float]:
        """How far its test loss lies above the least that the same run ever had."""
        return [
            row["test_loss"] - min(s["test_loss"] for s in run["result"]["steps"])
            for row, run in self.contenders[name]
        ]

    def gaps(self, name: str) -> list[float]:
        """Test loss above that of AdamW stopped early, seed by seed."""
        mine, theirs = self.values(name, "test_loss"), self.values(EARLY, "test_loss")
        return [a - b for a, b in zip(mine, theirs, strict=True)]

    def steps(self) -> tuple[list[float], list[float]]:
        """Cost in gradients, and ρ, of each step of RLHF pulled to the start by L2."""
        runs = self.runs("l2sp", self.chosen["l2sp"])
        costs = [b["cost"] - a["cost"] for r in runs for a, b in pairwise(r["result"]["steps"])]
        return costs, [row["rho"] for r in runs for row in r["result"]["steps"][1:]]

    def tuning(self) -> Table:
        return Table(
            [
                {
                    "method": NAMES[m],
                    "knob": knob,
                    "tried, with the selection loss": ", ".join(
                        f"{value:g}: {loss:.3f}" for value, loss in sorted(self.tried(m).items())
                    ),
                    "chosen": f"{self.chosen[m]:g}",
                    "at the edge": "yes" if self.at_edge(m) else "no",
                }
                for m, knob in KNOBS.items()
            ],
            caption="What the tuning seed chose (recorded)",
        )

    def ranking(self) -> Figure:
        """Test losses, the mean of the seeds and from the least to the largest."""
        rows = {name: self.values(name, "test_loss") for name in self.contenders}
        best, worst = (f(rows, key=lambda name: mean(rows[name])) for f in (min, max))
        return charts.ranking(
            {name: (mean(v), min(v), max(v)) for name, v in rows.items()},
            lines={"a coin": COIN},
            marked=[EARLY],
            title="Test loss on SST-2 (recorded)",
            x_title="nats: mean and range of three seeds",
            x_range=[0.45, 1],
            readout=f"Lowest: {best}, {mean(rows[best]):.3f}; highest: {worst}, "
            f"{mean(rows[worst]):.3f}.",
        )

    def pairs(self) -> Figure:
        """The gaps to AdamW stopped early."""
        rows = {name: self.gaps(name) for name in self.contenders if name != EARLY}
        seeds = len(next(iter(rows.values())))
        lower = sum(gap < 0 for row in rows.values() for gap in row)
        return charts.ranking(
            {name: (mean(v), min(v), max(v)) for name, v in rows.items()},
            lines={EARLY: 0},
            title="Above AdamW stopped early",
            x_title="difference of test losses in nats, by seed",
            x_range=[-0.05, 0.45],
            readout=f"In {lower} of {len(rows) * seeds} places is the loss below that of AdamW "
            "stopped early.",
        )

    def table(self) -> Table:
        def both(name: str, measure: str) -> str:
            found = self.values(name, measure)
            return f"{mean(found):.3f} ± {stdev(found):.3f}"

        return Table(
            [
                {
                    "": name,
                    "test loss": both(name, "test_loss"),
                    "above its own least": mean(self.past_least(name)),
                    "accuracy": both(name, "test_accuracy"),
                    "training labels learnt": mean(self.values(name, "train_accuracy")),
                    "cost in gradients": mean(self.values(name, "cost")),
                }
                for name in self.contenders
            ],
            caption="Three seeds, mean ± standard deviation (recorded)",
            formats={
                "above its own least": ".3f",
                "training labels learnt": ".3f",
                "cost in gradients": ".1f",
            },
        )


def _last(run: Mapping[str, Any]) -> dict[str, Any]:
    return run["result"]["steps"][-1]


def _stopped(run: Mapping[str, Any]) -> dict[str, Any]:
    return min(run["result"]["steps"], key=lambda row: row["val_loss"])
