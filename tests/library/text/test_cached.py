import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from rlhf_lib.text import CachedTop, batches, encode, load_model

TEXTS = ["what a film", "no, no!", "we left at once and never came back", "good", "so so"]
LABELS = torch.tensor([1, 0, 0, 1, 0])


@pytest.fixture
def tiny():
    return load_model(name="tiny-random", dtype=torch.float64)


def loss_of(logits, labels=LABELS):
    return nn.functional.cross_entropy(logits, labels)


def whole_loss_and_gradient(model, encoded, names):
    parameters = dict(model.named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    loss = loss_of(model(**encoded).logits)
    return loss, torch.autograd.grad(loss, [parameters[name] for name in names])


@pytest.mark.parametrize("k", [1, 2])
def test_equal_to_the_whole_model(tiny, k):
    model, tokenizer = tiny
    encoded = encode(tokenizer, TEXTS)
    top = CachedTop(model, k)
    data = top.cache(encoded, batch_size=2)
    assert data["hidden"].shape == (5, encoded["input_ids"].shape[1], 8)
    assert data["mask"].shape == (5, 1, 1, encoded["input_ids"].shape[1])
    assert not data["hidden"].requires_grad
    loss = loss_of(top(data["hidden"], data["mask"]))
    names = [name for name, _ in top.named_parameters()]
    gradient = torch.autograd.grad(loss, list(top.parameters()))
    expected, expected_gradient = whole_loss_and_gradient(model, encoded, names)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("k", [1, 6])
def test_equal_to_the_whole_minilm(k):
    model, tokenizer = load_model()
    encoded = encode(tokenizer, TEXTS)
    top = CachedTop(model, k)
    data = top.cache(encoded, batch_size=3)
    loss = loss_of(top(data["hidden"], data["mask"]))
    names = [name for name, _ in top.named_parameters()]
    gradient = torch.autograd.grad(loss, list(top.parameters()))
    expected, expected_gradient = whole_loss_and_gradient(model, encoded, names)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-5)


def test_trains_the_models_own_parameters_under_their_names(tiny):
    model, _ = tiny
    top = CachedTop(model, k=1)
    whole = dict(model.named_parameters())
    trained = dict(top.named_parameters())
    assert all(whole[name] is parameter for name, parameter in trained.items())
    assert set(trained) == {
        name for name in whole if ".layer.1." in name or ".pooler." in name or "classifier" in name
    }
    assert {name for name, p in whole.items() if p.requires_grad} == set(trained)
    assert model.load_state_dict(top.state_dict(), strict=False).unexpected_keys == []


def test_unfreeze_restores_what_was(tiny):
    model, _ = tiny
    position = model.bert.embeddings.position_embeddings.weight.requires_grad_(False)
    top = CachedTop(model, k=1)
    assert sum(not p.requires_grad for p in model.parameters()) > 1
    top.unfreeze()
    assert [p for p in model.parameters() if not p.requires_grad] == [position]


def test_double_backward_equals_that_of_the_whole_model(tiny):
    model, tokenizer = tiny
    encoded = encode(tokenizer, TEXTS)
    top = CachedTop(model, k=1)
    data = top.cache(encoded)
    parameters = list(top.parameters())
    torch.manual_seed(0)
    v = [torch.randn_like(p) for p in parameters]

    def product(logits):
        gradient = torch.autograd.grad(loss_of(logits), parameters, create_graph=True)
        return torch.autograd.grad(gradient, parameters, v)

    torch.testing.assert_close(
        product(top(data["hidden"], data["mask"])),
        product(model(**encoded).logits),
        rtol=1e-9,
        atol=1e-11,
    )


def test_gradients_of_single_samples_by_vmap(tiny):
    model, tokenizer = tiny
    top = CachedTop(model, k=2)
    data = top.cache(encode(tokenizer, TEXTS))
    parameters = {name: p.detach() for name, p in top.named_parameters()}

    def sample_loss(parameters, hidden, mask, label):
        logits = functional_call(top, parameters, (hidden[None], mask[None]))
        return loss_of(logits, label[None])

    each = vmap(grad(sample_loss), (None, 0, 0, 0))(
        parameters, data["hidden"], data["mask"], LABELS
    )
    for i in range(len(TEXTS)):
        loss = loss_of(top(data["hidden"][i : i + 1], data["mask"][i : i + 1]), LABELS[i : i + 1])
        for name, expected in zip(
            parameters, torch.autograd.grad(loss, list(top.parameters())), strict=True
        ):
            torch.testing.assert_close(each[name][i], expected, rtol=1e-9, atol=1e-12)


def test_padding_changes_nothing(tiny):
    model, tokenizer = tiny
    top = CachedTop(model, k=1)
    together = top.cache(encode(tokenizer, TEXTS))
    logits = top(together["hidden"], together["mask"])
    for i, text in enumerate(TEXTS):
        alone = top.cache(encode(tokenizer, [text]))
        torch.testing.assert_close(
            top(alone["hidden"], alone["mask"])[0], logits[i], rtol=1e-12, atol=1e-12
        )


def test_a_flat_mask_is_as_good(tiny):
    model, tokenizer = tiny
    encoded = encode(tokenizer, TEXTS)
    top = CachedTop(model, k=1)
    data = top.cache(encoded)
    assert torch.equal(
        top(data["hidden"], encoded["attention_mask"]), top(data["hidden"], data["mask"])
    )


