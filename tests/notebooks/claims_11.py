"""What notebook 11 says, held in its kernel."""

import copy
import math
import statistics
import tempfile
from pathlib import Path

import torch

from tools.claims import between, claim, near


def standard_errors_off(values, truth):
    return abs(statistics.fmean(values) - truth) / (
        statistics.stdev(values) / math.sqrt(len(values))
    )


@claim(
    "a coin's guess costs $\\ln 2 = 0.693$) and $x_i$ are the 384 numbers of review $i$",
    "And because 800 reviews are at hand",
    "draw 60 of the first 400 again and again, and ask the other 400",
    "the ten samples of 60 come from one pool of 400, and all have the same judges",
    "In real life there are, say, 60 labelled reviews",
)
def the_reviews(review_features, balanced_sample, X_new):
    near(math.log(2), 0.693, absolute=5e-4)
    X, y, there, y_new = review_features()
    assert X.shape == there.shape == X_new.shape == (400, 384)
    assert len(y) + len(y_new) == 800
    few, labels = balanced_sample(60, seed=0)
    assert few.shape == (60, 384) and int(labels.sum()) == 30
    assert sum(bool((X == row).all(1).any()) for row in few[:5]) == 5


@claim(
    "a huge λ allows nothing, and its loss is close to the coin's 0.693",
    "The loss falls, has its least value, and rises again",
)
def the_curve_is_a_valley(balanced_sample, select_lambda, fit_of, LAMBDAS):
    X, y = balanced_sample(60, seed=0)
    found = select_lambda(fit_of(X, y), y, LAMBDAS, folds=5)
    near(found.rows[0].mean, 0.693, absolute=0.01)
    near(found.best, 0.0215, relative=0.01)
    near(found.best_row.mean, 0.555, absolute=0.002)
    assert found.rows[-1].mean > found.best_row.mean + 0.1
    errors = [row.standard_error for row in found.rows]
    assert errors == sorted(errors)


@claim(
    "Here is the same problem (1) at λ = 0.1, solved in all 385 unknowns by the library's `newton`"
)
def the_path_solves_the_problem(gap, last, w):
    assert last.theta.numel() == 385 == w.numel() + 1
    between(gap, 0, 1e-6)


@claim("first seed 3 and 2 seeds are the seeds 3 and 4")
def seeds_count_from_the_first(search):
    *_, (found, _) = search(n=60, sample=3, folds=5, first=3, seeds=2, rule="min")
    assert sorted({path.seed for path in found.paths}) == [3, 4]


@claim(
    "The first seed 6 does it: its winner is λ = 10, the edge of the grid",
    'With n = 60, sample 3, 5 folds, **one** seed and the rule "min", find a first seed whose '
    "winner costs at least 0.1 nats more",
    "until the read-out says that the chosen λ costs at least 0.1 more than the best",
)
def seed_6_is_fooled_and_the_first_ones_are_not(search, nb11, LAMBDAS):
    from rlhf_course.checks.nb11 import FOOLED

    assert FOOLED == 0.1
    costs, chosen = [], []
    for first in range(10):
        *_, (found, unseen) = search(n=60, sample=3, folds=5, first=first, seeds=1, rule="min")
        costs.append(nb11.cost_of(found.chosen, unseen, LAMBDAS))
        chosen.append(found.chosen)
    assert [first for first, cost in enumerate(costs) if cost >= 0.1] == [6]
    assert chosen[6] == LAMBDAS[0] and abs(chosen[6] - 10) < 1e-9


@claim(
    "have winners a factor of ten (sample 0) and of a hundred (sample 3) apart",
    "judged by a single fold of twelve reviews, over a factor of a thousand and more",
    "the winner on one fold far more so",
)
def winners_scatter(dealt_anew, nb11):
    factors = {}
    for sample, (found, _) in dealt_anew.items():
        folds, seeds = nb11.winners(found)
        assert max(folds) / min(folds) >= 1000 * (1 - 1e-9)
        factors[sample] = max(seeds) / min(seeds)
        assert {len(found.paths[0].scores)} == {13}
    near(factors[0], 10)
    near(factors[3], 100)


@claim("About half of the seeds agree on one λ.")
def about_half_of_the_seeds_agree(dealt_anew, nb11):
    for found, _ in dealt_anew.values():
        _, seeds = nb11.winners(found)
        between(max(map(seeds.count, seeds)), 8, 13)


