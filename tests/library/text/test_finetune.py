"""Early stopping, dropout, label smoothing, freezing and penalties in `finetune`."""

import copy
import math
import pickle

import pytest
import torch
from cases import at, close, dense_gauss_newton, flat, mlp, randn, spd
from hypothesis import given
from hypothesis import strategies as st
from test_tasks import make, theta
from torch import nn
from torch.func import functional_call

from rlhf_lib import GaussNewtonOperator, HessianOperator
from rlhf_lib.baselines import PenalizedAdamW
from rlhf_lib.objective import TaskLoss
from rlhf_lib.record import Record
from rlhf_lib.regularizers import KINDS, L1, L2SP, Box, ElasticNet
from rlhf_lib.text import finetune, load_model
from rlhf_lib.text.early_stopping import stop_early
from rlhf_lib.text.freezing import freeze
from rlhf_lib.text.masks import Drawn, Masked, dropout_at, with_dropout
from rlhf_lib.text.measures import brier_score, calibration_error, measure_weights, outputs_of

ADAMW = {"lr": 0.01, "batch_size": 2}


class Few:
    """What `stop_early` needs of a task: one parameter that moves by one at each Record."""

    def __init__(self, losses):
        self.p, self.losses = nn.Parameter(torch.zeros(1, dtype=torch.float64)), losses

    def trained(self):
        return [("p", self.p)]

    def records(self):
        for step, loss in enumerate(self.losses):
            with torch.no_grad():
                self.p.fill_(step)
            yield Record(step=step, loss=0.0, cost=float(step), val_loss=loss, val_accuracy=0.5)


def test_early_stopping_puts_the_best_parameters_back_and_reports_both():
    task = Few([3.0, 2.0, 1.0, 4.0, 1.5])
    records = list(stop_early(task.records(), task))
    assert [r.step for r in records] == [0, 1, 2, 3, 4, 2]
    assert task.p.item() == 2
    best = records[-1]
    assert (best.val_loss, best.cost, best.reason) == (1.0, 4.0, "best")
    assert best.extra["end"]["val_loss"] == 1.5 and best.extra["end"]["step"] == 4


@pytest.mark.parametrize("patience, last", [(1, 3), (2, 4), (3, 6), (None, 6)])
def test_patience_counts_records_without_a_new_least_loss(patience, last):
    task = Few([3.0, 2.0, 1.0, 1.0, 1.5, 0.5, 0.7])
    records = list(stop_early(task.records(), task, patience=patience, keep_best=False))
    assert records[-1].step == last and task.p.item() == last


def test_records_without_a_validation_loss_pass_and_do_not_count():
    task = Few([1.0, None, None, 2.0, 3.0])
    assert [r.step for r in stop_early(task.records(), task, patience=1)] == [0, 1, 2, 3, 0]
    nothing = Few([None, None])
    assert [r.step for r in stop_early(nothing.records(), nothing)] == [0, 1]
    with pytest.raises(ValueError, match="at least 1 or None, got 0"):
        list(stop_early(iter([]), task, patience=0))


@pytest.mark.parametrize("method", ["rlhf", "adamw"])
def test_finetune_keeps_the_best_of_the_same_run(method):
    rlhf = {"steps": 3, "damping": 1e-3, "max_iter": 5}
    options = rlhf if method == "rlhf" else ADAMW | {"steps": 6, "lr": 0.1}
    task = make(1)
    plain = list(finetune(task, method, **options))
    *run, best = finetune(task, method, keep_best=True, **options)
    assert [r.with_(seconds=0) for r in run] == [r.with_(seconds=0) for r in plain]
    assert best.val_loss == min(r.val_loss for r in plain) < plain[-1].val_loss
    assert task.score(task.validation) == pytest.approx((best.val_loss, best.val_accuracy))
    assert best.extra["end"]["val_loss"] == plain[-1].val_loss
    assert len(list(finetune(task, method, patience=1, **options))) < len(plain)


def test_label_smoothing_is_its_closed_form_in_training_and_absent_in_scores():
    task, plain = make(label_smoothing=0.3), make()
    assert task.evaluate() == pytest.approx(plain.evaluate(), rel=1e-12)
    loss, logits = (t.detach() for t in task.training_loss(task.training))
    log_p = logits.log_softmax(1)
    n, C = logits.shape
    target = torch.full((n, C), 0.3 / C, dtype=torch.float64)
    target[torch.arange(n), task.training["labels"]] += 0.7
    close(loss, -(target * log_p).sum(1).mean())
    records = list(finetune(task, "rlhf", steps=1))
    assert records[1].loss == pytest.approx(float(loss), rel=1e-10)
    assert records[0].train_loss == pytest.approx(plain.evaluate()["train_loss"])


