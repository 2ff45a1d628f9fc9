import re

import pytest
import torch
from cases import at, close, dense_gauss_newton, few_cases, flat
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from rlhf_lib import GaussNewtonOperator
from rlhf_lib.objective import TaskLoss
from rlhf_lib.text import finetune, load_model
from rlhf_lib.text.metrics import answer_scores
from rlhf_lib.text.questions import QuestionTask
from rlhf_lib.text.squad import Answer, Question, QuestionDataset


def ask(question, context, *answers, id="q"):
    return Question(id, question, context, tuple(Answer(a, context.index(a)) for a in answers))


QUESTIONS = (
    ask("who?", "Ann met Bo.", "Bo", "met Bo"),
    ask("what is it", "a bee, a cat", "bee"),
    ask("me?", "no", "no"),
)
LONG = ask("where?", "ab cd ef gh ij kl mn", "kl mn")


def data(*questions):
    return QuestionDataset(questions, "d")


def make(training=QUESTIONS, validation=QUESTIONS[:2], *, stride=4, **options):
    model, tokenizer = load_model("qa", "tiny-random", dtype=torch.float64)
    return QuestionTask(
        model, tokenizer, data(*training), data(*validation), stride=stride, **options
    )


@pytest.fixture(scope="module")
def task():
    return make()


def pieces(task, row):
    return task.tokenizer.convert_ids_to_tokens(row)


def test_labels_are_the_first_and_the_last_piece_of_the_first_answer(task):
    encoded = task.encode(data(*QUESTIONS[:2]))
    first, last = encoded["labels"][0].tolist()
    # [CLS] w ##h ##o ? [SEP] a ##n ##n m ##e ##t b ##o . [SEP]
    assert (first, last) == (12, 13) and pieces(task, encoded["input_ids"][0])[12:14] == [
        "b",
        "##o",
    ]
    assert encoded["spans"][0, 12:15].tolist() == [[8, 9], [9, 10], [10, 11]]
    inside = encoded["spans"][0, :, 0] >= 0
    assert inside.tolist()[:16] == [False] * 6 + [True] * 9 + [False]
    first, last = encoded["labels"][1].tolist()
    assert pieces(task, encoded["input_ids"][1])[first : last + 1] == ["b", "##e", "##e"]


def test_a_long_context_goes_in_overlapping_windows_and_absent_answers_point_to_cls():
    task = make(max_length=18, stride=4)
    encoded = task.encode(data(QUESTIONS[2], LONG))
    contexts = [
        "".join(p.strip("#") for p, (a, _) in zip(pieces(task, row), span, strict=True) if a >= 0)
        for row, span in zip(encoded["input_ids"], encoded["spans"].tolist(), strict=True)
    ]
    # Room for 18 - 3 - 6 = 9 of the 14 letters; four are shared.
    assert contexts == ["no", "abcdefghi", "fghijklmn"]
    numbers = encoded["question"].tolist()
    assert numbers[0] != numbers[1] == numbers[2] and task.count(encoded) == 3
    assert encoded["labels"][1].tolist() == [0, 0]
    first, last = encoded["labels"][2].tolist()
    assert pieces(task, encoded["input_ids"][2])[first : last + 1] == ["k", "##l", "m", "##n"]


def test_half_an_answer_is_none():
    task = make(max_length=18, stride=1)
    half = ask("where?", LONG.context, "ij")
    encoded = task.encode(data(half))
    # The window ends with i; the next holds both letters.
    assert encoded["labels"][0].tolist() == [0, 0]
    first, last = encoded["labels"][1].tolist()
    assert pieces(task, encoded["input_ids"][1])[first : last + 1] == ["i", "##j"]


