"""Notebook 10: BERT's top layer by AdamW and by RLHF, and what was recorded of the whole model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from statistics import mean, stdev
from typing import Any

from rlhf_lib.panels import Panel, charts, figures, log_slider, slider
from rlhf_lib.panels import choice as choices
from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.histogram import Histogram
from rlhf_lib.panels.last_step import LastStep
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice, curve
from ..recorded import runs_with
from ..studies import nb10_sst2 as study
from ..table import Table

STEPS = 8  # of RLHF; AdamW's epochs
COIN = 0.693
GRADIENT = 200  # samples: the training set, whose gradient is the unit of cost

curve(
    "10.second",
    "Sketch the validation loss of RLHF without a penalty (λ = 0) over its first five steps.",
    truth=[0.691, 0.684, 0.651, 0.616, 0.733, 0.790],
    axes={
        "x_range": [0, 5],
        "y_range": [0.4, 1.1],
        "x_title": "step",
        "y_title": "validation loss in nats",
    },
    why="It falls and rises again: second order by itself is no cure.",
)
choice(
    "10.centre",
    "λ = 0.5: what will the penalty to the pre-trained weights and the penalty to zero do?",
    [
        "both hold the validation loss",
        "the one to the pre-trained weights holds it; the one to zero leaves a coin",
        "the one to zero holds it; the one to the pre-trained weights lets it rise",
    ],
    truth=1,
    why="The pre-trained weights are a good place, far from zero: a pull to zero undoes them.",
)
choice(
    "10.best",
    "Where will the run that is held end, compared with AdamW's best epoch?",
    ["lower: second order finds a better place", "at about the same loss", "higher"],
    truth=2,
    why="It is held at a minimum of its own, which lies above AdamW's best.",
)

PENALTIES = {  # the penalty and where it pulls to
    "L2 to pre-trained": "l2sp",
    "L2 to zero": "l2",
    "L1 to zero, the article's": "l1",
    "L1 to pre-trained": "l1sp",
}
FROZEN = {"5 of 6 layers": 1, "4 of 6 layers": 2, "3 of 6 layers": 3}  # how many are trained
NOISE = {"0 % wrong": 0.0, "20 % wrong": 0.2, "40 % wrong": 0.4}
CURVATURE = {"Gauss-Newton G": "ggn", "Hessian H": "hessian"}
SOLVERS = {"CG": "cg", "sample space": "dual", "the cheaper one": "auto"}

Run = Callable[..., Iterable[Record]]


def cost(record: Record) -> float:
    """Cost so far in gradients of the training set."""
    return record.cost / GRADIENT


def least(records: Sequence[Record]) -> Record:
    """The record of least validation loss."""
    return min(records, key=lambda r: r.val_loss)


def rise(records: Sequence[Record]) -> float:
    """How far the validation loss at the end is above its least value."""
    return records[-1].val_loss - least(records).val_loss


def fine_tuning(
    rlhf: Run, adamw: Run, first: Sequence[Record], adamw_records: Sequence[Record]
) -> Panel:
    """RLHF and AdamW on the reviews.

    rlhf: `rlhf(layers, noise, lambda_reg=, damping=, max_iter=, regularizer=, curvature=,
        solver=)` yields the records of a run with these layers trained and this share of wrong
        labels; adamw: `adamw(layers, noise)` likewise.
    first: records of a run with the starting values, the first state. adamw_records: of AdamW's
        run at the starting labels and layers, which is drawn beside.
    """
    runs = {(1, 0.2): list(adamw_records)}  # AdamW's, by trained layers and wrong labels

    def generate(lambda_reg, damping, max_iter, penalty, labels, frozen, curvature, solver, method):
        which = FROZEN[frozen], NOISE[labels]
        if method != "AdamW":
            yield from rlhf(
                *which,
                lambda_reg=lambda_reg,
                damping=damping,
                max_iter=max_iter,
                regularizer=PENALTIES[penalty],
                curvature=CURVATURE[curvature],
                solver=SOLVERS[solver],
            )
            return
        records = []
        for record in adamw(*which):
            records.append(record)
            yield record
        runs[which] = records

    def beside(x: Callable[[Record], float]) -> dict[str, Any]:
        """AdamW's curve for the labels and layers of the run that is drawn, if there is one."""

        def points(values):
            if values["method"] == "AdamW":
                return [], []
            run = runs.get((FROZEN[values["frozen"]], NOISE[values["labels"]]), [])
            return [x(r) for r in run], [r.val_loss for r in run]

        return {"AdamW, validation loss": points}

    size = {"height": 280}  # nine controls leave room for no more
    losses = {"y_title": "cross-entropy in nats", "y_range": [0, 1.3], **size}
    step = {"x_title": "step", "x_range": [0, STEPS + 0.2]}
    panel = Panel(
        generate,
        controls=[
            log_slider("lambda_reg", "λ", low=1e-7, high=10, value=0, zero=True),
            log_slider("damping", "μ at the start", low=1e-2, high=100, value=1, zero=True),
            slider("max_iter", "most CG products a step", low=1, high=16, step=1, value=8),
            choices("penalty", "penalty", list(PENALTIES)),
            choices("labels", "labels", list(NOISE), "20 % wrong"),
            choices("frozen", "frozen", list(FROZEN)),
            choices("curvature", "curvature", list(CURVATURE)),
            choices("solver", "solver", list(SOLVERS)),
            choices("method", "method", ["RLHF", "AdamW"]),
        ],
        figures=[
            figures.Curves(
                {"validation loss": "val_loss", "training loss": "train_loss"},
                reference=beside(lambda r: r.step),
                marker_at_min="validation loss",
                title="Step by step",
                goal={"y": 0.62},
                **step | {"x_title": "step (AdamW: epoch)"},
                **losses,
            ),
            figures.Curves(
                {"validation loss": "val_loss"},
                x=cost,
                reference=beside(cost),
                title="Validation loss against cost",
                x_title="cost in gradients of the training set",
                x_range=[0, 50],
                **losses,
            ),
            figures.Curves(
                {"validation loss": "val_loss"},
                x="seconds",
                reference=beside(lambda r: r.seconds),
                title="Validation loss against seconds",
                x_title="seconds on this machine",
                x_range=[0, 40],
                **losses,
            ),
            figures.Curves(
                {"ρ": "rho"},
                reference={"as promised": ([0, STEPS], [1, 1])},
                title="How far the quadratic model was right",
                y_title="ρ",
                y_range=[-3, 3],
                **step,
                **size,
            ),
            LastStep(
                _residuals,
                title="What CG leaves of the last system",
                x_title="CG iteration",
                x_range=[0, 16.2],
                y_title="relative residual",
                y_log=True,
                y_range=[1e-4, 10],
                **size,
            ),
            Histogram(
                {
                    "before": partial(_extra, "weights before"),
                    "now": partial(_extra, "weights now"),
                    "change": partial(_extra, "change"),
                },
                title="Weights by size, in thirds of a decade",
                x_title="modulus of a weight, or of its change",
                y_title="how many",
                **size,
            ),
        ],
        readout=_read,
        total=STEPS + 1,
        title="Fine-tuning BERT's top layer with RLHF",
        goal="a validation loss that ends below 0.62 and within 0.05 of its least value",
        keep=3,
        reached=reached("10.hold"),
        first=lambda values: first,
    )
    panel.figures[3].keep = 0  # ρ is read for one run at a time
    return panel


