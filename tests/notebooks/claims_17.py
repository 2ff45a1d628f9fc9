"""What notebook 17 says, held in its kernel: the ledger's verdicts, and the numbers around them."""

from rlhf_course import recorded
from tools.claims import between, claim, near

SPEED = ("faster than gradient descent", "faster than Adam")


def said(book, name):
    return [c.says for c in book[name].comparisons]


def rows(book, name, *words):
    """The comparisons of a claim whose description has all of these words."""
    found = [c for c in book[name].comparisons if all(word in c.about for word in words)]
    assert found, f"{name} has no comparison with {words}"
    return found


@claim(
    "The verdicts below are computed from the records by this rule",
    "have measured for fifteen notebooks",
)
def every_verdict_is_the_rules(BOOK):
    from rlhf_course.claims import verdict

    assert len(BOOK) == 14
    for judged in BOOK.values():
        assert judged.verdict == verdict(judged.comparisons, judged.claim.quantifier)
        assert judged.comparisons


@claim(
    "Their mean gets Student's 95 % interval",
    "exceeds in size with a probability of 5 %: 12.7 for two values, 4.30 for three, 2.78 for "
    "five, 2.26 for ten",
)
def the_factors_are_students():
    from rlhf_course.verdicts.comparison import ALPHA, student

    near(ALPHA, 0.05)
    for n, t in ((2, 12.7), (3, 4.30), (5, 2.78), (10, 2.26)):
        near(student(1 - ALPHA, n - 1), t, relative=2e-3)


@claim(
    "a *margin* is stated beforehand: 0.02 nats, 0.1 decades, 0.01 of accuracy",
    "if the 90 % interval lies between $-$margin and $+$margin (two one-sided tests at 5 % each",
    "if the 95 % interval lies above 0",
    "each is tested at 5 %/$m$, and whenever one is decided the others share its part",
)
def the_margins_are_as_told():
    from rlhf_course.verdicts.comparison import MARGINS, Comparison, interval

    seeds = (0.001, 0.006, -0.002, 0.012)
    low, high = interval(seeds, 0.9)
    word = Comparison("", seeds, "", margin=1.001 * max(-low, high)).says
    assert word == "no difference" != Comparison("", seeds, "", margin=0.999 * max(-low, high)).says
    assert {unit: MARGINS[unit] for unit in ("nats", "decades", "accuracy")} == {
        "nats": 0.02,
        "decades": 0.1,
        "accuracy": 0.01,
    }


@claim("The study of speed looks after every five seeds", "at a cap of 40 seeds")
def the_looks_are_planned():
    from rlhf_course.studies.nb17_digits import LOOKS

    assert LOOKS == tuple(range(5, 45, 5))


@claim(
    "Each row has 1,000 such claims",
    "one seed's benefit is normal with a standard deviation of 1, the margin is 0.5, and the true "
    "benefit is 0, 1 or -1 of these deviations",
    "a benefit of a whole standard deviation in two comparisons is found in one claim out of six",
    "With twenty it is found nearly always. Nothing at all is called a benefit in hardly any "
    'claim, and with forty seeds the rule says "no difference" where it is true',
    "each is tested at about 1.8 %",
    "A benefit in both comparisons is then found nearly as surely as with twenty seeds, with "
    "fourteen on average",
)
def the_rule_errs_as_rarely_as_told():
    from rlhf_course.studies import nb17_rule as study
    from rlhf_course.verdicts.boundaries import levels

    assert study.REPEATS == 1000 and study.MARGIN == 0.5
    runs = {
        (run["settings"]["truth"], run["settings"]["quantifier"], *run["settings"]["looks"]): run
        for run in recorded("nb17_rule.json")["runs"]
        if run["settings"]["noise"] == "normal"
    }

    def share(word, *key):
        return runs[key]["result"]["shares"].get(word, 0.0)

    near(share("supported", "of 1 in two", "all", 5), 1 / 6, absolute=0.03)
    between(share("supported", "of 1 in two", "all", 20), 0.94, 1.0)
    between(share("supported", "of 1 in two", "all", *study.LOOKS), 0.9, 1.0)
    near(runs["of 1 in two", "all", *study.LOOKS]["result"]["mean_seeds"], 14, absolute=0.5)
    for plan in study.PLANS:
        between(share("supported", "nothing in two", "all", *plan), 0.0, 0.01)
    between(share("no difference", "nothing in two", "all", 40), 0.65, 0.8)
    for level in levels(study.LOOKS, 0.05):
        near(level, 0.018, absolute=0.001)


