"""What notebook 13 says, held in its kernel."""

from itertools import pairwise
from math import log

import torch

from tools.claims import between, claim, near


@claim(
    "- run tiny stand-ins of DistilBERT, RoBERTa, GPT-2, T5 and ModernBERT by the same lines",
    "They do not show that learning works**: there is nothing pre-trained in them, and their "
    "curves say nothing about the real DistilBERT or GPT-2",
    "Anything about the real DistilBERT, RoBERTa, GPT-2, T5 or ModernBERT: that products with "
    "curvature are right was tested on tiny random models of their architectures",
    "two layers, eight numbers wide, random weights, and tokenizers that spell letter by letter",
)
def the_stand_ins_are_tiny_and_spell(nb13, text, tiny, gaps):
    assert list(nb13.TINY) == ["BERT", "DistilBERT", "RoBERTa", "GPT-2", "T5", "ModernBERT"]
    assert {name for _, name in tiny} == set(gaps) == set(nb13.TINY)
    for where in nb13.TINY.values():
        model, tokenizer = text.load_model("classification", where)
        assert model.config.hidden_size == 8 and model.config.num_hidden_layers == 2
        pieces = tokenizer.tokenize("Karl von Frisch worked out what")
        assert max(len(piece.lstrip("#")) for piece in pieces) == 1


@claim("so that tasks with two classes, nine tags and some 160 places fit on one axis")
def the_tasks_have_two_nine_and_160_classes(text, entities, qa, pieces):
    assert len(text.load_dataset("course-reviews")[0].label_names) == 2
    assert len(entities.label_names) == 9 and qa.samples == 16
    between(pieces, 150, 175)


@claim(
    "**Goal:** *questions* with MiniLM, and a loss below 4.95 nats on the unseen ones at the end, "
    "which is a little below the start",
    "*questions*, MiniLM, a loss on unseen samples below 4.95 after the five steps.",
    "Try λ = 0.3 first",
)
def the_goal_is_not_reached_with_the_lambda_of_entities(nb13, study, panel):
    from rlhf_course.checking.goals import reached

    goal, run = reached("13.transfer"), study.runs["questions", "rlhf", 0.3][0]["val_loss"]
    values, kept = panel.values, panel.records
    assert values["task"] == "questions" and goal(kept, values)
    near(kept[0].val_loss, nb13.START, relative=0.005)
    # The panel has the samples of the record's first seed, and, for the questions, its damping.
    assert study.chosen["questions", "rlhf"]["damping"] == 1.0
    near(kept[-1].val_loss, study.runs["questions", "rlhf", 3.0][0]["val_loss"][-1], relative=0.01)
    assert run[-1] > run[0] > nb13.GOAL == 4.95
    assert not goal([kept[0], kept[-1].with_(val_loss=run[-1])], values)
    assert goal([kept[0], kept[-1].with_(val_loss=4.9499)], values)
    assert not goal([kept[0], kept[-1].with_(val_loss=4.9501)], values)
    between(nb13.GOAL / kept[0].val_loss, 0.95, 1.0)


@claim("What this can show is that the code runs and that its steps are accepted, no more.")
def in_each_cell_the_objective_falls_from_step_to_step(tiny):
    strict = [
        ("sentiment", "DistilBERT"),
        ("entities", "RoBERTa"),
        ("questions", "GPT-2"),
        ("entities", "T5"),
        ("questions", "ModernBERT"),
    ]
    for key, run in tiny.items():
        objective = [r.objective for r in run[1:]]  # each before its step
        assert len(run) == 6 and run[-1].train_loss < run[0].train_loss
        for a, b in pairwise(objective):
            assert b < a if key in strict else b <= a + 1e-6 * abs(a), (key, objective)


@claim(
    "Look at the questions with T5, whose *validation* loss falls, too.",
    "These tokenizers spell, so a passage is cut into many windows, and most of them lack the "
    "answer.",
    "it points there in *every* window",
    "the few that hold the answer cost it more than a blind guess would",
)
def t5_points_at_the_first_piece_of_every_window(tiny, t5, make, nb13):
    run = tiny["questions", "T5"]
    assert run[-1].val_loss < 0.3 * run[0].val_loss
    between(nb13.score(run[-1]), 0.0, 0.1)
    between(t5["first"], t5["windows"] - 1, t5["windows"])
    between(t5["empty"] / t5["windows"], 0.8, 0.99)
    assert t5["loss_empty"] < 0.3
    longest = make("questions", "tiny random T5").validation["labels"].shape[0]
    assert longest == t5["windows"]
    places = make("questions", "tiny random T5").validation["input_ids"].shape[1]
    assert t5["loss_answer"] > log(places) > 4


