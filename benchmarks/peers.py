"""The other libraries, each called as its documentation says, with optional checks turned off."""

from __future__ import annotations

import warnings

import torch
from torch.func import functional_call

from rlhf_lib.objective import flatten, unflatten

from .contenders import RTOL, contender
from .ours import cg_solve, micro_batches

CURVLINOPS, BACKPACK = "curvlinops-for-pytorch", "backpack-for-pytorch"
PYHESSIAN, EIGENTHINGS = "PyHessian", "hessian-eigenthings"
MINIMIZE = "pytorch-minimize"
# PyTorchHessianFree is not on the package index; its products are these calls to BackPACK.
HESSIANFREE = "BackPACK helpers, as PyTorchHessianFree calls them"


def _curvlinops(operator, problem, batches=None):
    token = next(iter(problem.inputs)) if isinstance(problem.inputs, dict) else None
    return operator(
        problem.module,
        torch.nn.CrossEntropyLoss(),
        problem.params,
        batches or [(problem.inputs, problem.labels)],
        check_deterministic=False,
        num_data=len(problem.labels),
        batch_size_fn=lambda x: len(x if token is None else x[token]),
    )


@contender("Hv", "curvlinops", CURVLINOPS)
def _(problem):
    from curvlinops import HessianLinearOperator

    return _curvlinops(HessianLinearOperator, problem).__matmul__


@contender("Hv", "curvlinops, 4 micro-batches", CURVLINOPS)
def _(problem):
    from curvlinops import HessianLinearOperator

    return _curvlinops(HessianLinearOperator, problem, micro_batches(problem)).__matmul__


@contender("Gv", "curvlinops", CURVLINOPS)
def _(problem):
    from curvlinops import GGNLinearOperator

    return _curvlinops(GGNLinearOperator, problem).__matmul__


@contender("Gv", "curvlinops, 4 micro-batches", CURVLINOPS)
def _(problem):
    from curvlinops import GGNLinearOperator

    return _curvlinops(GGNLinearOperator, problem, micro_batches(problem)).__matmul__


@contender("solve", "curvlinops, CG", CURVLINOPS)
def _(problem, b, shift):
    from curvlinops import CGInverseLinearOperator, GGNLinearOperator
    from curvlinops.examples import IdentityLinearOperator

    shapes = [tuple(p.shape) for p in problem.params]
    damped = _curvlinops(GGNLinearOperator, problem) + shift * IdentityLinearOperator(
        shapes, b.device, b.dtype
    )
    return CGInverseLinearOperator(damped, tolerance=RTOL, max_iter=200) @ b


@contender("Hv", "PyHessian", PYHESSIAN)
def _(problem):
    from pyhessian import hessian
    from pyhessian.utils import hessian_vector_product

    for p in problem.params:  # it adds its gradient to .grad
        p.grad = None
    with warnings.catch_warnings(action="ignore"):  # torch's, of just what the next loop mends
        computed = hessian(
            problem.module,
            problem.criterion,
            data=(problem.inputs, problem.labels),
            cuda=problem.device.type == "cuda",
        )
    for p in problem.params:  # the graph would hang on .grad for ever
        p.grad = None
    return lambda v: hessian_vector_product(
        computed.gradsH, computed.params, unflatten(v, problem.params)
    )


@contender("Hv", "hessian-eigenthings", EIGENTHINGS)
def _(problem):
    from hessian_eigenthings.operators.hessian import HessianOperator

    return HessianOperator(
        problem.module,
        [(problem.inputs, problem.labels)],
        lambda model, batch: problem.criterion(model(batch[0]), batch[1]),
    ).matvec


@contender("Gv", "hessian-eigenthings", EIGENTHINGS)
def _(problem):
    from hessian_eigenthings.operators.ggn import GGNOperator

    return GGNOperator(
        problem.module,
        [(problem.inputs, problem.labels)],
        lambda model, batch: model(batch[0]),
        lambda logits, batch: problem.criterion(logits, batch[1]),
    ).matvec


@contender("Hv", "pytorch-minimize", MINIMIZE)
def _(problem):
    from torchmin.function import ScalarFunction

    names = [name for name, _ in problem.module.named_parameters()]

    def loss(theta):
        at = dict(zip(names, unflatten(theta, problem.params), strict=True))
        return problem.criterion(
            functional_call(problem.module, at, (problem.inputs,)), problem.labels
        )

    theta = flatten(p.detach() for p in problem.params)
    return ScalarFunction(loss, theta.shape, hessp=True).closure(theta).hessp.mv


@contender("Hv", HESSIANFREE, BACKPACK)
def _(problem):
    from backpack.hessianfree.hvp import hessian_vector_product

    loss, params = problem.loss(), problem.params
    return lambda v: flatten(hessian_vector_product(loss, params, unflatten(v, params)))


def _backpack_ggn(problem):
    from backpack.hessianfree.ggnvp import ggn_vector_product_from_plist

    (loss, logits), params = problem.closure(), problem.params
    return lambda v: flatten(
        ggn_vector_product_from_plist(loss, logits, params, unflatten(v, params))
    )


contender("Gv", HESSIANFREE, BACKPACK)(_backpack_ggn)


@contender("solve", f"{HESSIANFREE}, CG of rlhf_lib", BACKPACK)
def _(problem, b, shift):
    return cg_solve(_backpack_ggn(problem), b, shift)
