"""Operations without a second derivative are named, with the way out."""

import re

import pytest
import torch
from cases import close, randn
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from rlhf_lib import GaussNewtonOperator, HessianOperator, RLHFOptimizer, exact_hessian
from rlhf_lib.objective.second_derivative import explain

both = pytest.mark.parametrize("Operator", [HessianOperator, GaussNewtonOperator])
F = nn.functional


def attention(x):
    return F.scaled_dot_product_attention(*[x.view(1, 1, 4, 3)] * 3)


def flash(x):
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return attention(x)


def attention_by_hand(x):
    x = x.view(1, 1, 4, 3)
    return (x @ x.mT / 3**0.5).softmax(-1) @ x


def ctc(x):
    log_p = x.view(4, 1, 3).log_softmax(2)
    return F.ctc_loss(log_p, torch.tensor([[1]]), torch.tensor([4]), torch.tensor([1]))


OPERATIONS = {
    "attention": (flash, 'scaled_dot_product_flash_attention_for_cpu has no second .*="eager"'),
    "ctc": (ctc, r"ctc_loss has no second derivative .*first derivatives only"),
    "distance": (lambda x: torch.cdist(x.view(4, 3), x.view(4, 3) + 1), r"cdist has no second"),
    "bag": (
        lambda x: F.embedding_bag(torch.tensor([[0, 1]]), x.view(4, 3)),
        r"embedding_bag has no second derivative .*embedding\(\.\.\.\)",
    ),
    "margin": (
        lambda x: F.multi_margin_loss(x.view(4, 3), torch.tensor([0, 1, 2, 0])),
        "multi_margin_loss has no second",
    ),
}


@both
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_operation_and_the_way_out_are_named(Operator, operation):
    function, message = OPERATIONS[operation]
    x = randn(12).requires_grad_(True)

    def closure():
        outputs = function(x.sin())
        return outputs.square().sum(), outputs

    with pytest.raises(RuntimeError, match=message) as caught:
        Operator(closure, [x]) @ randn(12)
    assert "is not implemented" in str(caught.value.__cause__)


@both
@pytest.mark.parametrize("keep_graph", [True, False])
def test_fused_attention_gives_way_where_second_derivatives_are_asked_for(Operator, keep_graph):
    x, v = randn(12).requires_grad_(True), randn(12, seed=1)

    def closure(function):
        # What a checkpoint computes again, in a product, must be what it computed before.
        outputs = checkpoint(function, x.sin(), use_reentrant=False)
        return outputs.square().sum(), outputs

    def product(function):
        return Operator(lambda: closure(function), [x], keep_graph=keep_graph) @ v

    close(product(attention), product(attention_by_hand), rtol=1e-12)
    assert torch.backends.cuda.flash_sdp_enabled()


class Sine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()


class TwiceSine(Sine):
    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()


def test_torch_itself_says_nothing_of_a_function_differentiable_once():
    """The reason for looking at the graph: without that, the curvature here would be zero."""
    x = randn(3).requires_grad_(True)
    (g,) = torch.autograd.grad(Sine.apply(x).square().sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x, allow_unused=True, materialize_grads=True)
    curvature = 2 * (2 * x).cos()
    assert not h.any() and curvature.abs().min() > 0.1


def sine_closure(function, x):
    def closure():
        outputs = function.apply(2 * x)
        return (outputs + 0.1).square().sum(), outputs

    return closure


@both
@pytest.mark.parametrize("keep_graph", [True, False])
def test_a_function_differentiable_once_is_refused(Operator, keep_graph):
    x = randn(3).requires_grad_(True)
    with pytest.raises(RuntimeError, match=r"Sine \(once_differentiable\) has no second"):
        Operator(sine_closure(Sine, x), [x], keep_graph=keep_graph) @ randn(3)


@both
def test_a_function_differentiable_twice_is_not(Operator):
    x = randn(3).requires_grad_(True)
    z = (2 * x).detach()
    curvature = 8 * z.cos().square()
    if Operator is HessianOperator:
        curvature = curvature - 8 * (z.sin() + 0.1) * z.sin()
    close((Operator(sine_closure(TwiceSine, x), [x])).dense(), torch.diag(curvature), rtol=1e-12)


def test_the_exact_hessian_and_a_step_say_it_too():
    theta = randn(3)
    with pytest.raises(RuntimeError, match="Sine"):
        exact_hessian(lambda t: Sine.apply(t).sum(), theta)
    weight = nn.Parameter(theta)
    optimizer = RLHFOptimizer([weight])
    with pytest.raises(RuntimeError, match="Sine"):
        optimizer.step(sine_closure(Sine, weight))
    assert torch.equal(weight.detach(), randn(3))


def test_frozen_parameters_below_such_a_function_are_a_way_out():
    x, w = randn(3), randn(3, seed=1).requires_grad_(True)
    operator = HessianOperator(lambda: (Sine.apply(x) * w).square().sum(), [w])
    close(operator.dense(), torch.diag(2 * x.sin().square()), rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "the derivative for '_cudnn_rnn_backward' is not implemented. Double backwards is not "
            "supported for CuDNN RNNs",
            r"cudnn_rnn has no .*torch\.backends\.cudnn\.flags",
        ),
        (
            "torch.compile with aot_autograd does not currently support double backward",
            r"torch\.compile has no .*_orig_mod",
        ),
    ],
)
def test_messages_of_other_machines(text, expected):
    """As PyTorch 2.13 writes them on a GPU, and for compiled functions."""
    assert re.match(expected, explain(RuntimeError(text)))


def test_other_errors_stay_what_they_are():
    assert explain(RuntimeError("size mismatch")) is None

    def closure():
        raise RuntimeError("size mismatch in the closure")

    with pytest.raises(RuntimeError, match=r"^size mismatch in the closure$"):
        HessianOperator(closure, [randn(2).requires_grad_(True)])
