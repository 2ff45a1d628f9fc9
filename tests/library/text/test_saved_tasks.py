import json

import pytest
import torch
from test_predict import ASKED, REVIEWS, WORDS
from torch import nn
from transformers import pipeline

from rlhf_lib.text import (
    ClassificationTask,
    EntityTask,
    LanguageModelTask,
    MultiLabelTask,
    QuestionTask,
    RegressionTask,
    TextDataset,
    TextPair,
    finetune,
    load_model,
    load_task,
)

TEXTS = ["a fine film", "no, not again"]
SETS = TextDataset(("a b", "c"), ((0, 1), (1, 1)), ("x", "y"), "sets")
NUMBERS = TextDataset(("a b", "c"), (0.5, 2.0), (), "numbers")
PAIRS = TextDataset((TextPair("a", "b"), TextPair("c", "d")), (0, 1), ("x", "y"), "pairs")
# Task of load_model and model, its options, the task, its data, its options.
MAKES = {
    "classes": ("classification", "", {}, ClassificationTask, REVIEWS, {}),
    "short": ("classification", "", {}, ClassificationTask, REVIEWS, {"max_length": 9}),
    "pooled": ("classification", "", {"pooling": "max"}, ClassificationTask, REVIEWS, {}),
    "top": ("classification", "", {}, ClassificationTask, REVIEWS, {"top_layers": 1}),
    "windows": ("classification", "", {}, ClassificationTask, REVIEWS, {"overlap": 2}),
    "roberta": ("classification", "-roberta", {}, ClassificationTask, REVIEWS, {}),
    "sets": ("classification", "", {}, MultiLabelTask, SETS, {"threshold": 0.3}),
    "numbers": ("classification", "", {"num_labels": 1}, RegressionTask, NUMBERS, {}),
    "pairs": ("classification", "", {"pooling": "mean"}, ClassificationTask, PAIRS, {}),
    "entities": ("ner", "", {"num_labels": 3}, EntityTask, WORDS, {"max_length": 12}),
    "answers": ("qa", "-bert", {}, QuestionTask, ASKED, {"max_answer": 2, "stride": 5}),
    "language": ("lm", "-gpt2", {}, LanguageModelTask, REVIEWS, {}),
}


def make(name):
    kind, model, options, task, data, settings = MAKES[name]
    model, tokenizer = load_model(kind, f"tiny-random{model}", **options)
    generator = torch.Generator().manual_seed(1)
    for p in model.parameters():  # else little would depend on the text
        nn.init.normal_(p, std=0.4, generator=generator)
    return task(model, tokenizer, data, data, **settings)


def predicted(task):
    if isinstance(task, QuestionTask):
        return task.predict(["what?", "who?"], TEXTS)
    return task.predict([TEXTS] if getattr(task, "paired", False) else TEXTS)


@pytest.mark.filterwarnings("ignore:texts:UserWarning")  # 9 tokens are few
@pytest.mark.parametrize("name", MAKES)
def test_a_saved_task_predicts_as_it_did(tmp_path, name):
    task, folder = make(name), tmp_path / "a märz folder" / "mine"
    expected = predicted(task)
    assert task.save(str(folder) + "/") == folder
    again = load_task(folder)
    assert type(again) is type(task) and again.model.new_weights == ()
    assert repr(predicted(again)) == repr(expected)
    assert {f.name for f in folder.parent.iterdir()} == {"mine"}
    with pytest.raises(ValueError, match="a task that was loaded has no data to train on"):
        next(finetune(again))
    task.save(folder)  # over itself
    assert repr(predicted(load_task(str(folder)))) == repr(expected)


def test_transformers_pipelines_say_the_same_of_a_saved_folder(tmp_path):
    for name in ("classes", "pooled"):
        task = make(name)
        pipe = pipeline("text-classification", model=str(task.save(tmp_path / name)), top_k=None)
        for one, theirs in zip(task.predict(TEXTS), pipe(TEXTS), strict=True):
            assert one.scores == pytest.approx({part["label"]: part["score"] for part in theirs})
    task = make("entities")
    pipe = pipeline("token-classification", model=str(task.save(tmp_path / "entities")))
    theirs = {(p["index"] - 1, p["entity"]): p["score"] for p in pipe("a b c d", ignore_labels=[])}
    words = task.encode(type(WORDS)((tuple("abcd"),), (("O",) * 4,), WORDS.label_names, "x"))
    for k, tag in enumerate(task.predict(words)[0]):
        assert (k, tag) in theirs
    for found in task.predict(["a b c d"])[0]:
        tags = ["B-X", *["I-X"] * (len(found.words) - 1)]
        scores = [theirs[found.start // 2 + i, tag] for i, tag in enumerate(tags)]
        assert found.score == pytest.approx(sum(scores) / len(scores), rel=1e-5)


def test_a_pooled_folder_is_refused_by_who_would_read_it_wrongly(tmp_path):
    config = json.loads((make("pooled").save(tmp_path / "a") / "config.json").read_text())
    assert config["model_type"] == "rlhf_lib-pooled-bert"
    assert config["rlhf_lib"]["task"] == "ClassificationTask"


def test_what_is_there_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    task, folder = make("classes"), tmp_path / "mine"
    task.save(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(task.tokenizer), "save_pretrained", full)
    with pytest.raises(OSError, match="No space left"):
        make("entities").save(folder)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"got notes\.txt\. Do: give another folder"):
        task.save(folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_what_the_config_does_not_describe_is_not_saved(tmp_path):
    task = make("classes")
    layer = task.model.bert.encoder.layer[0].intermediate.dense
    layer.weight = nn.Parameter(layer.weight[:4].clone())
    with pytest.raises(ValueError, match=r"got others, as bert\.encoder\.layer\.0\..* compress"):
        task.save(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_checkpoint_that_no_task_has_saved(tmp_path):
    task = make("classes")
    task.model.save_pretrained(tmp_path)
    task.tokenizer.save_pretrained(tmp_path)
    assert load_task(tmp_path).predict(TEXTS) == task.predict(TEXTS)
    file = tmp_path / "config.json"
    fields = json.loads(file.read_text())
    for architectures, message in (
        ([], "expected a config.json with architectures that end in"),
        (["BertForQuestionAnswering"], "a trained head for QuestionTask, got none of qa_outputs"),
    ):
        file.write_text(json.dumps(fields | {"architectures": architectures}))
        with pytest.raises(ValueError, match=message):
            load_task(tmp_path)
    file.write_text(json.dumps(fields | {"rlhf_lib": {"task": "OwnTask"}}))
    with pytest.raises(ValueError, match=r"a task out of Class.*, got OwnTask"):
        load_task(tmp_path)


@pytest.mark.parametrize("name", [None, 0, True, b"minilm", [], ("minilm",), object(), len])
def test_what_is_no_name_of_a_model_is_refused(name):
    for load in (load_task, load_model_named):
        with pytest.raises(TypeError, match="name: expected a model's name or folder, got"):
            load(name)


def load_model_named(name):
    return load_model("classification", name)


def test_a_model_for_another_task_is_refused():
    model, tokenizer = load_model(name="tiny-random", num_labels=3)
    with pytest.raises(TypeError, match="one for ner, got a BertForSequenceClassification"):
        EntityTask(model, tokenizer, WORDS, WORDS)
    with pytest.raises(ValueError, match="'minilm', which has no trained head"):
        load_task("minilm")
