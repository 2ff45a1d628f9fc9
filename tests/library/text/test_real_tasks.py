"""Short fine-tuning on real data beside the project: it must learn more than to say one thing."""

import re
from collections import Counter

import pytest

from rlhf_lib.text import ClassificationTask, finetune, load_dataset, load_model
from rlhf_lib.text.entities import EntityTask
from rlhf_lib.text.metrics import answer_scores
from rlhf_lib.text.questions import QuestionTask

pytestmark = pytest.mark.long

METHODS = ("rlhf", "adamw")


@pytest.fixture(scope="module")
def trec(shared_data):
    training = load_dataset(shared_data / "trec_train.csv", limit=120)
    test = load_dataset(shared_data / "trec_test.csv", label_names=training.label_names, limit=150)
    assert len(training.label_names) == 6
    model, tokenizer = load_model("classification", num_labels=6)
    task = ClassificationTask(model, tokenizer, training, test, top_layers=1, max_length=24)
    return task, max(Counter(test.labels).values()) / len(test)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("adamw", {"steps": 3, "lr": 1e-3}),
        pytest.param(
            "rlhf",
            {"steps": 4, "damping": 0.1, "lambda_reg": 0.01, "curvature_size": 32, "max_iter": 8},
            marks=pytest.mark.slow,
        ),
    ],
    ids=METHODS[::-1],
)
def test_six_kinds_of_questions(trec, method, options):
    task, majority = trec
    first, *_, last = finetune(task, method, **options)
    assert last.train_loss < 0.5 * first.train_loss and last.val_loss < first.val_loss
    assert last.val_accuracy > majority + 0.15


@pytest.fixture(scope="module")
def wikigold(shared_data):
    training = load_dataset(shared_data / "wikigold_train.txt", limit=120)
    validation = load_dataset(shared_data / "wikigold_valid.txt", limit=50)
    model, tokenizer = load_model("ner", num_labels=len(training.label_names))
    task = EntityTask(model, tokenizer, training, validation, top_layers=1, max_length=48)
    tags = [tag for sentence in validation.tags for tag in sentence]
    return task, tags.count("O") / len(tags)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("adamw", {"steps": 4, "lr": 2e-3}),
        pytest.param(
            "rlhf",
            {"steps": 5, "damping": 0.1, "lambda_reg": 0.001, "curvature_size": 16, "max_iter": 8},
            marks=pytest.mark.slow,
        ),
    ],
    ids=METHODS[::-1],
)
def test_named_entities(wikigold, method, options):
    task, outside = wikigold
    first, *_, last = finetune(task, method, **options)
    assert last.val_loss < 0.5 * first.val_loss
    # Who says O always is right that often, and finds no entity.
    assert last.val_accuracy > outside + 0.01 and last.extra["val_f1"] > 0.1


def first_sentence(question):
    return re.split(r"(?<=[.!?])\s", question.context)[0]


@pytest.fixture(scope="module")
def squad(shared_data):
    def short(name):
        whole = load_dataset(shared_data / name)
        return whole.take([i for i, q in enumerate(whole) if len(q.context) < 550])

    training, validation = short("squad_train.json"), short("squad_validation.json")
    task = QuestionTask(
        *load_model("qa"), training, validation, top_layers=2, max_length=144, stride=32
    )
    guesses = [answer_scores(first_sentence(q), [a.text for a in q.answers]) for q in validation]
    return task, sum(f1 for _, f1 in guesses) / len(guesses)


RLHF = {"damping": 0.1, "lambda_reg": 0.01, "curvature_size": 24, "max_iter": 8}


@pytest.mark.parametrize(
    ("method", "options"),
    [
        pytest.param("adamw", {"steps": 2, "lr": 5e-4, "batch_size": 8}, marks=pytest.mark.slow),
        pytest.param("rlhf", {"steps": 5, **RLHF}, marks=pytest.mark.slow),
    ],
    ids=METHODS[::-1],
)
def test_answers(squad, method, options):
    task, guess = squad
    first, *_, last = finetune(task, method, **options)
    assert last.train_loss < 0.7 * first.train_loss
    # There is no majority among answers; to say the first sentence is the best blind guess.
    assert last.extra["val_f1"] > guess + 0.03 and last.extra["val_f1"] > first.extra["val_f1"]


@pytest.mark.slow  # half a minute; test_questions has a fast one
def test_one_rlhf_step_brings_answers_nearer(squad):
    task, _ = squad
    first, last = finetune(task, "rlhf", steps=1, **RLHF)
    assert last.train_loss < 0.9 * first.train_loss and last.val_loss < first.val_loss - 0.1
