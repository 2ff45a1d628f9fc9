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
    "At our start the gradient is $(1.5,\\ 0.4^3 - 0.4)$, and with μ = 0 the sum in (3) is "
    "$1.5^2/1 + 0.336^2/(-0.52) > 0$"
)
def at_the_start_the_fall_along_x_outweighs_the_climb_along_y(f, start):
    gradient = torch.func.grad(f)(start)
    near(gradient[0], 1.5)
    near(gradient[1], -0.336)
    assert gradient[0] ** 2 - gradient[1] ** 2 / 0.52 > 0


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


@claim("Commit to an answer before you look")
def the_predictions_have_the_right_answers(newton, f):
    from rlhf_course.checking.predictions import find

    assert find("03.undamped").truth == "at the saddle (0, 0)"
    assert float(path(newton, f, [1.5, 0.4], 0.0)[-1].theta.norm()) < 1e-6
    near(-find("03.least").truth, path(newton, f, [1.5, 0.4], 0.0)[0].extra["eigenvalues"][0])
