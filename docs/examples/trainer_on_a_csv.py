"""Fine-tune on a CSV by RLHFTrainer: train, evaluate, save, load again, predict.

    python docs/examples/trainer_on_a_csv.py reviews.csv

The file has the columns `text` and `label`. Without one, reviews that come with the library are
written into a CSV first. Nothing is downloaded; the extra "trainer" brings accelerate.
"""

import argparse
import csv
import tempfile
from pathlib import Path

from transformers import EarlyStoppingCallback, TrainingArguments

from rlhf_lib import text
from rlhf_lib.text.trainer import RLHFTrainer


def write_reviews(file):
    reviews = text.load_dataset("course-reviews").train
    with open(file, "w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["text", "label"])
        writer.writerows((t, reviews.label_names[label]) for t, label in reviews)


def rows_of(tokenizer, data):
    """What Trainer takes: a dict a text, padded batch by batch."""
    return [{**tokenizer(t, truncation=True), "labels": label} for t, label in data]


def accuracy(found):
    return {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", help="a CSV; without one, reviews of the library's")
    parser.add_argument("--model", default="minilm", help="embedded name, folder or hub id")
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(arguments, Path(folder))


def run(arguments, folder):
    file = arguments.file or folder / "reviews.csv"
    if arguments.file is None:
        write_reviews(file)
    data = text.load_dataset(file)
    print(data)
    validation = data.subset(len(data) // 4)
    seen = set(validation.texts)
    training = data.take([i for i, t in enumerate(data.texts) if t not in seen])

    model, tokenizer = text.load_model(
        "classification", arguments.model, label_names=data.label_names
    )
    last = f"layer.{model.config.num_hidden_layers - 1}."
    for name, p in model.named_parameters():  # the last layer and the head
        p.requires_grad_(last in name or "classifier" in name)
    trainer = RLHFTrainer(
        model,
        TrainingArguments(
            str(folder / "checkpoints"),
            num_train_epochs=arguments.epochs,
            per_device_train_batch_size=16,
            gradient_accumulation_steps=7,  # micro-batches: a step sees 112 texts
            lr_scheduler_type="constant",
            logging_steps=1,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=True,
            use_cpu=True,
        ),
        train_dataset=rows_of(tokenizer, training),
        eval_dataset=rows_of(tokenizer, validation),
        processing_class=tokenizer,
        compute_metrics=accuracy,
        callbacks=[EarlyStoppingCallback(2)],
        lambda_reg=0.1,
        regularizer="l2sp",
        max_iter=8,
    )
    trainer.train()
    print(trainer.evaluate())
    trainer.save_model(str(folder / "model"))

    task = text.load_task(folder / "model")
    for found in task.predict(["A joy from start to end.", "It broke on day one."]):
        print(found.label, round(found.score, 3))


if __name__ == "__main__":
    main()
