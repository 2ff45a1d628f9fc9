"""Notebook 10: what was recorded of the whole BERT, on the reviews and on SST-2."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean, stdev
from typing import Any

from rlhf_lib.panels import charts
from rlhf_lib.panels.figure import Figure

from ..experiments.nb12_record import CuresRecord
from ..studies import nb10_sst2 as study
from ..table import Table
from ..verdicts.comparison import Comparison
from .gains import gain_chart
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


HELD = "rlhf l2sp"
NAMES = {
    HELD: "RLHF, L2 to the start",
    "adamw linear": "AdamW, falling rate",
    "adamw stopped": "AdamW, stopped early",
    "probe none": "the probe",
}
KNOBS = {"lambda_reg": "λ", "damping": "μ", "lr": "rate"}


class Sst2(CuresRecord):
    """The recorded comparison on SST-2: what tuning chose, and how the contenders did.

    document: the content of `nb10_sst2.json`.
    """

    def __init__(self, document: Mapping[str, Any]):
        super().__init__(study.CURES, study.STUDY, document)

    def tuning(self) -> Table:
        """What was chosen of how many."""
        effort = study.STUDY.search.effort(self.document)
        return Table(
            [
                {
                    "method": name,
                    "values tried": effort[method],
                    "chosen": ", ".join(
                        f"{KNOBS[k]} = {v:g}" for k, v in self.chosen[method].items() if k in KNOBS
                    ),
                }
                for method, name in NAMES.items()
            ],
            caption="What the tuning seeds chose (recorded)",
        )

    def ranking(self) -> Figure:
        """Test losses, the mean of the seeds and from the least to the largest."""
        rows = {name: self.measure(method, "test_loss") for method, name in NAMES.items()}
        best, worst = (f(rows, key=lambda name: mean(rows[name])) for f in (min, max))
        return charts.ranking(
            {name: (mean(v), min(v), max(v)) for name, v in rows.items()},
            lines={"a coin": COIN},
            title="Test loss on SST-2 (recorded)",
            x_title=f"nats: mean and range of {len(self.seeds)} seeds",
            x_range=[0.45, 0.85],
            readout=f"Lowest: {best}, {mean(rows[best]):.3f}; highest: {worst}, "
            f"{mean(rows[worst]):.3f}.",
        )

    def gains(self) -> dict[str, Comparison]:
        """How far RLHF, pulled to its start, is ahead of each other."""
        return {m: self.gain(HELD, m) for m in NAMES if m != HELD}

    def pairs(self) -> Figure:
        """The same, with intervals over seeds and sentences."""
        return gain_chart(
            {NAMES[m]: gain for m, gain in self.gains().items()},
            title="How far RLHF to the start is ahead",
            x_title="difference of test losses in nats, 95 % interval",
            x_range=[-0.05, 0.05],
        )

    def table(self) -> Table:
        def both(method: str, measure: str) -> str:
            found = self.measure(method, measure)
            return f"{mean(found):.3f} ± {stdev(found):.3f}"

        return Table(
            [
                {
                    "": name,
                    "test loss": both(method, "test_loss"),
                    "accuracy": both(method, "test_accuracy"),
                    "training labels learnt": self.mean(method, "train_accuracy"),
                    "cost in gradients": self.mean(method, "cost"),
                }
                for method, name in NAMES.items()
            ],
            caption=f"{len(self.seeds)} seeds, mean ± standard deviation (recorded)",
            formats={"training labels learnt": ".3f", "cost in gradients": ".1f"},
        )
