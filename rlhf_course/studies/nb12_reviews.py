"""Cures of overfitting on reviews of which a fifth is labelled wrongly, judged on 400 others."""

from __future__ import annotations

from functools import lru_cache

from rlhf_lib import text

from ..experiments.nb12_cures import METHODS, SENTENCES, STOPPED, Cures, Split, apart

SELECTION = 200
NOISE = 0.2


@lru_cache(maxsize=2)
def draw(seed: int) -> Split:
    """Reviews to train on and 200 that select, drawn anew, and the whole validation set."""
    both = text.load_dataset("course-reviews")
    drawn = both.train.subset(SENTENCES + SELECTION, seed=seed)
    return *apart(drawn, SENTENCES, seed), both.validation


CURES = Cures("reviews", NOISE, 22, draw, (*METHODS, *STOPPED))
STUDY = CURES.study(
    ("rlhf l2sp", "adamw l2sp"),
    ("rlhf l2sp", "adamw linear"),
    ("rlhf l2sp", "probe none"),
    ("rlhf l2sp", "rlhf l1"),
    ("rlhf l2sp", "rlhf l1sp"),
)
