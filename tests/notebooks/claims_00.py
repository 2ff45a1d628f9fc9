"""What notebook 00 says, held in its kernel."""

import math

import torch

from tools.claims import between, claim, near


def angle(a, b):
    return math.degrees(math.acos(float(a @ b / (a.norm() * b.norm()))))


def first_step(H, gradient, shift):
    return -torch.linalg.solve(H + shift * torch.eye(len(gradient)), gradient)


@claim(
    "BERT-base has about 110 million weights, so its Hessian has $1.2 \\cdot 10^{16}$ entries, "
    "48 petabytes at four bytes each"
)
def a_hessian_of_bert_base_has_48_petabytes():
    width, inner, layers = 768, 3072, 12
    layer = 4 * (width * width + width) + 2 * width * inner + inner + width + 4 * width
    weights = (30_522 + 512 + 2) * width + 2 * width + layers * layer + width * width + width
    near(weights, 110e6, relative=0.01)
    near(weights**2, 1.2e16, relative=0.02)
    near(4 * weights**2, 48e15, relative=0.02)


@claim(
    "It has 20 weights and sees 30 noisy measurements",
    "the mean squared error on 1000 inputs that it has not seen, against their true values, "
    "without noise",
    "With $X$ of $n = 30$ rows and $p = 20$ columns",
)
def the_data_have_these_sizes(X, y, X_test, y_test, true_weights, test_error):
    assert X.shape == (30, 20) and y.shape == (30,)
    assert X_test.shape == (1000, 20) and y_test.shape == (1000,)
    near(test_error(true_weights), 0)
    between((y - X @ true_weights).std(), 0.2, 0.4)


@claim(
    "The first steps are the same",
    "its weights grow",
    "After that the λ run stays: it has arrived at its minimum in one step",
    "so λ and μ enter (1) in the same place, and the first steps are equal",
)
def the_first_steps_are_the_same_and_the_ends_are_not(ridge):
    with_lambda, with_damping = list(ridge(0.01, 0)), list(ridge(0, 0.01))
    assert torch.allclose(with_lambda[1].theta, with_damping[1].theta)
    assert torch.allclose(with_lambda[1].theta, with_lambda[-1].theta)
    assert with_damping[-1].theta.norm() > 1.5 * with_lambda[-1].theta.norm()
    lengths = [float(record.theta.norm()) for record in with_damping]
    assert lengths == sorted(lengths)


@claim(
    "From the same 0.092 its test error falls first, to 0.071 after step 3, and only then "
    "climbs, to 0.174 after step 100, because it is on its way to the least-squares fit"
)
def the_test_error_falls_before_it_climbs(ridge, test_error, least_squares):
    errors = [record.val_loss for record in ridge(0, 0.01)]
    near(errors[1], 0.0925, absolute=5e-4)
    near(next(ridge(0.01, 0)).val_loss, errors[0])
    near(errors[3], 0.0713, absolute=5e-4)
    near(errors[100], 0.174, absolute=5e-4)
    assert errors[1] > errors[2] > errors[3] and errors[3:] == sorted(errors[3:])
    assert errors[100] < test_error(least_squares)


@claim(
    "The damped way passed better places than the one at which λ = 0.01 rests, and as good a "
    "one as the best of all λ offers",
    "stopping it after three steps would have been a regularizer, too",
)
def a_damped_run_that_is_stopped_is_as_good_as_the_best_lambda(ridge, X, y, test_error):
    damped = [record.val_loss for record in ridge(0, 0.01)]
    H, g = X.T @ X / len(y), -X.T @ y / len(y)
    best = min(test_error(first_step(H, g, lam)) for lam in torch.logspace(-4, 0, 201).tolist())
    near(damped[3], best, relative=0.005)
    assert damped[3] < 0.8 * list(ridge(0.01, 0))[-1].val_loss


@claim(
    "a damped one goes the share $h/(h + \\mu)$ of what is left",
    "A run with λ stops for good at the share $h/(h + \\lambda)$",
    "nearly all of it where the loss is steep, little where it is flat",
)
def each_direction_is_done_by_its_own_share(ridge, X, y, least_squares):
    values, directions = torch.linalg.eigh(X.T @ X / len(y))
    whole = directions.T @ least_squares
    for lam, mu, step in ((0, 0.01, 1), (0, 0.01, 3), (0, 0.01, 100), (0.01, 0, 100)):
        done = directions.T @ list(ridge(lam, mu))[step].theta / whole
        left = (mu / (values + mu)) ** step if mu else lam / (values + lam)
        assert torch.allclose(done, 1 - left, atol=1e-8)
    between((values / (values + 0.01))[-1], 0.99, 1)
    between((values / (values + 0.01))[0], 0, 0.02)
    between(1 - (0.01 / (values[0] + 0.01)) ** 100, 0.8, 0.9)


@claim(
    "the first one, with μ = 0.01, has half the length of the undamped one and stands at 48 "
    "degrees to it",
    "So damping also *turns* the step",
)
def damping_turns_the_step(X, y):
    H, g = X.T @ X / len(y), -X.T @ y / len(y)
    undamped, damped = first_step(H, g, 0), first_step(H, g, 0.01)
    near(angle(undamped, damped), 48.4, absolute=0.2)
    near(damped.norm() / undamped.norm(), 0.49, absolute=0.005)


