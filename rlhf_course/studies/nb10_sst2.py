"""All of BERT on few SST-2 sentences with wrong labels: AdamW, RLHF with L2-SP, and a probe."""

from __future__ import annotations

from functools import lru_cache

from rlhf_lib import text

from ..experiments.nb12_cures import SENTENCES, Cures, Split, apart
from . import data_file

SELECTION, NOISE = 200, 0.2
FILES = ("sst2_train.csv", "sst2_validation.csv")
METHODS = ("rlhf l2sp", "adamw linear", "adamw stopped", "probe none")


@lru_cache(maxsize=2)
def draw(seed: int) -> Split:
    """Sentences to train on and 200 that select, drawn anew, and the whole validation set."""
    whole = text.load_dataset(data_file(FILES[0]))
    test = text.load_dataset(data_file(FILES[1]), label_names=whole.label_names)
    drawn = whole.subset(SENTENCES + SELECTION, seed=seed)
    return *apart(drawn, SENTENCES, seed), test


CURES = Cures("SST-2, all of BERT", NOISE, 24, draw, METHODS, layers=None)
STUDY = CURES.study(("rlhf l2sp", "adamw linear"), ("rlhf l2sp", "probe none"), files=FILES)
