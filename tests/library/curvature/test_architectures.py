"""Every architecture and task by a tiny random model, in float64, against central differences."""

import copy
import math
from functools import cache

import pytest
import torch
from cases import at, close, dense_gauss_newton, difference_product, flat, gradient, randn
from torch import nn
from torch.func import functional_call

from rlhf_lib import GaussNewtonOperator, HessianOperator, RLHFOptimizer
from rlhf_lib.text import CachedTop, encode, load_model
from rlhf_lib.text.architectures import TASKS, configure, tasks_of
from rlhf_lib.text.tiny import TINY

TEXTS = ["what a film", "no", "Żó, 3"]
NAMES = [name for name in TINY if name != "tiny-random"]  # the BERT, shorter
CASES = [(name, task) for name in NAMES for task in tasks_of(TINY[name]()[0])]
each = pytest.mark.parametrize(("name", "task"), CASES)


class Case:
    """A model on three texts of unequal length, its loss, and the loss as a function of theta."""

    def __init__(self, name, task, texts=TEXTS):
        self.task = task
        self.model, self.tokenizer = load_model(
            task,
            name,
            num_labels=3 if task in ("classification", "ner") else None,
            dtype=torch.float64,
        )
        self.params = list(self.model.parameters())
        self.theta = flat(self.params)
        self.encoded = encode(self.tokenizer, texts, max_length=12)
        self.labels = self.make_labels()

    def make_labels(self):
        ids, mask = self.encoded["input_ids"], self.encoded["attention_mask"]
        n = len(ids)
        if self.task == "classification":
            return torch.arange(n) % 3
        if self.task == "ner":
            return ((ids + torch.arange(ids.shape[1])) % 3).masked_fill(mask == 0, -100)
        if self.task == "qa":  # (2, n): starts and ends
            return torch.stack((torch.arange(n) % 2, mask.sum(1) - 1))
        return ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)

    def outputs(self, theta=None, encoded=None):
        """(n, C), (n, T, C), or for qa (2, n, T)."""
        encoded = self.encoded if encoded is None else encoded
        state = {} if theta is None else at(self.model, theta)
        out = functional_call(self.model, state, (), encoded)
        if self.task == "qa":
            both = torch.stack((out.start_logits, out.end_logits))
            return both.masked_fill(encoded["attention_mask"] == 0, -1e4)
        return out.logits[:, :-1] if self.task == "lm" else out.logits

    def loss_of(self, outputs):
        return nn.functional.cross_entropy(outputs.flatten(0, -2), self.labels.flatten())

    def loss(self, theta):
        return self.loss_of(self.outputs(theta))

    def closure(self):
        outputs = self.outputs()
        return self.loss_of(outputs), outputs


@cache
def case(name, task):
    return Case(name, task)


def test_every_family_has_the_tasks_it_should():
    encoders = ["classification", "ner", "qa"]
    assert {
        name.removeprefix("tiny-random-"): [t for n, t in CASES if n == name] for name in NAMES
    } == {
        "bert": encoders,
        "distilbert": encoders,
        "roberta": encoders,
        "t5": encoders,
        "modernbert": encoders,
        "gpt2": [*encoders, "lm"],
    }


@each
def test_hessian_products_agree_with_central_differences(name, task):
    found = case(name, task)
    operator = HessianOperator(found.closure, found.params)
    close(operator.gradient, gradient(found.loss, found.theta), rtol=1e-12)
    products = []
    for seed in (0, 1):
        v = randn(len(found.theta), seed=seed)
        products.append(operator @ v)
        close(products[-1], difference_product(found.loss, found.theta, v), rtol=1e-8)
    one, other = (float(randn(len(found.theta), seed=1 - i) @ products[i]) for i in (0, 1))
    assert math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


@each
def test_gauss_newton_products_agree_with_central_differences_of_the_outputs(name, task):
    found = case(name, task)
    operator = GaussNewtonOperator(found.closure, found.params)
    v = randn(len(found.theta), seed=2)

    def slope(h):
        return (found.outputs(found.theta + h * v) - found.outputs(found.theta - h * v)) / (2 * h)

    h = 1e-3 / float(v.norm())
    with torch.no_grad():
        jv = ((4 * slope(h / 2) - slope(h)) / 3).flatten(0, -2)
        p = found.outputs().flatten(0, -2).softmax(-1)
        counted = (found.labels.flatten() != -100)[:, None]
        hjv = counted * (p * jv - p * (p * jv).sum(-1, keepdim=True)) / counted.sum()
    theta = found.theta.clone().requires_grad_(True)
    outputs = found.outputs(theta)
    (expected,) = torch.autograd.grad(outputs, theta, hjv.view_as(outputs))
    close(operator @ v, expected, rtol=1e-8)
    w = randn(len(found.theta), seed=3)
    assert math.isclose(float(w @ (operator @ v)), float(v @ (operator @ w)), rel_tol=1e-9)
    assert float(v @ (operator @ v)) > 0


