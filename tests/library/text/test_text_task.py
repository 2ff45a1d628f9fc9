"""Class weights, windows of long texts, and metrics: against dense truths and scikit-learn."""

import numpy as np
import pytest
import torch
from cases import at, close, dense_gauss_newton, flat
from sklearn.metrics import f1_score, matthews_corrcoef
from test_tasks import TEXTS, make
from torch import nn
from torch.func import functional_call

from rlhf_lib import GaussNewtonOperator
from rlhf_lib.objective import TaskLoss
from rlhf_lib.select import select_lambda
from rlhf_lib.text import (
    ClassificationTask,
    LambdaPathFit,
    TextDataset,
    finetune,
    load_model,
    probe,
)
from rlhf_lib.text.cached import batches
from rlhf_lib.text.class_weights import weigh_classes
from rlhf_lib.text.early_stopping import stop_early

NAMES = ("bad", "good", "so so")
LABELS = (1, 0, 0, 1, 0, 2, 1, 0)
WEIGHTS = (0.5, 3.0, 1.0)


def data(labels=LABELS, texts=TEXTS, name="few", names=NAMES):
    return TextDataset(tuple(texts), tuple(labels), names, name, tuple(labels))


def three(training=None, validation=None, **options):
    model, tokenizer = load_model(name="tiny-random", num_labels=3, dtype=torch.float64)
    training = data() if training is None else training
    return ClassificationTask(model, tokenizer, training, validation or training, **options)


def check_curvature(task, loss, size):
    """The training loss and its matrix over micro-batches are those of `loss`, of all outputs."""
    params = [p for _, p in task.trained()]
    operator = GaussNewtonOperator(
        TaskLoss(task.training_loss, batches(task.training, size), count=task.count), params
    )

    def outputs(theta):
        batch = (task.training["hidden"], task.training["mask"])
        return functional_call(task.module, at(task.module, theta), batch)

    theta = flat(params)
    dense = dense_gauss_newton(outputs, loss, theta)
    assert operator.loss == pytest.approx(float(loss(outputs(theta))), rel=1e-12)
    v = torch.linspace(-1, 1, len(dense), dtype=torch.float64)
    close(operator @ v, dense @ v, rtol=1e-10)


@pytest.mark.parametrize(
    ("weights", "size"),
    [("balanced", 3), (WEIGHTS, 8), (dict(zip(NAMES, (0, 1, 5), strict=True)), 3)],
)
def test_class_weights_are_torchs_weighted_mean_in_value_and_curvature(weights, size):
    task = three(class_weights=weights, top_layers=1)
    labels = torch.tensor(LABELS)
    numbers = weights.values() if isinstance(weights, dict) else weights
    if weights == "balanced":
        numbers = 8 / (3 * labels.bincount().double())  # as scikit-learn's "balanced" says
    w = torch.tensor([*numbers], dtype=torch.float64)
    check_curvature(task, lambda z: nn.functional.cross_entropy(z, labels, weight=w), size)
    plain = three(top_layers=1)
    assert task.evaluate() == pytest.approx(plain.evaluate(), rel=1e-12), "scores: texts alike"


def test_steps_and_the_probe_do_not_depend_on_how_weights_are_written():
    """A weight of 2 is a text that stands there twice."""
    twice = data((*LABELS, 1, 1, 1), (*TEXTS, *(TEXTS[i] for i in (0, 3, 6))))
    ends = []
    for task in (three(class_weights=(5, 10, 5), micro_batch=3), three(twice)):
        first = probe(task, 0.1)
        list(finetune(task, steps=2, curvature_size=None, max_iter=4, start="probe"))
        ends.append(flat(p for _, p in task.trained()))
    assert first.step > 0
    close(*ends, rtol=1e-6)


