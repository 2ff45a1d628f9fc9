"""How named entities and answers are scored: as the field does, entity by entity, text by text."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

Tags = Sequence[Sequence[str]]


def entity_scores(truth: Tags, predicted: Tags) -> dict[str, float]:
    """Micro-averaged precision, recall and F1 of entities, by seqeval in strict BIO.

    An entity counts as found if its first word, its last word and its type are right. Strict means
    that an I- after nothing, or after another type, is no entity at all; seqeval's default would
    let it begin one, as the script of CoNLL-2000 does. All three are 0 where nothing was found.

    truth, predicted: a sequence of tags for each sentence, of the same lengths.
    """
    precision, recall, f1 = _by_seqeval(truth, predicted)
    return {"precision": precision, "recall": recall, "f1": f1}


def entity_scores_by_type(truth: Tags, predicted: Tags) -> dict[str, dict[str, float]]:
    """The same for each type that `truth` has entities of, and their number as `support`."""
    found: dict[str, dict[str, float]] = {}
    for kind in sorted({tag[2:] for tags in truth for tag in tags} - {""}):
        # Without the tags of other types, an I- of this one follows O where it followed them.
        only = [
            [[tag if tag[2:] == kind else "O" for tag in tags] for tags in part]
            for part in (truth, predicted)
        ]
        support = sum(tag[0] == "B" for tags in only[0] for tag in tags)
        found[kind] = {**entity_scores(*only), "support": support}
    return found


def _by_seqeval(truth: Tags, predicted: Tags) -> tuple[float, ...]:
    # Imported here, because it brings scikit-learn along.
    from seqeval.metrics.v1 import precision_recall_fscore_support
    from seqeval.scheme import IOB2

    scores: Any = precision_recall_fscore_support(  # numbers or lists, as the average is
        [*map(list, truth)],
        [*map(list, predicted)],
        average="micro",
        scheme=IOB2,
        zero_division=0,  # pyrefly: ignore[bad-argument-type] annotated as str, compared with 0
    )
    return tuple(map(float, scores[:3]))


def normalized(text: str) -> str:
    """As SQuAD compares answers: no case, punctuation, articles or repeated spaces."""
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def answer_scores(predicted: str, accepted: Sequence[str]) -> tuple[bool, float]:
    """(exact match, F1) of an answer, each the best over the accepted ones.

    F1 is the harmonic mean of precision and recall of its words (Rajpurkar et al., 2016, section
    6.1); it is 1 where neither has any word left after `normalized`.
    """
    return (
        any(normalized(predicted) == normalized(text) for text in accepted),
        max(_word_f1(normalized(predicted).split(), normalized(text).split()) for text in accepted),
    )


def best_threshold(gains: Sequence[tuple[float, float]]) -> float:
    """Up to which doubt questions are best answered, for the largest sum of what that gains.

    gains: for each question how doubtful it is that there is an answer, and what an answer adds to
        the score, its F1, or -1 where none would be right (Rajpurkar et al., 2018, "Know what you
        don't know", and the official script of SQuAD 2.0). Below all doubts nobody is answered.
    """
    ordered = sorted(gains)
    total = best = 0.0
    threshold = ordered[0][0] - 1
    for i, (doubt, gain) in enumerate(ordered):
        total += gain
        last = i + 1 == len(ordered) or ordered[i + 1][0] > doubt
        if last and total > best:
            best, threshold = total, doubt
    return threshold


def _word_f1(predicted: list[str], accepted: list[str]) -> float:
    if not predicted or not accepted:
        return float(predicted == accepted)
    common = sum((Counter(predicted) & Counter(accepted)).values())
    return 2 * common / (len(predicted) + len(accepted))
