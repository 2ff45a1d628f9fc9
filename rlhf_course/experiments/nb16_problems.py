"""The problems of notebook 16's map, each small: a loss, its samples, and by what it is judged.

All are float64 on the CPU and hang on the seed alone, which draws the first weights (and, where
said, the data).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .nb09_digits import shuffled


class Problem:
    """What a race needs.

    Attributes:
        title: short. measure: what :meth:`error` is. unit: in which two errors are compared:
            "decades" of their ratio, or "nats" of their difference.
        params: the trained parameters. samples: how many there are.
        batch: samples in a mini-batch of methods that use one; None for all of them.
        weight: of the penalty λ|W|²/2 on the weight matrices, which is part of the objective.
    """

    title = measure = ""
    unit = "decades"
    samples = 0
    batch: int | None = None
    weight = 0.0
    params: list[nn.Parameter]

    def collect(self, modules: Iterable[nn.Module]) -> None:
        """The parameters of these modules are trained."""
        self.params = [p for module in modules for p in module.parameters()]

    def closure(self, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(mean loss, outputs (n, ...)) of these samples, or of all; the penalty left out."""
        raise NotImplementedError

    def penalty(self) -> Tensor:
        """λ|W|²/2."""
        return self.weight / 2 * sum(p.square().sum() for p in self.params if p.ndim > 1)

    @torch.no_grad()
    def error(self) -> float:
        """What the problem is judged by; here the whole objective."""
        return float(self.closure()[0] + self.penalty())


