"""Notebook 01: overfitting, of a polynomial, of random features and of small networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from rlhf_lib.panels import Panel, log_slider, slider
from rlhf_lib.panels import choice as menu
from rlhf_lib.panels.bands import Bands
from rlhf_lib.panels.ticks import tick_text
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice, curve
from .sketch import Sketch

# The validation errors of panel 1's first state over its λ; a claim computes them again.
VALLEY = [
    3.5596,
    3.5589,
    3.5579,
    3.5564,
    3.5541,
    3.5509,
    3.5461,
    3.5390,
    3.5288,
    3.5138,
    3.4921,
    3.4607,
    3.4156,
    3.3513,
    3.2609,
    3.1362,
    2.9683,
    2.7497,
    2.4770,
    2.1546,
    1.7980,
    1.4332,
    1.0918,
    0.8008,
    0.5746,
    0.4130,
    0.3051,
    0.2367,
    0.1950,
    0.1709,
    0.1589,
    0.1565,
    0.1640,
    0.1835,
    0.2183,
    0.2717,
    0.3444,
    0.4332,
    0.5308,
    0.6280,
    0.7167,
    0.7922,
    0.8526,
]

curve(
    "01.validation",
    "13 coefficients, 20 measurements, noise 0.3: sketch the validation error as λ grows. (Without "
    "a penalty it is 3.6.)",
    truth=VALLEY,
    axes={
        "x_range": ["0.000001", "10"],
        "y_range": [0, 4],
        "x_title": "λ (logarithmic axis)",
        "y_title": "validation error",
    },
    why="It falls as long as what the penalty takes away was fitted to noise, and rises when it "
    "takes away the curve itself.",
)
choice(
    "01.moves",
    "You measure at 80 places instead of 20. In another laboratory there are 20, with twice the "
    "noise. How does the best λ move, on average?",
    [
        "up with more measurements, up with more noise",
        "up with more measurements, down with more noise",
        "down with more measurements, up with more noise",
        "down with more measurements, down with more noise",
    ],
    truth=2,
    why="Many or exact measurements need little holding back.",
)
choice(
    "01.peak",
    "100 digits to learn from, and no penalty. What does the validation error do as the number of "
    "features p grows from 60 over 100 to 2000?",
    [
        "it falls all the way",
        "it rises all the way",
        "it rises up to p = 100 and stays high from there on",
        "it rises up to p = 100 and then falls below where it began",
    ],
    truth=3,
    why="At p = 100 there is one way to fit the digits, with huge weights; beyond there are many, "
    "and the shortest gets shorter.",
)

choice(
    "01.filters",
    "The same effective degrees of freedom, left by a penalty and by gradient descent that is "
    "stopped. Which of the two holds the flat directions back more, and the steep ones less?",
    ["the penalty", "gradient descent", "neither: equal sums, equal shares"],
    truth=1,
    why="1 − (1 − ηh)^k rises from 0 to 1 over a narrower range of h than h/(h + λ) does.",
)

Runs = Callable[..., Iterable[Record]]
LEAST_LAMBDA, MOST_LAMBDA = 1e-6, 10.0
LAMBDA_AXIS = {"x_title": "λ", "x_range": [LEAST_LAMBDA, MOST_LAMBDA], "x_log": True}

# -- panel 1 -----------------------------------------------------------------------------------


def one_set(errors: Runs, places: Tensor, truth: Tensor, sweep: Sequence[float]) -> Panel:
    """`errors(lambda_reg, degree, n, noise)` yields the reader's λ first, then those of `sweep`."""

    def fit(records: Sequence[Record], values: Mapping[str, Any]) -> dict[str, Any]:
        chosen = records[0].extra
        return {
            "measurements": chosen["data"],
            "fit": (places, chosen["fit"]),
            "truth": (places, truth),
        }

    right = Sketch(
        _errors,
        {"training": "line", "validation": "line", "yours": "mark", "yours ": "mark"},
        ghosts=["training", "validation"],
        named=["training", "validation"],
        title="Errors at every λ, and at yours",
        y_title="mean squared error",
        y_range=[0.01, 10],
        y_log=True,
        goal={"y": 0.17},
        **LAMBDA_AXIS,
    )
    return Panel(
        errors,
        controls=[
            log_slider("lambda_reg", "λ", low=LEAST_LAMBDA, high=MOST_LAMBDA, value=1e-6),
            slider("degree", "degree", low=0, high=15, step=1, value=12),
            slider("n", "measurements n", low=10, high=200, step=5, value=20),
            slider("noise", "noise σ", low=0.0, high=1.0, step=0.05, value=0.3),
        ],
        figures=[
            Sketch(
                fit,
                {"measurements": "points", "fit": "line", "truth": "line"},
                ghosts=["fit"],
                named=["fit", "truth"],
                title="The measurements and the fit",
                x_title="x",
                y_title="y",
                x_range=[-1, 1],
                y_range=[-3, 3],
            ),
            right,
        ],
        readout=_read_errors,
        total=len(sweep) + 1,
        title="A polynomial, and a penalty on its coefficients",
        goal="degree 12, n = 20, noise 0.3: a validation error below 0.17 by λ alone",
        keep=2,
        reached=reached("01.target"),
        follow=True,
    )


