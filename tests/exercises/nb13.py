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
        record(train_loss=5.1, val_loss=5.07),
        record(train_loss=training, val_loss=validation),
    ]
    return Shown(
        records,
        {"task": "questions", "model": "MiniLM (a BERT), its top layer", "lambda_reg": lambda_reg},
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


def second_derivative(logits, mask, hide=-torch.inf):
    p = torch.softmax(logits.masked_fill(mask == 0, hide), 0)
    return torch.diag(p) - p[:, None] * p


def by_autograd(logits, mask):
    inner = mask.bool()

    def loss(z):
        return torch.logsumexp(z[inner], 0) - z[0]

    return torch.func.hessian(loss)(logits)


def by_entries(logits, mask):
    weights = [
        float(m) * np.exp(float(z - logits.max())) for z, m in zip(logits, mask, strict=True)
    ]
    p = [w / sum(weights) for w in weights]
    return [[p[i] * ((i == j) - p[j]) for j in range(len(p))] for i in range(len(p))]


def jacobian_of_softmax(logits, mask):
    return torch.func.jacrev(lambda z: torch.softmax(z.masked_fill(mask == 0, -torch.inf), 0))(
        logits
    )


def empirical(logits, mask):
    p = torch.softmax(logits.masked_fill(mask == 0, -torch.inf), 0)
    p[0] -= 1
    return torch.outer(p, p)


def taken_apart(batch):
    lengths = batch["attention_mask"].sum(1).tolist()
    return [{k: v[i : i + 1, :n] for k, v in batch.items()} for i, n in enumerate(lengths)]


def told(loss, batch, close=1e-9):
    tagged = batch | {"labels": batch["labels"].clamp(min=0)}
    if abs(loss(tagged) - loss(batch)) < close:
        return "rest"
    parts = taken_apart(batch)
    alone = [float(loss(part)) for part in parts]
    words = [int((part["labels"] != -100).sum()) for part in parts]
    if abs(sum(alone) / len(alone) - loss(batch)) < close:
        return "alike"
    together = sum(w * x for w, x in zip(words, alone, strict=True)) / sum(words)
    return "nothing" if abs(together - loss(batch)) < close else "mask"


def told_by_padding(loss, batch):
    """More padding moves a loss without a mask, and one that tags the rest."""
    wider = {
        key: torch.nn.functional.pad(value, (0, 5), value=-100 if key == "labels" else 0)
        for key, value in batch.items()
    }
    if not torch.isclose(loss(wider), loss(batch), rtol=1e-9):
        fewer = batch | {"labels": batch["labels"].masked_fill(batch["labels"] == -100, 1)}
        same = batch | {"labels": batch["labels"].masked_fill(batch["labels"] == -100, 0)}
        assert fewer is not same
        return "rest" if torch.isclose(loss(same), loss(batch), rtol=1e-9) else "mask"
    return "alike" if told(loss, batch) == "alike" else "nothing"


def told_by_one_word(loss, batch):
    """Without the labels of all sentences but one, nothing is put together."""
    found = told(loss, batch)
    return np.str_(found.upper())


def only_padding(loss, batch):
    parts = taken_apart(batch)
    return (
        "mask"
        if abs(loss(parts[1]) - loss({k: v[1:2] for k, v in batch.items()})) > 1e-9
        else ("nothing")
    )


def by_words_alone(loss, batch):
    found = told(loss, batch)
    return "mask" if found == "alike" else found


def blind_to_the_rest(loss, batch):
    found = told(loss, batch)
    return "mask" if found == "rest" else found


def plain_mean(loss, batch):
    alone = [float(loss(part)) for part in taken_apart(batch)]
    return "nothing" if abs(sum(alone) / len(alone) - loss(batch)) < 1e-9 else told(loss, batch)


RIGHT = {
    "13.curvature": [by_autograd, by_entries, jacobian_of_softmax],
    "13.diagnose": [told, told_by_padding, told_by_one_word],
    "13.transfer": [run(2.5, 3.2, 4.93), run(3.0, 3.5, 4.91), run(6.0, 4.0, 4.949)],
    "13.align": [
        by_loop,
        lambda w, t: np.array(aligned(w, t)),
        lambda w, t: torch.tensor(aligned(w, t)),
        lambda w, t: tuple(aligned(w, t)),
    ],
    "13.span": [by_probabilities, window_by_window, lambda *a: span(*a, hide=-1e9)],
}

SOLUTIONS = {"13.transfer": run(3.0, 3.6, 4.91), "13.diagnose": told}

MISTAKES = {
    "13.curvature": [
        (lambda z, m: second_derivative(z, torch.ones_like(m)), "Padding has a probability"),
        (lambda z, m: second_derivative(z * m, torch.ones_like(m)), "off by"),
        (lambda z, m: torch.diag(torch.diag(second_derivative(z, m))), "diagonal alone"),
        (
            lambda z, m: torch.diag(torch.softmax(z.masked_fill(m == 0, -torch.inf), 0)),
            "is missing",
        ),
        (empirical, "off by"),
        (lambda z, m: -second_derivative(z, m), "sign of the Hessian is wrong"),
        (lambda z, m: second_derivative(z[m == 1], m[m == 1]), "padding included"),
        (lambda z, m: second_derivative(z, m).sum(0), "shape"),
    ],
    "13.diagnose": [
        (lambda loss, batch: "nothing", '"nothing" came for a loss with "mask"'),
        (lambda loss, batch: "mask", '"mask" came for a loss with "nothing"'),
        (only_padding, 'came for a loss with "rest"'),
        (by_words_alone, 'came for a loss with "alike"'),
        (blind_to_the_rest, "does 0 there cost"),
        (plain_mean, "How are they put together"),
        (lambda loss, batch: True, "one of the words"),
        (lambda loss, batch: "padding", "one of the words"),
    ],
    "13.transfer": [
        (run(0.3, 1.1, 5.62), "learnt by heart"),
        (run(0.001, 0.3, 7.9), "Take a larger λ"),
        (3.0, "the panel itself"),
        (run(10.0, 4.5, 4.98), "holds too tightly"),
        (run(100.0, 5.0, 5.05), "holds too tightly"),
        (run(2.0, 3.0, 4.95), "not yet below"),
        (run(1.5, 2.4, 5.07), "learnt by heart"),
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