@claim(
    "the mean over other 20 seeds has the same winner",
    "Averaging over seeds takes most of *this* luck away",
)
def other_seeds_agree(twenty_seeds, dealt_anew):
    for sample, (found, _) in dealt_anew.items():
        assert twenty_seeds(sample, first=20)[0].best == found.best


@claim(
    "its 20 seeds say together that λ should be 0.22, and the unseen reviews that it should "
    "be 0.046"
)
def sample_3_disagrees(dealt_anew, nb11, LAMBDAS):
    found, losses = dealt_anew[3]
    near(found.best, 0.22, absolute=0.005)
    near(nb11.best_for(losses, LAMBDAS), 0.046, absolute=0.0005)


@claim(
    "the winners of ten samples scatter more than the seeds of one sample did",
    "the λ that is best for the unseen reviews scatters less",
)
def samples_scatter_more_than_seeds(of_seeds, of_samples, of_best):
    assert of_samples > 1.3 * of_seeds
    assert of_best < of_samples


@claim("20 seeds are not 20 times the data", "do **not** divide by their number")
def the_standard_error_does_not_shrink(dealt_anew, search):
    found, _ = dealt_anew[0]
    *_, (one, _) = search(n=60, sample=0, folds=5, first=0, seeds=1, rule="min")
    place = found.lambdas.index(found.best)
    between(found.rows[place].standard_error / one.rows[place].standard_error, 0.5, 2)


@claim("two training sets share three quarters of their samples (for K = 5)")
def training_sets_share_three_quarters(dealt):
    (first, _), (second, _), *_ = dealt
    shared = len(set(first.tolist()) & set(second.tolist()))
    assert shared / len(first) == 0.75


@claim(
    "**the rule costs more than it saves here.**",
    "Its λ are several times larger",
    "its cross-entropy is higher in nine of the ten samples",
    "stays the same",
    "Here it paid with loss, not with accuracy.",
)
def the_rule_costs_loss_and_no_accuracy(by_rule, samples):
    cost, accuracy = (
        {name: statistics.fmean(pair[k] for pair in pairs) for name, pairs in by_rule.items()}
        for k in (0, 1)
    )
    assert cost["the 1se rule"] > 2 * cost["the winner"]
    between(accuracy["the 1se rule"] - accuracy["the winner"], -0.02, 0.02)
    ratio = statistics.median(row["found"].chosen / row["found"].best for row in samples)
    between(ratio, 4, 22)
    pairs = zip(by_rule["the winner"], by_rule["the 1se rule"], strict=True)
    assert sum(b[0] > a[0] for a, b in pairs) == 9


@claim(
    "With 60 reviews the band is wide, and where it reaches up to the coin's loss, the rule "
    "chooses the largest λ of the grid, whose probabilities are all close to one half."
)
def once_the_rule_takes_the_largest(samples, LAMBDAS, balanced_sample, logistic_path, X_new):
    at_edge = [k for k, row in enumerate(samples) if row["found"].chosen == LAMBDAS[0]]
    assert at_edge == [3]
    best = samples[3]["found"].best_row
    assert best.mean + best.standard_error > 0.69
    w, b = next(logistic_path(*balanced_sample(60, 3), LAMBDAS))
    between(((X_new @ w + b).sigmoid() - 0.5).abs().max(), 0, 0.05)


@claim(
    '60 reviews with labels dealt out at random, 30 of each ("coin labels")',
    "Somebody has found that 384 numbers are too many for 60 reviews, and keeps the 20 that go "
    "best with the labels.",
    "Among 384 features of 60 reviews, 20 go well with *any* labels, by chance.",
)
def coin_labels_go_well_with_some_features(coin_reviews, correlation):
    for seed in range(5):
        X, y = coin_reviews(seed)
        assert X.shape == (60, 384) and int(y.sum()) == 30
        between(correlation(X, y).abs().topk(20).values[-1], 0.2, 0.5)


@claim("An accuracy of 0.80 on labels thrown by a coin", "made 0.80 out of a coin")
def the_leak_makes_080_out_of_a_coin(at_one):
    near(statistics.fmean(at_one), 0.80, absolute=0.01)
    assert len(at_one) == 20


