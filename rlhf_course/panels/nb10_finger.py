"""Notebook 10: BERT under the finger, linearized while a slider moves and true on release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf_lib.panels import Panel, choice, figures, log_slider, slider
from rlhf_lib.panels.figure import Figure
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..experiments.nb10_linear import END, LAMBDAS, PROBE, LinearReviews
from .nb10 import COIN, LOSSES, ends, over_steps, records_of

TRUE, LINEAR = "the true BERT", "the linearized one"


def finger(reviews: LinearReviews) -> Panel:
    """The linearized BERT follows the hand, and the true one runs over it on release."""

    def linear(values: Mapping[str, Any]) -> list[Record]:
        return reviews.run(**_settings(values))

    def generate(run, place, **values):
        reviews.begin_at(place)
        if run == LINEAR:
            yield from reviews.run(**values)
        else:
            for record in reviews.true(**values):
                yield record.with_(extra=record.extra | {"true": True})

    probe = reviews.run(0.0, steps=0)[0]
    return Panel(
        generate,
        controls=[
            log_slider("lambda_reg", "λ", low=1e-3, high=100, value=0, zero=True),
            log_slider("damping", "damping μ", low=1e-2, high=100, value=0.3),
            slider("steps", "steps", low=1, high=40, step=1, value=24),
            slider("noise", "share of wrong labels", low=0, high=0.5, step=0.05, value=0.2),
            slider("sentences", "sentences", low=20, high=200, step=10, value=200),
            choice("run", "on release", [TRUE, LINEAR]),
            choice("place", "begin and linearize at", [PROBE, END]),
        ],
        figures=[
            figures.Curves(
                {"validation loss": "val_loss", "training loss": "train_loss"},
                reference={"the probe": ([0, 40], [probe.val_loss] * 2)},
                marker_at_min="validation loss",
                title="Step by step",
                x_title="step",
                x_range=[0, 40.3],
                **LOSSES,
            ),
            _profile(reviews),
            figures.Curves(
                {"ρ": "rho"},
                reference={"as promised": ([0, 40], [1, 1])},
                title="How far the quadratic model was right",
                x_title="step",
                x_range=[0, 40.3],
                y_title="ρ",
                y_range=[-1, 3],
            ),
        ],
        readout=_read,
        total=lambda values: values["steps"] + 1,
        title="BERT under the finger",
        goal="λ > 0, 24 steps or to the end, and a validation loss that ends below 0.53 and within "
        "0.02 of its least value, with 20 % of all 200 labels wrong",
        keep=3,
        reached=reached("10.hold"),
        first=linear,
        preview=linear,
        preview_name="linearized",
    )


def beside(runs: Mapping[str, Sequence[Record]], probe: Record) -> Figure:
    """The validation losses of several runs over their steps."""
    return over_steps(
        runs,
        lines={"the probe": probe.val_loss},
        title="Validation loss of the linearized BERT",
        x_range=[0, 24],
        y_title="cross-entropy in nats",
        y_range=[0.45, 0.9],
        readout=f"It ends at: {ends(runs)}; the probe has {probe.val_loss:.3f}.",
    )


class Grid:
    """The recorded true runs: over λ, μ and wrong labels, and with a penalty that pulls to zero.

    document: the content of `nb10_grid.json`.

    Attributes: zero, the runs that are pulled to zero, by λ.
    """

    def __init__(self, document: Mapping[str, Any], reviews: LinearReviews):
        self.document, self._reviews = document, reviews
        self._linearized: dict[tuple[float, float, float], list[Record]] = {}
        self._runs = {
            _key(run["settings"]): records_of(run["result"]["steps"])
            for run in document["runs"]
            if "regularizer" not in run["settings"]
        }
        self.zero = {
            run["settings"]["lambda_reg"]: records_of(run["result"]["steps"])
            for run in document["runs"]
            if "regularizer" in run["settings"]
        }

    def run(self, lambda_reg: float, damping: float, noise: float) -> list[Record]:
        """The recorded true run of these settings."""
        return self._runs[lambda_reg, damping, noise]

    def linearized(self, lambda_reg: float, damping: float, noise: float) -> list[Record]:
        """The linearized run of these settings, at the probe, where the recorded ones begin."""
        key = lambda_reg, damping, noise
        if key not in self._linearized:
            self._linearized[key] = self._reviews.run(
                lambda_reg, damping, noise=noise, linear=self._reviews.at_probe
            )
        return self._linearized[key]

    def to_zero(self) -> Figure:
        """The runs pulled to zero, and one pulled to its start."""
        runs = {f"to zero, λ = {value:g}": run for value, run in sorted(self.zero.items())}
        runs["to start, λ = 1"] = self.run(1.0, 0.3, 0.2)[:7]
        return over_steps(
            runs,
            kind="lines+markers",
            lines={"a coin": COIN},
            title="Where the penalty pulls to (recorded)",
            x_range=[0, 6],
            y_range=[0.45, 0.9],
            readout=f"After six steps: {ends(runs)}.",
        )

    def panel(self) -> Panel:
        """The recorded runs, setting by setting, each beside the linearized one."""
        axes = [sorted({key[i] for key in self._runs}) for i in range(3)]
        names = [[f"{value:g}" for value in axis] for axis in axes]

        def at(values: Mapping[str, Any]) -> tuple[float, float, float]:
            return tuple(float(values[name]) for name in ("lambda_reg", "damping", "noise"))

        def beside(what: str):
            def points(values):
                run = self.linearized(*at(values))
                return [r.step for r in run], [getattr(r, what) for r in run]

            return points

        def generate(**values):
            yield from self.run(*at(values))

        step = {"x_title": "step", "x_range": [0, 24.3]}
        return Panel(
            generate,
            controls=[
                choice("lambda_reg", "λ", names[0]),
                choice("damping", "damping μ", names[1]),
                choice("noise", "share of wrong labels", names[2], "0.2"),
            ],
            figures=[
                figures.Curves(
                    {"true BERT": "val_loss"},
                    reference={"linearized": beside("val_loss")},
                    title="Validation loss (recorded)",
                    **step,
                    **LOSSES,
                ),
                figures.Curves(
                    {"true BERT": "rho"},
                    reference={"linearized": beside("rho")},
                    title="ρ (recorded)",
                    y_title="ρ",
                    y_range=[-1, 3],
                    **step,
                ),
            ],
            readout=lambda records, values: _apart(records, self.linearized(*at(values))),
            title="The true BERT and the linearized one",
            keep=1,
        )


def _key(settings: Mapping[str, Any]) -> tuple[float, float, float]:
    return settings["lambda_reg"], settings["damping"], settings["noise"]


def _apart(true: Sequence[Record], linear: Sequence[Record]) -> str:
    """How far the validation losses of two runs lie from one another."""
    if len(true) < 2:
        return "The start is the same."
    # A run that has converged stays where it is.
    ends = [run[-1].val_loss for run in (true, linear)]
    first = abs(true[1].val_loss - linear[1].val_loss)
    rhos = [r.rho for r in true if r.rho is not None]
    return (
        f"After the first step the validation losses are {first:.3f} apart, at the end "
        f"{abs(ends[0] - ends[1]):.3f}: {ends[0]:.3f} true, {ends[1]:.3f} linearized. "
        f"ρ of the true steps lies between {min(rhos):.2f} and {max(rhos):.2f}."
    )


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ("run", "place")}


def _profile(reviews: LinearReviews) -> Figure:
    """The linearized minimum for every λ, and the run as a line at its own λ."""
    lowest = LAMBDAS[-1]

    def part(column: int):
        def points(values):
            rows = reviews.profile(values["noise"], values["sentences"])
            return [row[0] for row in rows], [row[column] for row in rows]

        return points

    at = {"λ": lowest}

    curves = figures.Curves(
        {"this run": "val_loss"},
        x=lambda record: at["λ"],
        reference={"validation loss": part(2), "training loss": part(1)},
    )

    def draw(records, values):
        """Every record of a run stands at the λ that it ran with; 0 at the axis' left end."""
        at["λ"] = max(values.get("lambda_reg", 0.0), lowest)
        return curves.traces(records, values)

    return Figure(
        draw,
        title="Where the steps would end, for every λ",
        x_title="λ",
        x_range=[lowest, LAMBDAS[0]],
        x_log=True,
        **LOSSES,
    )


def _read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    last, best = records[-1], min(records, key=lambda r: r.val_loss)
    which = "true BERT" if "true" in last.extra else "linearized"
    said = (
        f"Step {last.step} ({which}): training loss {last.train_loss:.3f}, validation loss "
        f"{last.val_loss:.3f} (accuracy {last.val_accuracy:.3f}), "
        f"{last.val_loss - best.val_loss:.3f} above its least, at step {best.step}."
    )
    if last.rho is not None:
        said += f" ρ = {last.rho:.2f}."
    return said
