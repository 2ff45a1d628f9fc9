"""What notebook 06 says, held in its kernel."""

import math
from itertools import pairwise

import torch

from tools.claims import between, claim, near


def l1(loss, theta, lam):
    return float(loss(theta) + lam * theta.abs().sum())


def zeros(theta):
    return int((theta == 0).sum())


@claim(
    "569 breast tumours, 30 measurements of each ($X$, scaled to mean 0 and standard deviation 1)",
    "30 weights, no intercept",
    "it is convex",
)
def the_tumours_and_the_loss(X, y, data, loss, gradient, exact_hessian):
    assert X.shape == (569, 30) and y.unique().tolist() == [-1.0, 1.0]
    assert float(X.mean(0).abs().max()) < 1e-9
    near(X.std(0, unbiased=False).min(), 1), near(X.std(0, unbiased=False).max(), 1)
    assert str(data.target_names[1]) == "benign"
    near(loss(torch.zeros(30)), math.log(2))
    for seed in range(3):
        theta = torch.randn(30, generator=torch.Generator().manual_seed(seed))
        near(loss(theta), torch.log(1 + torch.exp(-y * (X @ theta))).mean())
        assert float(torch.linalg.eigvalsh(exact_hessian(loss, theta))[0]) > -1e-12


@claim(
    "Right of zero its slope is $\\theta - a + \\lambda$, at least 0.5. Left of zero it is "
    "$\\theta - a - \\lambda$, at most −1.5",
    "**the minimum is at the corner, at θ = 0 exactly**",
)
def both_sides_rise_from_the_corner(corner):
    slope = torch.func.grad(corner)
    for x in (1e-9, 0.1, 1.0):
        assert float(slope(torch.tensor([x]))) >= 0.5
        assert float(slope(torch.tensor([-x]))) <= -1.5
    least = float(corner(torch.zeros(1)))
    assert all(float(corner(torch.tensor([x]))) > least for x in (-1.0, -1e-6, 1e-6, 1.0))


@claim(
    "At the minimum autograd reports a slope of −0.5",
    "Right of zero it sees a parabola with its minimum at $a - \\lambda = -0.5$ and jumps to "
    "it; from there it sees another one, with its minimum at $a + \\lambda = 1.5$",
    "arrives in one step",
)
def newton_by_autograd_jumps_and_newton_with_a_prox_arrives(corner, by_autograd, by_prox):
    near(torch.func.grad(corner)(torch.zeros(1)), -0.5)
    for step, record in enumerate(by_autograd[1:], 1):
        near(record.theta, -0.5 if step % 2 else 1.5)
    assert by_prox[1].theta.item() == 0 and by_prox[-1].step == 1


@claim(
    "form a square that stands on a corner, those of equal $\\theta_1^2 + \\theta_2^2$ a circle",
    "**at a corner one weight is zero**",
)
def with_l1_the_minimum_is_a_corner_of_the_square(valley, by_l1, by_l2):
    assert float(by_l1[1]) == 0 and float(by_l1[0]) > 0.5
    assert float(by_l2.abs().min()) > 0.1
    # Nowhere on the square, and nowhere on the circle, is f smaller: there its contour touches.
    t = torch.linspace(0, 2 * math.pi, 721)
    circle = by_l2.norm() * torch.stack([t.cos(), t.sin()], 1)
    square = torch.stack([t.cos(), t.sin()], 1)
    square = by_l1.abs().sum() * square / square.abs().sum(1, keepdim=True)
    for line, point in ((square, by_l1), (circle, by_l2)):
        assert float(torch.vmap(valley)(line).min()) >= float(valley(point)) - 1e-9


@claim("the autograd Hessian of $f + \\lambda\\sum|\\theta|$ is the Hessian of $f$")
def autograd_sees_no_curvature_in_the_penalty(gap, loss, exact_hessian):
    assert gap == 0
    theta = torch.tensor([0.0, -0.5, 1.0] * 10)
    with_penalty = exact_hessian(lambda t: loss(t) + 7 * t.abs().sum(), theta)
    assert torch.equal(with_penalty, exact_hessian(loss, theta))


@claim("taken literally, and it explodes", "each step is longer than the one before")
def plain_newton_explodes(newton, loss):
    for lam in (0.1, 0.01):
        run = list(
            newton(lambda t, m=lam: loss(t) + m * t.abs().sum(), torch.zeros(30), max_steps=3)
        )
        assert run[-1].loss > 1000
        assert all(b.step_norm > a.step_norm for a, b in pairwise(run[1:]))


