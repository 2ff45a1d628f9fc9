"""What notebook 04 says, held in its kernel."""

import math

import torch

from tools.claims import between, claim, near


def best(found, epsilons):
    """(ε, error) at the bottom of a V."""
    place = min(range(len(found)), key=found.__getitem__)
    return epsilons[place], found[place]


@claim("a million gigabytes", "With $p$ weights, $g$ has $p$ numbers and $H$ has $p^2$")
def berts_hessian_takes_petabytes(p):
    assert p == 109_482_240
    near(4 * p**2 / 1e9 / 1e6, 47.9, relative=2e-3)


@claim(
    "real data: 569 breast tumours, 30 measurements each, scaled to mean 0 and standard deviation 1"
)
def the_data_is_scaled(X, y):
    assert X.shape == (569, 30) and set(y.tolist()) == {-1.0, 1.0}
    assert float(X.mean(0).abs().max()) < 1e-12
    assert float((X.std(0, correction=0) - 1).abs().max()) < 1e-12


@claim("two derivatives give (the labels drop out, because $y_i^2 = 1$)")
def equation_1_is_the_hessian(X, theta, loss, exact_hessian):
    sigma = torch.sigmoid(X @ theta)
    H = X.T @ ((sigma * (1 - sigma))[:, None] * X) / len(X)
    assert float((exact_hessian(loss, theta) - H).norm() / H.norm()) < 1e-12


@claim(
    "by ten for each decade (one-sided), by a hundred (central). Those are the slopes of 1 and "
    "of 2."
)
def truncation_falls_with_slopes_1_and_2(errors, nb04):
    at = [round(-2 * math.log10(eps)) for eps in nb04.EPSILONS]
    for name, slope in (("one-sided, 64 bits", 1), ("central, 64 bits", 2)):
        found = dict(zip(at, errors[name], strict=True))
        between(math.log10(found[4] / found[6]), slope - 0.02, slope + 0.02)


@claim("This *rounding error* grows by ten for each decade")
def rounding_grows_by_ten_for_each_decade(errors):
    for name in ("one-sided, 64 bits", "central, 64 bits"):
        found = errors[name]
        assert found[28] > 1e-3  # ε = 1e-14
        between(math.log10(found[26] / found[20]) / 3, 0.6, 1.4)  # over three decades


@claim(
    "its best ε is **larger**, its best error smaller",
    "No choice of ε gives an exact product. *Double backward* does",
)
def the_valleys_lie_where_formula_3_puts_them(errors, nb04, product, Hv):
    coarse, fine, small, coarse_small = (
        best(errors[name], nb04.EPSILONS)
        for name in (
            "one-sided, 64 bits",
            "central, 64 bits",
            "central, 32 bits",
            "one-sided, 32 bits",
        )
    )
    between(coarse[0], 2e-9, 5e-8)
    between(coarse[1], 1e-8, 1e-7)
    between(fine[0], 9e-8, 1.1e-5)
    between(fine[1], 1e-11, 1e-9)
    between(small[0], 9e-4, 1.1e-2)
    assert coarse[0] < fine[0] < small[0] and coarse[0] < coarse_small[0] < small[0]
    assert coarse_small[1] > small[1] > 1e-5
    exact = nb04.relative_error(product("double backward", "float64"), Hv)
    assert exact < 1e-14
    assert coarse[1] > 100 * fine[1] > 1e4 * exact


@claim(
    "In float32 rounding begins about nine digits higher", "the quotient is zero and the error 1"
)
def float32_rounds_nine_digits_higher(errors):
    near(
        math.log10(torch.finfo(torch.float32).eps / torch.finfo(torch.float64).eps),
        8.7,
        absolute=0.1,
    )
    near(errors["one-sided, 32 bits"][28], 1.0)


@claim("So, up to constants that depend on the function")
def formula_3_is_right_to_a_factor():
    u = torch.finfo(torch.float64).eps / 2
    for k in (1, 2):  # the minimum of ε^k + u/ε lies within a factor of two of u^(1/(k+1))
        grid = [10 ** (-i / 100) for i in range(1400)]
        least = min(grid, key=lambda e: e**k + u / e)
        between(least / u ** (1 / (k + 1)), 0.5, 2)
        between((least**k + u / least) / u ** (k / (k + 1)), 1, 3)


@claim(
    "(Here $v$ is made $10^5$ times longer, and the products are divided by $10^5$ again, to "
    "be compared with the same $Hv$.)",
    "Divide ε by $\\lVert v \\rVert$",
)
def a_long_v_needs_a_small_eps(nb04, as_it_is, scaled, long, v, Hv):
    near(long.norm() / v.norm(), 1e5)
    between(nb04.relative_error(as_it_is, Hv), 0.5, 0.8)
    assert nb04.relative_error(scaled, Hv) < 1e-8


