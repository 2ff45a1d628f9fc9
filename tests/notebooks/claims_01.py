"""What notebook 01 says, held in its kernel."""

import math
from itertools import pairwise

import torch

from tools.claims import between, claim, near


def validation_error(measure, features, fit, seed, lam, degree=12, n=20):
    (x, y), (x_new, y_new) = measure(n, 0.3, seed=seed), measure(200, 0.3, seed=seed + 100)
    w = fit(features(x[0], degree), y[0], lam)
    return float((features(x_new[0], degree) @ w - y_new[0]).square().mean())


def losses(run):
    return [record.val_loss for record in run]


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
    train, new = [r.train_loss for r in sweep], losses(sweep)
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
    "So the best λ follows (2) in direction, and not in its exact powers",
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


@claim("Our true coefficients are not like that: a few are large and the rest almost zero")
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
    "with 20 hidden units $j$, so 61 parameters for 20 measurements",
    "it is trained by 800 steps of Adam",
    "The polynomials' curves come from 200 colleagues, the MLP's from 20, at 11 values of λ",
)
def the_networks_of_panel_2_have_61_parameters(three, nb01, measure, predictions_of):
    from inspect import signature

    assert 20 + 20 + 20 + 1 == 61
    assert signature(nb01.networks).parameters["steps"].default == 800
    assert len(three["MLP with 20 units"]) == 11
    assert predictions_of(20, 0.3, 3, 0.1)[0].shape[0] == 200
    step, losses, predict = next(nb01.networks(*measure(20, 0.3, sets=20), torch.ones(11)))
    assert step == 0 and losses.shape == (11, 20)
    # 20 units: what an MLP predicts is a sum of 20 functions of tanh(ux + b) and a constant.
    places = torch.linspace(-1, 1, 2001)
    assert predict(places).shape == (11, 20, 2001)


@claim(
    "All three show the same trade: to the left variance, to the right bias",
    "the sum is least where one curve falls as *steeply* as the other rises, which is not where "
    "they cross",
)
def each_model_trades_variance_for_bias(three, nb01):
    for run in three.values():
        best = nb01.least(run)
        assert run[-1].extra["split"][0] > best.extra["split"][0]
        assert run[0].extra["split"][1] > best.extra["split"][1]
        crossing = nb01.crossing(run)
        assert sum(crossing.extra["split"]) > 1.05 * sum(best.extra["split"])
        assert crossing.extra["lambda"] > 1.5 * best.extra["lambda"]
    network = three["MLP with 20 units"]
    assert sum(nb01.crossing(network).extra["split"]) > 1.2 * sum(
        nb01.least(network).extra["split"]
    )


@claim(
    "The polynomial of degree 12 is lost without a penalty",
    "The MLP at its weakest λ is far better than that polynomial although it has more parameters",
    "its variance keeps growing when training goes on",
    "The best of all three is the polynomial of degree 3 with a small penalty",
)
def stopping_early_holds_the_networks_back(three, nb01, scatter):
    first = {model: sum(run[0].extra["split"]) for model, run in three.items()}
    between(first["polynomial of degree 12"], 2, 2.5)
    assert first["MLP with 20 units"] < first["polynomial of degree 12"] / 20
    assert scatter[800] < scatter[1600] < scatter[2400]
    least = {model: sum(nb01.least(run).extra["split"]) for model, run in three.items()}
    assert min(least, key=least.get) == "polynomial of degree 3"
    between(nb01.least(three["polynomial of degree 3"]).extra["lambda"], 0.001, 0.1)


@claim("for the MLP at noise 0.3, find the λ at which bias² and variance are equal")
def the_goal_of_panel_2_is_reached_at_one_lambda(three, nb01):
    run = three["MLP with 20 units"]
    values = {"model": "MLP with 20 units", "n": 20, "noise": 0.3}
    lam = nb01.crossing(run).extra["lambda"]
    assert nb01.equal_parts(run, values | {"lambda_reg": lam})
    assert not nb01.equal_parts(run, values | {"lambda_reg": 0.001})
    assert not nb01.equal_parts(run, values | {"lambda_reg": lam, "noise": 0.2})


