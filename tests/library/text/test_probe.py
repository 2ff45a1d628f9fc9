"""Logistic regression on frozen features, where a head starts, and the head's own penalty."""

import numpy as np
import pytest
import torch
from cases import close, randn
from sklearn.linear_model import LogisticRegression
from test_tasks import data, theta

from rlhf_lib.baselines import PenalizedAdamW
from rlhf_lib.regularizers import L2SP
from rlhf_lib.text import (
    ClassificationTask,
    EntityTask,
    LanguageModelTask,
    Pooling,
    TextDataset,
    encode,
    finetune,
    load_dataset,
    load_model,
    probe,
    start_head,
)
from rlhf_lib.text.head import head_layer, weigh_head
from rlhf_lib.text.probe import logistic_regression

LAMBDA = 0.05


MEAN = Pooling("mean", normalize=True)


def task_of(pooling=MEAN, top_layers=None, *, fresh=True, **options):
    model, tokenizer = load_model(name="tiny-random", dtype=torch.float64, pooling=pooling)
    if fresh:  # as the head of a checkpoint that has none
        for p in model.classifier.parameters():
            torch.nn.init.zeros_(p)
    return ClassificationTask(
        model, tokenizer, data(0, 5), data(5, 8), top_layers=top_layers, **options
    )


def features_of(task, encoded=None):
    """What the head sees of the training set, by the model itself."""
    inputs = {k: v for k, v in (encoded or task.training).items() if k != "labels"}
    with torch.no_grad():
        hidden = task.model.bert(**inputs).last_hidden_state
        return task.model.pooling(hidden, inputs["attention_mask"])


def by_scikit_learn(X, y, lambda_reg):
    """(weights (C, d), intercepts (C,)) of the same objective."""
    rows = 2 if len(set(y.tolist())) == 2 else 1  # two rows of weights here, one there
    fit = LogisticRegression(C=rows / (len(y) * lambda_reg), solver="newton-cholesky", tol=1e-12)
    fit.fit(X.numpy(), y.numpy())
    return torch.as_tensor(fit.coef_), torch.as_tensor(fit.intercept_)


@pytest.mark.parametrize("lambda_reg", [0.003, 0.1, 3.0])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_logistic_regression_is_that_of_scikit_learn(classes, lambda_reg):
    X = randn(60, 12, seed=classes) * torch.linspace(0.3, 3, 12, dtype=torch.float64) + 0.5
    y = (X[:, :classes] + randn(60, classes, seed=9)).argmax(1)
    layer, record = logistic_regression(X, y, classes, lambda_reg)
    weight, intercept = by_scikit_learn(X, y, lambda_reg)
    if classes == 2:
        close(layer.weight[1:] - layer.weight[:1], weight, rtol=1e-6)
        close(layer.bias[1:] - layer.bias[:1], intercept, rtol=1e-6)
    else:
        close(layer.weight, weight, rtol=1e-6)
        close(layer.bias - layer.bias.mean(), intercept - intercept.mean(), rtol=1e-6)
    assert record.grad_norm <= 1e-9 and abs(float(layer.bias.detach().sum())) < 1e-12


def test_more_samples_than_the_exact_solve_takes_and_smoothed_labels():
    X = randn(1_200, 6)
    y = (X[:, :3] + randn(1_200, 3, seed=1)).argmax(1)
    layer, _ = logistic_regression(X, y, 3, 0.01)
    close(layer.weight, by_scikit_learn(X, y, 0.01)[0], rtol=1e-6)
    smoothed, _ = logistic_regression(X, y, 3, 0.01, label_smoothing=0.2)
    # At the minimum the slope of the loss is minus that of the penalty.
    wanted = 0.8 * torch.nn.functional.one_hot(y, 3) + 0.2 / 3
    slope = (smoothed(X).softmax(1) - wanted).T @ X / len(X)
    close(slope, -0.01 * smoothed.weight, rtol=1e-6)
    assert smoothed.weight.norm() < layer.weight.norm()


