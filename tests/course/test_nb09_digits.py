"""The experiment of notebook 09: its objective, its budget, and that seeds decide everything."""

import pytest
import torch
from cases import close
from sklearn.datasets import load_digits

from rlhf_course.experiments.nb09_digits import SAMPLES, WEIGHT, Digits, loss_of, penalty, within


@pytest.fixture(scope="module")
def digits():
    return Digits(*load_digits(return_X_y=True), hidden=4)


def test_training_and_validation_share_no_image(digits):
    images, labels = digits.train
    assert images.shape == (SAMPLES, 64) and labels.shape == (SAMPLES,)
    assert digits.validation[0].shape == (1797 - SAMPLES, 64)
    assert 0 <= images.min() and images.max() == 1
    every = torch.cat([images, digits.validation[0]])
    truth = torch.tensor(load_digits().data) / 16
    assert torch.equal(every.sum(1).sort().values, truth.sum(1).sort().values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_network_hangs_on_the_seed_alone(digits, dtype):
    default, state = torch.get_default_dtype(), torch.get_rng_state()
    try:
        torch.set_default_dtype(dtype)
        model = digits.network(3)
    finally:
        torch.set_default_dtype(default)
    assert torch.equal(model[0].weight, digits.network(3)[0].weight)
    assert not torch.equal(model[0].weight, digits.network(4)[0].weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_all_methods_minimize_the_same_objective(digits):
    model = digits.network(0)
    logits = model(digits.train[0])
    chosen = logits.log_softmax(1)[torch.arange(SAMPLES), digits.train[1]]
    weights = model[0].weight.square().sum() + model[-1].weight.square().sum()
    truth = (-chosen.mean() + WEIGHT / 2 * weights).item()
    close((loss_of(model)(digits.train)[0] + penalty(model, WEIGHT)).item(), truth)
    (first, *_), (start, *_) = (
        digits.first_order(lambda p: torch.optim.SGD(p, lr=0.1), 0, budget=1),
        list(digits.rlhf(0, 50, budget=3)),
    )
    close(first.train_loss, truth)
    close(start.train_loss, truth)
    close(start.objective, truth)


def test_a_step_of_sgd_is_one_on_the_objective(digits):
    records = digits.first_order(lambda p: torch.optim.SGD(p, lr=0.1), 0, size=SAMPLES, budget=2)
    model = digits.network(0)
    for _ in range(2):
        value = loss_of(model)(digits.train)[0] + penalty(model, WEIGHT)
        slopes = torch.autograd.grad(value, list(model.parameters()))
        with torch.no_grad():
            for p, slope in zip(model.parameters(), slopes, strict=True):
                p -= 0.1 * slope
    close(records[-1].train_loss, digits.evaluate(model)()["train_loss"], rtol=1e-10)


def test_the_budget_is_kept_and_spent(digits):
    adam = digits.first_order(lambda p: torch.optim.Adam(p, lr=0.01), 0, size=100, budget=3)
    assert [r.cost / SAMPLES for r in adam] == [0, 1, 2, 3]
    rlhf = list(digits.rlhf(0, 100, budget=8, max_iter=3))
    assert 6 < rlhf[-1].cost / SAMPLES <= 8
    assert rlhf[-1].train_loss < rlhf[0].train_loss


def test_within_stops_at_the_first_record_beyond():
    class At:
        def __init__(self, cost):
            self.cost = cost * SAMPLES

    assert [r.cost for r in within(iter(map(At, (0, 1, 3, 2))), 2)] == [0, SAMPLES]


def test_draws_are_random_batches_of_training_images(digits):
    generator = torch.Generator().manual_seed(0)
    images, labels = digits.draw(30, generator)
    again, _ = digits.draw(30, generator)
    assert images.shape == (30, 64) and not torch.equal(images, again)
    where = (digits.train[0][None] == images[:, None]).all(2)
    assert where.any(1).all()
    close(digits.train[1][where.int().argmax(1)], labels)
