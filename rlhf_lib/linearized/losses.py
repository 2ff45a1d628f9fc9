"""Losses that are convex in the outputs: value, slope and a factor of the curvature, term by term.

A *term* is what a mean loss is the mean of: a sample, or a labelled token of one, or one entry of a
squared error. A loss sees a term's C outputs through m <= C *margins*, linear combinations of them:
the rows of the Gram matrix are those of margins. Softmax does not see what is added to all classes,
so m = C - 1, and two classes have one margin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ..per_sample.loss_factor import output_factor


class OutputLoss(Protocol):
    """What the linearized model asks of a loss.

    ``y`` are margins, shape (..., R, m) for R terms; ``targets`` hold R terms as :meth:`targets`
    made them.
    """

    name: str
    quadratic: bool  # in the outputs, so that it has a minimum whatever they may fit
    log_normalizer: float  # of exp(-loss) as a density of a term's target

    def contrast(self, outputs: Tensor) -> Tensor:
        """The margins as combinations of a term's outputs, (m, C), for outputs (n, ...)."""

    def terms(self, outputs: Tensor) -> Tensor:
        """The outputs (n, ...) as (n, T, C): T terms of C outputs for each sample."""

    def targets(
        self, raw: Tensor, shape: torch.Size, *, training: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Targets (n, T, ...) for outputs (n, T, C), and a mask (n, T) of what counts, or None.

        training: they are to be learnt, and not to judge by.
        """

    def value(self, y: Tensor, targets: Tensor) -> Tensor:
        """Loss of each term, (..., R)."""

    def derivatives(self, y: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Slope (R, m), and S (R, m, r) with S S' the Hessian of each term, y (R, m)."""

    def correct(self, y: Tensor, targets: Tensor) -> Tensor | None:
        """Which terms are answered correctly, (..., R); None where there is no such thing."""


class CrossEntropy:
    """``F.cross_entropy`` of classes along the last dimension, targets class indices or shares.

    The margins are the differences to the last class's output.

    Args:
        ignore_index: the target of a term that does not count.
        label_smoothing: share of every training target that is spread over all classes.
    """

    name, quadratic, log_normalizer = "cross_entropy", False, 0.0

    def __init__(self, ignore_index: int = -100, label_smoothing: float = 0.0):
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"expected a label_smoothing in [0, 1), got {label_smoothing}")
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def contrast(self, outputs):
        C = outputs.shape[-1]
        if outputs.ndim < 2 or C < 2:
            raise ValueError(
                "cross_entropy: expected outputs (n, C) or (n, T, C) with C >= 2 classes, got "
                f"shape {tuple(outputs.shape)}; for one logit a sample use loss='binary'"
            )
        eye = torch.eye(C - 1, dtype=outputs.dtype, device=outputs.device)
        return torch.cat([eye, eye.new_full((C - 1, 1), -1.0)], 1)

    def terms(self, outputs):
        return outputs.reshape(len(outputs), -1, outputs.shape[-1])

    def targets(self, raw, shape, *, training):
        n, T, C = shape
        if raw.is_floating_point():
            shares = raw.reshape(n, T, C).to(torch.float64)
            if not torch.allclose(shares.sum(2), torch.ones(n, T, dtype=torch.float64)):
                raise ValueError("cross_entropy: expected target shares that sum to 1 over classes")
            return self._smoothed(shares, training), None
        classes = raw.reshape(n, T)
        mask = classes != self.ignore_index
        if bool(((classes < 0) | (classes >= C))[mask].any()):
            raise ValueError(
                f"cross_entropy: expected classes from 0 to {C - 1} or {self.ignore_index}, got "
                f"{int(classes[mask].min())} to {int(classes[mask].max())}"
            )
        shares = F.one_hot(classes.clamp(min=0).masked_fill(~mask, 0), C).to(torch.float64)
        return self._smoothed(shares, training), mask

    def _smoothed(self, shares, training):
        smoothing = self.label_smoothing if training else 0.0
        return shares * (1 - smoothing) + smoothing / shares.shape[2]

    def value(self, y, targets):
        if y.shape[-1] == 1:
            return _logistic(y, targets)
        return -(targets * F.log_softmax(_with_zero(y), -1)).sum(-1)

    def derivatives(self, y, targets):
        if y.shape[-1] == 1:
            return _logistic_derivatives(y, targets[:, :1])
        p = F.softmax(_with_zero(y), -1)
        return (p - targets)[:, :-1], _multinomial_cholesky(p)

    def correct(self, y, targets):
        return _with_zero(y).argmax(-1) == targets.argmax(-1)

    def probabilities(self, y: Tensor) -> Tensor:
        """(..., R, C)."""
        return F.softmax(_with_zero(y), -1)


class Binary:
    """``F.binary_cross_entropy_with_logits``: every output is a term, targets are from 0 to 1."""

    name, quadratic, log_normalizer = "binary", False, 0.0

    def contrast(self, outputs):
        return outputs.new_ones(1, 1)

    def terms(self, outputs):
        return outputs.reshape(len(outputs), -1, 1)

    def targets(self, raw, shape, *, training):
        found = raw.reshape(shape).to(torch.float64)
        if not bool(((found >= 0) & (found <= 1)).all()):
            raise ValueError("binary: expected targets from 0 to 1")
        return found, None

    def value(self, y, targets):
        return _logistic(y, targets)

    def derivatives(self, y, targets):
        return _logistic_derivatives(y, targets)

    def correct(self, y, targets):
        return (y > 0)[..., 0] == (targets > 0.5)[..., 0]

    def probabilities(self, y: Tensor) -> Tensor:
        """Of target 1, (..., R, 1)."""
        return torch.sigmoid(y)


