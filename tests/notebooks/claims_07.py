"""What notebook 07 says, held in its kernel."""

from itertools import pairwise

import torch

from tools.claims import between, claim, near


def norm(A):
    return float(A.norm())


@claim(
    "a network with one hidden layer that reads 200 handwritten digits of 8 × 8 pixels",
    "is half the squared distance of the ten outputs from the label's **one-hot vector**",
)
def the_example_has_200_digits_of_64_pixels(x, y, network, squared_error):
    assert x.shape == (200, 64) and len(y) == 200
    model = network(16)
    assert [type(part).__name__ for part in model] == ["Linear", "Tanh", "Linear"]
    z = model(x)
    assert z.shape[1] == 10
    near(squared_error(z, y), 0.5 * ((z - torch.eye(10)[y]) ** 2).sum() / 200, relative=1e-9)


@claim(
    "At the start $G$ is **no** stand-in for $H$: they differ by more than half",
    "$H$ has an arm of negative eigenvalues, $G$ has none",
    "no negative eigenvalue, ever",
)
def at_the_start_h_has_negative_eigenvalues_and_g_has_none(H, G, eigenvalues, runs):
    rounding = 1e-9 * float(eigenvalues["H"][-1])
    between((eigenvalues["H"] < -rounding).double().mean(), 0.25, 0.6)
    assert float(eigenvalues["G"][0]) > -rounding
    near(eigenvalues["H"][0], torch.linalg.eigvalsh(H.dense())[0], relative=1e-6)
    assert float(eigenvalues["H"][0]) < -0.1 * float(eigenvalues["H"][-1])
    for run in runs.values():
        between(run[0].extra["gap"], 0.5, 1.0)
        assert all(float(r.extra["G"].nodes.min()) > -1e-9 for r in run)


@claim(
    "They are estimated from 80 products each (40 steps of Lanczos' method, notebook 05, from "
    "each of two random vectors",
    "trust the ends of the spectrum more than the heights in between",
    "A density from 80 products is an estimate",
)
def eighty_products_find_the_ends_of_the_spectrum(nb07, H, G, eigenvalues, runs):
    class Counted:
        shape, dtype, products = H.shape, torch.float64, 0

        def __matmul__(self, v):
            self.products += 1
            return H @ v

    counted = Counted()
    nb07.spectral_density(counted, nb07.LANCZOS, nb07.PROBES, generator=nb07.seeded(2))
    assert counted.products == 80
    for name in "HG":
        low, high = nb07.ends(runs["cross-entropy"][0], name)
        near(high, eigenvalues[name][-1], relative=0.01)
        near(low, eigenvalues[name][0], relative=0.01, absolute=0.01)


@claim("With training the arm fades, with both losses")
def the_arm_of_negative_eigenvalues_fades(nb07, runs):
    for run in runs.values():
        (low, high), (late_low, late_high) = nb07.ends(run[0]), nb07.ends(run[-1])
        assert low < -0.1 * high and late_low > -0.05 * late_high


@claim(
    "With squared error yes, to a percent",
    "With cross-entropy not here: after 200 steps they are apart by almost a third, though the "
    "labels are fitted nearly perfectly",
    "here they were still apart by almost a third of their size",
    "after 200 steps $H$ and $G$ are still far apart, *relative to their size*",
)
def with_squared_error_they_meet_and_with_cross_entropy_they_do_not(runs):
    between(runs["squared error"][-1].extra["gap"], 0.0, 0.015)
    between(runs["cross-entropy"][-1].extra["gap"], 0.25, 1 / 3)
    assert runs["cross-entropy"][-1].step == 200 and runs["cross-entropy"][-1].loss < 0.01


@claim(
    "a network *with* a hidden layer, trained until $\\lVert (H-G)v \\rVert$ is below 2 % of "
    "$\\lVert Hv \\rVert$"
)
def the_goal_is_reached_with_squared_error_only(runs, watch):
    from rlhf_course.checking.goals import reached

    at_goal = reached("07.agree")
    for loss, run in runs.items():
        values = {"loss": loss, "width": 16, "steps": 200}
        assert at_goal(run, values) is (loss == "squared error")
        assert not at_goal(run[:1], values | {"steps": 0})
    assert not at_goal(list(watch("squared error", 0, 0)), {"loss": "squared error", "width": 0})


