"""Notebook 04: products with a Hessian, their error, their memory, and a picture made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rlhf_lib.panels import Panel, charts, figures, log_slider, slider
from rlhf_lib.panels import choice as drop_down
from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.heatmap import HeatMap
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice, curve
from ..cost.memory import tensor_bytes

QUOTIENTS = ("one-sided", "central")
EXACT = ("double backward", "forward over reverse")
EPSILONS = [10 ** (-k / 2) for k in range(29)]  # from 1 down to 1e-14, two to the decade
SIZES = [m * 10**k for k in range(1, 6) for m in (1, 2, 5)] + [10**6]

curve(
    "04.digits",
    "ε shrinks from 1 to 10⁻¹⁴. How many digits of the one-sided quotient are right? Sketch it.",
    truth=[
        0.11,
        0.32,
        0.69,
        1.16,
        1.66,
        2.16,
        2.66,
        3.16,
        3.66,
        4.16,
        4.66,
        5.16,
        5.66,
        6.16,
        6.66,
        7.14,
        7.41,
        7.03,
        6.52,
        6.02,
        5.45,
        4.94,
        4.51,
        3.99,
        3.51,
        2.97,
        2.52,
        1.98,
        1.59,
    ],
    axes={
        "x_range": [0, 14],
        "y_range": [0, 16],
        "x_title": "x of ε = 10⁻ˣ",
        "y_title": "right digits",
    },
    why="The digits come one by one while ε shrinks, and go again one by one: from ε near 10⁻⁸ on, "
    "rounding eats what a smaller step gains.",
)
choice(
    "04.valley",
    "Where is the best ε of the central quotient, beside that of the one-sided one (float64)? And "
    "where in float32, with 7 digits in place of 16?",
    [
        "larger, and in float32 larger still",
        "larger, but in float32 smaller",
        "smaller, but in float32 larger",
        "smaller, and in float32 smaller still",
    ],
    truth=0,
    why="Its error falls faster and meets the rounding earlier; in float32 rounding is larger.",
)
choice(
    "04.block",
    "Words and positions hold over a third of the weights, the classifier 18 numbers. Which "
    "weights will curve the most?",
    [
        "words and positions",
        "queries and keys",
        "the feed-forward networks",
        "pooler and classifier",
    ],
    truth=3,
    why="They are under 5 % of the weights, and every score goes through them.",
)

Product = Callable[[str, str, float], Tensor]


def relative_error(product: Tensor, truth: Tensor) -> float:
    return float((product - truth).norm() / truth.norm())


def walk(
    product: Product, truth: Tensor, method: str, numbers: str, eps: float
) -> Iterator[Record]:
    """One record for each ε on the way from 1 down to `eps`, two to the decade."""
    for step, e in enumerate([e for e in EPSILONS if e > eps * 1.001] + [eps]):
        made = product(method, numbers, e)
        error = relative_error(made, truth)
        yield Record(step=step, loss=error, extra={"eps": e, "error": error, "product": made})


# Room for the names of former runs, such as 'central, float32, ε = 1e-07'.
ROOM = "double backward,"


def shrinking(series: Mapping[str, Any], **axes: Any) -> Figure:
    """Curves over ε on a logarithmic axis that runs from large to small, as a run does."""
    return figures.Curves(
        series,
        x=lambda r: r.extra["eps"],
        x_log=True,
        x_range=[1e-14, 1.0],
        x_title="ε (shrinks to the right)",
        room=ROOM,
        **axes,
    ).falling()


def error(product: Product, truth: Tensor) -> Panel:
    """`product(method, numbers, eps)` gives a product whose true value is `truth`."""
    entry = int(truth.abs().argmax())
    true = float(truth[entry])
    return Panel(
        lambda method, numbers, eps: walk(product, truth, method, numbers, eps),
        controls=[
            drop_down("method", "method", [*QUOTIENTS, *EXACT], "one-sided"),
            drop_down("numbers", "numbers", ["float64", "float32"]),
            log_slider("eps", "least ε", low=1e-14, high=1, value=1e-5),
        ],
        figures=[
            shrinking(
                {"error": lambda r: max(r.extra["error"], 1e-17)},
                reference={"∝ ε": ([1, 1e-14], [1, 1e-14]), "∝ ε²": ([1, 1e-8], [1, 1e-16])},
                title="How wrong is the product?",
                y_title="|product − Hv| / |Hv|",
                y_range=[1e-17, 1e1],
                y_log=True,
                goal={"y": 1e-4},
            ),
            shrinking(
                {"quotient": lambda r: float(r.extra["product"][entry])},
                reference={"the truth": ([1, 1e-14], [true, true])},
                title=f"Entry {entry} of the product",
                y_title="its value",
                y_range=sorted([0.0, 1.6 * true]),
            ),
        ],
        readout=_read_error,
        title="A Hessian-vector product from two gradients",
        goal="central, float32: end the run with a relative error below 1e-4",
        reached=reached("04.epsilon"),
        follow=True,
    )


def _read_error(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    last, best = records[-1].extra, min((r.extra for r in records), key=lambda e: e["error"])
    if values["method"] in EXACT:
        return f"{values['method']} has no ε: its relative error is {last['error']:.1e}."
    return (
        f"At ε = {last['eps']:.1e} the relative error is {last['error']:.1e}. The least on the "
        f"way was {best['error']:.1e}, at ε = {best['eps']:.1e}."
    )


def valleys(errors: Mapping[str, Sequence[float]], readout: str) -> Any:
    """A chart of error against ε, one curve of as many errors as `EPSILONS` for each name."""
    return charts.chart(
        {name: (EPSILONS, ys) for name, ys in errors.items()},
        title="Error against ε",
        x_title="ε (shrinks to the right)",
        y_title="relative error",
        x_range=[1e-14, 1.0],
        y_range=[1e-12, 10],
        x_log=True,
        y_log=True,
        height=340,
        readout=readout,
    ).falling()


# -- memory ---------------------------------------------------------------------------------------

Job = Callable[..., Tensor]
Problem = Callable[[int], tuple[Any, Tensor, Tensor]]


def peak(job: Job, problem: tuple[Any, Tensor, Tensor]) -> tuple[float, str]:
    """Bytes at the peak of one product, and why it was refused if it was."""
    try:
        return float(tensor_bytes(lambda: job(*problem))), ""
    except MemoryError as error:
        return math.nan, str(error)


def memory(jobs: Mapping[str, Job], problem: Problem, limit: float) -> Panel:
    """`jobs` maps a name to a function (f, theta, v) -> Hv; `problem(p)` makes such three."""

    def grow(method: str, p: float) -> Iterator[Record]:
        for step, n in enumerate(n for n in SIZES if n <= p):
            used, refusal = peak(jobs[method], problem(n))
            yield Record(step=step, loss=used, extra={"p": n, "bytes": used, "refusal": refusal})
            if refusal:
                return

    ends = [10.0, 1e6]
    axes = {
        "x": lambda r: r.extra["p"],
        "x_log": True,
        "x_range": [10, 1e6],
        "y_log": True,
        "x_title": "p, number of weights",
    }
    return Panel(
        grow,
        controls=[
            drop_down("method", "method", list(jobs)),
            log_slider("p", "largest p", low=10, high=1e6, value=1000),
        ],
        figures=[
            figures.Curves(
                {"peak": lambda r: r.extra["bytes"]},
                reference={
                    "matrix, 8p²": (ends, [8 * p**2 for p in ends]),
                    "vector, 8p": (ends, [8 * p for p in ends]),
                    "limit here": (ends, [limit, limit]),
                },
                title="Memory for one product Hv",
                y_title="bytes",
                y_range=[10, 1e13],
                room=ROOM,
                **axes,
            ),
            figures.Curves(
                {"peak": lambda r: r.extra["bytes"] / (8 * r.extra["p"])},
                reference={"matrix": (ends, ends)},
                title="The same, in vectors of length p",
                y_title="vectors",
                y_range=[1, 1e6],
                room=ROOM,
                **axes,
            ),
        ],
        readout=_read_memory,
        title="Memory against the number of weights",
        goal="the first p at which the dense matrix is refused, and what double backward takes "
        "there",
    )


def _read_memory(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    last = records[-1].extra
    if last["refusal"]:
        return f"p = {last['p']:,} is refused: {last['refusal']}."
    return (
        f"p = {last['p']:,}: {values['method']} took {last['bytes'] / 1e6:,.3g} MB at its peak, "
        f"that is {last['bytes'] / (8 * last['p']):,.1f} vectors of length p."
    )


# -- a picture of a matrix ------------------------------------------------------------------------


def places(model: torch.nn.Module) -> tuple[list[str], list[Tensor]]:
    """The groups of a BERT's weights in the order of the text, and each one's places in θ."""
    where = [_place(name) for name, w in model.named_parameters() for _ in range(w.numel())]
    groups = list(dict.fromkeys(where))
    return groups, [
        torch.tensor([i for i, g in enumerate(where) if g == group]) for group in groups
    ]


def _place(name: str) -> str:
    """The group that a parameter belongs to; LayerNorms go with the block before them."""
    if "embeddings" in name:
        return next((g for g in ("word", "position") if g in name), "other emb.")
    if "encoder" not in name:
        return "pooler" if "pooler" in name else "classifier"
    seen = "v, out" if "attention" in name else "feed-fwd"
    part = "q, k" if "query" in name or "key" in name else seen
    return f"{name.split('layer.')[1][0]}: {part}"


def painting(
    paint: Callable[[int, int], Iterable[tuple[Tensor, float]]],
    groups: Sequence[str],
    blocks: Tensor,
) -> Panel:
    """`paint(products, seed)` yields the painted blocks and their median error after each one."""

    def records(products: int, seed: int) -> Iterator[Record]:
        for step, (painted, off) in enumerate(paint(products, seed), 1):
            yield Record(step=step, loss=off, extra={"blocks": painted, "error": off})

    def read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
        last = records[-1]
        i, j = divmod(int(last.extra["blocks"].argmax()), len(groups))
        return (
            f"After {last.step} product{'s' * (last.step > 1)} per column, "
            f"{last.step * len(groups)} in all, a block is off by "
            f"{100 * last.extra['error']:.0f} % in the median. The largest is {groups[i]} with "
            f"{groups[j]}."
        )

    def block_map(title: str, values: Callable[[Any], Tensor]) -> Figure:
        return HeatMap(
            groups,
            values,
            low=0.01,
            high=2,
            title=title,
            unit="‖block‖",
            height=370,
            x_title="column group j",
            y_title="row group i",
            layout={"margin": {"l": 92, "b": 84}},
        )

    return Panel(
        records,
        controls=[
            slider("products", "products per column", low=1, high=40, step=1, value=1),
            slider("seed", "random numbers no.", low=0, high=9, step=1, value=0),
        ],
        figures=[
            block_map("From the whole matrix", lambda record: blocks),
            block_map("From products alone", lambda record: record.extra["blocks"]),
        ],
        readout=read,
        total=lambda values: values["products"],
        title="Where does a BERT curve?",
        goal="a median error below 10 % with as few products per column as possible",
    )
