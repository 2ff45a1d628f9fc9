"""Answers to the exercises of notebook 16."""

import torch
from answers import Shown, record

DUAL = "RLHF, sample space"


def ended(error, *, method=DUAL, width=20, damping=1.0, budget=1500):
    values = {"equation": "Poisson 1-D", "method": method, "width": width, "damping": damping}
    values["budget"] = budget
    last = record(step=70, cost=float(budget), seconds=1.0, extra={"error": error})
    return Shown([last], values)


def behind(z, slope, bend):
    t = z.tanh()
    d = 1 - t**2
    return t, d * slope, d * bend - 2 * t * d * slope**2


def changed(index, wrong):
    """The right answer with one of its three parts replaced."""

    def answer(z, slope, bend):
        parts = list(behind(z, slope, bend))
        parts[index] = wrong(z, slope, bend)
        return parts

    return answer


def slope_of(z):
    return 1 - z.tanh() ** 2


def by_autograd(z, slope, bend):
    """Along a curve with these derivatives at s = 0."""
    s = torch.zeros((), requires_grad=True)
    value = torch.tanh(z + s * slope + s**2 / 2 * bend)
    rows = []
    for entry in value:
        (first,) = torch.autograd.grad(entry, s, create_graph=True)
        (second,) = torch.autograd.grad(first, s, retain_graph=True)
        rows.append((first.detach(), second.detach()))
    first, second = zip(*rows, strict=True)
    return value.detach(), torch.stack(first), torch.stack(second)


def by_cosh(z, slope, bend):
    d = z.cosh() ** -2
    return [z.sinh() / z.cosh(), d * slope, d * (bend - 2 * z.tanh() * slope.square())]


def last_within(run, budget):
    last = None
    for cost, error in run:
        if cost > budget:
            return last
        last = error


def fair(make, methods, budget, seeds):
    return {
        name: [last_within(method(make(seed)), budget) for seed in seeds]
        for name, method in methods.items()
    }


def seed_by_seed(make, methods, budget, seeds):
    found = {name: [] for name in methods}
    for seed in seeds:
        for name in methods:
            found[name].append(last_within(methods[name](make(seed)), budget))
    return found


def as_tensors(make, methods, budget, seeds):
    found = fair(make, methods, budget, seeds)
    return {name: torch.tensor(errors) for name, errors in found.items()}


def as_tuples(make, methods, budget, seeds):
    return {name: tuple(e) for name, e in fair(make, methods, budget, seeds).items()}


def one_problem(make, methods, budget, seeds):
    problems = {seed: make(seed) for seed in seeds}
    return {n: [last_within(m(problems[s]), budget) for s in seeds] for n, m in methods.items()}


def by_steps(make, methods, budget, seeds):
    def errors(run):
        return [error for (_, error), _ in zip(run, range(budget + 1), strict=False)]

    return {n: [errors(m(make(s)))[-1] for s in seeds] for n, m in methods.items()}


def whole(run, budget):
    found = []
    for cost, error in run:
        found.append(error)
        if cost > budget:
            return found


def least(make, methods, budget, seeds):
    return {n: [min(whole(m(make(s)), budget)[:-1]) for s in seeds] for n, m in methods.items()}


def beyond(make, methods, budget, seeds):
    return {n: [whole(m(make(s)), budget)[-1] for s in seeds] for n, m in methods.items()}


def means(make, methods, budget, seeds):
    found = fair(make, methods, budget, seeds)
    return {name: sum(errors) / len(errors) for name, errors in found.items()}


def one_seed(make, methods, budget, seeds):
    return fair(make, methods, budget, [seeds[0]] * len(seeds))


def turned(make, methods, budget, seeds):
    return fair(make, methods, budget, seeds[::-1])


def without_names(make, methods, budget, seeds):
    return list(fair(make, methods, budget, seeds).values())


RIGHT_CAUSES = {"A": "points", "B": "damping", "C": "batches"}
SOLUTIONS = {"16.equation": ended(8e-6)}
RIGHT = {
    "16.equation": [
        ended(2.9e-5, method="RLHF"),
        ended(1e-6, width=50, damping=10.0),
        ended(2e-5, budget=750),
    ],
    "16.layer": [by_autograd, by_cosh, lambda *parts: list(behind(*parts))],
    "16.suspects": [
        {"c": "Batches", "b": " damping", "a": "points"},
        list(RIGHT_CAUSES.items()),
        dict(reversed(RIGHT_CAUSES.items())),
    ],
    "16.compare": [seed_by_seed, as_tensors, as_tuples],
}
MISTAKES = {
    "16.equation": [
        (ended(5e-6, method="L-BFGS"), "Keep that number"),
        (ended(4e-4, budget=500), "larger budget"),
        (ended(2e-4, width=5), "wider"),
        (ended(1e-2, damping=1e-5), "start with more"),
        (ended(1e-3, damping=100.0), "start with less"),
        (ended(6e-5), "the other RLHF"),
        (ended(6e-6, budget=3000), "lower the budget"),
        (8e-6, "the panel itself"),
    ],
    "16.layer": [
        (changed(0, lambda z, s, b: z), "tanh(z), not z"),
        (changed(1, lambda z, s, b: slope_of(z)), "multiplied by z'"),
        (changed(1, lambda z, s, b: (1 - z.tanh()) * s), "with a square"),
        (changed(2, lambda z, s, b: slope_of(z) * b), "a term with z'²"),
        (changed(2, lambda z, s, b: -2 * z.tanh() * slope_of(z) * s**2), "a term with z''"),
        (changed(2, lambda z, s, b: slope_of(z) * (b - 2 * z.tanh() * s)), "z' comes squared"),
        (changed(2, lambda z, s, b: slope_of(z) * (b + 2 * z.tanh() * s**2)), "its sign"),
        (changed(2, lambda z, s, b: slope_of(z) * (b - z.tanh() * s**2)), "the 2 is missing"),
        (lambda z, s, b: behind(z, s, b)[2], "three tensors"),
    ],
    "16.suspects": [
        (RIGHT_CAUSES | {"A": "damping"}, "Not A"),
        (RIGHT_CAUSES | {"B": "points"}, "Not B"),
        (RIGHT_CAUSES | {"C": "points"}, "Not C"),
        ({"A": "points", "B": "damping"}, "C has no cause"),
        (RIGHT_CAUSES | {"A": "bad luck"}, "one of batches"),
        ("points", "a dictionary"),
    ],
    "16.compare": [
        (one_problem, "no start for the other"),
        (by_steps, "whatever the number of steps"),
        (least, "the least error"),
        (beyond, "one step beyond"),
        (means, "one error for each seed"),
        (one_seed, "the same seeds"),
        (turned, "in another order"),
        (without_names, "an entry for each method"),
    ],
}