def linears(sizes: Sequence[int], seed: int) -> list[nn.Linear]:
    """Linear layers with torch's own start, drawn from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [nn.Linear(a, b, dtype=torch.float64) for a, b in pairwise(sizes)]


@cache
def digits() -> tuple[Tensor, Tensor]:
    """1,000 images of 8 x 8 pixels in [0, 1], shape (1000, 64), and their labels."""
    from sklearn.datasets import load_digits

    images, labels = shuffled(*load_digits(return_X_y=True))
    return images[:1000], labels[:1000]


class Surface(Problem):
    """Franke's function (1979) of two variables, without noise, by a network 2-20-20-1."""

    title, measure = "regression", "relative error at other points"
    samples = 400

    def __init__(self, seed: int):
        draw = torch.Generator().manual_seed(1)
        self.x = torch.rand(self.samples, 2, generator=draw, dtype=torch.float64)
        self.check = torch.rand(1000, 2, generator=draw, dtype=torch.float64)
        self.layers = linears([2, 20, 20, 1], seed)
        self.collect(self.layers)

    def network(self, x: Tensor) -> Tensor:
        """(n, 1)."""
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x))
        return self.layers[-1](x)

    def closure(self, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(half the mean square error, outputs (n, 1))."""
        x = self.x if rows is None else self.x[rows]
        outputs = self.network(x)
        return (outputs - franke(x)).square().mean() / 2, outputs

    @torch.no_grad()
    def error(self) -> float:
        """|network - function| / |function| at 1,000 other points."""
        truth = franke(self.check)
        return float((self.network(self.check) - truth).norm() / truth.norm())


def franke(x: Tensor) -> Tensor:
    """Two peaks and a dip on the unit square, (n, 1)."""
    a, b = (9 * x).unbind(1)
    bumps = (
        0.75 * torch.exp(-((a - 2).square() + (b - 2).square()) / 4)
        + 0.75 * torch.exp(-(a + 1).square() / 49 - (b + 1) / 10)
        + 0.5 * torch.exp(-((a - 7).square() + (b - 3).square()) / 4)
        - 0.2 * torch.exp(-(a - 4).square() - (b - 7).square())
    )
    return bumps[:, None]


class Autoencoder(Problem):
    """Digits through a code of six numbers, after Martens (2010): logistic units, sparse start.

    The loss is the cross-entropy of grey pixels, summed over an image. Its floor is their own
    entropy, and what the problem is judged by is how far above it the loss is.
    """

    title, measure = "autoencoder", "training loss above its floor (nats an image)"
    samples = 1000
    sizes = (64, 48, 24, 6, 24, 48, 64)

    def __init__(self, seed: int):
        self.images = digits()[0]
        self.layers = linears(self.sizes, seed)
        draw = torch.Generator().manual_seed(seed)
        for layer in self.layers:  # 15 incoming weights a unit, normal, as Martens says
            kept = torch.rand(layer.weight.shape, generator=draw).argsort(1) < 15
            normal = torch.randn(layer.weight.shape, generator=draw, dtype=torch.float64)
            layer.weight.data = kept * normal
            layer.bias.data.zero_()
        self.collect(self.layers)
        self.floor = float(torch.special.entr(torch.stack([self.images, 1 - self.images])).sum())
        self.floor /= self.samples

    def closure(self, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(cross-entropy of an image, logits of its pixels (n, 64))."""
        images = self.images if rows is None else self.images[rows]
        h = images
        for k, layer in enumerate(self.layers, 1):
            h = layer(h)
            if k not in (len(self.layers) // 2, len(self.layers)):  # code and output are linear
                h = torch.sigmoid(h)
        loss = F.binary_cross_entropy_with_logits(h, images, reduction="sum") / len(images)
        return loss, h

    @torch.no_grad()
    def error(self) -> float:
        """Mean Kullback-Leibler divergence of an image."""
        return float(self.closure()[0]) - self.floor


class Addition(Problem):
    """The addition problem (Hochreiter and Schmidhuber, 1997): add two marked of 40 numbers.

    A recurrent network of 32 tanh units reads them one after the other. Data by the seed.
    """

    title, measure = "addition", "mean square error on other sequences"
    samples, length, hidden = 500, 40, 32

    def __init__(self, seed: int):
        draw = torch.Generator().manual_seed(seed)
        self.train, self.check = self._draw(draw), self._draw(draw)
        self.enter, self.out = linears([2, self.hidden, 1], seed)
        self.again = nn.Linear(self.hidden, self.hidden, bias=False, dtype=torch.float64)
        square = torch.randn(self.hidden, self.hidden, generator=draw, dtype=torch.float64)
        self.again.weight.data = torch.linalg.qr(square).Q.contiguous()
        self.collect([self.enter, self.again, self.out])

    def _draw(self, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        shape = self.samples, self.length
        numbers = torch.rand(shape, generator=draw, dtype=torch.float64)
        half = self.length // 2  # one mark in each half
        first = torch.randint(half, (self.samples, 1), generator=draw)
        second = half + torch.randint(half, (self.samples, 1), generator=draw)
        marks = torch.zeros(shape, dtype=torch.float64)
        marks.scatter_(1, torch.cat([first, second], 1), 1.0)
        return torch.stack([numbers, marks], 2), (numbers * marks).sum(1, keepdim=True)

    def network(self, x: Tensor) -> Tensor:
        """(n, 1) from (n, length, 2)."""
        h = x.new_zeros(len(x), self.hidden)
        for u in self.enter(x).unbind(1):
            h = torch.tanh(u + self.again(h))
        return self.out(h)

    def closure(self, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(half the mean square error, outputs (n, 1))."""
        x, y = self.train if rows is None else (part[rows] for part in self.train)
        outputs = self.network(x)
        return (outputs - y).square().mean() / 2, outputs

    @torch.no_grad()
    def error(self) -> float:
        """Mean square error; without learning anything 1/6."""
        x, y = self.check
        return float((self.network(x) - y).square().mean())


class Noisy(Problem):
    """Digits with a fifth of their labels wrong, network 64-32-10, in batches of 50.

    Wrong labels by the seed. Judged by the objective on all 1,000 images.
    """

    title, measure, unit = "noisy batches", "objective on all images (nats)", "nats"
    samples, batch, weight = 1000, 50, 1e-3

    def __init__(self, seed: int):
        draw = torch.Generator().manual_seed(seed)
        self.images, labels = digits()
        wrong = torch.rand(self.samples, generator=draw) < 0.2
        other = (labels + torch.randint(1, 10, (self.samples,), generator=draw)) % 10
        self.labels = torch.where(wrong, other, labels)
        self.layers = linears([64, 32, 10], seed)
        self.collect(self.layers)

    def closure(self, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(mean cross-entropy, logits (n, 10))."""
        x, y = self.images, self.labels
        if rows is not None:
            x, y = x[rows], y[rows]
        logits = self.layers[1](torch.tanh(self.layers[0](x)))
        return F.cross_entropy(logits, y), logits


def decades(error: float) -> float:
    """log10 of an error; what is not finite or not positive has none."""
    return math.log10(error) if math.isfinite(error) and error > 0 else math.nan