@pytest.mark.parametrize("top_layers", [None, 1])
@pytest.mark.parametrize("same_length", [True, False])
def test_loss_is_that_of_transformers(top_layers, same_length):
    questions = (QUESTIONS[0],) if same_length else QUESTIONS
    task, whole = make(questions, top_layers=top_layers), make(questions)
    losses = []
    for i in range(len(questions)):  # one at a time: transformers scores padding, this does not
        batch = whole.encode(data(questions[i]))
        losses.append(
            whole.model(
                **{k: batch[k] for k in ("input_ids", "attention_mask", "token_type_ids")},
                start_positions=batch["labels"][:, 0],
                end_positions=batch["labels"][:, 1],
            ).loss
        )
    loss, logits = task.loss_fn(task.training)
    close(loss, torch.stack(losses).mean(), rtol=1e-12)
    assert logits.shape == (*task.training["spans"].shape[:2], 2)


@pytest.mark.parametrize("top_layers", [None, 1])
def test_padding_and_company_do_not_change_a_windows_loss(top_layers):
    task = make(top_layers=top_layers)
    together = task.encode(data(*QUESTIONS, LONG))
    for i, question in enumerate(QUESTIONS):
        row = {key: value[i : i + 1] for key, value in together.items()}
        alone = task.loss_fn(task.encode(data(question)))[0].item()
        assert task.loss_fn(row)[0].item() == pytest.approx(alone, rel=1e-10)


def test_gauss_newton_is_that_of_two_softmaxes_without_padding():
    task = make(top_layers=1)
    params = [p for _, p in task.trained()]
    batch = task.training
    operator = GaussNewtonOperator(TaskLoss(task.loss_fn, [batch]), params)
    real = ~batch["padding"]

    def outputs(theta):
        names = at(task.module, theta)
        return functional_call(task.module, names, (batch["hidden"], batch["mask"]))[real]

    def loss(z):
        rows = zip(z.split(real.sum(1).tolist()), batch["labels"], strict=True)
        return sum(nn.functional.cross_entropy(row.T, label) for row, label in rows) / len(real)

    theta = flat(params)
    assert float(loss(outputs(theta))) == pytest.approx(operator.loss, rel=1e-12)
    dense = dense_gauss_newton(outputs, loss, theta)
    v = torch.linspace(-1, 1, len(dense), dtype=torch.float64)
    close(operator @ v, dense @ v, rtol=1e-10)


def test_sample_space_takes_the_step_of_conjugate_gradients():
    ends = []
    for options in ({"solver": "dual"}, {"max_iter": 500, "rtol": 1e-12}):
        task = make(top_layers=1)
        list(finetune(task, steps=1, damping=0.1, lambda_reg=0.1, **options))
        ends.append(flat([p for _, p in task.trained()]))
    close(*ends, rtol=1e-8)


def best_span(start, end, spans, most):
    """By trying all."""
    n = len(start)
    allowed = [
        (i, j)
        for i in range(n)
        for j in range(i, min(n, i + most))
        if spans[i][0] >= 0 and spans[j][0] >= 0
    ]
    i, j = max(allowed, key=lambda pair: start[pair[0]] + end[pair[1]])
    return start[i] + end[j], spans[i][0], spans[j][1]


@pytest.mark.parametrize("most", [1, 3, 30])
def test_the_answer_is_the_best_allowed_span_over_all_windows(most):
    task = make(max_length=18, max_answer=most, micro_batch=1)
    encoded = task.encode(data(*QUESTIONS[::2], LONG))
    expected = {}
    for batch, _, outputs in task.outputs(encoded):
        for number, (start, end), spans in zip(
            batch["question"].tolist(), outputs.mT.tolist(), batch["spans"].tolist(), strict=True
        ):
            found = best_span(start, end, spans, most)
            expected[number] = max(expected.get(number, found), found)
    texts = [
        q.context[a:b]
        for q, (_, a, b) in zip((*QUESTIONS[::2], LONG), expected.values(), strict=True)
    ]
    assert task.predict(encoded) == texts
    scores = [
        answer_scores(text, [a.text for a in q.answers])
        for q, text in zip((*QUESTIONS[::2], LONG), texts, strict=True)
    ]
    found = task.assess(encoded)
    assert found["accuracy"] == pytest.approx(sum(s[0] for s in scores) / 3)
    assert found["f1"] == pytest.approx(sum(s[1] for s in scores) / 3)


