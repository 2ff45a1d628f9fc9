"""Choosing lambda: the table of scikit-learn, the rule by hand, resuming, workers, nesting."""

import inspect
import math
import re
from functools import partial

import distributed
import joblib
import numpy as np
import pytest
import torch
from cases import randn
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score

from rlhf_lib.interrupt import Interrupted, interruptible
from rlhf_lib.select import LambdaSearch, nested_select_lambda, select_lambda, stratified_folds
from rlhf_lib.select.result import LambdaPath, LambdaSelection, one_standard_error, standard_error

pytestmark = pytest.mark.long

LAMBDAS = [10.0**k for k in (-3, -2, -1, 0, 1)]
X = randn(60, 12, seed=1)
Y = X[:, 0] - X[:, 1] + 2 * randn(60, seed=2)


def ridge(train, validation, lambdas, seed, calls=None):
    """Ridge in closed form; the objective is |Xw - y|^2 / 2n + lambda |w|^2 / 2."""
    a, b = X[train], Y[train]
    for value in lambdas:
        if calls is not None:
            calls.append((seed, tuple(validation.tolist()), value))
        eye = torch.eye(X.shape[1], dtype=X.dtype)
        w = torch.linalg.solve(a.T @ a / len(a) + value * eye, a.T @ b / len(a))
        yield {"loss": float((X[validation] @ w - Y[validation]).square().mean())}


def as_sklearn(value, samples):
    return Ridge(alpha=value * samples, fit_intercept=False, solver="cholesky")


def same(a, b):
    assert a.paths == b.paths and (a.best, a.chosen) == (b.best, b.chosen)


def test_ridge_gives_the_scores_of_scikit_learn():
    found = select_lambda(ridge, 60, LAMBDAS, folds=5, seeds=(3,))
    cv = [(t.numpy(), v.numpy()) for t, v in stratified_folds(60, 5, 3)]
    for i, value in enumerate(found.lambdas):
        scores = cross_val_score(
            as_sklearn(value, 48), X.numpy(), Y.numpy(), cv=cv, scoring="neg_mean_squared_error"
        )
        np.testing.assert_allclose(found.rows[i].scores, -scores, rtol=1e-10)
    grid = GridSearchCV(
        as_sklearn(1.0, 1),
        {"alpha": [48 * v for v in LAMBDAS]},
        cv=cv,
        scoring="neg_mean_squared_error",
    ).fit(X.numpy(), Y.numpy())
    assert found.best_row.mean == pytest.approx(-grid.best_score_, rel=1e-10)
    assert grid.best_params_["alpha"] == pytest.approx(48 * found.best)
    np.testing.assert_allclose(
        [r.mean for r in found.rows][::-1], -grid.cv_results_["mean_test_score"], rtol=1e-10
    )


def test_standard_error_and_rule_by_hand():
    # Two folds: sd of (1, 3) is sqrt 2, over sqrt 2 folds it is 1; of (2, 2) it is 0.
    assert standard_error([0, 0], [1.0, 3.0]) == pytest.approx(1)
    assert standard_error([0, 0, 1, 1], [1.0, 3.0, 2.0, 2.0]) == pytest.approx(math.sqrt(0.5))
    assert math.isnan(standard_error([0, 1], [1.0, 3.0]))
    lambdas, means = [8.0, 4.0, 2.0, 1.0], [2.05, 1.9, 1.0, 1.5]
    assert one_standard_error(lambdas, means, [9, 9, 1.0, 9]) == 4  # the best one's error counts
    assert one_standard_error(lambdas, means, [0, 0, 1.05, 0]) == 8  # "at most" includes it
    assert one_standard_error(lambdas, means, [9, 9, math.nan, 9]) == 2
    assert one_standard_error([2.0, 1.0], [1.0, 1.0], [0, 0]) == 2  # a tie: the simpler model
    assert one_standard_error([2.0, 1.0], [math.nan, 1.0], [9, 9]) == 1
    with pytest.raises(ValueError, match="diverged"):
        one_standard_error([2.0, 1.0], [math.nan, math.inf], [0, 0])


