"""Pruning: masks, saliencies against the true diagonal and closed forms, units really taken out."""

import copy

import pytest
import torch
from cases import (
    LABELS,
    TEXTS,
    classification,
    close,
    cross_entropy_on,
    few_cases,
    mlp,
    randn,
    spd,
    tiny_bert,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune as torch_prune

from rlhf_lib.compress import keep_masks, make_permanent, optimal_brain_surgeon, prune, sparsity
from rlhf_lib.compress.masks import masks
from rlhf_lib.compress.saliency import saliencies
from rlhf_lib.compress.surgeon import input_second_moments, layer_surgery
from rlhf_lib.compress.units import find_units, gate_saliencies
from rlhf_lib.compress.weights import chosen_matrices
from rlhf_lib.objective import TaskLoss
from rlhf_lib.text import encode, load_model

fractions = st.floats(0, 0.95)


@pytest.fixture
def bert():
    model, tokenizer = load_model(name="tiny-random", dtype=torch.float64)
    return model, encode(tokenizer, TEXTS, max_length=10)


def weights_of(model):
    return {name: matrix.parameter for name, matrix in chosen_matrices(model).items()}


def loss_fn_of(model):
    def loss_fn(batch):
        logits = model(**{k: v for k, v in batch.items() if k != "labels"}).logits
        return nn.functional.cross_entropy(logits, batch["labels"]), logits

    return loss_fn


@few_cases
@given(fraction=fractions, per_tensor=st.booleans(), seed=st.integers(0, 99))
def test_masks_drop_the_least_scores_and_the_right_number(fraction, per_tensor, seed):
    scores = {"a": randn(7, 5, seed=seed).abs(), "b": randn(11, seed=seed + 100).abs()}
    masks = keep_masks(scores, fraction, per_tensor=per_tensor)
    groups = [["a"], ["b"]] if per_tensor else [["a", "b"]]
    for names in groups:
        score = torch.cat([scores[n].reshape(-1) for n in names])
        keep = torch.cat([masks[n].reshape(-1) for n in names])
        assert int((~keep).sum()) == round(fraction * len(score))
        if keep.any() and not keep.all():
            assert score[~keep].max() <= score[keep].min()


def test_equal_scores_still_give_the_right_number():
    assert int((~keep_masks({"a": torch.ones(10)}, 0.3)["a"]).sum()) == 3


def test_magnitude_masks_of_a_whole_bert(bert):
    model, _ = bert
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    keep = prune(model, 0.6)
    weights = torch.cat([before[n].abs().reshape(-1) for n in keep])
    gone = torch.cat([~k.reshape(-1) for k in keep.values()])
    assert int(gone.sum()) == round(0.6 * len(weights))
    assert weights[gone].max() <= weights[~gone].min()
    assert sparsity(model).zeros == int(gone.sum())
    assert not any("embeddings" in n or "LayerNorm" in n or n.endswith("bias") for n in keep)
    make_permanent(model)
    for name, p in model.named_parameters():
        expected = before[name] * keep[name] if name in keep else before[name]
        assert torch.equal(p, expected) and p.requires_grad


def test_embeddings_are_pruned_when_asked(bert):
    keep = prune(bert[0], 0.5, embeddings=True, per_layer=True)
    assert sum("embeddings" in n for n in keep) == 3
    assert all(int((~k).sum()) == round(0.5 * k.numel()) for k in keep.values())


def test_zeros_stay_zero_while_training_goes_on_and_more_can_be_pruned(bert):
    model, encoded = bert
    keep = prune(model, 0.5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(**encoded).logits, LABELS).backward()
        optimizer.step()
    weights = {n: m.value for n, m in chosen_matrices(model).items()}
    assert all(bool((weights[n] == 0)[~k].all()) for n, k in keep.items())
    assert sparsity(model).zeros == sum(int((~k).sum()) for k in keep.values())
    more = prune(model, 0.7)
    assert all(not bool((more[n] & ~keep[n]).any()) for n in keep)
    assert sparsity(model).share == pytest.approx(0.7, abs=1e-3)
    assert not masks(make_permanent(model))


def test_a_failed_call_leaves_the_masks_as_they_were(bert):
    model, _ = bert
    prune(model, 0.5)
    with pytest.raises(ZeroDivisionError):
        prune(model, 0.7, by="obd", loss_fn=lambda batch: 1 / 0, batches=[torch.ones(2)])
    assert masks(model) and sparsity(model).share == pytest.approx(0.5, abs=1e-3)


def test_a_matrix_tied_to_an_embedding_is_left_out():
    net = nn.Module()
    net.table, net.hidden, net.head = nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 9)
    net.head.weight = net.table.weight
    assert set(chosen_matrices(net)) == {"hidden.weight"}
    assert len(chosen_matrices(net, embeddings=True)) == 2


