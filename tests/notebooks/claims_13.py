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
    "**Goal:** *entities* with MiniLM, and a validation loss below 0.478 nats at the end.",
    "*entities*, MiniLM, a validation loss below 0.478 after the five steps.",
    "The λ that serves sentiment best on the mean of three seeds (below), 0.3, will not do.",
    "The first of the seeds has the panel's samples. There sentiment ends 0.11 nats above its "
    "least validation loss; the entities are still falling, and end at 0.49, above the goal.",
)
def the_goal_is_not_reached_with_the_lambda_of_sentiment(nb13, study, fine_tuning):
    from rlhf_course.checking.goals import reached

    values = {"task": "entities", "model": nb13.PRETRAINED, "lambda_reg": 0.3}
    kept, goal = list(fine_tuning(**values)), reached("13.transfer")
    assert nb13.GOAL == 0.478 and kept[-1].val_loss > 0.478 and not goal(kept, values)
    assert goal([kept[0], kept[-1].with_(val_loss=0.4779)], values)
    assert not goal([kept[0], kept[-1].with_(val_loss=0.4781)], values)
    near(kept[0].val_loss, nb13.START, relative=0.005)
    first = study.runs["entities", "rlhf", 0.3][0]["val_loss"]
    near(kept[-1].val_loss, first[-1], relative=0.03)
    assert min(r.val_loss for r in kept) == kept[-1].val_loss and min(first) == first[-1]
    near(first[-1], 0.49, absolute=0.005)
    sentiment = study.runs["sentiment", "rlhf", 0.3][0]["val_loss"]
    near(sentiment[-1] - min(sentiment), 0.11, absolute=0.005)
    assert study.best("sentiment", "rlhf") == 0.3


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
    "three tasks on MiniLM's top layer, six values of λ, three seeds (each draws other samples "
    "and another head), RLHF with five steps and AdamW with eight epochs"
)
def the_recorded_study_has_three_tasks_six_lambdas_and_three_seeds(study, nb13):
    assert len(study.lambdas) == 6 and len(study.runs) == 3 * 6 * 2
    for (task, method, _), found in study.runs.items():
        assert task in nb13.TASKS and len(found) == 3
        assert len(found[0]["val_loss"]) == {"rlhf": 6, "adamw": 9}[method]


@claim(
    "Questions want the largest λ of the grid in every seed (they might want more still), "
    "entities a smaller one than 0.3.",
    "their winners are 1, 0.3 and 0.03",
)
def each_task_wants_another_lambda(study):
    assert study.winners("questions", "rlhf") == [max(study.lambdas)] * 3
    assert study.winners("sentiment", "rlhf") == [1.0, 0.3, 0.03]
    assert max(study.winners("entities", "rlhf")) < 0.3
    assert float(study.extra("entities", "sentiment").min()) > 0
    large, middle, small = (study.losses("questions", "rlhf", v) for v in (3.0, 0.3, 0.03))
    assert bool((large < middle).all() and (middle < small).all())


@claim(
    "Keeping the λ of one task for another costs little in most pairs and 1.8 nats in one.",
    "the *mean* extra cost is never negative",
    "what is right for the one can cost a nat or more on another",
)
def the_lambda_of_entities_costs_the_questions_most(study, nb13):
    extra = {
        (task, other): study.extra(task, other)
        for task in nb13.TASKS
        for other in nb13.TASKS
        if task != other
    }
    assert all(float(cost.mean()) >= 0 for cost in extra.values())
    assert sum(float(cost.mean()) < 0.2 for cost in extra.values()) == 4
    near(extra["questions", "entities"].mean(), 1.8, absolute=0.05)
    assert float(extra["questions", "entities"].min()) > 1


@claim(
    "Forty sentences hold hundreds of words with a tag each",
    "Sixteen questions are sixteen pairs of places",
)
def forty_sentences_hold_hundreds_of_words(ner, qa):
    assert ner.samples == 40 and 300 < ner.count(ner.training) < 1000
    assert tuple(qa.training["labels"].shape) == (16, 2)


@claim(
    "With λ = 0.01 their training loss falls from 5 to below 1 while the validation loss rises "
    "above its start.",
    "AdamW, which has come less far, reaches about the same with hardly any λ",
)
def sixteen_questions_are_learnt_by_heart(study):
    near(study.mean("questions", "rlhf", 0.01, "train_loss", 0), 5, relative=0.03)
    assert study.mean("questions", "rlhf", 0.01, "train_loss", -1) < 1
    for run in study.runs["questions", "rlhf", 0.01]:
        assert run["val_loss"][-1] > run["val_loss"][0]
    least = {
        m: float(study.losses("questions", m, study.best("questions", m)).mean())
        for m in ("rlhf", "adamw")
    }
    near(least["adamw"], least["rlhf"], relative=0.02)
    assert study.best("questions", "adamw") == min(study.lambdas)


@claim(
    "**AdamW agrees on sentiment and wants the smallest λ of the grid on the other two**",
    "On entities and questions its eight epochs, for 8 gradients, end well above the training "
    "loss that five RLHF steps reach for some 28",
    "On sentiment it is AdamW that goes further down.",
)
def adamw_wants_the_smallest_lambda_where_it_stops_early(study):
    assert study.best("sentiment", "adamw") == study.best("sentiment", "rlhf")
    for task in ("entities", "questions"):
        assert study.winners(task, "adamw") == [min(study.lambdas)] * 3
        ends = {m: study.mean(task, m, 0.01, "train_loss", -1) for m in ("rlhf", "adamw")}
        assert ends["adamw"] > 3 * ends["rlhf"]
        near(study.gradients(task, "adamw", 0.01), 8, relative=0.01)
        between(study.gradients(task, "rlhf", 0.01), 27, 29.5)
    ends = {m: study.mean("sentiment", m, 0.01, "train_loss", -1) for m in ("rlhf", "adamw")}
    assert ends["adamw"] < ends["rlhf"]


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


@claim("Take the λ that serves sentiment best, 0.3, and commit to an answer, with a reason.")
def the_predictions_have_the_right_answers(study):
    from rlhf_course.checking.predictions import find

    assert study.best("sentiment", "rlhf") == 0.3
    assert find("13.entities").truth == "too large" and study.best("entities", "rlhf") < 0.3
    assert set(study.winners("entities", "rlhf")) <= {0.03, 0.1}
    assert find("13.questions").truth == "too small" and study.best("questions", "rlhf") > 0.3
    assert find("13.optimizer").truth == "nothing"