@claim("With the entities it is the tag `O`, which T5 gives to every word.")
def t5_calls_every_word_o(make, fine_tuning):
    list(fine_tuning("entities", "tiny random T5", 0.01))
    job = make("entities", "tiny random T5")
    tags = [tag for sentence in job.predict(job.validation) for tag in sentence]
    between(tags.count("O") / len(tags), 0.98, 1.0)


@claim(
    "the three tasks on MiniLM's top layer, seven values of λ, five seeds (each draws other "
    "training samples), RLHF with five steps and AdamW with 28 epochs and a falling rate, on the "
    "same objective, for 25 to 31 gradients",
    "were searched for each task, with seeds of their own, and on samples that judge nothing",
)
def the_recorded_study_is_as_told(study, nb13):
    from rlhf_course.studies import nb13_tasks as made
    from rlhf_course.studies import overlaps

    assert len(study.lambdas) == 7 and len(study.runs) == 3 * 7 * 2
    for (task, method, _), found in study.runs.items():
        assert task in nb13.TASKS and len(found) == 5
        assert len(found[0]["val_loss"]) == {"rlhf": 6, "adamw": 2}[method]
        assert all(25 <= r["cost"] <= 31 for r in found)
    assert made.STEPS["adamw"] == 28 and made.FIXED["adamw"]["schedule"] == "linear"
    assert list(overlaps(made.STUDY, study.document)) == []


@claim(
    "With the same λ the entities end a tenth below their start, sentiment and the questions above "
    "theirs, in every seed."
)
def one_lambda_ends_so_differently(study):
    shares = {
        task: [r["val_loss"][-1] / r["val_loss"][0] for r in study.runs[task, "rlhf", 0.3]]
        for task in ("sentiment", "entities", "questions")
    }
    near(sum(shares["entities"]) / 5, 0.9, absolute=0.025)
    assert max(shares["entities"]) < 0.95
    assert min(shares["sentiment"]) > 1 and min(shares["questions"]) > 1


@claim(
    "Sentiment wants the largest λ of the grid in every seed, the entities 0.1 or 0.3, the "
    "questions, with RLHF, 3 or 10",
    "On sentiment and on the entities it wants the same λ",
)
def each_task_wants_another_lambda(study):
    assert study.winners("sentiment", "rlhf") == [max(study.lambdas)] * 5
    assert set(study.winners("entities", "rlhf")) == {0.1, 0.3}
    assert set(study.winners("questions", "rlhf")) == {3.0, 10.0}
    for task in ("sentiment", "entities"):
        assert study.best(task, "adamw") == study.best(task, "rlhf")


@claim(
    "Keeping the λ of sentiment for the entities costs them 0.02 nats; keeping that of the "
    "entities for the questions costs 0.8.",
    "the *mean* extra cost is never negative",
    "Look at the signs of the seeds instead: they agree",
    "what is right for the one can cost nearly a nat on another",
)
def the_lambda_of_entities_costs_the_questions_most(study, nb13):
    extra = {
        (task, other): study.extra(task, other)
        for task in nb13.TASKS
        for other in nb13.TASKS
        if task != other
    }
    assert all(float(cost.mean()) >= 0 and float(cost.min()) >= 0 for cost in extra.values())
    near(extra["entities", "sentiment"].mean(), 0.02, absolute=0.003)
    near(extra["questions", "entities"].mean(), 0.83, absolute=0.02)
    assert max(float(cost.mean()) for cost in extra.values()) < 1


@claim(
    "Forty sentences hold hundreds of words with a tag each",
    "Sixteen questions are sixteen pairs of places",
    "Of 48 reviews the probe has learnt what can be learnt; what a step away from it adds is "
    "learnt by heart",
)
def forty_sentences_hold_hundreds_of_words(ner, qa, study):
    assert ner.samples == 40 and 300 < ner.count(ner.training) < 1000
    assert tuple(qa.training["labels"].shape) == (16, 2)
    for value in study.lambdas:
        for r in study.runs["sentiment", "rlhf", value]:
            assert r["train_loss"][-1] < r["train_loss"][0]
        assert study.mean("sentiment", "rlhf", value, "val_loss", -1) > 1.005 * study.mean(
            "sentiment", "rlhf", value, "val_loss", 0
        )


