"""Bars of costs and curves of training, as SVG: Okabe-Ito colours, and a dash for each of them."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from pathlib import Path

from rlhf_lib.curvature import GaussNewtonOperator, HessianOperator

from .svg import INK, Drawing
from .tables import MODE_ORDER, number

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("", "8 3", "2 2", "8 3 2 3", "12 4", "4 4", "1 3")
OURS, OTHERS = PALETTE[0], PALETTE[4]
# By counting matrix products with the forward pass kept.
FLOORS = {"Hv": HessianOperator.product_cost, "Gv": GaussNewtonOperator.product_cost}


def _bars(drawing: Drawing, top: float, title: str, rows, floor: float | None) -> float:
    """One group of horizontal bars; rows are (name, value, note). Returns where it ends."""
    left, width, height = 300, 380, 18
    most = max([value for _, value, _ in rows if value] + [floor or 0.0]) or 1.0
    drawing.text(20, top, title, bold=True)
    y = top + 12
    for name, value, note in rows:
        drawing.text(left - 8, y + 13, name, "end", 11)
        if value:
            colour = OURS if name.startswith("rlhf_lib") else OTHERS
            drawing.rectangle(left, y + 2, value / most * width, height - 4, colour)
            note = f"{number(value)}{note}"
        end = left + (value or 0.0) / most * width
        drawing.text(end + 5, y + 13, note, size=11)
        y += height
    if floor:
        x = left + floor / most * width
        drawing.line([(x, top + 10), (x, y + 2)], INK, 1.5, "5 3")
        drawing.text(x, y + 14, f"floor by arithmetic {number(floor)}", "middle", 10)
    return y + 36


def products(results: dict, path: Path) -> None:
    """Costs in gradients of every contender: a group of bars per problem and quantity."""
    mode = next(filter(results["modes"].__contains__, MODE_ORDER))
    total = f"set-up + {results['products']} products"
    parts = {
        "Hv": [("product", "one Hv"), (total, f"set-up + {results['products']} Hv")],
        "Gv": [("product", "one Gv"), (total, f"set-up + {results['products']} Gv")],
        "solve": [("solve", "damped solve to 1e-4")],
    }
    groups = []
    for problem in results["problems"]:
        for quantity, shown in parts.items():
            entries = [e for e in problem["results"] if e["quantity"] == quantity]
            for part, words in shown if entries else ():
                rows = []
                for e in entries:
                    name = e["contender"].split(", as ")[0]
                    name += ", CG of rlhf_lib" if e["contender"].endswith("CG of rlhf_lib") else ""
                    if e["error"]:
                        rows.append((name, None, e["error"].split(":")[0]))
                        continue
                    note = " (a wrong result)" if e["wrong"] else ""
                    rows.append((name, e["timings"][mode][part]["ratio"], note))
                floor = FLOORS.get(quantity) if part == "product" else None
                groups.append((f"{problem['title']}: {words}", rows, floor))
    height = 60 + sum(48 + 18 * len(rows) for _, rows, _ in groups)
    drawing = Drawing(860, height, "Cost of products and solves in gradients, by library")
    drawing.text(
        20,
        26,
        f"Cost in gradients (forward + backward), {results['modes'][mode]}; less is better",
        size=14,
        bold=True,
    )
    y = 56.0
    for title, rows, floor in groups:
        y = _bars(drawing, y, title, rows, floor)
    drawing.save(path)


def on_grid(run: dict, field: str, grid: list[float]) -> list[float]:
    """The last known value of a run's field at each cost of the grid."""
    return [run[field][bisect_right(run["cost"], x * (1 + 1e-9)) - 1] for x in grid]


def training(results: dict, path: Path) -> None:
    """Training and validation loss against cost: median over the seeds, and least to most."""
    fields = {"train_loss": "training loss", "val_loss": "validation loss"}
    width, height = 420, 260
    drawing = Drawing(
        2 * width + 40,
        len(results["tasks"]) * (height + 60) + 130,
        "Training and validation loss against cost in gradients, by optimizer",
    )
    names = [m["method"] for m in results["tasks"][0]["methods"]]
    for row, task in enumerate(results["tasks"]):
        top = 30 + row * (height + 60)
        drawing.text(20, top - 8, task["title"], size=13, bold=True)
        for column, (field, words) in enumerate(fields.items()):
            _curves(
                drawing,
                70 + column * width,
                top + 10,
                width - 70,
                height - 30,
                task,
                field,
                words,
                names,
            )
    y = len(results["tasks"]) * (height + 60) + 44
    for i, name in enumerate(names):
        x, line = 30 + 290 * (i % 3), y + 24 * (i // 3)
        drawing.line([(x, line - 4), (x + 40, line - 4)], PALETTE[i], 2.5, DASHES[i])
        drawing.text(x + 48, line, name, size=12)
    drawing.save(path)


def _curves(drawing, left, top, width, height, task, field, words, names) -> None:
    """One pair of axes, the loss on a logarithmic scale."""
    grid = [task["budget"] * i / 100 for i in range(101)]
    curves = {
        m["method"]: list(zip(*(on_grid(run, field, grid) for run in m["runs"]), strict=True))
        for m in task["methods"]
        if not m["error"]
    }
    values = [max(v, 1e-12) for curve in curves.values() for seeds in curve for v in seeds]
    if not values:
        return
    # A run that fits its data to rounding would squeeze all others into a line.
    low = max(math.log10(min(values)), math.log10(max(values)) - 4)
    high = math.log10(max(values))
    high = max(high, low + 0.1)

    def at(x: float, value: float) -> tuple[float, float]:
        share = (min(max(math.log10(max(value, 1e-12)), low), high) - low) / (high - low)
        return left + x / task["budget"] * width, top + (1 - share) * height

    for power in range(math.floor(low), math.ceil(high) + 1):
        for factor in (1, 2, 5):
            value = factor * 10.0**power
            if low <= math.log10(value) <= high and (factor == 1 or high - low < 2.2):
                y = at(0, value)[1]
                drawing.line([(left, y), (left + width, y)], "#dddddd")
                drawing.text(left - 6, y + 4, f"{value:g}", "end", 10)
    for i in range(6):
        x = left + i / 5 * width
        drawing.line([(x, top + height), (x, top + height + 4)])
        drawing.text(x, top + height + 17, f"{task['budget'] * i / 5:g}", "middle", 10)
    drawing.line([(left, top), (left, top + height), (left + width, top + height)])
    drawing.text(
        left + width / 2, top + height + 33, "cost in gradients of the training set", "middle", 11
    )
    drawing.text(left - 44, top + height / 2, f"{words} in nats", "middle", 11, turned=True)
    for name, curve in curves.items():
        i = names.index(name)
        upper = [at(x, max(seeds)) for x, seeds in zip(grid, curve, strict=True)]
        lower = [at(x, min(seeds)) for x, seeds in zip(grid, curve, strict=True)]
        drawing.band(upper + lower[::-1], PALETTE[i])
        middle = [at(x, statistics.median(s)) for x, s in zip(grid, curve, strict=True)]
        drawing.line(middle, PALETTE[i], 2.0, DASHES[i])
