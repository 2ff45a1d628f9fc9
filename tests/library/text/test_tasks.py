import pytest
import torch
from cases import close
from torch import nn

from rlhf_lib.text import ClassificationTask, TextDataset, encode, finetune, load_model

TEXTS = (
    "what a film",
    "no, no!",
    "we left at once and never came back",
    "good",
    "so so",
    "never again",
    "a joy",
    "it broke",
)
LABELS = (1, 0, 0, 1, 0, 0, 1, 0)


def data(start, stop, labels=LABELS, names=("negative", "positive")):
    return TextDataset(TEXTS[start:stop], labels[start:stop], names, "few", labels[start:stop])


def make(top_layers=None, micro_batch=64, dropout=None, **options):
    model, tokenizer = load_model(name="tiny-random", dtype=torch.float64, dropout=dropout)
    return ClassificationTask(
        model,
        tokenizer,
        data(0, 5),
        data(5, 8),
        top_layers=top_layers,
        micro_batch=micro_batch,
        **options,
    )


def theta(task):
    return torch.cat([p.detach().reshape(-1).clone() for _, p in task.trained()])


def whole_loss(task, start, stop):
    """By the model's own forward on the texts, without batches or cache."""
    tokenizer = load_model(name="tiny-random")[1]
    logits = task.model(**encode(tokenizer, TEXTS[start:stop])).logits
    labels = torch.tensor(LABELS[start:stop])
    share = float((logits.argmax(1) == labels).double().mean())
    return nn.functional.cross_entropy(logits, labels).item(), share


@pytest.mark.parametrize("top_layers", [None, 1])
@pytest.mark.parametrize("method", ["rlhf", "adamw"])
def test_fine_tuning_lowers_the_training_loss_and_reports_both_sets(method, top_layers):
    task = make(top_layers)
    options = {"lr": 0.01, "batch_size": 2} if method == "adamw" else {"damping": 0.1}
    records = list(finetune(task, method, steps=4, **options))
    assert [r.step for r in records] == [0, 1, 2, 3, 4]
    assert records[-1].train_loss < records[0].train_loss
    loss, accuracy = whole_loss(task, 0, 5)
    assert records[-1].train_loss == pytest.approx(loss, rel=1e-10)
    assert records[-1].train_accuracy == accuracy
    loss, accuracy = whole_loss(task, 5, 8)
    assert records[-1].val_loss == pytest.approx(loss, rel=1e-10)
    assert records[-1].val_accuracy == accuracy


def test_rlhf_lowers_the_objective_at_every_step():
    records = list(finetune(make(), steps=6, lambda_reg=0.1, damping=0.1))[1:]
    values = [r.objective for r in records]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("method", ["rlhf", "adamw"])
def test_runs_repeat_bit_for_bit_because_each_starts_anew(method):
    task = make(1)
    options = {"steps": 2, "curvature_size": 3, "batch_size": 2, "seed": 5}
    first = list(finetune(task, method, **options))
    end = theta(task)
    again = list(finetune(task, method, **options))
    assert torch.equal(theta(task), end)
    assert [r.with_(seconds=0) for r in again] == [r.with_(seconds=0) for r in first]


@pytest.mark.parametrize("method", ["rlhf", "adamw"])
def test_the_seed_decides_the_order_of_the_samples(method):
    task, ends = make(1), []
    for seed in (0, 1):
        list(finetune(task, method, steps=2, curvature_size=2, batch_size=2, seed=seed, lr=0.1))
        ends.append(theta(task))
    assert not torch.equal(*ends)


