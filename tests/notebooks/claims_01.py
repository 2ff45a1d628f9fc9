"""What notebook 01 says, held in its kernel."""

import math

import torch

from tools.claims import between, claim, near


def validation_error(measure, features, fit, seed, lam, degree=12, n=20):
    (x, y), (x_new, y_new) = measure(n, 0.3, seed=seed), measure(200, 0.3, seed=seed + 100)
    w = fit(features(x[0], degree), y[0], lam)
    return float((features(x_new[0], degree) @ w - y_new[0]).square().mean())


@claim(
    "Somebody measures a smooth curve at 20 places, with errors",
    "With 13 coefficients it passes close to all of them; with two it cannot",
    "The polynomial of degree 12 has the least training error and by far the largest "
    "validation error",
)
def degree_12_passes_close_and_validates_worst(measure, features, fit):
    x, y = measure(20, 0.3, seed=2)
    rest = {}
    for degree in (1, 3, 12):
        X = features(x[0], degree)
        rest[degree] = X @ fit(X, y[0], 0) - y[0]
    assert rest[12].abs().max() < 0.5 < 1 < rest[1].abs().max()
    training = {degree: float(r.square().mean()) for degree, r in rest.items()}
    new = {d: validation_error(measure, features, fit, 2, 0, degree=d) for d in (1, 3, 12)}
    assert min(training, key=training.get) == 12 and new[12] > 10 * max(new[1], new[3])


@claim(
    "Even a perfect model would have a validation error of about $0.3^2 = 0.09$",
    "That degree 3 is a little below it is the luck of these 200 measurements",
)
def a_perfect_model_has_the_noises_variance(measure, features, fit, truth):
    x, y = measure(200, 0.3, sets=500, seed=7)
    near((truth(x) - y).square().mean(), 0.09, relative=0.02)
    between(validation_error(measure, features, fit, 2, 0, degree=3), 0.07, 0.09)
    more = [validation_error(measure, features, fit, seed, 0, degree=3) for seed in range(40)]
    between(sum(more) / 40, 0.09, 0.13)


@claim(
    "the 13 coefficients $w$",
    "Row $i$ of $X$ has the 13 polynomials at the place $x_i$",
    "each has the same mean square, so that a penalty treats them alike",
)
def the_thirteen_polynomials_have_one_mean_square(features):
    P = features(torch.linspace(-1, 1, 20_001), 12)
    assert P.shape[-1] == 13
    assert torch.allclose(P[1:].square().mean(0), torch.ones(13), rtol=0.01)


@claim(
    "with degree 12, n = 20 and noise 0.3, find a λ with a validation error **below 0.17**",
    "find two other ways to get below it with λ left at 10⁻⁶ and the noise at 0.3",
    "With degree 12, n = 20 and noise 0.3, set λ so that the validation error is below 0.17",
    "λ = 0.15 does, and so does 0.1, with an error of 0.159",
    "The training error is *higher* there than at λ = 10⁻⁶",
    "The two other ways: a lower degree (3), or more measurements (n = 80)",
)
def the_goal_of_panel_1_can_be_reached_in_three_ways(errors):
    def at(lam, degree=12, n=20):
        return next(errors(lam, degree, n, 0.3))

    assert at(1e-6).val_loss > 0.17 and at(0.15).val_loss < 0.17
    near(at(0.1).val_loss, 0.159, absolute=5e-4)
    assert at(0.15).train_loss > at(1e-6).train_loss
    assert at(1e-6, degree=3).val_loss < 0.17 and at(1e-6, n=80).val_loss < 0.17


@claim(
    "The training error can only rise with λ",
    "The validation error first falls",
    "Beyond the valley the penalty takes away the curve itself",
)
def the_training_error_rises_and_the_validation_error_has_a_valley(errors):
    sweep = list(errors(0.1, 12, 20, 0.3))[1:]
    train, new = [r.train_loss for r in sweep], [r.val_loss for r in sweep]
    assert train == sorted(train)
    assert 0 < new.index(min(new)) < len(new) - 1


@claim(
    "at λ = 0.1 the length of $w$ has shrunk from 1.93 to 0.87, to about that of the good fit "
    "of degree 3, 0.96"
)
def the_penalty_shortens_w(errors):
    for lam, degree, length in ((1e-6, 12, 1.93), (0.1, 12, 0.87), (1e-6, 3, 0.96)):
        near(next(errors(lam, degree, 20, 0.3)).theta.norm(), length, absolute=0.005)


