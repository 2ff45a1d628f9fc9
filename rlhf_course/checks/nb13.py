"""Checks of notebook 13."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from ..checking.cases import integer
from ..checking.expect import call, expect, randn
from ..checking.feedback import Wrong, almost, correct, require
from ..checking.goals import goal
from ..checking.registry import exercise

IGNORED = -100


@goal("13.transfer", task="questions", model="MiniLM (a BERT), its top layer")
def transfer(records, values):
    """A loss below 4.95 on unseen questions, for which the entities' λ does not do."""
    first, last, value = records[0], records[-1], values["lambda_reg"]
    require(
        last.val_loss < first.val_loss,
        f"The training loss is down at {last.train_loss:.2f}, but unseen questions end at "
        f"{last.val_loss:.2f}, above where they began: with λ = {value:g} the sixteen are learnt "
        "by heart. Take a larger λ.",
    )
    require(
        last.val_loss < 4.95 or value < 4,
        f"λ = {value:g} holds too tightly: the training loss is still {last.train_loss:.2f} of "
        f"{first.train_loss:.2f} nats, too. Take a smaller one.",
    )
    require(
        last.val_loss < 4.95,
        f"Unseen questions end at {last.val_loss:.3f}, below where they began, and not yet below "
        "4.95. A larger λ holds what these steps win.",
    )
    return correct(
        "Ten times the λ of the entities, and more: each task has to be asked for its own."
    )


def aligned(word_ids, tags):
    """The tag of each word at its first piece, -100 elsewhere."""
    before = [None, *word_ids[:-1]]
    return [
        tags[w] if w is not None and w != b else IGNORED
        for w, b in zip(word_ids, before, strict=True)
    ]


@exercise("13.align")
def align(answer):
    """A function (word_ids, tags) -> a label per piece: tags at first pieces, -100 elsewhere."""
    for seed, (first_word, padding) in enumerate(((0, 1), (0, 4), (integer(1, 3, 9), 1))):
        lengths = [integer(1, 4, 10 * seed + k) for k in range(integer(3, 5, 100 + seed))]
        lengths[integer(0, len(lengths) - 1, 200 + seed)] = 3
        word_ids = [first_word + k for k, n in enumerate(lengths) for _ in range(n)]
        word_ids = [None, *word_ids, *[None] * padding]
        tags = [integer(0, 8, 300 + 10 * seed + k) for k in range(first_word + len(lengths))]
        tags[first_word] = integer(1, 8, 400 + seed)
        tags[-1] = 1 + tags[first_word] % 8  # next to one another, no two of these are alike
        value = call(answer, list(word_ids), list(tags))
        if isinstance(value, list | tuple) and None in value:
            return almost("None is no label: what the loss is to leave out is labelled -100.")
        every = [IGNORED if w is None else tags[w] for w in word_ids]
        first = aligned(word_ids, tags)
        after = [*word_ids[1:], None]
        expect(
            value,
            torch.tensor(first),
            {
                "Every piece of a word has its label now, so long words count several times: only "
                "a word's first piece is scored.": torch.tensor(every),
                "[CLS], [SEP] and padding belong to no word. You gave them 0, which is the tag O: "
                "the loss would count them.": torch.tensor(
                    [0 if w is None else f for w, f in zip(word_ids, first, strict=True)]
                ),
                "Later pieces of a word got 0, the tag O: -100 is what the loss leaves out.": torch.tensor(
                    [
                        0 if w is not None and f == IGNORED else f
                        for w, f in zip(word_ids, first, strict=True)
                    ]
                ),
                "That is the last piece of each word; the field scores the first.": torch.tensor(
                    [
                        tags[w] if w is not None and w != a else IGNORED
                        for w, a in zip(word_ids, after, strict=True)
                    ]
                ),
                "The tags were dealt out in turn. In a long text a window may begin in the middle: "
                "word_ids says which word, so look tags[word] up.": torch.tensor(
                    _in_turn(word_ids, tags)
                ),
                "One label per piece is asked for, not one per word.": torch.tensor(tags),
            },
            "A label is tags[word] where the word differs from the one before, else -100.",
            what="labels",
        )
    return correct("A loss over first pieces counts each word once, however it is spelled.")


