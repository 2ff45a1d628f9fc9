"""What notebook 08 says, held in its kernel."""

import math
from itertools import pairwise

import torch

from tools.claims import between, claim, near


@claim(
    "Newton's step is $-f'/f'' = -x(1 + x^2)$, so Newton's method goes from $x$ to $-x^3$",
    "For $|x| < 1$ that converges, and fast",
    "The cell starts once below 1 and once above",
    "The model at 1.1 is a parabola that opens upwards, its minimum is real, and it is in the "
    "wrong place",
)
def newton_goes_from_x_to_minus_x_cubed(paths, parabola, bowl):
    for start, path in paths.items():
        for before, r in pairwise(path):
            near(r.theta, -(float(before.theta) ** 3), relative=1e-6)
        assert (abs(float(path[-1].theta)) < 1e-3) == (start < 1)
    assert float(paths[1.1][-1].theta) > 2000
    lowest = float(paths[1.1][1].theta)
    near(lowest, -1.331)
    assert parabola(lowest) < min(parabola(lowest - 0.01), parabola(lowest + 0.01))
    near(parabola(1.1), bowl(torch.tensor([1.1])))


@claim(
    "569 patients; scaled to mean 0 and standard deviation 1",
    "Two weights, $\\theta = (a, b)$, so its whole loss, the mean cross-entropy, can be drawn",
)
def the_data_are_569_patients(x, malignant, nb08, closure):
    assert len(x) == len(malignant) == nb08.PATIENTS == 569
    near(x.mean(), 0.0, absolute=1e-12)
    near(x.std(), 1.0)
    theta = torch.tensor([1.3, 0.7])
    z = 1.3 * torch.tanh(0.7 * x)
    p = 1 / (1 + (-z).exp())
    truth = -(malignant * p.log() + (1 - malignant) * (1 - p).log()).mean()
    near(closure(theta)[0], truth, relative=1e-9)
    # What the contours are drawn of is the same loss.
    near(nb08.surface(closure)(*(t[None].numpy() for t in theta))[0], truth, relative=1e-9)


@claim(
    "On the *plateau* both layers are nearly off, and $G$ has an eigenvalue of almost zero",
    "in two dimensions they need at most two",
)
def on_the_plateau_g_has_almost_a_zero_eigenvalue(models, conjugate_gradient):
    small, large = torch.linalg.eigvalsh(models["plateau"].dense()).tolist()
    between(small / large, 0, 0.001)
    for G in models.values():
        assert float(torch.linalg.eigvalsh(G.dense())[0]) > 0
        assert conjugate_gradient(G, -G.gradient, rtol=1e-10).iterations <= 2


@claim("On the *wall* the network is confidently wrong")
def on_the_wall_the_network_is_confidently_wrong(models, malignant):
    between(models["wall"].loss, math.log(2) + 0.3, 2)
    share = float(malignant.mean())
    guess = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert models["wall"].loss > guess + 0.3


@claim(
    "Commit to an answer before you look",
    "So one may ask for ρ as a function of the length "
    "alone. Sketch it, and remember that a short step has ρ = 1",
)
def the_predictions_have_the_right_answers(
    loss, origin, undamped, decrease, steps, propose, promise, models
):
    from rlhf_course.checking.predictions import find

    assert find("08.end").truth == "far above 1" and loss(origin + undamped) > 10
    assert find("08.mend").truth == "making it turn"
    best = max(decrease(t * undamped / undamped.norm()) for t in torch.logspace(-4, 1.4, 400))
    between(best, 0, 0.0002)
    assert decrease(steps["μ = 0.003"]) > 0.07
    G, truth = models["plateau"], find("08.rho").truth
    assert len(truth) == 15 and truth[0] == 1.0
    for mu in (10.0, 0.1, 0.03, 0.01, 0.002, 0.0005):
        d = propose(G, mu)
        place = float(d.norm()) / 0.2
        left = int(place)
        drawn = truth[left] + (place - left) * (truth[left + 1] - truth[left])
        near(drawn, decrease(d) / promise(G, d), absolute=0.15)


