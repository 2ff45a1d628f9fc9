"""Checks of notebook 14."""

from __future__ import annotations

import torch
from torch import nn

from ..checking.cases import generator, integer, randn, uniform
from ..checking.expect import call, expect, parts
from ..checking.feedback import correct, require
from ..checking.goals import goal
from ..checking.registry import exercise

MEGABYTES, LOST = 15.0, 0.03


@goal("14.small")
def small(records, values):
    """A file of at most 15 MB, and an accuracy at most 0.03 below that of the whole model."""
    last = records[-1].extra
    size, lost = last["megabytes"], last["whole"] - last["accuracy"]
    require(
        size <= MEGABYTES or values["way"] == "bits",
        f"{size:.1f} MB. Half of the numbers stand in the embeddings' tables, which this way does "
        "not touch: no fraction of the layers brings the file down to 15 MB.",
    )
    require(
        size <= MEGABYTES or values["tables"],
        f"{size:.1f} MB: the embeddings' tables are still in floats. Round them, too.",
    )
    require(size <= MEGABYTES, f"{size:.1f} MB: fewer bits.")
    require(
        lost <= LOST + 1e-9,  # both are rounded
        f"{size:.1f} MB, but {lost:.3f} of accuracy are lost: too few bits to tell weights apart.",
    )
    return correct(f"{size:.1f} MB of {last['megabytes_whole']:.1f}, hardly any accuracy lost.")


