"""What notebook 12 says, held in its kernel."""

import inspect
import itertools
import math

import torch

from tools.claims import between, claim, near


def end(runs, kind):
    return runs[kind][-1]


@claim(
    "a matrix of 384 × 384 numbers with a tanh, pre-trained, and the **classifier**, two rows "
    "of 384 numbers, random, and their 386 biases",
    "all six layers of the BERT are frozen here",
)
def what_is_trained(task):
    pooler, classifier = task.module.pooler, task.module.classifier
    assert tuple(pooler.weight.shape) == (384, 384) and tuple(classifier.weight.shape) == (2, 384)
    assert len(pooler.bias) + len(classifier.bias) == 386
    assert sum(p.numel() for _, p in task.trained()) == 384 * 384 + 2 * 384 + 386


@claim(
    "A classifier is **calibrated** if, among its answers of 80 % confidence, 80 % are right",
    "is the mean gap between confidence and accuracy, 0 at best",
)
def what_calibrated_means(calibration_error):
    logits = torch.tensor([[math.log(4.0), 0.0]] * 5)
    near(calibration_error(logits, torch.tensor([0, 0, 0, 0, 1])), 0, absolute=1e-6)
    near(calibration_error(logits, torch.tensor([0, 0, 0, 0, 0])), 0.2, relative=1e-5)


@claim(
    "RLHF takes eight steps with all 200 reviews and at most ten products each, AdamW eight "
    "epochs with a learning rate of 0.001"
)
def how_the_runs_are_made(task, train, runs):
    assert task.samples == 200 and {len(run) for run in runs.values()} == {9}
    constants = inspect.getsource(train)
    assert '"max_iter": 10, "curvature_size": None' in constants and '"lr": 1e-3' in constants


@claim(
    "leave at least 95 % of the weights *exactly* as they began, and still learn: a validation "
    "loss that ends below 0.68 (a coin has 0.693), within 0.05 of its least value"
)
def the_goal_asks_for_these_numbers(runs):
    from rlhf_course.checking.goals import reached

    judge, values = (
        reached("12.few_changes"),
        {"kind": "L1-SP", "strength": 1e-3, "labels": "20 % wrong", "method": "RLHF"},
    )

    def run(unmoved, *losses):
        extra = {"unmoved": unmoved, "zeros": 0.0}
        return [
            r.with_(val_loss=v, extra=extra) for r, v in zip(runs["L1-SP"], losses, strict=False)
        ]

    assert judge(run(0.951, 0.69, 0.64, 0.679), values)
    assert not judge(run(0.949, 0.69, 0.64, 0.66), values)
    assert not judge(run(0.951, 0.69, 0.65, 0.681), values)
    assert not judge(run(0.951, 0.69, 0.60, 0.66), values)
    near(math.log(2), 0.693)


@claim(
    "**A kink makes things exact, and it makes them exact where it lies.**",
    "The elastic net has half of that kink, and makes zeros, too",
    "a row goes to zero together or stays whole",
    "Smooth penalties make nothing exact",
)
def which_penalties_make_something_exact(runs, pooler):
    zeros = [k for k in runs if end(runs, k).extra["zeros"] > 0.5]
    assert zeros == ["L1", "elastic net", "group lasso"]
    assert [k for k in runs if end(runs, k).extra["unmoved"] > 0.5] == ["L1-SP"]
    empty = pooler.eq(0).all(1)
    assert empty.double().mean() > 0.5 and int((pooler.eq(0).any(1) & ~empty).sum()) == 0


@claim("more than 19 of 20 weights stay exactly there")
def l1sp_leaves_19_of_20_where_they_began(runs):
    between(end(runs, "L1-SP").extra["unmoved"], 0.95, 1)
    assert end(runs, "L1-SP").val_loss < 0.68


@claim(
    "**L2, pseudo-Huber and L2-SP make nothing exact.** (Less than one weight in a hundred ends "
    "at the very number that it had, without any penalty just as much.)"
)
def smooth_penalties_make_nothing_exact(runs):
    for kind in ("L2", "pseudo-Huber", "L2-SP", "none", "dropout"):
        between(end(runs, kind).extra["unmoved"], 0, 0.015 if kind == "dropout" else 0.01)
        between(end(runs, kind).extra["zeros"], 0, 0.001)