def test_the_table_of_a_selection_by_hand():
    paths = (
        LambdaPath(0, 0, ({"loss": 1.0, "accuracy": 0.6}, {"loss": 2.0, "accuracy": 0.9})),
        LambdaPath(0, 1, ({"loss": 3.0, "accuracy": 0.8}, {"loss": 1.0, "accuracy": 0.5})),
    )
    found = LambdaSelection((2.0, 1.0), paths, 2, 2)
    assert [r.mean for r in found.rows] == [2.0, 1.5]
    assert [r.standard_error for r in found.rows] == pytest.approx([1.0, 0.5])
    assert (found.best, found.chosen, found.at_edge) == (1.0, 2.0, True)
    assert found.bands()["high"] == pytest.approx([3.0, 2.0])
    assert [r.mean for r in found.table("accuracy")] == pytest.approx([0.7, 0.7])
    highest = LambdaSelection((2.0, 1.0), paths, 2, 2, "min", "accuracy", maximize=True)
    assert highest.chosen == 2.0
    assert re.search(r"2 +2\.0000 +1\.0000 +chosen \(1se\)", str(found))
    with pytest.raises(ValueError, match="loss, accuracy, got 'f1'"):
        found.table("f1")


def test_a_fit_that_diverged_cannot_win():
    def fit(train, validation, lambdas, seed):
        return [1.0, 0.5, math.nan]

    found = select_lambda(fit, 10, [1.0, 0.1, 0.01], folds=2)
    assert found.best == 0.1 and math.isnan(found.rows[2].mean)


@pytest.mark.parametrize("large", [1e160, 1.7e308, -1e200])
def test_a_huge_loss_overflows_nothing(large, tmp_path):
    def fit(train, validation, lambdas, seed):
        return [large * (1 - 0.5 * int(validation[0] > 0)), 1.0]

    for _ in range(2):  # computed, and from the file
        found = select_lambda(fit, 10, [1.0, 0.1], folds=2, resume=tmp_path / "a")
    assert found.rows[0].mean == pytest.approx(0.75 * large)
    assert found.rows[0].standard_error == pytest.approx(0.25 * abs(large))
    assert found.best == (0.1 if large > 0 else 1.0) and str(found)


def test_a_row_that_is_no_path_of_the_search_is_computed_again(tmp_path):
    path, calls = tmp_path / "a", []
    whole = select_lambda(ridge, 60, LAMBDAS, folds=4, resume=path)
    header, first, second, third, fourth = path.read_text().splitlines(keepends=True)
    first = first.replace("0", "true", 1)
    second = '{"seed": 0, "fold": 4, "scores": ' + str([{"loss": 1}] * 5).replace("'", '"') + "}\n"
    third = third.replace(": [{", ": [[], {", 1)
    path.write_text(header + first + second + third + fourth * 2)
    with pytest.warns(UserWarning, match="line 2, 3, 4 is damaged"):
        same(select_lambda(partial(ridge, calls=calls), 60, LAMBDAS, folds=4, resume=path), whole)
    assert len(calls) == 3 * len(LAMBDAS)


def test_groups_are_never_on_both_sides_also_within_outer_folds(tmp_path):
    groups, seen = torch.arange(24) // 3, []

    def fit(train, validation, lambdas, seed):
        seen.append(set(groups[train].tolist()) & set(groups[validation].tolist()))
        return [1.0] * len(lambdas)

    asked = (fit, [0, 1] * 12, [1.0, 0.1])
    select_lambda(*asked, folds=4, groups=groups, resume=tmp_path / "a")
    nested_select_lambda(*asked, folds=2, outer_folds=4, groups=groups.numpy())
    assert len(seen) == 4 + 4 * 3 and not any(seen)
    with pytest.raises(ValueError, match="groups is"):
        select_lambda(*asked, folds=4, resume=tmp_path / "a")


def test_paths_go_from_large_to_small_or_start_afresh():
    seen = []

    def fit(train, validation, lambdas, seed):
        seen.append(lambdas)
        return [0.0] * len(lambdas)

    select_lambda(fit, 10, [0.1, 10, 1], folds=2)
    assert seen == [[10.0, 1.0, 0.1]] * 2
    seen.clear()
    select_lambda(fit, 10, [0.1, 10, 1], folds=2, warm_start=False)
    assert seen == [[10.0], [1.0], [0.1]] * 2


def test_progress_shows_every_path_and_seeds_add_up():
    sizes, labels = [], torch.arange(60) % 2
    found = select_lambda(
        ridge,
        labels,
        LAMBDAS,
        folds=3,
        seeds=(0, 1),
        progress=lambda s: sizes.append((s.finished, s.total, s.chosen)),
    )
    assert [s[:2] for s in sizes] == [(k, 6) for k in range(1, 7)]
    assert [(p.seed, p.fold) for p in found.paths] == [(s, k) for s in (0, 1) for k in range(3)]


