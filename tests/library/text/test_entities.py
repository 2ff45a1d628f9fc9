import math

import pytest
import torch
from cases import at, close, dense_gauss_newton, few_cases, flat
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from torch.func import functional_call
from transformers import PreTrainedTokenizerFast

from rlhf_lib import GaussNewtonOperator
from rlhf_lib.objective import TaskLoss
from rlhf_lib.text import finetune, load_model
from rlhf_lib.text.conll import EntityDataset
from rlhf_lib.text.entities import EntityTask, _first_pieces
from rlhf_lib.text.metrics import entity_scores, entity_scores_by_type

NAMES = ("O", "B-X", "I-X", "B-Y", "I-Y")
SENTENCES = (
    (("ab", "c", "def"), ("B-X", "O", "B-Y")),
    (("no", ",", "no", "!"), ("O", "O", "O", "O")),
    (("we", "left", "at", "once", "."), ("O", "B-Y", "I-Y", "O", "O")),
    (("x",), ("B-X",)),
)


def data(*sentences, names=NAMES):
    return EntityDataset(tuple(s[0] for s in sentences), tuple(s[1] for s in sentences), names, "d")


def make(training=SENTENCES, validation=SENTENCES[:2], **options):
    model, tokenizer = load_model("ner", "tiny-random", num_labels=5, dtype=torch.float64)
    return EntityTask(model, tokenizer, data(*training), data(*validation), **options)


@pytest.fixture(scope="module")
def task():
    return make()


def test_only_the_first_piece_of_a_word_is_scored(task):
    encoded = task.encode(data(SENTENCES[0]))
    pieces = task.tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])
    assert pieces == ["[CLS]", "a", "##b", "c", "d", "##e", "##f", "[SEP]"]
    assert encoded["words"][0].tolist() == [-1, 0, -1, 1, 2, -1, -1, -1]
    assert encoded["labels"][0].tolist() == [-100, 1, -100, 0, 3, -100, -100, -100]
    assert task.count(encoded) == 3 and encoded["sentence"].tolist() == [0]


def test_a_word_without_pieces_stands_as_unknown(task):
    encoded = task.encode(data((("a", "\u200b", "b"), ("O", "B-X", "I-X"))))
    pieces = task.tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])
    assert pieces == ["[CLS]", "a", "[UNK]", "b", "[SEP]"]
    assert encoded["labels"][0].tolist() == [-100, 0, 1, 2, -100]
    assert len(task.predict(encoded)[0]) == 3


def test_a_long_sentence_goes_in_windows_and_a_word_is_scored_where_it_has_more_context():
    task = make(max_length=8, overlap=4)  # room for 6 words of one piece
    encoded = task.encode(data((tuple("abcdefghij"), ("O",) * 10)))
    shown = [
        "".join(task.tokenizer.decode(row, skip_special_tokens=True).split())
        for row in encoded["input_ids"]
    ]
    assert shown == ["abcdef", "efghij"] and encoded["sentence"].tolist() == [0, 0]
    scored = [[w for w in row if w >= 0] for row in encoded["words"].tolist()]
    assert scored == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


@few_cases
@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(5, 14), st.integers(0, 6))
def test_every_word_is_scored_exactly_once_with_its_own_tag(task, sizes, max_length, overlap):
    tags = tuple(NAMES[i % 5] for i in range(len(sizes)))
    sentence = (tuple("a" * size for size in sizes), tags)
    before = task.max_length, task.overlap
    task.max_length, task.overlap = max_length, overlap
    try:
        encoded = task.encode(data(sentence))
    finally:
        task.max_length, task.overlap = before
    assert encoded["input_ids"].shape[1] <= max_length
    scored = encoded["words"] >= 0
    words = encoded["words"][scored].tolist()
    assert sorted(words) == list(range(len(sizes)))
    assert [NAMES[k] for k in encoded["labels"][scored]] == [tags[w] for w in words]
    # The piece at a scored place begins its word: it has no mark of continuation.
    assert set(task.tokenizer.convert_ids_to_tokens(encoded["input_ids"][scored])) == {"a"}


