"""Notebook 12: seven penalties and three other cures on BERT's pooler."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rlhf_lib.panels import Panel, charts, figures, log_slider
from rlhf_lib.panels import choice as choices
from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.histogram import Histogram
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice, number
from ..table import Table
from .nb12_recorded import by_loss, careless, gains, judged, untuned

__all__ = [
    "by_loss",
    "careless",
    "exact",
    "gains",
    "judged",
    "losses",
    "regularizers",
    "residuals",
    "settings",
    "shrinking",
    "table",
    "untuned",
]

NOISE = {"0 % wrong": 0.0, "20 % wrong": 0.2, "40 % wrong": 0.4}
PENALTIES = {
    "L1": "l1",
    "L2": "l2",
    "elastic net": "elastic-net",
    "pseudo-Huber": "pseudo-huber",
    "group lasso": "group-lasso",
    "L2-SP": "l2sp",
    "L1-SP": "l1sp",
}
OTHERS = ("dropout", "label smoothing", "decoupled decay")
METHODS = {"RLHF": "rlhf", "AdamW": "adamw"}

number(
    "12.exact",
    "How many of the seven penalties make something exact: weights that are zero, or that are as "
    "they began?",
    truth=4,
    within=0,
    why="Those with a kink: L1 and elastic net make single zeros, the group lasso whole rows, and "
    "L1-SP leaves weights where they began. L2, pseudo-Huber and L2-SP make nothing exact.",
)
choice(
    "12.list",
    "You send a fine-tuned model to somebody who has the pre-trained one, as a list of the weights "
    "that changed. Which penalty gives the shortest list?",
    list(PENALTIES),
    truth=6,
    why="Its kink lies where each weight began, so most weights stay exactly there.",
)
choice(
    "12.decay",
    "AdamW with weight decay, and Adam with an L2 penalty: are they the same?",
    [
        "yes: both take ηλw off a weight",
        "no: the penalty holds weights with large gradients less",
        "no: the penalty holds weights with large gradients more",
    ],
    truth=1,
    why="Adam divides the penalty's pull by the size of the gradients, too.",
)


def settings(kind: str, strength: float, method: str = "RLHF") -> dict[str, Any]:
    """What a run is given for a regularizer of the panel at this strength."""
    made: dict[str, Any] = {"method": METHODS[method]}
    if kind == "dropout":
        made["dropout"] = min(strength, 0.9)
    elif kind == "label smoothing":
        made["smoothing"] = min(strength, 0.9)
    elif kind == "decoupled decay":
        made = {"method": "adamw", "lambda_reg": strength}
    elif kind != "none":
        made |= {"regularizer": PENALTIES[kind], "lambda_reg": strength}
        if method == "AdamW":
            made["coupled"] = True
    return made


def regularizers(train: Callable[..., Iterable[Record]], samples: int) -> Panel:
    """`train(noise, method=, ...)` yields a run's records, see `settings`; `samples` are a
    gradient's."""

    def generate(kind, strength, labels, method):
        yield from train(NOISE[labels], **settings(kind, strength, method))

    def read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
        last, best = records[-1], min(records, key=lambda r: r.val_loss)
        m = last.extra
        return (
            f"Step {last.step}: training loss {last.train_loss:.3f}, validation loss "
            f"{last.val_loss:.3f} (accuracy {last.val_accuracy:.3f}, calibration error "
            f"{m['ece']:.3f}), least {best.val_loss:.3f} at step {best.step}. Exactly 0: "
            f"{m['zeros']:.1%} of the weights; exactly as they began: {m['unmoved']:.1%}. Distance "
            f"from the start {m['distance']:.2f}, norm {m['weight_norm']:.2f}. Cost "
            f"{last.cost / samples:.0f} gradients."
        )

    steps = {"x_title": "step (AdamW: epoch)", "x_range": [0, 8.2]}
    return Panel(
        generate,
        controls=[
            choices("kind", "regularizer", ["none", *PENALTIES, *OTHERS], "L1"),
            log_slider("strength", "strength", low=1e-5, high=10, value=1e-4, zero=True),
            choices("labels", "labels", list(NOISE), "20 % wrong"),
            choices("method", "method", list(METHODS)),
        ],
        figures=[
            figures.Curves(
                {"validation loss": "val_loss", "training loss": "train_loss"},
                marker_at_min="validation loss",
                title="Losses",
                goal={"y": 0.68},
                y_title="cross-entropy in nats",
                y_range=[0, 1.6],
                **steps,
            ),
            figures.Curves(
                {"exactly 0": _extra("zeros"), "as they began": _extra("unmoved")},
                title="What is exact",
                goal={"y": (0.95, 1.03)},
                y_title="share of the weights",
                y_range=[-0.03, 1.03],
                **steps,
            ),
            figures.Curves(
                {"from the start": _extra("distance"), "from zero": _extra("weight_norm")},
                title="How far, and how large",
                y_title="distance (2-norm)",
                y_range=[0, 10],
                **steps,
            ),
            Histogram(
                {
                    "before": _extra("weights before"),
                    "now": _extra("weights now"),
                    "change": _extra("change"),
                },
                most=1e6,
                title="Weights by size, in thirds of a decade",
                x_title="modulus of a weight, or of its change",
                y_title="how many",
            ),
        ],
        readout=read,
        total=9,
        title="Ten regularizers, two optimizers",
        goal="95 % of the weights exactly as they began, and a validation loss that ends below "
        "0.68, within 0.05 of its least value",
        keep=2,
        reached=reached("12.few_changes"),
    )


