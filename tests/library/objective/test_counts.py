"""Counts of micro-batches: told by the batch, taken, or found to be wrong by comparing."""

import pytest
import torch
from cases import classification, close, flat, mlp, randn
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from rlhf_lib import GaussNewtonOperator, RLHFOptimizer
from rlhf_lib.curvature.diagonals import empirical_fisher_diagonal
from rlhf_lib.objective import TaskLoss, sample_count

X, Y = classification(10)
PACKED = pack_padded_sequence(randn(4, 10, 3), torch.tensor([4] * 5 + [2] * 5))


@pytest.mark.parametrize(
    "batch",
    [
        X,
        (X, Y),
        [X, Y],
        {"x": X, "y": Y},
        {"n": 3, "x": X, "classes": torch.tensor(3)},
        {"position_ids": torch.arange(7)[None], "x": X, "labels": Y},
        ({"x": X, "mask": X}, Y),
        (PACKED, Y),
    ],
)
def test_samples_are_counted_in_any_usual_kind_of_batch(batch):
    assert sample_count(batch) == 10


@pytest.mark.parametrize(
    ("batch", "error"),
    [(3, TypeError), ("text", TypeError), (["a", "b"], TypeError), ({}, TypeError)]
    + [(parts, ValueError) for parts in ((randn(5, 10, 3), Y), (X[:1], Y), (X, torch.ones(3)))],
)
def test_where_the_tensors_do_not_tell_the_count_is_asked_for(batch, error):
    with pytest.raises(error, match=r"cannot count.*pass count="):
        TaskLoss(lambda batch: batch, [batch] * 2)


def test_one_batch_alone_needs_no_count():
    assert TaskLoss(lambda b: b[0].mean(), [(randn(5, 10), Y)]).samples == 5


SIZES = [5, 3, 2]
WEIGHT = torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)
IGNORED = Y.masked_fill(torch.arange(10) % 4 == 1, -100)
TOKENS, TAGS = randn(10, 6, 3), torch.arange(60).view(10, 6) % 3
RAGGED = TAGS.masked_fill(torch.arange(6) > torch.arange(10)[:, None] % 5, -100)


def contrast(z, _):
    return F.cross_entropy(z @ z.T, torch.arange(len(z)).roll(1))


def weighted(z, y):
    return F.cross_entropy(z, y, weight=WEIGHT)


def summed(z, y):
    return F.cross_entropy(z, y, reduction="sum")


def on(loss, net=None, outputs=True):
    net = mlp(3, 4, 3) if net is None else net.double()

    def closure(batch):
        z = net(batch[0])
        return (loss(z, batch[1]), z) if outputs else loss(z, batch[1])

    return closure, list(net.parameters())


def parts(*tensors):
    return list(zip(*(t.split(SIZES) for t in tensors), strict=True))


def tokens_last(z, y):
    return F.cross_entropy(z.transpose(1, 2), y)


class Recurrent(nn.LSTM):
    """Its dropout is inside a function of torch, where nothing turns it off."""

    def forward(self, x):
        return super().forward(x[:, None])[0][:, 0]


DROPOUT = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 3))
NORM = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
ATTENTION = nn.Sequential(nn.TransformerEncoderLayer(3, 1, 4, 0.5, batch_first=True))
BIAS = nn.Linear(3, 3)
with torch.no_grad():
    BIAS.weight.zero_()  # all losses alike, and still their weights are seen


