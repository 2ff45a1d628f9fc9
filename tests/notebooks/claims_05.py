"""What notebook 05 says, held in its kernel."""

import itertools
import math

import torch

from tools.claims import between, claim, near


@claim("For BERT-base, $A$ has 109 million rows (notebook 04)")
def bert_base_has_109_million_weights():
    hidden, layers, feed, words, places, kinds = 768, 12, 3072, 30_522, 512, 2
    norm = 2 * hidden
    attention = 4 * (hidden * hidden + hidden) + norm
    layer = attention + hidden * feed + feed + feed * hidden + hidden + norm
    total = (words + places + kinds) * hidden + norm + layers * layer + hidden * hidden + hidden
    near(total, 109e6, relative=0.01)


@claim(
    "The panel shows a bowl with eigenvalues 1 and 9 and $b = 0$",
    "The slider moves the start round the contour $q = 4.5$, and a run ends when the residual "
    "is a thousandth of what it was",
)
def the_bowl_and_its_runs_are_as_told(BOWL, ROOT, walk, nb05):
    low, high = torch.linalg.eigvalsh(BOWL).tolist()
    near(low, 1)
    near(high, 9)
    near((ROOT @ ROOT - BOWL).abs().max(), 0, absolute=1e-12)
    for start in (0, 35, 200):
        for method in (nb05.STEEPEST, nb05.CONJUGATE):
            path = list(walk(start, method))
            near(path[0].loss, 4.5)
            left = [float((BOWL @ record.theta).norm()) for record in path]
            assert left[-1] <= 1.01e-3 * left[0] < left[-2]


@claim(
    "Steepest descent makes right angles *where you look*, on the left, and zigzags",
    "at 30° it needs one step, at 35° thirty",
    "make a right angle *where the bowl is round*, on the right, and arrive in two steps",
    "From 35°, next door to the long axis",
)
def steepest_descent_zigzags_and_cg_does_not(walk, ROOT, nb05):
    zigzag, straight = list(walk(35, nb05.STEEPEST)), list(walk(35, nb05.CONJUGATE))
    near(nb05.angles(zigzag, ROOT)[0], 90, absolute=1e-6)
    near(nb05.angles(straight, ROOT)[1], 90, absolute=1e-6)
    assert len(straight) == 3 and len(zigzag) > 6 * len(straight)
    between(zigzag[-1].step, 29, 31)
    assert len(list(walk(30, nb05.STEEPEST))) == 2


@claim(
    "At 30° (or 120°, 210°, 300°) the start is an eigenvector",
    "There are four best ones, the ends of the two axes",
    "In a *round* bowl every start is one",
)
def four_starts_need_one_step(walk, nb05, steepest_descent):
    best = [start for start in range(0, 360, 5) if len(list(walk(start, nb05.STEEPEST))) == 2]
    assert best == [30, 120, 210, 300]
    for seed in range(3):
        start = torch.randn(2, generator=torch.Generator().manual_seed(seed))
        assert len(list(steepest_descent(2 * torch.eye(2), start, steps=60, rtol=1e-3))) == 1


@claim(
    "The small miracle is that $s_{k+1}$ is then A-orthogonal to *all* earlier directions",
    "Here is the miracle, in eight dimensions, with the library's solver",
)
def eight_products_for_eight_unknowns(found8, apart):
    assert found8.iterations == 8 and found8.converged
    assert float(apart) < 1e-6


@claim(
    "- **a.** $A = 5I$, with 1,000 rows",
    "- **b.** $A$ has 1,000 rows, but only three different eigenvalues: 1, 10 and 1,000",
    "- **c.** $A = I + uu^\\top + ww^\\top$ with 1,000 rows, and $u$, $w$ two random vectors",
    "- **d.** $A$ has 6 rows and 6 different eigenvalues, and $b$ is the sum of two eigenvectors",
)
def the_four_counts_are_1_3_3_and_2(conjugate_gradient, random):
    b, u, w = (random(1000, seed=seed) for seed in range(3))
    three = torch.tensor([1.0, 10.0, 1000.0]).repeat_interleave(334)[:1000]
    few = torch.diag(torch.linspace(1, 6, 6)), torch.tensor([1.0, 0, 0, 1.0, 0, 0])
    counts = [
        conjugate_gradient(A, b, rtol=1e-8).iterations
        for A, b in (
            (5 * torch.eye(1000), b),
            (torch.diag(three), b),
            (torch.eye(1000) + torch.outer(u, u) + torch.outer(w, w), b),
            few,
        )
    ]
    assert counts == [1, 3, 3, 2], counts


