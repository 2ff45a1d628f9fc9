"""The ledger: complete claims, sources that exist, and verdicts that follow from the numbers."""

import copy
import json
import math

import numpy as np
import pytest
from scipy import stats

from rlhf_course import SERIES
from rlhf_course.claims import CLAIMS, Comparison, interval, judge, ledger, student, verdict
from rlhf_course.claims.claim import LIVE, load
from rlhf_course.claims.cost import PRODUCTS
from rlhf_course.recorded import FOLDER
from rlhf_course.studies import nb17_digits
from rlhf_course.verdicts.boundaries import levels
from rlhf_course.verdicts.rule import holm, more_seeds, seeds_to_decide

BY_NAME = {claim.name: claim for claim in CLAIMS}
WORDS = {"supported", "refuted", "no difference", "depends", "not enough data", "not recorded yet"}


def plain(*benefits, **more):
    return Comparison("a test", benefits, "nats", **more)


FOR, AGAINST, OPEN = plain(1.0, 1.02, 0.98), plain(-1.0, -1.02, -0.98), plain(1.0, -1.1, 0.2)
SAME = plain(0.001, -0.001, 0.0005)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_students_quantile_is_that_of_the_closed_forms_and_of_the_tables(level):
    assert student(level, 1) == pytest.approx(math.tan(math.pi * level / 2), rel=1e-9)
    assert student(level, 2) == pytest.approx(level * math.sqrt(2 / (1 - level**2)), rel=1e-9)
    printed = {3: 3.182, 4: 2.776, 9: 2.262, 30: 2.042}
    for freedom, value in printed.items():
        assert student(0.95, freedom) == pytest.approx(value, abs=6e-4)


def test_the_interval_is_scipys():
    values = [0.3, -0.1, 0.25, 0.9, 0.4]
    expected = stats.t.interval(0.95, 4, sum(values) / 5, stats.sem(values))
    assert interval(values) == pytest.approx(expected, rel=1e-9)


def test_one_seed_and_numbers_that_are_not_finite_say_nothing():
    assert interval([1.0]) == interval([1.0, math.inf]) == (-math.inf, math.inf)
    assert plain(1.0).says == "open" and plain(1.0, exact=True).says == "for"
    assert plain(0.3, 0.3, 0.3).says == "open" and plain(0.0, 0.0).says == "no difference"
    with pytest.raises(ValueError, match="at least one"):
        interval([])


@pytest.mark.parametrize(
    ("comparisons", "word"),
    [
        ([], "not tested not tested"),
        ([FOR, FOR], "supported supported"),
        ([SAME, SAME], "no difference no difference"),
        ([AGAINST], "refuted refuted"),
        ([AGAINST, SAME], "refuted refuted"),
        ([AGAINST, OPEN], "refuted not enough data"),
        ([OPEN], "not enough data not enough data"),
        ([FOR, OPEN], "not enough data supported"),
        ([FOR, AGAINST], "depends supported"),
        ([FOR, OPEN, SAME], "depends supported"),
    ],
)
def test_the_word_follows_from_what_all_or_some_comparisons_say(comparisons, word):
    assert f"{verdict(comparisons, 'all')} {verdict(comparisons, 'some')}" == word
    if comparisons:  # shown beside, but not judged
        beside = plain(-1.0, -1.02, -0.98, primary=False)
        assert verdict([*comparisons, beside]) == verdict(comparisons)
    with pytest.raises(ValueError, match="quantifier"):
        verdict([FOR], "most")


def test_no_difference_is_two_one_sided_tests_at_the_margin():
    values = [0.004, -0.002, 0.006, 0.001, 0.003]
    t = stats.ttest_1samp
    worse = max(
        t(values, -0.02, alternative="greater").pvalue, t(values, 0.02, alternative="less").pvalue
    )
    assert plain(*values).says_at(1.01 * worse) == "no difference"
    assert plain(*values).says_at(0.99 * worse) != "no difference"
    assert plain(*values, margin=0.0).says != "no difference"


def test_holms_procedure_is_statsmodels_step_down():
    # By hand: sorted p-values against alpha / m, alpha / (m - 1), ... until the first that fails.
    rows = [plain(*(shift + x for x in (-0.3, 0.1, 0.2, 0.4, -0.4))) for shift in (0.6, 0.5, 0.32)]
    ps = [stats.ttest_1samp(row.benefits, 0.0).pvalue for row in rows]
    rejected, order = set(), sorted(range(3), key=ps.__getitem__)
    for alpha in (0.02, 0.05, 0.1, 0.2):
        rejected.clear()
        for step, i in enumerate(order):
            if ps[i] > alpha / (3 - step):
                break
            rejected.add(i)
        assert {i for i, word in enumerate(holm(rows, alpha)) if word == "for"} == rejected


