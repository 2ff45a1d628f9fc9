"""Record notebook 10's run of the whole model: python tools/record_full_bert.py

Trains all 22.7 million parameters on the notebook's 200 reviews, 20 % of their labels wrong, by
AdamW and by RLHF, and writes rlhf_course/recorded/10_bert_full.json.
"""

import datetime
import json
import os

import torch

import rlhf_lib
from rlhf_course.recorded import FOLDER
from rlhf_lib import text

TARGET = FOLDER / "10_bert_full.json"
KEPT = (
    "step",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "cost",
    "seconds",
    "damping",
    "rho",
    "products",
    "reason",
)
RUNS = {
    "AdamW, lr 5e-5": {"method": "adamw", "steps": 8, "lr": 5e-5},
    "RLHF, L2 towards the pre-trained weights, λ 0.5": {
        "method": "rlhf",
        "steps": 8,
        "lambda_reg": 0.5,
        "damping": 1.0,
        "max_iter": 8,
        "curvature_size": 32,
    },
}


def main() -> None:
    model, tokenizer = text.load_model("classification", name="minilm", pooling="model")
    reviews = text.load_dataset("course-reviews")
    training = reviews.train.subset(200, seed=0).with_label_noise(0.2, seed=0)
    task = text.ClassificationTask(model, tokenizer, training, reviews.validation)
    recorded = {
        "date": datetime.date.today().isoformat(),
        "command": "python tools/record_full_bert.py",
        "device": f"CPU, {os.cpu_count()} cores, torch {torch.__version__}",
        "version": rlhf_lib.__version__,
        "seed": 0,
        "runs": [],
    }
    for name, settings in RUNS.items():
        run = {"name": name, "settings": settings, "records": []}
        recorded["runs"].append(run)
        for record in text.finetune(task, **settings):
            run["records"].append({key: getattr(record, key) for key in KEPT})
            print(name, record.step, f"{record.train_loss:.3f} {record.val_loss:.3f}", flush=True)
            TARGET.write_text(json.dumps(recorded, indent=1) + "\n")  # a stopped run keeps its part


if __name__ == "__main__":
    main()