def _in_turn(word_ids, tags):
    rest = iter(tags)
    return [
        IGNORED if label == IGNORED else next(rest)
        for label in aligned(word_ids, [0] * (max(filter(None, word_ids)) + 1))
    ]


@exercise("13.span")
def span(answer):
    """A function (start, end, mask, first, last) -> mean span loss of n windows, a number."""
    for seed in range(3):
        n, T = 4, integer(7, 9, seed)
        # Softmax does not see the -60; what is put in place of padding has to be far below it.
        start, end = (randn(n, T, seed=seed + k) - 60 for k in (0, 10))
        lengths = torch.tensor([T, 4, 6, 5])
        mask = (torch.arange(T) < lengths[:, None]).long()
        first, last = torch.tensor([1, 0, 2, 1]), torch.tensor([4, 3, 2, 3])

        def loss(start, end, first=first, last=last):
            return (cross_entropy(start, first) + cross_entropy(end, last)) / 2

        inner = [x.masked_fill(mask == 0, -torch.inf) for x in (start, end)]
        joint = (inner[0][:, :, None] + inner[1][:, None, :]).flatten(1)
        expect(
            call(answer, start, end, mask, first, last),
            loss(*inner),
            {
                "Padding takes part in your softmax: the loss of a short window would hang on the "
                "longest of its batch. Put -inf where mask is 0.": loss(start, end),
                "The sum of both was taken; take their mean.": 2 * loss(*inner),
                "That is the sum over windows; take the mean.": n * loss(*inner),
                "What you put at padding is no smaller than the logits here, which lie at -60: only "
                "-inf is below all.": loss(
                    *(x.masked_fill(mask == 0, -30.0) for x in (start, end))
                ),
                "Only the first tokens are counted.": cross_entropy(inner[0], first),
                "Only the last tokens are counted.": cross_entropy(inner[1], last),
                "First and last are exchanged.": loss(*inner, last, first),
                "Setting logits to 0 hides nothing: softmax gives e⁰ to such a place. Use -inf.": loss(
                    start * mask, end * mask
                ),
                "That is the cross-entropy of the pair, which is the sum; take the mean of both.": cross_entropy(
                    joint, first * T + last
                ),
            },
            "Two cross-entropies over the T places, -inf at padding, and their mean.",
            what="span loss",
        )
    return correct("Two softmaxes over places: convex in the logits, so Gauss-Newton applies.")


@exercise("13.curvature")
def curvature(answer):
    """A function (logits, mask) -> Hessian of the cross-entropy by the logits, (T, T)."""
    for seed in range(3):
        T = integer(5, 8, seed)
        logits = 2 * randn(T, seed=seed) - 60
        mask = (torch.arange(T) < T - integer(1, 2, seed + 10)).long()
        right = integer(0, int(mask.sum()) - 1, seed + 20)
        p = torch.softmax(logits.masked_fill(mask == 0, -torch.inf), 0)
        free = torch.softmax(logits, 0)
        e = torch.nn.functional.one_hot(torch.tensor(right), T).double()
        inner = mask.bool()
        expect(
            call(answer, logits, mask),
            torch.diag(p) - torch.outer(p, p),
            {
                "Padding has a probability in your softmax, and with it a curvature: its rows and "
                "columns have to be 0.": torch.diag(free) - torch.outer(free, free),
                "That is the diagonal alone. A place that becomes more probable makes the others "
                "less so.": torch.diag(p * (1 - p)),
                "The part that the normalization brings, − π πᵀ, is missing.": torch.diag(p),
                "That is the gradient times itself for one right place, as in the empirical Fisher "
                "matrix. The curvature does not ask which place is right.": torch.outer(
                    p - e, p - e
                ),
                "The sign of one part is wrong: along (1, ..., 1) there is no curvature.": torch.diag(
                    p
                )
                + torch.outer(p, p),
                "A (T, T) matrix is asked for, padding included, with zeros there.": (
                    torch.diag(p) - torch.outer(p, p)
                )[inner][:, inner],
            },
            "Differentiate log Σ exp(zⱼ), over the places that count, twice.",
            what="Hessian",
        )
    return correct(
        "It depends on no label, is symmetric, positive semi-definite, and 0 at padding."
    )


