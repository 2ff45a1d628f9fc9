import math

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import EarlyStoppingCallback, TrainingArguments

from rlhf_lib import RLHFOptimizer, text
from rlhf_lib.text.trainer import RLHFTrainer

WORDS = [["fine", "good fun", "a joy", "nice"], ["bad", "no fun at all", "dull", "a bore, no"]]
TEXTS = [f"{word} {end}" for words in zip(*WORDS, strict=True) for end in "ab" for word in words]
LABELS = [0, 1] * 8


def model_of(task, name="tiny-random", **options):
    if task == "classification":
        options["num_labels"] = 2
    return text.load_model(task, name, dtype=torch.float64, **options)


def arguments(folder, **options):
    usual = {
        "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 2,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return TrainingArguments(str(folder), **(usual | options))


def rows_of(tokenizer, task):
    rows = [dict(tokenizer(text, truncation=True)) for text in TEXTS]
    if task == "lm":  # the longer a text, the more of its tokens are none of the loss's
        rows = tokenizer.pad(rows)
        return [
            {
                "input_ids": ids,
                "attention_mask": mask,
                "labels": [i if m else -100 for i, m in zip(ids, mask, strict=True)],
            }
            for ids, mask in zip(rows["input_ids"], rows["attention_mask"], strict=True)
        ]
    return [row | {"labels": label} for row, label in zip(rows, LABELS, strict=True)]


SETTINGS = {"lambda_reg": 0.1, "regularizer": "l2sp", "damping": 0.1, "max_iter": 5}


@pytest.mark.parametrize(
    "task, name, options",
    [
        ("classification", "tiny-random", {}),
        ("classification", "tiny-random-bert", {"label_smoothing_factor": 0.1}),
        ("lm", "tiny-random-gpt2", {"activation_checkpointing": True}),
    ],
)
def test_steps_are_those_of_the_optimizer_on_the_whole_batch(task, name, options, tmp_path):
    model, tokenizer = model_of(task, name, dropout=0.0)
    by_hand, _ = model_of(task, name, dropout=0.0)
    rows = rows_of(tokenizer, task)[:5]  # micro-batches of 3 and of 2 samples
    args = arguments(tmp_path, max_steps=2, train_sampling_strategy="sequential", **options)
    trainer = RLHFTrainer(model, args, train_dataset=rows, processing_class=tokenizer, **SETTINGS)
    trainer.train()

    whole = tokenizer.pad(
        [{k: r[k] for k in r if k != "labels"} for r in rows], return_tensors="pt"
    )
    labels = torch.tensor([row["labels"] for row in rows])
    optimizer = RLHFOptimizer(by_hand.named_parameters(), **SETTINGS)

    def closure():
        logits = by_hand(**whole).logits
        scores, targets = (logits[:, :-1], labels[:, 1:]) if task == "lm" else (logits, labels)
        smoothing = options.get("label_smoothing_factor", 0.0)
        scores = scores.flatten(0, -2)
        return cross_entropy(scores, targets.flatten(), label_smoothing=smoothing), logits

    losses = [optimizer.step(closure) for _ in range(2)]
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["loss"] for entry in logged] == pytest.approx(losses, rel=1e-6)  # float32
    close = 1e-5 if options else 1e-9  # smoothed labels and words are added up in float32 there
    for name in ("damping", "grad_norm"):
        assert logged[1][name] == pytest.approx(getattr(optimizer.record, name), rel=close)
    for p, q in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=10 * close, atol=close)


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path):
    def trainer(folder):
        model, tokenizer = model_of("classification", dropout=0.3)
        args = arguments(
            folder,
            num_train_epochs=2,
            save_strategy="steps",
            save_steps=2,  # of 3 a pass: within one
            lr_scheduler_type="linear",
            warmup_steps=1,
        )
        rows = rows_of(tokenizer, "classification")
        more = SETTINGS | {"warm_start": 0.9}
        return RLHFTrainer(model, args, train_dataset=rows, processing_class=tokenizer, **more)

    whole = trainer(tmp_path)
    whole.train()
    resumed = trainer(tmp_path / "other")
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert resumed.record.step == whole.record.step == 6
    assert resumed.record.with_(seconds=0, extra={}) == whole.record.with_(seconds=0, extra={})
    for p, q in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_metrics_early_stopping_and_the_best_model_are_trainers_own(tmp_path):
    model, tokenizer = model_of("classification")
    rows, seen = rows_of(tokenizer, "classification"), []

    def worse_and_worse(found):
        accuracy = (found.predictions.argmax(1) == found.label_ids).mean()
        seen.append(float(accuracy))
        return {"accuracy": accuracy, "fading": -len(seen)}

    args = arguments(
        tmp_path,
        num_train_epochs=9,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="fading",
    )
    trainer = RLHFTrainer(
        model,
        args,
        train_dataset=rows[:12],
        eval_dataset=rows[12:],
        processing_class=tokenizer,
        compute_metrics=worse_and_worse,
        callbacks=[EarlyStoppingCallback(2)],
        curvature_batches=1,
        **SETTINGS,
    )
    trainer.train()
    assert trainer.state.global_step == 6  # three passes of two steps: the first was the best
    assert trainer.state.best_global_step == 2
    assert trainer.evaluate()["eval_accuracy"] == seen[0]


def weighted(outputs, labels, num_items_in_batch=None):
    return cross_entropy(outputs.logits, labels, weight=outputs.logits.new_tensor([1.0, 5.0]))


def test_a_loss_that_is_no_mean_over_what_is_counted_is_found_out(tmp_path):
    model, tokenizer = model_of("classification")
    rows = rows_of(tokenizer, "classification")
    common = {"train_dataset": rows, "compute_loss_func": weighted, "processing_class": tokenizer}
    args = arguments(tmp_path, max_steps=1)
    with pytest.raises(ValueError, match=r"do not make up the whole.* class weights"):
        RLHFTrainer(model, args, **common).train()
    weights = torch.tensor([1.0, 5.0])
    trainer = RLHFTrainer(model, args, count=lambda b: float(weights[b["labels"]].sum()), **common)
    trainer.train()
    assert math.isfinite(trainer.record.loss)


@pytest.mark.parametrize(
    "args, settings, error, told",
    [
        ({"learning_rate": 2e-5}, {}, ValueError, r"learning_rate.*got 2e-05.*lr="),
        ({"weight_decay": 0.01}, {}, ValueError, "weight_decay.*lambda_reg"),
        ({"optim": "sgd"}, {}, ValueError, "args.optim: .*RLHFOptimizer"),
        ({"max_grad_norm": 5.0}, {}, ValueError, "max_grad_norm.*radius"),
        ({"fp16": True}, {}, ValueError, "fp16.*bf16=True"),
        ({"torch_compile": True}, {}, ValueError, "torch_compile.*twice"),
        ({}, {"optimizers": (object(), None)}, ValueError, "optimizers"),
        ({}, {"curvature_batches": 0}, ValueError, "curvature_batches"),
        ({}, {"lamda": 1.0}, TypeError, "lamda"),
    ],
)
def test_what_would_have_no_effect_is_refused_at_construction(
    args, settings, error, told, tmp_path
):
    model, _ = model_of("classification")
    with pytest.raises(error, match=told):
        RLHFTrainer(model, arguments(tmp_path, **args), **settings)


def test_several_processes_are_refused(tmp_path, monkeypatch):
    model, _ = model_of("classification")
    monkeypatch.setattr(TrainingArguments, "world_size", 2)
    with pytest.raises(ValueError, match=r"got 2 processes.*process_group"):
        RLHFTrainer(model, arguments(tmp_path))
