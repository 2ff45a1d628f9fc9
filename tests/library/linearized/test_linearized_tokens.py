"""Terms that do not count, soft and smoothed targets, tasks of texts."""

import pytest
import torch
from cases import LABELS, TEXTS, flat, randn
from linear_cases import Dense, close, labels, small_net
from torch import nn
from torch.nn import functional as F

from rlhf_lib import linearize
from rlhf_lib.text import (
    ClassificationTask,
    EntityDataset,
    EntityTask,
    TextDataset,
    finetune,
    load_model,
)


class Tokens(nn.Module):
    """Outputs (n, T, C) that mix the tokens of a sentence."""

    def __init__(self, classes=3):
        super().__init__()
        self.net = small_net(outputs=classes)

    def forward(self, x):
        n, T, d = x.shape
        mixed = x + x.mean(1, keepdim=True)
        return self.net(mixed.reshape(n * T, d)).view(n, T, -1)


@pytest.fixture
def tokens():
    x, y = randn(7, 4, 3), labels(28, 3).view(7, 4)
    y[0, 1:], y[2, 3], y[5, :2] = -100, -100, -100
    y[:, 2] = -100  # a place that no sentence labels
    return Tokens(), x, y


def masked(y):
    return lambda z: F.cross_entropy(z.flatten(0, 1), y.flatten(), ignore_index=-100)


@pytest.mark.parametrize("micro_batch", [64, 3])
def test_tokens_that_do_not_count_are_left_out(tokens, micro_batch):
    net, x, y = tokens
    dense = Dense(net, x, masked(y), 0.1)
    linear = linearize(net, (x, y), (x + 1, y), micro_batch=micro_batch, include_all=True)
    fit = linear.minimum(0.1)
    theta = dense.minimum()
    close(linear.theta(fit), theta, 1e-9)
    close(fit.val_loss, masked(y)(dense.outputs(theta, x + 1)), 1e-9)
    z, counts = dense.outputs(theta), y != -100
    close(fit.train_accuracy, (z.argmax(2) == y)[counts].double().mean(), 1e-12)


def test_a_subset_of_sentences_takes_their_tokens(tokens):
    net, x, y = tokens
    linear = linearize(net, (x, y), include_all=True)
    chosen = torch.tensor([1, 2, 5])
    fit = linear.minimum(0.1, samples=chosen)
    dense = Dense(net, x[chosen], masked(y[chosen]), 0.1)
    close(linear.theta(fit), dense.minimum(), 1e-9)
    with pytest.raises(ValueError, match="leave the same terms out"):
        linear.run(0.1, labels=y.clamp(min=0))


def test_soft_and_smoothed_targets_are_torchs():
    net, x, y = small_net(outputs=3), randn(9, 3), labels(9, 3)
    shares = randn(9, 3, seed=4).softmax(1)
    soft = linearize(net, (x, shares), include_all=True)
    dense = Dense(net, x, lambda z: F.cross_entropy(z, shares), 0.1)
    close(soft.theta(soft.minimum(0.1)), dense.minimum(), 1e-9)
    from rlhf_lib.linearized import CrossEntropy

    rule = CrossEntropy(label_smoothing=0.2)
    smooth = linearize(net, (x, y), loss=rule, include_all=True)
    dense = Dense(net, x, lambda z: F.cross_entropy(z, y, label_smoothing=0.2), 0.1)
    close(smooth.theta(smooth.minimum(0.1)), dense.minimum(), 1e-9)


def dataset(start, stop):
    y = tuple(LABELS[start:stop].tolist())
    return TextDataset(tuple(TEXTS[start:stop]), y, ("bad", "good"), "few", y)


@pytest.mark.parametrize("top_layers", [1, None])
def test_a_text_task_is_linearized_where_finetune_starts(top_layers):
    model, tokenizer = load_model(name="tiny-random", dtype=torch.float64)
    task = ClassificationTask(
        model, tokenizer, dataset(0, 4), dataset(2, 5), top_layers=top_layers, micro_batch=3
    )
    linear = linearize(task)
    run = linear.run(0.05, damping=0.4, steps=1)
    true = list(
        finetune(
            task,
            steps=1,
            lambda_reg=0.05,
            damping=0.4,
            curvature_size=None,
            solver="dual",
            rtol=1e-10,
        )
    )
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "penalty"):
        close(getattr(run[0], name), getattr(true[0], name), 1e-9)
    for name in ("loss", "grad_norm", "step_norm", "step_length"):
        close(getattr(run[1], name), getattr(true[1], name), 1e-7)
    after = flat(p for _, p in task.trained())
    linear.back()
    close(linear.theta(run), after, 1e-7)


def test_smoothed_training_labels_of_a_task_are_its_own_and_held_out_ones_are_not():
    model, tokenizer = load_model(name="tiny-random", dtype=torch.float64)
    task = ClassificationTask(
        model, tokenizer, dataset(0, 4), dataset(2, 5), top_layers=1, label_smoothing=0.3
    )
    start = linearize(task).run(0.1, steps=0)[0]
    close(start.loss, task.training_loss(task.training)[0].detach(), 1e-9)
    close(start.val_loss, task.score(task.validation)[0], 1e-9)


def test_an_entity_task_has_a_term_for_each_word():
    model, tokenizer = load_model("ner", "tiny-random", num_labels=3, dtype=torch.float64)
    data = EntityDataset(
        (("what", "a", "film"), ("no",), ("so", "so")),
        (("O", "B-X", "I-X"), ("O",), ("B-X", "O")),
        ("O", "B-X", "I-X"),
        "few",
    )
    task = EntityTask(model, tokenizer, data, data, top_layers=1)
    linear = linearize(task, include_all=True)
    assert len(linear.training.targets) == 6
    fit = linear.minimum(0.1)
    linear.assign(fit)
    # Two words of one sentence are one sample.
    assert fit.loo.standard_error > 0
    start = linear.run(0.1, steps=0)[0]
    linear.back()
    found = task.evaluate()
    for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
        close(getattr(start, name), found[name], 1e-9)


def test_a_task_with_another_loss_says_what_to_do():
    model, tokenizer = load_model("lm", "tiny-random-gpt2")
    from rlhf_lib.text import LanguageModelTask

    task = LanguageModelTask(model, tokenizer, dataset(0, 3), dataset(0, 3))
    with pytest.raises(TypeError, match="linearize its module yourself"):
        linearize(task)