@claim("$H$ and $G$ and their difference all shrink together, and their *ratio* does not follow")
def with_cross_entropy_everything_fades_but_the_ratio(nb07, runs):
    run = runs["cross-entropy"]
    for name in "HG":
        assert nb07.ends(run[-1], name)[1] < 0.1 * nb07.ends(run[0], name)[1]
    early = next(r for r in run if r.step == 40)
    between(run[-1].extra["gap"] / early.extra["gap"], 0.8, 1.3)


@claim(
    "Without a hidden layer the outputs are linear in θ. There is nothing to bend, and $H = G$ "
    "always"
)
def without_a_hidden_layer_h_is_g(watch):
    assert all(record.extra["gap"] < 1e-9 for record in watch("cross-entropy", 0, 20))


@claim("Commit to an answer before you look")
def the_predictions_have_the_right_answers(runs, costs):
    from rlhf_course.checking.predictions import find

    gaps = [r.extra["gap"] for r in runs["cross-entropy"]]
    for drawn, found in zip(find("07.gap").truth, gaps, strict=True):
        near(drawn, found, relative=0.1)
    assert find("07.same").truth == "with squared error only"
    assert find("07.samples").truth == "for the 64 images of 3s and 8s only"
    for mu in (0.001, 0.1):
        cg, exact = costs["3s and 8s", mu][1]
        assert exact < cg
        cg, exact = costs["all ten digits", mu][2]
        assert exact > cg


@claim(
    "**$F = G$** for both losses",
    "**$E \\ne F$** in general",
    "It is zero when the network does not bend, or when the slopes are zero",
    "$F = G$ for cross-entropy of logits and for squared error",
)
def f_is_g_and_e_is_not(four, apart, LOSSES):
    for width in (0, 5):
        for loss in LOSSES:
            H, G, F, E = four(width, loss)
            assert apart(F, G) < 1e-12 and apart(E, G) > 0.3
            assert (apart(H, G) < 1e-12) == (width == 0)
            assert float(torch.linalg.eigvalsh(G)[0]) > -1e-12


@claim(
    "In the units of notebook 04 a backward pass costs 2 and a gradient 3, so a product costs "
    "4/3 of a gradient, less than the 2 of $Hv$",
    "| $G$ | no, if the loss is convex in $z$ | 4/3 |",
    "| $H$ | yes | 2 |",
)
def a_product_with_g_costs_four_thirds_of_a_gradient(H, G):
    near(G.product_cost, 2 * 2 / 3)
    near(H.product_cost, 2)


@claim("Both are limits of deep networks, and what the library charges; a shallow one saves")
def a_shallow_network_pays_less(matrices, counting, weights, product_in_gradients, x, y):
    cross_entropy = torch.nn.functional.cross_entropy
    H, G = matrices(counting, cross_entropy)
    for A, low, high in ((G, 1.0, 1.1), (H, 1.0, 1.3)):
        own = product_in_gradients(A, lambda: cross_entropy(counting(x), y), weights)
        between(own, low, high)
        assert own < A.product_cost


@claim(
    "where $G = 1$ and $H = 1 - ar$, so the rate is $ar$",
    "its full step leaves",
    "quadratic in the limit of none; for **large** ones it is linear",
)
def gauss_newton_is_quadratic_without_residuals(gauss_newton_errors, rates):
    # The minimum, G and H, by automatic differentiation.
    for a, r in ((0.5, 0.2), (0.5, 1.0), (0.3, 0.5)):

        def f(t, a=a, r=r):
            return ((t + r) ** 2 + (a * t**2 + t - r) ** 2) / 4

        zero = torch.zeros(())
        near(torch.func.grad(f)(zero), 0)
        near(torch.func.hessian(f)(zero), 1 - a * r)
        errors = list(gauss_newton_errors(r, a, theta=1e-3, steps=4))
        for before, after in pairwise(errors):
            near(after / before, a * r, relative=0.02)
    exact = rates["r = 0.0"]
    for before, after in pairwise(exact[:4]):
        between(after / before**2, 0.1, 1)


@claim(
    "for small $d$ it is $\\tfrac12 d^\\top F d$",
    "Where $F = G$ it is the Gauss-Newton step",
    "in other coordinates it is the same change of the predictions, to first order",
)
def the_fisher_measures_predictions(divergence, G, way):
    for size, close in ((0.001, 0.01), (0.01, 0.02)):
        d = size * way / way.norm()
        near(divergence(d), float(d @ (G @ d)) / 2, relative=close)


@claim("which is $3D^2 + \\sigma^2$, and it equals the curvature 1 at one distance alone")
def the_distance_at_which_e_is_right():
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 400_000, generator=generator)
    for D, sigma in ((0.3, 0.8), (1.0, 0.1)):
        near(((D * x - sigma * noise) * x).square().mean(), 3 * D**2 + sigma**2, relative=0.03)


