"""Answers to the exercises of notebook 11."""

from types import SimpleNamespace

import numpy as np
import torch
from answers import Shown, record

from rlhf_course.experiments.nb11_logistic_path import logistic_path, logistic_scores
from rlhf_lib.select import select_lambda, stratified_folds


def shown(cost, **values):
    found = SimpleNamespace(chosen=10.0)
    asked = {"n": 60, "sample": 3, "folds": 5, "first": 6, "seeds": 1, "rule": "min"}
    return Shown([record(extra={"cost": cost, "found": found})], asked | values)


def limited(lambdas, means, errors, share=1.0):
    best = means.index(min(means))
    limit = means[best] + share * errors[best]
    return [v for v, m in zip(lambdas, means, strict=True) if m <= limit]


def own_errors(lambdas, means, errors):
    low = min(means)
    return max(v for v, m, e in zip(lambdas, means, errors, strict=True) if m - e <= low)


def first_is_best(lambdas, means, errors):
    limit = means[0] + errors[0]
    return max(v for v, m in zip(lambdas, means, strict=True) if m <= limit)


def fit(select="train", scale="train", judges="validation", features=20):
    def mended(X, y, train, validation, lambdas):
        rows = {"train": train, "all": torch.arange(len(y)), "validation": validation}
        chosen, scaled, judged = rows[select], rows[scale], rows[judges]
        A, c = X[chosen] - X[chosen].mean(0), y[chosen] - y[chosen].double().mean()
        kept = ((A * c[:, None]).sum(0) / A.norm(dim=0)).abs().topk(features).indices
        Z = ((X - X[scaled].mean(0)) / X[scaled].std(0))[:, kept]
        for w, b in logistic_path(Z[train], y[train], lambdas):
            yield logistic_scores(Z[judged], y[judged], w, b)

    return mended


def only_losses(*arguments):
    return [score["loss"] for score in fit()(*arguments)]


def nested(translate=True, how="nested"):
    def answer(fit, labels, lambdas):
        everywhere = select_lambda(fit, labels, lambdas, folds=4, rule="min").chosen
        scores = []
        for train, judges in stratified_folds(labels, 5):

            def inner(a, b, values, seed, train=train):
                return fit(train[a], train[b], values, seed) if translate else fit(a, b, values, 0)

            found = select_lambda(inner, labels[train], lambdas, folds=4, rule="min")
            chosen = everywhere if how == "once" else found.chosen
            score = [*fit(train, judges, [chosen], 0)]
            if how == "inner":
                score = [found.best_row.mean]
            if how == "judges":
                score = [min(fit(train, judges, lambdas, 0))]
            scores += score
        return scores

    return answer


def strict(lambdas, means, errors):
    best = means.index(min(means))
    limit = means[best] + errors[best]
    return max([v for v, m in zip(lambdas, means, strict=True) if m < limit] + [lambdas[best]])


def by_numpy(lambdas, means, errors):
    lambdas, means, errors = map(np.asarray, (lambdas, means, errors))
    best = means.argmin()
    return lambdas[means <= means[best] + errors[best]].max()


def by_sorting(lambdas, means, errors):
    low, error = min(zip(means, errors, strict=True))
    for value, mean in sorted(zip(lambdas, means, strict=True), reverse=True):
        if mean - low <= error:
            return torch.tensor(value)


def by_generator(*arguments):
    yield from fit()(*arguments)


def without(H, y, share=1.0):
    h = H.diagonal()
    return (y - H @ y) / (1 - share * h)


def one_at_a_time(H, y):
    """The prediction without i, put in the place of y_i, does not move the fit."""
    found = []
    for i in range(len(y)):
        others = float(H[i] @ y - H[i, i] * y[i])
        found.append(float(y[i]) - others / float(1 - H[i, i]))
    return found


def by_fixed_point(H, y):
    found = []
    for i in range(len(y)):
        labels = y.clone()
        for _ in range(2000):
            labels[i] = H[i] @ labels
        found.append(y[i] - labels[i])
    return torch.stack(found)