def test_cache_has_no_dropout_and_keeps_other_entries():
    model, tokenizer = load_model(name="tiny-random", dropout=0.5)
    model.train()
    top = CachedTop(model, k=1)
    assert not model.training
    data = top.cache({**encode(tokenizer, TEXTS), "labels": LABELS})
    assert data["labels"] is LABELS and set(data) == {"hidden", "mask", "labels"}
    model.train()
    again = top.cache(encode(tokenizer, TEXTS))
    assert torch.equal(again["hidden"], data["hidden"])
    assert model.bert.embeddings.training
    assert not torch.equal(top(again["hidden"], again["mask"]), top(again["hidden"], again["mask"]))
    top.eval()
    assert torch.equal(top(again["hidden"], again["mask"]), top(again["hidden"], again["mask"]))


@pytest.mark.parametrize("k", [0, 3, -1, 1.0, True, None])
def test_wrong_k(tiny, k):
    with pytest.raises(ValueError, match="k: expected an integer from 1 to 2"):
        CachedTop(tiny[0], k)


@pytest.mark.parametrize("task", ["ner", "qa"])
@pytest.mark.parametrize("k", [1, 2])
def test_equal_to_the_whole_model_for_tokens_and_answers(task, k):
    model, tokenizer = load_model(task, "tiny-random", dtype=torch.float64)
    encoded = encode(tokenizer, TEXTS)
    top = CachedTop(model, k)
    data = top.cache(encoded, batch_size=2)
    logits = top(data["hidden"], data["mask"])
    names = [name for name, _ in top.named_parameters()]
    head = "qa_outputs" if task == "qa" else "classifier"
    assert all(".layer." in name or name.startswith(head) for name in names)
    kept = encoded["attention_mask"].bool()

    def loss_of(logits):
        return (logits[kept].softmax(1) ** 2).sum()

    gradient = torch.autograd.grad(loss_of(logits), list(top.parameters()))
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    out = model(**encoded)
    whole = out.logits if task == "ner" else torch.stack((out.start_logits, out.end_logits), 2)
    torch.testing.assert_close(logits[kept], whole[kept], rtol=1e-12, atol=1e-12)
    parameters = dict(model.named_parameters())
    expected = torch.autograd.grad(loss_of(whole), [parameters[name] for name in names])
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["distilbert", "roberta", "modernbert"])
@pytest.mark.parametrize("task", ["classification", "ner", "qa"])
def test_models_built_otherwise_are_equal_to_themselves_or_refused(name, task):
    model, tokenizer = load_model(task, f"tiny-random-{name}", dtype=torch.float64)
    try:
        top = CachedTop(model)
    except TypeError as error:
        assert f"got {type(model).__name__}" in str(error)
        assert all(p.requires_grad for p in model.parameters())
        assert name != "roberta" or task == "classification"
        return
    encoded = encode(tokenizer, TEXTS)
    data = top.cache(encoded)
    out = model(**encoded)
    whole = torch.stack((out.start_logits, out.end_logits), 2) if task == "qa" else out.logits
    kept = encoded["attention_mask"].bool()
    torch.testing.assert_close(top(data["hidden"], data["mask"])[kept], whole[kept])


def test_a_model_with_something_between_layers_and_logits_is_refused(tiny):
    model, _ = tiny
    model.bert.pooler.forward = lambda hidden: hidden[:, 0]  # no tanh, known by no attribute
    CachedTop(model).unfreeze()
    with torch.no_grad():
        model.bert.embeddings.register_forward_hook(lambda *args: args[-1] + 1)
    CachedTop(model).unfreeze()  # part of the embeddings, so still equal
    model.classifier.register_forward_hook(lambda *args: args[-1] + 1)
    CachedTop(model).unfreeze()
    model.register_forward_hook(lambda module, inputs, output: {**output, "logits": -output.logits})
    with pytest.raises(TypeError, match="expected a BertForSequenceClassification"):
        CachedTop(model)


def test_wrong_model():
    said = r"expected a BertForSequenceClassification, .* got Linear"
    with pytest.raises(TypeError, match=said):
        CachedTop(nn.Linear(2, 2))


def test_wrong_input_to_the_cache(tiny):
    top = CachedTop(tiny[0])
    with pytest.raises(ValueError, match="n of at least 1"):
        top.cache({"input_ids": torch.zeros(0, 3, dtype=torch.long)})
    with pytest.raises(ValueError, match="batch_size"):
        top.cache({"input_ids": torch.zeros(1, 3, dtype=torch.long)}, batch_size=0)


def test_batches_cover_everything_once():
    data = {"hidden": torch.arange(10.0), "labels": torch.arange(10)}
    plain = list(batches(data, 4))
    assert [len(b["labels"]) for b in plain] == [4, 4, 2]
    assert torch.equal(torch.cat([b["labels"] for b in plain]), data["labels"])
    shuffled = list(batches(data, 4, torch.Generator().manual_seed(0)))
    order = torch.cat([b["labels"] for b in shuffled])
    assert not torch.equal(order, data["labels"]) and torch.equal(order.sort()[0], data["labels"])
    assert all(torch.equal(b["hidden"].long(), b["labels"]) for b in shuffled)
    again = batches(data, 4, torch.Generator().manual_seed(0))
    assert torch.equal(torch.cat([b["labels"] for b in again]), order)
    with pytest.raises(ValueError, match="size"):
        list(batches(data, 0))