def test_label_smoothing_leaves_the_curvature_at_the_logits_as_it_is():
    """The loss is linear in the target, so its curvature in the logits stays that of softmax."""
    z = randn(4, 3)
    labels = torch.tensor([0, 1, 2, 0])

    def hessian(s):
        def loss(z):
            return nn.functional.cross_entropy(z.view(4, 3), labels, label_smoothing=s)

        return torch.autograd.functional.hessian(loss, z.reshape(-1))

    close(hessian(0.4), hessian(0.0))


def test_a_share_of_smoothing_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"label_smoothing: expected a share in \[0, 1\)"):
        make(label_smoothing=1.0)


class Dropped(nn.Module):
    """Three features, dropout, two classes: its mask can be written down."""

    def __init__(self):
        super().__init__()
        self.first, self.dropout, self.last = mlp(3, 4)[0], nn.Dropout(0.1), mlp(4, 2, seed=1)[0]

    def forward(self, x):
        return self.last(self.dropout(torch.tanh(self.first(x))))


X, Y = randn(6, 3, seed=3), torch.tensor([0, 1, 1, 0, 1, 0])


def dropped(rate=0.5):
    net = Dropped()

    def loss_fn(batch):
        logits = net(batch["x"])
        return nn.functional.cross_entropy(logits, batch["labels"]), logits

    return net, with_dropout(loss_fn, net, rate)


def logits_with_mask(net, theta, seeds, sizes, rate):
    """By hand: the masks that torch draws for these seeds, times the hidden layer."""
    masks = []
    for seed, size in zip(seeds, sizes, strict=True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            masks.append(nn.functional.dropout(torch.ones(size, 4, dtype=torch.float64), rate))
    p = at(net, theta)
    hidden = torch.tanh(X @ p["first.weight"].T + p["first.bias"]) * torch.cat(masks)
    return hidden @ p["last.weight"].T + p["last.bias"]


@pytest.mark.parametrize("keep_graph", [True, False])
def test_one_mask_per_solve_the_product_is_that_of_one_symmetric_matrix(keep_graph):
    net, loss_fn = dropped()
    parts = [Drawn({"x": X[:4], "labels": Y[:4]}, 11), Drawn({"x": X[4:], "labels": Y[4:]}, 12)]
    params, start = list(net.parameters()), flat(net.parameters())

    def outputs(t):
        return logits_with_mask(net, t, (11, 12), (4, 2), 0.5)

    def loss(z):
        return nn.functional.cross_entropy(z, Y)

    dense = {
        HessianOperator: torch.autograd.functional.hessian(lambda t: loss(outputs(t)), start),
        GaussNewtonOperator: dense_gauss_newton(outputs, loss, start),
    }
    for kind, truth in dense.items():
        operator = kind(TaskLoss(loss_fn, parts), params, keep_graph=keep_graph)
        products = torch.stack([operator @ e for e in torch.eye(len(start)).double()], 1)
        close(products, truth)
        close(products, products.T)
    value = TaskLoss(loss_fn, parts).value()
    assert value == pytest.approx(float(loss(outputs(start))), rel=1e-10)


def test_gradient_products_and_line_search_of_a_step_see_one_mask_and_the_next_step_another():
    task, seen = make(1, micro_batch=2), []
    plain = task.loss_fn

    def watched(batch):
        loss, logits = plain(batch)
        if task.module.training:
            key = (batch.seed, theta(task).double().sum().item())
            seen.append((key, loss.item(), len(batch["labels"])))
        return loss, logits

    task.loss_fn = task.training_loss = watched
    list(finetune(task, steps=3, dropout=0.4, curvature_size=3, damping=0.1))
    values = {}
    for key, loss, _ in seen:  # one function: the same seed and the same parameters, one value
        assert values.setdefault(key, loss) == pytest.approx(loss, rel=1e-12)
    seeds = {}
    for (seed, _), _, _ in seen:
        seeds[seed] = seeds.get(seed, 0) + 1
    assert len(seeds) == 3 * 3  # 3 curvature samples are batches of 2 and 1, and 2 others
    # The curvature's graph is one more pass over its batches, with their masks.
    assert min(seeds.values()) >= 2 and max(seeds.values()) > min(seeds.values())


@pytest.mark.parametrize("method", ["rlhf", "adamw"])
def test_dropout_needs_no_global_generator_repeats_and_leaves_eval_mode(method):
    task = make(1, dropout=0.1)
    rates = [m.p for m in task.module.modules() if isinstance(m, nn.Dropout)]
    before, ends = torch.get_rng_state(), []
    for seed in (0, 0, 1):
        list(finetune(task, method, steps=2, dropout=0.4, seed=seed, batch_size=8))
        ends.append(theta(task))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])  # one batch of all: the order alone changes nothing
    assert not task.module.training
    assert [m.p for m in task.module.modules() if isinstance(m, nn.Dropout)] == rates