@pytest.mark.parametrize(
    ("made", "data", "message"),
    [
        (on(summed), (X, Y), "count='sum'"),
        (on(summed, outputs=False), (X, Y), "count='sum'"),
        (on(summed, NORM), (X, Y), "count='sum'"),
        (on(weighted), (X, Y), "got 0.25 and 0.75 times"),
        (on(weighted, BIAS), (X, Y), "class weights"),
        (on(weighted, DROPOUT), (X, Y), "class weights"),
        (on(weighted, outputs=False), (X, Y), "got no multiple"),
        (on(F.cross_entropy), (X, IGNORED), "ignore_index"),
        (on(tokens_last), (TOKENS, RAGGED), "ignore_index"),
        (on(contrast), (X, Y), "got no multiple.*compares samples"),
        (on(lambda z, y: F.mse_loss(z, y).sqrt()), (X, X), "micro-batches do not make up"),
    ],
)
def test_micro_batches_that_do_not_make_up_the_whole_are_found_out(made, data, message):
    closure, params = made
    with pytest.raises(ValueError, match=message):
        TaskLoss(closure, parts(*data)).value_and_gradient(params)
    TaskLoss(closure, [data]).value_and_gradient(params)
    TaskLoss(closure, parts(*data), count=sample_count).value_and_gradient(params)


@pytest.mark.parametrize(
    ("made", "data"),
    [
        (on(F.cross_entropy, DROPOUT), (X, Y)),
        (on(F.cross_entropy, DROPOUT, outputs=False), (X, Y)),
        (on(F.cross_entropy, NORM), (X, Y)),
        (on(tokens_last, ATTENTION), (TOKENS, TAGS)),
        (on(F.cross_entropy, Recurrent(3, 3, 2, dropout=0.5)), (X, Y)),
    ],
)
def test_a_mean_over_samples_is_not_refused(made, data):
    closure, params = made
    TaskLoss(closure, parts(*data)).value_and_gradient(params)


@pytest.mark.parametrize(
    ("loss", "labels", "count"),
    [
        (summed, Y, "sum"),
        (weighted, Y, lambda batch: float(WEIGHT[batch[1]].sum())),
        (F.cross_entropy, IGNORED, lambda batch: int((batch[1] >= 0).sum())),
    ],
)
def test_what_is_told_makes_micro_batches_the_whole(loss, labels, count):
    closure, params = on(loss)
    whole = GaussNewtonOperator(lambda: closure((X, labels)), params)
    cut = GaussNewtonOperator(closure, params, parts(X, labels), count=count)
    assert cut.loss == pytest.approx(whole.loss, rel=1e-12)
    close(cut.gradient, whole.gradient)
    close(cut.dense(), whole.dense())


def test_what_is_told_wrong_is_refused():
    closure, _ = on(F.cross_entropy)
    with pytest.raises(ValueError, match=r"got 0.4 and 0.6 times .* leave count='sum' out"):
        TaskLoss(closure, parts(X, Y), count="sum").value()
    with pytest.raises(ValueError, match="a function of a batch or 'sum', got 'mean'"):
        TaskLoss(closure, parts(X, Y), count="mean")


def test_the_fisher_diagonal_of_a_sum_is_that_of_the_mean():
    mean, params = on(F.cross_entropy)
    expected = empirical_fisher_diagonal(TaskLoss(mean, parts(X, Y)), params)
    added, params = on(summed)
    task = TaskLoss(added, parts(X, Y), count="sum")
    close(empirical_fisher_diagonal(task, params), expected)


def test_parts_are_compared_before_anybody_watches_the_passes():
    seen = []
    closure, _ = on(F.cross_entropy)
    task = TaskLoss(lambda b: seen.append(b) or closure(b), parts(X, Y))
    task.compare()
    seen.clear()
    task.value()
    assert task.compared and len(seen) == len(SIZES)


def test_the_optimizer_compares_once():
    closure, params = on(F.cross_entropy)
    calls = []
    optimizer = RLHFOptimizer(params, regularizer=None, line_search=False, max_iter=1)
    for _ in range(3):
        before = len(calls)
        optimizer.step(lambda b: calls.append(b) or closure(b), batches=parts(X, Y))
        calls.append(len(calls) - before)
    made = [n for n in calls if isinstance(n, int)]
    assert made[0] >= made[1] + 3 * len(SIZES) and made[1] == made[2]
    assert flat(params).isfinite().all()