@exercise("14.neurons")
def neurons(answer):
    """A function (W1, b1, W2, keep) -> the three without the other neurons."""
    for seed in range(3):
        n, d, o = integer(6, 9, seed), integer(3, 5, 10 + seed), integer(2, 4, 20 + seed)
        W1, b1, W2 = randn(n, d, seed=seed), randn(n, seed=seed + 1), randn(o, n, seed=seed + 2)
        order = torch.randperm(n, generator=generator(seed))
        keep, rest = order[: n // 2].sort().values, order[n // 2 :].sort().values
        got = parts(call(answer, W1, b1, W2, keep), "(W1, b1, W2)")
        expect(
            got[0],
            W1[keep],
            {
                "That is W1 with rows set to zero: take them out, or nothing gets smaller.": torch.where(
                    torch.isin(torch.arange(n), keep)[:, None], W1, 0.0
                ),
                "You dropped the neurons to keep.": W1[rest],
            },
            "A neuron is a row of W1 (n, d).",
            what="W1",
        )
        expect(
            got[1],
            b1[keep],
            {"b1 is still whole: a neuron has an entry of it.": b1},
            "A neuron has one entry of b1.",
            what="b1",
        )
        expect(
            got[2],
            W2[:, keep],
            {
                "W2 is still whole: it reads every neuron by a column.": W2,
                "Those are rows of W2, its outputs; neurons are its columns.": W2[:o],
            },
            "A neuron is a column of W2 (o, n).",
            what="W2",
        )
    return correct("Smaller matrices, the same answers as with silent neurons: this saves time.")


@exercise("14.twin")
def twin(answer):
    """A function (W1, b1, W2) -> three with the same outputs, all of W1 smaller than all of W2."""
    for seed in range(3):
        n, d, o = integer(4, 8, seed), integer(3, 6, 10 + seed), integer(2, 5, 20 + seed)
        W1, b1, W2 = (
            randn(*shape, seed=seed + 30 * k) for k, shape in enumerate(((n, d), (n,), (o, n)))
        )
        W1, W2 = ((W.sign() + W) * uniform(0.2, 5, seed=seed) for W in (W1, W2))  # no zeros
        x = 3 * randn(d, 40, seed=seed + 90)
        got = parts(call(answer, W1, b1, W2), "(W1, b1, W2)")
        got = [torch.as_tensor(value, dtype=W1.dtype) for value in got]
        for mine, old, name in zip(got, (W1, b1, W2), ("W1", "b1", "W2"), strict=True):
            require(
                mine.shape == old.shape,
                f"{name} has the shape {tuple(mine.shape)}, not {tuple(old.shape)}: scale, take "
                "nothing out.",
            )

        def outputs(W1, b1, W2, x=x):
            return W2 @ (W1 @ x + b1[:, None]).relu()

        mine = outputs(*got)
        expect(
            mine,
            outputs(W1, b1, W2),
            {
                "The shift b1 goes into the neuron, too: it needs the same factor.": mine
                if torch.equal(got[1], b1)
                else None,
                "What reads a neuron has to make up for its factor.": mine
                if torch.equal(got[2], W2)
                else None,
                "relu(s x) is s relu(x) for a positive s only.": mine
                if bool((got[0] / W1 < 0).all())
                else None,
            },
            "relu(s x) = s relu(x) for s > 0: who makes up for the s?",
            what="output",
            rtol=1e-7,
        )
        large, small = float(got[0].abs().max()), float(got[2].abs().min())
        require(
            large < small,
            f"The outputs are the same, but the largest entry of W1 is {large:.2g} and the smallest of "
            f"W2 is {small:.2g}: by size they still mix.",
        )
    return correct("The same function, and by size all zeros fall into one layer: size has units.")


CASES = ((1.8, 2.5), 0.4), ((3.5, 5.0), 0.3), ((1.3, 1.7), 0.8)  # of T, and alpha


def _soft(student, teacher, T, *, reverse=False, teacher_T=None):
    p = (student / T).log_softmax(1)
    q = (teacher / (teacher_T or T)).log_softmax(1)
    if reverse:
        p, q = q, p
    return nn.functional.kl_div(p, q, reduction="batchmean", log_target=True)


@exercise("14.distillation")
def distillation(answer):
    """A function (student, teacher, labels, T, alpha) -> the distillation loss."""
    for seed, (T, alpha) in enumerate(
        (uniform(*ends, seed=k), share) for k, (ends, share) in enumerate(CASES)
    ):
        student, teacher = 2 * randn(5, 3, seed=seed), 2 * randn(5, 3, seed=seed + 9)
        labels = torch.randint(3, (5,), generator=generator(seed))
        hard = nn.functional.cross_entropy(student, labels)
        soft = _soft(student, teacher, T)
        n, C = student.shape

        def loss(soft, hard=hard, T=T, alpha=alpha):
            return alpha * T**2 * soft + (1 - alpha) * hard

        expect(
            call(answer, student, teacher, labels, T, alpha),
            loss(soft),
            {
                "τ² is missing: without it the soft part's gradient shrinks as τ grows.": alpha
                * soft
                + (1 - alpha) * hard,
                "τ stands where τ² belongs: one τ for the logits, one for their gradient.": alpha
                * T
                * soft
                + (1 - alpha) * hard,
                "The divergence goes the other way round: KL(teacher ‖ student).": loss(
                    _soft(student, teacher, T, reverse=True)
                ),
                "The teacher's logits are to be divided by τ, too.": loss(
                    _soft(student, teacher, T, teacher_T=1.0)
                ),
                "alpha and 1 - alpha are exchanged.": (1 - alpha) * T**2 * soft + alpha * hard,
                'The mean goes over samples: reduction="mean" also divides by the classes.': loss(
                    soft / C
                ),
                "The sum over samples was taken; take their mean.": loss(soft * n),
                "Labels are answered at τ = 1: their cross-entropy takes the logits as they are.": loss(
                    soft, nn.functional.cross_entropy(student / T, labels)
                ),
                "The labels' part is missing.": alpha * T**2 * soft,
            },
            "α τ² KL(softmax(teacher / τ) ‖ softmax(student / τ)) + (1 − α) cross-entropy.",
            what="loss",
        )
    return correct("Two teachers at once: the labels, and a model that also says how sure it is.")


@exercise("14.limit")
def limit(answer):
    """A function (student, teacher) -> the limit of τ² KL as τ grows."""
    for seed in range(3):
        z, v = randn(5, 4, seed=seed) + 1, randn(5, 4, seed=seed + 7) - 2
        C = z.shape[1]
        d = (z - z.mean(1, keepdim=True)) - (v - v.mean(1, keepdim=True))
        truth = d.square().sum(1).mean() / (2 * C)
        expect(
            call(answer, z, v),
            truth,
            {
                "Softmax does not see a constant added to all logits, so neither may the limit: take "
                "each row's mean away first.": (z - v).square().sum(1).mean() / (2 * C),
                "The factor ½ is missing.": d.square().sum(1).mean() / C,
                "Divide by the number of classes: a softmax at high τ is nearly 1/C everywhere.": d.square()
                .sum(1)
                .mean()
                / 2,
                "The mean goes over the samples.": d.square().sum() / (2 * C),
                "That is the distance; the limit has its square.": d.norm(dim=1).mean() / (2 * C),
            },
            "Expand both softmaxes to first order in 1/τ.",
            what="limit",
        )
    return correct("At high temperature a student fits logits by least squares.")
