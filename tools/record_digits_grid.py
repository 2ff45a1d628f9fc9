"""Record notebook 09's search for settings that beat Adam: python tools/record_digits_grid.py

Runs RLHF on the notebook's digits with every combination of the settings below, five seeds each,
and writes rlhf_course/recorded/09_grid.json.
"""

import datetime
import itertools
import json
import os

import torch
from sklearn.datasets import load_digits

import rlhf_lib
from rlhf_course.experiments.nb09_digits import BUDGET, Digits
from rlhf_course.recorded import FOLDER

TARGET = FOLDER / "09_grid.json"
SEEDS = range(5)
GRID = {
    "damping": (0.01, 0.03, 0.1, 0.3, 1.0),
    "max_iter": (2, 3, 5, 8, 12),
    "curvature_size": (50, 100, 200, 1000),
    "warm_start": (0.0, 0.7),
}


def main() -> None:
    digits, runs = Digits(*load_digits(return_X_y=True)), []
    for values in itertools.product(*GRID.values()):
        settings = dict(zip(GRID, values, strict=True))
        ends = [list(digits.rlhf(seed, **settings))[-1] for seed in SEEDS]
        runs.append({"settings": settings, "objective": [r.train_loss for r in ends]})
    recorded = {
        "date": datetime.date.today().isoformat(),
        "command": "python tools/record_digits_grid.py",
        "device": f"CPU, {os.cpu_count()} cores, torch {torch.__version__}",
        "version": rlhf_lib.__version__,
        "seeds": list(SEEDS),
        "budget": BUDGET,
        "runs": runs,
    }
    TARGET.write_text(json.dumps(recorded) + "\n")


if __name__ == "__main__":
    main()