class SquaredError:
    """``F.mse_loss``: (y - target)^2 for every output, of which each is a term.

    As exp(-loss) it is a normal density with variance 1/2 of the target.
    """

    name, quadratic = "mse", True
    log_normalizer = 0.5 * float(torch.log(torch.tensor(torch.pi, dtype=torch.float64)))

    def contrast(self, outputs):
        return outputs.new_ones(1, 1)

    def terms(self, outputs):
        return outputs.reshape(len(outputs), -1, 1)

    def targets(self, raw, shape, *, training):
        return raw.reshape(shape).to(torch.float64), None

    def value(self, y, targets):
        return (y - targets)[..., 0].square()

    def derivatives(self, y, targets):
        return 2 * (y - targets), torch.full_like(y, 2.0).sqrt()[:, :, None]

    def correct(self, y, targets):
        return None


class Convex:
    """A function of one's own: twice differentiable, convex in the outputs of each sample.

    Args:
        function: from outputs (n, ...) and targets (n, ...) to the loss of each sample, (n,).
    """

    name, quadratic, log_normalizer = "convex", False, 0.0

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]):
        self.function = function
        self._shape: torch.Size = torch.Size()

    def contrast(self, outputs):
        self._shape = outputs.shape[1:]
        C = outputs[0].numel()
        return torch.eye(C, dtype=outputs.dtype, device=outputs.device)

    def terms(self, outputs):
        return outputs.reshape(len(outputs), 1, -1)

    def targets(self, raw, shape, *, training):
        raw = raw.to(torch.float64) if raw.is_floating_point() else raw
        return raw[:, None], None

    def value(self, y, targets):
        flat = y.reshape(-1, *self._shape)
        times = len(flat) // len(targets)
        found = self.function(flat, targets.repeat(times, *[1] * (targets.ndim - 1)))
        if found.shape != flat.shape[:1]:
            raise ValueError(
                f"expected a loss for each sample, shape {tuple(flat.shape[:1])}, got "
                f"{tuple(found.shape)}"
            )
        return found.reshape(y.shape[:-1])

    @torch.enable_grad()
    def derivatives(self, y, targets):
        leaf = y.detach().requires_grad_()
        loss = self.value(leaf, targets).sum()
        (slope,) = torch.autograd.grad(loss, leaf, create_graph=True)
        directions = output_factor(loss, (leaf,)) if slope.requires_grad else []
        columns = [direction[0] for direction in directions] or [torch.zeros_like(y)]
        return slope.detach(), torch.stack(columns, 2)

    def correct(self, y, targets):
        return None


LOSSES = {loss.name: loss for loss in (CrossEntropy, Binary, SquaredError)}


def make_loss(loss: str | OutputLoss | Callable) -> OutputLoss:
    """A loss by its name, an object as it is, or a function of outputs and targets."""
    if isinstance(loss, str) and loss in LOSSES:
        return LOSSES[loss]()
    if hasattr(loss, "derivatives"):
        return cast(OutputLoss, loss)
    if callable(loss):
        return Convex(loss)
    raise ValueError(
        f"expected a loss out of {', '.join(LOSSES)}, or a function of (outputs, targets) that "
        f"gives the loss of each sample, got {loss!r}"
    )


def _logistic(y: Tensor, targets: Tensor) -> Tensor:
    """log(1 + exp(y)) - t y for margins (..., R, 1) and the share t of the first class."""
    # Above 40 log(1 + exp(y)) is y to all digits.
    y = y[..., 0]
    return torch.addcmul(F.softplus(y, threshold=40), targets[:, 0], y, value=-1)


def _logistic_derivatives(y: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    p = torch.sigmoid(y)
    # sigmoid(-y) has the digits that 1 - p has lost.
    return p - share, (p * torch.sigmoid(-y)).sqrt_()[:, :, None]


def _with_zero(y: Tensor) -> Tensor:
    return F.pad(y, (0, 1))


def _multinomial_cholesky(p: Tensor) -> Tensor:
    """Lower triangular S (R, m, m) with S S' = diag(p) - p p' over the first m of m + 1 classes.

    In closed form (Tanabe and Sagae, 1992), from what is left after each class: no rounding where
    the softmax saturates.
    """
    m = p.shape[1] - 1
    tail = p.flip(1).cumsum(1).flip(1)  # p_k + ... + p_m
    left, after = tail[:, :m], tail[:, 1:]
    tiny = torch.finfo(p.dtype).tiny
    root = (p[:, :m] * after / left.clamp(min=tiny)).sqrt()  # the diagonal
    share = p[:, None, :m] / after[:, :, None].clamp(min=tiny)  # (R, k, j): p_j / after_k
    lower = -(share * root[:, :, None]).mT.tril(-1)
    return lower + torch.diag_embed(root)