def test_obd_on_a_quadratic_is_half_the_true_diagonal_times_the_square():
    """Least squares: the Hessian in every row of W is X'X / n."""
    X, Y = randn(20, 6), randn(20, 3, seed=1)
    net = nn.Linear(6, 3, bias=False).double()

    def loss_fn(batch):
        out = net(batch[0])
        return (out - batch[1]).square().sum(1).mean() / 2, out

    h = (X.T @ X / len(X)).diagonal()
    expected = h * net.weight.detach() ** 2 / 2
    task = TaskLoss(loss_fn, [(X[:8], Y[:8]), (X[8:], Y[8:])])
    got = saliencies(weights_of(net), "obd", task)["weight"]
    close(got, expected)
    # Products with random signs have other rows' entries as noise: many of them come near.
    many = saliencies(
        weights_of(net),
        "obd",
        task,
        curvature="hessian",
        samples=400,
        generator=torch.Generator().manual_seed(0),
    )["weight"]
    assert float((many - expected).abs().max()) < 0.15 * float(expected.max())


def test_obd_scores_of_bert_are_those_of_the_dense_gauss_newton_matrix():
    tiny = tiny_bert()
    task = TaskLoss(tiny.closure)
    weights = weights_of(tiny.model)
    got = saliencies(weights, "obd", task)
    diagonal, offset = tiny.gauss_newton.diagonal(), 0
    for name, p in tiny.model.named_parameters():
        if name in weights:
            h = diagonal[offset : offset + p.numel()].view_as(p)
            close(got[name], h * p.detach() ** 2 / 2)
        offset += p.numel()


def test_obd_sees_frozen_weights_and_leaves_them_frozen(bert):
    model, encoded = bert
    free = copy.deepcopy(model)
    model.requires_grad_(False)
    data = {**encoded, "labels": LABELS}
    keep = prune(model, 0.5, by="obd", loss_fn=loss_fn_of(model), batches=[data])
    expected = prune(free, 0.5, by="obd", loss_fn=loss_fn_of(free), batches=[data])
    assert all(torch.equal(keep[n], expected[n]) for n in keep)
    assert not any(p.requires_grad for p in make_permanent(model).parameters())


@few_cases
@given(seed=st.integers(0, 999), count=st.integers(0, 7))
def test_the_surgeons_rise_on_a_quadratic_is_the_sum_of_saliencies(seed, count):
    H, start = spd(8, seed=seed), randn(8, seed=seed + 1)
    theta, order, cost = optimal_brain_surgeon(start, H, count)
    step = theta - start
    rise = torch.tensor(sum(cost), dtype=torch.float64)
    close(step @ H @ step / 2, rise)
    assert int((theta == 0).sum()) == count == len(set(order))
    # Given what is gone, no other values of the rest do better.
    left = [i for i in range(8) if i not in order]
    expected = torch.linalg.solve(H[left][:, left], (H @ start)[left])
    close(theta[left], expected)


def test_the_surgeon_beats_magnitude_and_diagonal_where_weights_lean_on_one_another():
    H = torch.tensor([[1.0, 0.95, 0.0], [0.95, 1.0, 0.0], [0.0, 0.0, 0.3]], dtype=torch.float64)
    start = torch.tensor([1.0, 1.0, 1.5], dtype=torch.float64)
    theta, order, cost = optimal_brain_surgeon(start, H, 1)
    assert order == [0]
    close(cost[0], (1 - 0.95**2) / 2)
    close(theta, torch.tensor([0.0, 1.95, 1.5], dtype=torch.float64))


def test_layer_surgery_is_the_least_squares_fit_where_the_zeros_come_first():
    X, W = randn(30, 6), randn(6, 6, seed=2)
    gone = torch.ones(6, 6, dtype=torch.bool).tril(-1)  # row r loses its first r weights
    got, keep = layer_surgery(W, X.T @ X / 30, 0.0, gone, block=4)
    assert torch.equal(keep, ~gone)
    for r, row in enumerate(keep):
        fit = torch.linalg.lstsq(X[:, row], (X @ W[r])[:, None]).solution[:, 0]
        expected = torch.zeros(6, dtype=torch.float64).masked_scatter(row, fit)
        close(got[r], expected, atol=1e-10)


