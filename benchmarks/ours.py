"""This library's own contenders, and the plain gradient that is the unit of all costs."""

from __future__ import annotations

import torch

from rlhf_lib import GaussNewtonOperator, HessianOperator, conjugate_gradient, sample_space_solve
from rlhf_lib.curvature import Shifted
from rlhf_lib.objective import TaskLoss

from .contenders import RTOL, contender

MICRO_BATCHES = 4


def micro_batches(problem):
    """The problem's batch in parts: (inputs, labels) pairs."""
    labels = problem.labels.chunk(MICRO_BATCHES)
    if not isinstance(problem.inputs, dict):
        return list(zip(problem.inputs.chunk(MICRO_BATCHES), labels, strict=True))
    parts = [x.chunk(MICRO_BATCHES) for x in problem.inputs.values()]
    inputs = [dict(zip(problem.inputs, part, strict=True)) for part in zip(*parts, strict=True)]
    return list(zip(inputs, labels, strict=True))


def _memory_mode(operator, problem):
    def closure(batch):
        logits = problem.module(batch[0])
        return problem.criterion(logits, batch[1]), logits

    return operator(
        closure,
        problem.params,
        micro_batches(problem),
        count=lambda batch: len(batch[1]),
        keep_graph=False,
    ).__matmul__


def _into_one_vector(operator):
    """Products as conjugate gradients make them: written into the same memory each time."""
    out = torch.empty_like(operator.gradient)
    return lambda v: operator.matvec(v, out)


def cg_solve(product, b, shift):
    """Conjugate gradients of this library on anything with `product(v)`."""

    class Operator:
        shape = (len(b), len(b))

        def __matmul__(self, v):
            return product(v)

    return conjugate_gradient(Shifted(Operator(), shift), b, rtol=RTOL, max_iter=200).x


@contender("gradient", "torch.autograd.grad")
def _(problem):
    return problem.gradient


@contender("gradient", "rlhf_lib, flattened")
def _(problem):
    return lambda: TaskLoss(problem.loss).value_and_gradient(problem.params)


@contender("Hv", "rlhf_lib, graph kept")
def _(problem):
    return _into_one_vector(HessianOperator(problem.loss, problem.params))


@contender("Hv", "rlhf_lib, memory mode, 4 micro-batches")
def _(problem):
    return _memory_mode(HessianOperator, problem)


@contender("Gv", "rlhf_lib, graph kept")
def _(problem):
    return _into_one_vector(problem.gauss_newton())


@contender("Gv", "rlhf_lib, memory mode, 4 micro-batches")
def _(problem):
    return _memory_mode(GaussNewtonOperator, problem)


@contender("solve", "rlhf_lib, CG")
def _(problem, b, shift):
    damped = Shifted(problem.gauss_newton(), shift)
    return conjugate_gradient(damped, b, rtol=RTOL, max_iter=200).x


@contender("solve", "rlhf_lib, sample space")
def _(problem, b, shift):
    G = problem.gauss_newton()
    assert bool((b + G.gradient).norm() <= 1e-5 * b.norm())  # the right-hand side is a step's
    return sample_space_solve(Shifted(G, shift), b, rtol=RTOL, gradient=-b).x
