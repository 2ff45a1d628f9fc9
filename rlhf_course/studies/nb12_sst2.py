"""Cures of overfitting on real sentences of SST-2 with their own labels, judged on all 872."""

from __future__ import annotations

from functools import lru_cache

from rlhf_lib import text

from ..experiments.nb12_cures import SENTENCES, Cures, Split, apart
from . import data_file

SELECTION = 200
FILES = ("sst2_train.csv", "sst2_validation.csv")


@lru_cache(maxsize=2)
def draw(seed: int) -> Split:
    """Sentences to train on and 200 that select, drawn anew, and the whole validation set."""
    whole = text.load_dataset(data_file(FILES[0]))
    test = text.load_dataset(data_file(FILES[1]), label_names=whole.label_names)
    drawn = whole.subset(SENTENCES + SELECTION, seed=seed)
    return *apart(drawn, SENTENCES, seed), test


METHODS = (
    "rlhf l2sp",
    "rlhf none",
    "adamw l2sp",
    "adamw linear",
    "adamw stopped",
    "probe none",
    "rlhf l1",
)
CURES = Cures("SST-2", 0.0, 24, draw, METHODS)
STUDY = CURES.study(
    ("rlhf l2sp", "adamw l2sp"),
    ("rlhf l2sp", "adamw linear"),
    ("rlhf l2sp", "probe none"),
    ("rlhf l2sp", "rlhf l1"),
    files=FILES,
)
