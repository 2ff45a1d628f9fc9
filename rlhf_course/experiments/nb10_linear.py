"""Notebook 10's BERT linearized at a point, and true runs from the same point.

Every number of a linearized run is a small solve in sample space, so that a hand on a slider gets
a whole run at each move; the true BERT takes seconds for a step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch

from rlhf_lib import linearize, text
from rlhf_lib.linearized import LinearModel
from rlhf_lib.record import Record
from rlhf_lib.regularizers import L2, L2SP

from .nb10_review_tasks import ReviewTasks

PROBE_LAMBDA = 0.2  # of the logistic regression that the head starts from
# From large to small, so that each minimum starts near the last one.
LAMBDAS = tuple(10 ** (k / 2) for k in range(4, -7, -1))
PROBE, END = "the probe", "the end of the true run"
PENALTIES = {"l2sp": L2SP, "l2": L2}


class LinearReviews:
    """The top layer of BERT and its head, linearized where the head is a probe.

    tasks: of the reviews, with few layers trained and the labels that the probe learns from.
    The labels and the number of sentences that a run sees may be others: the point that it starts
    from, and with it the Gram matrix, stays.

    linear: False leaves the linearized model out, for true runs alone.

    Attributes: linear, the linearized model; at_probe, the one that it was first; task; start, the
    Record of the probe; place, where runs begin.
    """

    def __init__(
        self, tasks: ReviewTasks, layers: int = 1, noise: float = 0.2, *, linear: bool = True
    ):
        self.tasks = tasks
        self.task = tasks(layers, noise)
        self.start = text.start_head(self.task, "probe", PROBE_LAMBDA)
        self._labels: dict[float, torch.Tensor] = {}
        self.place = PROBE
        self.task.start_here()
        if linear:
            self._here()
            self.at_probe = self.linear

    def begin_at(self, place: str) -> None:
        """Linearize at PROBE or at END, where the last true run ended; nothing if it is there.

        Runs begin, and λ pulls, there from now on.
        """
        if place == self.place:
            return
        if place == END:
            self.task.start_here()
            self._here()
        elif place == PROBE:
            self.linear = self.at_probe
            self.linear.back()
            self.task.start_here()
            self._profiles.clear()
        else:
            raise ValueError(f"place: expected {PROBE!r} or {END!r}, got {place!r}")
        self.place = place

    def _here(self) -> None:
        # Every weight counts in the penalty: some thousand biases alone fit any 200 labels.
        self.linear = linearize(self.task, include_all=True)
        self._profiles: dict[tuple[float, int], list[tuple[float, float, float]]] = {}

    def labels(self, noise: float) -> torch.Tensor:
        """The training labels, this share of them wrong; what is wrong at less stays wrong."""
        noise = round(noise, 4)
        if noise not in self._labels:
            self._labels[noise] = torch.tensor(self.tasks.training(noise).labels)
        return self._labels[noise]

    def run(
        self,
        lambda_reg: float,
        damping: float = 0.3,
        steps: int = 24,
        noise: float = 0.2,
        sentences: int | None = None,
        linear: LinearModel | None = None,
    ) -> list[Record]:
        """Damped Gauss-Newton steps of the linearized model, or of another, milliseconds in all."""
        return list(
            (linear or self.linear).run(
                lambda_reg,
                damping=damping,
                steps=steps,
                labels=self.labels(noise),
                samples=None if sentences is None else range(sentences),
            )
        )

    def profile(
        self, noise: float = 0.2, sentences: int | None = None
    ) -> Sequence[tuple[float, float, float]]:
        """(λ, training loss, validation loss) of the linearized minimum for each of LAMBDAS."""
        key = noise, sentences or self.task.samples
        if key not in self._profiles:
            path = self.linear.path(LAMBDAS, labels=self.labels(noise), samples=range(key[1]))
            self._profiles[key] = [
                (value, fit.train_loss, fit.val_loss)
                for value, fit in zip(path.lambdas, path.fits, strict=True)
                if fit.reason == "converged"
            ]
        return self._profiles[key]

    def true(
        self,
        lambda_reg: float,
        damping: float = 0.3,
        steps: int = 24,
        noise: float = 0.2,
        sentences: int | None = None,
        regularizer: str = "l2sp",
    ) -> Iterator[Record]:
        """The same steps of the BERT itself, solved in sample space; seconds each.

        The weights end where the run does.
        """
        task = copy.copy(self.task)
        task.training = {
            key: value[:sentences]
            for key, value in (task.training | {"labels": self.labels(noise)}).items()
        }
        task.samples = len(task.training["labels"])
        yield from text.finetune(
            task,
            "rlhf",
            steps=steps,
            lambda_reg=lambda_reg,
            regularizer=PENALTIES[regularizer](include_all=True),
            damping=damping,
            damping_rule="fixed",
            curvature_size=None,
            solver="dual",
            start="as_loaded",
        )
