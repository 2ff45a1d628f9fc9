"""Notebook 00: ridge regression by Newton steps, with a penalty λ and with a damping μ."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rlhf_lib.panels import Panel, figures, log_slider
from rlhf_lib.record import Record

from ..checking.predictions import choice, curve

TOGETHER = "λ = 0.01 with μ = 0, against μ = 0.01 with λ = 0: whose weights are longer"
# The test error after steps 1 to 41 with μ = 0.01 and λ = 0; a claim computes it again.
CLIMB = [
    0.0925,
    0.0732,
    0.0713,
    0.0723,
    0.0738,
    0.0755,
    0.0773,
    0.0792,
    0.0811,
    0.0831,
    0.0852,
    0.0875,
    0.0897,
    0.0921,
    0.0945,
    0.0969,
    0.0994,
    0.1018,
    0.1042,
    0.1067,
    0.1090,
    0.1114,
    0.1137,
    0.1159,
    0.1181,
    0.1202,
    0.1223,
    0.1243,
    0.1263,
    0.1281,
    0.1299,
    0.1317,
    0.1334,
    0.1350,
    0.1365,
    0.1380,
    0.1395,
    0.1409,
    0.1422,
    0.1435,
    0.1447,
]

choice(
    "00.after_one",
    f"{TOGETHER} after one step?",
    ["those with λ", "those with μ", "neither: they are the same"],
    truth=2,
    why="At θ = 0 the penalty has no gradient yet, and λ and μ stand in the same place of the "
    "formula.",
)
choice(
    "00.after_all",
    f"{TOGETHER} after 100 steps?",
    ["those with λ", "those with μ", "neither: they are the same"],
    truth=1,
    why="The run with λ rests where its penalized loss is least; the one with μ walks on to the "
    "least-squares fit.",
)
curve(
    "00.error",
    "The run with μ = 0.01 and no penalty: sketch its test error from step 1 to step 41. (After "
    "step 1 it is 0.09; the least-squares fit has 0.18.)",
    truth=CLIMB,
    axes={"x_range": [1, 41], "y_range": [0, 0.2], "x_title": "step", "y_title": "test error"},
    why="It falls at first, for the first step stopped short, and climbs once the noise is being "
    "fitted.",
)


def ridge(descend: Callable[..., Iterable[Record]], steps: int) -> Panel:
    """`descend(lambda_reg, damping)` yields `steps` + 1 records with `theta` and `val_loss`."""
    across = {"x_title": "step (logarithmic axis)", "x_range": [1, steps], "x_log": True}
    return Panel(
        descend,
        controls=[
            log_slider("lambda_reg", "λ", low=1e-4, high=1, value=0.01, zero=True),
            log_slider("damping", "damping μ", low=1e-4, high=1, value=0.1, zero=True),
        ],
        figures=[
            figures.Curves(
                {"‖θ‖": lambda r: float(r.theta.norm())},
                title="How far the weights have come",
                y_title="length of θ",
                y_range=[0, 8],
                **across,
            ),
            figures.Curves(
                {"test error": "val_loss"},
                title="Error on new data",
                y_title="mean squared error",
                y_range=[0, 0.4],
                goal={"y": (0, 0.08), "label": "exercise 1"},
                **across,
            ),
        ],
        readout=_read,
        total=steps + 1,
        title="Ridge regression by Newton steps",
        goal="two runs with equal first steps, one with λ alone, one with μ alone",
        reached=two_alike(),
        follow=True,
    )


def two_alike() -> Callable[[Sequence[Record], dict[str, Any]], bool]:
    """Whether a run with λ alone and one with μ alone have had first steps of one length."""
    first: dict[str, float] = {}

    def reached(records: Sequence[Record], values: dict[str, Any]) -> bool:
        alone = [name for name in ("lambda_reg", "damping") if values[name] > 0]
        if len(alone) != 1 or len(records) < 2:
            return False
        first[alone[0]] = float(records[1].theta.norm())
        return len(first) == 2 and math.isclose(*first.values(), rel_tol=0.01)

    return reached


def _read(records: Sequence[Record], values: dict[str, Any]) -> str:
    if len(records) < 2:
        return "Not a step yet."
    first, last = records[1], records[-1]
    return (
        f"‖θ‖ is {float(first.theta.norm()):.2f} after step 1 and {float(last.theta.norm()):.2f} "
        f"after step {last.step}; the test error is {first.val_loss:.3f} after step 1 and "
        f"{last.val_loss:.3f} at the end. The last step has the length "
        f"{float((last.theta - records[-2].theta).norm()):.2g}."
    )