@claim(
    'Of the four claims that are *supported* two say "some" or "may"; the other two rest on a '
    "logistic regression, and on a small network and a BERT's top layer against plain gradient "
    "descent",
    "claims that *depend*, on the problem, the task, the operations of the model, and on the "
    "matrix or its products, and the one for which there is *not enough data*",
)
def what_is_supported_says_some(BOOK):
    words = [judged.verdict for judged in BOOK.values()]
    assert {w: words.count(w) for w in words} == {
        "supported": 4,
        "refuted": 4,
        "no difference": 1,
        "depends": 4,
        "not enough data": 1,
    }
    about = [j.claim.quantifier for j in BOOK.values() if j.verdict == "supported"]
    assert about.count("some") == 2
    for name in ("λ by cross-validation", "faster than gradient descent"):
        assert BOOK[name].verdict == "supported"


@claim(
    "A researcher looks after 5 seeds, and if the 95 % interval (1) holds 0, runs five more, and "
    "so on up to 20",
    "a few thousand researchers are enough to be within 0.01",
)
def a_few_thousand_are_enough():
    between(2 * (0.13 * 0.87 / 4000) ** 0.5, 0.009, 0.011)  # two standard errors of the share


@claim(
    "The one above leaks (row 17), tunes for another quantity than it is judged by, and peeked at "
    "seven seeds",
    "Its winner, 0.1, lies between 0.03 and 0.3",
)
def the_faulty_study_has_three_faults(PROTOCOL):
    p, tried = PROTOCOL, PROTOCOL["tried"]
    assert set(p["rows that select while tuning"]) & set(p["rows that test"]) == {17}
    assert set(p["looks taken"]) - set(p["planned looks"]) == {7}
    assert p["tuned for"] != p["judged by"] and min(tried, key=tried.get) == 0.1
    assert sorted(tried)[1:] == [0.03, 0.1, 0.3]


@claim("Commit yourself before you scroll")
def the_predictions_have_the_right_answers(BOOK, nb17):
    from rlhf_course.checking.predictions import find

    for name, of in (
        ("17.adam", "faster than Adam"),
        ("17.second_order", nb17.SECOND_ORDER),
        ("17.cross_validation", nb17.CROSS_VALIDATION),
    ):
        assert find(name).truth == BOOK[of].verdict


@claim("Each row is a comparison; the dots are its seeds (or rounds of a benchmark)")
def every_row_has_a_name_of_its_own(BOOK, nb17):
    for judged in BOOK.values():
        assert len(nb17.scaled(judged)) == len(judged.comparisons)
    for names in (
        SPEED,
        ("less overfitting by second order", "less overfitting by L1"),
        ("other regularizers do better", "dropout and L2 help little"),
        ("every pre-trained model", "classification, entities, questions", "λ by cross-validation"),
    ):
        shown = [nb17.named(c) for name in names for c in BOOK[name].comparisons]
        assert len(set(shown)) == len(shown)
        assert max(map(len, shown)) <= 38