@pytest.mark.parametrize("top_layers", [None, 1])
def test_probe_is_scikit_learn_on_the_models_features(top_layers):
    task = task_of(top_layers=top_layers)
    before = theta(task)
    record = probe(task, LAMBDA)
    assert torch.equal(theta(task), before)
    _, tokenizer = load_model(name="tiny-random")
    for part, texts in (("train", data(0, 5)), ("val", data(5, 8))):
        X = features_of(task, encode(tokenizer, texts.texts))
        if part == "train":
            weight, intercept = by_scikit_learn(X, torch.tensor(texts.labels), LAMBDA)
        margin = (X @ weight[0] + intercept).numpy()
        y = np.array(texts.labels)
        loss = np.logaddexp(0, np.where(y == 1, -margin, margin)).mean()
        assert getattr(record, f"{part}_loss") == pytest.approx(loss, rel=1e-6)
        assert getattr(record, f"{part}_accuracy") == ((margin > 0) == y).mean()
    assert record.extra["lambda_reg"] == LAMBDA and record.reason == "converged"
    assert record.seconds > 0 and record.cost == pytest.approx(5 / 3)


def test_probe_looks_at_the_start_and_leaves_the_task_as_it_was():
    task = task_of()
    first = probe(task, LAMBDA)
    list(finetune(task, "adamw", steps=2, lr=0.01, batch_size=2))
    moved, distance = theta(task), task.distance()
    again = probe(task, LAMBDA)
    assert torch.equal(theta(task), moved) and task.distance() == distance
    assert (again.train_loss, again.val_loss) == (first.train_loss, first.val_loss)


def test_probe_of_an_own_head_sees_what_is_above_the_pooler():
    task = task_of("model", fresh=False)
    record = probe(task, LAMBDA)
    inputs = {k: v for k, v in task.training.items() if k != "labels"}
    with torch.no_grad():
        X = task.model.bert(**inputs).pooler_output
    weight, intercept = by_scikit_learn(X, task.training["labels"], LAMBDA)
    margin = X @ weight[0] + intercept
    sign = 2 * task.training["labels"] - 1
    loss = torch.nn.functional.softplus(-sign * margin).mean()
    assert record.train_loss == pytest.approx(float(loss), rel=1e-6)


def test_probe_of_tokens():
    training, validation = (part.subset(20, seed=0) for part in load_dataset("course-entities"))
    model, tokenizer = load_model(
        "ner", "tiny-random-bert", num_labels=len(training.label_names), dtype=torch.float64
    )
    task = EntityTask(model, tokenizer, training, validation)
    record = probe(task, LAMBDA)
    inputs = {k: task.training[k] for k in ("input_ids", "attention_mask", "token_type_ids")}
    kept = task.training["labels"] >= 0
    with torch.no_grad():
        X, y = model.bert(**inputs).last_hidden_state[kept], task.training["labels"][kept]
    assert len(y.unique()) == len(training.label_names)
    weight, intercept = by_scikit_learn(X, y, LAMBDA)
    loss = torch.nn.functional.cross_entropy(X @ weight.T + intercept, y)
    assert record.train_loss == pytest.approx(float(loss), rel=1e-6)
    assert "val_f1" in record.extra
    assert record.train_loss < next(iter(finetune(task, start="as_loaded"))).train_loss


def language_task():
    model, tokenizer = load_model("lm", "tiny-random-gpt2")
    few = TextDataset(("what a film", "no"), (0, 1), ("a", "b"), "few", (0, 1))
    return LanguageModelTask(model, tokenizer, few, few)


def test_what_probe_refuses():
    with pytest.raises(ValueError, match="finite lambda_reg > 0, got 0"):
        probe(task_of(), 0.0)
    with pytest.raises(
        ValueError, match=r"expected a task with a linear head, got LanguageModelTask"
    ):
        probe(language_task())
    with pytest.raises(ValueError, match=r"expected start .* got .best."):
        next(finetune(task_of(), start="best"))
    assert start_head(language_task()).extra["start"] == "as_loaded"