@claim(
    "Newton steps on $f + \\lambda\\sum|\\theta|$, with damping",
    "So let us be kind to autograd, and damp it with μ = 0.1",
    "with $\\delta = 0.001$, and apply Newton's method with a line search to that",
)
def the_settings_of_the_methods(DELTA, plain_autograd, STEPS):
    assert DELTA == 0.001 and STEPS == 60
    assert next(iter(plain_autograd(0.1))).damping == 0.1


@claim("it is zero at a minimum of (1) and, as $f$ is convex here, nowhere else")
def the_kkt_residual_is_zero_at_the_minimum_only(ends, kkt, loss):
    best = ends["proximal Newton"].theta
    assert kkt(best, 0.1) < 1e-6
    for seed in range(5):
        other = best + 0.1 * torch.randn(30, generator=torch.Generator().manual_seed(seed))
        assert kkt(other, 0.1) > 1e-3 and l1(loss, other, 0.1) > l1(loss, best, 0.1)


@claim("An **exact zero is an open square** on the lowest line, at $10^{-8}$")
def exact_zeros_stand_at_1e_minus_8():
    from rlhf_lib.panels.sizes import Sizes

    some, zeros = Sizes(lambda record: record).traces([torch.tensor([1.0, 0.0, 1e-30])], {})
    assert (some["name"], zeros["name"]) == ("not zero", "exactly zero")
    assert zeros["y"] == [1e-8] and all(y > 1e-8 for y in some["y"])


@claim(
    "**Plain autograd** has no zero, and never comes to rest",
    "weights that should be zero are thrown from one side of the corner to the other",
)
def plain_autograd_never_rests(runs):
    run, best = runs["plain autograd"], runs["proximal Newton"][-1].theta
    assert zeros(run[-1].theta) == 0 and run[-1].reason == "max_steps"
    assert run[-1].extra["kkt"] > 1e-3
    held = best == 0
    for before, after in list(pairwise(run))[-5:]:
        assert int((after.theta.sign() != before.theta.sign())[held].sum()) > 5


@claim(
    "**Pseudo-Huber** does come to rest (in the panel its curve ends before step 60), at the "
    "minimum of *another* function",
    "There $F$ is higher, by at most $30\\,\\lambda\\delta = 0.003$, because rounding takes at "
    "most δ from each $|\\theta_j|$",
    "But it has no zeros either, only small numbers",
)
def pseudo_huber_rests_at_another_minimum(ends, runs, PseudoHuber, DELTA):
    end, best = ends["pseudo-Huber"], ends["proximal Newton"]
    assert end.reason == "converged" and end.step < 55
    assert zeros(end.theta) == 0 and end.extra["kkt"] > 1e-3
    between(end.extra["objective"] - best.extra["objective"], 1e-5, 0.003)
    x = torch.linspace(-3, 3, 601)
    taken = x.abs() - x**2 / ((x**2 + DELTA**2).sqrt() + DELTA)
    assert 0 <= float(taken.min()) and float(taken.max()) <= DELTA
    near(30 * 0.1 * DELTA, 0.003)


@claim(
    "the table below has a different answer for each cut",
    "Make δ smaller and they shrink, but the rounded corner has curvature $1/\\delta$, and "
    "Newton's method needs more steps",
)
def a_sharper_corner_needs_more_steps(ends, pseudo_huber, ZERO):
    sizes = ends["pseudo-Huber"].theta.abs()
    counts = [int((sizes < cut).sum()) for cut in (1e-3, 1e-2, 1e-1)]
    assert counts[0] + 5 < counts[1] < counts[2]
    wide, sharp = (list(pseudo_huber(0.1, ZERO, delta, 200))[-1] for delta in (1e-2, 1e-3))
    assert sharp.step > 2 * wide.step
    held = ends["proximal Newton"].theta == 0
    assert float(sharp.theta[held].abs().sum()) < 0.2 * float(wide.theta[held].abs().sum())
    for delta in (1e-2, 1e-3):

        def rounded(t, delta=delta):
            return (t**2 + delta**2).sqrt() - delta

        near(torch.func.grad(torch.func.grad(rounded))(torch.zeros(())), 1 / delta)


@claim(
    "The **proximal** and the **orthant-wise** method have the same 26 exact zeros, and they "
    "stop at a KKT residual below $10^{-6}$. (Without a penalty no weight is zero.)"
)
def the_two_methods_have_the_same_zeros(ends, unpenalized):
    one, other = (ends[name] for name in ("proximal Newton", "orthant-wise Newton-CG"))
    for end in (one, other):
        assert zeros(end.theta) == 26 and end.extra["kkt"] < 1e-6
        near(end.extra["objective"], 0.4789, absolute=5e-5)
    assert torch.equal(one.theta == 0, other.theta == 0)
    assert zeros(unpenalized) == 0