@claim(
    "Pseudo-Huber is L1 with its kink rounded off over a width of δ = 0.01: the histogram shows "
    "a heap of weights near zero, and none at it"
)
def pseudo_huber_heaps_weights_near_zero(runs):
    from rlhf_lib.regularizers import PseudoHuber

    near(PseudoHuber().delta, 0.01)
    last = end(runs, "pseudo-Huber").extra
    zeros, *now = last["weights now"]
    small = 3 * 6  # bins below 1e-3, thirds of a decade from 1e-9 on
    assert zeros == 0 and sum(now[:small]) > 4 * sum(last["weights before"][1:][:small])


@claim("L2 and L2-SP at the same λ end at similar losses here", "But compare the distances")
def the_centre_decides_the_distance(runs, STRENGTHS):
    assert STRENGTHS["L2"] == STRENGTHS["L2-SP"]
    near(end(runs, "L2").val_loss, end(runs, "L2-SP").val_loss, absolute=0.05)
    assert end(runs, "L2-SP").extra["distance"] < 0.7 * end(runs, "L2").extra["distance"]


@claim("most weights stay exactly put there, too, if not the same ones")
def adamw_with_l1sp_keeps_most_weights(train, nb12, task):
    last = list(train(**nb12.settings("L1-SP", 1e-3, "AdamW")))[-1]
    between(last.extra["unmoved"], 0.5, 1)
    task.reset()


@claim(
    "keeps a fine-tuned model from overfitting",
    "each with a strength at which it shows what it does",
)
def what_is_held(runs):
    least = min(r.val_loss for r in runs["none"])
    held = {k for k in runs if end(runs, k).val_loss < least + 0.05}
    assert {"L2", "group lasso", "L2-SP", "L1-SP"} <= held
    assert not held & {"none", "dropout", "pseudo-Huber", "elastic net"}
    assert end(runs, "none").val_loss > 2


@claim(
    "SGD and AdamW take the same share off every weight",
    "Adam with an L2 penalty takes nearly all of a weight with gradients of size 0.1 and next "
    "to nothing of one with gradients of size 10",
    "The library's `PenalizedAdamW` is the left one for any smooth penalty",
    "Here are a thousand weights that begin at 1",
)
def what_is_left_of_the_weights(rest):
    for name in ("SGD, L2 penalty", "AdamW, decay"):
        for value in rest[name]:
            near(value, (1 - 0.01 * 0.1) ** 300, absolute=0.02)
    adam = rest["Adam, L2 penalty"]
    assert adam[0] < 0.1 and adam[2] > 0.95
    for mine, theirs in zip(rest["PenalizedAdamW, L2"], adam, strict=True):
        near(mine, theirs, relative=1e-9)


@claim(
    "With one mask conjugate gradients solve the system in about a dozen products",
    "With a new one at each product they never get there: after forty products the residual is "
    "larger than at the start",
    "Martens and Sutskever (2012, section 20.11) hold the noise fixed for this reason",
)
def one_mask_is_solved_and_new_masks_are_not(residuals, first, again, other):
    assert torch.equal(first, again) and float((first - other).norm()) > 0.02 * float(first.norm())
    one, new = residuals["one mask"], residuals["new masks"]
    between(len(one) - 1, 10, 16)
    assert one[-1] < 1.1e-3 and len(new) - 1 == 40 and new[-1] > 1 and min(new) > 1e-3


@claim(
    "on 128 sentences from film reviews with their own labels",
    "cut to 24 tokens",
    "Every run starts at the same probe and may spend ten gradients of the training set",
    "Training, selection and test share no sentence; all 872 validation sentences of SST-2 judge",
    "with two seeds that judge nothing",
)
def how_the_fair_record_was_made(fair):
    from rlhf_course.experiments import nb12_cures as made

    assert (made.SENTENCES, made.BUDGET, len(made.TUNING_SEEDS)) == (128, 10, 2)
    assert (fair.cures.length, fair.cures.noise) == (24, 0.0)
    assert not set(fair.seeds) & set(made.TUNING_SEEDS)
    for name in fair.cures.methods:
        costs = fair.measure(name, "cost")
        between(max(costs), 0.3, 10.5)
        measured = fair.cures.judged(fair.document, name, fair.seeds)
        assert {len(made.losses_of(m)) for m in measured} == {872}