def test_fine_tuning_leaves_torchs_generator_alone():
    task = make(1)
    before = torch.get_rng_state()
    for method in ("rlhf", "adamw"):
        list(finetune(task, method, steps=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_reset_goes_back_to_where_the_task_was_made():
    task = make()
    start = theta(task)
    assert task.distance() == 0
    list(finetune(task, steps=2))
    assert task.distance() == pytest.approx(float((theta(task) - start).norm()), rel=1e-10)
    assert task.distance() > 0
    task.reset()
    assert torch.equal(theta(task), start) and task.distance() == 0


@pytest.mark.parametrize("top_layers", [None, 2])
@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_scores_and_steps_do_not_depend_on_the_micro_batch(top_layers, micro_batch):
    one, few = make(top_layers), make(top_layers, micro_batch)
    assert few.score(few.training) == pytest.approx(one.score(one.training), rel=1e-12)
    assert few.evaluate() == pytest.approx(one.evaluate(), rel=1e-12)
    for task in (one, few):
        list(finetune(task, steps=1, lambda_reg=0.1, curvature_size=None))
    close(theta(few), theta(one), rtol=1e-7)


def test_the_penalty_pulls_to_the_pretrained_weights_by_default():
    moved = []
    for lambda_reg in (0.0, 10.0):
        task = make()
        start = [p.detach().clone() for _, p in task.trained()]
        records = list(finetune(task, steps=3, lambda_reg=lambda_reg, damping=0.1))
        now = [p.detach() for _, p in task.trained()]  # biases are free to move
        weights = [(a - b).norm() for a, b in zip(now, start, strict=True) if a.ndim == 2]
        moved.append(float(torch.stack(weights).norm()))
    assert moved[1] < 0.1 * moved[0]
    assert records[1].penalty == 0 and records[2].penalty > 0


def test_only_the_top_layers_train_when_asked_for():
    task = make(1)
    names = [name for name, _ in task.trained()]
    assert names and all("layer.1." in n or "pooler" in n or "classifier" in n for n in names)
    below = task.model.bert.encoder.layer[0].output.dense.weight.detach().clone()
    list(finetune(task, steps=1))
    assert torch.equal(task.model.bert.encoder.layer[0].output.dense.weight, below)


def test_scores_are_without_dropout_and_leave_the_mode_as_it_was():
    task = make(dropout=0.5)
    expected = task.evaluate()
    task.module.train()
    assert task.evaluate() == expected and task.module.training
    draws = {float(task.loss_fn(task.training)[0].detach()) for _ in range(3)}
    assert len(draws) == 3


def test_adamw_records_are_epochs():
    records = list(finetune(make(1), "adamw", steps=2, batch_size=2))
    assert [r.extra["steps"] for r in records] == [0, 3, 6]
    assert [r.cost for r in records] == [0, 5, 10]


def test_a_learning_rate_of_zero_is_not_taken_for_the_default():
    task = make(1)
    list(finetune(task, "adamw", steps=1, lr=0.0))
    assert task.distance() == 0
    list(finetune(task, "rlhf", steps=1, lr=0.0))
    assert task.distance() == 0


def test_an_option_that_adamw_does_not_have_is_refused():
    with pytest.raises(TypeError, match="keep_graph"):
        list(finetune(make(1), "adamw", steps=1, keep_graph=False))


def test_more_classes_than_the_model_has_are_refused():
    model, tokenizer = load_model(name="tiny-random")
    three = data(0, 8, (0, 1, 2, 0, 1, 2, 0, 1), ("bad", "good", "so so"))
    with pytest.raises(ValueError, match=r"3 classes of few, got one with 2.*num_labels=3"):
        ClassificationTask(model, tokenizer, three, three)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match=r"method 'rlhf' or 'adamw', got 'sgd'"):
        list(finetune(make(1), "sgd"))


@pytest.mark.parametrize("top_layers", [None, 1])
def test_the_loss_stays_the_same_after_an_evaluation(top_layers):
    task = make(top_layers, dropout=0.3)  # which an evaluation must not leave switched on
    before = task.loss_fn(task.training)[0].item()
    task.evaluate()
    assert [task.loss_fn(task.training)[0].item() for _ in range(2)] == [before, before]


FAMILIES = ["bert", "distilbert", "roberta", "gpt2", "t5", "modernbert"]
COMPANY = {
    "none": (),
    "a short one": ("ok",),
    "an empty one": ("",),
    "a lone space": (" ",),
    "one that is cut": ("never again " * 40,),
    "all of them": ("ok", "", " ", "never again " * 40),
}


@pytest.mark.parametrize("company", COMPANY)
@pytest.mark.parametrize("family", [*(f"{f} whole" for f in FAMILIES), "bert cached"])
def test_other_texts_do_not_change_a_texts_loss(family, company):
    """Whatever stands beside it in the batch: shorter, empty, or so long that it is cut."""
    name, how = family.split()
    texts = (*TEXTS[:3], *COMPANY[company])
    model, tokenizer = load_model(name=f"tiny-random-{name}", dtype=torch.float64)
    labels = (*LABELS[:3], *(0,) * len(COMPANY[company]))
    given = TextDataset(texts, labels, ("negative", "positive"), "company", labels)
    task = ClassificationTask(
        model,
        tokenizer,
        given,
        data(5, 8),
        max_length=60,
        top_layers=1 if how == "cached" else None,
    )
    with torch.no_grad():
        _, together = task.loss_fn(task.training)
        for i in range(3):
            alone = {**encode(tokenizer, texts[i : i + 1], max_length=60)}
            close(together[i], model(**alone).logits[0], rtol=1e-10, atol=1e-12)


def test_sets_with_other_classes_are_refused():
    model, tokenizer = load_model(name="tiny-random")
    turned = data(5, 8, names=("positive", "negative"))
    with pytest.raises(ValueError, match="load it with label_names"):
        ClassificationTask(model, tokenizer, data(0, 5), turned)
