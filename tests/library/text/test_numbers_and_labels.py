"""Regression, several labels a text, and pairs: against transformers, scikit-learn and SciPy."""

import numpy as np
import pytest
import torch
from cases import close, flat
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import Ridge
from sklearn.metrics import accuracy_score, f1_score, r2_score
from test_tasks import TEXTS
from test_text_task import check_curvature
from torch import nn
from transformers import AutoModelForSequenceClassification, pipeline

from rlhf_lib.text import (
    ClassificationTask,
    MultiLabelTask,
    RegressionTask,
    TextDataset,
    TextPair,
    encode,
    finetune,
    load_model,
    probe,
)
from rlhf_lib.text.head import head_layer
from rlhf_lib.text.probe import _features, _set_probe

NUMBERS = (3.0, -1.0, 0.5, 2.0, 0.5, 1.0, 2.5, -2.0)
NAMES = ("sad", "long", "odd")
SETS = ((1, 0, 0), (0, 0, 0), (1, 1, 0), (0, 0, 0), (1, 0, 1), (0, 1, 0), (1, 1, 1), (0, 0, 0))
PAIRS = tuple(TextPair(a, b) for a, b in zip(TEXTS, (*TEXTS[3:], "no", "", "yes"), strict=True))


def data(labels=NUMBERS, names=(), texts=TEXTS, name="few"):
    return TextDataset(tuple(texts), tuple(labels), names, name)


def make(kind, part=slice(None), pooling=None, **options):
    outputs = 1 if kind is RegressionTask else 3
    model, tokenizer = load_model(
        name="tiny-random", num_labels=outputs, pooling=pooling, dtype=torch.float64
    )
    given = data() if kind is RegressionTask else data(SETS, NAMES)
    validation = given.take(range(*part.indices(8)))
    return kind(model, tokenizer, given, validation, **options)


KINDS = [RegressionTask, MultiLabelTask]


def truth(kind):
    labels = torch.tensor(NUMBERS if kind is RegressionTask else SETS, dtype=torch.float64)
    if kind is RegressionTask:
        return lambda z: (z[:, 0] - labels).square().mean()
    return lambda z: nn.functional.binary_cross_entropy(z.sigmoid(), labels)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_curvature_over_micro_batches_are_dense_and_transformers(kind):
    task = make(kind, top_layers=1)
    check_curvature(task, truth(kind), 3)
    batch = {k: v.clone() for k, v in encode(task.tokenizer, TEXTS).items()}
    expected = task.model(**batch, labels=task.training["labels"]).loss
    close(task.loss_fn(task.training)[0], expected, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_says_the_same_to_transformers(kind, tmp_path):
    task = make(kind, pooling="model")
    list(finetune(task, steps=2))
    task.model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float64)
    assert again.config.problem_type == task.problem_type
    ask = pipeline("text-classification", again, tokenizer=task.tokenizer, top_k=None)
    for found, text in zip(task.predict(TEXTS[:3]), TEXTS, strict=False):
        (rows,) = ask([text])
        by_name = {row["label"]: row["score"] for row in rows}
        expected = [by_name[name] for _, name in sorted(again.config.id2label.items())]
        ours = [found] if kind is RegressionTask else [*found.scores.values()]
        assert ours == pytest.approx(expected, rel=1e-5)


def test_scores_of_numbers_are_those_of_scipy_and_scikit_learn():
    task = make(RegressionTask)
    outputs = torch.tensor([[1.0], [0.0], [0.0], [2.0], [1.5], [0.0], [2.0], [-1.0]])
    found = task.scores(outputs, torch.tensor(NUMBERS))
    z = outputs[:, 0].numpy()
    assert found["r2"] == pytest.approx(r2_score(NUMBERS, z))
    assert found["pearson"] == pytest.approx(pearsonr(NUMBERS, z)[0])
    assert found["spearman"] == pytest.approx(spearmanr(NUMBERS, z)[0])
    one = make(RegressionTask, slice(1)).evaluate()  # nothing varies
    assert "val_accuracy" not in one and one["val_loss"] >= 0
    *_, best = finetune(task, "adamw", steps=3, lr=0.02, metric="spearman", keep_best=True)
    assert best.extra["val_spearman"] > 0 and best.val_accuracy is None