@claim("This is **double backward**", "this is *forward over reverse*")
def the_exact_ways_are_exact(nb04, ways, Hv):
    assert len(ways) == 4
    for found in ways.values():
        assert nb04.relative_error(found, Hv) < 1e-14


@claim(
    "**About two gradients, whatever the number of weights**, in a network of several layers",
    "a central quotient is two gradients by definition",
    "Forward over reverse computes the gradient along with its derivative, and came out at three",
)
def a_product_costs_two_gradients(costs):
    between(costs["double backward, graph kept"], 1.5, 2)
    near(costs["double backward, from scratch"], costs["double backward, graph kept"] + 1)
    near(costs["forward over reverse"], 3.0, relative=0.01)
    near(costs["central quotient"], 2.0)


@claim(
    "makes a logistic regression with $p$ weights and 8 random samples, for $p$ = 10, 20, 50, "
    "100 and so on",
    "A matrix of 128 MiB at most is allowed here",
    "the refusal calls this limit 0.1 GiB. The library's own is 2 GiB",
)
def the_memory_panel_is_as_described(nb04, logistic, LIMIT, dense, exact_hessian):
    import inspect

    assert nb04.SIZES[:4] == [10, 20, 50, 100] and nb04.SIZES[-1] == 10**6
    assert LIMIT == 128 * 2**20
    assert "0.1 GiB" in nb04.peak(dense, logistic(5000))[1]
    assert inspect.signature(logistic).parameters["samples"].default == 8
    assert inspect.signature(exact_hessian).parameters["max_bytes"].default == 2 * 2**30


@claim(
    "The dense matrix takes $8p^2$ bytes, and twice that at the peak",
    "At $p = 5000$ it is over the limit of this panel; at a million weights it would be 8 TB",
    "Double backward takes four vectors at $p = 5000$, that is $4 \\cdot 8 \\cdot 5000$ bytes "
    "or 160 kB",
)
def the_dense_matrix_is_refused_at_5000(nb04, used, LIMIT):
    at = nb04.SIZES.index(5000)
    matrix = used["dense matrix"]
    near(matrix[at - 1] / (8 * 2000**2), 2.0, relative=0.01)
    assert math.isnan(matrix[at]) and 8 * 2000**2 < LIMIT < 8 * 5000**2
    near(used["double backward"][at], 160e3, relative=0.01)
    assert all(found[-1] < 20 * 8e6 for name, found in used.items() if name != "dense matrix")


@claim("Forward over reverse has 8 vectors more, one for each sample")
def forward_over_reverse_carries_the_samples(used, sixteen):
    near((used["forward over reverse"][-1] - used["double backward"][-1]) / 8e6, 8, relative=0.01)
    near(sixteen / 8e4, 20, relative=0.01)


@claim("Without the panel's limit the refusal comes at 2 GiB")
def a_product_has_no_limit(many):
    assert len(many) == 100_000 and bool(many.isfinite().all())


@claim(
    "the second derivative of LayerNorm's rule lacks a term in torch 2.13, the version of this "
    "course",
    "yet it fails where `jvp(grad(f))` passes",
    "are silently wrong through LayerNorm in torch 2.13",
)
def four_nestings_are_wrong_through_layernorm(wrong):
    assert torch.__version__.startswith("2.13")
    right = {"double backward", "jvp(grad(f))", "functional.hessian"}
    assert len(wrong) == 7 and all(wrong[name] < 1e-8 for name in right)
    assert all(off > 1e-2 for name, off in wrong.items() if name not in right)
    near(wrong["func.hessian"], wrong["jvp(jacrev(f))"], relative=0.5)


@claim("A Hessian is symmetric. The one of `torch.func.hessian` is not")
def symmetry_gives_the_wrong_hessian_away(hessian, exact_hessian, with_layernorm, start):
    def gap(matrix):
        return float((matrix - matrix.T).abs().max() / matrix.abs().max())

    assert gap(exact_hessian(with_layernorm, start)) < 1e-12
    between(gap(hessian(with_layernorm)(start)), 0.03, 0.05)


@claim(
    "a tiny one at random initialisation, with 2,074 weights, small enough that its whole "
    "Hessian fits (34 MB)",
    "Four reviews are its data, cut to their first twelve *word pieces*",
)
def products_of_the_whole_bert_are_exact(
    nb04, bert, H, w, judge, bert_loss_at, bert_theta, NESTINGS, tokens, reviews
):
    near(H.nbytes / 1e6, 34, absolute=0.5)
    assert len(H) == 2074 and len(reviews.texts) == 4 and tokens["input_ids"].shape[1] == 12
    assert nb04.relative_error(bert @ w, H @ w) < 1e-12
    assert nb04.relative_error(judge(bert_loss_at, bert_theta, w), H @ w) < 1e-7
    for name in ("grad(jvp(f))", "jvp(jacrev(f))"):
        assert nb04.relative_error(NESTINGS[name](bert_loss_at, bert_theta, w), H @ w) > 1e-3


