import json
from dataclasses import replace

import pytest
import torch
from transformers import pipeline

from rlhf_lib.text import ClassificationTask, EntityDataset, EntityTask, TextDataset, load_model
from rlhf_lib.text.label_names import stated_names

TEXTS, LABELS = ("a joy", "no, no", "so so", "good"), (1, 0, 0, 1)
DATA = TextDataset(TEXTS, LABELS, ("negative", "positive"), "few", LABELS)


def saved(folder, task="classification", names=("positive", "negative"), **options):
    """Folder of a model whose outputs have these names."""
    model, tokenizer = load_model(task, "tiny-random", num_labels=len(names), **options)
    torch.nn.init.normal_(model.classifier.weight, generator=torch.Generator().manual_seed(3))
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("pooling", [None, "mean"])
@pytest.mark.parametrize("names", [("Positive", "NEGATIVE"), ("negative", "mixed", "positive")])
def test_classes_are_matched_with_the_checkpoints_by_name(tmp_path, names, pooling):
    folder = saved(tmp_path / "first", names=names, pooling=pooling)
    before = {name.lower(): i for i, name in enumerate(names)}
    model, tokenizer = load_model(name=folder)
    inputs = tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    expected = model(**inputs).logits.detach().softmax(1)
    task = ClassificationTask(model, tokenizer, DATA, DATA)
    for k, found in enumerate(task.predict(TEXTS)):
        for name in DATA.label_names:
            assert found.scores[name] == pytest.approx(float(expected[k, before[name]]), rel=1e-5)
    right = sum(
        found.label == DATA.label_names[y]
        for found, y in zip(task.predict(TEXTS), LABELS, strict=True)
    )
    assert task.score(task.training)[1] == right / len(TEXTS)
    model.save_pretrained(tmp_path / "second")
    tokenizer.save_pretrained(tmp_path / "second")
    pipe = pipeline("text-classification", model=str(tmp_path / "second"), top_k=None)
    for found, theirs in zip(task.predict(TEXTS), pipe(list(TEXTS)), strict=True):
        assert {part["label"]: part["score"] for part in theirs} == pytest.approx(found.scores)


def test_a_name_as_transformers_gives_is_none_only_in_its_own_place(tmp_path):
    for names, expected in ((("LABEL_0", "LABEL_1"), None), (("LABEL_1", "LABEL_0"),) * 2):
        assert stated_names(load_model(name=saved(tmp_path, names=names))[0].config) == expected


def test_tags_are_matched_with_the_checkpoints_by_name(tmp_path):
    names = ("I-X", "O", "B-X")
    model, tokenizer = load_model("ner", saved(tmp_path, "ner", names))
    data = EntityDataset((("a", "b"),), (("B-X", "I-X"),), ("O", "B-X", "I-X"), "few")
    inputs = tokenizer("a b", return_tensors="pt")
    likeliest = model(**inputs).logits[0, 1:3].argmax(1).tolist()
    task = EntityTask(model, tokenizer, data, data)
    assert task.predict(task.training) == [[names[i] for i in likeliest]]
    assert model.config.id2label == {0: "O", 1: "B-X", 2: "I-X"}


def test_other_classes_than_the_checkpoints_are_refused_or_get_a_new_head(tmp_path):
    folder = saved(tmp_path)
    other = replace(DATA, label_names=("ham", "spam"))
    model, tokenizer = load_model(name=folder)
    with pytest.raises(ValueError, match=r"\('positive', 'negative'\), got \('ham', 'spam'\)\. Do"):
        ClassificationTask(model, tokenizer, other, other)
    with pytest.warns(UserWarning, match=r"classes \('positive', 'negative'\), so that its head"):
        loaded, tokenizer = load_model(name=folder, label_names=other.label_names)
    assert loaded.new_weights == ("classifier.bias", "classifier.weight")
    assert not torch.equal(loaded.classifier.weight, model.classifier.weight)
    task = ClassificationTask(loaded, tokenizer, other, other)
    assert loaded.config.label2id == {"ham": 0, "spam": 1}
    # Names that a task gave are no checkpoint's.
    ClassificationTask(loaded, tokenizer, DATA, DATA)
    assert {*task.predict(["a"])[0].scores} == {"ham", "spam"}


@pytest.mark.parametrize(
    "fields",
    [
        {"id2label": {"0": "a", "2": "b"}},
        {"id2label": {"0": "a", "1": "a"}},
        {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}},
    ],
)
def test_names_without_an_order_are_refused(tmp_path, fields):
    file = saved(tmp_path) / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    with pytest.raises(ValueError, match=r"id2label: expected .* Do: correct"):
        load_model(name=tmp_path)