def test_dropout_works_with_every_solver():
    task = make(1)
    for options in ({"solver": "dual"}, {"solver": "cg", "curvature": "hessian"}):
        _, *records = finetune(task, steps=3, dropout=0.4, damping=50.0, **options)
        # So short a step that model and loss agree, if both have the same mask.
        assert all(r.rho == pytest.approx(1, abs=0.1) for r in records)


def test_masks_change_from_batch_to_batch():
    source = [{"x": X}, [{"x": X[:2]}, {"x": X[2:]}]]
    masked = Masked(source, seed=0)
    first, again = list(masked), list(masked)
    seeds = {batch.seed for single, few in (first, again) for batch in (single, *few)}
    assert len(masked) == 2 and len(seeds) == 6


@pytest.mark.parametrize("method", ["rlhf", "adamw"])
@pytest.mark.parametrize("name", ["lambda_reg", "lambda_head", "lr"])
@pytest.mark.parametrize(
    "value", ["1", [], [0.1], {}, (0.1,), object(), True, -1.0, math.nan, torch.ones(2)]
)
def test_what_is_no_weight_and_no_rate_is_refused_by_name(method, name, value):
    with pytest.raises((TypeError, ValueError), match=f"{name}: expected a"):
        list(finetune(make(), method, steps=1, **{name: value}))


def test_a_module_without_dropout_and_a_wrong_rate_are_refused():
    with pytest.raises(ValueError, match=r"expected a module with nn\.Dropout inside, got Linear"):
        with dropout_at(nn.Linear(2, 2), 0.1):
            pass
    with pytest.raises(ValueError, match=r"expected a rate in \[0, 1\), got 1"):
        with dropout_at(Dropped(), 1):
            pass


def test_frozen_parts_stay_and_the_rest_trains():
    for parts, free in (
        (["embeddings"], "bert.encoder.layer.0.output.dense.weight"),
        (["biases"], "classifier.weight"),
        (["weights"], "bert.pooler.dense.bias"),
        (["body"], "classifier.weight"),
        (["encoder", "normalizations"], "bert.pooler.dense.weight"),
    ):
        task = make(frozen=parts)
        before = {n: p.detach().clone() for n, p in task.model.named_parameters()}
        list(finetune(task, "adamw", steps=1, **ADAMW))
        moved = {n for n, p in task.model.named_parameters() if not torch.equal(p, before[n])}
        trained = {n for n, _ in task.trained()}
        assert moved == trained and free in moved and len(moved) < len(before)
    assert moved and not any("LayerNorm" in n or "encoder" in n for n in moved)


def test_body_frozen_leaves_the_head_and_nothing_thaws_all():
    task = make(1, frozen=["body"])
    assert [n for n, _ in task.trained()] == ["classifier.weight", "classifier.bias"]
    assert freeze(task.module, []) == []
    assert len(task.trained()) > 2


@pytest.mark.parametrize(
    "parts, message",
    [
        (["head"], "got 'head'"),
        (["body", "normalizations"], None),
        (["body", "biases", "weights"], None),
    ],
)
def test_what_cannot_be_frozen_is_refused(parts, message):
    module = make().module
    if message:
        with pytest.raises(ValueError, match=message):
            freeze(module, parts)
    else:
        freeze(module, parts)
    with pytest.raises(ValueError, match="that leave something to train, got"):
        freeze(nn.ModuleDict({"encoder": nn.Linear(2, 2)}), ["body"])
    with pytest.raises(ValueError, match="Linear has no embeddings"):
        freeze(nn.Linear(2, 2), ["embeddings"])


