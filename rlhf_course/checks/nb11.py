"""Checks of notebook 11."""

from __future__ import annotations

import torch

from rlhf_lib.select import stratified_folds

from ..checking.cases import generator, integer, randn
from ..checking.expect import call, expect, parts
from ..checking.feedback import Wrong, attempted, correct, require
from ..checking.goals import goal
from ..checking.registry import exercise
from ..experiments.nb11_logistic_path import logistic_path, logistic_scores

FOOLED = 0.1  # nats on the unseen reviews


@goal("11.fooled", n=60, sample=3, folds=5, seeds=1, rule="min")
def fooled(records, values):
    """A seed whose winner costs at least 0.1 nats on the unseen reviews."""
    cost, found = records[-1].extra["cost"], records[-1].extra["found"]
    require(
        cost >= FOOLED / 2,
        f"This seed is honest enough: its winner, λ = {found.chosen:.2g}, costs {cost:.3f} more "
        "than the best λ. Try another first seed.",
    )
    require(
        cost >= FOOLED,
        f"Misled, but not yet fooled: λ = {found.chosen:.2g} costs {cost:.3f} more than the best, "
        "and 0.1 is asked for.",
    )
    return correct("One dealing of the same reviews can choose a λ that is useless for new ones.")


@exercise("11.one_se")
def one_se(answer):
    """A function (lambdas, means, errors) -> lambda of the one-standard-error rule."""
    cases = _telling()
    values = [call(answer, lambdas, means, errors) for lambdas, means, errors, _, _, _ in cases]
    # A mistake is named if it explains all that came, not one number alone.
    explains = [
        hint
        for hint in cases[0][4]
        if all(_near(v, wrong[hint]) for v, (*_, wrong, _) in zip(values, cases, strict=True))
    ]
    for value, (_, _, _, truth, wrong, limit) in zip(values, cases, strict=True):
        expect(
            value,
            truth,
            {hint: wrong[hint] for hint in explains},
            f"The limit is {limit:.3f}; the largest λ with a mean of at most that is asked for.",
            what="λ",
            rtol=1e-9,
        )
    return correct("The data cannot tell this λ from the winner, and it is the simpler model.")


def _near(value, number):
    try:
        return abs(float(value) - number) <= 1e-9 * abs(number)
    except (TypeError, ValueError, RuntimeError):
        return False


def _telling():
    """Cases (lambdas, means, errors, truth, {hint: what comes of the mistake}, limit).

    In each the rule does not stay at the least mean, and of each mistake there are two cases at
    least in which it gives another λ.
    """
    found, shown = [], {}
    for case in range(4000):
        new = _one_se_case(case)
        if new is None:
            continue
        *_, truth, wrong, _ = new
        apart = [hint for hint, value in wrong.items() if value != truth]
        if len(found) < 8 or any(shown.get(hint, 0) < 2 for hint in apart):
            found.append(new)
            for hint in apart:
                shown[hint] = shown.get(hint, 0) + 1
        if len(found) >= 8 and len(shown) == len(wrong) and min(shown.values()) >= 2:
            return found
    raise AssertionError("no cases in which every mistake shows")


def _one_se_case(case):
    """A case with one least mean and another λ for the rule, or None."""
    n = 12
    lambdas = torch.logspace(1, -3, n, dtype=torch.float64)
    means = _grid(1 + (torch.arange(n) - 7.0 + 0.6 * randn(n, seed=case)) ** 2 / 40)
    errors = _grid(0.1 + 0.3 * randn(n, seed=case + 5000).abs())
    least = means.argmin()
    # A mean that lies exactly at the limit is within it.
    means[integer(0, 4, case + 9000)] = means[least] + errors[least]
    order = torch.randperm(n, generator=generator(case))
    lambdas, means, errors = lambdas[order], means[order], errors[order]
    best = int(means.argmin())
    limit = float(means[best] + errors[best])
    within = lambdas[means <= limit]
    truth = float(within.max())
    if int((means == means[best]).sum()) > 1 or truth == float(lambdas[best]):
        return None
    half = lambdas[means <= means[best] + errors[best] / 2]
    two = lambdas[means <= means[best] + 2 * errors[best]]
    strict = lambdas[(means < limit) | (means == means[best])]
    mistakes = {
        "That is the λ of the least mean itself; the rule goes on to larger ones.": lambdas[best],
        "That is the smallest λ within the limit; the rule takes the largest.": within.min(),
        "That is a place in the list; the λ at that place is asked for.": (
            (lambdas == truth).nonzero()
        ),
        "You took each λ's own standard error; only that of the least mean counts.": lambdas[
            means - errors <= means[best]
        ].max(),
        "You took the first λ of the list for the best one: they come in any order.": lambdas[
            means <= means[0] + errors[0]
        ].max(),
        "That is half a standard error; the rule allows a whole one.": half.max(),
        "A mean that lies at the limit itself is still within one standard error.": strict.max(),
        "Two standard errors; the rule allows one.": two.max(),
    }
    return (
        lambdas.tolist(),
        means.tolist(),
        errors.tolist(),
        truth,
        {hint: float(value) for hint, value in mistakes.items()},
        limit,
    )