@claim(
    "The undamped step is 23 long and ends at (−20, 11), where the loss is 14.3 instead of "
    "0.675: the decrease of 0.085 that the model promised is an *increase* of 13.6, and "
    "ρ = −160",
    "The undamped step points more than 80° away from $-g$",
    "No eigenvalue was negative. One was nearly zero",
)
def the_undamped_step_runs_away(models, origin, undamped, loss, decrease, promise, nb08):
    G, end = models["plateau"], origin + undamped
    near(undamped.norm(), 23, relative=0.02)
    near(end[0], -20, absolute=0.5)
    near(end[1], 11, absolute=0.5)
    near(loss(end), 14.3, relative=0.005)
    near(G.loss, 0.675, absolute=0.0005)
    near(promise(G, undamped), 0.085, absolute=0.0005)
    near(decrease(undamped), -13.6, relative=0.005)
    near(decrease(undamped) / promise(G, undamped), -160, relative=0.005)
    assert nb08.angle(undamped, -G.gradient) > 80


@claim(
    "With μ = 0.003 or Δ = 1.5 it turns towards $-g$, and a step of length 1.5 decreases the "
    "loss more than promised",
    "Damping and radius mend it by turning",
)
def damping_and_radius_turn_the_step(steps, models, decrease, promise, nb08):
    G = models["plateau"]
    for name in ("μ = 0.003", "Δ = 1.5"):
        d = steps[name]
        near(d.norm(), 1.5, relative=0.05)
        assert nb08.angle(d, -G.gradient) < 20
        assert decrease(d) > promise(G, d)


@claim(
    "so all it can do is go 1/256 of the way along a poor path",
    "The loss falls, as Armijo's test demands, but by 0.00006",
    "No length would have helped much",
)
def a_line_search_only_shortens(alpha, undamped, decrease):
    near(alpha, 1 / 256, relative=1e-9)
    near(decrease(alpha * undamped), 0.00006, absolute=0.000005)
    assert (
        max(decrease(r * undamped / undamped.norm()) for r in torch.logspace(-4, 1.4, 400)) < 0.0002
    )


@claim(
    "**Goal:** from the *wall*, a step longer than 1.9 with ρ of at least ¾",
    "a full step longer than 1.9 whose ρ is at least ¾",
    "From about ¾ on one calls a step well predicted",
    "(at 100 it binds nobody)",
)
def the_goal_is_a_step_longer_than_19(one_step, STARTS):
    from rlhf_course.checking.goals import reached
    from rlhf_course.checks import nb08 as how_far_to_trust

    assert how_far_to_trust.LONG == 1.9
    at_goal = reached("08.longest")
    for start, damping, radius, c, wanted in (
        ("wall", 0.0, 2.0, 1e-4, True),
        ("wall", 0.1, 100.0, 1e-4, True),
        ("plateau", 0.0, 100.0, 1e-4, False),
        ("wall", 0.0, 100.0, 1e-4, False),
        ("wall", 0.0, 1.5, 1e-4, False),
        ("wall", 0.0, 3.0, 1e-4, False),
    ):
        records = list(one_step(start, damping, radius, c))
        a, b = STARTS[start]
        values = {"a": a, "b": b, "damping": damping, "radius": radius, "c": c}
        assert at_goal(records, values) is wanted, values


@claim(
    "Δ = 2 gives ρ = 0.81 at the length 2",
    "Try μ = 0.1 with Δ = 100, too: the read-out has nearly the same length and nearly the same ρ",
    "The two steps are not the same",
)
def radius_two_and_damping_01_are_nearly_the_same(one_step):
    by_radius = list(one_step("wall", 0.0, 2.0, 1e-4))[-1]
    by_damping = list(one_step("wall", 0.1, 100.0, 1e-4))[-1]
    near(by_radius.rho, 0.81, absolute=0.005)
    near(by_radius.extra["length"], 2.0)
    near(by_damping.rho, by_radius.rho, relative=0.05)
    near(by_damping.extra["length"], 2.0, relative=0.05)
    assert float((by_damping.theta - by_radius.theta).norm()) > 0.01


