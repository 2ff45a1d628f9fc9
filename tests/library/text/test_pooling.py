"""A classifier that reads pooled tokens: the folder's word, by hand, saved, cached, compressed."""

import json

import numpy as np
import pytest
import torch
from cases import Classifier, close, randn
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from torch.func import functional_call, grad, vmap
from transformers import BertForSequenceClassification

from rlhf_lib import GaussNewtonOperator, HessianOperator, RLHFOptimizer, compress
from rlhf_lib.objective import TaskLoss
from rlhf_lib.per_sample import SampleSpace
from rlhf_lib.text import (
    CachedTop,
    ClassificationTask,
    Pooling,
    encode,
    finetune,
    folders,
    load_model,
    verify_embedded,
)
from rlhf_lib.text.pooling import stated_pooling

TEXTS = ["what a film", "no", "we left at once and never came back", "good, so good!", "so so"]
LABELS = torch.tensor([1, 0, 2, 1, 0])
FAMILIES = ["bert", "distilbert", "roberta", "modernbert"]
MODES = ["mean", "cls", "max", "mean_sqrt_len_tokens"]


def tiny(family="bert", mode="mean", *, normalize=True, dtype=torch.float64, **options):
    return load_model(
        name=f"tiny-random-{family}",
        num_labels=3,
        pooling=Pooling(mode, normalize=normalize),
        dtype=dtype,
        **options,
    )


def by_hand(hidden, mask, mode):
    """A text at a time, only its tokens, in NumPy."""
    rows = []
    for states, kept in zip(hidden.detach().numpy(), mask.numpy().astype(bool), strict=True):
        tokens = states[kept]
        rows.append(
            {
                "mean": tokens.mean(0),
                "cls": tokens[0],
                "max": tokens.max(0),
                "mean_sqrt_len_tokens": tokens.sum(0) / len(tokens) ** 0.5,
            }[mode]
        )
    return np.stack(rows)


def logits(model, encoded):
    with torch.no_grad():
        return model(**encoded).logits


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [None, 3.0])
@pytest.mark.parametrize("normalize", [False, True])
def test_features_by_hand(mode, normalize, scale):
    hidden, mask = randn(4, 6, 5), torch.tensor([[1] * n + [0] * (6 - n) for n in (6, 1, 3, 4)])
    expected = by_hand(hidden, mask, mode)
    if normalize:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    expected *= scale or (8.0 if normalize else 1.0)
    pooling = Pooling(mode, normalize, scale)
    close(pooling(hidden, mask), expected, rtol=1e-14)
    additive = torch.where(mask[:, None, None] == 0, -1e30, 0.0)
    assert torch.equal(pooling(hidden, additive), pooling(hidden, mask))
    assert torch.equal(pooling(hidden[:1]), pooling(hidden[:1], mask[:1]))
    assert Pooling(**pooling.as_dict()) == pooling


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "median"}, "expected one of mean, cls, .*, got 'median'"),
        ({"scale": 0.0}, "finite scale > 0, got 0.0"),
    ],
)
def test_what_no_pooling_is(options, message):
    with pytest.raises(ValueError, match=message):
        Pooling(**options)


def test_minilm_has_the_features_that_sentence_transformers_computes():
    model, tokenizer = load_model()
    texts = [*TEXTS, "a longer review, whose end comes only after some commas, and late. " * 3]
    theirs = SentenceTransformer(str(verify_embedded()), device="cpu").encode(texts)
    encoded = encode(tokenizer, texts, max_length=128)
    with torch.no_grad():
        hidden = model.bert(**encoded).last_hidden_state
    ours = model.pooling(hidden, encoded["attention_mask"]) / model.pooling.scale
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)
    assert model.pooling == Pooling("mean", normalize=True, scale=8.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("normalize", [False, True])
def test_folders_that_sentence_transformers_writes(tmp_path, mode, normalize):
    from sentence_transformers import models

    plain, tokenizer = load_model(name="tiny-random-bert")
    plain.bert.save_pretrained(tmp_path / "body")
    tokenizer.save_pretrained(tmp_path / "body")
    parts = [models.Transformer(str(tmp_path / "body")), models.Pooling(8, pooling_mode=mode)]
    parts += [models.Normalize()] if normalize else []
    theirs = SentenceTransformer(modules=parts, device="cpu")
    theirs.save_pretrained(str(tmp_path / "whole"))
    model, tokenizer = load_model(name=tmp_path / "whole")
    encoded = encode(tokenizer, TEXTS)
    seen = []
    model.classifier.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    assert not logits(model, encoded).any()  # a new head is zero
    expected = theirs.encode(TEXTS) * model.pooling.scale
    np.testing.assert_allclose(seen[0].numpy(), expected, atol=1e-5)


def write_modules(folder, pooling, *others):
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), *others]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