@claim(
    "The classifier and the pooler, under 5 % of the weights, curve the most, and strongly "
    "*with one another*",
    "The queries and keys of the attention hardly curve at all",
    "most of the sum of squares lies outside the diagonal",
)
def the_classifier_and_the_pooler_curve_the_most(groups, members, blocks, bert_theta):
    assert groups[-2:] == ["pooler", "classifier"] and groups[:2] == ["word", "position"]
    share = [len(m) / len(bert_theta) for m in members]
    assert sum(share[-2:]) < 0.05 and sum(share[:2]) > 1 / 3 and len(members[-1]) == 18
    i, j = divmod(int(blocks.argmax()), len(groups))
    assert {groups[i], groups[j]} == {"pooler", "classifier"}
    own = blocks.diagonal()
    assert set(own.argsort(descending=True)[:2].tolist()) == {len(groups) - 1, len(groups) - 2}
    for layer in "01":
        qk, ff = groups.index(f"{layer}: q, k"), groups.index(f"{layer}: feed-fwd")
        assert blocks[qk, qk] < blocks[ff, ff] / 4 and blocks[qk, qk] < own[-1] / 20
    between(1 - float(own.square().sum() / blocks.square().sum()), 0.8, 0.9)


@claim(
    "four times as many products roughly halve the error, as averages do (four per column: 10 "
    "to 18 %, sixteen: 5 to 8 %)"
)
def four_times_the_products_halve_the_error(runs):
    assert runs.shape == (5, 16)
    between(runs[:, 3].min(), 0.08, 0.12)
    between(runs[:, 3].max(), 0.15, 0.20)
    between(runs[:, 15].min(), 0.04, 0.065)
    between(runs[:, 15].max(), 0.065, 0.095)
    between(runs[:, 3].median() / runs[:, 15].median(), 1.6, 2.6)


@claim(
    "find an ε with which the run ends with an error below $10^{-4}$",
    "In float32 $u \\approx 6\\cdot10^{-8}$, so equation (3) puts the best ε near "
    "$4\\cdot10^{-3}$. Two or three times smaller is as good here",
    "At $10^{-5}$, a good choice in float64, rounding has taken most of the digits",
)
def the_goal_is_in_the_valley_of_float32(nb04, product, Hv):
    u = torch.finfo(torch.float32).eps / 2
    near(u, 6e-8, relative=0.01)
    near(u ** (1 / 3), 4e-3, relative=0.05)
    for eps in (1.3e-3, 2e-3, 4e-3):
        assert nb04.relative_error(product("central", "float32", eps), Hv) < 1.5e-4
    assert nb04.relative_error(product("central", "float32", 2e-3), Hv) < 1e-4
    between(nb04.relative_error(product("central", "float32", 1e-5), Hv), 3e-3, 0.1)
    assert nb04.relative_error(product("central", "float64", 1e-5), Hv) < 1e-8


@claim("Commit yourself before you look")
def the_predictions_have_the_right_answers(errors, nb04, blocks, groups):
    from rlhf_course.checking.predictions import find

    told = find("04.digits").truth
    for i, (digits, error) in enumerate(zip(told, errors["one-sided, 64 bits"], strict=True)):
        near(-math.log10(error), digits, absolute=0.02 if i < 15 else 0.5)
    assert find("04.valley").truth == "larger, and in float32 larger still"
    bottom = {name: best(found, nb04.EPSILONS)[0] for name, found in errors.items()}
    assert bottom["one-sided, 64 bits"] < bottom["central, 64 bits"] < bottom["central, 32 bits"]
    assert find("04.block").truth == "pooler and classifier"
    assert set(blocks.diagonal().argsort(descending=True)[:2].tolist()) == {
        groups.index("pooler"),
        groups.index("classifier"),
    }


@claim(
    "Set `a`, `b`, `k` and `decades` (to 0.1)",
    "about two decades better, for twice the price",
    "so $2a + 4b = 1$ and $2a + 16b = 0$",
)
def five_points_are_two_decades_better(a, b, decades):
    near(2 * a + 4 * b, 1)
    near(2 * a + 16 * b, 0, absolute=1e-12)
    between(decades, 1.8, 2.3)


@claim(
    "one for which a product costs less than 1.1 gradients, and one of at least three layers for "
    "which it costs more than 1.9",
    "two* is the limit of deep networks",
)
def a_product_need_not_cost_two_gradients(cost_of, cheap, dear, sizes):
    assert cost_of(cheap) < 1.1 and 1.9 < cost_of(dear) < 2
    between(cost_of(sizes), 1.85, 2)
    assert cost_of([64, 32, 10]) < 1.3
