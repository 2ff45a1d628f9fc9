import math
from itertools import pairwise

import pytest
import torch
from cases import classification, close, cross_entropy_on, flat, mlp
from torch import nn

from rlhf_lib import RLHFOptimizer, train

X, Y = classification(12)
BATCHES = list(zip(X.split(5), Y.split(5), strict=True))  # 5, 5 and 2 samples


@pytest.fixture
def net():
    return mlp(3, 4, 3)


def loss_at(net, inputs=X, labels=Y):
    return nn.functional.cross_entropy(net(inputs), labels).item()


def rlhf(net, **options):
    return RLHFOptimizer(net.parameters(), lambda_reg=0.01, regularizer="l2", **options)


def adamw(net):
    return torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)


@pytest.mark.parametrize("make", [rlhf, adamw])
def test_records_come_in_order_one_for_each_step_and_one_before(net, make):
    first_loss = loss_at(net, *BATCHES[0])
    records = list(train(cross_entropy_on(net), make(net), BATCHES, epochs=2))
    assert [r.step for r in records] == list(range(7))
    assert records[0].reason == "start" and records[0].cost == 0
    assert records[0].loss == records[1].loss == first_loss
    for before, after in pairwise(records[1:]):
        assert after.cost > before.cost and after.seconds > before.seconds


