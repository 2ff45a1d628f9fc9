import math
from itertools import pairwise

import pytest
import torch
from cases import (
    classification,
    close,
    cross_entropy_on,
    difference_product,
    few_cases,
    flat,
    mlp,
    randn,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rlhf_lib.interrupt import Interrupted, interruptible
from rlhf_lib.objective import sample_count
from rlhf_lib.objective.parameters import assign, check_params, flatten, unflatten
from rlhf_lib.objective.task_loss import TaskLoss, check_finite

X, Y = classification(10)
SCALE = torch.ones(3, dtype=torch.float64, requires_grad=True)


def ragged(*sizes):
    return list(zip(X.split(list(sizes)), Y.split(list(sizes)), strict=True))


@pytest.fixture
def net():
    return mlp(3, 4, 3)


def test_flatten_and_unflatten_are_inverse_and_assign_is_exact():
    params = list(mlp(3, 4, 3).parameters())
    vector = flatten(p.detach() for p in params)
    assert vector.shape == (sum(p.numel() for p in params),)
    for piece, p in zip(unflatten(vector, params), params, strict=True):
        assert torch.equal(piece, p)
    new = randn(len(vector), seed=5)
    assign(params, new)
    assert torch.equal(flat(params), new)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ([], "at least one parameter"),
        ([torch.zeros(2)], "parameter 0 of shape .2,. is frozen"),
        ([torch.zeros(2, dtype=torch.complex64, requires_grad=True)], "is complex"),
        ([torch.eye(2).to_sparse().requires_grad_(True)], "is sparse"),
        (
            [torch.zeros(2, requires_grad=True), torch.zeros(2).double().requires_grad_(True)],
            "one dtype and one device",
        ),
        ([torch.ones(2, requires_grad=True)] * 2, "appears twice"),
    ],
)
def test_parameters_that_curvature_cannot_handle_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        check_params(params)


@few_cases
@given(cuts=st.sets(st.integers(1, 9), max_size=5))
def test_any_cut_into_micro_batches_gives_the_whole_batchs_value_and_gradient(cuts):
    net = mlp(3, 4, 3)
    params = list(net.parameters())
    edges = [0, *sorted(cuts), 10]
    sizes = [b - a for a, b in pairwise(edges)]
    value, gradient = TaskLoss(cross_entropy_on(net), ragged(*sizes)).value_and_gradient(params)
    loss = nn.functional.cross_entropy(net(X), Y)
    assert math.isclose(value, loss.item(), rel_tol=1e-14)
    close(gradient, flat(torch.autograd.grad(loss, params)), rtol=1e-13)


def test_equal_weights_for_unequal_batches_would_be_wrong(net):
    parts = ragged(4, 4, 2)
    right = TaskLoss(cross_entropy_on(net), parts)
    equal = TaskLoss(cross_entropy_on(net), parts, count=lambda batch: 1)
    assert right.weights == [0.4, 0.4, 0.2] and equal.weights == [1 / 3] * 3
    assert abs(right.value() - equal.value()) > 1e-3
    assert right.samples == 10


def test_gradient_agrees_with_central_differences_of_the_value(net):
    params = list(net.parameters())
    task = TaskLoss(cross_entropy_on(net), ragged(7, 3))
    _, gradient = task.value_and_gradient(params)
    theta, v, h = flat(params), randn(len(gradient), seed=3), 1e-5
    values = []
    for t in (h, -h):
        assign(params, theta + t * v)
        values.append(task.value())
    assert math.isclose((values[0] - values[1]) / (2 * h), float(gradient @ v), rel_tol=1e-7)


def test_batches_are_weighted_by_labelled_tokens_when_told_so():
    logits = randn(4, 6, 5)
    labels = torch.randint(5, (4, 6), generator=torch.Generator().manual_seed(0))
    labels[0, 1:], labels[2] = -100, -100  # the third sentence has no label at all

    def loss(batch):
        return nn.functional.cross_entropy(batch[0].flatten(0, 1), batch[1].flatten())

    parts = list(zip(logits.split(1), labels.split(1), strict=True))
    task = TaskLoss(loss, parts, count=lambda batch: int((batch[1] != -100).sum()))
    assert task.samples == 13
    assert math.isclose(task.value(), loss((logits, labels)).item(), rel_tol=1e-14)


@pytest.mark.parametrize("counts", [[], [0, 0], [2, -1]])
def test_batches_need_a_positive_number_of_samples(counts):
    with pytest.raises(ValueError, match="positive number of samples"):
        TaskLoss(lambda batch: batch, counts, count=lambda batch: batch)


def test_batches_may_be_a_generator_because_they_are_read_once(net):
    task = TaskLoss(cross_entropy_on(net), (part for part in ragged(5, 5)))
    assert task.value() == task.value() > 0


@pytest.fixture
def dropout():
    """A loss whose masks come from torch's generator, in two micro-batches."""
    torch.manual_seed(3)
    return lambda batch: nn.functional.dropout(batch * SCALE, 0.5).pow(2).mean()


def test_every_pass_over_one_task_sees_the_same_dropout_masks(dropout):
    task = TaskLoss(dropout, X.split(5))
    first = task.value()
    assert [task.value(), task.value()] == [first, first]
    assert task.value_and_gradient([SCALE])[0] == first