def test_an_interrupted_search_goes_on_and_fits_nothing_twice(tmp_path):
    whole = select_lambda(ridge, 60, LAMBDAS, folds=4, seeds=(0, 1))
    calls, path = [], tmp_path / "paths.jsonl"
    again = {"folds": 4, "seeds": (0, 1), "resume": path}
    fit = partial(ridge, calls=calls)
    with pytest.raises(Interrupted), interruptible(lambda: len(calls) >= 13):
        select_lambda(fit, 60, LAMBDAS, **again)
    assert len(calls) == 13  # stopped between two fits of the third path
    finished = {c[:2] for c in calls[:10]}
    calls.clear()
    parts = list(LambdaSearch(fit, 60, LAMBDAS, **again))
    assert [p.finished for p in parts] == [2, 3, 4, 5, 6, 7, 8]
    same(parts[-1], whole)
    assert len(calls) == 30 and not finished & {c[:2] for c in calls}
    calls.clear()
    same(select_lambda(fit, 60, LAMBDAS, **again), whole)
    assert not calls


def test_a_half_written_path_is_computed_again(tmp_path):
    calls, path = [], tmp_path / "paths.jsonl"
    whole = select_lambda(ridge, 60, LAMBDAS, resume=path)
    path.write_bytes(path.read_bytes()[:-20])
    same(select_lambda(partial(ridge, calls=calls), 60, LAMBDAS, resume=path), whole)
    assert len(calls) == len(LAMBDAS)


def test_seeds_may_be_added_and_the_rule_changed_but_nothing_else(tmp_path):
    path = tmp_path / "paths.jsonl"
    settings = {"model": "ridge"}
    select_lambda(ridge, 60, LAMBDAS, resume=path, settings=settings)
    calls = []
    found = select_lambda(
        partial(ridge, calls=calls),
        60,
        LAMBDAS,
        resume=path,
        seeds=(0, 1),
        rule="min",
        settings=settings,
    )
    assert found.finished == 10 and len(calls) == 5 * len(LAMBDAS)
    for changed, message in [
        ({"folds": 4}, "folds is 5 there and 4 here"),
        ({"warm_start": False}, "warm_start"),
        ({"settings": {"model": "lasso"}}, "ridge.*lasso"),
    ]:
        with pytest.raises(ValueError, match=message):
            select_lambda(ridge, 60, LAMBDAS, resume=path, **{"settings": settings} | changed)
    with pytest.raises(ValueError, match="labels is"):
        select_lambda(ridge, [0, 1] * 30, LAMBDAS, resume=path, settings=settings)
    with pytest.raises(ValueError, match="lambdas is"):
        select_lambda(ridge, 60, LAMBDAS[1:], resume=path, settings=settings)


@pytest.mark.slow
def test_two_processes_find_the_same(tmp_path):
    path = tmp_path / "paths.jsonl"
    found = select_lambda(ridge, 60, LAMBDAS, seeds=(0, 1), workers=2, resume=path)
    same(found, select_lambda(ridge, 60, LAMBDAS, seeds=(0, 1)))
    assert len(path.read_text().splitlines()) == 11


@pytest.fixture
def threads():
    """joblib's workers are threads of this process, which start at once."""
    with joblib.parallel_config(backend="threading"):
        yield


def test_workers_keep_what_they_found_when_they_are_stopped(tmp_path, threads):
    path, alone = tmp_path / "paths.jsonl", select_lambda(ridge, 60, LAMBDAS, seeds=(0, 1))
    search = iter(LambdaSearch(ridge, 60, LAMBDAS, seeds=(0, 1), workers=2, resume=path))
    begun = [next(search).finished for _ in range(3)]
    search.close()  # as an interruption would
    assert begun == [1, 2, 3] and len(path.read_text().splitlines()) == 4
    same(select_lambda(ridge, 60, LAMBDAS, seeds=(0, 1), workers=2, resume=path), alone)


def test_stop_reaches_workers_between_two_paths(threads):
    asked = []
    with pytest.raises(Interrupted), interruptible(lambda: len(asked) >= 2):
        select_lambda(ridge, 60, LAMBDAS, seeds=(0, 1), workers=2, progress=asked.append)
    assert len(asked) == 2


@pytest.mark.slow
def test_two_dask_workers_find_the_same(tmp_path):
    cluster = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        host="127.0.0.1",
        local_directory=str(tmp_path),
    )
    with cluster, distributed.Client(cluster):
        with joblib.parallel_config(backend="dask"):
            found = select_lambda(ridge, 60, LAMBDAS, seeds=(0, 1), workers=None)
    same(found, select_lambda(ridge, 60, LAMBDAS, seeds=(0, 1)))


