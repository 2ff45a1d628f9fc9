"""What notebook 03 says, held in its kernel."""

import torch

from tools.claims import between, claim, near


def path(newton, f, start, mu, steps=60):
    return list(newton(f, torch.tensor(start), damping=mu, max_steps=steps))


@claim(
    "with minima at $(0, \\pm 1)$, where $f = -\\tfrac14$, and a saddle at $(0, 0)$, where $f = 0$"
)
def the_landscape_has_two_minima_and_a_saddle(f, exact_hessian):
    for y, value, least in ((1.0, -0.25, 1.0), (-1.0, -0.25, 1.0), (0.0, 0.0, -1.0)):
        point = torch.tensor([0.0, y])
        near(f(point), value)
        assert float(torch.func.grad(f)(point).norm()) < 1e-12
        near(torch.linalg.eigvalsh(exact_hessian(f, point))[0], least)


@claim(
    "With damping, the eigenvalue becomes $-0.52 + \\mu$",
    "the curvature at the start is $3 \\cdot 0.4^2 - 1 = -0.52$",
    "Newton jumps to the top *of the model*, at y = −0.25, beyond the saddle",
    "Undamped Newton went to the saddle, and quickly",
)
def undamped_newton_jumps_over_the_saddle_and_ends_in_it(newton, f):
    run = path(newton, f, [1.5, 0.4], 0.0, steps=6)
    near(run[0].extra["eigenvalues"][0], -0.52)
    near(run[1].theta[1], -0.25, absolute=0.01)
    assert float(run[-1].theta.norm()) < 1e-6


@claim(
    "With μ = 0.4 that step jumps over the saddle and past the *other* minimum, to $y = -2.4$",
    "While it is negative, the first step still starts uphill along $y$",
)
def with_little_damping_the_step_along_y_is_uphill(newton, f):
    run = path(newton, f, [1.5, 0.4], 0.4)
    near(run[1].theta[1], -2.4, absolute=0.005)
    near(run[-1].theta[1], -1.0)
    gradient = torch.func.grad(f)(torch.tensor([1.5, 0.4]))
    assert float(gradient[1]) * float(run[1].theta[1] - 0.4) > 0


@claim(
    "Above μ = 0.52 the step starts downhill along both axes, for certain",
    "as the map below shows, a little more or less damping ends elsewhere",
)
def above_052_every_step_starts_downhill_and_below_it_is_luck(newton, f, nb03):
    ends = {
        mu: round(float(path(newton, f, [1.5, 0.4], mu)[-1].theta[1]))
        for mu in (0.04, 0.08, 0.14, 0.2, 0.5)
    }
    assert ends == {0.04: 0, 0.08: 0, 0.14: 1, 0.2: -1, 0.5: -1}
    for mu in (0.54, 0.6, 1.0):
        run = path(newton, f, [1.5, 0.4], mu)
        assert nb03.smallest(run) > 0
        near(run[-1].theta[1], 1.0)


@claim(
    "the first step along $y$ is far too long: to 17.2, out of the picture, where $f$ is about "
    "21,700, and the steep $y^4$ brings it back"
)
def a_tiny_positive_eigenvalue_makes_the_step_far_too_long(newton, f):
    run = path(newton, f, [1.5, 0.4], 0.54)
    near(run[1].theta[1], 17.2, relative=0.005)
    near(run[1].loss, 21_700, relative=0.005)
    near(run[-1].theta[1], 1.0)


@claim(
    "More than a third of the eigendirections curve downwards",
    "most eigenvalues are all but zero, of either sign",
)
def the_tiny_bert_has_negative_curvature(eigenvalues, bert, conjugate_gradient):
    rounding = 1e-9 * float(eigenvalues.abs().max())
    between((eigenvalues < -rounding).double().mean(), 1 / 3, 0.5)
    between((eigenvalues.abs() < 0.02).double().mean(), 0.8, 1.0)
    assert conjugate_gradient(bert, -bert.gradient).reason == "negative_curvature"


@claim(
    "At the start the smaller eigenvalue is $3 \\cdot 0.2^2 - 1 + \\mu = \\mu - 0.88$",
    "It is zero at μ = 0.88, so the next step of the slider, 0.90, is the least",
    "the path comes back to $y = 1$ from above, where $3y^2 - 1 \\ge 2$",
)
def from_02_the_least_safe_damping_is_090(newton, f, nb03):
    start = [1.5, 0.2]
    near(path(newton, f, start, 0.88, steps=0)[0].extra["eigenvalues"][0], -0.88)
    run = path(newton, f, start, 0.9)
    near(nb03.smallest(run), 0.02, relative=1e-6)
    assert all(float(record.theta[1]) >= 1 - 1e-9 for record in run[1:])


