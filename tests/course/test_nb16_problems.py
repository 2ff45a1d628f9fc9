"""The problems of notebook 16's map: equations, gradients, budgets."""

import itertools
import math

import pytest
import torch
from cases import close

from rlhf_course.experiments.nb16_pinn import Burgers, Poisson1, Poisson2, jet
from rlhf_course.experiments.nb16_problems import Addition, Autoencoder, Noisy, Surface, linears
from rlhf_course.experiments.nb16_race import SLACK, Budget, adam, lbfgs, race, rlhf, within


def derivatives(f, x, second):
    """As `jet` gives them, of any function (n, d) -> (n,), by differentiating backwards."""
    x = x.clone().requires_grad_()
    value = f(x)
    (slopes,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    bends = [torch.autograd.grad(slopes[:, k].sum(), x, retain_graph=True)[0][:, k] for k in second]
    return torch.cat([value[:, None], slopes, torch.stack(bends, 1)], 1).detach()


def test_derivatives_carried_forward_are_those_taken_backwards():
    layers = linears([2, 5, 4, 1], seed=0)
    x = torch.rand(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def network(x):
        for layer in layers[:-1]:
            x = torch.tanh(layer(x))
        return layers[-1](x)[:, 0]

    for second in ((0, 1), (1,)):
        close(jet(layers, x, second), derivatives(network, x, second))


@pytest.mark.parametrize(
    "equation, boundary",
    [
        (Poisson1, lambda x: (0, (x * (1 - x)).prod(1))),
        (Poisson2, lambda x: (0, (x * (1 - x)).prod(1))),
        (Burgers, lambda x: (-torch.sin(math.pi * x[:, 0]), x[:, 1] * (1 - x[:, 0] ** 2))),
    ],
)
def test_the_exact_solution_leaves_no_residual(equation, boundary):
    """A network that were exactly right, its derivatives taken backwards."""

    def network(x):
        rest, b = boundary(x)
        return (equation.exact(x) - rest) / b

    problem, x = equation(0), equation.points[::7]
    residual = problem.residual(x, derivatives(network, x, problem.second))
    assert residual.abs().max() < 1e-6 * problem.closure()[1].abs().max()
    close(problem.solution(x, network(x)), equation.exact(x))


@pytest.mark.parametrize("make", [Poisson1, Burgers, Surface, Autoencoder, Addition, Noisy])
def test_a_problem_hangs_on_its_seed_and_its_loss_is_a_mean_over_its_samples(make):
    problem, again, other = make(1), make(1), make(2)
    assert problem.error() == again.error() != other.error()
    loss, outputs = problem.closure()
    assert len(outputs) == problem.samples
    halves = torch.arange(problem.samples).split(problem.samples // 2)
    parts = [problem.closure(rows) for rows in halves]
    close(sum(part[0] for part in parts) / 2, loss)
    close(torch.cat([part[1] for part in parts]), outputs)


def test_the_floor_of_the_autoencoder_is_reached_by_the_images_themselves():
    problem = Autoencoder(0)
    images = problem.images.clamp(1e-12, 1 - 1e-12)
    perfect = torch.nn.functional.binary_cross_entropy(images, problem.images, reduction="sum")
    assert float(perfect) / problem.samples == pytest.approx(problem.floor, rel=1e-6)


@pytest.mark.parametrize("method", [lambda p, s: adam(p, s, 0.01, decay=True), lbfgs, rlhf])
def test_a_run_ends_with_its_budget_and_is_judged_by_what_lies_within(method):
    looks = list(race(Poisson1(0), method, Budget(gradients=40, seconds=0)))
    assert all(b.cost > a.cost and b.step > a.step for a, b in itertools.pairwise(looks))
    assert looks[-2].cost < 40 <= looks[-1].cost
    last = within(looks, 40, "cost")
    assert last.cost <= 40 * SLACK and last.error < looks[0].error
    assert within(looks, 0, "cost") == looks[0]