def whole_model(rlhf: Run, past: Mapping[str, Any]) -> Panel:
    """All weights, by `rlhf(lambda_reg, damping)`; `past` is a recorded run, its first state."""
    return Panel(
        rlhf,
        controls=[
            log_slider("lambda_reg", "λ", low=1e-3, high=10, value=0.5, zero=True),
            log_slider("damping", "μ at the start", low=1e-2, high=100, value=1, zero=True),
        ],
        figures=[
            figures.Curves(
                {"validation loss": "val_loss", "training loss": "train_loss"},
                title="All 22.7 million weights",
                x_title="step",
                y_title="cross-entropy in nats",
                x_range=[0, STEPS + 0.2],
                y_range=[0, 1.3],
            )
        ],
        readout=_read,
        total=STEPS + 1,
        title="Fine-tuning all of BERT with RLHF",
        on_release=False,
        first=lambda values: [
            Record(loss=row["train_loss"], **row) for row in past["result"]["records"]
        ],
    )


def _extra(name: str, record: Record) -> Any:
    return record.extra.get(name)


def _residuals(record: Record) -> Sequence[float]:
    return record.extra.get("residuals", ())


def _read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    last, best = records[-1], least(records)
    said = (
        f"Step {last.step}: training loss {last.train_loss:.3f}, validation loss "
        f"{last.val_loss:.3f} (accuracy {last.val_accuracy:.3f}), {rise(records):.3f} above its "
        f"least, at step {best.step}. Cost {cost(last):.0f} gradients, {last.seconds:.0f} s."
    )
    if _residuals(last):
        said += (
            f" μ = {last.damping:.2g}, ρ = {last.rho:.2f}, “{last.reason.replace('_', ' ')}” after "
            f"{last.products} products, residual "
            f"{_residuals(last)[-1]:.1g}."
        )
    if "weights now" in last.extra:
        said += f" Exactly 0: {last.extra['weights now'][0]:,} weights."
    return said