@claim(
    "Now a matrix with 60 rows and eigenvalues from 1 to $\\kappa$",
    "as a *bulk and outliers*: 55 between 1 and 2, and five far above them",
    "in *three clusters* at $1$, $\\sqrt\\kappa$ and $\\kappa$",
    "*badly scaled variables*: a matrix with eigenvalues between 1 and 4 whose variables are "
    "then measured in very different units",
    "All five matrices have (nearly) the same κ",
)
def the_spectra_are_as_told(nb05):
    values = {s: torch.linalg.eigvalsh(nb05.matrix(s, 1e4)) for s in nb05.SPECTRA}
    for found in values.values():
        assert len(found) == 60
        between(found[-1] / found[0], 0.9e4, 1.3e4)
    outliers = values[nb05.OUTLIERS]
    assert int((outliers < 2 + 1e-9).sum()) == 55 and float(outliers[55]) > 100
    centres = values[nb05.CLUSTERS].reshape(3, 20).mean(1)
    for centre, expected in zip(centres, (1, 100, 1e4), strict=True):
        near(centre, expected, relative=0.05)
    A = nb05.matrix(nb05.UNITS, 1e4)
    units = torch.logspace(0, 2, 60)
    inner = torch.linalg.eigvalsh(A / units[:, None] / units)
    near(inner[0], 1)
    near(inner[-1], 4)


@claim(
    "with κ = 30,000, find the spectrum and the preconditioner with which CG reaches a relative "
    "residual of $10^{-8}$ in at most 25 products",
    "What stays is a matrix with a condition number of about 4, and the bound below allows "
    "about twenty products",
    "*Bulk and outliers* without a preconditioner comes near the goal",
)
def one_pair_reaches_the_goal_and_another_comes_near(solve, nb05):
    spent = {}
    for spectrum in nb05.SPECTRA:
        for preconditioner in nb05.PRECONDITIONERS:
            last = list(solve(spectrum, 3e4, preconditioner, 1e-8))[-1]
            spent[spectrum, preconditioner] = last
    reached = {
        pair for pair, r in spent.items() if r.products <= 25 and r.extra["residual"] <= 1.01e-8
    }
    assert reached == {(nb05.UNITS, nb05.DIAGONAL)}
    best = spent[nb05.UNITS, nb05.DIAGONAL]
    between(best.extra["kappa"], 3.5, 4.5)
    between(nb05.allowed(best), 18, 22)
    between(spent[nb05.OUTLIERS, nb05.NONE].products, 26, 33)


@claim(
    "Counts above 60 hang on rounding, and may differ by a few on your machine",
    "*over all scales* was stopped at 250 iterations, short of the residual",
)
def the_estimate_over_all_scales_was_stopped(runs, nb05):
    last = runs[nb05.SCALES, nb05.ESTIMATED][-1]
    assert last.step == 250 and last.products == 260 and last.reason == "max_iter"
    assert last.extra["residual"] > 1e-8
    others = [
        r[-1].extra["residual"] for pair, r in runs.items() if pair != (nb05.SCALES, nb05.ESTIMATED)
    ]
    assert max(others) < 1.1e-8


@claim(
    "without a preconditioner CG needs from 27 products to about 190",
    "60 eigenvalues, not even 60 zeros",
    "CG needed three times as many products as there are unknowns",
    "By (6), 60 zeros should have been enough for any matrix",
)
def the_spectrum_decides(count, nb05):
    none = {s: count[s, nb05.NONE] for s in nb05.SPECTRA}
    between(none[nb05.OUTLIERS], 26, 28)
    between(none[nb05.CLUSTERS], 35, 39)
    between(none[nb05.EVEN], 45, 59)
    between(none[nb05.SCALES], 175, 215)
    between(none[nb05.UNITS], 175, 215)