@claim(
    "of the first six it is the one that overfits most",
    "Every set has the valley, but without a penalty the error is between one and a half times "
    "and more than twenty times as large as at its best, and the best λ differs from set to "
    "set by a factor of about twenty",
)
def every_data_set_has_a_valley_of_its_own(measure, features, fit, SWEEP, ten):
    first = [validation_error(measure, features, fit, seed, 1e-6) for seed in range(6)]
    assert max(first) == first[2]
    for seed, curve in enumerate(ten.tolist()):
        near(curve[0], validation_error(measure, features, fit, seed, SWEEP[0]))
        assert 0 < curve.index(min(curve)) < len(SWEEP) - 1
    ratios = ten[:, 0] / ten.amin(1)
    between(ratios.min(), 1.45, 1.65)
    between(ratios.max(), 20, 25)
    best = torch.tensor(SWEEP)[ten.argmin(1)]
    between(best.max() / best.min(), 15, 25)


@claim(
    "So take 200 data sets of each kind, and the λ that is best on average over them",
    "**The best λ moves: down with more samples, up with more noise.**",
    "So the best λ follows (2) in direction, and not in its powers",
    "By (2), 8 times the samples and 36 times the noise variance would be factors of 8 and 36",
)
def the_best_lambda_moves(by_n, by_noise, predictions_of):
    assert predictions_of(20, 0.3, 12, 0.1)[0].shape[0] == 200
    assert list(by_n) == [20, 40, 80, 160] and list(by_noise) == [0.1, 0.2, 0.3, 0.4, 0.6]
    assert list(by_n.values()) == sorted(by_n.values(), reverse=True)
    assert list(by_noise.values()) == sorted(by_noise.values())
    assert by_n[20] == by_noise[0.3]
    between(by_n[20] / by_n[160], 7, 14)
    between(by_noise[0.6] / by_noise[0.1], 5, 11)


@claim("with 3000 of each kind the factors are about 18 and 10")
def many_data_sets_give_the_factors(measure, features, truth, GRID, LAMBDAS):
    def best(n, noise):
        x, y = measure(n, noise, 3000, seed=100)
        X = features(x, 12)
        h, V = torch.linalg.eigh(X.mT @ X / n)
        b, F = (V.mT @ (X.mT @ y[..., None] / n))[..., 0], features(GRID[::8], 12) @ V
        errors = [
            float(((F @ (b / (h + lam))[..., None])[..., 0] - truth(GRID[::8])).square().mean())
            for lam in LAMBDAS
        ]
        return LAMBDAS[errors.index(min(errors))]

    # The grid's step is a factor of 1.33.
    between(best(20, 0.3) / best(160, 0.3), 13, 24)
    between(best(20, 0.6) / best(20, 0.1), 7.4, 13.4)


@claim("is a **prior**", "up to a factor, minus the logarithm of the probability of $w$")
def the_penalized_loss_is_minus_the_logarithm_of_a_posterior(X, y):
    sigma, tau, n = 0.3, 0.7, len(y)
    w = torch.randn(3, X.shape[1], generator=torch.Generator().manual_seed(0))
    lam = sigma**2 / (n * tau**2)
    normal = torch.distributions.Normal
    log = normal(w @ X.T, sigma).log_prob(y).sum(1) + normal(0.0, tau).log_prob(w).sum(1)
    loss = (w @ X.T - y).square().mean(1) / 2 + lam * w.square().sum(1) / 2
    # Equal up to the factor n/σ² and a constant.
    assert torch.allclose(-log.diff(), n / sigma**2 * loss.diff(), rtol=1e-9)


@claim("Our true coefficients are not like (2) has them: a few are large and the rest almost zero")
def few_coefficients_of_the_curve_are_large(features, fit, truth, GRID):
    w = fit(features(GRID, 12), truth(GRID), 0).abs()
    assert (w > 0.3).sum() == 2 and (w < 0.01).sum() == 10