@pytest.mark.parametrize("name", NAMES)
def test_gauss_newton_products_are_those_of_the_dense_matrix(name):
    found = case(name, "classification")
    G = dense_gauss_newton(found.outputs, found.loss_of, found.theta)
    operator = GaussNewtonOperator(found.closure, found.params)
    for seed in range(3):
        v = randn(len(found.theta), seed=seed)
        close(operator @ v, G @ v, rtol=1e-9)


@each
def test_padding_does_not_change_what_is_said_of_a_text(name, task):
    found = case(name, task)
    lengths = found.encoded["attention_mask"].sum(1)
    assert len(set(lengths.tolist())) == 3
    outputs = found.outputs()
    assert outputs.isfinite().all()
    for i, length in enumerate(lengths.tolist()):
        alone = {key: value[i : i + 1, :length] for key, value in found.encoded.items()}
        expected = found.outputs(encoded=alone)
        rows = outputs[:, i : i + 1] if task == "qa" else outputs[i : i + 1]
        if task != "classification":
            axis = 2 if task == "qa" else 1
            rows = rows.narrow(axis, 0, expected.shape[axis])
        close(rows, expected, rtol=1e-12)


@each
def test_more_padding_changes_neither_loss_nor_gradient(name, task):
    found, wider = case(name, task), Case(name, task)
    pad = {"input_ids": found.tokenizer.pad_token_id}
    wider.encoded = {
        key: nn.functional.pad(value, (0, 7), value=pad.get(key, 0))
        for key, value in found.encoded.items()
    }
    wider.labels = wider.make_labels()
    for operator in (HessianOperator, GaussNewtonOperator):
        one, other = (operator(c.closure, c.params) for c in (found, wider))
        v = randn(len(found.theta))
        close(other.loss, one.loss, rtol=1e-13)
        close(other.gradient, one.gradient, rtol=1e-12)
        close(other @ v, one @ v, rtol=1e-12)


@each
def test_one_step_lowers_the_objective_and_keeps_ties(name, task):
    found = Case(name, task)
    optimizer = RLHFOptimizer(
        found.model.named_parameters(), lambda_reg=0.01, regularizer="l2sp", damping=1.0
    )
    before = optimizer.step(found.closure)
    assert optimizer.record.accepted
    assert found.closure()[0].item() + optimizer.penalty() < before
    if task == "lm":
        assert found.model.lm_head.weight is found.model.transformer.wte.weight
    if name.endswith("t5"):
        embeddings = [
            m.weight
            for m in found.model.modules()
            if isinstance(m, nn.Embedding) and len(m.weight) == found.model.config.vocab_size
        ]
        assert len({id(weight) for weight in embeddings}) == 1


@each
def test_a_saved_folder_gives_the_same_model_and_tokenizer(name, task, tmp_path):
    found = case(name, task)
    found.model.save_pretrained(tmp_path)
    found.tokenizer.save_pretrained(tmp_path)
    assert list(tmp_path.glob("*.safetensors"))
    loaded = copy.copy(found)
    loaded.model, loaded.tokenizer = load_model(task, tmp_path, dtype=torch.float64, seed=5)
    again = encode(loaded.tokenizer, TEXTS, max_length=12)
    assert again.keys() == found.encoded.keys()
    assert all(torch.equal(again[key], found.encoded[key]) for key in again)
    assert torch.equal(loaded.outputs(), found.outputs())
    assert type(loaded.model) is type(found.model)


@pytest.mark.parametrize("name", NAMES)
def test_a_body_can_be_given_another_head(name, tmp_path):
    body, tokenizer = load_model("ner", name, num_labels=5)
    body.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, _ = load_model("ner", tmp_path, num_labels=7)
    old, new = body.state_dict(), model.state_dict()
    changed = {key for key in old if not torch.equal(old[key], new[key])}
    assert changed and all("classifier" in key or "score" in key for key in changed)


@pytest.mark.parametrize("name", NAMES)
def test_spans_have_a_start_and_an_end_whatever_the_head_was_before(name, tmp_path):
    model, tokenizer = load_model("classification", name, num_labels=3)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    if name.endswith("t5"):  # its encoder, decoder and embeddings are all there
        assert load_model("qa", tmp_path)[0].config.num_labels == 2
        return
    found = load_model("qa", tmp_path)[0](**encode(tokenizer, TEXTS))
    assert found.start_logits.shape == found.end_logits.shape