@claim(
    "RLHF's gap is five times smaller at equal gradients (0.7 decades), and nearly twice at equal "
    "seconds; on BERT half as large by either",
    "All of it stands beyond chance: *supported*",
    "RLHF's gap on the digits is more than twice as large at equal gradients (about 0.35 decades), "
    "in every seed.",
    "At equal seconds there is *no difference* that matters",
    "RLHF's gap is smaller by a quarter at equal gradients and by nearly a third at equal seconds, "
    "beyond chance, five seeds",
    "Two rows for it, one against, one without a difference: *depends*, on the problem",
    "RLHF's search went on for four times as many values as Adam's, down to a damping of next to "
    "nothing",
    "A constant rate costs Adam a good third of its lead on the digits",
    "on the digits its gap is ten times smaller than RLHF's at equal seconds, and on BERT its mean "
    "is ahead of RLHF's, too",
    "on the digits 60 gradients of the training set, or 0.3 seconds of one thread; for BERT 30, or "
    "9",
    "128 reviews with a fifth of the labels wrong, and the objective that this course recommends, "
    "L2-SP with λ = 0.5",
)
def speed_is_as_told(BOOK):
    from rlhf_course.experiments import nb17_reviews_race as bert
    from rlhf_course.studies import nb17_digits, nb17_reviews

    assert nb17_digits.BUDGETS["gradients"] == 60 and nb17_digits.BUDGETS["seconds"] == 0.3
    assert nb17_reviews.BUDGETS == {"gradients": 30, "seconds": 9} and nb17_reviews.LAMBDA == 0.5
    assert (bert.SENTENCES, bert.NOISE) == (128, 0.2)
    assert [BOOK[name].verdict for name in SPEED] == ["supported", "depends"]
    descent = rows(BOOK, SPEED[0], "against gradient descent")
    assert [c.says for c in descent] == ["for"] * 4
    gradients, seconds, *others = descent
    near(gradients.mean, 0.7, absolute=0.05)
    between(10**seconds.mean, 1.6, 2.0)
    for row in others:
        near(10**-row.mean, 0.5, absolute=0.08)
    adam = rows(BOOK, SPEED[1], "against Adam with decay")
    assert [c.says for c in adam] == ["against", "no difference", "for", "for"]
    near(adam[0].mean, -0.36, absolute=0.04)
    assert max(adam[0].benefits) < 0 and {len(c.benefits) for c in adam[2:]} == {5}
    near(10 ** -adam[2].mean, 0.75, absolute=0.03)
    near(10 ** -adam[3].mean, 0.69, absolute=0.03)
    constant = rows(BOOK, SPEED[1], "against Adam,", "equal gradients")[0]
    between(1 - constant.mean / adam[0].mean, 0.35, 0.5)
    digits, there = rows(BOOK, SPEED[1], "L-BFGS", "seconds")
    near(digits.mean, -1.0, absolute=0.1)
    assert there.mean < 0 > rows(BOOK, SPEED[1], "BERT", "L-BFGS", "gradients")[0].mean
    document = recorded("nb17_reviews.json")
    tried = nb17_reviews.STUDY.search.effort(document)
    chosen = nb17_reviews.STUDY.chosen(document)
    for unit in ("gradients", "seconds"):
        near(tried[f"RLHF, {unit}"] / tried[f"Adam with decay, {unit}"], 4, absolute=0.7)
        assert chosen[f"RLHF, {unit}"]["damping"] < 1e-3


@claim(
    "On the same reviews, tuned for the test loss, the two end level (below)",
    "L-BFGS was behind RLHF nowhere",
    "behind on the digits at equal gradients, ahead on a BERT's top layer by either price",
)
def faster_down_is_not_better(BOOK):
    (reviews,) = rows(BOOK, "less overfitting by second order", "reviews")
    assert reviews.says == "no difference"
    assert all(c.says != "for" for c in rows(BOOK, SPEED[1], "L-BFGS"))


