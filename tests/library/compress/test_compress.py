"""Quantization, distillation, files and latency of small models."""

import copy
import json
import math
import time

import pytest
import torch
from cases import LABELS, TEXTS, close, few_cases, mlp, randn
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from rlhf_lib import compress
from rlhf_lib.compress.packing import pack, unpack
from rlhf_lib.text import ClassificationTask, TextDataset, encode, load_model


def tiny(seed=0):
    model, tokenizer = load_model(name="tiny-random", seed=seed)
    return model, encode(tokenizer, TEXTS, max_length=10)


@torch.no_grad()
def logits(model, encoded):
    return model(**encoded).logits


def weights_of(model):
    return {n: m.weight for n, m in model.named_modules() if isinstance(m, nn.Linear)}


# Quantization


@pytest.mark.parametrize("bits", [8, 6, 4, 2])
@pytest.mark.parametrize("group_size", [None, 4])
def test_a_quantized_weight_is_within_half_a_scale(bits, group_size):
    model, _ = tiny()
    small = compress.quantize(model, bits, group_size=group_size, dynamic=False)
    for name, weight in weights_of(model).items():
        part = weight.detach().view(len(weight), -1, group_size or weight.shape[1])
        # The largest magnitude of a group becomes the largest integer, or nearly so.
        scale = part.abs().amax(2, keepdim=True) / (2 ** (bits - 1) - 1)
        error = (weights_of(small)[name].dequantize().detach() - weight.detach()).view_as(part)
        assert bool((error.abs() <= 0.5 * scale * (1 + 1e-5)).all())
        levels = weights_of(small)[name].qdata
        assert int(levels.min()) >= -(2 ** (bits - 1)) and int(levels.max()) < 2 ** (bits - 1)


def test_dynamic_int8_is_close_and_leaves_the_model_alone():
    model, encoded = tiny()
    before = copy.deepcopy(model.state_dict())
    reference = logits(model, encoded)
    small = compress.quantize(model)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    assert all(w.qdata.dtype == torch.int8 for w in weights_of(small).values())
    difference = logits(small, encoded) - reference
    assert 0 < float(difference.abs().max()) < 0.05 * float(reference.abs().max())
    assert type(small.bert.embeddings.word_embeddings.weight) is nn.Parameter
    assert not any(w.requires_grad for w in weights_of(small).values())


def test_dynamic_products_are_those_of_rounded_tokens_and_rounded_weights():
    net = nn.Sequential(nn.Linear(16, 5)).requires_grad_(False)
    x = randn(7, 16, dtype=torch.float32)
    small = compress.quantize(net)
    weight = small[0].weight
    assert weight.reduce_range in (False, True)
    top = 63 if weight.reduce_range else 127
    scale = x.abs().amax(1, keepdim=True) / (top + 0.5)
    rounded = (x / scale).round().clamp(-top - 1, top) * scale
    expected = rounded @ weight.dequantize().T + net[0].bias
    # Rounding to even or up, and a scale by 127 or 127.5, may move a value by one step.
    assert float((small(x) - expected).abs().max()) < 0.01 * float(expected.abs().max())


def test_embeddings_get_integers_when_asked():
    model, encoded = tiny()
    small = compress.quantize(model, embeddings=True)
    table = small.bert.embeddings.word_embeddings.weight
    original = model.bert.embeddings.word_embeddings.weight
    step = original.abs().amax(1, keepdim=True) / 127
    assert bool(((table.dequantize() - original).abs() <= 0.5 * step * (1 + 1e-5)).all())
    close(logits(small, encoded), logits(model, encoded), rtol=0.1)


def test_quantization_reaches_no_users_eyes(capfd, recwarn):
    compress.quantize(tiny()[0], 4)
    captured = capfd.readouterr()
    assert not captured.out and not captured.err and not recwarn.list