@claim(
    "with λ = 0.01 their training loss falls from 5 to below 1 while that of the unseen rises by "
    "two nats.",
    "On the questions even the smallest does it no harm: in as many gradients it comes to a "
    "training loss of 2, RLHF to less than 1.",
)
def sixteen_questions_are_learnt_by_heart(study):
    near(study.mean("questions", "rlhf", 0.01, "train_loss", 0), 5, relative=0.03)
    assert study.mean("questions", "rlhf", 0.01, "train_loss", -1) < 1
    near(study.mean("questions", "adamw", 0.01, "train_loss", -1), 2, absolute=0.1)
    rise = [study.mean("questions", "rlhf", 0.01, "val_loss", step) for step in (0, -1)]
    near(rise[1] - rise[0], 2, absolute=0.2)
    for r in study.runs["questions", "adamw", 0.01]:
        assert r["val_loss"][-1] < r["val_loss"][0]


@claim(
    "On sentiment there is nothing to win: no difference that matters, by either optimizer.",
    "The entities end 0.04 nats below the best probe, the questions 0.18 below their random start, "
    "both beyond chance.",
    "Five seeds had left the questions open; with ten they are decided.",
    "there is no difference** that matters on sentiment and on the entities, and on the questions "
    "ten seeds do not tell",
    "an F1 of 0.16 for the names and of 0.06 for the answers",
    "For sentiment it pushed λ to its bound, 100: stay at the probe.",
    "it costs a third of a gradient",
    "tuned alike, at one price, it came level with AdamW",
)
def only_the_entities_leave_the_probe(study):
    from rlhf_course.studies import nb13_tasks as made

    assert study.chosen["sentiment", "rlhf"]["lambda"] == made.STRENGTH.high == 100
    assert study.gain("sentiment", "probe").says == "no difference"
    entities, questions = study.gain("entities", "probe"), study.gain("questions", None)
    assert entities.says == questions.says == "for"
    near(entities.mean, 0.04, absolute=0.002)
    near(questions.mean, 0.18, absolute=0.002)
    words = [look.words["questions"] for look in made.STUDY.looked(study.document)]
    assert words == ["not enough data", "supported"] and len(study.seeds) == 10
    against = {task: study.gain(task, "adamw").says for task in ("sentiment", "entities")}
    assert set(against.values()) == {"no difference"}
    assert study.gain("questions", "adamw").says == "open"
    for task, f1 in (("entities", 0.16), ("questions", 0.06)):
        found = [r["score"] for r in study.judged(task, "rlhf")]
        near(sum(found) / len(found), f1, absolute=0.006)
    near(study.judged("sentiment", "probe")[0]["cost"], 1 / 3, relative=1e-3)


@claim(
    "In float64, for every architecture and task:",
    "And three ways to get it wrong",
    "A loss that changes with the padding is wrong, and only a test finds it.",
)
def padding_changes_no_loss_and_three_mistakes_do(right, wrong, nb13):
    assert set(right) == set(nb13.TINY) and max(right.values()) < 1e-12
    assert len(wrong) == 3 and min(wrong.values()) > 1e-4


@claim("$Hv$ by double backward, for all weights, against a central difference of the gradient.")
def the_products_agree_with_a_difference(gaps, nb13):
    assert set(gaps) == set(nb13.TINY) and max(gaps.values()) < 1e-6


@claim("−100 leaves out, −∞ forbids: the one is for labels, the other for logits.")
def minus_100_leaves_out_and_minus_infinity_forbids():
    logits = torch.tensor([[1.0, 2.0, 0.5], [0.3, 0.1, 0.2]])
    loss = torch.nn.functional.cross_entropy
    near(loss(logits, torch.tensor([1, -100])), loss(logits[:1], torch.tensor([1])))
    forbidden = logits.index_fill(1, torch.tensor(2), -torch.inf)
    near(loss(forbidden, torch.tensor([1, 0])), loss(logits[:, :2], torch.tensor([1, 0])))


@claim("Take λ = 0.3, and commit to an answer for each task, with a reason.")
def the_predictions_have_the_right_answers(study):
    from rlhf_course.checking.predictions import find

    truths = {"sentiment": "too small", "entities": "about right", "questions": "too small"}
    assert {task: find(f"13.{task}").truth for task in truths} == truths
    assert min(study.winners("sentiment", "rlhf")) > 0.3 < min(study.winners("questions", "rlhf"))
    assert study.best("entities", "rlhf") == 0.3
    assert find("13.optimizer").truth == "nothing"