@claim(
    "the top layer of BERT, 128 sentences, with right labels and with a fifth of them wrong; ten "
    "gradients for everybody, from one probe",
    "Nothing here has more than 22.7 million weights",
)
def the_data_are_as_told():
    from rlhf_course.experiments import nb12_cures
    from rlhf_course.studies import nb12_reviews, nb12_sst2

    assert (nb12_cures.SENTENCES, nb12_cures.BUDGET) == (128, 10)
    assert (nb12_sst2.CURES.noise, nb12_reviews.CURES.noise) == (0.0, 0.2)
    h, f, layers = 384, 1536, 6
    layer = 4 * (h * h + h) + 2 * h + 2 * h * f + f + h + 2 * h
    near((30_522 + 512 + 2) * h + 2 * h + layers * layer + h * h + h, 22.7e6, relative=1e-3)


@claim(
    "On SST-2 and on the reviews RLHF without a penalty, tuned at one price, ends within 0.01 nats "
    "of AdamW, and the intervals say *no difference*.",
    "On the digits it ends about 0.01 nats below AdamW, and the interval reaches three hundredths "
    "of a nat to either side.",
    "all are tested on the same 400 images, whose luck is more than twice that of the seeds",
    "So that study ended at its second look",
    "it does not know that the valley belongs to 400 images",
    "L-BFGS, the fastest of all, ends more than a nat above RLHF",
)
def second_order_alone_makes_no_difference(BOOK):
    from rlhf_course.experiments.nb17_race import SAMPLES
    from rlhf_course.studies import nb17_digits
    from rlhf_course.verdicts.comparison import variance

    judged = BOOK["less overfitting by second order"]
    adamw, _, lbfgs, film, reviews = judged.comparisons
    assert judged.verdict == "refuted" and adamw.says == "open"
    assert film.says == reviews.says == "no difference"
    assert max(abs(film.mean), abs(reviews.mean)) < 0.01
    near(adamw.mean, 0.01, absolute=0.005)
    near(adamw.mean - adamw.interval[0], 0.03, absolute=0.005)
    assert len(adamw.by_item) == SAMPLES == 400
    seeds, items = (variance(some) / len(some) for some in (adamw.benefits, adamw.by_item))
    between((items / seeds) ** 0.5, 2, 4)
    assert lbfgs.interval[0] > 1
    looks = nb17_digits.STUDY.looked(recorded("nb17_digits.json"))
    assert len(looks) == 2 and "no number" in looks[-1].ends


@claim(
    "L1 makes no difference that matters against no penalty, and on SST-2 none against AdamW; on "
    "the reviews its mean lies a hundredth of a nat below AdamW's, which decides nothing",
    "the search gave L1 a damping of 100",
    "L1 towards zero, tuned at one price, made no difference that matters",
)
def l1_makes_no_difference(BOOK):
    from rlhf_course.studies import nb12_reviews, nb12_sst2

    name = "less overfitting by L1"
    assert BOOK[name].verdict == "refuted"
    assert [c.says for c in rows(BOOK, name, "against none")] == ["no difference"] * 2
    film, reviews = rows(BOOK, name, "against AdamW")
    assert (film.says, reviews.says) == ("no difference", "open")
    near(reviews.mean, 0.01, absolute=0.002)
    for study, file in ((nb12_sst2, "nb12_sst2.json"), (nb12_reviews, "nb12_reviews.json")):
        assert study.STUDY.chosen(recorded(file))["rlhf l1"]["damping"] == 100


@claim(
    "A pull to the pre-trained weights, by squares on both data sets or by moduli on the reviews, "
    "ends within 0.02 nats of L1, and the intervals say so."
)
def no_pull_is_ahead_of_another(BOOK):
    judged = BOOK["other regularizers do better"]
    assert judged.verdict == "no difference"
    assert [c.says for c in judged.comparisons] == ["no difference"] * 3


@claim("take practically all of it away", "dropout 0.8 and decay 100, as notebook 12 shows")
def dropout_and_decay_help(BOOK):
    judged = BOOK["dropout and L2 help little"]
    assert judged.verdict == "refuted"
    # Half of the rise is a tenth of a nat: a cure that takes all away lies so far below the middle.
    for row in judged.comparisons:
        assert row.says == "against"
        between(row.mean, -0.14, -0.1)