def test_errors_of_quantization():
    model, _ = tiny()
    with pytest.raises(ValueError, match="bits: expected one of"):
        compress.quantize(model, 1)
    with pytest.raises(
        ValueError, match=r"expected bits=8 without groups, got .* take dynamic=False"
    ):
        compress.quantize(model, 4, dynamic=True)
    with pytest.raises(ValueError, match="expected a divisor"):
        compress.quantize(model, 4, group_size=3)
    with pytest.raises(ValueError, match="quantized already"):
        compress.quantize(compress.quantize(model))
    with pytest.raises(ValueError, match="expected weights in float32"):
        compress.quantize(copy.deepcopy(model).double())
    with pytest.raises(ValueError, match="with linear layers"):
        compress.quantize(nn.LayerNorm(3))
    with pytest.raises(ValueError, match="prune first, then quantize"):
        compress.prune(compress.quantize(model), 0.5)
    compress.prune(model, 0.5)
    with pytest.raises(ValueError, match="make_permanent"):
        compress.quantize(model)


# Distillation


def test_the_loss_between_its_limits():
    z, v = randn(6, 4), randn(6, 4, seed=1)
    labels = torch.tensor([0, 3, 1, 1, 2, 0])
    loss = compress.distillation_loss
    close(loss(z, v, labels, alpha=0.0), nn.functional.cross_entropy(z, labels))
    close(loss(z, v, labels, alpha=1.0), loss(z, v, alpha=1.0))
    mixed = 0.3 * loss(z, v, alpha=1.0, temperature=3.0) + 0.7 * nn.functional.cross_entropy(
        z, labels
    )
    close(loss(z, v, labels, alpha=0.3, temperature=3.0), mixed)
    # Hot: logits are matched, whatever their means.
    centred = (z - z.mean(1, keepdim=True)) - (v - v.mean(1, keepdim=True))
    hot = loss(z, v, alpha=1.0, temperature=1e4)
    close(hot, centred.square().sum(1).mean() / (2 * 4), rtol=1e-3)
    close(loss(z, z + 5.0, alpha=1.0), 0.0 * z.sum(), atol=1e-12)
    # Cold: only the teacher's first choice counts, so it is T times the usual margin loss.
    cold = loss(z, v, alpha=1.0, temperature=1e-3) / 1e-3
    margin = z.max(1).values - z.gather(1, v.argmax(1, keepdim=True))[:, 0]
    close(cold, margin.mean(), rtol=1e-3)


@few_cases
@given(temperature=st.floats(0.5, 20), seed=st.integers(0, 99))
def test_the_soft_part_is_the_divergence_by_definition(temperature, seed):
    z, v = randn(5, 3, seed=seed), randn(5, 3, seed=seed + 100)
    p, q = (z / temperature).softmax(1), (v / temperature).softmax(1)
    expected = temperature**2 * (q * (q / p).log()).sum(1).mean()
    close(compress.distillation_loss(z, v, temperature=temperature, alpha=1.0), expected)


def test_a_class_that_the_teacher_leaves_out_counts_nothing():
    z, v = randn(5, 3).requires_grad_(), randn(5, 3, seed=100)
    v[:2, 2] = -torch.inf
    p, q = (z / 2).softmax(1), (v / 2).softmax(1)
    expected = 4 * (torch.xlogy(q, q) - q * p.log()).sum(1).mean()
    loss = compress.distillation_loss(z, v, alpha=1.0)
    close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, z)
    close(gradient, 2 * (p - q) / 5)


def test_a_student_has_the_teachers_layers():
    model, encoded = tiny()
    student = compress.student_of(model, 1, which=[1])
    assert student.config.num_hidden_layers == 1 and model.config.num_hidden_layers == 2
    teacher_layer = model.bert.encoder.layer[1].state_dict()
    for name, value in student.bert.encoder.layer[0].state_dict().items():
        assert torch.equal(value, teacher_layer[name])
        assert value.data_ptr() != teacher_layer[name].data_ptr()
    hidden = model.bert.embeddings(encoded["input_ids"])
    mask = (1.0 - encoded["attention_mask"][:, None, None, :]) * torch.finfo(torch.float32).min
    hidden = model.bert.encoder.layer[1](hidden, mask)
    expected = model.classifier(model.bert.pooler(hidden))
    torch.testing.assert_close(logits(student, encoded), expected.detach())