@claim(
    "With each degree variance rises and training error falls",
    "Bias² falls as well, down to degree 5, and at the odd degrees only, for the curve is odd",
    "the mean of only 200 colleagues still scatters itself, by a 200th of their variance, and "
    "at degree 12 that alone is about $2.25/200 = 0.011$",
)
def bias_falls_and_variance_rises_with_the_degree(by_degree, truth, GRID, predictions_of):
    bias, variance, train = (list(column) for column in zip(*by_degree, strict=True))
    assert len(bias) == 13
    assert variance == sorted(variance) and train == sorted(train, reverse=True)
    assert bias[0] > 2 * bias[1] > 4 * bias[3] > 8 * bias[5]
    near(bias[2], bias[1], relative=0.02)
    near(bias[4], bias[3], relative=0.05)
    assert torch.allclose(truth(-GRID), -truth(GRID))
    near(variance[12], 2.25, relative=0.01)
    # The artefact: with four times as many colleagues the bias of degree 8 is smaller.
    many = predictions_of(20, 0.3, 8, 0, sets=3200)[0]
    assert float((many.mean(0) - truth(GRID)).square().mean()) < bias[8] / 2


@claim(
    "To the left variance, to the right bias",
    "Their sum is least where one curve falls as *steeply* as the other rises, which is not where "
    "they cross",
)
def the_penalty_trades_variance_for_bias(parts, SWEEP):
    bias, variance = parts.T
    assert bias[-1] > 50 * bias[18] and (variance.diff() < 0).all()
    best = int(parts.sum(1).argmin())
    crossing = int((bias / variance).log().abs().argmin())
    assert crossing > best + 1
    assert float(parts[crossing].sum()) > 1.05 * float(parts[best].sum())


@claim(
    "Along each, the fit without a penalty goes all the way to what the data say, and every other "
    "method goes a **share** of that way",
    "The first is the ridge solution; the other two start at zero and are stopped after $k$ steps",
    "The sum of the shares is how many coefficients are free in effect",
    "At λ = 0 it is 13, at λ = ∞ it is 0",
)
def the_three_shares_are_what_the_three_methods_do(FILTERS, fit, X, y, h, directions, whole):
    H, b, eye = X.T @ X / 20, X.T @ y / 20, torch.eye(13)

    def shown(kind, strength, k):
        return directions @ (FILTERS[kind](strength, k) * whole)

    assert torch.allclose(shown("penalty", 0.2, 1), fit(X, y, 0.2), atol=1e-8)
    damped = descent = torch.zeros(13)
    for _ in range(7):
        damped = damped - torch.linalg.solve(H + 0.3 * eye, H @ damped - b)
        descent = descent - (H @ descent - b) / h[-1]
    assert torch.allclose(shown("damped steps", 0.3, 7), damped, atol=1e-8)
    assert torch.allclose(shown("gradient descent", 1.0, 7), descent, atol=1e-8)
    near(FILTERS["penalty"](0.0, 1).sum(), 13)
    near(torch.trace(H @ torch.linalg.inv(H + 0.2 * eye)), FILTERS["penalty"](0.2, 1).sum())
    assert float(FILTERS["penalty"](1e9, 1).sum()) < 1e-6


@claim(
    "**Goal:** the best λ has an error of 0.090. Find a filter with one below 0.07.",
    "On the left the share of each of the 13 directions",
    "On this data set both early stops beat the best penalty, with about the same degrees of "
    "freedom: they hold the two flattest directions back more sharply",
    "On other data sets it is the other way round",
)
def both_stops_beat_the_best_penalty_here(held_back, measure, features, truth, GRID):
    best = min(
        (held_back("penalty", 10 ** (e / 20), 1) for e in range(-60, 20)), key=lambda r: r.loss
    )
    near(best.loss, 0.0897, relative=0.01)
    for kind, strength in (("damped steps", 3.0), ("gradient descent", 1.0)):
        stop = min((held_back(kind, strength, k) for k in range(1, 61)), key=lambda r: r.loss)
        assert stop.loss < 0.07 and abs(stop.extra["df"] - best.extra["df"]) < 1
        assert float(stop.extra["share"][1]) < 0.7 * float(best.extra["share"][1]) + 0.05
    won = []
    for seed in range(20):
        x, y = (t[0] for t in measure(20, 0.3, seed=seed))
        X = features(x, 12)
        h, V = torch.linalg.eigh(X.T @ X / 20)
        b, F = V.T @ (X.T @ y) / 20, features(GRID, 12) @ V
        errors = [
            min(float((F @ (b / h * s) - truth(GRID)).square().mean()) for s in shares)
            for shares in (
                [h / (h + 10 ** (e / 20)) for e in range(-80, 20)],
                [1 - (1 - h / h[-1]) ** k for k in range(1, 401)],
            )
        ]
        won.append(errors[1] < errors[0])
    assert 3 <= sum(won) < 20