def by_arrays(H, y):
    H, y = H.numpy(), y.numpy()
    return np.linalg.solve(np.diag(1 - np.diag(H)), y - H @ y)


RIGHT = {
    "11.left_out": [one_at_a_time, by_fixed_point, by_arrays],
    "11.fooled": [shown(0.1), shown(0.3, first=60), shown(0.11, first=0)],
    "11.one_se": [by_numpy, by_sorting, lambda v, m, e: max(limited(v, m, e))],
    "11.leak": [["b", fit()], ("B ", by_generator), ("B", lambda *a: list(fit()(*a)))],
    "11.nested": [
        lambda *a: [torch.tensor(s) for s in nested()(*a)],
        lambda *a: np.array(nested()(*a)),
        lambda *a: tuple(nested()(*a)),
    ],
}

SOLUTIONS = {"11.fooled": shown(0.13), "11.leak": ("B", fit()), "11.nested": nested()}

MISTAKES = {
    "11.left_out": [
        (lambda H, y: y - H @ y, "seen every sample"),
        (lambda H, y: H @ y, "predictions of the one fit"),
        (lambda H, y: y - without(H, y), "predictions without the sample"),
        (lambda H, y: y - (H @ y - H.diagonal() * y), "not enough"),
        (lambda H, y: (y - H @ y) * (1 - H.diagonal()), "Yours shrinks"),
        (lambda H, y: (y - H @ y) / (1 - H.diagonal().mean()), "generalized"),
        (lambda H, y: (y - H @ y) / H.diagonal(), "leads the fit alone"),
        (lambda H, y: (y - H @ y) / (1 - H.diagonal()) ** 2, "divided once"),
        (lambda H, y: without(H, y, 0.5), "off by"),
        (lambda H, y: without(H, y).square().mean(), "Expected a tensor of shape"),
    ],
    "11.fooled": [
        (shown(0.05, first=3), "not yet fooled"),
        (shown(0.01), "honest enough"),
        (shown(0.07), "not yet fooled"),
        (0.13, "the panel itself"),
        (shown(-0.02), "honest enough"),
        (shown(0.099), "not yet fooled"),
    ],
    "11.one_se": [
        (lambda v, m, e: v[m.index(min(m))], "least mean itself"),
        (lambda v, m, e: min(limited(v, m, e)), "takes the largest"),
        (lambda v, m, e: float(v.index(max(limited(v, m, e)))), "place in the list"),
        (own_errors, "own standard error"),
        (first_is_best, "any order"),
        (lambda v, m, e: max(limited(v, m, e, 0.5)), "half a standard error"),
        (lambda v, m, e: -1.0, "limit is"),
        (strict, "at the limit itself"),
        (lambda v, m, e: max(limited(v, m, e, 2.0)), "Two standard errors"),
    ],
    "11.leak": [
        (("A", fit()), "training rows alone: no leak"),
        (("C", fit()), "only applies"),
        (("D", fit()), "somebody chose before"),
        (("E", fit()), "as it should"),
        (("F", fit()), "letter of a line"),
        (("B", fit(select="all")), "still chosen on all"),
        (("B", fit(select="validation")), "worse still"),
        (("B", fit(scale="all")), "line A had them right"),
        (("B", fit(features=120)), "left out"),
        (("B", fit(judges="train")), "validation rows judge"),
        (("B", fit(features=10)), "Change line B alone"),
        (("B", only_losses), "as line E does"),
        ("B", "the pair"),
    ],
    "11.nested": [
        (nested(translate=False), "translate by train"),
        (nested(how="inner"), "inner searches chose"),
        (nested(how="once"), "helped to choose"),
        (nested(how="judges"), "judges themselves"),
        (lambda fit, labels, lambdas: 0.3, "list of five"),
        (lambda *a: [[s] for s in nested()(*a)], "numbers in the list"),
    ],
}