# -- what the cells draw ------------------------------------------------------------------------


def overfitting(records: Sequence[Record]) -> Figure:
    """Training and validation loss of a run over its epochs."""
    best, end = least(records), records[-1]
    return charts.chart(
        {
            "validation loss": ([r.step for r in records], [r.val_loss for r in records]),
            "training loss": ([r.step for r in records], [r.train_loss for r in records]),
        },
        kind="lines+markers",
        lines={"a coin": COIN},
        title="AdamW, epoch by epoch",
        x_title="epoch",
        x_range=[0, STEPS],
        y_title="cross-entropy in nats",
        y_range=[0, 1.2],
        readout=f"Validation loss {best.val_loss:.2f} at epoch {best.step}, {end.val_loss:.2f} "
        f"at the end; accuracy {best.val_accuracy:.2f} and {end.val_accuracy:.2f}. "
        f"{end.train_accuracy:.0%} of the training labels are learnt.",
    )


def against_cost(runs: Mapping[str, Sequence[Record]]) -> Figure:
    """The validation losses of several runs over their cost."""
    ends = "; ".join(
        f"{name} {least(run).val_loss:.2f} and {run[-1].val_loss:.2f}" for name, run in runs.items()
    )
    return charts.chart(
        {name: ([cost(r) for r in run], [r.val_loss for r in run]) for name, run in runs.items()},
        kind="lines+markers",
        lines={"a coin": COIN},
        title="Validation loss against cost",
        x_title="cost in gradients of the training set",
        x_range=[0, 30],
        y_title="cross-entropy in nats",
        y_range=[0.45, 1.05],
        readout=f"Least value and end: {ends}.",
    )


def promises(records: Sequence[Record]) -> Figure:
    """ρ of each step of a run, and the damping that it led to."""
    steps = records[1:]
    at = [r.step for r in steps]
    return charts.chart(
        {"ρ": (at, [r.rho for r in steps]), "damping μ": (at, [r.damping for r in steps])},
        kind="lines+markers",
        lines={"as promised": 1, "uphill below": 0},
        title="ρ and μ of the run that is held",
        x_title="step",
        x_range=[0.8, STEPS + 0.2],
        y_title="ρ, and μ",
        y_range=[-1.2, 2],
        readout=f"ρ begins at {steps[0].rho:.2f} and 1 is a kept promise; "
        f"{sum(r.rho < 0 for r in steps)} of {len(steps)} full steps went uphill.",
    )


def whole_recorded(past: Mapping[str, Any]) -> Figure:
    """The recorded runs of the whole model over their cost."""
    names = {"adamw": "AdamW", "rlhf": "RLHF"}
    runs = {names[run["settings"]["method"]]: run["result"]["records"] for run in past["runs"]}
    said = "; ".join(
        f"{name}: least {min(r['val_loss'] for r in rows):.3f}, end {rows[-1]['val_loss']:.3f} "
        f"after {rows[-1]['cost'] / GRADIENT:.1f} gradients and {rows[-1]['seconds']:.0f} s, "
        f"training labels learnt {rows[-1]['train_accuracy']:.3f}"
        for name, rows in runs.items()
    )
    return charts.chart(
        {
            name: ([r["cost"] / GRADIENT for r in rows], [r["val_loss"] for r in rows])
            for name, rows in runs.items()
        },
        kind="lines+markers",
        lines={"a coin": COIN},
        title="All 22.7 million weights (recorded)",
        x_title="cost in gradients of the training set",
        x_range=[0, 28],
        y_title="validation loss in nats",
        y_range=[0.3, 1],
        readout=f"{said}.",
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