@claim("Equation (1) is a line of PyTorch, and the two agree")
def the_line_and_the_library_agree(X, y, newton, loss):
    H, theta = X.T @ X / len(y), torch.zeros(20)
    gradient = X.T @ (X @ theta - y) / len(y)
    step = -torch.linalg.solve(H + 0.03 * torch.eye(20), gradient + 0.01 * theta)
    *_, record = newton(loss, theta, regularizer="l2", lambda_reg=0.01, damping=0.02, max_steps=1)
    assert float((record.theta - step).abs().max()) < 1e-12


@claim(
    "its last step shorter than 0.005, and **with a test error below 0.08**",
    "λ = 0.003 does, and so does a whole range around it",
    "At λ = 0 the run has a low error after 100 steps as well, but it only passes there: it is "
    "on its way to the least-squares fit, where the error is 0.18",
)
def the_second_goal_can_be_reached_and_not_without_a_penalty(ridge, test_error, least_squares):
    def end(lam):
        *_, before, last = ridge(lam, 0.1)
        return last.val_loss, float((last.theta - before.theta).norm())

    for lam in (0.0015, 0.002, 0.003, 0.005):
        error, moved = end(lam)
        assert error < 0.08 and moved < 0.005
    error, moved = end(0)
    near(error, 0.084, absolute=5e-4)
    assert moved > 0.015
    assert end(0.01)[0] > 0.08 and end(0.001)[1] > 0.005  # neither the hint's λ nor a tenth of it
    near(test_error(least_squares), 0.183, absolute=5e-4)


@claim(
    "A with λ = 0.01 and μ = 0, B with λ = 0.01 and μ = 0.1, C with λ = 0.1 and μ = 0",
    "the μ of B makes its steps shorter and turns them (the first by 23 degrees)",
)
def a_and_b_rest_at_one_point(ridge):
    a, b, c = (list(ridge(lam, mu)) for lam, mu in ((0.01, 0), (0.01, 0.1), (0.1, 0)))
    assert float((a[-1].theta - b[-1].theta).norm()) < 1e-4
    assert float((a[-1].theta - c[-1].theta).norm()) > 1
    near(angle(a[1].theta, b[1].theta), 22.7, absolute=0.2)
    assert b[1].theta.norm() < a[1].theta.norm()


@claim(
    "My run *ends* at a test error of 0.084, the one with λ = 0.01 at 0.092",
    "A colleague runs λ = 0 with μ = 0.1 for 100 steps",
    "- **c** μ = 0.1 is part of what was minimized",
    "- **d** 1000 test inputs are too few to tell 0.084 from 0.092",
    "After 100 steps the run still moves by 0.02 a step",
    "its 0.084 is a place on the way, lower than some before and than all after it",
)
def the_damped_run_of_exercise_4_has_not_ended(ridge, X, y, test_error, least_squares):
    *_, before, last = run = list(ridge(0, 0.1))
    near(last.val_loss, 0.084, absolute=5e-4)
    near(list(ridge(0.01, 0))[-1].val_loss, 0.092, absolute=7e-4)
    near((last.theta - before.theta).norm(), 0.02, absolute=2e-3)
    values, directions = torch.linalg.eigh(X.T @ X / len(y))
    whole = directions.T @ least_squares
    after = [
        test_error(directions @ (whole * (1 - (0.1 / (values + 0.1)) ** k)))
        for k in (150, 300, 1000, 10_000)
    ]
    assert last.val_loss < after[0] and after == sorted(after)
    assert run[1].val_loss > last.val_loss
    near(after[-1], test_error(least_squares), relative=0.05)


@claim(
    "On this data set it was a tie",
    "neither is better in general",
    "over the steps 1 to 100 of a run with λ = 0, μ = 0.01",
    "take the least test error over λ = 10⁻⁴ ... 1 (at least 50 values)",
)
def either_can_win(draw):
    from rlhf_course.checks.nb00 import least_errors

    ratios = {}
    for seed in range(1, 41):
        stopped, penalized = least_errors(seed)
        ratios[seed] = stopped / penalized
    near(ratios[1], 1, relative=0.02)
    assert sum(r < 0.9 for r in ratios.values()) == sum(r > 1.1 for r in ratios.values()) == 3
    X, *_ = draw(7)
    assert X.shape == (30, 20)


@claim("commit to an answer")
def the_predictions_have_the_right_answers(ridge):
    from rlhf_course.checking.predictions import find

    with_lambda, with_damping = list(ridge(0.01, 0)), list(ridge(0, 0.01))
    near((with_lambda[1].theta - with_damping[1].theta).norm(), 0)
    assert find("00.after_one").truth == "neither: they are the same"
    assert with_damping[-1].theta.norm() > with_lambda[-1].theta.norm()
    assert find("00.after_all").truth == "those with μ"
    for record, told in zip(with_damping[1:], find("00.error").truth, strict=False):
        near(record.val_loss, told, absolute=1e-4)


@claim("make two runs whose first steps have the same length")
def the_panels_goal_is_reached_by_two_runs_and_by_no_other(nb00, ridge):
    reached = nb00.two_alike()

    def run(lam, mu):
        return reached(list(ridge(lam, mu)), {"lambda_reg": lam, "damping": mu})

    assert not run(0.01, 0.1) and not run(0.01, 0) and not run(0, 0.1) and run(0, 0.01)