def test_masks_belong_to_the_first_pass_not_to_the_construction(dropout):
    task = TaskLoss(dropout, X.split(5))
    torch.rand(7)
    assert task.value() == task.value()


def test_the_next_task_sees_other_masks(dropout):
    assert TaskLoss(dropout, X.split(5)).value() != TaskLoss(dropout, X.split(5)).value()


@pytest.mark.parametrize("first", ["the whole", "the part"])
def test_a_part_sees_the_masks_of_the_whole(dropout, first):
    batches = X.split(5)
    seen = {}

    def watched(batch):
        loss = dropout(batch)
        seen.setdefault(id(batch), set()).add(loss.item())
        return loss

    whole = TaskLoss(watched, batches, count=sample_count)  # so that no parts are looked at
    parts = [whole.part(slice(1, None)), whole.part([batches[0]])]
    for task in (whole, *parts) if first == "the whole" else (*parts, whole):
        task.value()
    assert [len(values) for values in seen.values()] == [1] * len(batches)


def test_a_part_is_the_mean_over_its_batches_alone(net):
    batches = ragged(5, 3, 2)
    whole = TaskLoss(cross_entropy_on(net), batches)
    for which, same in ((slice(1, None), batches[1:]), (batches[:2], batches[:2])):
        part, alone = whole.part(which), TaskLoss(cross_entropy_on(net), same)
        assert (part.samples, part.value()) == (alone.samples, alone.value())
    other = [tuple(t[:2] for t in batches[0])]  # none of the loss's own
    assert whole.part(other).value() == TaskLoss(cross_entropy_on(net), other).value()
    assert whole.samples == 10


def test_a_slice_counts_batches_without_a_term_too():
    batches = [torch.ones(2), torch.ones(0), 3 * torch.ones(1), 5 * torch.ones(2)]
    part = TaskLoss(torch.mean, batches).part(slice(3))
    assert part.samples == 3 and part.value() == pytest.approx((2 * 1 + 3) / 3)


def test_a_part_needs_batches():
    with pytest.raises(ValueError, match="expected a part of a loss over batches, got a loss wit"):
        TaskLoss(lambda: SCALE.sum()).part(slice(1))


def test_only_the_first_pass_moves_the_callers_generator(dropout):
    task = TaskLoss(dropout, X.split(5))
    before = torch.get_rng_state()
    task.value()
    after = torch.get_rng_state()
    assert not torch.equal(before, after)
    task.value()
    assert torch.equal(torch.get_rng_state(), after)


def test_a_pass_left_half_way_leaves_the_callers_generator_alone(dropout):
    task = TaskLoss(dropout, X.split(5))
    first = task.value()
    state = torch.get_rng_state()
    half = task.evaluate()
    next(half)
    assert torch.equal(torch.get_rng_state(), state)
    half.close()
    assert task.value() == first


def test_a_long_pass_can_be_stopped_between_micro_batches(net):
    seen = []
    task = TaskLoss(lambda batch: seen.append(1) or batch.mean(), X.split(1))
    with pytest.raises(Interrupted), interruptible(lambda: len(seen) >= 3):
        task.value()
    assert len(seen) == 3
    assert task.value() == pytest.approx(float(X.mean()))


def test_unused_parameters_get_zero_gradients(net):
    unused = torch.ones(2, 2, dtype=torch.float64, requires_grad=True)
    params = [unused, *net.parameters()]
    _, gradient = TaskLoss(cross_entropy_on(net), ragged(10)).value_and_gradient(params)
    assert not gradient[:4].any() and gradient[4:].any()


def test_values_that_are_not_finite_come_back_as_they_are():
    assert math.isnan(TaskLoss(lambda: torch.tensor(math.nan)).value())
    for value in (math.inf, torch.tensor([1.0, math.nan])):
        with pytest.raises(FloatingPointError, match="the loss is not finite"):
            check_finite("the loss", value)
    check_finite("the loss", 1.0)
    check_finite("the loss", torch.ones(3))


def test_a_closure_that_calls_backward_is_told_what_to_do_instead(net):
    def closure():
        loss = nn.functional.cross_entropy(net(X), Y)
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match=r"must not call loss\.backward"):
        TaskLoss(closure).value_and_gradient(list(net.parameters()))


def test_a_loss_that_was_detached_is_explained(net):
    with pytest.raises(RuntimeError, match="does not depend on any trained parameter"):
        TaskLoss(lambda: net(X).sum().detach()).value_and_gradient(list(net.parameters()))


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (3.0, TypeError, r"expected \(loss, outputs\) as tensors.*got float"),
        ((torch.tensor(1.0), "logits"), TypeError, "as tensors"),
        (torch.ones(3), ValueError, r"scalar loss, got shape \(3,\): take its mean"),
    ],
)
def test_what_the_closure_returns_is_checked(returned, error, message):
    with pytest.raises(error, match=message):
        TaskLoss(lambda: returned).value()


def test_differences_and_double_backward_agree_on_the_shared_helper():
    # The helper is a truth in other files, so it is held against a Hessian known by hand.
    theta, v = randn(4), randn(4, seed=1)
    close(difference_product(lambda t: (t**3).sum(), theta, v), 6 * theta * v, rtol=1e-9)