def test_classes_without_a_text_get_no_weight():
    assert weigh_classes("balanced", [0, 0, 2], NAMES, "d").tolist() == [0.75, 0, 1.5]
    assert weigh_classes("balanced", [1, 1], NAMES, "d").tolist() == [0, 1, 0]
    assert weigh_classes(np.array([1, 1, 1]), [0, 1], NAMES, "d").tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((1, 2), r"each of the 3 classes of d, .* got \(1, 2\)"),
        ((1, -1, 1), "at least 0, got -1.0 for 'good'"),
        ((1, float("nan"), 1), "finite numbers of at least 0, got nan"),
        ((0, 0, 1), "a weight over 0 for some class that d has"),
        ({"bad": 1}, "each class of d"),
        ("even", "'balanced' or a number for each class, got 'even'"),
        (3, "each of the 3 classes"),
        (("a", "b", "c"), "each of the 3 classes"),
    ],
)
def test_other_class_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        weigh_classes(weights, [0, 1], NAMES, "d")


LONG = ("a b c d e f g h i j k l", "m n", "o p q r s t u v w x y z a b c d e f g h", "no")


def windows(**options):
    return three(data((0, 1, 2, 0), LONG), max_length=10, overlap=2, **options)


def test_a_long_text_is_read_in_windows_whose_mean_decides():
    task = windows(top_layers=1, class_weights=WEIGHTS)
    text, share = task.training["text"], task.training["share"]
    # Room for 8 tokens, of which 2 are shared: 12, 2, 20 and 2 tokens are 2, 1, 3 and 1 windows.
    assert text.tolist() == [0, 0, 1, 2, 2, 2, 3] and task.count(task.training) == 4
    assert share.tolist() == [1 / 2, 1 / 2, 1, 1 / 3, 1 / 3, 1 / 3, 1]
    assert task.groups is text
    labels, w = task.training["labels"], torch.tensor(WEIGHTS, dtype=torch.float64)
    rows = w[labels] * share / (w[[0, 1, 2, 0]]).sum()

    def loss(z):
        return (rows * nn.functional.cross_entropy(z, labels, reduction="none")).sum()

    check_curvature(task, loss, 2)
    outputs = torch.cat([z for _, _, z in task.outputs(task.training)])
    means = torch.stack([outputs[text == k].mean(0) for k in range(4)])
    found = task.assess(task.training)
    assert found["accuracy"] == float(
        (means.argmax(1) == torch.tensor([0, 1, 2, 0])).double().mean()
    )
    predicted = task.predict(LONG, batch_size=1)
    found = torch.tensor([[*p.scores.values()] for p in predicted], dtype=torch.float64)
    close(found, means.softmax(1), rtol=1e-10)
    with pytest.raises(TypeError, match="rows all count alike"):
        task.linearize()
    part = {key: value[3:] for key, value in task.training.items()}  # as in a fold
    assert 0 <= task.assess(part)["accuracy"] <= 1
    assert len(list(finetune(task, steps=1))) == 2


def test_what_is_cut_is_said_and_windows_read_it_all():
    with pytest.warns(
        UserWarning,
        match=r"few: 2 of 4 texts .* 10 tokens and are cut: 36% .*max_length=22.*overlap=2",
    ):
        three(data((0, 1, 2, 0), LONG), max_length=10)
    task = windows()
    shown = task.tokenizer.batch_decode(task.training["input_ids"], skip_special_tokens=True)
    assert {*"abcdefghijklmnopqrstuvwxyz"} <= {*"".join(shown)}
    with pytest.warns(UserWarning, match="texts: 1 of 1 texts"):
        make(max_length=10).predict([LONG[0]])


@pytest.mark.parametrize("overlap", [-1, 8, 2.0, True])
def test_an_overlap_that_no_window_has_is_refused(overlap):
    with pytest.raises(ValueError, match="overlap: expected tokens from 0 to 7"):
        three(data((0, 1, 2, 0), LONG), max_length=10, overlap=overlap)