def hand_written(kind, gradient_of, start, lr, lambda_reg, steps, center=0.0):
    """Adam as in Kingma and Ba (2015), algorithm 1, with one of two kinds of decay."""
    x, m, v = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for t in range(1, steps + 1):
        g = gradient_of(x)
        if kind == "coupled":
            g = g + lambda_reg * (x - center)
        if kind == "decoupled":
            x = x - lr * lambda_reg * x
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        x = x - lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    return x


def run_adam(make_optimizer, gradient_of, start, steps):
    p = nn.Parameter(start.clone())
    optimizer = make_optimizer(p)
    for _ in range(steps):
        p.grad = gradient_of(p.detach())
        optimizer.step()
    return p.detach()


A, B = spd(5, condition=50.0), randn(5, seed=2)


def quadratic(x):
    return A @ x - B


def test_adam_with_an_l2_penalty_is_the_hand_written_loop_and_not_weight_decay():
    start = randn(5, seed=4)
    coupled, fused = (
        run_adam(
            lambda p, kind=kind: PenalizedAdamW([p], lr=0.05, lambda_reg=0.3, **kind),
            quadratic,
            start,
            20,
        )
        for kind in ({"foreach": True}, {"fused": True})
    )
    close(fused, coupled)
    decoupled = run_adam(
        lambda p: torch.optim.AdamW([p], lr=0.05, weight_decay=0.3), quadratic, start, 20
    )
    close(coupled, hand_written("coupled", quadratic, start, 0.05, 0.3, 20))
    close(decoupled, hand_written("decoupled", quadratic, start, 0.05, 0.3, 20))
    assert float((coupled - decoupled).abs().max()) > 1e-2


@pytest.mark.parametrize("coupled", [False, True])
def test_a_linear_schedule_is_the_hand_written_loop(coupled):
    task = make(1)
    task.reset()
    optimizer = torch.optim.AdamW([p for _, p in task.trained()], weight_decay=0.0)
    for factor in (0, 1 / 2, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6):  # 2 of 8 updates rise
        optimizer.param_groups[0]["lr"] = 0.01 * factor
        optimizer.zero_grad()
        task.training_loss(task.training)[0].backward()
        optimizer.step()
    end, options = theta(task), {"steps": 8, "lr": 0.01, "batch_size": 8, "coupled": coupled}
    list(finetune(task, "adamw", schedule="linear", warmup=0.25, **options))
    close(theta(task), end, rtol=1e-6)
    list(finetune(task, "adamw", **options))
    assert float((theta(task) - end).norm()) > 1e-3