@claim(
    "how far the loss is above its least value, 0.5715, against cost",
    "What is below $10^{-8}$ is drawn there",
    "*Home* is within 0.0001 of the least loss; the read-out tells when",
)
def the_least_loss_is_05715(nb08, guarded, at, loss):
    near(nb08.LEAST, 0.5715, absolute=0.00005)
    assert nb08.HOME == 0.0001
    theta = at("plateau")
    list(guarded(theta, "Nielsen and line search", 0.01, None))
    assert abs(loss(theta) - nb08.LEAST) < 1e-8
    for mark in ("minimum", "its mirror"):
        near(loss(torch.tensor(nb08.MARKS[mark])), nb08.LEAST, absolute=1e-6)


@claim(
    "a gradient counts 1, a product with $G$ 4/3, and a trial of the loss, which is a forward "
    "pass, 1/3"
)
def a_step_costs_a_gradient_its_products_and_its_trials(walk, nb08):
    for guard in ("nothing", "damping, Nielsen"):
        run = list(walk("wall", guard))
        near(nb08.gradients(run[1]), 1 + run[1].products * 4 / 3 + 1 / 3)
        assert run[1].products == 2


@claim(
    "where the loss would rise it **rejects** the step and puts the weights back bit for bit",
    "A *fixed* μ never changes, so a rejected step is tried again in vain",
    "its next step is tried with more damping or a smaller radius",
)
def a_rejected_step_is_put_back_bit_for_bit(walk):
    fixed = list(walk("wall", "damping, fixed"))
    assert {r.damping for r in fixed[1:]} == {1e-4} and not fixed[-1].accepted
    for guard in ("damping, fixed", "damping, Nielsen", "trust region"):
        run = list(walk("wall", guard))
        pairs = [(a, b) for a, b in pairwise(run[1:]) if not b.accepted]
        assert pairs and all(torch.equal(a.theta, b.theta) for a, b in pairs)


@claim("*Nothing* goes from 1.16 to 87.7 in three steps")
def nothing_runs_away(careless, price):
    near(careless[0].train_loss, 1.16, absolute=0.005)
    near(careless[3].train_loss, 87.7, relative=0.01)
    assert price("wall", "nothing") == price("plateau", "nothing") == math.inf


@claim(
    "With μ = 0.0001 the first step from the wall is barely guarded: ρ = 0.53, accepted",
    "The second would make things much worse: rejected, and so are the next three, while "
    "Nielsen's rule multiplies μ by 2, 4, 8, 16",
    "At μ = 0.1 the model is right again (ρ = 0.99)",
    "it is a whole theory in six steps",
)
def six_steps_under_nielsens_rule(nielsen_walk):
    run = nielsen_walk[1:7]
    assert [r.accepted for r in run] == [True, False, False, False, False, True]
    near(run[0].rho, 0.53, absolute=0.005)
    assert run[1].rho < -5
    near(run[5].rho, 0.99, absolute=0.005)
    near(run[5].damping, 0.1, relative=0.03)
    factors = [after.damping / before.damping for before, after in pairwise(run[1:])]
    for factor, wanted in zip(factors, (2, 4, 8, 16), strict=True):
        near(factor, wanted, relative=1e-6)


@claim(
    "Martens' rule multiplies by 1.5 only, so after six steps it is still paying for rejected ones",
    "The line search needs no second solve: it takes a quarter of the bad step, and here (not "
    "on the plateau!) the direction happens to be excellent",
)
def martens_still_pays_and_the_line_search_does_not(walks, nb08, price):
    martens, search = walks["Martens"][1:7], walks["line search"]
    assert [r.accepted for r in martens] == [True] + [False] * 5
    near(martens[3].damping / martens[2].damping, 1.5, relative=1e-6)
    near(search[2].step_length, 0.25, relative=1e-9)
    assert search[2].train_loss - nb08.LEAST < nb08.HOME
    assert price("plateau", "line search") > price("plateau", "damping, Nielsen")