@claim(
    "For badly scaled variables it divides the work by ten",
    "For clusters and outliers it *more than doubles* it",
    "The estimate from ten products is worse than the exact diagonal everywhere",
)
def the_diagonal_helps_one_and_harms_two(count, nb05):
    diagonal = {s: count[s, nb05.DIAGONAL] for s in nb05.SPECTRA}
    between(count[nb05.UNITS, nb05.NONE] / diagonal[nb05.UNITS], 8, 12)
    between(diagonal[nb05.CLUSTERS] / count[nb05.CLUSTERS, nb05.NONE], 2, 3)
    between(diagonal[nb05.OUTLIERS] / count[nb05.OUTLIERS, nb05.NONE], 2.5, 4)
    for s in nb05.SPECTRA:
        assert count[s, nb05.ESTIMATED] > 1.1 * diagonal[s]


@claim(
    "For *bulk and outliers* it spends one zero on each outlier, and then the bulk is a problem "
    "with κ ≤ 2"
)
def a_zero_for_each_outlier(runs, nb05):
    record = runs[nb05.OUTLIERS, nb05.NONE][12]
    zeros = torch.linalg.eigvalsh(nb05.tridiagonal(record.extra["lanczos"], 12))
    outliers = record.extra["eigenvalues"][-5:]
    assert float(((zeros[-5:] - outliers) / outliers).abs().max()) < 0.01
    assert float(zeros[:-5].max()) < 2.01


@claim(
    "**CG picks the polynomial that leaves least**, measured by $q$",
    "its height the *measured* factor by which the error along its eigenvector has shrunk; the "
    "line is $P_k$",
    "The bound has to hold for the worst spectrum with this κ",
)
def the_dots_lie_on_the_polynomial_and_the_bound_holds(runs, nb05):
    for spectrum in nb05.SPECTRA:
        run = runs[spectrum, nb05.NONE]
        for r in run[:8]:
            p = nb05.polynomial(r.extra["lanczos"], r.step, r.extra["eigenvalues"])
            assert float((p - r.extra["left"]).abs().max()) < 1e-3
        for r in run:
            assert r.extra["error"] <= 0.9 * r.extra["bound"]
        between(nb05.allowed(run[-1]), 950, 1300)


@claim(
    "To bring the error down to ε times what it was at the start takes about "
    "$\\tfrac12 \\sqrt\\kappa \\ln(2/\\varepsilon)$ products; gradient descent needs about "
    "$\\kappa$ in the place of $\\sqrt\\kappa$"
)
def the_bound_gives_half_the_root_of_kappa():
    for kappa, epsilon in ((1e3, 1e-4), (1e4, 1e-8)):
        rate = (kappa**0.5 - 1) / (kappa**0.5 + 1)
        steps = math.log(epsilon / 2) / math.log(rate)
        near(steps, 0.5 * kappa**0.5 * math.log(2 / epsilon), relative=0.01)
        descent = math.log(epsilon) / math.log((kappa - 1) / (kappa + 1))
        near(descent, 0.5 * kappa * math.log(1 / epsilon), relative=0.01)


@claim("With the *tolerance* at 0.2 a run ends early")
def the_panel_begins_with_a_short_run(solve, nb05):
    run = list(solve(nb05.SCALES, 1e3, nb05.NONE, 0.2))
    between(run[-1].step, 20, 30)
    assert int((run[-1].extra["left"].abs() > 0.05).sum()) > 20


@claim(
    "The estimated diagonal is the mean of $w \\odot Aw$ over vectors $w$ of random signs",
    "*estimated diagonal* spends 10 products on that",
)
def the_estimate_spends_ten_products(PROBES, runs, nb05):
    assert PROBES == 10
    assert all(runs[s, nb05.ESTIMATED][0].products == 10 for s in nb05.SPECTRA)


@claim(
    "With all vectors kept orthogonal, 60 products solve the system",
    "CG is far from it after 60 and takes more than three times as many",
    "its directions 0 and 5 are A-orthogonal still, later ones far apart are not",
)
def rounding_spoils_finite_termination(kept, residual, cg_points, plain, pairs, N):
    assert N == 60
    assert residual(kept(N)) < 1e-10
    assert residual(cg_points[N]) > 1e-2
    assert plain.iterations > 3 * N and plain.converged
    assert float(pairs[0, 5]) < 1e-10
    assert float(pairs[:N, :N].triu(11).max()) > 0.1