@pytest.mark.parametrize(
    ("config", "others", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, [], Pooling("cls")),
        ({"pooling_mode_max_tokens": True}, [("2_Normalize", "Normalize")], Pooling("max", True)),
        ({"pooling_mode": "mean_sqrt_len_tokens"}, [], Pooling("mean_sqrt_len_tokens")),
        ({"pooling_mode": ["mean"]}, [], Pooling("mean")),
        ({"word_embedding_dimension": 8}, [], Pooling("mean")),
    ],
)
def test_old_and_new_ways_to_state_it(tmp_path, config, others, expected):
    write_modules(tmp_path / "model", config, *others)
    assert stated_pooling(tmp_path / "model") == expected


@pytest.mark.parametrize(
    ("config", "others", "message"),
    [
        ({"pooling_mode": "lasttoken"}, [], "got lasttoken"),
        ({"pooling_mode_weightedmean_tokens": True}, [], "got weightedmean"),
        ({"pooling_mode": ["cls", "mean"]}, [], "got cls and mean"),
        ({"pooling_mode": "mean"}, [("2_Dense", "Dense")], "got Transformer, Pooling, Dense"),
    ],
)
def test_unknown_parts_are_refused_by_name_unless_overridden(tmp_path, config, others, message):
    model, tokenizer = load_model(name="tiny-random-bert")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    write_modules(tmp_path, config, *others)
    with pytest.raises(ValueError, match=message + ".*Do: say what to use instead"):
        load_model(name=tmp_path)
    assert load_model(name=tmp_path, pooling="mean")[0].pooling == Pooling("mean")
    assert type(load_model(name=tmp_path, pooling="model")[0]) is BertForSequenceClassification


