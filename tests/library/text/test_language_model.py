import math

import pytest
import torch
from cases import at, close, flat
from torch.func import functional_call

from rlhf_lib import GaussNewtonOperator
from rlhf_lib.objective import TaskLoss
from rlhf_lib.text import TextDataset, finetune, load_model
from rlhf_lib.text.language import LanguageModelTask

TEXTS = ("ab c", "no, no, no!", "it broke", "abababab")


def data(*texts):
    return TextDataset(texts, (0,) * len(texts), ("any",), "d", (0,) * len(texts))


def make(training=TEXTS, validation=TEXTS[:2], **options):
    model, tokenizer = load_model("lm", "tiny-random-gpt2", dtype=torch.float64)
    return LanguageModelTask(model, tokenizer, data(*training), data(*validation), **options)


@pytest.fixture(scope="module")
def task():
    return make()


def test_every_token_but_the_first_is_predicted_and_padding_never(task):
    encoded = task.encode(data("ab c", "no, no, no!"))
    lengths = encoded["attention_mask"].sum(1).tolist()
    assert lengths[0] < lengths[1]
    assert task.count(encoded) == sum(lengths) - 2
    assert ((encoded["labels"] == -100) == (encoded["attention_mask"] == 0)).all()


def test_loss_is_that_of_transformers(task):
    loss, logits = task.loss_fn(task.training)
    found = task.model(**{k: v for k, v in task.training.items() if k != "text"})
    # transformers computes this loss in float32, whatever the model is.
    assert loss.item() == pytest.approx(found.loss.item(), rel=1e-6)
    close(logits, found.logits, rtol=1e-12)


def test_loss_by_hand(task):
    ids = task.encode(data("abc"))["input_ids"]
    p = task.model(input_ids=ids).logits.log_softmax(2)[0]
    expected = -sum(p[t, ids[0, t + 1]].item() for t in range(ids.shape[1] - 1))
    found = task.assess(task.encode(data("abc")))
    assert found["loss"] == pytest.approx(expected / (ids.shape[1] - 1), rel=1e-12)
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))


def test_padding_and_company_do_not_change_a_texts_loss(task):
    together = task.encode(data(*TEXTS, "a text that is the longest"))
    for i, text in enumerate(TEXTS):
        row = {key: value[i : i + 1] for key, value in together.items()}
        alone = task.loss_fn(task.encode(data(text)))[0].item()
        assert task.loss_fn(row)[0].item() == pytest.approx(alone, rel=1e-10)


def test_a_long_text_goes_in_blocks_that_predict_each_token_once():
    task = make(max_length=4)
    ids = task.tokenizer("abcdefghi")["input_ids"]
    encoded = task.encode(data("abcdefghi"))
    predicted = [
        label for row in encoded["labels"][:, 1:].tolist() for label in row if label != -100
    ]
    assert predicted == ids[1:] and encoded["input_ids"].shape == (math.ceil((len(ids) - 1) / 3), 4)


def test_ragged_micro_batches_are_weighted_by_their_predicted_tokens(task):
    params = [p for _, p in task.trained()]
    loss, _ = task.loss_fn(task.training)
    parts = [{k: v[a:b] for k, v in task.training.items()} for a, b in ((0, 1), (1, 4))]
    value, gradient = TaskLoss(task.loss_fn, parts, count=task.count).value_and_gradient(params)
    assert value == pytest.approx(loss.item(), rel=1e-12)
    close(gradient, flat(torch.autograd.grad(loss, params)), rtol=1e-10)
    assert make(micro_batch=1).evaluate() == pytest.approx(task.evaluate(), rel=1e-12)


def test_gauss_newton_is_that_of_the_predicted_tokens():
    task = make(("ab", "c"))
    params = [p for _, p in task.trained()]
    batch = task.training
    scored = batch["labels"][:, 1:] != -100

    def outputs(theta):
        inputs = {k: batch[k] for k in ("input_ids", "attention_mask")}
        logits = functional_call(task.model, at(task.model, theta), (), inputs).logits
        return logits[:, :-1][scored]

    theta = flat(params)
    v = torch.linspace(-1, 1, len(theta), dtype=torch.float64)
    J = torch.autograd.functional.jacobian(outputs, theta)  # (tokens, V, parameters)
    p = outputs(theta).detach().softmax(1)
    jv = J @ v
    curved = (p * jv - p * (p * jv).sum(1, keepdim=True)) / len(p)
    operator = GaussNewtonOperator(TaskLoss(task.loss_fn, [batch]), params)
    close(operator @ v, torch.einsum("tvp,tv->p", J, curved), rtol=1e-9)


@pytest.mark.parametrize("method", ["rlhf", "adamw"])
def test_fine_tuning_learns_and_reports_the_perplexity(method):
    task = make()
    options = {"lr": 0.03, "batch_size": 2} if method == "adamw" else {"damping": 0.01}
    records = list(finetune(task, method, steps=6, **options))
    assert records[-1].train_loss < 0.6 * records[0].train_loss
    assert records[-1].extra["val_perplexity"] == pytest.approx(math.exp(records[-1].val_loss))
    assert records[-1].train_accuracy > records[0].train_accuracy


def test_texts_with_nothing_to_predict_are_left_out_with_a_word(task):
    one = "a" if len(task.tokenizer("a")["input_ids"]) == 1 else ""
    with pytest.warns(UserWarning, match=r"d: 1 of 2 texts are left out: .* fewer than two tokens"):
        encoded = task.encode(data("abc", one))
    assert encoded["text"].tolist() == [0]
    with pytest.raises(ValueError, match="expected texts of at least two tokens, got none"):
        task.encode(data(one))
    with pytest.raises(ValueError, match="max_length: expected at least 2"):
        make(max_length=1)


def test_lists_of_strings_are_texts_and_blocks_of_one_belong_together():
    model, tokenizer = load_model("lm", "tiny-random-gpt2", dtype=torch.float64)
    task = LanguageModelTask(model, tokenizer, list(TEXTS), ["ab c"], max_length=6)
    same = LanguageModelTask(model, tokenizer, data(*TEXTS), data("ab c"), max_length=6)
    assert all(torch.equal(task.training[k], same.training[k]) for k in same.training)
    lengths = [len(ids) for ids in tokenizer(list(TEXTS))["input_ids"]]
    blocks = [-(-(n - 1) // 5) for n in lengths]  # every token but the first once
    assert task.groups.tolist() == [i for i, n in enumerate(blocks) for _ in range(n)]
    assert task.count(task.training) == sum(lengths) - len(lengths)
    with pytest.raises(TypeError, match="expected a list of strings, got str"):
        LanguageModelTask(model, tokenizer, "one text", ["ab c"])


def test_no_texts_are_refused(task):
    with pytest.raises(ValueError, match="at least one text"):
        task.encode(data())