@claim(
    "**Features chosen on all** is a disaster",
    "**Standardized with all** does no harm that we can measure here",
    "**The winner's own score** is too good, by a little",
    "**Each fold its own λ** adds the luck of every single fold",
)
def the_four_habits(habits):
    means = {name: statistics.fmean(values) for name, values in habits.items()}
    honest = means["honest, λ = 1"]
    between(standard_errors_off(habits["honest, λ = 1"], 0.5), 0, 3)
    between(means["standardized with all"] - honest, -0.02, 0.02)
    assert honest < means["the winner's own score"] < means["each fold its own λ"]
    assert means["features chosen on all"] > means["each fold its own λ"] + 0.1


@claim("Single samples scatter from below 0.4 to 0.6 even when everything is done honestly")
def single_samples_scatter(habits):
    between(min(habits["honest, λ = 1"]), 0.33, 0.4)
    between(max(habits["honest, λ = 1"]), 0.58, 0.62)


@claim(
    "Nested is not flattered by the choice",
    "a lower accuracy on coin labels",
    "On coin labels, with the choice of features inside, 20 samples:",
    "The winner's own score flatters.",
)
def nested_is_honest_on_coin_labels(nested_runs, habits):
    assert len(nested_runs) == 20
    between(standard_errors_off(nested_runs, 0.5), 0, 3)
    assert statistics.fmean(nested_runs) < statistics.fmean(habits["the winner's own score"])


@claim(
    "on average it comes out worse than the winner's own score",
    "a higher loss on real ones",
    "On real labels it is above the unseen loss, too.",
    "the standard deviation of the nested score over samples is larger than all these differences",
)
def nested_is_above_the_winners_own_loss(own, outer, truth):
    means = [statistics.fmean(column) for column in (own, outer, truth)]
    assert means[2] < means[0] < means[1]
    assert statistics.stdev(outer) > max(means) - min(means)


@claim("its models learn from 48 reviews and not from 60, and choose λ from 38")
def nested_models_learn_from_48(dealt, stratified_folds, y):
    train, _ = dealt[0]
    assert len(train) == 48
    assert {len(inner) for inner, _ in stratified_folds(y[train], 5)} <= {38, 39}


@claim("With `resume=` every finished path (one fold of one seed, all λ) is a line of a file.")
def a_stopped_search_goes_on(
    fits, before, saved, again, LAMBDAS, select_lambda, fit_of, balanced_sample
):
    X, y = balanced_sample(60, 0)
    assert before == 50 and len(fits) - before == (10 - saved) * len(LAMBDAS)
    assert again.paths == select_lambda(fit_of(X, y), y, LAMBDAS, seeds=(0, 1)).paths
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "reviews.jsonl"
        select_lambda(fit_of(X, y), y, LAMBDAS[:2], resume=file)
        assert len(file.read_text().splitlines()) == 1 + 5
        try:
            select_lambda(fit_of(X, y), y, LAMBDAS[:2], folds=4, resume=file)
        except ValueError as refused:
            assert "folds is 5 there and 4 here" in str(refused)
        else:
            raise AssertionError("results of 5 folds were taken for those of 4")


@claim(
    "the top layer of the 6-layer BERT of notebook 10 and a head that begins at zero",
    "on 40 reviews; 5 folds, 5 seeds, six exact steps at each of five λ",
    "change no loss of the unseen reviews by more than 0.02",
    "all 25 paths",
)
def what_the_recorded_run_did(study, bert, text, moved):
    from rlhf_course.studies import nb11_lambda

    model, _ = text.load_model("classification")
    assert model.config.num_hidden_layers == 6
    assert nb11_lambda.REVIEWS == 40 and nb11_lambda.FOLDS == bert.folds == 5
    assert len({path.seed for path in bert.paths}) == 5 and len(bert.paths) == 25
    assert nb11_lambda.FIT["steps"] == 6 and nb11_lambda.FIT["regularizer"].from_start
    assert (nb11_lambda.FIT["start"], nb11_lambda.FIT["solver"]) == ("zero", "dual")
    assert len(bert.lambdas) == 5 and study["about"].startswith("The top layer of BERT on 40")
    assert moved <= 0.02