def test_adamw_is_the_hand_written_loop_bit_for_bit(net):
    other = mlp(3, 4, 3)
    optimizer, losses = adamw(other), []
    for _ in range(4):
        for inputs, labels in BATCHES:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(other(inputs), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    records = list(train(cross_entropy_on(net), adamw(net), BATCHES, epochs=4))
    assert torch.equal(flat(net.parameters()), flat(other.parameters()))
    assert [r.loss for r in records[1:]] == losses
    assert records[-1].cost == 4 * 12  # gradients of one sample


def test_rlhf_is_the_hand_written_loop_bit_for_bit(net):
    other = mlp(3, 4, 3)
    optimizer, inner = rlhf(other), cross_entropy_on(other)
    for batch in BATCHES:
        optimizer.step(lambda batch=batch: inner(batch))
    records = list(train(cross_entropy_on(net), rlhf(net), BATCHES))
    assert torch.equal(flat(net.parameters()), flat(other.parameters()))
    assert records[-1].with_(seconds=0) == optimizer.record.with_(seconds=0)


@pytest.mark.parametrize("make", [rlhf, adamw])
def test_a_list_of_micro_batches_is_one_batch_weighted_by_samples(net, make):
    other = mlp(3, 4, 3)
    whole = list(train(cross_entropy_on(other), make(other), [(X, Y)], epochs=3))
    ragged = list(train(cross_entropy_on(net), make(net), [BATCHES], epochs=3))
    close(flat(net.parameters()), flat(other.parameters()), rtol=1e-7)
    assert [r.loss for r in ragged] == pytest.approx([r.loss for r in whole], rel=1e-8)
    assert [r.step for r in ragged] == [0, 1, 2, 3]


def test_count_weights_micro_batches_as_told(net):
    other = mlp(3, 4, 3)
    for n, count in ((net, lambda batch: 1), (other, None)):
        list(train(cross_entropy_on(n), adamw(n), [BATCHES], count=count))
    assert not torch.equal(flat(net.parameters()), flat(other.parameters()))


def test_lbfgs_runs_and_counts_all_its_gradients(net):
    calls = []

    def loss_fn(batch):
        calls.append(1)
        return cross_entropy_on(net)(batch)

    optimizer = torch.optim.LBFGS(net.parameters(), line_search_fn="strong_wolfe")
    records = list(train(loss_fn, optimizer, [(X, Y)], epochs=2))
    assert records[-1].cost == 12 * (len(calls) - 1)  # one was for step 0
    assert records[-1].cost > 12 * 2
    assert loss_at(net) < 0.5 * records[0].loss


def test_lbfgs_is_the_hand_written_loop_bit_for_bit(net):
    other = mlp(3, 4, 3)
    optimizer = torch.optim.LBFGS(other.parameters(), line_search_fn="strong_wolfe", max_iter=5)

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(other(X), Y)
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    ours = torch.optim.LBFGS(net.parameters(), line_search_fn="strong_wolfe", max_iter=5)
    list(train(cross_entropy_on(net), ours, [(X, Y)], epochs=3))
    assert torch.equal(flat(net.parameters()), flat(other.parameters()))


def test_curvature_batches_are_asked_for_by_step(net):
    other, asked = mlp(3, 4, 3), []

    def few(step):
        asked.append(step)
        return [BATCHES[step % 3]]

    list(train(cross_entropy_on(net), rlhf(net), [BATCHES], epochs=3, curvature_batches=few))
    assert asked == [1, 2, 3]
    optimizer = rlhf(other)
    for step in (1, 2, 3):
        optimizer.step(cross_entropy_on(other), batches=BATCHES, curvature_batches=few(step))
    assert torch.equal(flat(net.parameters()), flat(other.parameters()))


@pytest.mark.parametrize(
    ("epochs", "max_steps", "every", "expected"),
    [
        (2, None, 1, [0, 1, 2, 3, 4, 5, 6]),
        (2, None, 4, [0, 4, 6]),
        (3, 5, 3, [0, 3, 5]),
        (1, 50, 2, [0, 2, 3]),
        (5, 0, 1, [0]),
    ],
)
def test_evaluation_comes_at_the_start_every_so_often_and_at_the_end(
    net, epochs, max_steps, every, expected
):
    records = list(
        train(
            cross_entropy_on(net),
            adamw(net),
            BATCHES,
            epochs=epochs,
            max_steps=max_steps,
            evaluate=lambda: {"val_loss": loss_at(net)},
            evaluate_every=every,
        )
    )
    assert [r.step for r in records if r.val_loss is not None] == expected
    assert records[-1].step == expected[-1]
    assert records[-1].val_loss == loss_at(net)


def test_batches_of_unknown_number_are_taken_up_to_max_steps(net):
    def endless():
        while True:
            yield X, Y

    records = list(train(cross_entropy_on(net), adamw(net), endless(), max_steps=3))
    assert [r.step for r in records] == [0, 1, 2, 3]


@pytest.mark.parametrize("make", [rlhf, adamw])
def test_closing_early_leaves_the_model_as_the_last_record_says(net, make):
    def evaluate():
        return {"train_loss": loss_at(net)}

    run = train(cross_entropy_on(net), make(net), BATCHES, epochs=5, evaluate=evaluate)
    last = None
    for record in run:
        last = record
        if record.step == 2:
            run.close()
    assert last.step == 2 and last.train_loss == loss_at(net)
    assert list(run) == []


@pytest.mark.parametrize("make", [rlhf, adamw])
def test_a_loss_that_is_not_finite_ends_the_run_after_the_earlier_records(net, make):
    bad = (X[:5] * math.nan, Y[:5])
    seen, thetas = [], []
    with pytest.raises(FloatingPointError, match="loss is not finite"):
        for record in train(cross_entropy_on(net), make(net), [*BATCHES[:2], bad]):
            seen.append(record)
            thetas.append(flat(net.parameters()))
    assert [r.step for r in seen] == [0, 1, 2]
    assert torch.equal(flat(net.parameters()), thetas[-1])


@pytest.mark.parametrize("make", [rlhf, adamw])
def test_a_gradient_that_is_not_finite_ends_the_run_before_it_spoils_the_parameters(net, make):
    theta = flat(net.parameters())

    def loss_fn(batch):  # the root has no derivative at 0
        logits = net(batch[0])
        return (logits - logits.detach()).pow(2).sum().sqrt(), logits

    with pytest.raises(FloatingPointError, match="gradient is not finite"):
        list(train(loss_fn, make(net), BATCHES))
    assert torch.equal(flat(net.parameters()), theta)


def test_lbfgs_is_put_back_when_a_trial_point_is_not_finite(net):
    theta = flat(net.parameters())

    def loss_fn(batch):
        loss, logits = cross_entropy_on(net)(batch)
        here = torch.equal(flat(net.parameters()), theta)
        return (loss if here else loss * math.nan), logits

    with pytest.raises(FloatingPointError):
        list(train(loss_fn, torch.optim.LBFGS(net.parameters()), [(X, Y)]))
    assert torch.equal(flat(net.parameters()), theta)


def test_no_batches_is_an_error(net):
    with pytest.raises(ValueError, match="at least one batch"):
        list(train(cross_entropy_on(net), adamw(net), []))


def test_rlhf_lowers_the_objective_at_every_step_of_a_whole_batch(net):
    records = list(train(cross_entropy_on(net), rlhf(net), [(X, Y)], epochs=12))[1:]
    values = [r.objective for r in records]
    assert values == sorted(values, reverse=True) and values[-1] < 0.6 * values[0]


def test_a_data_loaders_list_of_tensors_is_one_batch(net):
    data = torch.utils.data.TensorDataset(X, Y)
    loader = torch.utils.data.DataLoader(data, batch_size=len(X))
    assert isinstance(next(iter(loader)), list)
    records = list(train(cross_entropy_on(net), rlhf(net), loader))
    assert len(records) == 2
    assert records[1].loss == pytest.approx(records[0].loss, rel=1e-12)


def test_the_first_record_has_the_penalty(net):
    optimizer = RLHFOptimizer(net.parameters(), regularizer="l2", lambda_reg=0.1)
    start, first = train(cross_entropy_on(net), optimizer, [(X, Y)])
    assert start.penalty == pytest.approx(first.penalty, rel=1e-12) and start.penalty > 0