@claim(
    "Six families, as tiny models with random weights (a few thousand) and 12 reviews: the "
    "products agree with differences of gradients to a millionth, and RLHF steps lower the loss",
    'One "against" among six "for" makes *depends*',
)
def six_families_and_one_refusal(BOOK):
    from rlhf_course.studies import nb17_models

    assert len(nb17_models.FAMILIES) == 6 and nb17_models.TEXTS == 12
    assert said(BOOK, "every pre-trained model") == ["for"] * 6 + ["against"]
    found = [run["result"] for run in recorded("nb17_models.json")["runs"]]
    assert max(r["product_error"] for r in found if "train_loss" in r) <= 1e-6
    between(min(r["parameters"] for r in found), 1_000, 20_000)
    between(max(r["parameters"] for r in found), 1_000, 20_000)


@claim(
    "The entities end 0.04 nats below a probe of the frozen model, and the questions, which have "
    "no probe, below their start, both beyond chance. On sentiment there is *no difference* to the "
    "probe.",
    "So the claim *depends* on the task",
    "no difference that matters where ten seeds tell",
    "And F1 stays far from useful on forty sentences and sixteen questions",
)
def three_tasks_ran(BOOK):
    name = "classification, entities, questions"
    assert BOOK[name].verdict == "depends"
    (sentiment,) = rows(BOOK, name, "sentiment", "the probe")
    (entities,) = rows(BOOK, name, "entities", "the probe")
    (questions,) = rows(BOOK, name, "questions", "before less after")
    assert [c.says for c in (sentiment, entities, questions)] == ["no difference", "for", "for"]
    near(entities.mean, 0.04, absolute=0.002)
    beside = rows(BOOK, name, "against AdamW")
    assert not any(c.primary for c in beside) and len(beside) == 3
    assert {c.says for c in beside} == {"no difference", "open"}
    assert all(len(c.benefits) == 10 for c in BOOK[name].comparisons)
    from rlhf_course.experiments.nb13_tasks import TASKS

    assert (TASKS["entities"].n, TASKS["questions"].n) == (40, 16)


@claim(
    "In a logistic regression on 60 rows with wrong labels (no BERT) cross-validation is far "
    "ahead of next to no penalty",
    "The draws share the 569 rows of one data set",
    "A single held-out fifth costs a fifth of the fits and chooses worse, by 0.04 nats. Ten seeds "
    "had said nothing about that; a fit takes milliseconds, so there are three hundred",
)
def cross_validation_beats_none_and_one_split(BOOK):
    from rlhf_course.studies import nb17_lambda

    assert nb17_lambda.TRAINING == 60 and nb17_lambda.FOLDS == 5 and nb17_lambda.ROWS == 569
    none, split = BOOK["λ by cross-validation"].comparisons
    assert len(none.benefits) == len(split.benefits) == 300
    assert none.says == split.says == "for" and none.mean > 0.5
    near(split.mean, 0.04, absolute=0.005)
    from rlhf_course.claims import interval

    low, high = interval(split.benefits[:10])
    between(0.0, low, high)  # open, as ten seeds had left it


@claim(
    "BERT-base's would need 48 petabytes",
    "A *product* with it costs little more than two gradients",
)
def the_matrix_is_out_of_reach_and_its_products_are_not(BOOK):
    from rlhf_course.claims.cost import BERT_BASE

    near(4 * BERT_BASE**2 / 1e15, 48, relative=0.01)
    matrix, product = BOOK["cost is the obstacle"].comparisons
    assert matrix.says == "for" and product.says == "against"
    between(10 * 10**product.mean, 2, 2.5)