def nested_by_scikit_learn(folds, outer_folds, seed):
    scores = []
    for train, validation in stratified_folds(60, outer_folds, seed):
        inner = [(t.numpy(), v.numpy()) for t, v in stratified_folds(len(train), folds, seed)]
        samples = len(inner[0][0])
        grid = GridSearchCV(
            as_sklearn(1.0, 1),
            {"alpha": [samples * v for v in LAMBDAS]},
            cv=inner,
            scoring="neg_mean_squared_error",
        )
        grid.fit(X[train].numpy(), Y[train].numpy())
        value = grid.best_params_["alpha"] / samples
        model = as_sklearn(value, len(train)).fit(X[train].numpy(), Y[train].numpy())
        off = model.predict(X[validation].numpy()) - Y[validation].numpy()
        scores.append((value, -grid.best_score_, np.square(off).mean()))
    return np.array(scores).T


@pytest.mark.parametrize("warm_start", [True, False])
def test_nested_is_a_search_within_each_outer_fold(warm_start):
    # 4 outer folds and 3 inner ones: every inner training set has 30 samples.
    found = nested_select_lambda(
        ridge, 60, LAMBDAS, folds=3, outer_folds=4, seeds=(5,), rule="min", warm_start=warm_start
    )
    chosen, inner, scores = nested_by_scikit_learn(3, 4, 5)
    np.testing.assert_allclose(found.chosen, chosen, rtol=1e-10)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-10)
    assert found.inner == pytest.approx(inner.mean(), rel=1e-10)
    assert found.mean == pytest.approx(scores.mean(), rel=1e-10)
    assert found.standard_error == pytest.approx(scores.std(ddof=1) / 2)


def test_nested_never_shows_the_judging_samples_to_the_search():
    def fit(train, validation, lambdas, seed):
        seen.append((set(train.tolist()), set(validation.tolist())))
        return [float(len(seen))] * len(lambdas)

    seen = []
    nested_select_lambda(fit, [0, 1] * 12, [1.0, 0.1], folds=3, outer_folds=4)
    for outer in range(4):
        *inner, (rest, judges) = seen[4 * outer : 4 * outer + 4]
        assert rest | judges == set(range(24)) and not rest & judges
        assert all(train | validation == rest for train, validation in inner)


def test_nested_resumes_and_works_in_parallel(tmp_path, threads):
    options = {"folds": 3, "outer_folds": 4}
    whole, path = nested_select_lambda(ridge, 60, LAMBDAS, **options), tmp_path / "nested.jsonl"
    search = LambdaSearch(ridge, 60, LAMBDAS, folds=3, resume=path).nested(4)
    next(search)
    search.close()
    calls = []
    same_again = nested_select_lambda(
        partial(ridge, calls=calls), 60, LAMBDAS, resume=path, **options
    )
    assert same_again.paths == whole.paths
    assert len({c[1] for c in calls}) == 3 * 4  # three outer folds, each of 3 + 1 paths
    assert nested_select_lambda(ridge, 60, LAMBDAS, workers=2, **options).paths == whole.paths
    with pytest.raises(ValueError, match="rule is '1se' there and 'min' here"):
        nested_select_lambda(ridge, 60, LAMBDAS, resume=path, rule="min", **options)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"lambdas": [1.0, -0.1]}, "lambda_reg >= 0, got -0.1"),
        ({"lambdas": [1.0, math.inf]}, "finite"),
        ({"lambdas": [1.0, 0.1, 1]}, "got 1 more than once"),
        ({"lambdas": []}, "at least one lambda"),
        ({"labels_or_n": [0] * 9 + [1] * 4}, "class 1 has 4 samples"),
        ({"folds": 1}, "from 2 folds"),
        ({"seeds": ()}, "one seed or more"),
        ({"seeds": (1, 1)}, "all different"),
        ({"rule": "2se"}, "out of 1se, min, got '2se'"),
        ({"workers": 0}, "workers other than 0, or None, got 0"),
        ({"fit": lambda *a: [1.0]}, "1 scores for 2 lambdas"),
        ({"fit": lambda *a: [{"f1": 1.0}] * 2}, "named f1, and metric='loss'"),
        ({"fit": lambda *a: [None, 1.0]}, "score of fit: expected a number, got None"),
        ({"fit": "ridge"}, "fit: expected a function, got str"),
        ({"lambdas": 0.1}, "lambdas: expected a list of numbers, got 0.1"),
        ({"lambdas": ["0.1"]}, "lambdas: expected a number, got '0.1'"),
        ({"lambdas": [math.nan]}, "finite"),
        ({"maximize": "no"}, "maximize: expected True or False, got 'no'"),
        ({"warm_start": 2}, "warm_start: expected True or False"),
        ({"seeds": 3}, "seeds: expected a list"),
        ({"seeds": [0.5]}, "seeds: expected a whole number, got 0.5"),
        ({"folds": math.nan}, "folds: expected a whole number"),
        ({"workers": "all"}, "workers: expected a whole number"),
        ({"metric": 3}, "metric: expected the name"),
        ({"progress": 3}, "progress: expected a function, got 3"),
        ({"settings": "bert"}, "settings: expected JSON values"),
        ({"labels_or_n": [0.5, 1.5] * 30}, "as labels, got others"),
        ({"labels_or_n": [math.nan] * 60}, "NaN"),
        ({"labels_or_n": None}, "labels: expected one for each sample"),
    ],
)
def test_what_cannot_be_searched_is_refused(change, message):
    asked = {"fit": ridge, "labels_or_n": 60, "lambdas": [1.0, 0.1]} | change
    with pytest.raises((ValueError, TypeError), match=message):
        select_lambda(**asked)