def test_scores_of_sets_are_those_of_scikit_learn():
    task = make(MultiLabelTask)
    outputs = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [1, 1, -1], [-1, -1, -1]] * 2)
    found, z, y = task.scores(outputs, torch.tensor(SETS)), (outputs > 0).numpy(), np.array(SETS)
    assert found["accuracy"] == accuracy_score(y, z)
    assert found["micro_f1"] == pytest.approx(f1_score(y, z, average="micro"))
    assert found["macro_f1"] == pytest.approx(f1_score(y, z, average="macro"))
    nothing = task.scores(-torch.ones(2, 3), torch.zeros(2, 3))
    assert nothing == {"accuracy": 1.0, "micro_f1": 0.0, "macro_f1": 0.0}
    assert make(MultiLabelTask, threshold=0.999).predict(["no"])[0].labels == ()
    records = list(finetune(task, steps=6, damping=0.1, metric="micro_f1", keep_best=True))
    assert records[-1].val_accuracy == task.score(task.validation)[1]
    assert records[-1].extra["val_micro_f1"] >= records[0].extra["val_micro_f1"]


def test_a_regressions_probe_is_ridge_regression():
    task = make(RegressionTask, pooling="mean")
    features, _ = _features(task, head_layer(task.module), task.training)
    _set_probe(task, 0.1)
    ridge = Ridge(alpha=0.1 * 8 / 2).fit(features.numpy(), np.array(NUMBERS))
    layer = head_layer(task.module)
    close(flat([layer.weight, layer.bias]), torch.tensor([*ridge.coef_, ridge.intercept_]))
    task.reset()
    assert probe(make(MultiLabelTask, pooling="mean")).train_loss < 0.7
    linear = make(RegressionTask, top_layers=1).linearize()
    assert linear is not None


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "t5", "modernbert"])
def test_pairs_go_in_as_the_tokenizer_joins_them(family):
    model, tokenizer = load_model(name=f"tiny-random-{family}", dtype=torch.float64)
    pairs = TextDataset(PAIRS, (1, 0) * 4, ("no", "yes"), "pairs")
    task = ClassificationTask(model, tokenizer, pairs, pairs, max_length=128)
    inputs = tokenizer(
        [p.first for p in PAIRS], [p.second for p in PAIRS], padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        expected = model(**inputs).logits.softmax(1)
    found = torch.tensor([[*p.scores.values()] for p in task.predict(PAIRS)])
    close(found.double(), expected, rtol=1e-6)
    with pytest.raises(TypeError, match=r"texts\[0\]: expected a pair of texts"):
        task.predict(["one"])


def test_data_of_another_kind_are_refused():
    model, tokenizer = load_model(name="tiny-random", num_labels=3)
    numbers, sets, classes = data(), data(SETS, NAMES), data((0, 1) * 4, NAMES)
    with pytest.raises(
        ValueError, match=r"expected one class a text.*got a number a text, which R"
    ):
        ClassificationTask(model, tokenizer, numbers, numbers)
    with pytest.raises(ValueError, match=r"expected any number of classes a text.*got one class"):
        MultiLabelTask(model, tokenizer, classes, classes)
    with pytest.raises(
        ValueError, match=r"one output for regression, got one with 3.*num_labels=1"
    ):
        RegressionTask(model, tokenizer, numbers, numbers)
    with pytest.raises(ValueError, match=r"expected any number of classes.*got no labels"):
        MultiLabelTask(model, tokenizer, sets, data((), ()))
    with pytest.raises(ValueError, match="expected single texts as in few, got pairs"):
        ClassificationTask(model, tokenizer, classes, data((0, 1) * 4, NAMES, PAIRS))
    with pytest.raises(ValueError, match="overlap: expected None for pairs"):
        pairs = data((0, 1) * 4, NAMES, PAIRS)
        ClassificationTask(model, tokenizer, pairs, pairs, overlap=2)
    assert data([[*row] for row in SETS], NAMES) == sets
    assert TextDataset(TEXTS, np.array(SETS), NAMES, "few") == sets
    with pytest.raises(ValueError, match=r"several classes 3 values 0 or 1 .*got \{'sad'\}"):
        data([{"sad"}] * 8, NAMES)
    with pytest.raises(ValueError, match=r"threshold: expected a probability in \(0, 1\)"):
        MultiLabelTask(model, tokenizer, sets, sets, threshold=1)