@pytest.mark.parametrize("top_layers", [None, 1])
def test_loss_is_that_of_transformers(top_layers):
    task = make(top_layers=top_layers)
    whole = make()
    loss, logits = task.loss_fn(task.training)
    batch = whole.training
    expected = whole.model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        token_type_ids=batch["token_type_ids"],
        labels=batch["labels"],
    )
    close(loss, expected.loss, rtol=1e-12)
    # Where attention is masked, the activations of padding are nobody's business.
    kept = batch["attention_mask"].bool()
    close(logits[kept], expected.logits[kept], rtol=1e-12)


@pytest.mark.parametrize("top_layers", [None, 1])
def test_padding_and_company_do_not_change_a_sentences_loss(top_layers):
    task = make(top_layers=top_layers)
    long = (tuple("abcdefghijklmnop"), ("O",) * 16)
    together = task.encode(data(*SENTENCES, long))
    for i, sentence in enumerate(SENTENCES):
        alone = task.loss_fn(task.encode(data(sentence)))[0].item()
        row = {key: value[i : i + 1] for key, value in together.items()}
        assert task.loss_fn(row)[0].item() == pytest.approx(alone, rel=1e-10)


def test_ragged_micro_batches_are_weighted_by_their_scored_words(task):
    loss, _ = task.loss_fn(task.training)
    params = [p for _, p in task.trained()]
    expected = flat(torch.autograd.grad(loss, params))
    parts = [{k: v[a:b] for k, v in task.training.items()} for a, b in ((0, 1), (1, 3), (3, 4))]
    assert [task.count(part) for part in parts] == [3, 9, 1]
    value, gradient = TaskLoss(task.loss_fn, parts, count=task.count).value_and_gradient(params)
    assert value == pytest.approx(loss.item(), rel=1e-12)
    close(gradient, expected, rtol=1e-10)
    for size in (1, 2, 3):
        few = make(micro_batch=size)
        assert few.evaluate() == pytest.approx(task.evaluate(), rel=1e-12)


@pytest.mark.parametrize("method", ["rlhf", "adamw"])
def test_steps_do_not_depend_on_the_micro_batch(method):
    ends = []
    for size in (64, 1):
        one = make(micro_batch=size)
        options = {"batch_size": 4} if method == "adamw" else {"curvature_size": None}
        list(finetune(one, method, steps=1, **options))
        ends.append(flat([p for _, p in one.trained()]))
    close(*ends, rtol=1e-7)


@pytest.mark.parametrize("weights", [None, (0.2, 3.0, 0.0, 1.0, 1.0)])
def test_gauss_newton_is_that_of_the_scored_words_alone(weights):
    task = make(SENTENCES[:2], top_layers=1, class_weights=weights)
    params = [p for _, p in task.trained()]
    parts = [{k: v[i : i + 1] for k, v in task.training.items()} for i in range(2)]
    operator = GaussNewtonOperator(TaskLoss(task.training_loss, parts, count=task.count), params)
    w = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    batch = task.training
    scored = batch["labels"] != -100
    labels = batch["labels"][scored]

    def outputs(theta):
        names = at(task.module, theta)
        return functional_call(task.module, names, (batch["hidden"], batch["mask"]))[scored]

    dense = dense_gauss_newton(
        outputs, lambda z: nn.functional.cross_entropy(z, labels, weight=w), flat(params)
    )
    v = torch.linspace(-1, 1, len(dense), dtype=torch.float64)
    close(operator @ v, dense @ v, rtol=1e-10)


def test_sample_space_takes_the_step_of_conjugate_gradients():
    ends = []
    for options in ({"solver": "dual"}, {"max_iter": 500, "rtol": 1e-12}):
        task = make(SENTENCES[:2], top_layers=1)
        list(finetune(task, steps=1, damping=0.1, lambda_reg=0.1, **options))
        ends.append(flat([p for _, p in task.trained()]))
    close(*ends, rtol=1e-8)