def test_one_weight_less_is_the_surgeons_own_first_step():
    """In the last place but none before it, where columns to the right are all there are."""
    H, w = spd(5), torch.tensor([[0.01, 3.0, 3.0, 3.0, 3.0]], dtype=torch.float64)
    got, keep = layer_surgery(w, H, 0.2)
    theta, order, _ = optimal_brain_surgeon(w[0], H, 1)
    assert order == [0] and int((~keep).sum()) == 1
    close(got[0], theta)


@few_cases
@given(seed=st.integers(0, 999), fraction=fractions)
def test_layer_surgery_never_beats_the_fit_and_beats_zeros_on_average(seed, fraction):
    X, W = randn(60, 12, seed=seed) @ spd(12, seed=seed), randn(40, 12, seed=seed + 1)
    got, keep = layer_surgery(W, X.T @ X / 60, fraction, block=4)
    assert bool((got[~keep] == 0).all())
    assert int((~keep).sum()) == 3 * round(fraction * 160)
    for row, w, new in zip(keep, W, got, strict=True):
        fit = torch.linalg.lstsq(X[:, row], (X @ w)[:, None]).solution[:, 0]
        least = float((X @ w - X[:, row] @ fit).norm())
        assert float((X @ (w - new)).norm()) >= least * (1 - 1e-9) - 1e-9
    assert float((X @ (W - got).T).norm()) <= float((X @ (W * ~keep).T).norm())


def test_second_moments_are_those_of_the_layers_inputs():
    net = mlp(3, 5, 3)
    inputs, labels = classification(10)
    task = TaskLoss(cross_entropy_on(net), [(inputs[:4], labels[:4]), (inputs[4:], labels[4:])])
    moments = input_second_moments({"last": net[2]}, task, damping=0.0)
    hidden = net[1](net[0](inputs)).detach()
    close(moments["last"], hidden.T @ hidden / 10, rtol=1e-8)


def test_obs_keeps_a_layers_outputs_better_than_zeros_alone(bert):
    model, encoded = bert
    data = {**encoded, "labels": LABELS}
    reference = model(**encoded).logits.detach()
    gone = {}
    for by in ("magnitude", "obs"):
        pruned = copy.deepcopy(model)
        prune(pruned, 0.4, by=by, per_layer=True, loss_fn=loss_fn_of(pruned), batches=[data])
        gone[by] = float((pruned(**encoded).logits.detach() - reference).norm())
        assert sparsity(pruned).share == pytest.approx(0.4, abs=0.01)
    assert gone["obs"] < 0.9 * gone["magnitude"]


@pytest.mark.parametrize("kind", ["heads", "neurons"])
def test_removing_units_equals_closing_their_gates(bert, kind):
    model, encoded = bert
    units = find_units(model, kind)
    closed = copy.deepcopy(model)
    kept = prune(model, 0.45, structured=kind)
    assert any(len(kept[u.name]) < u.count for u in find_units(closed, kind))
    for unit in find_units(closed, kind):
        gate = torch.zeros(unit.count, dtype=torch.float64)
        gate[kept[unit.name]] = 1.0
        gate = gate.repeat_interleave(unit.size)
        unit.outward.register_forward_pre_hook(lambda m, x, gate=gate: (x[0] * gate,))
    close(model(**encoded).logits, closed(**encoded).logits, rtol=1e-10)
    for unit in units:
        width = len(kept[unit.name]) * unit.size
        assert unit.outward.weight.shape[1] == unit.outward.in_features == width
        assert all(len(part.weight) == part.out_features == width for part in unit.inward)
        if kind == "heads":
            assert unit.attention.num_attention_heads == len(kept[unit.name])