@claim(
    "64 pixels of a handwritten digit, 12 hidden units, 10 classes, 910 weights",
    "Lanczos finds $h_{\\max}$, nearly, from 15 products",
    "A damping that is ten times smaller makes a solve about twice as dear here; by the bound "
    "it would be $\\sqrt{10} \\approx 3$ times",
    "**More damping, cheaper solves.**",
)
def damping_makes_a_solve_cheaper(
    net, inputs, G, top, lanczos, mus, spent, bound, conjugate_gradient, Shifted
):
    assert inputs.shape[1] == 64 and net[0].out_features == 12 and net[2].out_features == 10
    assert G.shape[0] == sum(p.numel() for p in net.parameters()) == 910
    near(
        top,
        lanczos(G, 60, generator=torch.Generator().manual_seed(1)).ritz_values[-1],
        relative=1e-3,
    )
    assert conjugate_gradient(Shifted(G, mus[-1]), -G.gradient, rtol=1e-4).converged
    assert all(count <= most for count, most in zip(spent, bound, strict=True))
    assert spent[-1] > 4 * spent[2]
    for less, more in itertools.pairwise(spent[1:]):
        between(more / less, 1.6, 2.6)
    between(bound[-1] / bound[-2], 3, 4)


@claim(
    "The relative residual to reach is $10^{-4}$, and *promised* is the count that (7) allows "
    "for it"
)
def the_solves_reach_their_residual(G, mus, conjugate_gradient, Shifted):
    b = -G.gradient
    for mu in mus:
        x = conjugate_gradient(Shifted(G, mu), b, rtol=1e-4).x
        assert float((b - Shifted(G, mu) @ x).norm()) <= 1.01e-4 * float(b.norm())


@claim(
    "It gets 30 iterations for its 20 weights, because of rounding",
    "A **U**, with no penalty anywhere. After one iteration the fit has learnt too little, "
    "after thirty it has fitted the noise. Without noise the U is gone",
)
def stopping_early_makes_a_u(run, stop_early, nb05, WEIGHTS, ITERATIONS):
    assert (ITERATIONS, WEIGHTS) == (30, 20)
    best, clean = nb05.least(run), list(stop_early(0.0, 26))
    between(best.step, 5, 8)
    assert best.val_loss < run[-1].val_loss / 3 and best.val_loss < run[1].val_loss / 3
    assert clean[-1].val_loss < 1e-5 < best.val_loss
    assert nb05.gains_nothing(clean, {}) and not nb05.gains_nothing(run, {})
    assert not nb05.gains_nothing(list(stop_early(0.05, 26)), {})


@claim(
    "CG at its best iteration is below ridge at its best λ in four of the five draws",
    "the best iteration differs from draw to draw, from 6 to about 15 here",
    "Neither CG nor ridge wins always",
)
def cg_and_ridge_are_alike(run, own, at_best):
    ridge = run[-1].extra["ridge"]
    assert sum(a < b for a, b in zip(at_best, ridge, strict=True)) == 4
    assert all(a < 1.4 * b for a, b in zip(at_best, ridge, strict=True))
    between(min(own), 6, 6)
    between(max(own), 13, 17)


@claim(
    "All are near 1 for large eigenvalues $h_i$ and near 0 for small ones",
    "in between CG's need not even fall evenly, as the plot below shows",
)
def both_filters_fall(filters, own):
    for name in ("ridge, best λ", f"CG, {own[0]} steps"):
        factors = filters[name][1]
        between(factors[-1], 0.98, 1.02)
        between(factors[0], 0, 0.1)
    assert float(filters["ridge, best λ"][1].diff().min()) >= 0
    near(filters["9 damped steps"][1][0] / filters["ridge, best λ"][1][0], 1, relative=0.15)
    assert float(filters[f"CG, {own[0]} steps"][1].diff().min()) < -0.2


