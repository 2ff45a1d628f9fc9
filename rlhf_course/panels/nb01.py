"""Notebook 01: overfitting, of a polynomial, of random features and of small networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor

from rlhf_lib.panels import Panel, figures, log_slider, slider
from rlhf_lib.panels import choice as menu
from rlhf_lib.panels.bands import Bands
from rlhf_lib.panels.ticks import tick_text
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice, curve
from ..experiments.nb01_side_by_side import side_by_side
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


def networks(
    x: Tensor, y: Tensor, lambdas: Tensor, steps: int = 800, every: int = 800
) -> Iterator[tuple[int, Tensor, Callable[[Tensor], Tensor]]]:
    """MLPs with 20 units of tanh, one for each row of x and y (sets, n) and each λ, trained by
    Adam: yields the step, the training losses (λ, sets), and a function that predicts at places
    (k,), giving (λ, sets, k)."""
    x, y = (t[:, :, None].expand(len(lambdas), -1, -1, -1) for t in (x, y))
    for now in side_by_side(
        x, y, width=20, lambda_reg=lambdas[:, None], steps=steps, every=every, spread=(3.0, 2.0)
    ):
        yield now.step, now.train_loss, lambda z, now=now: now.predict(z[:, None])[..., 0]


def bias_and_variance(
    colleagues: Runs, models: Sequence[str], places: Tensor, truth: Tensor
) -> Panel:
    """`colleagues(model, n, noise)` yields a record for each λ of a sweep, with `extra` of
    "lambda", "split" (bias², variance), and "mean" and "scatter" of the predictions at `places`."""
    kept: dict[tuple, list[Record]] = {}

    def generate(model: str, n: int, noise: float, lambda_reg: float) -> Iterator[Record]:
        key = (model, n, noise)
        known = kept.get(key)
        found: list[Record] = []
        for record in known if known is not None else colleagues(*key):
            found.append(record)
            yield record.with_(extra=record.extra | {"yours": nearest(found, lambda_reg).extra})
        kept[key] = found

    return Panel(
        generate,
        controls=[
            menu("model", "model", list(models)),
            slider("n", "measurements n", low=20, high=100, step=10, value=20),
            slider("noise", "noise σ", low=0.1, high=0.6, step=0.1, value=0.3),
            log_slider("lambda_reg", "λ", low=LEAST_LAMBDA, high=MOST_LAMBDA, value=0.001),
        ],
        figures=[
            Bands(
                {"mean": _scatter(places), "truth": lambda r: (places[::8], *[truth[::8]] * 3)},
                title="Mean ± one standard deviation, your λ",
                x_title="x",
                y_title="y",
                x_range=[-1, 1],
                y_range=[-3, 3],
            ),
            figures.Curves(
                {
                    "bias²": lambda r: r.extra["split"][0],
                    "variance": lambda r: r.extra["split"][1],
                    "sum": lambda r: sum(r.extra["split"]),
                },
                x=lambda r: r.extra["lambda"],
                marker_at_min="sum",
                reference={"your λ": lambda v: ([v["lambda_reg"]] * 2, [0.001, 10])},
                title="Their error on the true curve, split",
                y_title="mean squared error",
                y_range=[0.001, 10],
                y_log=True,
                **LAMBDA_AXIS,
            ),
        ],
        readout=_read_split,
        title="Bias and variance of many colleagues",
        goal="the MLP's λ, at noise 0.3, at which bias² and variance are equal",
        reached=equal_parts,
        keep=1,
        # Of what is known already λ alone picks: that needs no run.
        preview=lambda values: generate(**values) if tuple(values.values())[:3] in kept else (),
    )


def nearest(records: Sequence[Record], lambda_reg: float) -> Record:
    """The record of the λ nearest to this one, by their ratio."""
    return min(records, key=lambda r: abs(math.log(r.extra["lambda"] / lambda_reg)))


def least(records: Sequence[Record]) -> Record:
    """The record whose bias² and variance have the least sum."""
    return min(records, key=lambda r: sum(r.extra["split"]))


def crossing(records: Sequence[Record]) -> Record:
    """The record whose bias² and variance are nearest to equal."""
    return min(records, key=lambda r: abs(math.log(r.extra["split"][0] / r.extra["split"][1])))


def equal_parts(records: Sequence[Record], values: Mapping[str, Any]) -> bool:
    asked = values["model"].startswith("MLP") and values["n"] == 20 and values["noise"] == 0.3
    yours = nearest(records, values["lambda_reg"])
    return asked and yours.extra["lambda"] == crossing(records).extra["lambda"]


def _scatter(places: Tensor) -> Callable[[Record], tuple]:
    def band(record: Record) -> tuple:
        mean, scatter = (record.extra["yours"][name][::8] for name in ("mean", "scatter"))
        return places[::8], mean, mean - scatter, mean + scatter

    return band


def _read_split(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    best, yours = least(records), nearest(records, values["lambda_reg"])
    bias, variance = yours.extra["split"]
    lam, lam_best = (tick_text(float(f"{r.extra['lambda']:.2g}")) for r in (yours, best))
    return (
        f"{values['model']}, λ = {lam}: bias² {bias:.4f}, variance {variance:.4f}, sum "
        f"{bias + variance:.4f}. The sum is least at λ = {lam_best}: "
        f"{sum(best.extra['split']):.4f}."
    )


# -- panels 3 and 4: curves with their spread over five seeds --------------------------------------


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


def more_features(widths: Runs, sizes: Sequence[int]) -> Panel:
    """`widths(lambda_reg, label_noise)` yields a record for each number of features of `sizes`,
    with `extra` of "p" and the "least" and "most" validation error of the seeds."""
    kept = gathered(widths, lambda r: r.extra["p"])

    def generate(lambda_reg: float, label_noise: float) -> Iterable[Record]:
        return kept(lambda_reg=lambda_reg, label_noise=label_noise)

    return Panel(
        generate,
        controls=[
            log_slider("lambda_reg", "λ", low=1e-6, high=0.01, value=0, zero=True),
            slider("label_noise", "wrong labels", low=0.0, high=0.4, step=0.1, value=0.0),
        ],
        figures=[
            Bands(
                {"training": _training, "validation": _validation},
                title="Mean, least and most of five seeds",
                x_title="number of features p, for 100 digits",
                y_title="squared error",
                x_range=[5, 2000],
                x_log=True,
                y_range=[0.1, 300],
                y_log=True,
                goal={"y": 0.3},
            )
        ],
        readout=_read_sizes,
        total=len(sizes),
        title="More features than data",
        goal="all labels right: no peak at p = 100, and an error below 0.3 at p = 2000",
        reached=no_peak_and_low,
        keep=1,
    )


def no_peak(records: Sequence[Record]) -> bool:
    """Whether the validation error never rises by more than a percent as p grows."""
    return all(b.val_loss < 1.01 * a.val_loss for a, b in pairwise(records))


def no_peak_and_low(records: Sequence[Record], values: Mapping[str, Any]) -> bool:
    return no_peak(records) and values["label_noise"] == 0 and records[-1].val_loss < 0.3


def _read_sizes(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    best, worst = (pick(records, key=lambda r: r.val_loss) for pick in (min, max))
    return (
        f"Mean of five seeds: least validation error {best.val_loss:.3f} with {best.extra['p']} "
        f"features, most {worst.val_loss:.3g} with {worst.extra['p']}."
    )


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
