"""Methods that race to one objective, within gradients or within CPU seconds.

Every method is written as torch's user would write it, with torch's fused updates, and nothing is
evaluated on the way: seconds are those of the method alone.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlhf_lib.objective import assign, flatten
from rlhf_lib.optimizer import RLHFOptimizer

# Those "with decay" take their rate linearly to 0 as the budget is spent.
FIRST_ORDER: dict[str, Callable[[list, float], torch.optim.Optimizer]] = {
    "gradient descent": lambda p, rate: torch.optim.SGD(p, rate, fused=True),
    "SGD with momentum": lambda p, rate: torch.optim.SGD(p, rate, momentum=0.9, fused=True),
    "Adam": lambda p, rate: torch.optim.Adam(p, rate, fused=True),
    "Adam with decay": lambda p, rate: torch.optim.Adam(p, rate, fused=True),
    "AdamW with decay": lambda p, rate: torch.optim.AdamW(p, rate, fused=True),
}
GRADIENTS, SECONDS = "gradients", "seconds"
OURS, LBFGS = "RLHF", "L-BFGS"
FLOOR = "floor"  # a long run of L-BFGS that finds the least objective
FLOOR_HISTORY = 50


@dataclass
class Purse:
    """What a run may spend.

    Attributes:
        unit: GRADIENTS of the training set, or CPU SECONDS of this process.
        amount: how many of them.
        used: gradients so far, whatever the unit.
    """

    unit: str
    amount: float
    used: float = 0.0

    def __post_init__(self) -> None:
        self._start = time.process_time()

    @property
    def seconds(self) -> float:
        """CPU seconds so far."""
        return time.process_time() - self._start

    def share(self, more: float = 0.0) -> float:
        """The part that is spent, in [0, 1] within the budget, with so many gradients more."""
        spent = self.used + more if self.unit == GRADIENTS else self.seconds
        return spent / self.amount - 1e-9


class Race(ABC):
    """The problem of one seed: samples, a model at its start, and the objective.

    Attributes:
        named: what is trained, by name. samples: for training. seed: shuffles and draws batches.
    """

    named: list[tuple[str, Tensor]]
    samples: int
    seed: int

    @property
    def params(self) -> list[Tensor]:
        """What is trained."""
        return [p for _, p in self.named]

    @abstractmethod
    def take(self, part: Tensor | None = None) -> Any:
        """A batch: the training samples of these indices; None takes all."""

    @abstractmethod
    def loss_fn(self, batch: Any) -> tuple[Tensor, Tensor]:
        """(mean loss, outputs) of a batch, without the penalty."""

    @abstractmethod
    def penalty(self) -> Tensor | float:
        """The penalty at the present parameters."""

    @abstractmethod
    def penalized(self) -> dict[str, Any]:
        """The same penalty in the words of `RLHFOptimizer`."""

    def objective(self, batch: Any) -> Tensor:
        """Mean loss of a batch with the whole penalty."""
        return self.loss_fn(batch)[0] + self.penalty()

    def run(self, settings: Mapping[str, Any], purse: Purse) -> None:
        """A run of the method of these settings, until the purse is empty.

        Raises FloatingPointError where RLHF diverges.
        """
        method = settings["method"]
        if method == FLOOR:
            self.lbfgs(FLOOR_HISTORY, purse)
        elif method == LBFGS:
            self.lbfgs(settings["history"], purse)
        elif method == OURS:
            self.rlhf(settings["damping"], settings["products"], settings["curvature"], purse)
        else:
            self.first_order(method, settings["rate"], settings.get("batch", self.samples), purse)

    def first_order(self, method: str, rate: float, batch: int, purse: Purse) -> None:
        """A run of a method of FIRST_ORDER on shuffled batches of this size."""
        params = self.params
        optimizer = FIRST_ORDER[method](params, rate)
        shuffle, decays = torch.Generator().manual_seed(self.seed), method.endswith("decay")
        while True:
            for part in torch.randperm(self.samples, generator=shuffle).split(batch):
                more = len(part) / self.samples
                if purse.share(more) > 1:
                    return
                if decays:
                    optimizer.param_groups[0]["lr"] = rate * max(1 - purse.share(), 0.0)
                loss = self.objective(self.take(part))
                for p, gradient in zip(params, torch.autograd.grad(loss, params), strict=True):
                    p.grad = gradient
                optimizer.step()
                purse.used += more

    def lbfgs(self, history: int, purse: Purse) -> None:
        """L-BFGS with a strong Wolfe line search on all samples; it ends at its best point."""
        params = self.params
        optimizer = torch.optim.LBFGS(
            params,
            max_iter=10**6,
            max_eval=10**6,
            history_size=history,
            line_search_fn="strong_wolfe",
            tolerance_grad=0.0,
            tolerance_change=0.0,
        )
        best, at = float("inf"), flatten(p.detach() for p in params)
        whole = self.take()

        def closure() -> Tensor:
            nonlocal best, at
            if purse.share(1.0) > 1:
                raise _SpentError
            loss = self.objective(whole)
            for p, gradient in zip(params, torch.autograd.grad(loss, params), strict=True):
                p.grad = gradient
            purse.used += 1
            if (value := loss.item()) < best:
                best, at = value, flatten(p.detach() for p in params)
            return loss

        try:
            optimizer.step(closure)
        except _SpentError:
            pass
        finally:
            assign(params, at)

    def rlhf(self, damping: float, products: int, curvature: int, purse: Purse) -> None:
        """RLHF: the gradient on all samples, curvature on a fresh draw of them each step."""
        params = self.params
        optimizer = RLHFOptimizer(
            self.named, damping=damping, max_iter=products, **self.penalized()
        )
        draw = torch.Generator().manual_seed(self.seed)
        before, whole = flatten(p.detach() for p in params), self.take()
        while True:
            part = torch.randperm(self.samples, generator=draw)[:curvature]
            few = [self.take(part)] if curvature < self.samples else None
            optimizer.step(self.loss_fn, batches=[whole], curvature_batches=few)
            used = optimizer.record.cost / self.samples
            if purse.share(used - purse.used) > 1:
                assign(params, before)  # this step was not paid for
                return
            purse.used = used
            before = flatten(p.detach() for p in params)


class _SpentError(Exception):
    """The budget is spent."""
