"""The head that a task puts on a pre-trained model: where it starts, and its own penalty."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..baselines.penalized_adamw import PenalizedAdamW
from ..regularizers import Regularizer, check_lambda, make_regularizer
from .freezing import is_head

CENTERS = ("start", "zero")
Named = list[tuple[str, nn.Parameter]]


def head_layer(module: nn.Module) -> nn.Linear:
    """The last linear layer of a module's head, whose outputs are the logits.

    Raises TypeError for a module without one.
    """
    linear = [m for n, m in module.named_modules() if isinstance(m, nn.Linear) and is_head(n)]
    if not linear:
        raise TypeError(
            f"expected a model with a linear head, got {type(module).__name__} without one: take "
            'start="as_loaded"'
        )
    return linear[-1]


def is_zero(layer: nn.Linear) -> bool:
    """Whether the layer's outputs are zero, as those of a new head on pooled features."""
    return not any(bool(p.any()) for p in layer.parameters())


def parameter_groups(named: Named, key: str, value: float, head: float) -> list[dict]:
    """Groups for an optimizer, the head in one of its own with another value of a setting.

    Raises ValueError where no parameter of the head is trained.
    """
    body = [pair for pair in named if not is_head(pair[0])]
    own = [pair for pair in named if is_head(pair[0])]
    if not own:
        raise ValueError("lambda_head: expected a trained head, got one that is all frozen")
    return [
        {"params": pairs, key: number} for pairs, number in ((body, value), (own, head)) if pairs
    ]


def pulled_head(
    kind: str | Regularizer | None, named: Named, center: str
) -> str | Regularizer | None:
    """An SP penalty that pulls the head to `center`, "start" or "zero", and the rest to its start.

    Xuhong Li et al. (2018, "L2-SP") pull what is pre-trained to its start and the new layer to
    zero, each with a weight of its own. named: in the optimizer's order. Other penalties stay as
    they are.

    Raises ValueError for another center, or a penalty that has one already.
    """
    if center not in CENTERS:
        raise ValueError(f"head_center: expected one of {CENTERS}, got {center!r}")
    penalty = make_regularizer(kind)
    if center == "start" or penalty is None or not penalty.from_start:
        return kind
    if penalty.center is not None:
        raise ValueError(
            "head_center: expected 'start' with a regularizer that has a center of its own, got "
            f"{center!r}"
        )
    parts = [(torch.zeros_like(p) if is_head(n) else p.detach()).reshape(-1) for n, p in named]
    return replace(penalty, params=None, center=torch.cat(parts))


def weigh_head(
    kind: str | Regularizer | None, named: Named, lambda_reg: float, lambda_head: float
) -> Regularizer | None:
    """A penalty with lambda_head on the head and lambda_reg elsewhere, to be used at lambda 1."""
    penalty = make_regularizer(kind)
    if penalty is None:
        return None
    weights: list[Tensor] = [
        torch.full_like(p, check_lambda(lambda_head if is_head(n) else lambda_reg)).flatten()
        for n, p in named
    ]
    weight = torch.cat(weights).detach() * penalty.weight
    return replace(penalty, params=None, weight=weight)


def adamw_with_head(
    named: Named,
    lr: float,
    lambda_reg: float,
    lambda_head: float | None,
    coupled: bool,
    penalty: str | Regularizer | None,
) -> torch.optim.Optimizer:
    """Torch's AdamW, whose lambdas are rates of decay, or the one with a penalty in its loss."""
    if coupled:
        if lambda_head is not None:
            penalty = weigh_head(penalty, named, lambda_reg, lambda_head)
            lambda_reg = 1.0
        return PenalizedAdamW(named, lr=lr, lambda_reg=lambda_reg, regularizer=penalty)
    if lambda_head is None:
        return torch.optim.AdamW([p for _, p in named], lr=lr, weight_decay=lambda_reg)
    groups = parameter_groups(named, "weight_decay", lambda_reg, lambda_head)
    return torch.optim.AdamW(groups, lr=lr)