def _extra(name: str) -> Callable[[Record], Any]:
    return lambda record: record.extra.get(name)


# -- runs of the panel, side by side ------------------------------------------------------------

COIN = 0.693
Runs = Mapping[str, Sequence[Record]]


def exact(runs: Runs) -> Figure:
    """Which share of the weights is exact at the end of each run."""
    rows = {
        kind: [run[-1].extra[name] for name in ("zeros", "unmoved")] for kind, run in runs.items()
    }
    made = [kind for kind, row in rows.items() if max(row) > 0.5]
    return charts.cells(
        ["exactly 0", "exactly as they began"],
        list(rows),
        list(rows.values()),
        digits=2,
        title="Share of the weights that is exact",
        height=300,
        readout=f"Most weights are exact with {', '.join(made)}.",
    )


def losses(runs: Runs) -> Figure:
    """Validation loss at the end of each run, and back to the least on its way, the best first."""
    rows = {}
    for kind in sorted(runs, key=lambda kind: runs[kind][-1].val_loss):
        end, least = runs[kind][-1].val_loss, min(r.val_loss for r in runs[kind])
        rows[kind] = (end, least, end)
    return charts.ranking(
        rows,
        lines={"a coin": COIN},
        title="Validation loss: the end and the least",
        x_title="nats: a dot at the end, its line back to the least",
        x_range=[0.5, 3],
        readout=f"Without a penalty {rows['none'][0]:.2f} at the end and {rows['none'][1]:.2f} on "
        f"the way; the lowest end is {next(iter(rows.values()))[0]:.2f}.",
    )


def table(runs: Runs, strengths: Mapping[str, float]) -> Table:
    rows = [
        {
            "": kind,
            "strength": f"{strengths[kind]:g}",
            "calibration error": m["ece"],
            "distance from the start": m["distance"],
            "norm": m["weight_norm"],
        }
        for kind, m in ((kind, run[-1].extra) for kind, run in runs.items())
    ]
    return Table(
        rows,
        caption="RLHF after eight steps, 20 % of the labels wrong",
        formats={"calibration error": ".3f", "distance from the start": ".2f", "norm": ".2f"},
    )


def shrinking(sizes: Sequence[float], rest: Mapping[str, Sequence[float]]) -> Figure:
    """What several optimizers leave of weights that began at 1, by the size of the gradients."""
    return charts.cells(
        [f"{size:g}" for size in sizes],
        list(rest),
        list(rest.values()),
        digits=2,
        title="What is left of 1 after 300 steps",
        x_title="size of the gradients",
        height=240,
        readout="Plain gradient descent and AdamW take the same share at every size; Adam with an "
        "L2 penalty does not.",
    )


def residuals(left: Mapping[str, Sequence[float]]) -> Figure:
    """Relative residuals of conjugate gradients, product by product."""
    said = "; ".join(
        f"{name}: {row[-1]:.2g} after {len(row) - 1} products" for name, row in left.items()
    )
    return charts.chart(
        {name: (range(len(row)), row) for name, row in left.items()},
        kind="lines+markers",
        title="What conjugate gradients leave",
        x_title="products",
        x_range=[0, 41],
        y_title="|b − Ax| / |b|",
        y_log=True,
        y_range=[3e-4, 100],
        readout=f"{said}.",
    )