@pytest.mark.parametrize(
    ("method", "options", "error", "word"),
    [
        ("adamw", {"schedule": "cosine"}, ValueError, "expected schedule .*'linear'"),
        ("adamw", {"schedule": "linear", "warmup": 1.5}, ValueError, "share of the updates"),
        ("adamw", {"schedule": "linear", "warmup": -0.1}, ValueError, "warmup"),
        ("rlhf", {"schedule": "linear"}, TypeError, "a length of their own"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(method, options, error, word):
    with pytest.raises(error, match=word):
        next(finetune(make(1), method, **options))


def test_finetune_coupled_l2sp_is_the_hand_written_loop():
    task = make(1)
    start, mask = theta(task), []
    for _, p in task.trained():
        mask.append(torch.full((p.numel(),), float(p.ndim >= 2), dtype=torch.float64))
    mask = torch.cat(mask)

    def gradient_of(x):
        pieces = at_trained(task, x)
        logits = functional_call(
            task.module, pieces, (task.training["hidden"], task.training["mask"])
        )
        loss = nn.functional.cross_entropy(logits, task.training["labels"])
        return flat(torch.autograd.grad(loss, list(pieces.values())))

    def at_trained(task, x):
        offset, pieces = 0, {}
        for name, p in task.trained():
            piece = x[offset : offset + p.numel()].view_as(p).clone().requires_grad_(True)
            pieces[name], offset = piece, offset + p.numel()
        return pieces

    options = {"steps": 4, "lr": 0.02, "lambda_reg": 3.0, "batch_size": 8}
    records = list(finetune(task, "adamw", coupled=True, regularizer="l2sp", **options))
    end = theta(task)
    # Rounding in tiny gradients is blown up by Adam's division; hence the looser tolerance.
    close(
        end,
        hand_written("coupled", gradient_of, start, 0.02, 3.0 * mask, 4, center=start),
        rtol=1e-5,
    )
    assert records[1].penalty == 0 and records[2].penalty > 0
    list(finetune(task, "adamw", **options))
    assert float((theta(task) - end).norm()) > 0.1 * float((end - start).norm())


@given(st.integers(0, 20))
def test_without_a_penalty_it_is_torchs_adam(seed):
    start = randn(5, seed=seed)
    for options in ({"lambda_reg": 0.0}, {"lambda_reg": 0.0, "regularizer": None}):
        close(
            run_adam(lambda p, o=options: PenalizedAdamW([p], lr=0.05, **o), quadratic, start, 5),
            run_adam(lambda p: torch.optim.Adam([p], lr=0.05), quadratic, start, 5),
        )


@pytest.mark.parametrize("kind", [L1, ElasticNet])
def test_adam_with_a_kinked_penalty_finds_exact_zeros_and_the_minimum(kind):
    """Against proximal gradient descent, run until it stands still."""
    lambda_reg = 0.5
    truth, penalty = torch.zeros(5, dtype=torch.float64), kind(weight=lambda_reg)
    for _ in range(3000):
        truth = penalty.prox(truth - quadratic(truth) / 50, 1 / 50)
    p = nn.Parameter(randn(5, seed=4))
    optimizer = PenalizedAdamW([p], lr=0.05, lambda_reg=lambda_reg, regularizer=kind())
    for step in range(2500):
        optimizer.param_groups[0]["lr"] = 0.05 * 0.997**step
        p.grad = quadratic(p.detach())
        optimizer.step()
    assert 0 < int((truth == 0).sum()) < 5
    assert torch.equal(p.detach() == 0, truth == 0)
    close(p.detach(), truth, rtol=1e-3)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_regularizer_of_the_library_works_with_adamw(kind):
    task = make(1)
    ends = []
    for lambda_reg in (0.0, 0.1):
        list(
            finetune(
                task,
                "adamw",
                steps=2,
                coupled=True,
                regularizer=kind,
                lambda_reg=lambda_reg,
                **ADAMW,
            )
        )
        ends.append(theta(task))
    assert bool(ends[1].isfinite().all()) and not torch.equal(*ends)


def test_adam_keeps_to_bounds():
    penalty = Box(lower=-0.1, upper=0.2)
    end = run_adam(
        lambda p: PenalizedAdamW([p], lr=0.05, lambda_reg=1.0, regularizer=penalty),
        quadratic,
        torch.zeros(5, dtype=torch.float64),
        800,
    )
    low, high = end == -0.1, end == 0.2
    slope = quadratic(end)
    assert bool(low.any()) and bool((slope[low] > 0).all()) and bool((slope[high] < 0).all())
    assert float(slope[~low & ~high].abs().max()) < 1e-3


def test_wrong_uses_of_the_penalty_are_refused():
    with pytest.raises(TypeError, match="always has the penalty"):
        list(finetune(make(1), "rlhf", coupled=True))
    with pytest.raises(ValueError, match="lambda_reg >= 0"):
        PenalizedAdamW([nn.Parameter(torch.ones(2))], lambda_reg=-1.0)


def test_measures_of_the_weights_are_their_definitions():
    task = make(1)
    start = theta(task)
    assert measure_weights(task)["distance"] == 0 and measure_weights(task)["unmoved"] == 1
    weights = [p for _, p in task.trained() if p.ndim == 2]
    n = sum(p.numel() for p in weights)
    with torch.no_grad():
        weights[0][0] = 0.0
        weights[1][:, 0] += 1.0
    found = measure_weights(task)
    assert found["zeros"] == pytest.approx(weights[0].shape[1] / n)
    changed = weights[0].shape[1] + weights[1].shape[0]
    assert found["unmoved"] == pytest.approx(1 - changed / n)
    assert found["weight_norm"] == pytest.approx(float(theta(task).norm()))
    assert found["distance"] == pytest.approx(float((theta(task) - start).norm()))


def test_calibration_measures_are_their_definitions():
    logits = 2 * randn(200, 3, seed=5)
    labels = torch.randint(3, (200,), generator=torch.Generator().manual_seed(6))
    p = logits.softmax(1)
    confidence, answer = p.max(1)
    right, gap = (answer == labels).double(), 0.0
    for low in range(5):
        inside = (confidence > low / 5) & (confidence <= (low + 1) / 5)
        if inside.any():
            gap += float(inside.double().mean()) * abs(
                float(right[inside].mean()) - float(confidence[inside].mean())
            )
    assert calibration_error(logits, labels, bins=5) == pytest.approx(gap, rel=1e-5)
    truth = torch.eye(3, dtype=torch.float64)[labels]
    brier = float((p - truth).pow(2).sum(1).mean())
    assert brier_score(logits, labels) == pytest.approx(brier, rel=1e-10)
    assert brier_score(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])) == 0.5
    assert brier_score(torch.zeros(4, 2), [0, 1, 0, 1]) == 0.5


@pytest.mark.parametrize("measure", [brier_score, calibration_error])
@pytest.mark.parametrize(
    "labels",
    [[0, 1], [0, 1, 2], [0, 1, -1], [0.0, 1.0, 1.0], ["a", "b", "c"], None, [[0], [1], [0]]],
)
def test_labels_that_do_not_fit_the_logits_are_refused(measure, labels):
    with pytest.raises((TypeError, ValueError), match="expected labels"):
        measure(torch.zeros(3, 2), labels)
    for logits in (torch.zeros(3), torch.zeros(3, 2, dtype=torch.long), [[0.0, 1.0]]):
        with pytest.raises((TypeError, ValueError), match="expected logits"):
            measure(logits, [0, 1, 1])


def test_outputs_are_those_of_the_whole_set_without_dropout():
    task = make(1, micro_batch=1, dropout=0.5)
    close(outputs_of(task, task.training), task.loss_fn(task.training)[1])
    assert outputs_of(task, task.training).shape == (5, 2)


def test_the_penalty_of_the_library_can_be_given_as_an_object():
    task = make(1)
    strong = L2SP(weight=1e6)
    list(
        finetune(
            task,
            "adamw",
            steps=2,
            coupled=True,
            regularizer=strong,
            lambda_reg=1.0,
            **ADAMW | {"lr": 1e-3},
        )
    )
    near = task.distance()
    list(finetune(task, "adamw", steps=2, **ADAMW | {"lr": 1e-3}))
    assert near < task.distance()
    assert strong.center is None  # the optimizer binds a copy


# What a review found.


def test_what_was_frozen_after_training_is_put_back_too():
    task = make()
    start = {n: p.detach().clone() for n, p in task.module.named_parameters()}
    list(finetune(task, "adamw", steps=1, **ADAMW))
    freeze(task.module, ["body"])
    moved = task.distance()
    task.reset()
    assert moved > 0 and task.distance() == 0
    assert all(torch.equal(p, start[n]) for n, p in task.module.named_parameters())
    freeze(task.module, [])
    task.reset()


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "gpt2", "t5", "modernbert"])
def test_parts_are_found_in_every_family(family):
    model, _ = load_model(name=f"tiny-random-{family}")
    names = [name for name, _ in model.named_parameters()]
    body = freeze(model, ["body"])
    heads = [name for name in names if name not in body]
    assert heads and not any("layer" in n or "block" in n or ".h." in n for n in heads)
    weights = freeze(model, ["weights"])
    assert not set(weights) & set(heads) and not any(n.endswith("bias") for n in weights)
    tables = freeze(model, ["embeddings"])
    assert tables and not set(tables) & set(heads)
    layers = freeze(model, ["encoder"])
    assert (
        layers
        and not set(layers) & set(heads)
        and not set(layers) & set(n for n in tables if "relative" not in n)
    )
    if family == "t5":
        assert any("decoder.block" in n for n in layers)