def _grid(values):
    """Multiples of 1/64, whose sums are exact."""
    return (values * 64).round() / 64


def _scores(X, y, train, validation, lambdas, *, select=None, scale=None, features=20):
    """Losses of standardized logistic regression; features and scale from these rows."""
    select, scale = (train if rows is None else rows for rows in (select, scale))
    A, c = X[select] - X[select].mean(0), y[select] - y[select].double().mean()
    strength = ((A * c[:, None]).sum(0) / A.norm(dim=0)).abs()
    Z = (X - X[scale].mean(0)) / X[scale].std(0)
    Z = Z[:, strength.topk(features).indices]
    return torch.tensor(
        [
            logistic_scores(Z[validation], y[validation], w, b)["loss"]
            for w, b in logistic_path(Z[train], y[train], lambdas)
        ]
    )


@exercise("11.leak")
def leak(answer):
    """(letter of the line, generator (X, y, train, validation, lambdas) without the leak)."""
    line, mended = parts(attempted(answer), "(line, mended)")
    about = {
        "A": "Line A takes mean and spread from the training rows alone: no leak.",
        "C": "Line C only applies what A and B have found. Which of the two saw too much?",
        "D": "Line D trains on the training rows alone, with features that somebody chose before.",
        "E": "Line E scores on the validation rows, as it should.",
    }
    letter = str(line).strip().upper()
    require(letter not in about, about.get(letter, ""))
    require(letter == "B", 'Answer with the letter of a line, such as "A".')
    lambdas = [1.0, 0.1]
    for seed in range(3):
        X, y = randn(40, 120, seed=seed), torch.arange(40) % 2
        train, validation = stratified_folds(y, 4, seed)[seed]
        rows, setting = torch.arange(40), (X, y, train, validation, lambdas)
        found = call(lambda *a: [*mended(*a)], *setting)
        require(len(found) == 2, f"Expected one score for each of 2 λ, got {len(found)}.")
        require(
            all(isinstance(s, dict) and "loss" in s for s in found),
            "Yield what logistic_scores returns, as line E does.",
        )
        expect(
            torch.tensor([s["loss"] for s in found]),
            _scores(*setting),
            {
                "The 20 features are still chosen on all samples, the validation rows too.": _scores(
                    *setting, select=rows
                ),
                "Now the features are chosen on the validation rows, which is worse still.": _scores(
                    *setting, select=validation
                ),
                "Mean and spread now come from all samples; line A had them right.": _scores(
                    *setting, scale=rows
                ),
                "No feature is left out any more: keep the 20 best, by the training rows.": _scores(
                    *setting, features=120
                ),
                "The scores are those of the training rows; the validation rows judge.": _scores(
                    X, y, train, train, lambdas
                ),
            },
            "Change line B alone: 20 features, chosen on the training rows.",
            what="losses",
        )
    return correct("Whatever looks at labels belongs inside the folds.")


class _Spy:
    """Ridge regression on fixed data as `fit`; remembers which samples each call was shown."""

    def __init__(self, seed: int):
        self.X, self.labels = randn(30, 4, seed=seed), torch.arange(30) % 2
        self.y = self.X[:, 0] + self.labels + randn(30, seed=seed + 1)
        self.calls: list[tuple[frozenset, frozenset]] = []

    def __call__(self, train, validation, lambdas, seed):
        train, validation = torch.as_tensor(train), torch.as_tensor(validation)
        self.calls.append((frozenset(train.tolist()), frozenset(validation.tolist())))
        return [self.score(train, validation, value) for value in lambdas]

    def score(self, train, validation, value) -> float:
        A, b = self.X[train], self.y[train]
        ridge = len(A) * value * torch.eye(4, dtype=A.dtype)
        w = torch.linalg.solve(A.T @ A + ridge, A.T @ b)
        return float((self.X[validation] @ w - self.y[validation]).square().mean())

    def best(self, rows, lambdas) -> tuple[float, float]:
        """(least mean, its lambda) of cross-validation within these rows, by plain loops."""
        dealt = stratified_folds(self.labels[rows], 4)
        means = [(sum(self.score(rows[a], rows[b], v) for a, b in dealt) / 4, v) for v in lambdas]
        return min(means)