def _errors(records: Sequence[Record], values: Mapping[str, Any]) -> dict[str, Any]:
    where = [r.extra["lambda"] for r in records]
    train, new = [r.train_loss for r in records], [r.val_loss for r in records]
    return {
        "training": (where[1:], train[1:]),
        "validation": (where[1:], new[1:]),
        "yours": (where[:1], new[:1]),
        "yours ": (where[:1], train[:1]),
    }


def _read_errors(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    r = records[0]
    return (
        f"At λ = {tick_text(values['lambda_reg'])} the training error is {r.train_loss:.3f} and "
        f"the validation error {r.val_loss:.3f}, a gap of {r.val_loss - r.train_loss:.3f}. The "
        f"length of w is {float(r.theta.norm()):.2f}."
    )


# -- panel 2 -----------------------------------------------------------------------------------

STRENGTHS = [10 ** (k / 12) for k in range(-36, 13)]
STEPS = range(1, 101)


def filters(
    held_back: Callable[[str, float, int], Record], kinds: Sequence[str], h: Tensor
) -> Panel:
    """`held_back(kind, strength, k)` is a record of one filter over the eigenvalues `h`: its error
    as `loss`, and `extra` of "share" (one for each eigenvalue) and "df", their sum."""
    known: dict[tuple, Record] = {}

    def of(kind: str, strength: float, k: int) -> Record:
        key = kind, strength, k
        if key not in known:
            known[key] = held_back(*key)
        return known[key]

    def every(kind: str, strength: float) -> tuple[list[float], list[float]]:
        if kind == "penalty":
            found = [of(kind, value, 1) for value in STRENGTHS]
        else:
            found = [of(kind, strength, k) for k in STEPS]
        return [r.extra["df"] for r in found], [r.loss for r in found]

    def shares(records: Sequence[Record], values: Mapping[str, Any]) -> dict[str, Any]:
        return {"yours": (h, records[-1].extra["share"])}

    def errors(records: Sequence[Record], values: Mapping[str, Any]) -> dict[str, Any]:
        curves = {kind: every(kind, values["strength"]) for kind in kinds}
        return curves | {"here": ([records[-1].extra["df"]], [records[-1].loss])}

    return Panel(
        lambda **values: iter([of(**values)]),
        controls=[
            menu("kind", "filter", list(kinds)),
            log_slider("strength", "λ or μ", low=STRENGTHS[0], high=10, value=0.15),
            slider("k", "steps k", low=1, high=100, step=1, value=20),
        ],
        figures=[
            Sketch(
                shares,
                {"yours": "path"},
                ghosts=["yours"],
                title="Share of the way, by direction",
                x_title="eigenvalue h",
                y_title="share",
                x_range=[0.001, 2],
                y_range=[0, 1.05],
                x_log=True,
            ),
            Sketch(
                errors,
                {kind: "line" for kind in kinds} | {"here": "mark"},
                legend=True,
                title="Error of every strength",
                x_title="effective degrees of freedom",
                y_title="error on the true curve",
                x_range=[4, 13],
                y_range=[0.03, 1],
                y_log=True,
                goal={"y": 0.07},
            ),
        ],
        readout=_read_filter,
        total=1,
        title="Three filters on thirteen directions",
        goal="an error below 0.07",
        reached=lambda records, values: records[-1].loss < 0.07,
        keep=2,
        follow=True,
    )


def _read_filter(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    set_by = {"penalty": "λ", "damped steps": "μ"}.get(values["kind"])
    dials = [f"{set_by} = {tick_text(values['strength'])}"] if set_by else []
    dials += [] if values["kind"] == "penalty" else [f"k = {values['k']}"]
    share, df = records[-1].extra["share"], records[-1].extra["df"]
    return (
        f"{values['kind'].capitalize()}, {', '.join(dials)}: {df:.1f} degrees of freedom, error "
        f"{records[-1].loss:.3f}. The flattest direction goes {float(share[0]):.1%} of its way, "
        f"the steepest {float(share[-1]):.1%}."
    )


# -- panel 3: curves with their spread over five seeds -----------------------------------------


def gathered(runs: Runs, x: Callable[[Record], float]) -> Runs:
    """The same records; `extra["so far"]` holds the columns x, training, validation, and the least
    and the most validation of the seeds, of all records up to each."""

    def generate(**values: Any) -> Iterator[Record]:
        rows: list[tuple] = []
        for r in runs(**values):
            rows.append((x(r), r.train_loss, r.val_loss, r.extra["least"], r.extra["most"]))
            yield r.with_(extra=r.extra | {"so far": list(zip(*rows, strict=True))})

    return generate


def _training(record: Record) -> tuple:
    x, train, *_ = record.extra["so far"]
    return x, train, train, train


def _validation(record: Record) -> tuple:
    x, _, middle, low, high = record.extra["so far"]
    return x, middle, low, high


def learning(learn: Runs, steps: int) -> Panel:
    """`learn(lambda_reg, label_noise, n)` yields a record each ten of `steps` steps, with `extra`
    of the "least" and the "most" validation loss of the seeds."""
    kept = gathered(learn, lambda r: r.step)

    def generate(lambda_reg: float, label_noise: float, n: int) -> Iterable[Record]:
        return kept(lambda_reg=lambda_reg, label_noise=label_noise, n=n)

    return Panel(
        generate,
        controls=[
            log_slider("lambda_reg", "λ", low=1e-4, high=0.1, value=0, zero=True),
            slider("label_noise", "wrong labels", low=0.0, high=0.4, step=0.1, value=0.2),
            slider("n", "digits n", low=50, high=450, step=100, value=150),
        ],
        figures=[
            Bands(
                {"training": _training, "validation": _validation},
                marks={"least": _least_loss},
                title="An MLP learns digits: mean of five seeds",
                x_title="step of Adam, one gradient each",
                y_title="cross-entropy (nats)",
                x_range=[0, steps],
                y_range=[0, 2.6],
                goal={"x": (240, steps), "y": (0, 0.9)},
            )
        ],
        readout=_read_learning,
        total=steps // 10 + 1,
        title="Training and validation loss, live",
        goal="20 % wrong labels, n = 150: a validation loss that does not turn up and ends below "
        "0.9",
        reached=stays_down,
        keep=1,
    )


def _least_loss(record: Record) -> tuple[float, float]:
    x, _, middle, *_ = record.extra["so far"]
    return min(zip(x, middle, strict=True), key=lambda point: point[1])


def stays_down(records: Sequence[Record], values: Mapping[str, Any]) -> bool:
    """Whether the mean validation loss ends below 0.9 and less than 5 % above its least value."""
    asked = values["n"] == 150 and math.isclose(values["label_noise"], 0.2)
    return asked and records[-1].val_loss < min(0.9, 1.05 * min(r.val_loss for r in records))


def _read_learning(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    end, best = records[-1], min(records, key=lambda r: r.val_loss)
    return (
        f"Step {end.step}: training loss {end.train_loss:.2f}, validation loss {end.val_loss:.2f} "
        f"(least {best.val_loss:.2f} at step {best.step}), accuracy {end.val_accuracy:.2f}; means "
        "of five seeds."
    )