def test_the_centre_of_a_penalty_is_saved_with_adam():
    start = randn(4)
    p = nn.Parameter(start.clone())
    optimizer = PenalizedAdamW([p], lr=0.1, lambda_reg=0.5, regularizer="l2sp")
    for _ in range(3):
        p.grad = torch.ones_like(p)
        optimizer.step()
    again = nn.Parameter(p.detach().clone())
    other = PenalizedAdamW([again], lr=0.1, lambda_reg=0.5, regularizer="l2sp")
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # torch shares its tensors
    assert other.penalty() == optimizer.penalty() > 0
    for one, parameter in ((optimizer, p), (other, again)):
        parameter.grad = torch.ones_like(parameter)
        one.step()
    assert torch.equal(p, again)


@pytest.mark.parametrize("regularizer", ["l2", "l1", "l2sp", "l1sp"])
def test_each_group_of_adam_is_as_an_optimizer_of_its_own(regularizer):
    starts, groups = [randn(4, 3), randn(5, 3, seed=1)], [{}, {"lr": 0.05, "lambda_reg": 0.2}]

    def gradients(params, step):
        for p in params:
            p.grad = randn(*p.shape, seed=step)

    options = {"lr": 0.1, "lambda_reg": 0.5, "regularizer": regularizer}
    together = [nn.Parameter(start.clone()) for start in starts]
    optimizer = PenalizedAdamW(together[:1], **options)
    optimizer.add_param_group({"params": together[1:], **groups[1]})
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for step in range(3):
        gradients(together, step)
        optimizer.step()
        schedule.step()
    twin = pickle.loads(pickle.dumps(optimizer))  # without the step that the scheduler wrapped
    for start, group, p, (q,) in zip(
        starts, groups, together, (g["params"] for g in twin.param_groups), strict=True
    ):
        alone = nn.Parameter(start.clone())
        other = PenalizedAdamW([alone], **(options | group))
        schedule = torch.optim.lr_scheduler.StepLR(other, 2)
        for step in range(3):
            gradients([alone], step)
            other.step()
            schedule.step()
        close(p, alone, rtol=1e-12)
        assert torch.equal(p, q) and not torch.equal(p, start)
    optimizer.step(lambda: gradients(together, 3))
    gradients([p for g in twin.param_groups for p in g["params"]], 3)
    twin.step()
    assert all(
        torch.equal(p, g["params"][0]) for p, g in zip(together, twin.param_groups, strict=True)
    )


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"lambda_reg": -1.0}, "lambda_reg >= 0"),
        ({"maximize": True}, "a penalty is minimized"),
        ({"params": [torch.zeros(2)]}, "frozen"),
    ],
)
def test_a_group_that_adam_refuses_is_not_added(group, message):
    optimizer = PenalizedAdamW([nn.Parameter(randn(2))], lambda_reg=0.5)
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [nn.Parameter(randn(3))]} | group)
    assert len(optimizer.param_groups) == 1
    optimizer.step()


