"""Notebook 13: three tasks and seven models under one optimizer, and the λ that each task wants."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rlhf_lib import text
from rlhf_lib.panels import Panel, charts, figures, log_slider
from rlhf_lib.panels import choice as choose
from rlhf_lib.panels.bands import Bands
from rlhf_lib.panels.figure import Figure
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice
from ..experiments.nb13_tasks import TASKS as KINDS
from ..experiments.nb13_tasks import deal
from ..recorded import results
from ..studies import nb13_tasks as made
from ..table import Table
from ..verdicts.comparison import Comparison
from .gains import gain_chart

LEVELS = ["too small", "about right", "too large"]
choice(
    "13.sentiment",
    "Three tasks from the same start, λ = 0.3. For sentiment it will be",
    LEVELS,
    truth=0,
    why="In each of five seeds the largest λ of the grid, 10, ends lowest: the probe knows what "
    "48 reviews can teach, and leaving it costs.",
)
choice(
    "13.entities",
    "For the entities it will be",
    LEVELS,
    truth=1,
    why="In each of five seeds 0.1 or 0.3 ends lowest: hundreds of words with a tag each are much "
    "data, so the weights may go far.",
)
choice(
    "13.questions",
    "And for the questions it will be",
    LEVELS,
    truth=0,
    why="In each of five seeds 3 or 10 ends lowest: sixteen questions are learnt by heart.",
)
choice(
    "13.optimizer",
    "Six architectures, three tasks. What will have to be changed in the optimizer?",
    ["the curvature matrix for each loss", "the damping for each architecture", "nothing"],
    truth=2,
    why="All three losses are a mean of cross-entropies. What an architecture needs is a matter of "
    "loading it.",
)

TASKS = tuple(KINDS)
TINY = {
    "BERT": "tiny-random-bert",
    "DistilBERT": "tiny-random-distilbert",
    "RoBERTa": "tiny-random-roberta",
    "GPT-2": "tiny-random-gpt2",
    "T5": "tiny-random-t5",
    "ModernBERT": "tiny-random-modernbert",
}
PRETRAINED = "MiniLM (a BERT), its top layer"
MODELS = {PRETRAINED: "minilm"} | {f"tiny random {name}": where for name, where in TINY.items()}
GOAL = 4.95  # nats of the loss on unseen questions
START = 5.07  # nats of that loss before the first step

Steps = Callable[..., Iterable[Record]]
Runs = Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]


def setting(task: str, model: str) -> tuple[str, type[text.Task], dict[str, Any]]:
    """Kind of model, what makes the task, and its options."""
    kind = KINDS[task]
    if model == PRETRAINED:
        return kind.model, kind.build, {"top_layers": 1, **kind.options}
    # The tiny ones spell, so texts are long.
    if kind.model == "qa":
        # Some answers have more letters than two windows share; nothing is learnt here anyway.
        return "qa", kind.build, {"max_length": 128, "stride": 16, "check_answers": False}
    return kind.model, kind.build, {"max_length": 128}


def samples(task: str, model: str) -> tuple[Any, Any]:
    """Training samples, and unseen ones: those of the record's first seed, or a few for a tiny
    model, to keep it quick."""
    if model == PRETRAINED:
        return deal(task, made.SEEDS[0], tunes=False)
    few = 3 if task == "questions" else 6
    training, unseen = (part.subset(few, seed=0) for part in text.load_dataset(KINDS[task].data))
    return training, unseen


def score(record: Record) -> float | None:
    """Accuracy of sentiment, F1 of the others, on unseen samples."""
    return record.extra.get("val_f1", record.val_accuracy)


def tasks(fine_tuning: Steps) -> Panel:
    """`fine_tuning(task, model, lambda_reg)` yields the records of five steps and the start."""

    def relative(**values: Any) -> Iterator[Record]:
        start = None
        for record in fine_tuning(**values):
            start = start or record
            yield record.with_(
                extra=record.extra
                | {
                    "training": record.train_loss / start.train_loss,
                    "unseen": record.val_loss / start.val_loss,
                }
            )

    def goal(values: Mapping[str, Any]) -> tuple[list[float], list[float]]:
        there = values["task"] == "questions" and values["model"] == PRETRAINED
        return ([0.0, 5.1], [GOAL / START] * 2) if there else ([], [])

    steps: dict[str, Any] = {"x_title": "step", "x_range": [0, 5.1]}
    return Panel(
        relative,
        controls=[
            choose("task", "task", list(TASKS)),
            choose("model", "model", list(MODELS)),
            log_slider("lambda_reg", "λ", low=1e-3, high=10, value=0.3, zero=True),
        ],
        figures=[
            figures.Curves(
                {"unseen": lambda r: r.extra["unseen"], "training": lambda r: r.extra["training"]},
                reference={"goal": goal},
                marker_at_min="unseen",
                title="Both losses",
                y_title="loss, relative to the start",
                y_range=[0, 1.6],
                **steps,
            ),
            figures.Curves(
                {"score": score},
                title="Score on unseen samples",
                y_title="accuracy or F1",
                y_range=[0, 1],
                **steps,
            ),
        ],
        readout=_read,
        total=6,
        title="Three tasks, seven models, one optimizer",
        goal="questions with MiniLM: a loss below 4.95 on unseen ones at the end",
        reached=reached("13.transfer"),
    )


def _read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    first, last = records[0], records[-1]
    what = "accuracy" if values["task"] == "sentiment" else "F1"
    random = "" if values["model"] == PRETRAINED else " Nothing is pre-trained in this model."
    return (
        f"Step {last.step}, λ = {values['lambda_reg']:g}: training loss {last.train_loss:.3f} "
        f"(at the start {first.train_loss:.3f}), loss on unseen samples {last.val_loss:.3f} "
        f"({first.val_loss:.3f}) nats, {what} there {score(last):.2f}.{random}"
    )


def by_model(title: str, values: Mapping[tuple[str, str], float], readout: str) -> Figure:
    """Cells tasks × tiny models of `values[task, name]`."""
    return charts.cells(
        list(TINY),
        list(TASKS),
        [[values[task, name] for name in TINY] for task in TASKS],
        digits=2,
        height=190,
        title=title,
        x_title="tiny random model",
        readout=readout,
    )


@torch.no_grad()
def pointing(job: text.QuestionTask) -> dict[str, Any]:
    """Where the model of a task points in the validation windows, and what that costs it.

    `windows`, how many there are; `empty`, how many lack the answer, so that their first piece is
    the right place; `first`, in how many the model points there; `loss_empty` and `loss_answer`.
    """
    data = job.validation
    empty = (data["labels"] == 0).all(1)
    losses, first = [], 0
    for batch, _, outputs in job.outputs(data):
        logits = outputs.masked_fill(batch["padding"][:, :, None], -torch.inf)
        first += int((logits.argmax(1) == 0).all(1).sum())
        loss = torch.nn.functional.cross_entropy(logits, batch["labels"], reduction="none")
        losses.append(loss.mean(1))
    found = torch.cat(losses)
    return {
        "windows": len(empty),
        "empty": int(empty.sum()),
        "first": first,
        "loss_empty": float(found[empty].mean()),
        "loss_answer": float(found[~empty].mean()),
    }


# -- the recorded runs ------------------------------------------------------------------------


class Study:
    """The recorded runs by task, method and λ, one result for each seed; and the chosen ones.

    Attributes:
        chosen: by task and method, the settings that the search chose.
        lambdas: the grid. seeds: of the chosen runs; the grid has the first of them.
    """

    def __init__(self, document: Mapping[str, Any]):
        self.document = document
        study = made.STUDY
        self.chosen = {
            (task, method): study.chosen(document)[f"{task} {method}"]
            for task, method in made.METHODS
        }
        self.lambdas = list(made.LAMBDAS)
        self.seeds = made.SEEDS[: study.looked(document)[-1].seeds]
        self.runs = {
            (task, method, value): results(
                document, [settings | {"lambda": value, "seed": seed} for seed in made.GRID_SEEDS]
            )
            for (task, method), settings in self.chosen.items()
            if method != "probe"
            for value in self.lambdas
        }

    def losses(self, task: str, method: str, value: float) -> Tensor:
        """Losses on unseen samples at the end, one for each seed of the grid."""
        return torch.tensor([r["val_loss"][-1] for r in self.runs[task, method, value]])

    def best(self, task: str, method: str) -> float:
        """The λ of the grid with the least mean over the seeds."""
        return min(self.lambdas, key=lambda v: float(self.losses(task, method, v).mean()))

    def winners(self, task: str, method: str) -> list[float]:
        """The best λ of each seed."""
        table = torch.stack([self.losses(task, method, value) for value in self.lambdas])
        return [self.lambdas[i] for i in table.argmin(0).tolist()]

    def extra(self, task: str, other: str, method: str = "rlhf") -> Tensor:
        """What the λ of the other task costs this one, in nats, one for each seed."""
        return self.losses(task, method, self.best(other, method)) - self.losses(
            task, method, self.best(task, method)
        )

    def mean(self, task: str, method: str, value: float, key: str, step: int) -> float:
        """A loss before (0) or after (-1) the run, mean over the seeds."""
        return statistics.fmean(r[key][step] for r in self.runs[task, method, value])

    def judged(self, task: str, method: str) -> list[dict[str, Any]]:
        """What the chosen values gave, one result for each seed."""
        return made.judged(self.document, task, method, self.seeds)

    def gain(self, task: str, other: str | None) -> Comparison:
        """RLHF against another method, or, with None, against its own start."""
        return replace(made.gain(self.document, task, other, self.seeds), looks=made.LOOKS)


def along_steps(study: Study, value: float) -> Figure:
    """The loss of RLHF on unseen samples along its steps, for one λ."""
    series, bands = {}, {}
    for task in TASKS:
        shares = [
            [loss / r["val_loss"][0] for loss in r["val_loss"]]
            for r in study.runs[task, "rlhf", value]
        ]
        columns = list(zip(*shares, strict=True))
        series[task] = (range(len(columns)), [statistics.fmean(c) for c in columns])
        bands[task] = ([min(c) for c in columns], [max(c) for c in columns])
    return charts.chart(
        series,
        bands=bands,
        kind="lines+markers",
        title=f"RLHF with λ = {value:g} (recorded)",
        x_title="step",
        y_title="unseen loss / at the start",
        x_range=[0, 5.1],
        y_range=[0.6, 1.3],
        readout="Means of the seeds, and from the least to the largest; after the last step "
        + ", ".join(f"{task} {line[1][-1]:.2f}" for task, line in series.items())
        + " of the loss at the start.",
    )


def along_lambda(study: Study) -> Panel:
    """Loss and score at the end over λ, for either method."""
    keys = {"RLHF": "rlhf", "AdamW": "adamw"}

    def spread(task: str, method: str, of: Callable[[Mapping], float]) -> tuple:
        found = [[of(r) for r in study.runs[task, method, v]] for v in study.lambdas]
        return (
            study.lambdas,
            [statistics.fmean(c) for c in found],
            [min(c) for c in found],
            [max(c) for c in found],
        )

    def show(method: str) -> Iterator[dict]:
        yield {
            "loss": {
                t: spread(t, keys[method], lambda r: r["val_loss"][-1] / r["val_loss"][0])
                for t in TASKS
            },
            "score": {t: spread(t, keys[method], lambda r: r["score"]) for t in TASKS},
        }

    def read(records: Sequence[dict], values: Mapping[str, Any]) -> str:
        said = []
        for task in TASKS:
            xs, middle, low, high = records[-1]["loss"][task]
            i = min(range(len(xs)), key=middle.__getitem__)
            said.append(f"{task} at λ = {xs[i]:g} ({middle[i]:.2f}; {low[i]:.2f} to {high[i]:.2f})")
        return f"{values['method']}, least share of the loss at the start: {', '.join(said)}."

    def bands(key: str, **axes: Any) -> Bands:
        return Bands(
            {task: lambda record, task=task: record[key][task] for task in TASKS},
            x_title="λ",
            x_range=[0.008, 12],
            x_log=True,
            **axes,
        )

    return Panel(
        show,
        controls=[choose("method", "method", list(keys))],
        figures=[
            bands(
                "loss",
                title="Loss at the end (recorded)",
                y_title="loss, relative to the start",
                y_range=[0.6, 1.6],
            ),
            bands(
                "score",
                title="Score at the end (recorded)",
                y_title="accuracy or F1",
                y_range=[0, 1],
            ),
        ],
        readout=read,
        title="Three tasks along λ",
        keep=0,
    )


def fair(study: Study) -> Table:
    """What the search chose for each method, and what came of it."""
    rows = []
    for (task, method), settings in study.chosen.items():
        found = study.judged(task, method)
        tuned = {"damping": "μ", "lr": "rate"}
        values = [f"λ {settings['lambda']:g}"]
        values += [f"{name} {settings[key]:g}" for key, name in tuned.items() if key in settings]
        rows.append(
            {
                "task": task,
                "method": made.NAMES[method],
                "chosen": ", ".join(values),
                "gradients": statistics.fmean(r["cost"] for r in found),
                "training loss": statistics.fmean(r["train_loss"][-1] for r in found),
                "loss on unseen": statistics.fmean(r["val_loss"][-1] for r in found),
                "score": statistics.fmean(r["score"] for r in found),
            }
        )
    return Table(
        rows,
        caption=f"Each tuned alike; means of {len(study.seeds)} seeds (recorded)",
        formats={
            "gradients": ".1f",
            "training loss": ".3f",
            "loss on unseen": ".3f",
            "score": ".2f",
        },
    )


def ahead(study: Study) -> Figure:
    """How far RLHF ends below the start, the probe and AdamW, with intervals of the mean."""
    gains = {}
    for task in TASKS:
        others = {"its start": None, "AdamW": "adamw"}
        if task in made.PROBED:
            others = {"the probe": "probe", "AdamW": "adamw"}
        for name, other in others.items():
            gains[f"{task}, against {name}"] = study.gain(task, other)
    return gain_chart(
        gains,
        title="How far RLHF ends below (recorded)",
        x_title="nats, mean and 95 % interval",
        x_range=[-0.15, 0.35],
    )


def other_lambda(study: Study) -> Figure:
    """What the λ of another task costs, in nats: mean, least and most of the seeds."""
    rows = {}
    for task in TASKS:
        for other in TASKS:
            if other != task:
                extra = study.extra(task, other)
                rows[f"{task}, λ of {other}"] = tuple(
                    float(x) for x in (extra.mean(), extra.min(), extra.max())
                )
    return charts.ranking(
        rows,
        lines={"no cost": 0},
        title="What another task's λ costs (RLHF)",
        x_title="nats above the own best λ",
        x_range=[-0.1, 1.4],
        readout="The questions with the λ of the entities: "
        f"{rows['questions, λ of entities'][0]:.2f} nats on the mean of the seeds; with "
        f"that of sentiment: {rows['questions, λ of sentiment'][0]:.2f}.",
    )


# -- the two tests ------------------------------------------------------------------------------


def off(
    right: Mapping[str, float], wrong: Mapping[str, float] | None = None, **axes: Any
) -> Figure:
    """Differences on a logarithmic axis; an exact 0 is drawn at 1e-17, the wrong ones marked."""
    rows = {name: max(value, 1e-17) for name, value in (right | (wrong or {})).items()}
    return charts.ranking(rows, marked=list(wrong or ()), x_log=True, **axes)