def test_planned_looks_spend_what_is_published_and_err_as_planned():
    # Lan-DeMets with Pocock's spending function, five equal looks, two-sided 5 %.
    printed = (2.438, 2.427, 2.410, 2.397, 2.386)
    found = [stats.norm.isf(p / 2) for p in levels((1000, 2000, 3000, 4000, 5000), 0.05)]
    assert found == pytest.approx(printed, abs=2e-3)
    walks = np.random.default_rng(0).standard_normal((20_000, 20)).cumsum(1)
    looks = (5, 10, 15, 20)
    bounds = [
        stats.norm.isf(p / 2) * math.sqrt(n)
        for p, n in zip(levels(looks, 0.05), looks, strict=True)
    ]
    crossed = (np.abs(walks[:, [n - 1 for n in looks]]) > bounds).any(1)
    assert crossed.mean() == pytest.approx(0.05, abs=5 * math.sqrt(0.05 * 0.95 / len(walks)))
    for wrong in ((), (5, 5), (1, 2)):
        with pytest.raises(ValueError, match="growing"):
            levels(wrong, 0.05)


def test_an_early_look_has_a_wider_interval():
    values = (0.2, 0.5, 0.1, 0.4, 0.3)
    one, planned = plain(*values), plain(*values, looks=(5, 10))
    assert planned.interval[0] < one.interval[0] and planned.interval[1] > one.interval[1]
    with pytest.raises(ValueError, match="at least 10 seeds"):
        plain(*values, looks=(10, 20)).interval  # noqa: B018


def test_shared_test_items_widen_the_interval_by_their_variance():
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(400):  # crossed effects of 10 seeds and 50 items; the mean's truth is 0
        table = random.standard_normal((10, 1)) + 3 * random.standard_normal((1, 50))
        table = table + random.standard_normal((10, 50))
        low, high = interval(list(table.mean(1)), by_item=list(table.mean(0)))
        covered += low <= 0 <= high
    assert covered / 400 == pytest.approx(0.95, abs=0.03)


def test_the_seeds_that_are_said_to_decide_do():
    random = np.random.default_rng(2)
    first = plain(*random.normal(0.3, 1.0, 6))
    n = seeds_to_decide(first)
    assert n == more_seeds([first, FOR]) and n > 6
    mean, deviation = first.mean, np.std(first.benefits, ddof=1)
    decided = sum(plain(*random.normal(mean, deviation, n)).says != "open" for _ in range(300))
    assert decided / 300 > 0.8  # the spread that was reckoned with is larger
    assert seeds_to_decide(FOR) is None and more_seeds([FOR]) is None
    assert seeds_to_decide(plain(*first.benefits, by_item=(1.0, -1.0, 0.5))) is None


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.name)
def test_a_claim_has_all_its_fields(claim):
    for field in ("name", "words", "test", "data", "baselines"):
        assert len(getattr(claim, field)) > 5, field
    names = {notebook.name for notebook in SERIES}
    assert claim.shown_in and set(claim.shown_in) <= names
    assert claim.sources


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.name)
def test_its_sources_exist_and_say_how_they_were_made(claim):
    for source in claim.sources:
        if source.file == LIVE:
            continue
        document = load(source.file)
        assert document is not None, source.file
        if not source.file.startswith("benchmarks"):
            assert {"command", "device", "date", "version", "runs"} <= set(document)
        else:
            assert {"date", "device", "versions"} <= set(document)


def test_names_are_different():
    assert len(BY_NAME) == len(CLAIMS)


@pytest.fixture(scope="module")
def today():
    return {judged.claim.name: judged for judged in ledger()}


@pytest.mark.parametrize("name", BY_NAME)
def test_its_verdict_is_the_rules(today, name):
    judged = today[name]
    assert judged.verdict in WORDS
    if judged.comparisons:
        assert judged.verdict == verdict(judged.comparisons, judged.claim.quantifier)
        assert all(len(c.benefits) > 1 or c.exact for c in judged.comparisons)
        assert all(map(math.isfinite, (b for c in judged.comparisons for b in c.benefits)))
    else:
        assert judged.verdict == "not recorded yet" and judged.missing
    assert judged.claim.words in str(judged) and judged.verdict in str(judged)


def planted(file, change):
    """The file with other numbers in it."""
    document = copy.deepcopy(load(file))
    change(document)
    return {file: document}