def test_a_lambda_without_a_penalty_is_refused_by_adam_too():
    with pytest.raises(ValueError, match="no effect"):
        PenalizedAdamW([nn.Parameter(randn(2))], lambda_reg=0.1, regularizer=None)
    with pytest.raises(ValueError, match="no effect"):
        next(finetune(make(), "adamw", coupled=True, lambda_reg=0.5, regularizer=None))


def test_the_penalty_at_the_start_is_that_of_the_start():
    task = make()
    options = {"lambda_reg": 0.5, "regularizer": "l2", "steps": 1}
    by_adam = next(finetune(task, "adamw", coupled=True, **options))
    by_rlhf = next(finetune(task, "rlhf", **options))
    assert by_adam.step == 0 and by_adam.penalty > 0
    assert by_adam.penalty == pytest.approx(by_rlhf.penalty or by_adam.penalty, rel=1e-6)


def test_a_loss_that_is_not_finite_is_never_the_best():
    few = Few([float("nan"), 0.5, 0.7])
    *_, best = stop_early(few.records(), few)
    assert best.val_loss == 0.5 and few.p.item() == 1.0 and best.cost == 2.0


@pytest.mark.parametrize(
    "wrong", [{"curvature_size": 0}, {"curvature_size": -1}, {"batch_size": 0}]
)
def test_sizes_that_are_no_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        next(finetune(make(), "adamw" if "batch_size" in wrong else "rlhf", **wrong))


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_steps_on_minibatches_keep_their_damping_and_each_epoch_sees_every_sample(dropout):
    task, options = make(1), {"steps": 3, "regularizer": None, "damping": 0.5, "dropout": dropout}
    records = list(finetune(task, "rlhf", batch_size=2, solver="dual", **options))
    assert [(r.step, r.extra.get("steps", 0)) for r in records] == [(0, 0), (1, 3), (2, 6), (3, 9)]
    assert {r.damping for r in records[1:]} == {0.5} and records[1].cost > task.samples
    *_, followed = finetune(task, "rlhf", batch_size=2, damping_rule="nielsen", **options)
    assert followed.damping < 0.5 / 20
    # As many as there are, or more, are the whole set, at the whole set's settings.
    ends = []
    for size in (None, 5, 64):
        list(finetune(task, "rlhf", batch_size=size, **options))
        ends.append(theta(task))
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])