def test_a_fit_that_returns_no_scores_is_refused():
    with pytest.raises(TypeError, match="one score for each lambda, got NoneType"):
        select_lambda(lambda *a: None, 10, [1.0])
    with pytest.raises(TypeError, match="got dict"):
        select_lambda(lambda *a: {"loss": 1.0}, 10, [1.0])


def test_errors_come_before_any_fit_and_before_the_first_record():
    def never(*arguments):
        raise AssertionError("fitted")

    with pytest.raises(ValueError, match="more than once"):
        LambdaSearch(never, 10, [1.0, 1.0])
    search = LambdaSearch(never, [0] * 12 + [1] * 4, [1.0], folds=4)
    with pytest.raises(ValueError, match="class 1 has 3 samples"):
        search.nested(4)


@pytest.mark.parametrize("function", [select_lambda, nested_select_lambda])
def test_its_signature_and_help_show_every_setting_and_the_call_takes_no_other(function):
    own, shown = inspect.signature(LambdaSearch).parameters, inspect.signature(function).parameters
    for name, parameter in own.items():
        assert (shown[name].kind, shown[name].default) == (parameter.kind, parameter.default)
    assert shown.keys() - own.keys() <= {"by", "progress", "outer_folds"}
    assert not [p for p in shown.values() if p.kind is p.VAR_KEYWORD]
    assert all(f"        {name}: " in select_lambda.__doc__ for name in own if name != "maximize")
    with pytest.raises(TypeError, match="unexpected keyword argument 'fold'"):
        function(ridge, 60, LAMBDAS, fold=3)


def test_files_that_are_on_disk_go_on_being_read(tmp_path):
    """What must agree with a file is part of its format: files with these first lines exist."""
    plain, nested = tmp_path / "plain.jsonl", tmp_path / "nested.jsonl"
    common = (
        '{"format": "rlhf_lib journal 1", "samples": 10, "labels": "5b6fb58e61fa4759", '
        '"lambdas": [1.0, 0.1], "warm_start": true, "settings": {"model": "m"}, '
    )
    plain.write_text(
        common + '"folds": 2}\n'
        '{"seed": 0, "fold": 0, "scores": [{"loss": 1.0}, {"loss": 3.0}]}\n'
        '{"seed": 0, "fold": 1, "scores": [{"loss": 2.0}, {"loss": 5.0}]}\n'
    )
    nested.write_text(
        common + '"outer_folds": 2, "folds": 2, "rule": "1se", "metric": "loss", '
        '"maximize": false}\n'
        '{"seed": 0, "fold": 0, "scores": [{"loss": 1.0, "chosen": 1.0, "inner": 2.0}]}\n'
        '{"seed": 0, "fold": 1, "scores": [{"loss": 3.0, "chosen": 0.1, "inner": 4.0}]}\n'
    )

    def never(*arguments):
        raise AssertionError("fitted")

    asked = {"folds": 2, "settings": {"model": "m"}}
    found = select_lambda(never, 10, [0.1, 1.0], resume=plain, **asked)
    assert [row.mean for row in found.rows] == [1.5, 4.0] and found.chosen == 1.0
    judged = nested_select_lambda(never, 10, [0.1, 1.0], outer_folds=2, resume=nested, **asked)
    assert (judged.mean, judged.chosen, judged.inner) == (2.0, (1.0, 0.1), 3.0)
