import threading

import pytest
import torch
from test_predict import REVIEWS

from rlhf_lib.text import (
    ClassificationTask,
    LambdaPathFit,
    TextDataset,
    finetune,
    load_model,
    probe,
)

SWAPPED = TextDataset(REVIEWS.texts, (0, 1), ("positive", "negative"), "swapped")
RUN = {"steps": 3, "damping": 0.1}


def load():
    return load_model(name="tiny-random", dtype=torch.float64)


def losses(task, **options):
    return [record.train_loss for record in finetune(task, **RUN, **options)]


def names(task):
    return [name for name, _ in task.trained()]


def test_each_task_on_a_model_trains_its_own_part():
    model, tokenizer = load()
    everything = [name for name, _ in model.named_parameters()]
    top = ClassificationTask(model, tokenizer, REVIEWS, REVIEWS, top_layers=1)
    parts = [names(top)]
    whole = ClassificationTask(model, tokenizer, REVIEWS, REVIEWS)
    assert names(whole) == everything
    head = ClassificationTask(model, tokenizer, REVIEWS, REVIEWS, frozen=["body"])
    assert names(head) == ["classifier.weight", "classifier.bias"]
    assert [names(top), names(whole)] == [*parts, everything]
    model.bert.embeddings.requires_grad_(False)  # by hand, of what `whole` trains: that stays
    assert names(top) == parts[0]
    assert names(whole) == [name for name in everything if "embeddings" not in name]
    again = ClassificationTask(model, tokenizer, REVIEWS, REVIEWS)
    assert names(again) == names(whole)


def test_tasks_on_a_model_keep_their_order_of_classes():
    model, tokenizer = load()
    first = ClassificationTask(model, tokenizer, REVIEWS, REVIEWS)
    expected = [p.scores for p in first.predict(REVIEWS.texts)]
    second = ClassificationTask(model, tokenizer, SWAPPED, SWAPPED)
    for task in (second, first, second):
        assert [p.scores for p in task.predict(REVIEWS.texts)] == [
            pytest.approx(scores) for scores in expected
        ]
        assert model.config.id2label == dict(enumerate(task.label_names))


@pytest.mark.parametrize("other", ["finetune", "path"])
def test_of_two_runs_on_a_model_the_later_one_goes_on(other):
    model, tokenizer = load()
    task = ClassificationTask(model, tokenizer, REVIEWS, REVIEWS)
    alone = losses(task, lambda_reg=0.5)
    if other == "finetune":
        earlier = finetune(ClassificationTask(model, tokenizer, REVIEWS, REVIEWS), **RUN)
    else:
        index = torch.arange(2)
        earlier = LambdaPathFit(task, steps=1)(index, index, [1.0, 0.1], 0)
    next(earlier)
    task.reset()
    assert losses(task, lambda_reg=0.5) == alone
    with pytest.raises(
        RuntimeError, match=r"this run has ended: another one has begun on the same"
    ):
        next(earlier)
    assert losses(task, lambda_reg=0.5) == alone


def test_runs_in_two_threads_are_as_alone_or_end():
    model, tokenizer = load()
    task = ClassificationTask(model, tokenizer, REVIEWS, REVIEWS)
    alone, started, found = losses(task), threading.Event(), []

    def run():
        try:
            for record in finetune(task, steps=200, damping=0.1):
                found.append(record.train_loss)
                started.set()
        except RuntimeError as error:
            found.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    started.wait(60)
    probe(task)  # waits for a step, and leaves the run as it was
    assert losses(task) == alone
    thread.join(60)
    assert "this run has ended" in found[-1]
    several = losses(task, curvature_size=None)
    assert found[:-1][: len(several)] == several[: len(found) - 1]