@claim(
    "That is its **implicit bias**",
    "goes a share of the way along each direction with $h > 0$, and no way at all along the others",
)
def gradient_descent_from_zero_ends_in_the_shortest_fit(outside, w, FILTERS, F, shortest, target):
    assert float(outside.norm() / w.norm()) < 1e-9
    # The shares (4) go to one along all directions with h > 0, so the distance goes to zero.
    _, sizes, V = torch.linalg.svd(F, full_matrices=False)
    h = sizes**2 / 100
    apart = [
        float(((1 - h / h[0]) ** k)[:, None].mul(V @ shortest).norm() / shortest.norm())
        for k in (1000, 10**5, 10**7)
    ]
    near(apart[0], (w - shortest).norm() / shortest.norm(), relative=1e-6)
    assert apart[0] > apart[1] > apart[2] and apart[2] < 1e-9


@claim(
    "scikit-learn's handwritten digits, 8 × 8 pixels, 100 of them to learn from and 500 others "
    "to validate on",
    "We vary $p$ from 5 to 2000",
    "0.9 for the digit's own class and −0.1 for each other one, and the error is the sum of the "
    "ten squares: always answering zero would cost 0.9",
)
def the_digits_are_these(PIXELS, draw_digits, SIZES):
    x, labels, x_new, labels_new = draw_digits(100, 0.0, 0)
    assert PIXELS.shape[1] == 8 * 8 and len(x) == 100 and len(x_new) == len(labels_new) == 500
    assert (SIZES[0], SIZES[-1]) == (5, 2000)
    target = torch.eye(10)[labels] - 0.1
    near(target.square().sum(1).mean(), 0.9)


@claim(
    "Without a penalty and with $p > 100$ infinitely many weights fit the training data "
    "exactly; we take the shortest ones",
    "there is in general exactly one way to fit the data (here nearly: up to two of the 100 "
    "features are zero at all digits), and it pays for fitting them with large weights",
    "Beyond, there are many ways, the shortest one gets shorter",
)
def at_p_equal_n_the_weights_are_large(draw_digits, random_features):
    nowhere = []
    for seed in range(5):
        x, labels, *_ = draw_digits(100, 0.0, seed)
        target, length = torch.eye(10)[labels] - 0.1, {}
        for p in (60, 100, 200, 2000):
            F = random_features(x, p, seed)
            w = torch.linalg.pinv(F) @ target
            length[p] = float(w.norm())
            if p > 100:
                assert float((F @ w - target).abs().max()) < 1e-6
        zeros = int((random_features(x, 100, seed) == 0).all(0).sum())
        nowhere.append(zeros)
        assert torch.linalg.matrix_rank(random_features(x, 100, seed)) == 100 - zeros
        assert length[100] > 3 * max(length[60], length[200]) and length[200] > length[2000]
    assert min(nowhere) == 0 and max(nowhere) == 2


@claim(
    "the error falls again, here to 0.30 at $p = 2000$ (0.27 to 0.32 over the five seeds), less "
    "than half of the 0.68 that is the best with fewer than 100 features"
)
def double_descent_on_digits(plain, SIZES):
    by_size = dict(zip(SIZES, plain, strict=True))
    small = min(float(errors.mean()) for p, errors in by_size.items() if p < 100)
    near(small, 0.68, absolute=0.005)
    last = by_size[2000]
    assert by_size[100].mean() > 10 * small and last.mean() < small / 2
    near(last.mean(), 0.298, absolute=0.003)
    near(last.min(), 0.272, absolute=0.003)
    near(last.max(), 0.323, absolute=0.003)


@claim("**with a well chosen λ there is no peak at all**, and more features only help")
def with_a_penalty_there_is_no_peak(ridge, plain):
    assert (ridge.mean(1).diff() < 0).all() and (plain.mean(1).diff() > 0).any()


@claim("Ten equal guesses cost $\\ln 10 = 2.30$")
def ten_equal_guesses_cost_230():
    loss = torch.nn.functional.cross_entropy(torch.zeros(3, 10), torch.tensor([0, 4, 9]))
    near(loss, 2.30, absolute=0.005)
    near(loss, math.log(10))


@claim(
    "with 20 % wrong labels and 150 digits, find a λ whose validation loss does not turn up: "
    "it ends below 0.9, and less than 5 % above its least value",
    "with 32 hidden units and ten outputs",
)
def the_goal_of_panel_4_can_be_reached(runs, nb01):
    values = {"n": 150, "label_noise": 0.2}
    assert nb01.stays_down(runs["λ = 0.02, 20 % wrong"], values)
    assert not nb01.stays_down(runs["λ = 0, 20 % wrong"], values)
    assert not nb01.stays_down(runs["λ = 0.02, 20 % wrong"], {"n": 150, "label_noise": 0.0})