def test_units_of_distilbert_and_roberta_go_too():
    from transformers import (
        DistilBertConfig,
        DistilBertForSequenceClassification,
        RobertaConfig,
        RobertaForSequenceClassification,
    )

    small = {"vocab_size": 30, "attn_implementation": "eager"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        distil = DistilBertForSequenceClassification(
            DistilBertConfig(dim=8, n_layers=2, n_heads=4, hidden_dim=16, **small)
        )
        roberta = RobertaForSequenceClassification(
            RobertaConfig(
                hidden_size=8,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=16,
                max_position_embeddings=40,
                **small,
            )
        )
    ids = torch.arange(2, 14).view(2, 6)
    for model in (distil.eval(), roberta.eval()):
        before = sum(p.numel() for p in model.parameters())
        prune(model, 0.5, structured="heads")
        prune(model, 0.5, structured="neurons")
        assert model(input_ids=ids).logits.shape == (2, 2)
        # Half of 2 layers' attention, 4 d^2 + 3 d of 4 d^2 + 4 d, and of 2 feed-forward parts.
        assert before - sum(p.numel() for p in model.parameters()) == 16 * 17 + 2 * 4 * 8 * 4 + 24


def test_gate_saliencies_are_half_the_dense_curvature_in_the_gates(bert):
    """J'H_L J in the gates by torch's own Jacobian through a hand-written gate."""
    model, encoded = bert
    units = find_units(model, "heads")
    data = {**encoded, "labels": LABELS}
    pieces = [{k: v[s] for k, v in data.items()} for s in (slice(0, 2), slice(2, 5))]
    got = torch.cat(gate_saliencies(units, TaskLoss(loss_fn_of(model), pieces)))

    def logits(gates):
        handles = []
        for unit, gate in zip(units, gates.split([u.count for u in units]), strict=True):
            wide = gate.repeat_interleave(unit.size)
            hook = unit.outward.register_forward_pre_hook(lambda m, x, g=wide: (x[0] * g,))
            handles.append(hook)
        try:
            return model(**encoded).logits
        finally:
            for handle in handles:
                handle.remove()

    ones = torch.ones(len(got), dtype=torch.float64)
    J = torch.autograd.functional.jacobian(logits, ones)
    p = logits(ones).detach().softmax(1)
    inner = (torch.diag_embed(p) - p[:, :, None] * p[:, None, :]) / len(p)
    close(got, torch.einsum("ncg,ncd,ndg->g", J, inner, J) / 2)


def test_a_layer_keeps_its_best_unit(bert):
    model, encoded = bert
    with torch.no_grad():  # the second layer would lose everything
        model.bert.encoder.layer[1].output.dense.weight.mul_(1e-6)
        model.bert.encoder.layer[1].intermediate.dense.weight.mul_(1e-6)
    kept = prune(model, 0.9, structured="neurons")
    assert sorted(map(len, kept.values())) == [1, 2]
    assert bool(model(**encoded).logits.isfinite().all())


def test_errors_say_what_to_do(bert):
    model, _ = bert
    with pytest.raises(ValueError, match=r"expected by .* got .size"):
        prune(model, 0.5, by="size")
    for fraction in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="0 <= fraction < 1"):
            prune(model, fraction)
    for call in (lambda m: prune(m, 0.5), sparsity, make_permanent):
        with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module, got dict"):
            call({})
    with pytest.raises(ValueError, match="NaN among those of a"):
        keep_masks({"a": torch.tensor([1.0, torch.nan])}, 0.5)
    for fraction in (False, "0.5", None):
        with pytest.raises(TypeError, match="fraction: expected a number"):
            prune(model, fraction)
    with pytest.raises(ValueError, match="pass loss_fn="):
        prune(model, 0.5, by="obd")
    with pytest.raises(ValueError, match="expected structured"):
        prune(model, 0.5, structured="layers")
    with pytest.raises(ValueError, match=r"expected a fraction of at most .* got 0"):
        prune(model, 0.8, structured="heads")
    with pytest.raises(ValueError, match="prunes single weights"):
        prune(model, 0.2, by="obs", structured="heads")
    with pytest.raises(TypeError, match="BERT, RoBERTa or DistilBERT"):
        prune(mlp(3, 4, 2), 0.5, structured="neurons")
    with pytest.raises(ValueError, match="with weight matrices"):
        prune(nn.LayerNorm(3), 0.5)
    with pytest.raises(ValueError, match="positive definite"):
        optimal_brain_surgeon(torch.ones(2), -torch.eye(2), 1)
    with pytest.raises(ValueError, match="expected hessian of shape"):
        optimal_brain_surgeon(torch.ones(2), torch.eye(3), 1)
    with pytest.raises(ValueError, match="count: expected 0 to 2"):
        optimal_brain_surgeon(torch.ones(2), torch.eye(2), 3)
    with pytest.raises(ValueError, match="expected curvature"):
        prune(model, 0.5, by="obd", curvature="dense", loss_fn=lambda b: None, batches=[LABELS])
    prune(model, 0.5)
    with pytest.raises(ValueError, match="make_permanent"):
        prune(model, 0.5, structured="neurons")