@claim("Conjugate gradients then stop after a few products")
def cg_stops_at_negative_curvature_with_h_and_not_with_g(H, G, conjugate_gradient, Shifted):
    found = conjugate_gradient(Shifted(H, 0.01), -H.gradient, rtol=1e-4)
    assert found.reason == "negative_curvature"
    between(found.iterations, 1, 12)
    assert conjugate_gradient(Shifted(G, 0.01), -G.gradient, rtol=1e-4).converged


@claim(
    "At the truth, a hundred times as many samples bring $E$ about ten times nearer to $F$",
    "at the negative of the truth they stay apart by twice the size of $F$",
    "Elsewhere no number of samples does",
)
def the_empirical_fisher_is_the_fisher_at_the_truth_only(drawn):
    truth, half, negative = (drawn[k] for k in ("at the truth", "halfway", "at its negative"))
    assert float(truth[-1].max()) < 0.05 < 0.2 < float(truth[0].min())
    between(truth[0].mean() / truth[-1].mean(), 8, 15)
    assert float(half[-1].min()) > 0.05
    between(half[-1].mean() / half[-2].mean(), 0.9, 1.1)
    between(negative[-1].min(), 1.9, 2.4)
    between(negative[-1].max(), 1.9, 2.4)


@claim(
    "$H = G = F$ is the mean of $x^2$, whatever the weight. $E$ is the mean of",
    "Each makes a step $-g/\\text{matrix}$, and with $G$ that leads to the solution in one step",
)
def with_g_one_step_solves_the_one_weight(inputs, targets, best, curvature):
    for away in (10.0, 0.01):
        gradient = float((inputs * ((best + away) * inputs - targets)).mean())
        near(-gradient / curvature, -away, relative=1e-6)


@claim(
    "Far away $E$ is far too large and the step too short; near the solution $E$ is too small "
    "and the step overshoots",
    "of variance $0.1^2 = 0.01$, so $E$ is about 0.01 times the mean of $x^2$ and the step "
    "about 100 times too long (91 times at the left end of the picture)",
)
def the_step_with_e_is_too_short_far_away_and_too_long_near(ratio, inputs, targets, best):
    assert ratio(10.0) < 0.01
    near(ratio(0.01), 91, relative=0.01)
    near((best * inputs - targets).square().mean(), 0.01, relative=0.1)


@claim(
    "as the labels are fitted, $E$'s largest eigenvalue falls from 2.3 to 0.15, and that of $H$ "
    "does not fall"
)
def as_the_labels_are_fitted_e_fades_and_h_does_not(nb07, runs):
    run = runs["squared error"]
    near(nb07.ends(run[0], "E")[1], 2.3, relative=0.03)
    near(nb07.ends(run[-1], "E")[1], 0.15, relative=0.1)
    assert nb07.ends(run[-1])[1] > nb07.ends(run[0])[1]


@claim(
    "takes eight steps along $-(M + \\mu I)^{-1} g$",
    "three values of μ, 21 lengths from $2^{-10}$ to $2^{10}$",
)
def the_search_tries_three_dampings_and_21_lengths(nb07, network, x, y, matrices, walks):
    assert nb07.MUS == (0.001, 0.01, 0.1)
    assert len(nb07.LENGTHS) == 21 and nb07.LENGTHS[::20] == [2.0**-10, 2.0**10]
    assert {len(walk) for walk in walks.values()} == {9}
    # The directions are those of the matrices' own products.
    model = network(16)
    cross_entropy = torch.nn.functional.cross_entropy
    _, G = matrices(model, cross_entropy)
    E = nb07.EmpiricalFisher(model, cross_entropy, x, y)
    for name, A in (("G", G), ("E", E)):
        d = nb07.directions(name, model, x, y)[1]
        assert norm(A @ d + 0.01 * d + G.gradient) < 1e-8 * norm(G.gradient)


@claim(
    "With the length searched, $E$ is better than no matrix at all, and no match for $G$: after "
    "eight steps the loss is about 0.03 with $E$, 0.4 along the gradient, and below 0.001 with "
    "$G$",
    "So the *length* of a step with $E$ says nothing",
    "or for a direction whose length is searched; its own length says nothing",
)
def with_a_searched_length_a_step_with_e_is_of_use(walks):
    between(walks["with E"][-1], 0.025, 0.045)
    between(walks["gradient"][-1], 0.3, 0.5)
    between(walks["with G"][-1], 0, 0.001)