@claim(
    "Without a penalty the training loss goes to about 0.01 or less",
    "its validation loss turns up within a hundred steps",
    "With wrong labels it doubles, and accuracy falls",
    "the loss rises by a little and accuracy does not suffer",
    "The penalty keeps the training loss well above zero",
)
def without_a_penalty_the_validation_loss_turns_up(runs):
    def ends(name):
        return runs[name][-1], min(runs[name], key=lambda r: r.val_loss)

    for name in ("λ = 0, all right", "λ = 0, 20 % wrong"):
        end, best = ends(name)
        assert end.train_loss < 0.015 and end.val_loss > 1.1 * best.val_loss and best.step < 100
    end, best = ends("λ = 0, all right")
    assert end.val_loss < 1.25 * best.val_loss
    assert abs(end.val_accuracy - best.val_accuracy) < 0.01
    end, best = ends("λ = 0, 20 % wrong")
    between(end.val_loss / best.val_loss, 1.8, 2.5)
    assert end.val_accuracy < best.val_accuracy - 0.05
    end, best = ends("λ = 0.02, 20 % wrong")
    assert end.val_loss < 1.05 * best.val_loss and end.train_loss > 0.5


@claim(
    "The least loss of the unpenalized run, at the step where somebody would have had to stop "
    "it, is *lower* than what the penalty holds, and its accuracy there is as good"
)
def stopping_in_time_would_have_done_as_well(runs):
    best = min(runs["λ = 0, 20 % wrong"], key=lambda r: r.val_loss)
    held = runs["λ = 0.02, 20 % wrong"][-1]
    assert best.val_loss < held.val_loss and abs(best.val_accuracy - held.val_accuracy) < 0.02


@claim("the library's `newton` with an L2 penalty and our `fit` give the same coefficients")
def one_newton_step_is_the_ridge_fit(record, fit, X, y):
    assert float((record.theta - fit(X, y, 0.1)).abs().max()) < 1e-10


@claim(
    "Four models were fitted to noisy measurements with σ = 0.3",
    "C is as good as the noise lets it be: σ² = 0.09",
    "**2** less penalty, or a richer model; **3** nothing; **4** look where the validation data "
    "came from.",
)
def no_validation_error_is_below_the_noise():
    near(0.3**2, 0.09)


@claim(
    "It grows: about 0.02 at degree 4 and 0.1 at degree 12",
    "measure it with n = 20 and noise 0.3 for at least three degrees from 3 to 15, two of them 4 "
    "and 12",
)
def the_best_lambda_grows_with_the_degree(predictions_of, split, LAMBDAS):
    best = {
        degree: min(
            LAMBDAS, key=lambda lam, d=degree: sum(split(predictions_of(20, 0.3, d, lam)[0]))
        )
        for degree in (4, 12, 15)
    }
    between(best[4], 0.015, 0.035)
    between(best[12], 0.09, 0.14)
    between(best[15] / best[12], 0.7, 1.4)


@claim("Commit to the other two")
def the_predictions_have_the_right_answers(errors, by_n, by_noise, plain, SIZES, FILTERS, h):
    from rlhf_course.checking.predictions import find

    sweep = list(errors(1e-6, 12, 20, 0.3))[1:]
    told = find("01.validation").truth
    assert len(told) == len(sweep)
    for record, value in zip(sweep, told, strict=True):
        near(record.val_loss, value, relative=0.005)
    assert find("01.moves").truth == "down with more measurements, up with more noise"
    assert by_n[80] < by_n[20] and by_noise[0.6] > by_noise[0.3]
    assert find("01.peak").truth == "it rises up to p = 100 and then falls below where it began"
    by_size = {p: float(e.mean()) for p, e in zip(SIZES, plain, strict=True)}
    assert by_size[60] < by_size[80] < by_size[100] and by_size[2000] < by_size[60] / 2
    assert find("01.filters").truth == "gradient descent"
    for k in (5, 20, 60):
        stop = FILTERS["gradient descent"](1.0, k)
        low, high = 1e-6, 1e3
        for _ in range(80):  # the λ with as many degrees of freedom
            middle = (low * high) ** 0.5
            free = FILTERS["penalty"](middle, 1)
            low, high = (middle, high) if free.sum() > stop.sum() else (low, middle)
        assert free[0] > stop[0] and free[-1] < stop[-1]