# What a review found.


def test_tied_weights_are_masked_wherever_they_are_used():
    model, tokenizer = load_model("lm", "tiny-random-gpt2")
    ids = encode(tokenizer, ["what a film"])["input_ids"]
    prune(model, 0.5, embeddings=True)
    table, head = model.transformer.wte, model.lm_head
    assert torch.equal(table.weight, head.weight) and table.weight_orig is head.weight_orig
    with torch.no_grad():
        masked = model(input_ids=ids, use_cache=False).logits
        permanent = make_permanent(model)(input_ids=ids, use_cache=False).logits
    close(masked, permanent, rtol=0, atol=0)
    assert model.transformer.wte.weight is model.lm_head.weight


@pytest.mark.parametrize("again", [{"fraction": 0.6, "per_layer": True}, {"fraction": 0.3}])
def test_what_is_pruned_stays_pruned(again):
    model, _ = load_model(name="tiny-random")
    with torch.no_grad():  # so that one layer loses most
        next(m for m in model.modules() if isinstance(m, nn.Linear)).weight *= 0.01
    first = prune(model, 0.5)
    second = prune(model, again.pop("fraction"), **again)
    assert all(not bool((second[name] & ~mask).any()) for name, mask in first.items())


class Net(nn.Module):
    """A layer, its output for each step of x (n, 4, 8) if it has any, and a head."""

    def __init__(self, layer, run, width):
        super().__init__()
        self.layer, self.run, self.head = layer, run, nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.run(self.layer, x))


def rows(layer, x):  # weights are read without a call of the module
    return nn.functional.linear(x[:, 0], layer.weight)


LAYERS = {
    "encoder": lambda: Net(
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
        lambda layer, x: layer(x).mean(1),
        8,
    ),
    "attention": lambda: Net(
        nn.MultiheadAttention(8, 2, kdim=4, vdim=4, add_bias_kv=True, batch_first=True),
        lambda layer, x: layer(x, x[..., :4], x[..., 4:])[0].mean(1),
        8,
    ),
    "LSTM": lambda: Net(
        nn.LSTM(8, 6, 2, bidirectional=True, proj_size=4, batch_first=True),
        lambda layer, x: layer(x)[0][:, -1],
        8,
    ),
    "GRUCell": lambda: Net(nn.GRUCell(8, 5), lambda layer, x: layer(x[:, 0]), 5),
    "Bilinear": lambda: Net(nn.Bilinear(8, 8, 5), lambda layer, x: layer(x[:, 0], x[:, 1]), 5),
    "convolutions": lambda: Net(
        nn.Sequential(nn.Conv1d(4, 8, 3, groups=2), nn.Tanh(), nn.ConvTranspose1d(8, 2, 3)),
        lambda layer, x: layer(x).flatten(1),
        16,
    ),
    "read by others": lambda: Net(nn.Linear(8, 5), rows, 5),
    "LayerNorm of a matrix": lambda: Net(nn.LayerNorm((4, 8)), lambda layer, x: layer(x)[:, 0], 8),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_nothing_computes_with_stale_weights(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, plain = make().double(), make().double()
    x, y = randn(5, 4, 8), torch.tensor([0, 1, 2, 0, 1])
    stay = {f"layer.{n}" for n in ("bias_k", "bias_v")}
    stay |= {"layer.weight", "layer.bias"} if isinstance(model.layer, nn.LayerNorm) else set()
    names = [n for n, p in model.named_parameters() if p.ndim > 1 and n not in stay]
    keep = prune(model, 0.5)
    assert list(keep) == names
    order = [n for n, _ in plain.named_parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        values = {n.removesuffix("_orig"): p.detach() for n, p in model.named_parameters()}
        plain.load_state_dict({n: p * keep[n] if n in keep else p for n, p in values.items()})
        for mode in (True, False):  # attention and its layers have a fast path for evaluation
            with torch.set_grad_enabled(mode):
                close(model.train(mode)(x), plain.train(mode)(x), rtol=1e-12)
                close(copy.deepcopy(model)(x), plain(x), rtol=1e-12)
    sizes = torch.tensor([k.numel() for k in keep.values()])
    assert sparsity(model).zeros == round(0.5 * int(sizes.sum()))
    close(make_permanent(model)(x), plain(x), rtol=1e-12)
    assert [n for n, _ in model.named_parameters()] == order


def lora():
    model = nn.Linear(4, 3)
    model.A, model.B = nn.Parameter(torch.randn(4, 2)), nn.Parameter(torch.randn(2, 3))
    return model


def test_matrices_that_no_rule_covers_are_asked_for():
    with pytest.raises(ValueError, match=r"got A of Linear, B of Linear .*others='leave'"):
        prune(lora(), 0.5)
    assert set(prune(lora(), 0.5, others="leave")) == {"weight"}
    assert set(prune(lora(), 0.5, others="prune")) == {"weight", "A", "B"}
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)), nn.Linear(2, 2))
    for others in (None, "prune"):
        with pytest.raises(ValueError, match=r"0\.weight of .*remove_parametrizations"):
            prune(model, 0.5, others=others)
    assert set(prune(model, 0.5, others="leave")) == {"1.weight"}
    assert sparsity(model, others="leave").share == 0.5 and len(sparsity(model).by_name) == 2
    with pytest.raises(ValueError, match="expected others"):
        prune(lora(), 0.5, others="keep")
    with pytest.raises(ValueError, match=r"linear layers with by='obs', got 0\.weight of Conv1d"):
        conv = nn.Sequential(nn.Conv1d(2, 2, 1), nn.Linear(3, 2))
        prune(conv, 0.5, by="obs", loss_fn=lambda b: None, batches=[LABELS])


