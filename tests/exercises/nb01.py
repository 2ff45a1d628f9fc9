"""Answers to the exercises of notebook 01."""

from answers import Shown, record


def panel(lam, train, new, **changes):
    sweep = [
        record(train_loss=t, val_loss=v, extra={"lambda": at})
        for at, t, v in ((1e-6, 0.04, 3.56), (0.1, 0.06, 0.16), (10.0, 0.84, 0.85))
    ]
    chosen = record(train_loss=train, val_loss=new, extra={"lambda": lam})
    values = {"lambda_reg": lam, "degree": 12, "n": 20, "noise": 0.3}
    return Shown([chosen, *sweep], values, **changes)


def ridge(task=1.0, penalty=1.0, task_slope=1.0, penalty_slope=1.0):
    def answer(X, y, w, lam):
        r, n = X @ w - y, len(y)
        loss = task * r @ r / (2 * n) + penalty * lam * w @ w / 2
        return loss, task_slope * X.T @ r / n + penalty_slope * lam * w

    return answer


def summed(X, y, w, lam):
    r = X @ w - y
    return r @ r / 2 + lam * w @ w / 2, X.T @ r + lam * w


def by_n(X, y, w, lam):
    loss, gradient = ridge()(X, y, w, lam)
    return loss, len(y) * (gradient - lam * w) + lam * w


def backward(X, y, w, lam):
    w.requires_grad_(True)
    loss = (X @ w - y).square().mean() / 2 + lam * w @ w / 2
    loss.backward()
    return loss, w.grad


def split(bias=lambda b: (b**2).mean(), spread=lambda p: p.var(0, correction=0).mean()):
    return lambda p, truth: (bias(p.mean(0) - truth), spread(p))


SOLUTIONS = {"01.target": panel(0.15, 0.07, 0.16)}

MISTAKES = {
    "01.target": [
        (panel(0.001, 0.04, 2.48), "too small"),
        (panel(1.0, 0.28, 0.34), "too large"),
        (panel(0.15, 0.07, 0.16, status="Stopped after 3 records."), "stopped"),
        (0.15, "the panel itself"),
    ],
    "01.ridge": [
        (ridge(penalty=0), "penalty is missing"),
        (summed, "divide the sum by n"),
        (ridge(task=2), "Half is missing"),
        (ridge(penalty=2), "factor λ/2"),
        (ridge(task=2, penalty=2), "Both terms"),
        (ridge(penalty_slope=0), "lacks the penalty"),
        (ridge(penalty_slope=2), "not 2λw"),
        (ridge(penalty_slope=0.5), "not λw/2"),
        (ridge(task_slope=2), "factor 2 is left"),
        (ridge(task_slope=-1), "not y − Xw"),
        (by_n, "divided by n, as the loss is"),
        (backward, "backward"),
        (lambda X, y, w, lam: ridge()(X, y, w, lam)[0], "Return the pair"),
        (lambda X, y, w, lam: (1.0, w), "off by"),
    ],
    "01.bias_variance": [
        (split(bias=lambda b: b.mean() ** 2), "signs cancel"),
        (split(bias=lambda b: b.mean()), "to be squared"),
        (split(bias=lambda b: b**2), "average over the places"),
        (lambda p, t: split()(p, t)[::-1], "order"),
        (lambda p, t: ((p - t).square().mean(), p.var(0, correction=0).mean()), "whole error"),
        (split(spread=lambda p: p.var(0).mean()), "m − 1"),
        (split(spread=lambda p: p.var(correction=0)), "together"),
        (split(spread=lambda p: p.var(1, correction=0).mean()), "each colleague"),
        (split(spread=lambda p: p.std(0, correction=0).mean()), "standard deviation"),
        (lambda p, t: (split()(p, t)[0], (p - t).square().mean()), "from the truth"),
        (split(spread=lambda p: p.var(0, correction=0)), "average over the places"),
        (lambda p, t: p.mean(0), "Return the pair"),
    ],
}
