"""Notebook 10: AdamW's overfitting curve, and the true BERT with the optimizer's own knobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from rlhf_lib.panels import Panel, charts, figures, log_slider, slider
from rlhf_lib.panels import choice as choices
from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.histogram import Histogram
from rlhf_lib.panels.last_step import LastStep
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice, curve

STEPS, EPOCHS = 8, 10  # of RLHF; AdamW's
COIN = 0.693
GRADIENT = 200  # samples: the training set, whose gradient is the unit of cost
LOSSES = {"y_title": "cross-entropy in nats", "y_range": [0, 1.5]}

curve(
    "10.second",
    "Sketch the validation loss over 24 steps from the probe without a penalty: λ = 0, μ = 0.3.",
    truth=[0.517, 0.555, 0.614, 0.661, 0.7, 0.731, 0.758, 0.782, 0.802, 0.82, 0.837, 0.852, 0.866],
    axes={
        "x_range": [0, 24],
        "y_range": [0.3, 1.1],
        "x_title": "step",
        "y_title": "validation loss in nats",
    },
    why="It rises from the second step on: second order by itself is no cure.",
)
choice(
    "10.centre",
    "λ = 1: what will the penalty to the start and the penalty to zero do?",
    [
        "both hold the validation loss",
        "the one to the start holds it; the one to zero undoes what pre-training left",
        "the one to zero holds it; the one to the start lets it rise",
    ],
    truth=1,
    why="The pre-trained weights are a good place, far from zero: a pull to zero undoes them.",
)
choice(
    "10.best",
    "Where will a run that λ holds end?",
    [
        "below the probe and below AdamW's best epoch",
        "at about the probe, above AdamW's best epoch",
        "far above both",
    ],
    truth=1,
    why="It leaves the probe and lands next to it: the penalty buys an end, not a better model.",
)

PENALTIES = {  # the penalty and where it pulls to
    "L2 to the start": "l2sp",
    "L2 to zero": "l2",
    "L1 to zero": "l1",
    "L1 to the start": "l1sp",
}
CURVATURE = {"Gauss-Newton G": "ggn", "Hessian H": "hessian"}

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


def records_of(rows: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Recorded rows as the Records that they were."""
    return [Record(loss=row["train_loss"], **row) for row in rows]


def ends(runs: Mapping[str, Sequence[Record]]) -> str:
    """Where each run's validation loss ends, in words."""
    return "; ".join(f"{name}: {run[-1].val_loss:.3f}" for name, run in runs.items())


def over_steps(runs: Mapping[str, Sequence[Record]], **axes: Any) -> Figure:
    """The validation losses of several runs over their steps."""
    return charts.chart(
        {name: ([r.step for r in run], [r.val_loss for r in run]) for name, run in runs.items()},
        **{"x_title": "step", "y_title": "validation loss in nats"} | axes,
    )


def knobs(rlhf: Run, first: Sequence[Record]) -> Panel:
    """The true BERT as `RLHFOptimizer` runs any model.

    rlhf: `rlhf(lambda_reg=, damping=, max_iter=, regularizer=, curvature=)` yields the records.
    first: records of a run with the starting values, the first state.
    """

    def generate(lambda_reg, damping, max_iter, penalty, curvature):
        return rlhf(
            lambda_reg=lambda_reg,
            damping=damping,
            max_iter=max_iter,
            regularizer=PENALTIES[penalty],
            curvature=CURVATURE[curvature],
        )

    step = {"x_title": "step", "x_range": [0, STEPS + 0.2]}
    panel = Panel(
        generate,
        controls=[
            log_slider("lambda_reg", "λ", low=1e-7, high=10, value=0, zero=True),
            log_slider("damping", "μ at the start", low=1e-2, high=100, value=1, zero=True),
            slider("max_iter", "most CG products a step", low=1, high=16, step=1, value=8),
            choices("penalty", "penalty", list(PENALTIES)),
            choices("curvature", "curvature", list(CURVATURE)),
        ],
        figures=[
            figures.Curves(
                {"validation loss": "val_loss", "training loss": "train_loss"},
                marker_at_min="validation loss",
                title="Step by step",
                goal={"y": 0.57},
                **step,
                **LOSSES,
            ),
            figures.Curves(
                {"ρ": "rho"},
                reference={"as promised": ([0, STEPS], [1, 1])},
                title="How far the quadratic model was right",
                y_title="ρ",
                y_range=[-3, 3],
                **step,
            ),
            LastStep(
                _residuals,
                title="What CG leaves of the last system",
                x_title="CG iteration",
                x_range=[0, 16.2],
                y_title="relative residual",
                y_log=True,
                y_range=[1e-4, 10],
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
            ),
        ],
        readout=_read,
        total=STEPS + 1,
        title="BERT's top layer, by the optimizer",
        goal="with the Hessian, a validation loss that ends below 0.57 and within 0.05 of its "
        "least value",
        keep=3,
        reached=reached("10.hessian"),
        first=lambda values: first,
    )
    panel.figures[1].keep = 0  # ρ is read for one run at a time
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
                title="All 22.6 million weights",
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
        first=lambda values: records_of(past["result"]["records"]),
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


def overfitting(records: Sequence[Record], probe: Record) -> Figure:
    """Training and validation loss of a run over its epochs, and the probe's validation loss."""
    best, end = least(records), records[-1]
    return charts.chart(
        {
            "validation loss": ([r.step for r in records], [r.val_loss for r in records]),
            "training loss": ([r.step for r in records], [r.train_loss for r in records]),
        },
        kind="lines+markers",
        lines={"a coin": COIN, "the probe": probe.val_loss},
        title="AdamW, epoch by epoch",
        x_title="epoch",
        x_range=[0, EPOCHS],
        y_title="cross-entropy in nats",
        y_range=[0, 1.2],
        readout=f"Validation loss {best.val_loss:.2f} at epoch {best.step}, {end.val_loss:.2f} "
        f"at the end; accuracy {best.val_accuracy:.2f} and {end.val_accuracy:.2f}. "
        f"{end.train_accuracy:.0%} of the training labels are learnt.",
    )