@claim(
    "so by (3) the step has none either, *for any* μ: the path stays on the line and ends in the "
    "saddle",
    "a damped step that *finds its own* μ",
    "it leaves the line",
)
def in_the_hard_case_only_the_cubic_step_leaves(newton, f, leaving, cubic_step, exact_hessian):
    for mu in (0.6, 1.2, 5.0):
        run = path(newton, f, [1.5, 0.0], mu, steps=200)
        assert all(float(record.theta[1]) == 0 for record in run)
        assert float(run[-1].theta.norm()) < 1e-6
    near(leaving["γ = 2"][-1][1].abs(), 1)
    g, H = torch.func.grad(f)(torch.tensor([0.3, 0.2])), exact_hessian(f, torch.tensor([0.3, 0.2]))
    d = cubic_step(g, H, 2.0)
    shifted = H + 2.0 * d.norm() * torch.eye(2)
    assert float((shifted @ d + g).norm()) < 1e-9
    assert float(torch.linalg.eigvalsh(shifted)[0]) > -1e-9

    def model(d):
        return g @ d + d @ H @ d / 2 + 2.0 / 3 * d.norm() ** 3

    least = float(model(d))
    assert all(float(model(d + 0.3 * torch.randn(2))) > least for _ in range(200))


@claim(
    "has a whole curve of minima, $ab = 1$, of sharpness $a^2 + b^2$: 2 at $(1, 1)$, and more to "
    "both sides",
    "From $(3,\\ 0.34)$, next to a minimum of sharpness 9.1, gradient descent with η = 0.2 stays: "
    "$2/\\eta$ is 10",
    "With η = 0.3 that minimum throws it out, and it comes to rest in one of sharpness 3.2",
    "Newton's method with μ = 1 rests in the nearest minimum",
    "Gradient descent cannot rest where the sharpness is above $2/\\eta$",
    "One that works is η = 0.35 from (3, 0.3): it ends at sharpness 2.01",
    "multiplies what is off by $1 - 0.35 \\cdot 9 = -2.2$ a step",
    "(loss below 0.01, $a^2 + b^2$ above 6)",
    "from which a run of 400 steps ends in one of the flattest: loss below $10^{-12}$",
)
def gradient_descent_leaves_sharp_minima(roll, nb03):
    def end(*values):
        return list(roll(*values))[-1]

    for a in (0.5, 1.0, 3.0):
        near(next(roll("gradient descent", 0.1, a, 1 / a)).extra["sharpness"], a**2 + 1 / a**2)
    kept, moved = (end("gradient descent", rate, 3.0, 0.34) for rate in (0.2, 0.3))
    near(kept.extra["sharpness"], 9.1, absolute=0.05)
    near(moved.extra["sharpness"], 3.2, absolute=0.05)
    newton_end = end("damped Newton", 0.3, 3.0, 0.34)
    near(newton_end.extra["sharpness"], 9.1, absolute=0.1)
    assert max(kept.loss, moved.loss, newton_end.loss) < 1e-6
    for rate in (0.2, 0.25, 0.3, 0.35):
        for b in (0.2, 0.3, 0.34):
            *_, last = roll("gradient descent", rate, 3.0, b)
            assert last.loss > 1e-6 or last.extra["sharpness"] < 2 / rate
    near(1 - 0.35 * 9, -2.2, absolute=0.06)
    assert (3 * 0.3 - 1) ** 2 / 2 < 0.01 and 3**2 + 0.3**2 > 6
    theta = torch.tensor([3.0, 0.3])
    for _ in range(400):
        theta = theta - 0.35 * (theta[0] * theta[1] - 1) * theta.flip(0)
    near(theta @ theta, 2.01, absolute=0.01)
    asked = {"method": "gradient descent", "a": 3.0, "b": 0.34}
    assert nb03.rests_low(list(roll("gradient descent", 0.3, 3.0, 0.34)), asked)
    assert not nb03.rests_low(list(roll("gradient descent", 0.2, 3.0, 0.34)), asked)


@claim("B is one; its condition number, 2250, only says that it was a long way")
def the_condition_number_of_run_b():
    near(900 / 0.4, 2250)


@claim("Commit to an answer before you look")
def the_predictions_have_the_right_answers(newton, f):
    from rlhf_course.checking.predictions import find

    assert find("03.undamped").truth == "at the saddle (0, 0)"
    assert float(path(newton, f, [1.5, 0.4], 0.0)[-1].theta.norm()) < 1e-6
    near(-find("03.least").truth, path(newton, f, [1.5, 0.4], 0.0)[0].extra["eigenvalues"][0])
