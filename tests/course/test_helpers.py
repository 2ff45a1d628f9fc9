"""What notebooks 01 and 02 draw and train with."""

import math

import pytest
import torch

from rlhf_course.experiments.nb01_side_by_side import side_by_side
from rlhf_course.panels.sketch import Sketch

X_Y = torch.Generator().manual_seed(0)
X = torch.randn(3, 8, 2, generator=X_Y, dtype=torch.float64)
Y = torch.randn(3, 8, 1, generator=X_Y, dtype=torch.float64)
CLASSES = torch.arange(24).view(3, 8) % 3


def last(*args, **options):
    *_, end = side_by_side(*args, **options)
    return end


@pytest.mark.parametrize("targets", [Y, CLASSES])
def test_each_network_is_trained_as_if_it_were_alone(targets):
    # A network's gradient does not depend on the data of another one.
    lam = torch.tensor([0.0, 0.1, 1.0], dtype=torch.float64)
    together = last(X, targets, width=4, lambda_reg=lam, steps=30)
    changed = targets.clone()
    changed[1:] = changed[1:].flip(1)
    other = last(X, changed, width=4, lambda_reg=lam.flip(0).where(lam > 0, lam), steps=30)
    torch.testing.assert_close(together.train_loss[0], other.train_loss[0])
    torch.testing.assert_close(together.predict(X)[0], other.predict(X)[0])
    assert not torch.allclose(together.train_loss[1], other.train_loss[1])


def test_losses_are_the_usual_ones():
    numbers, classes = last(X, Y, width=4, steps=0), last(X, CLASSES, width=4, steps=0)
    squared = (numbers.predict(X) - Y).square().mean((1, 2)) / 2
    torch.testing.assert_close(numbers.train_loss, squared)
    for i in range(3):
        entropy = torch.nn.functional.cross_entropy(classes.predict(X)[i], CLASSES[i])
        torch.testing.assert_close(classes.train_loss[i], entropy)


def test_training_lowers_the_loss_and_the_penalty_raises_it():
    lam = torch.tensor([0.0, 0.01, 0.1], dtype=torch.float64)
    same = X[:1].expand(3, -1, -1), Y[:1].expand(3, -1, -1)
    run = list(side_by_side(*same, width=16, lambda_reg=lam, steps=800, every=100))
    assert [r.step for r in run] == list(range(0, 801, 100))
    losses = run[-1].train_loss
    assert losses[0] < losses[1] < losses[2] and (losses < run[0].train_loss).all()


def test_targets_of_another_number_of_samples_are_refused():
    with pytest.raises(ValueError, match="one target for each sample"):
        next(side_by_side(X, Y[:, :5], width=4))


def sketch(**options):
    return Sketch(
        lambda records, values: {"fit": ([0, 1, 2], [records[-1], math.inf, 3.0])},
        {"fit": "line", "data": "points"},
        **options,
    )


def test_a_sketch_draws_what_it_is_told_and_leaves_a_ghost():
    figure = sketch(ghosts=["fit"])
    figure.draw([5.0], {})
    fit, data = figure.widget.data
    assert fit["x"] == [0, 1, 2] and fit["y"] == [5.0, None, 3.0] and not data.get("x")
    figure.begin("first run")
    ghost, fit, _ = figure.widget.data  # under what is drawn now
    assert not fit.get("x") and figure.ghosts == ["first run"]
    assert ghost["name"] == "first run" and list(ghost["y"]) == [5.0, None, 3.0]


def test_a_sketch_refuses_names_and_looks_that_it_does_not_know():
    with pytest.raises(ValueError, match="expected line"):
        Sketch(lambda records, values: {}, {"fit": "dotted"})
    figure = Sketch(lambda records, values: {"fat": ([], [])}, {"fit": "line"})
    with pytest.raises(ValueError, match=r"no trace is named \['fat'\]"):
        figure.draw([1], {})