@claim(
    "a weight that is not zero is pulled with exactly the force λ, away from zero; a weight at "
    "zero is pulled with at most λ"
)
def the_pulls_at_the_minimum(best, gradient):
    g = gradient(best)
    active = best != 0
    assert torch.allclose(g[active], -0.1 * best[active].sign(), atol=1e-6)
    assert bool((g[~active].abs() < 0.1).all())


@claim("(Without convexity that holds at every minimum, but at saddles, too.)")
def without_convexity_the_residual_is_zero_at_a_saddle_too(L1):
    def f(t):
        return t[0] ** 2 / 2 - (t[1] - 1) ** 2 / 2

    saddle = torch.tensor([0.0, 1.1])
    residual = L1(weight=0.1).subgradient(torch.func.grad(f)(saddle), saddle)
    assert float(residual.norm()) < 1e-12
    for step, lower in ((0.1, True), (-0.1, True)):
        moved = saddle + torch.tensor([0.0, step])
        value = float(f(moved) + 0.1 * moved.abs().sum())
        assert (value < float(f(saddle) + 0.1 * saddle.abs().sum())) == lower


@claim("Autograd's gradient differs from it in the second line: there it says $g_j$")
def autograd_says_g_at_zero(loss, gradient, best):
    found = torch.func.grad(lambda t: loss(t) + 0.1 * t.abs().sum())(best)
    held = best == 0
    assert torch.equal(found[held], gradient(best)[held])


@claim(
    "move $x$ towards zero by $t$, and stop at zero",
    "With $H = I$ the solution is a soft threshold",
)
def the_prox_is_the_soft_threshold(L1, newton):
    z = torch.linspace(-3, 3, 6001)
    for x in (-2.0, -0.3, 0.5, 1.7):
        value = (z - x) ** 2 / 2 + 0.6 * z.abs()
        near(L1().prox(torch.tensor([x]), 0.6), z[value.argmin()], absolute=2e-3)
    start = torch.tensor([1.0, -0.2, 0.4])
    target = torch.tensor([2.0, 0.5, -0.1])
    run = list(
        newton(
            lambda t: ((t - target) ** 2).sum() / 2,
            start,
            regularizer="l1",
            lambda_reg=0.6,
            method="proximal",
        )
    )
    assert torch.allclose(run[1].theta, L1().prox(start - (start - target), 0.6), atol=1e-8)


@claim("`rtol=1e-2` ends the inner solve at a hundredth of its first residual")
def both_methods_by_products_find_the_same_zeros(by_products, kkt, best, STEPS):
    for kinks in ("orthant", "proximal"):
        run = list(by_products(0.1, kinks))
        last = next(r for r in run if kkt(r.theta, 0.1) < 1e-6)
        assert last.step < 30 and last.cost < 500
        assert torch.equal(last.theta == 0, best == 0)


@claim(
    "At $\\theta = 0$ condition (2) reads $|g_j(0)| \\le \\lambda$ for all $j$: from "
    "$\\lambda_{\\max} = \\max_j |g_j(0)|$ on, everything is zero",
    "the weights come alive, a few at a time",
)
def from_lambda_max_on_everything_is_zero(lambda_max, proximal_newton, gradient, ZERO, ours):
    for factor, none in ((1.5, True), (1.0001, True), (0.99, False)):
        end = list(proximal_newton(factor * lambda_max))[-1].theta
        assert (zeros(end) == 30) == none
    near(lambda_max, gradient(ZERO).abs().max())
    counts = [30 - zeros(r.theta) for r in ours]
    assert max(b - a for a, b in pairwise(counts)) <= 3


@claim(
    "those that are largest at the 21st of the 32 values of λ",
    "*λ falls to* says how far the path goes, at the least to 0.001",
    "its `C` is $1/(n\\lambda)$",
)
def the_grid_has_32_values_down_to_0001(GRID, walk):
    assert len(GRID) == 32
    near(GRID[-1], 0.001, relative=0.01)
    assert GRID[-1] > 1e-3
    near(GRID[0] / GRID[12], 10)


@claim(
    "At all 32 values of λ our weights are within $10^{-4}$ of scikit-learn's, and the zeros "
    "are the same ones",
    "along the whole path",
)
def our_path_is_that_of_scikit_learn(ours, theirs):
    assert len(ours) == len(theirs) == 32
    for record, other in zip(ours, theirs, strict=True):
        assert float((record.theta - other).abs().max()) < 1e-4
        assert torch.equal(record.theta == 0, other == 0)
        assert record.extra["kkt"] < 1e-6