def test_the_default_layers_are_evenly_spaced():
    net = nn.Module()
    net.layers = nn.ModuleList(nn.Linear(1, 1) for _ in range(12))
    for i, layer in enumerate(net.layers):
        nn.init.constant_(layer.weight, i)
    student = compress.student_of(net, 6)
    # What DistilBERT was started from.
    assert [int(layer.weight) for layer in student.layers] == [0, 2, 4, 7, 9, 11]
    assert [int(layer.weight) for layer in compress.student_of(net, 2).layers] == [0, 11]
    assert [int(layer.weight) for layer in compress.student_of(net, 1).layers] == [0]


def dataset():
    return TextDataset(tuple(TEXTS), tuple(LABELS.tolist()), ("a", "b"), "five", ())


def test_a_student_comes_nearer_to_its_teacher():
    teacher, tokenizer = load_model(name="tiny-random")
    task = ClassificationTask(teacher, tokenizer, dataset(), dataset())
    with torch.no_grad():  # a teacher that is sure of something
        teacher.classifier.weight.mul_(5)
    before = copy.deepcopy(teacher.state_dict())
    student = compress.student_of(teacher, 1)
    inputs = {k: v for k, v in task.training.items() if k != "labels"}
    target = logits(teacher, inputs)

    def gap():  # of the margins, since a softmax does not see a common shift
        return float((logits(student, inputs) - target).diff(dim=1).norm())

    first = gap()
    records = list(
        compress.distill(teacher, student, task, alpha=1.0, steps=20, lr=1e-2, batch_size=5)
    )
    assert len(records) == 21
    assert gap() < 0.3 * first
    assert records[-1].loss < 0.1 * records[0].loss
    assert all(torch.equal(v, before[n]) for n, v in teacher.state_dict().items())
    # Scores are the labels', not the teacher's.
    own = nn.functional.cross_entropy(logits(student, inputs), LABELS)
    assert records[-1].val_loss == pytest.approx(float(own), rel=1e-5)
    assert records[-1].train_loss == pytest.approx(float(own), rel=1e-5)


def test_logits_stand_in_for_the_teacher_and_second_order_steps_work():
    teacher, tokenizer = load_model(name="tiny-random", dtype=torch.float64)
    task = ClassificationTask(teacher, tokenizer, dataset(), dataset())
    student = compress.student_of(teacher, 1)
    data = (task.training, task.validation)
    answers = randn(5, 2)
    records = list(
        compress.distill(answers, student, data, method="rlhf", steps=3, curvature_size=None)
    )
    assert records[-1].loss < records[0].loss
    with pytest.raises(ValueError, match="logits of 5 samples, got 4"):
        next(compress.distill(answers[:4], student, data))


def test_errors_of_distillation():
    z = randn(4, 3)
    with pytest.raises(ValueError, match="of one shape"):
        compress.distillation_loss(z, z[:2], alpha=1.0)
    with pytest.raises(ValueError, match="temperature > 0"):
        compress.distillation_loss(z, z, temperature=0.0, alpha=1.0)
    with pytest.raises(ValueError, match="0 <= alpha <= 1"):
        compress.distillation_loss(z, z, alpha=1.5)
    with pytest.raises(ValueError, match=r"expected labels with alpha=.*, got none"):
        compress.distillation_loss(z, z)
    model, _ = tiny()
    with pytest.raises(ValueError, match="layers: expected 1 to 2"):
        compress.student_of(model, 3)
    with pytest.raises(ValueError, match="which: expected different"):
        compress.student_of(model, which=[0, 0])
    with pytest.raises(TypeError, match="one list of layers"):
        compress.student_of(mlp(2, 3, 2))


# Files


@few_cases
@given(share=st.floats(0, 1), n=st.integers(1, 70), seed=st.integers(0, 99))
def test_packing_gives_every_number_back(share, n, seed):
    x = randn(n, 3, seed=seed, dtype=torch.float32)
    x[torch.rand(n, 3, generator=torch.Generator().manual_seed(seed)) < share] = 0.0
    x[0, 0] = -0.0
    packed = pack(x)
    got = x if packed is None else unpack(*packed)
    assert torch.equal(got, x)
    if packed is not None:
        assert sum(part.nbytes for part in packed[0].values()) < x.nbytes