def share_of_good(predictions, labels):
    return np.float64((predictions == 1).double().mean())


METRICS = [
    ("macro_f1", lambda y, z: f1_score(y, z, average="macro")),
    ("weighted_f1", lambda y, z: f1_score(y, z, average="weighted")),
    ("matthews", matthews_corrcoef),
    (share_of_good, lambda y, z: np.mean(z == 1)),
]


@pytest.mark.parametrize(("metric", "truth"), METRICS, ids=lambda m: getattr(m, "__name__", m))
def test_a_metric_stops_a_run_and_chooses_lambda(metric, truth):
    task = three(validation=data((2, 2, 0), TEXTS[:3]))  # without one class
    name = metric if isinstance(metric, str) else metric.__name__
    options = {"metric": metric, "maximize": None if isinstance(metric, str) else True}
    *run, best = finetune(task, "adamw", steps=4, lr=0.03, keep_best=True, **options)
    values = [r.extra[f"val_{name}"] for r in run]
    assert best.extra[f"val_{name}"] == max(values) and best.step == values.index(max(values))
    z = torch.cat([z for _, _, z in task.outputs(task.validation)]).argmax(1)
    assert best.extra[f"val_{name}"] == pytest.approx(truth([2, 2, 0], z.numpy()), abs=1e-6)
    fit = LambdaPathFit(task, steps=1, **options)
    found = select_lambda(fit, 8, [1.0, 0.1], folds=2, metric=name, maximize=True)
    assert {name, "loss", "accuracy"} <= {*found.paths[0].scores[0]}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"metric": "makro_f1"}, ValueError, "expected one of loss, accuracy, macro_f1"),
        ({"metric": share_of_good}, ValueError, "maximize: expected True or False"),
        ({"metric": "loss", "maximize": True}, ValueError, "expected False for loss"),
        ({"metric": "loss", "maximize": "no"}, TypeError, "maximize: expected True or False"),
        ({"metric": 3}, TypeError, "a name or a function"),
        ({"metric": lambda p, y: p, "maximize": True}, TypeError, r"a number, got Tensor of shape"),
        ({"metric": lambda p, y: "high", "maximize": True}, TypeError, "a number, got str"),
    ],
)
def test_metrics_that_are_none_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        list(finetune(make(1), steps=1, keep_best=True, **options))


def test_a_metric_that_is_never_finite_keeps_nothing_and_says_so():
    task = make(1)
    with pytest.warns(UserWarning, match="nothing was best|never finite"):
        records = list(
            finetune(task, steps=2, metric=lambda p, y: float("nan"), maximize=True, patience=5)
        )
    assert [r.step for r in records] == [0, 1, 2] and task.distance() > 0


def test_a_metric_that_never_changes_stops_the_run():
    options = {"metric": lambda p, y: torch.tensor(1.0), "maximize": True}
    assert [r.step for r in finetune(make(1), steps=9, patience=2, **options)] == [0, 1, 2]


@pytest.mark.parametrize("patience", [0, True, float("nan"), 1.5])
def test_another_patience_is_refused(patience):
    with pytest.raises(ValueError, match="patience: expected an integer of at least 1"):
        list(stop_early(iter([]), make(1), patience=patience))


@pytest.mark.parametrize(
    "options", [{"class_weights": (1, 0, 2)}, {"class_weights": WEIGHTS, "overlap": 2}]
)
def test_sample_space_takes_the_step_of_conjugate_gradients(options):
    ends, length = [], 10 if "overlap" in options else 32
    for solver in ({"solver": "dual"}, {"max_iter": 500, "rtol": 1e-12}):
        given = data((0, 1, 2, 0), LONG)
        task = three(given, max_length=length, top_layers=1, micro_batch=3, **options)
        list(finetune(task, steps=1, damping=0.1, lambda_reg=0.1, **solver))
        ends.append(flat([p for _, p in task.trained()]))
    close(*ends, rtol=1e-8)
