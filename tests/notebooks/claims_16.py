"""What notebook 16 says, held in its kernel."""

import math

import torch

from tools.claims import between, claim, near

SECONDS, GRADIENTS = "seconds", "gradients"


@claim("with tanh units stand for the solution, so that the ends are right whatever it says")
def the_ends_are_right(Poisson1):
    ends = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    assert Poisson1(seed=3).values(ends).abs().max() == 0


@claim("Our $f$ is chosen so that the solution is known, $u = \\sin \\pi x + 0.3 \\sin 4\\pi x$")
def the_solution_is_known(Poisson1):
    x = torch.tensor([[0.125]], dtype=torch.float64)
    near(float(Poisson1.exact(x)), math.sin(math.pi / 8) + 0.3, relative=1e-12)


@claim(
    "Adam has the rate that was best for it in the study below (recorded) and lets it fall "
    "linearly to zero."
)
def the_rate_is_recorded(record, rate, METHODS):
    assert record.settings("poisson1", "Adam, decay", "seconds")["rate"] == rate
    assert METHODS["Adam"](0).keywords == {"rate": rate, "decay": True}


@claim(
    "**Goal:** in one dimension, by RLHF, a relative error below 0.00003 within 1,500 gradients.",
    "with one of the two RLHF, a relative error below 0.00003 within 1,500 gradients.",
)
def the_goal_is_the_checks():
    from rlhf_course.checks.nb16 import CLOSE, WITHIN

    assert (CLOSE, WITHIN) == (3e-5, 1500)


@claim(
    "In sample space a step is charged some twenty gradients here, by counting multiplications, "
    "and takes about as long as five"
)
def what_a_step_is_charged(runs):
    last = runs["RLHF"][-1]
    between(last.cost / last.step, 12, 30)


@claim("Adam stays on a plateau for a long time: it finds the broad arch of the solution")
def adam_on_its_plateau(runs):
    early = [look for look in runs["Adam"] if 100 <= look.cost <= 500]
    assert min(look.error for look in early) > 0.2
    assert runs["RLHF"][-1].error < 1e-3 < runs["Adam"][-1].error


@claim("The digits, a classifier of notebook 09's kind, have nothing like it.")
def the_spectra_differ(spectra):
    assert float(spectra["Poisson 1-D"][5]) < 1e-4
    assert float(spectra["noisy digits"][5]) > 0.1


@claim(
    "Each tuned number was searched with two seeds that are used for nothing else, separately for "
    "each of the two budgets, until the best value lay between worse ones."
)
def tuning_is_apart():
    from rlhf_course.studies import nb16_map as study

    assert len(study.TUNING_SEEDS) == 2 and not set(study.TUNING_SEEDS) & set(study.SEEDS)
    assert all(len(t.axes) == 1 for t in study.SEARCH.tuned.values())


@claim("A has eight points and 481 weights: the loss falls to nothing *there*")
def too_few_points(suspects, problem):
    assert sum(p.numel() for p in problem.params) == 481
    assert suspects["A"][-1]["loss"] < 1e-9 < 1 < suspects["A"][-1]["everywhere"]
    assert suspects["A"][-1]["error"] > 0.05


@claim("B has ρ = 1 at each step, the sign of a model that could be trusted much further")
def a_damping_that_does_not_listen(suspects):
    for step in suspects["B"]:
        near(step["rho"], 1, absolute=0.05)
    assert suspects["B"][-1]["error"] > 0.3


@claim("each step undoes the last one")
def batches_undo(suspects):
    assert suspects["C"][-1]["everywhere"] > 30
    assert max(s["everywhere"] for s in suspects["C"][20:]) > 100


@claim("All have fewer than 10,000 weights.", "The runs last one to four CPU seconds.")
def how_small_everything_is(record):
    from rlhf_course.studies import nb16_map as study

    assert max(size["parameters"] for size in record.sizes.values()) < 10_000
    seconds = [b.seconds for b in study.BUDGETS.values()]
    assert (min(seconds), max(seconds)) == (1, 4)


@claim(
    "**Poisson 2-D**, $-\\Delta u = f$ on a square;",
    "**noisy batches**: the digits with a fifth of their labels wrong, a few passes over the data "
    "in batches of 50; judged by the objective on all images, in nats.",
    "a recurrent network reads forty numbers and adds the two that are marked",
)
def what_the_problems_are(Poisson2, Noisy):
    from rlhf_course.experiments.nb16_problems import Addition, digits

    problem = Noisy(seed=3)
    between(float((problem.labels != digits()[1]).double().mean()), 0.15, 0.25)
    assert problem.batch == 50 and problem.unit == "nats" and Poisson2.second == (0, 1)
    inputs, sums = Addition(seed=0).train
    assert inputs.shape[1] == 40 and (inputs[:, :, 1].sum(1) == 2).all()
    near(float(sums[0]), float((inputs[0, :, 0] * inputs[0, :, 1]).sum()))