@claim(
    "scikit-learn's handwritten digits, 8 × 8 pixels, 100 of them to learn from and 500 others "
    "to validate on",
    "The panel varies $p$ from 5 to 2000",
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
def at_p_equal_n_the_weights_are_large(draw_digits, random_features, plain):
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
    assert all(r.train_loss < 1e-9 for r in plain if r.extra["p"] > 100)


@claim(
    "the error falls again, here to 0.30 at $p = 2000$ (0.27 to 0.32 over the five seeds), less "
    "than half of the 0.68 that is the best with fewer than 100 features"
)
def double_descent_on_digits(plain):
    by_size = {r.extra["p"]: r for r in plain}
    small = min(r.val_loss for p, r in by_size.items() if p < 100)
    near(small, 0.68, absolute=0.005)
    assert by_size[100].val_loss > 10 * small and by_size[2000].val_loss < small / 2
    near(by_size[2000].val_loss, 0.298, absolute=0.003)
    near(by_size[2000].extra["least"], 0.272, absolute=0.003)
    near(by_size[2000].extra["most"], 0.323, absolute=0.003)


@claim(
    "**with a well chosen λ there is no peak at all**, and more features only help",
    "With 20 % wrong labels λ = 10⁻⁵ is too small, and leaves a hump",
    "find a λ with which the peak at $p = 100$ is gone and the error at $p = 2000$ is below 0.3",
)
def with_a_penalty_there_is_no_peak(plain, ridge, noisy, nb01):
    for run in (ridge, noisy[1e-4]):
        assert losses(run) == sorted(losses(run), reverse=True)
        assert nb01.no_peak(run)
    weak = {r.extra["p"]: r.val_loss for r in noisy[1e-5]}
    assert weak[90] > weak[40]
    for run in (plain, noisy[0], noisy[1e-5]):
        assert not nb01.no_peak(run)
    assert nb01.no_peak_and_low(ridge, {"label_noise": 0.0})
    assert not nb01.no_peak_and_low(noisy[1e-4], {"label_noise": 0.2})


@claim("Ten equal guesses cost $\\ln 10 = 2.30$")
def ten_equal_guesses_cost_230():
    loss = torch.nn.functional.cross_entropy(torch.zeros(3, 10), torch.tensor([0, 4, 9]))
    near(loss, 2.30, absolute=0.005)
    near(loss, math.log(10))


@claim(
    "from an astronomical peak (above 1000), and it is useless",
    "Even its lowest place, about 0.33 with 28 to 30 coefficients, is far above the 0.02 of "
    "four, and then the error rises again",
)
def the_second_descent_of_the_polynomials_is_useless(COUNTS, quartiles):
    median = dict(zip(COUNTS, quartiles[1].tolist(), strict=True))
    assert median[20] > 1000 and median[300] < 1 and median[300] > 10 * median[4]
    near(median[4], 0.0197, relative=0.01)
    lowest = min((p for p in COUNTS if p >= 20), key=median.get)
    assert lowest in (28, 29, 30)
    between(median[lowest], 0.31, 0.35)
    after = [median[p] for p in COUNTS if p >= 30]
    assert after == sorted(after)


@claim(
    "the more high polynomials there are, the more the shortest solution becomes a function "
    "that is almost zero except at the measurements"
)
def the_shortest_solution_of_many_polynomials_is_almost_zero(measure, features, fit, truth, GRID):
    x, y = measure(20, 0.3, seed=0)
    far = (GRID[:, None] - x[0]).abs().amin(1) > 0.02
    size = {}
    for p in (30, 300):
        w = fit(features(x[0], p - 1), y[0], 0)
        assert float((features(x[0], p - 1) @ w - y[0]).abs().max()) < 1e-6
        size[p] = float((features(GRID[far], p - 1) @ w).square().mean())
    assert size[300] < 0.1 * size[30] and size[300] < 0.1 * float(truth(GRID).square().mean())


@claim(
    "After 400 steps the validation loss has a single valley, at width 16",
    "After 1000 steps it has a hump at width 4, where the training loss is down to 0.16 with a "
    "fifth of the labels wrong, then the valley, and then a rise",
    "with no good small model before it, and with more loss, not less, for the widest",
    "The *accuracy* shows nothing of the kind: it climbs and levels off",
)
def the_networks_show_a_hump_in_loss_and_none_in_accuracy(measured, WIDTHS):
    early, late = (measured[steps][:, 1].mean(1).tolist() for steps in (400, 1000))
    assert WIDTHS[early.index(min(early))] == 16 and WIDTHS[early.index(max(early))] == 128
    low = early.index(min(early))
    assert all(b < a + 0.02 for a, b in pairwise(early[: low + 1]))  # falls, nearly or in truth
    assert early[low:] == sorted(early[low:])
    assert WIDTHS[late.index(max(late))] == 4 and WIDTHS[late.index(min(late))] == 16
    assert late[0] < late[2] > late[4] < late[6]
    assert late[0] > 1.2 * late[4] and late[6] > 1.2 * late[4]
    between(measured[1000][WIDTHS.index(4), 0].mean(), 0.12, 0.2)
    accuracy = measured[1000][:, 2].mean(1).tolist()
    assert all(b > a - 0.02 for a, b in pairwise(accuracy))


@claim(
    "with 20 % wrong labels and 150 digits, find a λ whose validation loss does not turn up: "
    "it ends below 0.9, and less than 5 % above its least value",
    "The MLP has 32 hidden units and learns from few digits",
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
def one_newton_step_is_the_ridge_fit(newton, measure, features, fit):
    x, y = (t[0] for t in measure(20, 0.3, seed=2))
    X = features(x, 12)
    *_, record = newton(
        lambda w: 0.5 * (X @ w - y).square().mean(),
        torch.zeros(13),
        regularizer="l2",
        lambda_reg=0.1,
        max_steps=1,
    )
    assert float((record.theta - fit(X, y, 0.1)).abs().max()) < 1e-10


@claim("Commit to the other two")
def the_predictions_have_the_right_answers(errors, by_n, by_noise, plain):
    from rlhf_course.checking.predictions import find

    sweep = list(errors(1e-6, 12, 20, 0.3))[1:]
    told = find("01.validation").truth
    assert len(told) == len(sweep)
    for record, value in zip(sweep, told, strict=True):
        near(record.val_loss, value, relative=0.005)
    assert find("01.moves").truth == "down with more measurements, up with more noise"
    assert by_n[80] < by_n[20] and by_noise[0.6] > by_noise[0.3]
    assert find("01.peak").truth == "it rises up to p = 100 and then falls below where it began"
    by_size = {r.extra["p"]: r.val_loss for r in plain}
    assert by_size[60] < by_size[80] < by_size[100] and by_size[2000] < by_size[60] / 2