@claim(
    "so the first weight to come alive is that of the measurement that goes along with the "
    "label most closely; at the next value of λ here a second one is there already",
    "One of the two, the worst perimeter, is not among the six curves",
    "At $\\theta = 0$ the gradient is $g_j = -\\tfrac{1}{2n}\\sum_i y_i X_{ij}$",
)
def the_first_weights(ours, names, gradient, ZERO, X, y, n, theirs, walk):
    assert torch.allclose(gradient(ZERO), -(y @ X) / (2 * n))
    first = next(r.theta for r in ours if bool((r.theta != 0).any()))
    alive = {names[j] for j in first.nonzero().flatten().tolist()}
    assert alive == {"worst perimeter", "worst concave points"}
    six = {names[j] for j in theirs[20].abs().argsort(descending=True)[:6].tolist()}
    assert alive - six == {"worst perimeter"}
    assert names[int((y @ X).abs().argmax())] in alive


@claim("And a weight can die again")
def a_weight_goes_back_to_zero(ours, rounded, nb06):
    counts = [30 - zeros(r.theta) for r in ours]
    assert any(after < before for before, after in pairwise(counts[-4:]))
    assert counts == nb06.COUNTS
    assert zeros(rounded[-1].theta) == 0


@claim(
    "find a λ with which exactly eight weights are not zero, and the KKT residual at the end is "
    "below $10^{-6}$",
    "At λ = 0.03 eight weights are pulled by the data with the full force λ, and 22 with less",
    "None of the 22 pulls is at its limit (the largest is 0.995 of it)",
    "Three values of λ in a row on the path have eight weights, too",
)
def at_003_there_are_eight_weights(proximal_newton, by_products, gradient, kkt, GRID, nb06):
    for run in (proximal_newton(0.03), by_products(0.03)):
        end = list(run)[-1].theta
        assert zeros(end) == 22 and kkt(end, 0.03) < 1e-6
        force = gradient(end).abs() / 0.03
        assert torch.allclose(force[end != 0], torch.ones(8), atol=1e-5)
        near(force[end == 0].max(), 0.995, absolute=0.001)
    eight = [i for i, count in enumerate(nb06.COUNTS) if count == 8]
    assert eight == list(range(eight[0], eight[0] + 3))
    assert all(0.026 < GRID[i] < 0.039 for i in eight)


@claim(
    "Write the 2-norm of (3) as a function of the task's `gradient` of shape (p,)",
    "The soft threshold and the orthant make exact zeros",
)
def the_residual_is_the_shortest_subgradient(L1, kkt, gradient, ZERO):
    theta = torch.tensor([0.0, 0.3, -0.2] * 10)
    g, lam = gradient(theta), 0.02
    slopes = torch.linspace(-1, 1, 2001)
    least = torch.stack(
        [
            (g[j] + lam * (slopes if theta[j] == 0 else theta[j].sign())).abs().min()
            for j in range(30)
        ]
    )
    near(kkt(theta, lam), least.norm(), absolute=1e-4)


@claim("Commit yourself before you look")
def the_predictions_have_the_right_answers(ends, ours, nb06):
    from rlhf_course.checking.predictions import find

    assert find("06.zeros").truth == "proximal Newton and orthant-wise Newton-CG"
    having = {name for name, end in ends.items() if zeros(end.theta)}
    assert having == {"proximal Newton", "orthant-wise Newton-CG"}
    near(find("06.count").truth, zeros(ends["proximal Newton"].theta))
    assert find("06.path").truth == [30 - zeros(r.theta) for r in ours]


@claim(
    "wonders why 24 of the 30 weights are not zero, where you have four",
    "is $0.1/569 = 0.000176$",
    "every weight that is alive tells it",
)
def a_minimum_carries_its_lambda(nb06, hers, best, gradient, whose_lambda, n):
    assert nb06.alive(hers) == 24 and nb06.alive(best) == 4
    near(whose_lambda(gradient(hers), hers), 0.1 / n, relative=2e-3)
    near(0.1 / n, 0.000176, absolute=5e-7)
    near(whose_lambda(gradient(best), best), 0.1, relative=1e-4)
    assert whose_lambda(gradient(1.1 * hers), 1.1 * hers) == 0


@claim(
    "in place of the 30 columns",
    "L1 charges $|\\theta_1| + |\\theta_2|$ for the effect $\\theta_1 + 2\\theta_2$",
    "its minimum has $\\theta_2 = 2\\theta_1$, so the first twin has a fifth",
)
def twins_share_by_their_units(l1_share, l2_share, X):
    near(l1_share, 0.0, absolute=1e-9)
    near(l2_share, 0.2, relative=1e-6)
    assert X.shape[1] == 30
