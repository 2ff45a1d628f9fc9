"""Tasks made when asked for: right labels, right layers, and none in another's way."""

import pytest
import torch

from rlhf_course.experiments.nb10_review_tasks import LENGTH, ReviewTasks, with_weights
from rlhf_lib import text
from rlhf_lib.panels.histogram import size_counts

pytestmark = pytest.mark.filterwarnings("ignore:.*are cut:UserWarning")  # this tokenizer spells


def losses(task):
    return [r.val_loss for r in text.finetune(task, "adamw", steps=2, lr=1e-2)]


def test_tasks_are_those_made_one_by_one_and_do_not_meddle():
    tasks = ReviewTasks(24, 40, name="tiny-random")
    settings = [(1, 0.0), (2, 0.25), (1, 0.25)]
    together = [losses(tasks(*s)) for s in settings]
    again = [losses(tasks(*s)) for s in settings]  # after all of them have been trained
    assert together == again
    for (layers, noise), found in zip(settings, together, strict=True):
        reviews = text.load_dataset("course-reviews")
        model, tokenizer = text.load_model("classification", "tiny-random")
        alone = text.ClassificationTask(
            model,
            tokenizer,
            reviews.train.subset(24).with_label_noise(noise),
            reviews.validation.subset(40),
            top_layers=layers,
            max_length=LENGTH,
        )
        assert losses(alone) == found


def test_only_what_differs_is_made_again():
    tasks = ReviewTasks(24, name="tiny-random")
    one, other, deeper = tasks(1, 0.0), tasks(1, 0.25), tasks(2, 0.0)
    assert tasks(1, 0.0) is one and other.module is one.module
    assert other.training["hidden"] is one.training["hidden"]
    assert deeper.module is not one.module
    assert len(deeper.trained()) > len(one.trained())
    differing = int((one.training["labels"] != other.training["labels"]).sum())
    assert differing == round(0.25 * 24)
    assert torch.equal(one.training["labels"], torch.tensor(tasks.clean.labels))


def test_a_pooled_model_starts_from_its_probe_and_counts_from_there():
    tasks = ReviewTasks(24, 24, name="tiny-random", pooling=text.Pooling("mean", normalize=True))
    task = tasks(1, 0.25)
    assert task.model.pooling == tasks.pooling and task.module.pooling == tasks.pooling
    probe = text.probe(task, 0.1)
    start, *_ = with_weights(task, text.finetune(task, "adamw", steps=1, start="probe"))
    assert abs(start.val_loss - probe.val_loss) < 1e-5
    assert start.extra["change"][0] == sum(p.numel() for _, p in task.trained())


def test_records_count_the_weights_and_their_change():
    task = ReviewTasks(24, name="tiny-random")(1, 0.0)
    losses(task)  # leaves trained weights, which must not pass for the start
    start, *_, end = with_weights(task, text.finetune(task, "adamw", steps=2, lr=1e-2))
    number = sum(p.numel() for _, p in task.trained())
    for record in (start, end):
        assert {sum(counts) for name, counts in record.extra.items() if name != "steps"} == {number}
        assert record.extra["weights before"] == start.extra["weights now"]
    assert start.extra["change"][0] == number and end.extra["change"][0] < number / 2
    moved = torch.cat([(p.detach() - task._start[n]).flatten() for n, p in task.trained()])
    assert end.extra["change"] == size_counts([moved])