def test_entities_are_scored_by_the_entity_and_strictly():
    truth = [["B-X", "I-X", "O", "B-Y"], ["O", "B-X"], ["B-Y", "I-Y"]]
    guess = [["B-X", "I-X", "O", "B-X"], ["O", "I-X"], ["B-Y", "O"]]
    # Of four entities one is right; three are predicted, because I- after O is none.
    scores = entity_scores(truth, guess)
    assert scores == pytest.approx({"precision": 1 / 3, "recall": 1 / 4, "f1": 2 / 7})
    assert f1_score(truth, guess) == pytest.approx(1 / 2), "seqeval's default lets I- begin one"
    assert entity_scores_by_type(truth, guess) == {
        "X": pytest.approx({"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "support": 2}),
        "Y": pytest.approx({"precision": 0, "recall": 0, "f1": 0, "support": 2}),
    }


def test_the_same_entity_in_two_sentences_counts_twice():
    assert entity_scores([["B-X"], ["B-X"]], [["B-X"], ["O"]])["recall"] == 0.5


def test_where_nothing_is_found_scores_are_zero_and_nobody_warns(recwarn):
    for truth in ([["B-X"]], [["O"]]):
        assert entity_scores(truth, [["O"]]) == {"precision": 0, "recall": 0, "f1": 0}
    assert not recwarn.list


@pytest.mark.parametrize("options", [{}, {"max_length": 6, "overlap": 2}])
def test_predictions_and_measures_are_those_of_the_words(options):
    task = make(**options)
    guess = task.predict(task.training)
    assert [len(tags) for tags in guess] == [len(tokens) for tokens, _ in SENTENCES]
    if not options:
        encoded = task.tokenizer(
            [list(s[0]) for s in SENTENCES],
            is_split_into_words=True,
            padding=True,
            return_tensors="pt",
        )
        best = task.model(**encoded).logits.argmax(2)
        for i, tags in enumerate(guess):
            words = encoded.word_ids(i)
            assert tags == [NAMES[best[i, words.index(w)]] for w in range(len(tags))]
    truth = [list(tags) for _, tags in SENTENCES]
    found = task.assess(task.training)
    pairs = [(a, b) for s, t in zip(guess, truth, strict=True) for a, b in zip(s, t, strict=True)]
    assert found["accuracy"] == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert {k: found[k] for k in ("precision", "recall", "f1")} == entity_scores(truth, guess)


@pytest.mark.parametrize("top_layers", [None, 1])
@pytest.mark.parametrize("method", ["rlhf", "adamw"])
def test_fine_tuning_learns_and_reports_entities(method, top_layers):
    task = make(top_layers=top_layers)
    options = {"lr": 0.03, "batch_size": 2} if method == "adamw" else {"damping": 0.01}
    records = list(finetune(task, method, steps=8, **options))
    assert records[-1].train_loss < 0.5 * records[0].train_loss
    assert records[-1].train_accuracy > records[0].train_accuracy
    for record in records[1:]:
        assert {"val_precision", "val_recall", "val_f1", "train_f1"} <= set(record.extra)
    assert ("solver" in records[1].extra) == (method == "rlhf")
    assert records[-1].extra["train_f1"] == task.assess(task.training)["f1"] > 0


def test_what_does_not_fit_is_refused(task):
    model, tokenizer = task.model, task.tokenizer
    good = data(*SENTENCES)
    with pytest.raises(ValueError, match=r"3 tags of d, got one with 5 .*num_labels=3"):
        EntityTask(model, tokenizer, *(data(SENTENCES[1], names=NAMES[:3]),) * 2)
    with pytest.raises(ValueError, match=r"label_names=training.label_names"):
        EntityTask(model, tokenizer, good, data(SENTENCES[1], names=NAMES[::-1]))
    with pytest.raises(ValueError, match="d: expected words, got sentence 1 without any"):
        task.encode(data(SENTENCES[0], ((), ())))
    with pytest.raises(ValueError, match="expected at least one sentence"):
        task.encode(data())


def test_a_loss_over_no_words_is_no_part_of_any_other():
    task = make(micro_batch=1)
    nothing = {key: value.clone() for key, value in task.training.items()}
    nothing["labels"][:2], nothing["words"][:2] = -100, -1
    parts = [{k: v[a:b] for k, v in nothing.items()} for a, b in ((0, 2), (2, 4))]
    value = TaskLoss(task.loss_fn, parts, count=task.count).value()
    assert math.isfinite(value) and value == pytest.approx(task.loss_fn(parts[1])[0].item())
    assert task.score(nothing)[0] == pytest.approx(value)


def test_a_negative_overlap_is_refused():
    with pytest.raises(ValueError, match="overlap: expected at least 0"):
        make(overlap=-5)


def byte_level(prefix=False):
    """As ModernBERT's: bytes with merges over the space, the generic fast class, no prefix."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *letters, "Ġa", "Ġb"]
    inner = Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate(vocabulary)}, merges=[("Ġ", "a"), ("Ġ", "b")]
        )
    )
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix, trim_offsets=prefix)
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", model_max_length=32, **names
    )


FAMILIES = ["bert", "distilbert", "roberta", "modernbert", "bytes", "bytes with a prefix"]


@pytest.mark.parametrize("family", FAMILIES)
def test_words_are_read_as_in_the_text_that_they_make(family):
    """A tokenizer of bytes has other pieces for a word behind a space."""
    kind = family if "bytes" not in family else "modernbert"
    model, tokenizer = load_model("ner", f"tiny-random-{kind}", num_labels=5)
    if "bytes" in family:
        tokenizer = byte_level(prefix="prefix" in family)
    words = ("a", "b", "ab,", "é", "(a", "b", "a", "b", "b", "a")
    sentence = data((words, ("O",) * 10))
    task = EntityTask(model, tokenizer, sentence, sentence, max_length=32)
    (ids,), (places,) = task.training["input_ids"].tolist(), task.training["words"].tolist()
    assert ids == tokenizer(" ".join(words))["input_ids"]
    firsts = [places.index(k) for k in range(10)]
    if kind != family or family == "roberta":  # the others have no é
        for word, begin, end in zip(words, firsts, [*firsts[1:], len(ids) - 1], strict=True):
            assert tokenizer.decode(ids[begin:end]).strip() == word
    task.max_length, task.overlap = 10, 2
    windows = task.encode(sentence)  # whose words come with the pieces of the whole sentence
    scored = windows["words"] >= 0
    assert sorted(windows["words"][scored].tolist()) == list(range(10))
    assert {
        k: i
        for k, i in zip(
            windows["words"][scored].tolist(), windows["input_ids"][scored].tolist(), strict=True
        )
    } == {k: ids[p] for k, p in enumerate(firsts)}


def test_entities_stop_a_run_by_their_f1_or_by_any_function_of_tags():
    def wrong(predicted, truth):
        pairs = zip(predicted, truth, strict=True)
        return sum(a != b for tags in pairs for a, b in zip(*tags, strict=True))

    for metric, maximize, best in (("f1", None, max), (wrong, False, min)):
        options = {"metric": metric, "maximize": maximize, "keep_best": True}
        *run, last = finetune(make(), "adamw", steps=6, lr=0.03, batch_size=4, **options)
        values = [r.extra[f"val_{getattr(metric, '__name__', metric)}"] for r in run]
        assert last.step == values.index(best(values)) > 0


def test_a_piece_of_two_words_is_refused():
    with pytest.raises(ValueError, match="one of 'b c'"):
        _first_pieces(["a", "b", "c"], [None, (0, 1), (2, 5), None], False)