@exercise("11.nested")
def nested(answer):
    """A function (fit, labels, lambdas) -> scores of five outer folds, nested."""
    lambdas = [10.0, 1.0, 0.1, 0.01]
    for seed in (integer(0, 9, 1), 10, 20):
        spy = _Spy(seed)
        outer = stratified_folds(spy.labels, 5)
        choices = [spy.best(train, lambdas) for train, _ in outer]
        truth = [spy.score(t, j, v) for (t, j), (_, v) in zip(outer, choices, strict=True)]
        everywhere = spy.best(torch.arange(30), lambdas)[1]
        lucky = [min(spy.score(t, j, v) for v in lambdas) for t, j in outer]
        found = call(answer, spy, spy.labels, lambdas)
        require(
            hasattr(found, "__len__") and len(found) == 5,
            "Expected a list of five scores, one for each outer fold.",
        )
        try:
            found = [float(s) for s in found]
        except (TypeError, ValueError):
            raise Wrong(
                "Expected numbers in the list: fit yields one score for each λ it is given."
            ) from None
        mistakes = {
            "These are the means by which the inner searches chose. Train on `train` with the "
            "choice, and score on `judges`.": torch.tensor([mean for mean, _ in choices]),
            "λ was chosen once, on all samples: those that judge have helped to choose.": torch.tensor(
                [spy.score(t, j, everywhere) for t, j in outer]
            ),
            "λ was chosen by the scores on the judges themselves.": torch.tensor(lucky),
        }
        got = torch.tensor(found)
        for hint, wrong in mistakes.items():
            if not torch.allclose(wrong, torch.tensor(truth)):
                require(not torch.allclose(got, wrong), hint)
        for _, judges in outer:
            seen = frozenset(judges.tolist())
            searches = [c for c in spy.calls if c[1] != seen and c[0] | c[1] == _rest(seen)]
            require(
                len(searches) >= 4,
                "An inner search was shown other samples than its outer training set. Positions "
                "within `train` are not indices of the whole data: translate by train[...].",
            )
        expect(got, torch.tensor(truth), {}, 'Four inner folds, rule "min".', what="scores")
    return correct("No sample that judges has helped to choose: the score of the whole procedure.")


def _rest(seen: frozenset) -> frozenset:
    return frozenset(range(30)) - seen


@exercise("11.left_out")
def left_out(answer):
    """A function (S, y) -> each sample's residual under the fit without it, (n,)."""
    for seed in range(3):
        n, p = integer(12, 18, seed), integer(3, 6, seed + 10)
        X, y = randn(n, p, seed=seed), randn(n, seed=seed + 20)
        strength = 2.0 ** integer(-2, 3, seed + 30)
        S = X @ torch.linalg.solve(X.T @ X + strength * torch.eye(p, dtype=X.dtype), X.T)
        fitted, h = S @ y, S.diagonal()
        truth = y - torch.stack([_without(X, y, strength, i) for i in range(n)])
        expect(
            call(answer, S, y),
            truth,
            {
                "Those are the residuals of the one fit, which has seen every sample.": y - fitted,
                "Those are the predictions of the one fit.": fitted,
                "Those are the predictions without the sample; its residual is y less that.": y
                - truth,
                "Dropping S's entry on the diagonal is not enough: the other weights rise when "
                "sample i is gone.": y - (fitted - h * y),
                "Left out, a sample is missed: its residual grows. Yours shrinks.": (y - fitted)
                * (1 - h),
                "You divided by the mean of 1 − Sᵢᵢ, which is generalized cross-validation (Golub, "
                "Heath and Wahba 1979); each sample has its own.": (y - fitted) / (1 - h.mean()),
                "You divided by S's diagonal: a sample that leads the fit alone has Sᵢᵢ = 1, and "
                "what remains of it is 1 − Sᵢᵢ.": (y - fitted) / h,
                "The square is for the loss; a residual is divided once.": (y - fitted)
                / (1 - h) ** 2,
            },
            "Put the prediction without i in the place of yᵢ: does the fit to these labels change?",
            what="residuals",
        )
    return correct("One fit knows what n fits would say. That is leave-one-out in closed form.")


def _without(X, y, strength, i):
    """Prediction for sample i by the ridge fit to all others."""
    keep = torch.arange(len(y)) != i
    A = X[keep].T @ X[keep] + strength * torch.eye(X.shape[1], dtype=X.dtype)
    return X[i] @ torch.linalg.solve(A, X[keep].T @ y[keep])
