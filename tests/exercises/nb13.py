"""Answers to the exercises of notebook 13."""

import numpy as np
import torch
from answers import Shown, record
from torch.nn.functional import cross_entropy

from rlhf_course.checks.nb13 import aligned


def every_piece(word_ids, tags):
    return [-100 if w is None else tags[w] for w in word_ids]


def zeros_for_special(word_ids, tags):
    return [
        0 if w is None else label
        for w, label in zip(word_ids, aligned(word_ids, tags), strict=True)
    ]


def zeros_for_later(word_ids, tags):
    return [
        0 if w is not None and label == -100 else label
        for w, label in zip(word_ids, aligned(word_ids, tags), strict=True)
    ]


def last_piece(word_ids, tags):
    return aligned(word_ids[::-1], tags)[::-1]


def in_turn(word_ids, tags):
    rest = iter(tags)
    return [label if label == -100 else next(rest) for label in aligned(word_ids, tags)]


def none_for_special(word_ids, tags):
    return [None if label == -100 else label for label in aligned(word_ids, tags)]


def span(start, end, mask, first, last, hide=-torch.inf, both=cross_entropy):
    start, end = (x.masked_fill(mask == 0, hide) for x in (start, end))
    return (both(start, first) + both(end, last)) / 2


def no_mask(start, end, mask, first, last):
    return span(start, end, torch.ones_like(mask), first, last)


def summed(start, end, mask, first, last):
    return 2 * span(start, end, mask, first, last)


def only_starts(start, end, mask, first, last):
    return span(start, start, mask, first, first)


def only_ends(start, end, mask, first, last):
    return span(end, end, mask, last, last)


def exchanged(start, end, mask, first, last):
    return span(start, end, mask, last, first)


def zeros(start, end, mask, first, last):
    return span(start, end, mask, first, last, hide=0.0)


def in_place(start, end, mask, first, last):
    start[mask == 0] = -torch.inf
    return span(start, end, mask, first, last)


def run(lambda_reg, training, validation):
    records = [
        record(train_loss=2.2, val_loss=2.2),
        record(train_loss=training, val_loss=validation),
    ]
    return Shown(
        records,
        {"task": "entities", "model": "MiniLM (a BERT), its top layer", "lambda_reg": lambda_reg},
    )


def by_probabilities(start, end, mask, first, last):
    losses = []
    for logits, place in ((start, first), (end, last)):
        kept = (logits - logits.max()).exp() * mask
        share = kept / kept.sum(1, keepdim=True)
        losses.append(-share.gather(1, place[:, None]).log().mean())
    return (losses[0] + losses[1]) / 2


def window_by_window(start, end, mask, first, last):
    total = 0.0
    for k in range(len(mask)):
        n = int(mask[k].sum())
        for logits, place in ((start, first), (end, last)):
            total = total + cross_entropy(logits[k, :n], place[k])
    return total / (2 * len(mask))


def by_loop(word_ids, tags):
    labels, before = [], None
    for word in word_ids:
        labels.append(-100 if word is None or word == before else tags[word])
        before = word
    return labels


RIGHT = {
    "13.transfer": [run(0.05, 0.2, 0.47), run(0.1, 0.25, 0.477), run(0.12, 0.3, 0.45)],
    "13.align": [
        by_loop,
        lambda w, t: np.array(aligned(w, t)),
        lambda w, t: torch.tensor(aligned(w, t)),
        lambda w, t: tuple(aligned(w, t)),
    ],
    "13.span": [by_probabilities, window_by_window, lambda *a: span(*a, hide=-1e9)],
}

SOLUTIONS = {"13.transfer": run(0.07, 0.22, 0.46)}

MISTAKES = {
    "13.transfer": [
        (run(0.3, 0.4, 0.493), "holds too tightly"),
        (run(0.001, 0.1, 0.5), "too far"),
        (0.07, "the panel itself"),
        (run(1.0, 1.2, 1.1), "holds too tightly"),
        (run(0.1, 0.1, 0.49), "too far"),
        (run(0.2, 0.3, 0.478), "holds too tightly"),
    ],
    "13.align": [
        (every_piece, "several times"),
        (zeros_for_special, "belong to no word"),
        (zeros_for_later, "Later pieces"),
        (last_piece, "last piece"),
        (in_turn, "look tags[word] up"),
        (none_for_special, "None is no label"),
        (lambda word_ids, tags: tags, "one per word"),
        (3, "Expected a function"),
    ],
    "13.span": [
        (no_mask, "Padding takes part"),
        (summed, "take their mean"),
        (lambda *a: 4 * span(*a), "over windows"),
        (only_starts, "Only the first"),
        (only_ends, "Only the last"),
        (exchanged, "exchanged"),
        (zeros, "hides nothing"),
        (lambda *a: span(*a, hide=-30.0), "below all"),
        (lambda *a: span(*a).exp(), "off by"),
        (in_place, "in place"),
    ],
}
