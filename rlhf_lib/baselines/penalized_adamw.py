"""AdamW with a penalty in the loss, where its own weight decay is none (decoupled)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ..objective.parameters import assign, check_params, flatten, unflatten
from ..regularizers import check_has_penalty, make_regularizer
from ..regularizers.base import Regularizer, pairs


class PenalizedAdamW(torch.optim.AdamW):
    """Adam on task loss + lambda R(theta), for any regularizer of the library.

    AdamW's decay shortens the weights by lr * decay at each step, beside Adam's own step; an L2
    penalty adds to the gradient, which Adam then divides by the root of its mean square, so that
    weights with large gradients feel less of it (Loshchilov and Hutter, 2019, section 2).

    Smooth penalties, and the group lasso with its minimum-norm subgradient (no exact zeros), add
    their gradient before the step. L1, elastic net and L1-SP are left out of Adam's means and
    applied after its step by their prox with the step length that Adam gives to each weight,
    lr / (sqrt(v) + eps): zeros are exact, and a point where nothing moves is a stationary point of
    the whole objective (Yun, Lozano and Yang, 2021, "Adaptive proximal gradient methods for
    structured neural networks").

    Args:
        params: parameters or (name, parameter) pairs, one group.
        lr, betas, eps: as in torch.optim.AdamW.
        lambda_reg: weight of the penalty.
        regularizer: as in RLHFOptimizer; the SP kinds pull to the values at construction.

    Attributes:
        penalty_value: lambda R at the parameters before the last step.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        *,
        lambda_reg: float = 0.0,
        regularizer: str | Regularizer | None = "l2",
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ):
        params = list(params)
        if any(isinstance(p, dict) for p in params):
            raise TypeError(
                "expected parameters or (name, parameter) pairs in one group, got dicts: a penalty "
                "with a weight for each group is RLHFOptimizer's"
            )
        self._named = pairs(params)
        self._trained = check_params(p for _, p in self._named)
        check_has_penalty(lambda_reg, regularizer)
        # At lambda 0 this is torch's Adam.
        penalty = make_regularizer(regularizer) if lambda_reg else None
        self._lambdas = [lambda_reg] * len(self._named)
        self.regularizer = penalty and penalty.on(self._named, self._lambdas)
        self.penalty_value = 0.0
        super().__init__(self._trained, lr=lr, betas=betas, eps=eps, weight_decay=0.0)
        if self.regularizer is not None and self.regularizer.center is not None:
            # Among what is saved: a run that goes on pulls to where the first one began.
            self.param_groups[0]["center"] = self.regularizer.center

    def __getstate__(self) -> dict:
        # torch's own leaves out what a subclass has, so that a deepcopy could not step.
        return dict(self.__dict__)

    def load_state_dict(self, state_dict: dict) -> None:
        """As torch's; an SP penalty then pulls to the saved centre."""
        super().load_state_dict(state_dict)
        center = self.param_groups[0].get("center")
        if self.regularizer is not None and center is not None:
            center = center.to(self._trained[0])
            self.regularizer = self.regularizer.on(self._named, self._lambdas, center)

    def penalty(self) -> float:
        """lambda R(theta) at the present parameters."""
        return 0.0 if self.regularizer is None else float(self.regularizer.value())

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step on the gradients in ``.grad``, which have to be those of the task loss."""
        penalty = self.regularizer
        if penalty is None:
            return super().step(closure)
        if closure is not None:
            raise TypeError(
                "expected no closure, got one: call backward() before PenalizedAdamW.step()"
            )
        self.penalty_value = self.penalty()
        by_prox = penalty.separable and not penalty.smooth
        if not by_prox:
            extra = unflatten(penalty.gradient(), self._trained)
            for p, more in zip(self._trained, extra, strict=True):
                p.grad = more.clone() if p.grad is None else p.grad + more
        super().step()
        if by_prox:
            theta = flatten(p.detach() for p in self._trained)
            assign(self._trained, penalty.prox(theta, self._step_lengths()))
        return None

    def _step_lengths(self) -> Tensor:
        """Adam's step length for each entry, shape (n,); 0 for one that had no gradient yet."""
        group = self.param_groups[0]
        pieces = []
        for p in self._trained:
            state = self.state[p]
            if not state:
                pieces.append(torch.zeros_like(p))
                continue
            seen = 1 - group["betas"][1] ** float(state["step"])
            root = (state["exp_avg_sq"] / seen).sqrt()
            pieces.append(group["lr"] / (root + group["eps"]))
        return flatten(pieces)