@claim(
    "No guard is best everywhere. Every one of them that *adapts* brings both starts home; "
    "nothing, and a fixed μ that is too small, do not",
    "with 0.01 instead of 0.0001, Nielsen's rule pays about half",
    "Which guard is cheapest differed even between the two starts",
    "A fixed μ that happens to be large enough did as well as Nielsen's rule",
)
def every_guard_that_adapts_comes_home(prices):
    for guard, row in prices.items():
        if guard == "nothing":
            assert row == [math.inf] * 4
        elif guard == "damping, fixed":
            assert row[:2] == [math.inf] * 2 and max(row[2:]) <= max(prices["damping, Nielsen"][2:])
        else:
            assert max(row) < math.inf
    before, after = prices["damping, Nielsen"][:2], prices["damping, Nielsen"][2:]
    between(sum(after) / sum(before), 0.4, 0.65)
    for first in (0, 2):
        cheapest = [
            min(prices, key=lambda guard, k=k: prices[guard][k]) for k in (first, first + 1)
        ]
        assert cheapest[0] != cheapest[1] == "line search"


@claim(
    "For short steps ρ tends to 1 whatever $B$ is, because $g$ is exact",
    "And ρ, which is −3.6 at μ = 0.0005 and passes 1.2, comes to 1 as the step shrinks",
)
def rho_comes_to_one_as_the_step_shrinks(models, propose, decrease, promise):
    G = models["plateau"]
    ratios = {
        mu: decrease(d := propose(G, mu)) / promise(G, d) for mu in (0.0005, 0.01, 0.03, 1.0, 100.0)
    }
    near(ratios[0.0005], -3.6, absolute=0.05)
    between(max(ratios.values()), 1.2, 1.3)
    near(ratios[1.0], 1, absolute=0.05)
    near(ratios[100.0], 1, absolute=0.001)
    for B in (0.0, 3.0):  # another curvature, a step short enough
        d = -1e-4 * G.gradient
        near(decrease(d) / -float(G.gradient @ d + 0.5 * B * d @ d), 1, absolute=0.001)


@claim(
    "which falls strictly as μ grows. So **each radius below the undamped length has one μ, and "
    "each μ one radius**",
    "From right to left the step gets shorter *and* turns to $-g$: large damping is gradient "
    "descent with the rate 1/μ",
)
def the_length_falls_as_damping_grows(models, propose, nb08):
    for G in models.values():
        mus = torch.logspace(-5, 1, 31).tolist()
        ds = [propose(G, mu) for mu in mus]
        sizes = [float(d.norm()) for d in ds]
        assert all(a > b for a, b in pairwise(sizes))
        for size, equation in zip(sizes, nb08._lengths(G, torch.tensor(mus).numpy()), strict=True):
            near(size, equation, relative=1e-6)
        d = propose(G, 1000.0)
        assert float((d + G.gradient / 1000).norm()) < 0.001 * float(d.norm())
    turned = [
        nb08.angle(propose(models["plateau"], mu), -models["plateau"].gradient)
        for mu in (0.0005, 0.002, 0.01, 0.1)
    ]
    assert turned == sorted(turned, reverse=True)


@claim(
    "where $B$ has no negative eigenvalue its decrease of the model is never less than half the "
    "best possible (Yuan 2000), and here it is over 0.99 of it"
)
def steihaugs_short_cut_gives_away_little(models, propose, promise):
    G = models["plateau"]
    for mu in (0.0005, 0.002, 0.01, 0.03, 0.1, 1.0):
        d = propose(G, mu)
        share = promise(G, propose(G, 0.0, radius=float(d.norm()))) / promise(G, d)
        between(share, 0.99, 1 + 1e-9)