WORDS = st.lists(
    st.sampled_from(["a", "the", "The", "cat", "Cat.", "cat's", "sat", "-", "é"]), max_size=5
).map(" ".join)


@few_cases
@given(st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=3)), min_size=1, max_size=4))
def test_exact_match_and_f1_are_those_of_torchmetrics(pairs):
    from torchmetrics.functional.text import squad

    expected = squad(
        [{"prediction_text": p, "id": str(i)} for i, (p, _) in enumerate(pairs)],
        [
            {"answers": {"text": t, "answer_start": [0] * len(t)}, "id": str(i)}
            for i, (_, t) in enumerate(pairs)
        ],
    )
    exact, f1 = zip(*(answer_scores(p, t) for p, t in pairs), strict=True)
    assert 100 * sum(exact) / len(pairs) == pytest.approx(expected["exact_match"].item(), abs=1e-4)
    assert 100 * sum(f1) / len(pairs) == pytest.approx(expected["f1"].item(), abs=1e-4)


def test_scores_by_hand():
    assert answer_scores("The cat, again", ["dog", "a Cat again!"]) == (True, 1.0)
    exact, f1 = answer_scores("black cat here", ["the cat"])
    assert not exact and f1 == pytest.approx(0.5)


@pytest.mark.parametrize("top_layers", [None, 1])
@pytest.mark.parametrize("method", ["rlhf", "adamw"])
def test_fine_tuning_learns_and_reports_answers(method, top_layers):
    task = make(top_layers=top_layers)
    options = {"lr": 0.03, "batch_size": 2} if method == "adamw" else {"damping": 0.01}
    records = list(finetune(task, method, steps=10, **options))
    assert records[-1].train_loss < 0.5 * records[0].train_loss
    assert records[-1].extra["train_f1"] == task.assess(task.training)["f1"]
    assert records[-1].extra["train_f1"] > records[0].extra["train_f1"]
    assert records[-1].val_accuracy == task.score(task.validation)[1]