def test_an_override_keeps_the_normalization_of_the_folder():
    model, _ = load_model(pooling="cls")
    assert model.pooling == Pooling("cls", normalize=True)
    assert type(load_model(pooling="model")[0]) is BertForSequenceClassification


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "median"}, r'expected one of mean, .*, "model", a Pooling or None'),
        ({"pooling": "mean", "task": "ner"}, "expected None for ner"),
        ({"pooling": "mean", "name": "tiny-random-gpt2"}, "expected an encoder.* got gpt2"),
        ({"pooling": "mean", "name": "tiny-random-t5"}, "expected an encoder.* got t5"),
    ],
)
def test_bad_pooling(options, message):
    with pytest.raises(ValueError, match=message):
        load_model(**options)
    assert load_model("ner", "tiny-random", pooling="model")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_padding_changes_neither_logits_nor_gradient(family, mode):
    model, tokenizer = tiny(family, mode)
    encoded = encode(tokenizer, TEXTS)
    assert not encoded["attention_mask"].all()

    def slope(encoded, part):
        loss = model(**encoded, labels=LABELS[part]).loss
        return loss, torch.cat(
            [g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]
        )

    whole = slope(encoded, slice(None))
    alone = [slope(encode(tokenizer, [text]), slice(i, i + 1)) for i, text in enumerate(TEXTS)]
    for k in (0, 1):
        close(whole[k], torch.stack([found[k] for found in alone]).mean(0), rtol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_reloaded(family, tmp_path):
    model, tokenizer = tiny(family, "max")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert all(".bin" not in path.name for path in tmp_path.iterdir())
    again, tokenizer = load_model(name=tmp_path, dtype=torch.float64)
    encoded = encode(tokenizer, TEXTS)
    assert again.pooling == model.pooling and type(again) is type(model)
    close(logits(again, encoded), logits(model, encoded), rtol=1e-14)
    # Other classes, other heads: a new one, and the body as it was.
    wider = load_model(name=tmp_path, num_labels=5, dtype=torch.float64)[0]
    assert wider.classifier.weight.shape == (5, 8) and not wider.classifier.weight.any()
    own = load_model(name=tmp_path, pooling="model")[0]
    assert not hasattr(own, "pooling") and not hasattr(own.config, "pooling")
    body = load_model("ner", tmp_path)[0]
    assert not hasattr(body.config, "pooling")


@pytest.mark.parametrize(
    "mode", [MODES[0], *(pytest.param(mode, marks=pytest.mark.slow) for mode in MODES[1:])]
)
def test_hessian_and_gauss_newton_are_those_of_the_dense_matrices(mode):
    model, tokenizer = tiny("bert", mode)
    truth = Classifier(
        model, LABELS, pick=lambda out: out.logits, **encode(tokenizer, TEXTS, max_length=8)
    )
    v = randn(len(truth.theta))
    close(HessianOperator(truth.closure, truth.params) @ v, truth.hessian() @ v, rtol=1e-8)
    G = truth.gauss_newton()
    close(GaussNewtonOperator(truth.closure, truth.params) @ v, G @ v, rtol=1e-8)
    space = SampleSpace(TaskLoss(truth.closure), truth.params, every_use_known=True)
    assert space.rows == len(LABELS) * 2
    rows = torch.stack([space.lift(row) for row in torch.eye(space.rows).double()])
    close(rows.T @ rows, G, rtol=1e-8)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_cached_activations_have_the_loss_of_the_whole_model(family, mode):
    model, tokenizer = tiny(family, mode)
    encoded = encode(tokenizer, TEXTS)
    top = CachedTop(model, 1)
    data = top.cache(encoded)
    close(top(data["hidden"], data["mask"]), model(**encoded).logits, rtol=1e-12)
    close(top(data["hidden"], encoded["attention_mask"]), model(**encoded).logits, rtol=1e-12)
    names = [name for name, _ in top.named_parameters()]
    assert not any("pooler" in name for name in names) and "classifier.weight" in names


def task_of(top_layers=None, **options):
    from test_tasks import data

    model, tokenizer = load_model(name="tiny-random", dtype=torch.float64, **options)
    return ClassificationTask(model, tokenizer, data(0, 5), data(5, 8), top_layers=top_layers)


@pytest.mark.parametrize("top_layers", [None, 1])
def test_the_exact_solve_in_sample_space_is_open_to_it(top_layers):
    task = task_of(top_layers, pooling=Pooling("mean", True))
    options = {"lambda_reg": 0.1, "damping": 0.1, "curvature_size": None, "steps": 2}
    *_, dual = finetune(task, solver="dual", **options)
    by_dual = [p.detach().clone() for _, p in task.trained()]
    exact = {"rtol": 1e-12, "max_iter": 300, "progress_tol": None}
    *_, cg = finetune(task, solver="cg", **exact, **options)
    assert dual.extra["solver"] == "dual"
    assert dual.train_loss == pytest.approx(cg.train_loss, rel=1e-8)
    for one, (_, other) in zip(by_dual, task.trained(), strict=True):
        close(one, other, rtol=1e-6)


def test_auto_chooses_sample_space_for_a_pooled_model():
    task = task_of(1, pooling=Pooling("mean", True))
    optimizer = RLHFOptimizer(task.trained(), regularizer=None, solver="auto", max_iter=200)
    optimizer.step(task.training_loss, batches=[task.training])
    assert optimizer.record.extra["solver"].startswith("dual")


def test_pruned_quantized_and_distilled(tmp_path):
    model, tokenizer = tiny(dtype=torch.float32)
    encoded = encode(tokenizer, TEXTS)
    pruned = tiny(dtype=torch.float32)[0]
    compress.prune(pruned, 0.5)
    compress.make_permanent(pruned)
    headless = tiny(dtype=torch.float32)[0]
    compress.prune(headless, 0.5, structured="heads")
    compress.prune(headless, 0.5, structured="neurons")
    made = {
        "pruned": pruned,
        "headless": headless,
        "quantized": compress.quantize(model, 4, dynamic=False),
        "student": compress.student_of(model, 1),
    }
    for name, smaller in made.items():
        assert smaller.pooling == model.pooling
        assert not torch.equal(logits(smaller, encoded), logits(model, encoded))
        compress.save(smaller, tmp_path / name)
        back = compress.load(tmp_path / name, tiny(dtype=torch.float32)[0])
        assert torch.equal(logits(back, encoded), logits(smaller, encoded))
        for other in ({"pooling": "cls"}, {"pooling": "model"}):
            wrong = load_model(name="tiny-random-bert", num_labels=3, **other)[0]
            with pytest.raises(ValueError, match=r"expected a model with the pooling .*'mean'"):
                compress.load(tmp_path / name, wrong)


def test_a_student_learns_from_a_pooled_teacher():
    task = task_of(pooling=Pooling("mean", True))
    student = compress.student_of(task.model, 1)
    records = list(compress.distill(task.model, student, task, method="rlhf", steps=3, alpha=1.0))
    assert records[-1].loss < 0.9 * records[1].loss


def test_a_snapshot_without_its_pooling_is_not_complete(tmp_path):
    model, tokenizer = load_model(name="tiny-random-bert")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert folders._complete(tmp_path)
    write_modules(tmp_path, {"pooling_mode": "mean"})
    assert folders._complete(tmp_path)
    (tmp_path / "1_Pooling" / "config.json").unlink()
    assert not folders._complete(tmp_path)


def test_a_download_brings_the_pooling_along(tmp_path, monkeypatch):
    asked = []

    def download(name, local_files_only=False, allow_patterns=(), ignore_patterns=()):
        asked.append(list(allow_patterns))
        if local_files_only:
            raise OSError("not there")
        if "1_Pooling/config.json" in allow_patterns:
            write_modules(tmp_path, {"pooling_mode": "cls"})
        elif not (tmp_path / "modules.json").exists():
            model, tokenizer = load_model(name="tiny-random-bert")
            model.save_pretrained(tmp_path)
            tokenizer.save_pretrained(tmp_path)
            modules = [
                {"path": "", "type": "sentence_transformers.models.Transformer"},
                {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            ]
            (tmp_path / "modules.json").write_text(json.dumps(modules))
        return str(tmp_path)

    monkeypatch.setattr(folders.huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(folders, "_hub_answers", lambda: True)
    assert load_model(name="someone/sentences")[0].pooling == Pooling("cls")
    assert asked[1:] == [list(folders.HUB_FILES), ["1_Pooling/config.json"]]


def test_the_checkpoint_holds_nothing_that_is_not_used(tmp_path):
    model, _ = tiny()
    model.save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == dict(model.named_parameters()).keys()


def test_gradients_of_single_samples_by_vmap():
    model, tokenizer = tiny()
    top = CachedTop(model, 1)
    data, params = top.cache(encode(tokenizer, TEXTS)), dict(top.named_parameters())

    def loss(params, hidden, mask, label):
        logits = functional_call(top, params, (hidden[None], mask[None]))
        return torch.nn.functional.cross_entropy(logits, label[None])

    each = vmap(grad(loss), (None, 0, 0, 0))(params, data["hidden"], data["mask"], LABELS)
    for i in range(len(TEXTS)):
        alone = loss(params, data["hidden"][i], data["mask"][i], LABELS[i])
        for found, p in zip(torch.autograd.grad(alone, list(params.values())), each, strict=True):
            close(each[p][i], found, rtol=1e-10)