def test_other_curves_change_the_verdict_on_speed():
    claim = BY_NAME["faster than Adam"]

    def worse(method):
        def change(document):
            for run in document["runs"]:
                judges = run["settings"]["seed"] in nb17_digits.SEEDS
                if judges and run["settings"]["method"] == method:
                    run["result"]["objective"][-1] *= 3 + 0.01 * run["settings"]["seed"]

        return change

    digits, bert = "nb17_digits.json", "nb17_reviews.json"
    ours, theirs = worse(nb17_digits.RLHF), worse(nb17_digits.DECAYED)
    assert judge(claim).verdict == "depends"
    for changed, word in (
        (planted(digits, theirs), "supported"),
        (planted(digits, ours), "depends"),
        (planted(digits, ours) | planted(bert, ours), "refuted"),
        (planted(digits, theirs) | planted(bert, ours), "depends"),
    ):
        judged = judge(claim, changed)
        assert judged.verdict == word and "as tested on one small network" in str(judged)


def test_a_dear_product_makes_cost_the_obstacle():
    def change(document):
        for problem in document["problems"]:
            for result in problem["results"]:
                for timing in result["timings"]["cpu-1"].values():
                    timing["least"] *= 100
                    timing["most"] *= 100

    claim = BY_NAME["cost is the obstacle"]
    assert judge(claim).verdict == "depends"
    assert judge(claim, planted(PRODUCTS, change)).verdict == "supported"


def test_models_that_all_learn_make_the_method_general():
    claim, file = BY_NAME["every pre-trained model"], "nb17_models.json"

    def mend(document):
        for run in document["runs"]:
            loss = 0.5 + 0.01 * run["settings"]["seed"]
            run["result"] = {"product_error": 1e-12, "train_loss": [1.0, loss]}

    def spoil(document):
        for run in document["runs"]:
            run["result"] = {"product_error": 0.1, "train_loss": [1.0, 0.5]}

    assert judge(claim).verdict == "depends"
    assert judge(claim, planted(file, mend)).verdict == "supported"
    assert judge(claim, planted(file, spoil)).verdict == "refuted"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.name)
def test_what_is_not_recorded_is_said_and_raises_nothing(claim, monkeypatch):
    monkeypatch.setattr("rlhf_course.claims.claim.load", lambda file: None)
    judged = judge(claim)
    assert judged.verdict == "not recorded yet" and judged.comparisons == ()


@pytest.mark.parametrize(
    "file", sorted({s.file for c in CLAIMS for s in c.sources if s.file.startswith("nb")})
)
def test_a_record_that_has_only_begun_raises_nothing(file):
    document = load(file) or {}
    for claim in CLAIMS:
        judge(claim, {file: document | {"runs": []}})


@pytest.mark.parametrize(
    "name, file, method",
    [
        ("less overfitting by L1", "nb12_sst2.json", "rlhf l1"),
        ("dropout and L2 help little", "nb12_reviews.json", "adamw dropout"),
    ],
)
def test_without_one_run_that_tunes_no_value_is_chosen(name, file, method):
    seed = load(file)["runs"][0]["settings"]["seed"]  # what tunes comes first

    def drop(document):
        lost = next(
            run
            for run in document["runs"]
            if (run["settings"]["method"], run["settings"]["seed"]) == (method, seed)
        )
        document["runs"].remove(lost)

    before, after = judge(BY_NAME[name]), judge(BY_NAME[name], planted(file, drop))
    assert len(after.comparisons) < len(before.comparisons) and not before.missing
    assert any(what.startswith(file) and method in what for what in after.missing)


def test_another_least_of_the_tuning_runs_makes_the_search_go_on():
    file, claim = "nb17_digits.json", BY_NAME["faster than Adam"]

    def change(document):
        tried = [
            run
            for run in document["runs"]
            if run["settings"]["method"] == nb17_digits.DECAYED
            and run["settings"]["for"] == "gradients"
            and run["settings"]["seed"] in nb17_digits.TUNING_SEEDS
        ]
        farthest = max(run["settings"]["rate"] for run in tried)
        for run in tried:
            if run["settings"]["rate"] == farthest:
                run["result"]["objective"][-1] = 0.0

    judged = judge(claim, planted(file, change))
    assert any("Adam with decay, gradients" in m and "not ended" in m for m in judged.missing)
    assert judged.comparisons and all("BERT" in c.about for c in judged.comparisons)


def no_number(word):
    raise ValueError(f"{word} is no JSON: record null")


def test_records_are_small_and_have_a_run_on_each_line():
    for path in FOLDER.glob("nb*.json"):
        text = path.read_text(encoding="utf-8")
        document = json.loads(text, parse_constant=no_number)
        assert text.count("\n") == len(document["runs"]) + 1
        assert len(text) < 500_000