FAULTS = ("mask", "rest", "alike")


@exercise("13.diagnose")
def diagnose(answer):
    """A function (loss, batch) -> "mask", "rest", "alike" or "nothing"."""
    for case, fault in enumerate(2 * ("", *FAULTS)):
        loss, batch = _suspect(fault, case)
        said, truth = call(answer, loss, batch), fault or "nothing"
        require(
            isinstance(said, str) and said.strip().lower() in (*FAULTS, "nothing"),
            'Return one of the words "mask", "rest", "alike" and "nothing".',
        )
        if said.strip().lower() != truth:
            alone = [float(loss(_alone(batch, i))) for i in range(len(batch["labels"]))]
            words = (batch["labels"] != IGNORED).sum(1).tolist()
            raise Wrong(
                f'"{said}" came for a loss with "{truth}". {_SIGNS[truth]} Here the batch costs '
                f"{float(loss(batch)):.4f}, and its sentences, of {_listed(words)} words, alone "
                f"{', '.join(f'{x:.4f}' for x in alone)}."
            )
    return correct("Three comparisons find what no error message tells.")


_SIGNS = {
    "mask": "Without padding each sentence costs what it should; what changes is the padded batch.",
    "rest": "Where −100 is written, a label makes no difference. With this loss, does 0 there cost "
    "anything new?",
    "alike": "Each sentence alone is right. How are they put together: by words, or one by one?",
    "nothing": "The batch costs the mean of its sentences, weighed by words, and −100 is left out.",
}


def _listed(numbers):
    return ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"


def _alone(batch, i):
    length = int(batch["attention_mask"][i].sum())
    return {key: value[i : i + 1, :length] for key, value in batch.items()}


def _suspect(fault, case):
    """A loss with this fault, on a batch of sentences of different lengths."""
    seed = 100 * case
    n, T = integer(3, 4, seed), integer(9, 11, seed + 1)
    words, tags, width = 12, 4, 5
    E, W = randn(words, width, seed=seed + 2), randn(width, tags, seed=seed + 3)
    lengths = torch.tensor([T, 4, *(integer(5, T - 1, seed + 4 + k) for k in range(n - 2))])
    inside = torch.arange(T) < lengths[:, None]
    ids = torch.stack([_choices(1, words - 1, T, seed + 20 + k) for k in range(n)]) * inside
    labels = torch.stack([_choices(0, tags - 1, T, seed + 30 + k) for k in range(n)])
    scored = inside & (torch.arange(T) > 0) & (torch.arange(T) < lengths[:, None] - 1)
    labels = labels.masked_fill(~scored, IGNORED)
    batch = {"input_ids": ids, "attention_mask": inside.long(), "labels": labels}

    def loss(batch):
        x, seen = E[batch["input_ids"]], batch["attention_mask"].double()
        seen = torch.ones_like(seen) if fault == "mask" else seen
        context = (x * seen[:, :, None]).sum(1) / seen.sum(1, keepdim=True)
        logits = (torch.tanh(x + 2 * context[:, None]) @ W).transpose(1, 2)
        y = batch["labels"].clamp(min=0) if fault == "rest" else batch["labels"]
        each = cross_entropy(logits, y, reduction="none")
        counted = (y != IGNORED).double()
        if fault == "alike":
            return ((each * counted).sum(1) / counted.sum(1)).mean()
        return (each * counted).sum() / counted.sum()

    return loss, batch


def _choices(low, high, n, seed):
    return torch.tensor([integer(low, high, 1000 * seed + k) for k in range(n)])