@claim(
    "single folds vote for all five λ, half of them for the smallest; the seeds split between two, "
    "and the mean of all 25 paths picks the λ that the unseen reviews like best",
    "Note the standard errors, too: they grow as λ falls",
)
def the_recorded_run_shows_the_same(bert, judged, nb11):
    folds, seeds = nb11.winners(bert)
    assert len(set(folds)) == 5 and len(set(seeds)) == 2
    near(folds.count(0.03) / 25, 0.5, absolute=0.05)
    assert bert.best == nb11.best_for([score["loss"] for score in judged], bert.lambdas) == 0.3
    errors = [row.standard_error for row in bert.rows]
    assert errors == sorted(errors)


@claim(
    "nested cross-validation with K outer folds multiplies by K + 1",
    "With K folds and S seeds, $K\\!\\cdot\\!S$ paths",
)
def the_price_of_nested(fit_of, balanced_sample, select_lambda):
    from rlhf_lib import nested_select_lambda

    X, y = balanced_sample(40, 0)
    calls = []

    def counted(train, validation, lambdas, seed):
        calls.append(len(lambdas))
        yield from fit_of(X, y)(train, validation, lambdas, seed)

    select_lambda(counted, y, [1.0, 0.1], folds=4, seeds=(0, 1))
    assert len(calls) == 8
    calls.clear()
    nested_select_lambda(counted, y, [1.0, 0.1], outer_folds=4, folds=4)
    assert len(calls) == 4 * (4 + 1)


@claim("What does the choice of λ owe to it?", "look at sample 3")
def the_predictions_have_the_right_answers(dealt_anew, nb11, LAMBDAS):
    from rlhf_course.checking.predictions import find

    most = []
    for found, _ in dealt_anew.values():
        folds, seeds = nb11.winners(found)
        assert len(folds) == 100 and len(seeds) == 20
        assert max(folds) / min(folds) >= 1000 * (1 - 1e-9)
        most.append(max(map(seeds.count, seeds)))
    assert most == [11, 9]
    assert find("11.dealing").truth == "about half"
    assert find("11.fold").truth == "1,000 or more"
    near(LAMBDAS[0] / LAMBDAS[-1], 10_000)
    found, losses = dealt_anew[3]
    near(found.best / nb11.best_for(losses, LAMBDAS), 5, relative=0.1)
    assert find("11.seeds").truth.startswith("not always")


@claim(
    "All three see the valley, within a step or two of the grid from where the unseen reviews "
    "have it",
    "*Leave-one-out* needed one fit for each λ; it leans to the left",
)
def three_judges_see_the_valley(judges, fit, grid):
    unseen = fit.path(grid).column("val_loss")
    best = grid[unseen.index(min(unseen))]
    for found in judges.values():
        assert best / 10.1 <= found.best <= best * 10.1 and not found.at_edge
    assert judges["leave-one-out"].best <= judges["cross-validation"].best


@claim("*Cross-validation* trained 15 times on 48 reviews")
def paths_of_cross_validation(judges, task):
    assert judges["cross-validation"].finished == 15 and task.samples - task.samples // 5 == 48


@claim(
    "cross-validation and leave-one-out promise too much",
    "a head that was fitted to all of them has seen every review that is left out",
)
def a_head_that_knows_the_labels_leaks(text, task, fit, judges, grid, linearize, select_lambda):
    before = [p.detach().clone() for p in task.module.parameters()]
    text.start_head(task, "probe", 0.1)
    few = copy.copy(task)  # the unseen reviews have no say here, and cost rows
    few.validation = {key: value[:4] for key, value in task.validation.items()}
    knows = linearize(few, groups={"head": ["classifier"]}, include_all=True)
    leaking = knows.fold_fit(regularizer={"head": "l2", "rest": "l2sp"})
    with torch.no_grad():
        for p, value in zip(task.module.parameters(), before, strict=True):
            p.copy_(value)
    unseen = fit.path(grid).column("val_loss")
    for by, name in (("cv", "cross-validation"), ("loo", "leave-one-out")):
        who = task.training["labels"] if by == "cv" else knows.samples
        options = {"seeds": range(3)} if by == "cv" else {}
        found = select_lambda(leaking, who, grid, by=by, **options)
        honest = judges[name]
        assert found.best_row.mean < honest.best_row.mean - 0.01
        assert found.best_row.mean < min(unseen)