@claim(
    "four failures, six steps that keep 0.9 of their promise, three that keep half",
    "At ρ = ½ the factor is 1 and the curve is flat there: a promise half kept changes nothing",
    "Just above ρ = 0 it is 2, where the second case begins with ν = 2",
)
def the_script_of_rho(script, mus, Damping):
    assert script == [-1.0] * 4 + [0.9] * 6 + [0.5] * 3
    for values in mus.values():
        assert values[10:] == [values[10]] * 4
    near(mus["Nielsen"][4] / mus["Nielsen"][0], 2 * 4 * 8 * 16, relative=1e-9)
    near(mus["Martens"][4] / mus["Martens"][0], 1.5**4, relative=1e-9)
    near(Damping(1.0, "nielsen").update(1e-9), 2.0, relative=1e-6)
    near(Damping(1.0, "nielsen").update(1.0), 1 / 3, relative=1e-9)


@claim("they agree in each of twelve steps, which they could hardly do on another path")
def these_lines_choose_the_library_s_damping(mine, library):
    assert len(mine) == len(library) == 12
    for ours, theirs in zip(mine, library, strict=True):
        near(ours, theirs, relative=1e-6)


@claim("else the μ with $\\lVert d(\\mu) \\rVert$ = radius, to a relative 1e-6")
def sixty_halvings_are_enough_for_a_millionth():
    B, g = torch.diag(torch.tensor([0.2, 1.0, 3.0])), torch.tensor([1.0, -2.0, 0.5])
    high = float(g.norm())
    for wanted in (0.001, 0.3, 1.0):
        size = float((g / (B.diagonal() + wanted)).norm())
        low, top = 0.0, high / size
        for _ in range(60):
            middle = (low + top) / 2
            long = float((g / (B.diagonal() + middle)).norm()) > size
            low, top = (middle, top) if long else (low, middle)
        near((low + top) / 2, wanted, relative=1e-6)


@claim(
    "logistic regression on all 30 measurements of the same patients",
    "Solving to $10^{-8}$ saves not one step over $10^{-3}$ and nearly doubles the products; at "
    "0.5 there are more than twice as many steps",
    "is the thriftiest of those that take few steps",
    "one like $\\lVert g \\rVert$ squares the error",
)
def forcing_terms_trade_steps_for_products(bills, X, gradient_and_hessian):
    assert X.shape == (569, 30)
    steps = {name: bill["steps"] for name, bill in bills.items()}
    products = {name: bill["products"] for name, bill in bills.items()}
    assert steps["1e-8"] == steps["0.001"] and steps["0.5"] > 2 * steps["0.001"]
    between(products["1e-8"] / products["0.001"], 1.7, 2.1)
    few = [name for name in steps if steps[name] <= steps["0.001"]]
    assert len(few) == 3 and min(few, key=products.get) == "‖g‖, at most 0.5"


@claim("This $d$ minimizes $m(d) + \\tfrac{\\mu}{2} \\lVert d \\rVert^2$")
def damping_is_ridge_on_the_step(models, propose, promise):
    for G in models.values():
        d = propose(G, 0.1)
        least = -promise(G, d) + 0.05 * float(d @ d)
        for k in range(8):
            angle = torch.tensor(k * math.pi / 4)
            other = d + 0.01 * torch.stack([angle.cos(), angle.sin()])
            assert -promise(G, other) + 0.05 * float(other @ other) > least


@claim(
    "A is *mixed*, B *kept*, C *turned*. B is easy to see, its loss explodes.",
    "it comes near the minimum, but there the halves differ by more than a step can win, and ρ "
    "jumps between −14 and 110 for no reason of the model's",
    "each failure lowers μ, and the next step fails as well",
)
def three_runs_went_wrong(logs, nb08):
    assert max(row["after"] for row in logs["B"]) > 100
    rejected = logs["C"][1:]
    assert all(row["rho"] <= 0 for row in rejected)
    assert all(b["mu"] < a["mu"] for a, b in pairwise(rejected))
    assert logs["A"][-1]["after"] < nb08.LEAST + 0.01
    late = logs["A"][6:]
    near(min(row["rho"] for row in late), -14, relative=0.05)
    near(max(row["rho"] for row in late), 110, relative=0.05)
    assert all(abs(row["loss"] - row["trial"]) > 5 * row["promised"] for row in late[1::2])