@pytest.mark.parametrize("micro_batch", [1, 2])
def test_scores_and_steps_do_not_depend_on_the_micro_batch(micro_batch):
    one, few = make(), make(micro_batch=micro_batch)
    assert few.evaluate() == pytest.approx(one.evaluate(), rel=1e-12)
    for each in (one, few):
        list(finetune(each, steps=1, curvature_size=None))
    close(flat(p for _, p in few.trained()), flat(p for _, p in one.trained()), rtol=1e-7)


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ((), "expected at least one question"),
        ((ask(" ", "a b", "a"),), "question q: the question is empty"),
        ((Question("p", "a", "\u200b", (Answer("", 0),)),), "question p: the context is empty"),
        (
            (ask("abcdefghijklmnopqrstuvwxyz", "a b", "a"),),
            r"26 tokens and a stride of 4 leave no room "
            r"for the context among 32\. Do: raise max_length, or lower stride",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(task, questions, message):
    with pytest.raises(ValueError, match=message):
        task.encode(data(*questions))


def test_data_of_another_task_are_refused(task):
    with pytest.raises(ValueError, match=re.escape("use this one's encode")):
        task.predict(make().training)


def test_spaces_around_an_answer_do_not_hide_it():
    context = "the cat sat here"
    places = []
    for text, start in (("cat", 4), (" cat", 3), ("cat ", 7 - 3), (" cat ", 3)):
        task = make((Question("q", "who", context, (Answer(text, start),)),))
        places.append(task.training["labels"].tolist())
    assert all(place == places[0] for place in places) and places[0][0][0] > 0


LETTERS = "a b c d e f g h i j k l m n o p q r s t u v w x y z"
TEN = ask("who?", LETTERS, "i j k l m n o p q r")


def test_an_answer_that_no_window_holds_is_refused_with_a_cure_that_works():
    with pytest.raises(ValueError, match=r"1 of 1 that none does, the longest 10 .*Do: stride=10,"):
        make((TEN,), max_length=20)
    labels = make((TEN,), (TEN,), max_length=20, stride=10).training["labels"].tolist()
    assert any(last - first == 9 for first, last in labels)
    alone = make((TEN,), (TEN,), max_length=20, check_answers=False).training["labels"]
    assert not alone.any()
    with pytest.raises(ValueError, match="stride=20 and max_length=28"):
        make((ask("who?", LETTERS, "c d e f g h i j k l m n o p q r s t u v"),), max_length=20)


def test_answers_longer_than_are_found_are_counted():
    two = (TEN, ask("who?", LETTERS, "a b c", "b", id="p"), QUESTIONS[0])
    with pytest.warns(UserWarning, match=r"1 of 3 questions .* most 2 tokens.*max_answer=10"):
        make(two, max_answer=2)
    make(two, max_answer=10, stride=10)


@pytest.mark.parametrize(
    "options",
    [{"stride": -1}, {"max_answer": 0}, {"null_threshold": float("nan")}, {"stride": 2.5}],
)
def test_numbers_that_are_none_are_refused(options):
    with pytest.raises((ValueError, TypeError), match=f"{next(iter(options))}: expected a"):
        make(**options)


NOBODY = [Question(f"n{i}", "who?", context, ()) for i, context in enumerate(("x", "y z", LETTERS))]
MIXED = (*QUESTIONS, *NOBODY)


@pytest.fixture(scope="module")
def mixed():
    return make(MIXED, MIXED, max_length=18)


def scored(task, threshold):
    """By the official rules, question by question: exact match and F1."""
    scores = []
    for q in MIXED:
        encoded = task.encode(data(q))
        batch, _, outputs = next(iter(task.outputs(encoded)))
        nothing = float((outputs[:, 0].sum(1)).min())
        rows = zip(outputs.mT.tolist(), batch["spans"].tolist(), strict=True)
        best, begin, stop = max(best_span(*o, spans, 30) for o, spans in rows)
        text = "" if nothing - best > threshold else q.context[begin:stop]
        scores.append(answer_scores(text, [a.text for a in q.answers] or [""]))
    return scores


def test_questions_without_an_answer_are_trained_and_scored_as_squad_2_does(mixed):
    encoded = mixed.training
    unanswerable = [q.is_impossible for q in MIXED]
    numbers = sorted({*encoded["question"].tolist()})
    for label, number in zip(encoded["labels"].tolist(), encoded["question"].tolist(), strict=True):
        if unanswerable[numbers.index(number)]:
            assert label == [0, 0]
    assert mixed.null_threshold == 0 and make().null_threshold is None
    found = mixed.assess(encoded)
    exact, f1 = (list(column) for column in zip(*scored(mixed, 0.0), strict=True))
    assert found["accuracy"] == pytest.approx(sum(exact) / 6)
    assert found["f1"] == pytest.approx(sum(f1) / 6)
    assert found["f1_answerable"] == pytest.approx(sum(f1[:3]) / 3)
    assert found["accuracy_unanswerable"] == pytest.approx(sum(exact[3:]) / 3)


def test_the_tuned_threshold_is_the_best_of_all():
    task = make(MIXED, MIXED, max_length=18)
    list(finetune(task, "adamw", steps=12, lr=0.02))
    tried = [
        sum(f1 for _, f1 in scored(task, threshold)) / 6
        for threshold in torch.linspace(-8, 8, 9, dtype=torch.float64).tolist()
    ]
    threshold = task.tune_threshold()
    best = task.assess(task.validation)["f1"]
    assert best >= max(tried) - 1e-12
    assert best == pytest.approx(sum(f1 for _, f1 in scored(task, threshold)) / 6)
    again = QuestionTask(task.model, task.tokenizer, data(*MIXED), data(*MIXED), stride=4)
    assert again.null_threshold == threshold  # from the model's config
    task.null_threshold = -1e9
    (nobody,) = task.predict(["who?"], ["Ann met Bo."])
    assert nobody.text is None and nobody.start is None and 0 <= nobody.score <= 1
    task.null_threshold = None
    assert task.predict(["who?"], ["Ann met Bo."])[0].text
