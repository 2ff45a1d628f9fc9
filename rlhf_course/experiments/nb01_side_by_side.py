"""Many small networks trained at once, as if each had a machine of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Trained:
    """Networks after `step` steps: `predict` maps inputs (..., n, d) to outputs (..., n, c), and
    `train_loss` has their losses on their own training data, without the penalty."""

    step: int
    train_loss: Tensor
    predict: Callable[[Tensor], Tensor]


def side_by_side(
    x: Tensor,
    y: Tensor,
    *,
    width: int,
    lambda_reg: float | Tensor = 0.0,
    steps: int = 400,
    every: int = 20,
    lr: float = 0.01,
    spread: tuple[float, float] = (1.0, 0.0),
    seed: int = 0,
) -> Iterator[Trained]:
    """Train one network with a hidden layer of tanh for each of many data sets, by Adam.

    All inputs of a step go in (no mini-batches). Adam scales each weight's step by itself, so
    training the sum of the losses trains each network as if it were alone (Kingma and Ba, 2015).

    Args:
        x: inputs, shape (*batch, n, d): one data set of n samples for each network.
        y: targets, shape (*batch, n) of classes for the mean cross-entropy, or (*batch, n, c) of
            numbers for half the mean squared error.
        width: hidden units.
        lambda_reg: weight of the L2 penalty |W|^2 / 2 on the weights, biases left out; a number, or
            a tensor that broadcasts with the batch shape.
        every: a result is yielded at step 0 and after each `every` steps.
        spread: standard deviations of the first layer's weights (divided by the square root of d)
            and of its biases at the start.

    Raises:
        ValueError: x and y do not have the same batch shape and number of samples.
    """
    if x.shape[:-1] != y.shape[: x.ndim - 1]:
        raise ValueError(
            f"expected one target for each sample of {tuple(x.shape)}, got {tuple(y.shape)}"
        )
    *batch, _, d = x.shape
    classes = y.ndim < x.ndim
    outputs = int(y.max()) + 1 if classes else y.shape[-1]
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float) -> Tensor:
        drawn = torch.randn(*batch, *shape, generator=generator, dtype=x.dtype)
        return (scale * drawn).requires_grad_(True)

    hidden = normal(d, width, scale=spread[0] / d**0.5), normal(1, width, scale=spread[1])
    last = normal(width, outputs, scale=1 / width**0.5), normal(1, outputs, scale=0.0)

    def forward(inputs: Tensor) -> Tensor:
        return torch.tanh(inputs @ hidden[0] + hidden[1]) @ last[0] + last[1]

    def predict(inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return forward(inputs)

    def task() -> Tensor:
        if not classes:
            return 0.5 * (forward(x) - y).square().mean((-2, -1))
        logits = forward(x)
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, -2), y.flatten(), reduction="none"
        )
        return losses.view(y.shape).mean(-1)

    optimizer = torch.optim.Adam([*hidden, *last], lr=lr)
    for step in range(steps + 1):
        loss = task()
        if step % every == 0:
            yield Trained(step, loss.detach(), predict)
        if step < steps:
            penalty = 0.5 * (hidden[0].square().sum((-2, -1)) + last[0].square().sum((-2, -1)))
            optimizer.zero_grad()
            (loss + lambda_reg * penalty).sum().backward()
            optimizer.step()