@few_cases
@given(bits=st.integers(2, 8), n=st.integers(1, 40), share=st.floats(0, 1))
def test_small_integers_take_their_bits(bits, n, share):
    generator = torch.Generator().manual_seed(n)
    q = torch.randint(-(2 ** (bits - 1)), 2 ** (bits - 1), (n, 4), generator=generator)
    q[torch.rand(n, 4, generator=generator) < share] = 0
    q = q.to(torch.int8)
    packed = pack(q, bits)
    if packed is not None:
        assert torch.equal(unpack(*packed), q)
        assert sum(part.nbytes for part in packed[0].values()) <= math.ceil(4 * n * bits / 8) + 1


def pruned(model):
    compress.prune(model, 0.8)
    return compress.make_permanent(model)


def without_units(model):
    compress.prune(model, 0.5, structured="heads", by="magnitude")
    compress.prune(model, 0.6, structured="neurons")
    return model


SMALLER = {
    "as it is": lambda model: model,
    "pruned": pruned,
    "heads and neurons": without_units,
    "a layer less": lambda model: compress.student_of(model, 1),
    "int8 dynamic": compress.quantize,
    "int8 with embeddings": lambda model: compress.quantize(model, embeddings=True),
    "int4 in groups": lambda model: compress.quantize(model, 4, group_size=4),
    "all of it": lambda model: compress.quantize(
        pruned(without_units(compress.student_of(model, 1))), 3, embeddings=True
    ),
}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("how", SMALLER)
def test_a_file_gives_the_same_outputs_bit_by_bit(tmp_path, how, packed):
    model, encoded = tiny()
    small = SMALLER[how](model)
    size = compress.save(small, tmp_path / "small.safetensors", packed=packed)
    assert size == (tmp_path / "small.safetensors").stat().st_size
    fresh, _ = tiny(seed=1)
    loaded = compress.load(tmp_path / "small.safetensors", fresh)
    assert loaded is fresh
    assert torch.equal(logits(loaded, encoded), logits(small, encoded))
    assert loaded.config.num_hidden_layers == small.config.num_hidden_layers
    for name, p in small.named_parameters():
        assert loaded.get_parameter(name).requires_grad == p.requires_grad, name


def test_bytes_on_disk_follow_from_what_is_stored(tmp_path):
    """On a layer wide enough that names and shapes in the file's head hardly count."""
    net = nn.Sequential(nn.Linear(512, 512, bias=False))
    n = 512 * 512

    def size(model, **options):
        return compress.save(model, tmp_path / "file.safetensors", **options)

    assert size(net) == pytest.approx(4 * n, rel=0.01)
    assert size(compress.quantize(net)) == pytest.approx(n + 4 * 512, rel=0.01)
    small = compress.quantize(net, 4, group_size=64)
    assert size(small) == pytest.approx(n / 2 + 8 * 512 * (4 + 1), rel=0.02)
    compress.prune(net, 0.75)
    compress.make_permanent(net)
    assert size(net) == pytest.approx(n / 8 + n, rel=0.01)
    assert size(net, packed=False) == pytest.approx(4 * n, rel=0.01)


def test_ties_come_back_as_ties(tmp_path):
    def net(seed):
        torch.manual_seed(seed)
        net = nn.ModuleDict({"table": nn.Embedding(9, 4), "head": nn.Linear(4, 9, bias=False)})
        net["head"].weight = net["table"].weight
        return net

    with torch.random.fork_rng(devices=[]):
        saved, fresh = net(0), net(1)
    size = compress.save(saved, tmp_path / "tied.safetensors")
    with safe_open(tmp_path / "tied.safetensors", "pt") as file:
        assert len(file.keys()) == 1
    assert size < 9 * 4 * 4 + 400
    compress.load(tmp_path / "tied.safetensors", fresh)
    assert fresh["head"].weight is fresh["table"].weight
    assert torch.equal(fresh["head"].weight, saved["table"].weight)


def test_a_loaded_model_can_be_trained_and_made_smaller_again(tmp_path):
    model, encoded = tiny()
    compress.save(without_units(model), tmp_path / "a.safetensors")
    loaded = compress.load(tmp_path / "a.safetensors", tiny()[0])
    loaded(**encoded).logits.sum().backward()
    assert all(p.grad is not None for p in loaded.bert.encoder.parameters())
    compress.save(compress.quantize(loaded), tmp_path / "b.safetensors")


