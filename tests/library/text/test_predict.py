import math

import pytest
import torch
from torch import nn
from transformers import pipeline

from rlhf_lib.text import (
    ClassificationTask,
    EntityDataset,
    EntityTask,
    LanguageModelTask,
    QuestionDataset,
    QuestionTask,
    TextDataset,
    load_model,
)
from rlhf_lib.text.squad import Answer, Question

NEW = ["what a film, 😀", "no " * 60, "so so"]
NAMES = ("negative", "positive")
REVIEWS = TextDataset(("a joy", "no, no"), (1, 0), NAMES, "few", (1, 0))
WORDS = EntityDataset((("b", "c", "a"),), (("B-X", "I-X", "O"),), ("O", "B-X", "I-X"), "few")
ASKED = QuestionDataset((Question("1", "who?", "it was ann.", (Answer("ann", 7),)),), "few")


def classify(name="tiny-random", **options):
    model, tokenizer = load_model(name=name, dtype=torch.float64)
    return ClassificationTask(model, tokenizer, REVIEWS, REVIEWS, max_length=32, **options)


@pytest.mark.filterwarnings("ignore:texts:UserWarning")  # one is cut
@pytest.mark.parametrize("options", [{}, {"top_layers": 1}, {"pooling": "mean"}])
def test_classes_and_probabilities_are_those_of_transformers_pipeline(options):
    pooling = options.pop("pooling", None)
    model, tokenizer = load_model(name="tiny-random", dtype=torch.float64, pooling=pooling)
    if pooling:
        nn.init.normal_(model.classifier.weight)
    task = ClassificationTask(model, tokenizer, REVIEWS, REVIEWS, max_length=32, **options)
    model.config.id2label = dict(enumerate(NAMES))
    model.train()
    found = task.predict((text for text in NEW), batch_size=2)
    assert model.training and model.classifier.training
    pipe = pipeline("text-classification", model=model.eval(), tokenizer=tokenizer, top_k=None)
    for one, theirs in zip(found, pipe(NEW, truncation=True, max_length=32), strict=True):
        assert [*one.scores] == [*NAMES]
        assert one.score == one.scores[one.label] == max(one.scores.values())
        assert one.scores == pytest.approx({part["label"]: part["score"] for part in theirs})


def test_entities_have_their_words_their_place_and_the_mean_probability():
    model, tokenizer = load_model("ner", "tiny-random", num_labels=3, dtype=torch.float64)
    task = EntityTask(model, tokenizer, WORDS, WORDS)
    nn.init.zeros_(model.classifier.weight)
    text = "Ann Lee's cat, in U.S. or 3.5."
    words = ["Ann", "Lee's", "cat", ",", "in", "U.S", ".", "or", "3.5", "."]
    with torch.no_grad():  # everything begins an entity
        model.classifier.bias.copy_(torch.tensor([0.0, 1.0, 0.5]))
    share = math.e / (math.e + 1 + math.exp(0.5))
    one, other = task.predict([text, words])
    assert [e.words for e in one] == [e.words for e in other] == [(word,) for word in words]
    assert [text[e.start : e.stop] for e in one] == words
    assert [(e.start, e.stop) for e in other] == [(k, k + 1) for k in range(10)]
    assert {e.type for e in one} == {"X"}
    assert [e.score for e in one] == pytest.approx([share] * 10)
    with torch.no_grad():  # and here everything continues one that never began
        model.classifier.bias.copy_(torch.tensor([0.0, 0.5, 1.0]))
    assert task.predict([text]) == [[]]
    for nothing in ([], " "):
        with pytest.raises(ValueError, match=r"texts\[1\]: expected words, got none"):
            task.predict([text, nothing])


def test_answers_are_spans_of_their_context():
    model, tokenizer = load_model("qa", "tiny-random-bert", dtype=torch.float64)
    task = QuestionTask(model, tokenizer, ASKED, ASKED, max_length=64, stride=16)
    known = len(task._asked)
    contexts = ["that was ann, or bob. " * 8, "it"]
    for found, context in zip(
        task.predict(["who is it?", "who?"], contexts), contexts, strict=True
    ):
        assert found.text == context[found.start : found.stop] != ""
        assert 0 < found.score < 1
    assert len(task._asked) == known
    encoded = tokenizer("who?", "it", return_tensors="pt")
    with torch.no_grad():
        outputs = model(**encoded)
    place = encoded.sequence_ids(0).index(1)
    span = outputs.start_logits.softmax(1)[0, place:-1], outputs.end_logits.softmax(1)[0, place:-1]
    likeliest = (span[0][:, None] * span[1]).triu().max()
    assert found.score == pytest.approx(float(likeliest))
    assert task.predict(task.training) == task.predict(task.validation)
    with pytest.raises(ValueError, match="a context for each of the 2 questions, got 1"):
        task.predict(["a", "b"], ["c"])


def test_a_language_model_says_how_well_it_foresees_a_text():
    model, tokenizer = load_model("lm", "tiny-random-gpt2", dtype=torch.float64)
    task = LanguageModelTask(model, tokenizer, REVIEWS, REVIEWS, max_length=16)
    texts = ["a b c " * 20, "ab"]
    for text, found in zip(texts, task.predict(texts, batch_size=3), strict=True):
        data = TextDataset((text,), (0,), NAMES, "one", (0,))
        expected = task.assess(task.encode(data))
        assert found.tokens == len(tokenizer(text)["input_ids"]) - 1
        assert found.loss == pytest.approx(expected["loss"])
        assert found.perplexity == pytest.approx(expected["perplexity"])


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("one", TypeError, r"texts: expected a list of strings, got str 'one'\. Do: for one, \["),
        (None, TypeError, "texts: expected a list of strings, got NoneType"),
        (["a", 3], TypeError, r"texts\[1\]: expected a string, got int 3"),
        (["a", " \n"], ValueError, r"texts\[1\]: expected something to read, got str ' \\n'"),
        (["\udc80"], ValueError, r"texts\[0\]: .* got a lone surrogate at 0\. Do: decode"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(texts, error, message):
    task = classify()
    with pytest.warns(UserWarning, match=r"5 of 9 tokens are \[UNK\]"):
        task.predict(["ты где", "a bcd 1 2 3"])
    with pytest.raises(error, match=message):
        task.predict(texts)
    assert task.predict([]) == []
    with pytest.raises(ValueError, match=r"batch_size: expected an integer of at least 1 .* got 0"):
        task.predict(["a"], batch_size=0)