@claim(
    "With μ = 1, above $-h_{\\min}$, all eigenvalues are positive and the solve converges",
    "With less it stops after a handful of products, and with a radius it ends on the boundary",
    "Here a step left the ball of radius 1 before any negative curvature was met",
)
def negative_curvature_is_met_and_told(H, lowest, conjugate_gradient, Shifted):
    between(-lowest, 0.35, 0.5)
    assert conjugate_gradient(H, -H.gradient).reason == "negative_curvature"
    assert conjugate_gradient(Shifted(H, 1.0), -H.gradient, rtol=1e-4).converged
    for mu in (0.0, 0.1):
        free = conjugate_gradient(Shifted(H, mu), -H.gradient, rtol=1e-4)
        assert free.reason == "negative_curvature"
        between(free.iterations, 1, 5)
        within = conjugate_gradient(Shifted(H, mu), -H.gradient, rtol=1e-4, radius=1.0)
        assert within.reason == "boundary"
        near(within.x.norm(), 1, relative=1e-6)


@claim(
    "A matrix with a zero eigenvalue is *singular* only if $b$ has a part along it: otherwise "
    "CG never notices, and need not",
    "Had it been met inside, the solver would go to the boundary along it, and say "
    "*negative_curvature*",
)
def a_solver_says_why_it_stopped(conjugate_gradient):
    flat = torch.diag(torch.tensor([1.0, 0.0]))
    assert conjugate_gradient(flat, torch.tensor([1.0, 1.0])).reason == "singular"
    assert conjugate_gradient(flat, torch.tensor([1.0, 0.0])).converged
    hill = torch.diag(torch.tensor([2.0, -1.0]))
    within = conjugate_gradient(hill, torch.tensor([0.1, 0.2]), radius=5.0)
    assert within.reason == "negative_curvature"
    near(within.x.norm(), 5, relative=1e-6)


@claim(
    "when over the last $k = \\max(10, i/10)$ iterations it fell by less than "
    "$k\\varepsilon$ of itself, with $\\varepsilon = 0.0005$",
    "what Martens' stop leaves out of the fall of $q$ is less than a thousandth, even where the "
    "residual is still about a hundredth of what it was",
    "A product with this $G$ costs as much as 1.06 gradients, counted",
)
def martens_stop_leaves_out_less_than_a_thousandth(rows, cost):
    near(cost, 1.06, absolute=0.005)
    for row in rows:
        between(row["share of the fall of q"], 0.999, 1 + 1e-9)
        assert row["products"] < row["products to 1e-10"]
    between(rows[0]["products"], 13, 17)
    between(rows[1]["products"], 26, 36)
    between(rows[1]["products to 1e-10"], 115, 145)
    between(rows[1]["residual left"], 3e-3, 3e-2)
    assert rows[1]["products to 1e-10"] > 3.5 * rows[1]["products"]


@claim("Commit to an answer before you look", "Sketch the curve before you look")
def the_predictions_have_the_right_answers(run, walk, ROOT, nb05):
    from rlhf_course.checking.predictions import find

    near(nb05.angles(list(walk(60, nb05.STEEPEST)), ROOT)[0], find("05.angle").truth)
    assert find("05.starts").truth == sum(
        len(list(walk(start, nb05.STEEPEST))) == 2 for start in range(0, 360, 5)
    )
    drawn = find("05.early").truth
    assert len(drawn) == len(run)
    for value, record in zip(drawn, run, strict=True):
        near(value, record.val_loss, relative=0.06)


@claim(
    "So damping, given time, changes nothing: for $k \\to \\infty$ the filter is 1 everywhere",
    "with $\\mu/k$ in the role of λ, nearly",
)
def damping_stopped_early_is_a_penalty(damped_filter, eigenvalues):
    near(damped_filter(eigenvalues, 1.0, 10**6).min(), 1, absolute=1e-3)
    small = torch.tensor([1e-4])
    near(damped_filter(small, 1.0, 9), small / (small + 1 / 9), relative=1e-2)


@claim("CG has no way to notice the first two: it stops, or not, and its answer is wrong")
def cg_does_not_notice(conjugate_gradient):
    skew = torch.tensor([[2.0, 1.5], [0.0, 2.0]])
    found = conjugate_gradient(skew, torch.tensor([1.0, 1.0]), rtol=1e-8, max_iter=50)
    assert float((skew @ found.x - 1).abs().max()) > 1e-3


@claim(
    "Set the two exponents, to about 0.1",
    "a power of ½, where steepest descent has 1",
    "the count hardly grows, by a power of about 0.2",
)
def the_exponent_belongs_to_the_spectrum(in_the_logarithm, even):
    near(in_the_logarithm, 0.5, absolute=0.05)
    near(even, 0.2, absolute=0.05)