@claim(
    "values around the best so far are tried until none beside it is better, so that no choice "
    "lies at an edge",
    "AdamW's learning rate rises and falls linearly",
    "Derive them by hand for the one towards the start",
)
def no_choice_lies_at_an_edge(fair):
    from rlhf_course.experiments import nb12_cures as made

    tuned = fair.cures.search().tuned
    runs = [r["settings"] for r in fair.document["runs"] if r["settings"]["seed"] == 100]
    for name, chosen in fair.chosen.items():
        for key, axis in tuned[name].axes.items():
            tried = [r[key] for r in runs if r["method"] == chosen["method"]]
            inside = min(tried) < chosen[key] < max(tried)
            assert inside or (name, key, chosen[key]) == ("adamw l2sp", "lambda_reg", axis.low)
    assert made.METHODS["adamw l2sp"][0]["schedule"] == "linear"


@claim(
    "Every method ends within 0.02 nats of every other, and of the probe, which costs a third of a "
    "gradient where they cost ten",
    "five seeds were enough to say so of all that was to be decided",
    "The means of all six lie below the probe's, by half a hundredth to a hundredth of a nat, and "
    "AdamW's below those of RLHF by 0.004 on the same objective",
    "tuned at one price, six methods end within 0.02 nats of one another and of the probe",
)
def tuned_they_come_to_the_same(fair):
    assert len(fair.seeds) == 5
    names = fair.cures.methods
    for a, b in itertools.combinations(names, 2):
        assert fair.gain(a, b).says == "no difference", (a, b)
    gains = [fair.gain(name, "probe none").mean for name in names if name != "probe none"]
    assert len(gains) == 6
    between(min(gains), 0.0045, 0.0055)
    between(max(gains), 0.0095, 0.0105)
    behind = fair.gain("rlhf l2sp", "adamw l2sp")
    near(behind.mean, -0.004, absolute=0.0005)
    assert behind.interval[1] < 0
    near(fair.mean("probe none", "cost"), 1 / 3, absolute=0.01)


@claim(
    "RLHF without a penalty wants a damping of 100, and with L1 the same",
    "AdamW with L2-SP wants the least λ",
    "(but for AdamW's λ, at 0.1: below it ten gradients end as without a penalty)",
)
def what_the_tuning_chose(fair, nb12):
    assert fair.chosen["rlhf none"]["damping"] == fair.chosen["rlhf l1"]["damping"] == 100
    assert fair.chosen["adamw l2sp"]["lambda_reg"] == 0.1
    runs = [r for r in fair.document["runs"] if r["settings"]["seed"] >= 100]
    held, free = (
        [
            r["result"]["end"]["val_loss"]
            for r in runs
            if {k: v for k, v in r["settings"].items() if k != "seed"} == fair.chosen[name]
        ]
        for name in ("adamw l2sp", "adamw linear")
    )
    near(sum(held) / 2, sum(free) / 2, absolute=0.001)


@claim(
    "RLHF loses more than a quarter of a nat, AdamW with its schedule two to three hundredths",
    "With L2-SP at λ = 1 the same carelessness costs either of them a hundredth or less",
    "A penalty towards the start made the end hang less on damping and learning rate",
)
def what_carelessness_costs(fair, nb12):
    costs = {}
    for name, losses in nb12.careless(fair).items():
        costs[name] = max(losses.values()) - min(losses.values())
    assert costs["RLHF alone"] > 0.25 and costs["RLHF L2-SP, λ = 1"] < 0.0105
    between(costs["AdamW with a schedule"], 0.02, 0.03)
    assert costs["AdamW L2-SP, λ = 1"] < 0.0105