def test_errors_of_files(tmp_path):
    path = tmp_path / "file.safetensors"
    model, _ = tiny()
    save_file({"x": torch.ones(2)}, path)
    with pytest.raises(ValueError, match=r"a file by compress\.save"):
        compress.load(path, model)
    path.write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="a whole safetensors file"):
        compress.load(path, model)
    with pytest.raises(FileNotFoundError):
        compress.load(tmp_path / "none", model)
    compress.save(model, path)
    with pytest.raises(ValueError, match="which this Sequential has"):
        compress.load(path, mlp(3, 3, 2))
    wider = load_model(name="tiny-random", num_labels=3)[0]
    compress.load(path, wider)  # a row of the head less
    assert wider.classifier.out_features == 2
    compress.save(load_model(name="tiny-random", num_labels=3)[0], path)
    with pytest.raises(ValueError, match=r"classifier\.weight of shape \(2, 8\).*got \(3, 8\)"):
        compress.load(path, model)
    compress.prune(model, 0.5)
    with pytest.raises(ValueError, match="make_permanent"):
        compress.save(model, path)


def test_the_file_says_what_it_holds(tmp_path):
    model, _ = tiny()
    compress.save(pruned(model), tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        forms = json.loads(file.metadata()["packed"])
    assert all(how["form"] == "sparse" for how in forms.values()) and forms


# Latency


def test_latency_takes_turns_and_takes_medians():
    order = []

    def call(name, seconds):
        def function():
            order.append(name)
            end = time.process_time() + seconds
            while time.process_time() < end:
                pass

        return function

    calls = {"quick": call("quick", 0.0), "slow": call("slow", 0.01)}
    result = compress.latency(calls, repeats=3, warmup=1)
    assert order == ["quick", "slow"] * 4
    assert result["slow"].cpu >= 0.01 > result["quick"].cpu
    assert all(t.low <= t.cpu <= t.high and t.wall > 0 for t in result.values())
    with pytest.raises(ValueError, match="repeats: expected at least 2"):
        compress.latency(calls, repeats=1)
    with pytest.raises(TypeError, match="expected a dict of functions"):
        compress.latency({})


# What a review found.


def test_layers_that_share_one_module_come_back(tmp_path):
    def make():
        layer = nn.Linear(4, 4)
        model = nn.Module()
        model.layers = nn.ModuleList([layer, nn.ReLU(), layer])
        model.forward = lambda x: model.layers[2](model.layers[1](model.layers[0](x)))
        return model

    model, x = make(), torch.randn(3, 4)
    compress.save(model, tmp_path / "shared")
    back = compress.load(tmp_path / "shared", make())
    assert len(back.layers) == 3 and torch.equal(back.forward(x), model.forward(x))


@pytest.mark.parametrize("tie", ["one module under two names", "a transposed view"])
def test_tied_in_other_ways_is_saved_and_comes_back(tie, tmp_path):
    def make():
        if tie == "one module under two names":
            norm = nn.BatchNorm1d(4)
            return nn.ModuleDict({"a": norm, "b": norm})
        a, b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        b.weight = nn.Parameter(a.weight.data.t())
        return nn.ModuleDict({"a": a, "b": b})

    model = make()
    compress.save(model, tmp_path / "tied")
    back = compress.load(tmp_path / "tied", make())
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_a_student_of_a_decoder_finds_its_cached_keys():
    model, tokenizer = load_model("lm", "tiny-random-gpt2")
    student = compress.student_of(model, which=[1])
    ids = encode(tokenizer, ["what a film"])["input_ids"]
    with torch.no_grad():
        cached = student(input_ids=ids, use_cache=True).logits
        plain = student(input_ids=ids, use_cache=False).logits
    close(cached, plain, rtol=1e-5, atol=1e-6)


class Encoder(nn.Module):
    """Attention whose output layer torch reads and does not call, and a bare matrix."""

    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
            self.head, self.more = nn.Linear(8, 3), nn.Parameter(torch.randn(3, 3))

    def forward(self, x):
        return self.head(self.layer(x).mean(1)) @ self.more


def tied():
    table, head = nn.Embedding(6, 8), nn.Linear(8, 6, bias=False)
    head.weight = table.weight
    return nn.Sequential(table, head)


def weight_normed():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (lambda: load_model("lm", "tiny-random-gpt2")[0], "attn.c_attn.weight of Conv1D"),
        (tied, "0.weight of Embedding"),
        (Encoder, "more of Encoder, layer.self_attn.in_proj_weight of .*self_attn.out_proj.weight"),
        (lambda: nn.LSTM(3, 4), "weight_ih_l0 of LSTM, weight_hh_l0"),
        (lambda: nn.GRUCell(3, 4), "weight_ih of GRUCell"),
        (lambda: nn.Conv2d(4, 4, 3, groups=2), "weight of Conv2d"),
        (weight_normed, "0.weight of ParametrizedLinear"),
    ],
)
@pytest.mark.parametrize("dynamic", [False, True])
def test_what_would_stay_in_floats_or_come_apart_is_not_quantized(model, names, dynamic):
    with pytest.raises(ValueError, match=rf"got .*{names}.*others='leave'"):
        compress.quantize(model(), dynamic=dynamic, embeddings=True)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_linear_layers_are_quantized_beside_what_is_left(mode, tmp_path):
    model, x = Encoder().eval(), randn(2, 4, 8, dtype=torch.float32)
    small = compress.quantize(model, dynamic=False, others="leave")
    expected = copy.deepcopy(model)
    for name in ("layer.linear1", "layer.linear2", "head"):
        weight = small.get_submodule(name).weight.dequantize()
        expected.get_submodule(name).weight = nn.Parameter(weight)
    with mode():
        close(small(x), expected(x), rtol=1e-5)
        compress.save(small, tmp_path / "file")
        assert torch.equal(compress.load(tmp_path / "file", Encoder(1).eval())(x), small(x))