def test_masks_of_torch_go_on_as_ours():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)).double()
    torch_prune.l1_unstructured(model[0], "weight", 0.5)
    torch_prune.l1_unstructured(model[0], "bias", 0.4)
    gone, x = model[0].weight == 0, randn(3, 4)
    keep = prune(model, 0.6)
    assert not bool((keep["0.weight"] & gone).any()) and int((model[0].bias == 0).sum()) == 2
    expected = model(x)
    close(make_permanent(model)(x), expected, rtol=1e-12)
    assert set(dict(model[0].named_parameters())) == {"weight", "bias"}


def test_the_surgeon_operates_on_all_layers_or_on_none():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 2)).double()
    prune(model, 0.3)
    model[2].register_forward_pre_hook(lambda module, inputs: (inputs[0] * float("nan"),))
    before = copy.deepcopy(model.state_dict())
    inputs, labels = classification(10, classes=2)
    with pytest.raises(ValueError, match=r"finite inputs, got NaN or infinity in those of 2\.weig"):
        prune(model, 0.6, by="obs", loss_fn=cross_entropy_on(model), batches=[(inputs, labels)])
    after = model.state_dict()
    assert before.keys() == after.keys()
    for name, mask in before.items():
        if name.endswith("_mask"):
            weight = name.replace("_mask", "_orig")
            assert torch.equal(mask, after[name])
            assert torch.equal(before[weight] * mask, after[weight] * mask)


def summed_on(model):
    def loss_fn(batch):
        inputs = {k: v for k, v in batch.items() if k != "labels"}
        logits = model(**inputs).logits
        return nn.functional.cross_entropy(logits, batch["labels"], reduction="sum"), logits

    return loss_fn


@pytest.mark.parametrize("structured", [None, "heads", "neurons"])
def test_losses_that_are_sums_prune_by_count(bert, structured):
    model, encoded = bert
    data = {**encoded, "labels": LABELS}
    pieces = [{k: v[s] for k, v in data.items()} for s in (slice(0, 2), slice(2, 5))]
    other, options = copy.deepcopy(model), {"by": "obd", "structured": structured}
    expected = prune(model, 0.4, loss_fn=loss_fn_of(model), batches=pieces, **options)
    with pytest.raises(ValueError, match="count='sum'"):
        prune(copy.deepcopy(other), 0.4, loss_fn=summed_on(other), batches=pieces, **options)
    got = prune(other, 0.4, loss_fn=summed_on(other), batches=pieces, count="sum", **options)
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], expected[name]) for name in got)


def test_gates_of_samples_that_act_on_one_another_are_refused(bert):
    model, encoded = bert

    def contrasted(batch):
        logits = model(**encoded).logits
        logits = logits - logits.mean(0)  # as batch normalization does
        return nn.functional.cross_entropy(logits, LABELS), logits

    with pytest.raises(ValueError, match="samples that act on one another"):
        prune(model, 0.4, by="obd", structured="heads", loss_fn=contrasted, batches=[LABELS])