@claim(
    "128 of the course's reviews, a fifth of their labels wrong, judged on 400 others",
    "AdamW at a constant rate of 1e-4",
    "all that was to be decided came out as no difference, after five seeds",
)
def how_the_noisy_record_was_made(noisy, nb12_reviews):
    from rlhf_course.experiments import nb12_cures as made

    assert (made.SENTENCES, noisy.cures.noise, made.BARE_RATE) == (128, 0.2, 1e-4)
    measured = noisy.cures.judged(noisy.document, "probe none", noisy.seeds)
    assert {len(made.losses_of(m)) for m in measured} == {400}
    (look,) = nb12_reviews.STUDY.looked(noisy.document)
    assert look.seeds == 5 and set(look.words.values()) == {"no difference"}


@claim(
    "AdamW at 1e-4 ends 0.22 nats above the probe, with all wrong labels learnt",
    "with any one of them the mean end is within 0.02 nats of the probe",
    "on reviews with wrong labels eleven do, and what is not held at all ends 0.22 above",
)
def every_cure_mends_it(noisy):
    near(noisy.gain("adamw bare", "probe none").mean, -0.22, absolute=0.005)
    near(noisy.mean("adamw bare", "train_accuracy"), 1, absolute=0.005)
    others = [m for m in noisy.cures.methods if m not in ("adamw bare", "probe none")]
    assert len(others) == 11
    assert all(abs(noisy.gain(m, "probe none").mean) < 0.02 for m in others)


@claim(
    "Dropout was chosen at 0.8. Decoupled decay was chosen at 100, where PyTorch's default is 0.01",
    "takes 1 % off every weight in each of 80 updates, and the norm ends at less than half",
    "by 0.017 below the probe's; whether that is more than chance these seeds do not tell",
)
def the_cures_are_strong(noisy):
    assert noisy.chosen["adamw dropout"]["dropout"] == 0.8
    assert noisy.chosen["adamw decay"]["lambda_reg"] == 100
    near(inspect.signature(torch.optim.AdamW).parameters["weight_decay"].default, 0.01)
    assert 10 * math.ceil(128 / 16) == 80
    norms = [noisy.mean(f"adamw {m}", "weight_norm") for m in ("decay", "bare")]
    near(norms[0] / norms[1], 0.99**80, relative=0.05)
    losses = {m: noisy.mean(m, "test_loss") for m in noisy.cures.methods}
    assert min(losses, key=losses.get) == "adamw decay"
    gain = noisy.gain("adamw decay", "probe none")
    assert gain.says == "open"
    near(gain.mean, 0.017, absolute=0.001)


@claim(
    "RLHF without a penalty chose a damping of 100, with L2-SP a λ of 100; L1-SP leaves "
    "practically all weights exactly as they were; early stopping stopped before the first epoch "
    "for four seeds of five",
    "On 128 reviews with wrong labels the best that can be done from a probe is, nearly, nothing",
    "The two that went far, L1 to zero and decay",
)
def most_stay_near_the_probe(noisy):
    assert noisy.chosen["rlhf none"]["damping"] == noisy.chosen["rlhf l2sp"]["lambda_reg"] == 100
    assert noisy.mean("rlhf l1sp", "unmoved") > 0.99
    for name in ("adamw stopped", "adamw bare-stopped"):
        assert [step == 0 for step in noisy.measure(name, "step")].count(True) == 4
    far = {m for m in noisy.cures.methods if noisy.mean(m, "distance") > 3}
    assert far == {"rlhf l1", "adamw decay"}


@claim("Ours is small; 22.7 million weights are few today")
def the_model_is_small(task):
    near(sum(p.numel() for p in task.model.parameters()), 22.7e6, relative=0.002)


@claim("Commit to three answers")
def the_predictions_have_the_right_answers(runs, nb12, rest):
    from rlhf_course.checking.predictions import find

    exact = [
        k
        for k in nb12.PENALTIES
        if max(end(runs, k).extra["zeros"], end(runs, k).extra["unmoved"]) > 0.5
    ]
    assert len(nb12.PENALTIES) == 7 and len(exact) == find("12.exact").truth
    most = max(nb12.PENALTIES, key=lambda k: end(runs, k).extra["unmoved"])
    assert most == find("12.list").truth
    assert "large gradients less" in find("12.decay").truth
    assert rest["Adam, L2 penalty"][2] > rest["AdamW, decay"][2] > rest["Adam, L2 penalty"][0]