def test_a_model_of_one_layer_and_one_without_values_come_back(tmp_path):
    net, x = nn.Linear(8, 3), randn(2, 8, dtype=torch.float32)
    for model in (net, compress.quantize(net)):
        compress.save(model, tmp_path / "file")
        back = compress.load(tmp_path / "file", nn.Linear(8, 3, device="meta"))
        assert torch.equal(back(x), model(x))
    with pytest.raises(ValueError, match="tensors with values, got one without values under weig"):
        compress.save(nn.Linear(8, 3, device="meta"), tmp_path / "file")
    assert torch.equal(compress.load(tmp_path / "file", nn.Linear(8, 3))(x), back(x))


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (lambda: nn.LazyLinear(3), ValueError, "got weight of a lazy module"),
        (lambda: nn.Linear(2, 2, device="meta"), ValueError, "got weight on the meta device"),
        (lambda: torch.jit.script(nn.Linear(2, 2)), TypeError, "got TorchScript"),
        (lambda: nn.Linear(0, 2), ValueError, r"shape \(2, 0\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning", "ignore:Initializing")
def test_models_without_weights_to_round_are_refused(model, error, message):
    with pytest.raises(error, match=message):
        compress.quantize(model())


def test_weights_that_are_not_finite_are_named():
    net = mlp(3, 4, 2, dtype=torch.float32)
    with torch.no_grad():
        net[2].weight[0, 0] = math.inf
    for smaller in (compress.quantize, lambda m: compress.prune(m, 0.5)):
        with pytest.raises(ValueError, match=r"finite weights, got NaN or infinity in 2\.weight"):
            smaller(net)
    assert not bool((net[0].weight == 0).any())


def test_a_teacher_cannot_read_cached_activations():
    model, tokenizer = load_model(name="tiny-random")
    labels = tuple(LABELS.tolist())
    data = TextDataset(tuple(TEXTS), labels, ("no", "yes"), "few", labels)
    task = ClassificationTask(model, tokenizer, data, data, top_layers=1)
    with pytest.raises(ValueError, match="logits"):
        next(compress.distill(model, copy.deepcopy(model), task, steps=1))