def test_a_new_head_starts_from_the_probe_and_any_other_as_it_is():
    task = task_of()
    assert start_head(task).extra == {"start": "probe", "probe_lambda": 0.1}
    assert start_head(task_of(fresh=False)).extra == {"start": "as_loaded"}
    assert start_head(task_of("model")).extra == {"start": "as_loaded"}
    trained = task_of()
    list(finetune(trained, steps=1))
    trained.start_here()
    assert start_head(trained).extra == {"start": "as_loaded"}


@pytest.mark.parametrize("method", ["rlhf", "adamw"])
@pytest.mark.parametrize("start", ["probe", "zero", "as_loaded"])
def test_runs_begin_where_they_say(method, start):
    task = task_of(fresh=False)
    loaded = theta(task)
    options = {"lr": 0.01, "batch_size": 2} if method == "adamw" else {"damping": 0.1}
    baseline = probe(task, LAMBDA)
    first, *_, last = finetune(task, method, start=start, probe_lambda=LAMBDA, steps=2, **options)
    if start == "probe":
        assert first.val_loss == pytest.approx(baseline.val_loss, rel=1e-12)
        assert first.cost == baseline.cost > 0 and first.seconds > 0
        assert last.cost > first.cost and last.seconds > first.seconds
        assert last.extra["start"] == "probe" and last.extra["probe_lambda"] == LAMBDA
    elif start == "zero":
        assert first.train_loss == pytest.approx(np.log(2), rel=1e-12)
        assert first.cost == 0 and last.extra["start"] == "zero"
    else:
        assert first.train_loss == task_of(fresh=False).score(task.training)[0]
        assert "start" not in last.extra
    assert task.distance() > 0
    # Distance counts from the run's beginning, and reset goes back to what was loaded.
    start_head(task, start, LAMBDA)
    assert task.distance() == 0
    task.reset()
    assert torch.equal(theta(task), loaded) and task.distance() == 0


def test_a_head_at_zero_hands_nothing_down_in_the_first_step():
    task = task_of()
    before = [p.detach().clone() for p in task.model.bert.parameters()]
    list(finetune(task, start="zero", steps=1, damping=0.1))
    assert all(torch.equal(a, b) for a, b in zip(before, task.model.bert.parameters(), strict=True))
    assert head_layer(task.module).weight.any()


RIDGE = {"solver": "cg", "rtol": 1e-13, "max_iter": 500, "progress_tol": None}


@pytest.mark.parametrize("center", ["start", "zero"])
def test_the_first_step_solves_the_system_with_both_lambdas(center):
    """Against the dense (G + Lambda + mu I) d = -g - Lambda (theta - c)."""
    task = task_of()
    lambda_reg, lambda_head, mu = 0.3, 0.7, 0.2
    start_head(task, "probe", LAMBDA)
    begun, named = theta(task), task.trained()
    loss, outputs = task.training_loss(task.training)
    params = [p for _, p in named]
    g = torch.cat([x.flatten() for x in torch.autograd.grad(loss, params, retain_graph=True)])
    rows = []
    for i in range(len(outputs)):  # one row of J a sample: the margin between two classes
        margin = outputs[i, 1] - outputs[i, 0]
        found = torch.autograd.grad(margin, params, retain_graph=True)
        p = torch.sigmoid(margin.detach())
        rows.append((p * (1 - p) / len(outputs)).sqrt() * torch.cat([x.flatten() for x in found]))
    J = torch.stack(rows)
    weights = torch.cat([_lambdas(n, p, lambda_reg, lambda_head) for n, p in named])
    head = torch.cat([torch.full_like(p, n.startswith("classifier")).flatten() for n, p in named])
    away = begun * head if center == "zero" else torch.zeros_like(begun)
    A = J.T @ J + torch.diag(weights + mu)
    d = torch.linalg.solve(A, -g - weights * away)
    *_, record = finetune(
        task,
        steps=1,
        start="probe",
        probe_lambda=LAMBDA,
        lambda_reg=lambda_reg,
        lambda_head=lambda_head,
        head_center=center,
        damping=mu,
        curvature_size=None,
        **RIDGE,
    )
    close(theta(task) - begun, record.step_length * d.detach(), rtol=1e-7)
    assert record.extra["lambda_head"] == lambda_head and record.extra["head_center"] == center
    assert record.penalty == pytest.approx(0.5 * float(weights @ away.square()), rel=1e-10)


