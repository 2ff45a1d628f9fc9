"""A task's path of lambdas: as fine-tuning does it, warm-started, on folds of the training data."""

import pytest
import torch
from test_tasks import data, make, theta

from rlhf_lib.regularizers import L2SP
from rlhf_lib.select import select_lambda
from rlhf_lib.text import ClassificationTask, EntityTask, finetune, load_dataset, load_model
from rlhf_lib.text.lambda_path import LambdaPathFit

REST = 15  # steps after which a strongly penalized model has come to rest
TRAIN, LEFT_OUT = torch.tensor([0, 1, 3, 5]), torch.tensor([2, 4, 6, 7])


def whole(**options):
    model, tokenizer = load_model(name="tiny-random", dtype=torch.float64)
    return ClassificationTask(model, tokenizer, data(0, 8), data(0, 1), top_layers=1, **options)


@pytest.mark.parametrize("curvature_size", [None, 3])
def test_one_lambda_is_what_finetune_does(curvature_size):
    task, options = make(1), {"damping": 0.1, "curvature_size": curvature_size}
    *_, record = finetune(task, steps=4, lambda_reg=0.2, seed=7, **options)
    task, fit = whole(), LambdaPathFit(whole(), steps=4, **options)
    (score,) = fit(torch.arange(5), torch.arange(5, 8), [0.2], 7)
    # Padded to another length, so equal to rounding only.
    assert score["loss"] == pytest.approx(record.val_loss, rel=1e-9)
    assert score["train_loss"] == pytest.approx(record.train_loss, rel=1e-9)
    assert score["accuracy"] == record.val_accuracy
    assert score["cost"] == pytest.approx(record.cost / 5, rel=1e-9)


def test_the_next_lambda_goes_on_and_still_pulls_to_the_pretrained_weights():
    options = {
        "damping": 0.01,
        "max_iter": 30,
        "curvature_size": None,
        "regularizer": L2SP(include_all=True),
    }
    long = LambdaPathFit(whole(), steps=REST, **options)
    large, small = long(TRAIN, LEFT_OUT, [10.0, 3.0], 0)
    (cold,) = long(TRAIN, LEFT_OUT, [3.0], 0)
    assert 0 < large["distance"] < small["distance"]
    # So strongly penalized there is one minimum, around the pre-trained weights, from either side.
    assert small["loss"] == pytest.approx(cold["loss"], rel=1e-6)
    assert small["distance"] == pytest.approx(cold["distance"], rel=1e-6)
    # One step from the neighbour's end comes closer than one from the start.
    short = LambdaPathFit(whole(), steps=1, first_steps=REST, **options)
    _, warm = short(TRAIN, LEFT_OUT, [3.3, 3.0], 0)
    (from_start,) = LambdaPathFit(whole(), steps=1, **options)(TRAIN, LEFT_OUT, [3.0], 0)
    missing = [abs(s["distance"] - cold["distance"]) for s in (warm, from_start)]
    assert missing[0] < missing[1] / 5


def test_the_weights_are_back_after_a_path_also_after_half_of_one():
    task = whole()
    before = theta(task)
    path = LambdaPathFit(task, steps=1)(TRAIN, LEFT_OUT, [1.0, 0.1], 0)
    next(path)
    assert not torch.equal(theta(task), before)
    path.close()
    assert torch.equal(theta(task), before)


def test_select_lambda_takes_it_and_every_run_is_the_same():
    task = whole()
    fit = LambdaPathFit(task, steps=1, curvature_size=2)
    search = {"folds": 2, "seeds": (0, 1), "metric": "accuracy", "maximize": True}
    first, again = (
        select_lambda(fit, task.training["labels"], [1.0, 0.1], **search) for _ in range(2)
    )
    assert first.paths == again.paths and first.finished == 4
    assert first.table("cost")[1].mean > first.table("cost")[0].mean > 0


def test_its_grid_begins_where_l1_leaves_no_weight():
    task = whole(frozen=("body",))
    fit = LambdaPathFit(task, regularizer="l1")
    largest, *_, least = fit.grid(5, ratio=0.01)
    assert least == pytest.approx(0.01 * largest)
    head = task.module.classifier.weight
    for factor, zero in ((1.01, True), (0.05, False)):  # the bias is not fitted there
        list(finetune(task, steps=10, regularizer="l1", lambda_reg=factor * largest))
        assert bool((head == 0).all()) == zero


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="at least one step, got 0"):
        LambdaPathFit(whole(), steps=0)


def test_batches_are_weighted_as_the_task_counts_them():
    splits = load_dataset("course-entities")
    few = splits.train.take([0, 1, 2, 3, 4])
    model, tokenizer = load_model("ner", "tiny-random-bert", num_labels=9, dtype=torch.float64)
    losses = []
    for micro_batch in (2, 5):  # ragged by windows, and by words
        task = EntityTask(model, tokenizer, few, few, max_length=128, micro_batch=micro_batch)
        fit = LambdaPathFit(task, steps=1, curvature_size=None, max_iter=3)
        index = torch.arange(task.samples)
        (score,) = fit(index, index, [0.1], 0)
        losses.append(score["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_a_new_heads_probe_learns_from_the_paths_own_samples():
    model, tokenizer = load_model(name="tiny-random", pooling="mean", dtype=torch.float64)
    torch.nn.init.zeros_(model.classifier.weight)
    torch.nn.init.zeros_(model.classifier.bias)
    task = ClassificationTask(model, tokenizer, data(0, 8), data(0, 8))
    options = {"steps": 1, "probe_lambda": 0.05, "curvature_size": None}
    (score,) = LambdaPathFit(task, **options)(TRAIN, LEFT_OUT, [3.0], 0)
    part = data(0, 8).take(TRAIN.tolist())
    alone = ClassificationTask(model, tokenizer, part, data(0, 8).take(LEFT_OUT.tolist()))
    *_, last = finetune(
        alone, start="probe", lambda_reg=3.0, steps=1, probe_lambda=0.05, curvature_size=None
    )
    assert score["loss"] == pytest.approx(last.val_loss, rel=1e-8)
    assert score["distance"] == pytest.approx(alone.distance(), rel=1e-8)
    assert score["cost"] == pytest.approx(last.cost / len(TRAIN))