@pytest.mark.parametrize("name", NAMES)
def test_dropout_reaches_every_dropout(name):
    def twice(rate):
        model, tokenizer = load_model("ner", name, dropout=rate)
        model.train()
        rates = {m.p for m in model.modules() if isinstance(m, nn.Dropout)}
        return rates, [model(**encode(tokenizer, TEXTS)).logits for _ in range(2)]

    rates, (first, second) = twice(0.25)
    assert rates == {0.25} and not torch.equal(first, second)
    rates, (first, second) = twice(0.0)
    assert rates <= {0.0} and torch.equal(first, second)


def test_gpt2_pads_on_the_right_with_its_end_token(tmp_path):
    config, tokenizer = TINY["tiny-random-gpt2"]()
    assert tokenizer.pad_token is None and config.pad_token_id is None
    load_model("classification", "tiny-random-gpt2")[0].save_pretrained(tmp_path)
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(tmp_path)
    model, tokenizer = load_model("classification", tmp_path)
    assert tokenizer.pad_token == tokenizer.eos_token and tokenizer.padding_side == "right"
    assert model.config.pad_token_id == tokenizer.pad_token_id == 0


def test_a_tokenizer_with_nothing_to_pad_with_is_refused(tmp_path):
    model, tokenizer = load_model("classification", "tiny-random-gpt2")
    model.save_pretrained(tmp_path)
    tokenizer.pad_token = tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"expected a pad token or an end token .* got neither"):
        load_model("classification", tmp_path)


@pytest.mark.parametrize("name", ["tiny-random-bert", "tiny-random-roberta"])
def test_the_gradient_counts_a_pad_token_that_is_read(name):
    # nn.Embedding(padding_idx=...) would leave that row's gradient zero.
    found = Case(name, "classification")
    found.encoded["input_ids"][0, 2] = found.tokenizer.pad_token_id
    assert found.encoded["attention_mask"][0, 2] == 1
    row = found.model.get_input_embeddings().weight
    loss = found.closure()[0]
    slope = torch.autograd.grad(loss, row)[0][found.tokenizer.pad_token_id]
    assert slope.abs().max() > 1e-6
    v = torch.zeros_like(row)
    v[found.tokenizer.pad_token_id] = direction = randn(row.shape[1])
    values = []
    with torch.no_grad():
        for h in (1e-5, -2e-5):
            row.add_(h * v)
            values.append(found.closure()[0].item())
    assert math.isclose((values[0] - values[1]) / 2e-5, float(slope @ direction), rel_tol=1e-6)


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("tiny-random", "lm", "expected .* qa, which bert has, got 'lm'.*decoder such as gpt2"),
        ("tiny-random-t5", "lm", "classification, ner, qa, which t5 has, got 'lm'"),
        ("tiny-random-llama", "qa", "expected one of tiny-random, .*tiny-random-modernbert, got"),
    ],
)
def test_what_an_architecture_lacks_is_said(name, task, message):
    with pytest.raises(ValueError, match=message):
        load_model(task, name)


def test_a_bert_that_was_made_a_decoder_may_predict_the_next_token():
    config, _ = TINY["tiny-random-bert"]()
    config.is_decoder = True
    configure(config, "lm", None, None)
    assert "lm" in tasks_of(config)
    assert set(tasks_of(config)) == set(TASKS)


@pytest.mark.parametrize(
    "name",
    ["tiny-random-gpt2", "tiny-random-t5", "tiny-random-distilbert", "tiny-random-modernbert"],
)
def test_cached_layers_of_another_build_are_refused(name):
    with pytest.raises(TypeError, match="train the whole model"):
        CachedTop(load_model("classification", name)[0])


@pytest.mark.parametrize("name", ["tiny-random-t5", "tiny-random-modernbert"])
def test_float64_is_the_same_model_and_survives_a_copy(name):
    double, tokenizer = load_model("ner", name, dtype=torch.float64)
    single, _ = load_model("ner", name)
    single.load_state_dict(double.state_dict())
    encoded = encode(tokenizer, TEXTS)
    expected = double(**encoded).logits
    mask = encoded["attention_mask"].bool()
    close(single(**encoded).logits.double()[mask], expected[mask], rtol=1e-5)
    assert torch.equal(copy.deepcopy(double)(**encoded).logits, expected)
    kinds = {type(m).__name__ for m in single.modules()}
    assert not any(kind.startswith("Float64") for kind in kinds)
    assert any(type(m).__name__.startswith("Float64") for m in double.modules())