@claim(
    "With two classes and 64 samples the solve in sample space (notebook "
    "[07](07_gauss_newton.ipynb)) costs a quarter to a third of conjugate gradients, to the "
    "same residual",
    "(Two rounds of a benchmark make the interval.)",
    "In training on the digits, with ten classes and 250 samples, one such step costs more than "
    "the whole budget",
)
def cheaper_methods_depend(BOOK):
    name = "cheaper second-order methods"
    solves = rows(BOOK, name, "one solve")
    assert [len(c.benefits) for c in solves] == [2, 2] and "64" in solves[0].about
    for c in solves:
        between(10**-c.mean, 0.22, 0.36)
    assert rows(BOOK, name, "digits")[0].says == "against"
    (task,) = [t for t in recorded("benchmarks/training.json")["tasks"] if t["name"] == "digits"]
    (method,) = [m for m in task["methods"] if m["method"] == "RLHF, sample space"]
    assert all(run["cost"][1] > task["budget"] for run in method["runs"])


@claim(
    "8 bits a weight lose nothing that three seeds could show",
    "Half of the weights, chosen by curvature, or half of the neurons lose so little that three "
    "seeds cannot say on which side of our limit; chosen by size they lose about three times the "
    "limit.",
    "Whether a teacher helps a student, there is *not enough data* to tell.",
)
def smaller_models_lose_little(BOOK):
    bits, curvature, size, neurons = BOOK["compression"].comparisons
    near(0.02 - bits.mean, 0, absolute=0.005)
    assert curvature.says == neurons.says == "open" and curvature.mean > 0 < neurons.mean
    assert size.says == "against"
    near(0.02 - size.mean, 0.06, absolute=0.01)
    assert [c.says for c in BOOK["distillation"].comparisons] == ["open", "open"]
    assert BOOK["distillation"].verdict == "not enough data"


@claim(
    "$\\sum|\\theta|$ has no second derivative to put into a Hessian",
    "its step is off Newton's by most of that step's length, where our limit was a tenth",
)
def the_sketch_is_off(BOOK):
    from rlhf_course.claims.sketch import CLOSE

    second, step = BOOK["the code sketch"].comparisons
    assert second.exact and second.says == step.says == "against"
    near(CLOSE, 0.1)
    between(CLOSE * 10**-step.mean, 0.5, 1.0)


@claim(
    "A run here has 60 gradients, as the record has; it repeats *one* row of the claim's, with "
    "other seeds",
    "Five of the claims can be tested in seconds",
    'Against a tuned Adam your seeds will say "against", as the record does',
)
def a_retest_is_a_row_of_the_record(RETESTS):
    from rlhf_course.experiments.nb17_retest import BUDGET

    assert BUDGET == 60 and len(RETESTS) == 5


@claim(
    'Against PyTorch\'s default learning rate they say "for", all of them',
    "Other seeds, beginning with 30",
)
def an_untuned_adam_loses_and_a_tuned_one_does_not(again_rows):
    mean, _, high = again_rows["faster than Adam, tuned"]
    between(mean, -0.5, -0.2)
    assert high < 0
    assert again_rows["faster than Adam, torch's default"][1] > 0.2
    assert again_rows["λ by cross-validation"][1] > 0
    assert again_rows["every pre-trained model"][1] > 0
    assert again_rows["the code sketch"][2] < 0


@claim(
    "Each verdict may err in 5 % of the cases, so that among fourteen one error would be no "
    "surprise",
    "four in ten of the comparisons train the top layer alone",
)
def four_in_ten_comparisons_train_the_top_layer(BOOK, comparisons):
    everything = [(name, c) for name, judged in BOOK.items() for c in judged.comparisons]
    assert comparisons == len(everything)
    assert len(BOOK) == 14
    sets = ("reviews", "SST-2")
    top = [
        c
        for name, c in everything
        if name == "classification, entities, questions" or c.about.startswith(sets)
    ]
    between(len(top) / len(everything), 0.37, 0.43)