def _lambdas(name, p, lambda_reg, lambda_head):
    penalized = p.ndim == 2 and "LayerNorm" not in name
    value = lambda_head if name.startswith("classifier") else lambda_reg
    return torch.full_like(p, value if penalized else 0.0).detach().flatten()


def test_the_probe_is_where_a_run_on_the_head_alone_ends():
    """Zero as the centre, and the probe's lambda: the same objective, so the same minimum."""
    task = task_of(frozen=["body"])
    options = {"steps": 12, "lambda_head": LAMBDA, "head_center": "zero", "damping": 1e-4}
    *_, from_zero = finetune(task, start="zero", curvature_size=None, **options, **RIDGE)
    assert from_zero.val_loss == pytest.approx(probe(task, LAMBDA).val_loss, rel=1e-6)
    _, last = finetune(
        task, start="probe", probe_lambda=LAMBDA, curvature_size=None, **options | {"steps": 1}
    )
    assert last.grad_norm < 1e-8 and last.step_norm < 1e-6


@pytest.mark.parametrize("coupled", [False, True])
def test_adamw_with_a_lambda_of_its_own_for_the_head(coupled):
    task = task_of(fresh=False)
    options = {"lr": 0.01, "batch_size": 5, "coupled": coupled, "steps": 1}
    both = {"lambda_reg": 0.2, "lambda_head": 0.5}
    named = task.trained()
    # Full-batch steps, written out with torch alone (uncoupled) or one lambda after the other.
    list(finetune(task, "adamw", **both, **options))
    found = dict(zip([n for n, _ in named], [p.detach().clone() for _, p in named], strict=True))
    for value in (0.2, 0.5):
        list(finetune(task, "adamw", lambda_reg=value, **options))
        for name, p in named:
            if name.startswith("classifier") == (value == 0.5):
                assert torch.equal(found[name], p)
    if coupled:
        task.reset()
        list(finetune(task, "adamw", head_center="zero", regularizer="l2sp", **both, **options))
        assert not torch.equal(task.model.classifier.weight, found["classifier.weight"])


def test_what_lambda_head_and_head_center_refuse():
    with pytest.raises(ValueError, match="lambda_head: expected a trained head"):
        task = task_of()
        task.model.classifier.requires_grad_(False)
        next(finetune(task, lambda_head=1.0))
    with pytest.raises(ValueError, match="head_center: expected one of"):
        next(finetune(task_of(), head_center="probe"))
    own = L2SP(center=torch.zeros(3))
    with pytest.raises(ValueError, match="has a center of its own, got 'zero'"):
        next(finetune(task_of(), regularizer=own, head_center="zero"))
    with pytest.raises(ValueError, match=r"lambda_head: expected a finite number >= 0, got -1"):
        next(finetune(task_of(), lambda_head=-1.0))


def test_weights_of_the_head_alone_reach_penalized_adamw():
    p, q = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2, 2))
    named = [("bert.x", p), ("classifier.weight", q)]
    optimizer = PenalizedAdamW(named, lambda_reg=1.0, regularizer=weigh_head("l2", named, 0.5, 2.0))
    assert optimizer.penalty() == pytest.approx(0.5 * (0.5 * 4 + 2.0 * 4))
