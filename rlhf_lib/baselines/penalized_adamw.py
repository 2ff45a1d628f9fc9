"""AdamW with a penalty in the loss, where its own weight decay is none (decoupled)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ..arguments import real
from ..objective.groups import check_group, check_listed, named_params_of, own_state, params_of
from ..objective.parameters import assign, check_params, flatten, unflatten
from ..regularizers import check_has_penalty, make_regularizer
from ..regularizers.base import Regularizer


class PenalizedAdamW(torch.optim.AdamW):
    """Adam on task loss + lambda R(theta), for any regularizer of the library.

    AdamW's decay shortens the weights by lr * decay at each step, beside Adam's own step; an L2
    penalty adds to the gradient, which Adam then divides by the root of its mean square, so that
    weights with large gradients feel less of it (Loshchilov and Hutter, 2019, section 2).

    Smooth penalties, and the group lasso with its minimum-norm subgradient (no exact zeros), add
    their gradient before the step. L1, elastic net, L1-SP and bounds are left out of Adam's means
    and applied after its step by their prox with the step length that Adam gives to each weight,
    lr / (sqrt(v) + eps): zeros are exact, and a point where nothing moves is a stationary point of
    the whole objective (Yun, Lozano and Yang, 2021, "Adaptive proximal gradient methods for
    structured neural networks").

    Args:
        params: parameters, (name, parameter) pairs or parameter groups. A group may have its own
            ``lambda_reg`` beside what AdamW's may have, and more can be added while training.
        lr, betas, eps, foreach, fused: as in torch.optim.AdamW.
        lambda_reg: weight of the penalty; at 0 this is torch's Adam.
        regularizer: as in RLHFOptimizer; the SP kinds pull to the values at construction, or where
            a group was when it was added.

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
        foreach: bool | None = None,
        fused: bool | None = None,
    ):
        real("lr", lr, 0.0), real("eps", eps, 0.0)
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"betas: expected two numbers in [0, 1), got {betas!r}")
        if not all(0 <= real("betas", beta) < 1 for beta in betas):
            raise ValueError(f"betas: expected two numbers in [0, 1), got {betas!r}")
        self._unbound = make_regularizer(regularizer)
        self._lambda_reg, self._complete = lambda_reg, False
        self._bound: tuple[list[float], Regularizer | None] | None = None
        self.penalty_value = 0.0
        params = check_listed(params)
        super().__init__(
            params, lr=lr, betas=betas, eps=eps, weight_decay=0.0, foreach=foreach, fused=fused
        )
        self._step_supports_amp_scaling = False  # the penalty's gradient is not a scaled one
        self._complete = True
        self._penalty()

    def __getstate__(self) -> dict:
        return own_state(self)

    def add_param_group(self, param_group: dict) -> None:
        """Add a group, with the constructor's ``lambda_reg`` if it has none of its own.

        Raises ValueError for a group that cannot be penalized; it is not added then.
        """
        super().add_param_group(check_group(param_group))
        group = self.param_groups[-1]
        group.setdefault("lambda_reg", self._lambda_reg)
        if self._pulls_to_start and group["params"]:
            # Among what is saved: a run that goes on pulls to where the first one began.
            group["center"] = flatten(p.detach() for p in group["params"]).clone()
        try:
            check_has_penalty(group["lambda_reg"], self._unbound)
            if group["maximize"]:
                raise ValueError("expected maximize=False, got True: a penalty is minimized")
            self._bound = None
            if self._complete:  # a vector of weights or a centre is for all groups
                self._penalty()
        except ValueError:
            self.param_groups.pop()
            self._bound = None
            raise

    def load_state_dict(self, state_dict: dict) -> None:
        """As torch's; an SP penalty then pulls to the saved centre."""
        super().load_state_dict(state_dict)
        self._bound = None

    @property
    def _pulls_to_start(self) -> bool:
        penalty = self._unbound
        return penalty is not None and penalty.from_start and penalty.center is None

    @property
    def _trained(self) -> list[Tensor]:
        return params_of(self.param_groups)

    def _penalty(self) -> Regularizer | None:
        """The penalty bound to the parameters with the groups' present lambdas; None without."""
        lambdas = [float(g["lambda_reg"]) for g in self.param_groups for _ in g["params"]]
        if self._bound is None or self._bound[0] != lambdas:
            trained, penalty = check_params(self._trained), None
            if self._unbound is not None and any(lambdas):
                centers = [g["center"] for g in self.param_groups if "center" in g]
                center = flatten(c.to(trained[0]) for c in centers) if centers else None
                penalty = self._unbound.on(named_params_of(self.param_groups), lambdas, center)
            self._bound = lambdas, penalty
        return self._bound[1]

    def penalty(self) -> float:
        """lambda R(theta) at the present parameters."""
        penalty = self._penalty()
        return 0.0 if penalty is None else float(penalty.value())

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step on the gradients in ``.grad``, which have to be those of the task loss.

        closure: makes them, as for torch's optimizers; what it returns is returned.
        """
        penalty, loss = self._penalty(), None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if penalty is None:
            super().step()
            return loss
        trained = self._trained
        self.penalty_value = float(penalty.value())
        by_prox = penalty.entrywise and not penalty.smooth
        if not by_prox:
            extra = unflatten(penalty.gradient(), trained)
            for p, more in zip(trained, extra, strict=True):
                p.grad = more.clone() if p.grad is None else p.grad + more
        super().step()
        if by_prox:
            theta = flatten(p.detach() for p in trained)
            assign(trained, penalty.prox(theta, self._step_lengths()))
        return loss

    def _step_lengths(self) -> Tensor:
        """Adam's step length for each entry, shape (n,); 0 for one that had no gradient yet."""
        pieces = []
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    pieces.append(torch.zeros_like(p))
                    continue
                seen = 1 - float(group["betas"][1]) ** float(state["step"])
                mean = state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"]
                pieces.append(group["lr"] / ((mean / seen).sqrt() + group["eps"]))
        return flatten(pieces)
