"""Notebook 16: a differential equation under the hand, a head without a validation set, the map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rlhf_lib.panels import Panel, figures, log_slider, slider
from rlhf_lib.panels import choice as options
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice
from ..checks.nb16 import CLOSE, WITHIN
from ..experiments.nb16_pinn import Pinn
from ..experiments.nb16_race import Look

choice(
    "16.equation",
    "A network is to solve a differential equation in one dimension, within a few seconds. Adam, "
    "its rate tuned and decaying, against RLHF: whose error is smaller in the end, by what factor?",
    ["Adam's, by 10 or more", "they are alike, within a factor of 3", "RLHF's, by 10 or more"],
    truth=2,
    why="The curvatures of this problem are spread over many powers of ten; steps along the "
    "gradient see only the largest.",
)
choice(
    "16.autoencoder",
    "And the problem that made Hessian-free optimization famous in 2010, a deep autoencoder "
    "(here a small one), against Adam with a tuned rate?",
    ["RLHF is ahead by far", "RLHF is not ahead by far"],
    truth=1,
    why="The wins of 2010 were over gradient descent; Adam came in 2014.",
)

Runs = Callable[..., Iterable[tuple[Look, Pinn]]]
MOST = 3000  # gradients


def pinn(train: Runs, equations: Sequence[str], methods: Sequence[str]) -> Panel:
    """`train(equation, method, width, damping, budget)` yields the looks of a run with its
    problem."""

    def generate(equation, method, width, damping, budget):
        for look, problem in train(equation, method, round(width), damping, budget):
            x = problem.cut
            yield Record(
                step=look.step,
                loss=problem.closure()[0].item(),
                cost=look.cost,
                seconds=look.seconds,
                extra={
                    "error": look.error,
                    "x": x[:, 0].tolist(),
                    "u": problem.values(x).tolist(),
                    "exact": problem.exact(x).tolist(),
                },
            )

    def solution(records: Sequence[Record], values: Mapping[str, Any]) -> list[Any]:
        last = records[-1].extra if records else {"x": [], "u": [], "exact": []}
        return [
            {"x": last["x"], "y": last["exact"], "name": "exact", "mode": "lines",
             "line": {"color": figures.GREY, "width": 5}},
            {"x": last["x"], "y": last["u"], "name": "network", "mode": "lines",
             "line": {"color": figures.PALETTE[0], "width": 2, "dash": "dash"}},
        ]  # fmt: skip

    axes = {"y_title": "relative error", "y_log": True, "y_range": [3e-7, 2]}
    return Panel(
        generate,
        controls=[
            options("equation", "equation", list(equations)),
            options("method", "method", list(methods)),
            slider("width", "width", low=5, high=50, step=5, value=20),
            log_slider("damping", "μ at the start", low=1e-6, high=100, value=1),
            slider("budget", "budget", low=250, high=MOST, step=250, value=500),
        ],
        figures=[
            figures.Curves(
                {"error": _error},
                x="cost",
                title="Error against gradients",
                x_title="cost in gradient-equivalents",
                x_range=[0, MOST],
                goal={"x": (0, WITHIN), "y": (0, CLOSE)},
                **axes,
            ),
            figures.Curves(
                {"error": _error},
                x="seconds",
                title="The same error against seconds",
                x_title="CPU seconds",
                x_range=[0.01, 30],
                x_log=True,
                **axes,
            ),
            figures.Figure(
                solution,
                title="The solution (in 2-D at y = 0.25)",
                x_title="x",
                y_title="u",
                x_range=[0, 1],
                y_range=[-0.8, 1.6],
                legend=True,
            ),
        ],
        readout=_read,
        title="An equation solved by a network",
        goal=f"in 1-D, by RLHF, an error below {CLOSE:.5f} within {WITHIN:,} gradients",
        reached=reached("16.equation"),
    )


def _error(record: Record) -> float:
    return record.extra["error"]


def _read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    last = records[-1]
    return (
        f"{values['equation']}, {values['method']}, width {values['width']:g}: step {last.step}, "
        f"{last.cost:.0f} gradients, {last.seconds:.1f} CPU seconds, relative error "
        f"{_error(last):.1e}, loss {last.loss:.1e}."
    )


Judged = Iterator[Mapping[str, float]]


def head(judge: Callable[[int, float, int], Judged], lambdas: Sequence[float]) -> Panel:
    """`judge(n, wrong, sample)` yields for each of lambdas what the judges say of it, and last what
    each took: "loo", "folds", "unseen", and "loo seconds", "folds seconds"."""

    def generate(n, wrong, sample):
        for step, found in enumerate(judge(round(n), wrong, round(sample)), 1):
            yield Record(step=step, loss=found["loo"], extra=dict(found))

    def read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
        extra = [r.extra for r in records]

        def chosen(by: str) -> str:
            best = min(extra, key=lambda e: e[by])
            return f"{best['lambda']:.2g} (unseen {best['unseen']:.3f})"

        return (
            f"Leave-one-out chooses λ = {chosen('loo')} in {extra[-1]['loo seconds']:.2f} CPU "
            f"seconds, five folds {chosen('folds')} in {extra[-1]['folds seconds']:.2f}; the best "
            f"there is for unseen reviews: {chosen('unseen')}."
        )

    names = {"leave-one-out": "loo", "five folds": "folds", "unseen": "unseen"}
    return Panel(
        generate,
        controls=[
            slider("n", "reviews n", low=20, high=200, step=20, value=60),
            slider("wrong", "wrong labels", low=0, high=0.4, step=0.1, value=0),
            slider("sample", "sample", low=0, high=9, step=1, value=0),
        ],
        figures=[
            figures.Curves(
                {name: (lambda r, key=key: r.extra[key]) for name, key in names.items()},
                x=lambda r: r.extra["lambda"],
                title="What three judges say of each λ",
                x_title="λ",
                x_log=True,
                x_range=[min(lambdas), max(lambdas)],
                y_title="cross-entropy (nats)",
                y_range=[0.3, 1.2],
                height=340,
            )
        ],
        readout=read,
        total=len(lambdas),
        title="A head on frozen features, nothing set aside",
        keep=1,
    )