@claim(
    "at most $m$ of its eigenvalues are not zero",
    "with softmax, $S_i$ has $C - 1$ columns",
    "Stack all $S_i^\\top J_i$ into a matrix $U$ of $m = n(C-1)$ rows",
    "With 64 samples and 2 classes this is $64 \\times 64$",
)
def g_has_at_most_as_many_eigenvalues_as_rows(few, SampleSpace):
    small = few([3, 8], 6)
    assert SampleSpace(small.task, small.params).rows == 6
    assert SampleSpace((G := few([3, 8], 64)).task, G.params).rows == 64
    assert SampleSpace((G := few(list(range(10)), 16)).task, G.params).rows == 16 * 9
    tiny = few([0, 1, 2], 4)
    V = torch.randn(tiny.shape[0], 20, generator=torch.Generator().manual_seed(0))
    images = torch.stack([tiny @ v for v in V.T])
    assert int(torch.linalg.matrix_rank(images, rtol=1e-9)) == 4 * 2


@claim("solves it exactly, up to rounding")
def the_two_solutions_agree(by_cg, by_samples, difference, b, system):
    assert by_cg.converged and by_samples.converged and difference < 1e-8
    assert norm(system @ by_samples.x - b) < 1e-9 * norm(b)


@claim(
    "the exact solve costs three to eight gradients with two classes, less than CG for every "
    "$n$ and μ, and it does not care how small μ is, while CG does",
    "CG wins everywhere but with 16 samples and the small μ",
    "on a network with 128 hidden units",
)
def the_exact_solve_wins_with_two_classes_and_loses_with_ten(costs, few):
    two, ten = "3s and 8s", "all ten digits"
    for mu in (0.001, 0.1):
        for cg, exact in costs[two, mu]:
            between(exact, 3, 8.5)
            assert exact < cg
    for of in (two, ten):
        for (small_cg, small), (large_cg, large) in zip(
            costs[of, 0.001], costs[of, 0.1], strict=True
        ):
            near(small, large, relative=1e-6)
            assert small_cg > 1.5 * large_cg
    assert costs[ten, 0.001][0][1] < costs[ten, 0.001][0][0]
    assert all(exact > cg for cg, exact in costs[ten, 0.1] + costs[ten, 0.001][1:])
    assert few([3, 8], 16).params[0].shape[0] == 128


@claim(
    "With ten classes there are nine rows a sample",
    "CG does (notebook [05](05_conjugate_gradients.ipynb))",
)
def both_solvers_arrive_at_the_same_step(
    few, SampleSpace, Shifted, conjugate_gradient, sample_space_solve
):
    for classes, n in (([3, 8], 64), (list(range(10)), 16)):
        G = few(classes, n)
        for mu in (0.001, 0.1):
            system, b = Shifted(G, mu), -G.gradient
            cg = conjugate_gradient(system, b, rtol=1e-4)
            space = SampleSpace(G.task, G.params)
            exact = sample_space_solve(system, b, rtol=1e-10, space=space)
            assert space.rows == n * (len(classes) - 1)
            assert cg.converged and exact.converged
            assert norm(cg.x - exact.x) < 0.01 * norm(exact.x)


@claim(
    "$G$ at $\\theta_0$ is the Hessian of the loss of *this* model, exactly",
    "So a Gauss-Newton step is a Newton step of the linearized model, and the first steps of both "
    "are the same step",
)
def the_first_step_is_the_same(network, cross_entropy, x, y, linearize, RLHFOptimizer):
    from rlhf_lib.objective import flatten

    model = network(16)
    tangent = linearize(model, (x, y))
    run = tangent.run(0.0, damping=0.3, steps=1)
    there = tangent.theta(run)
    optimizer = RLHFOptimizer(model.parameters(), damping=0.3, damping_rule="fixed", solver="dual")
    optimizer.step(lambda: (cross_entropy(z := model(x), y), z))
    now = flatten(p.detach() for p in model.parameters())
    assert (now - there).norm() < 1e-8 * (there - tangent.theta0).norm()


@claim(
    "After one step the two have nearly the same loss",
    "Then they part, and here the bends help",
    "all of its steps, its minimum for any λ and any labels, are small solves in the space of the "
    "samples, and take milliseconds even for a BERT",
)
def network_and_tangent_part(true_run, linear_run):
    near(true_run[1].loss, linear_run[1].train_loss, relative=0.03)
    assert true_run[10].loss < 0.5 * linear_run[10].train_loss
