"""Gram matrices, steps, runs and minima of the linearized model against a dense Jacobian."""

import pytest
import torch
from cases import flat, mlp, randn
from linear_cases import Dense, close, cross_entropy, labels, penalty_weights, small_net
from torch import nn
from torch.nn import functional as F

from rlhf_lib import RLHFOptimizer, linearize, select_lambda, train
from rlhf_lib.regularizers import L2, L2SP

X, X_HELD = randn(12, 3), randn(7, 3, seed=1)


def problem(classes, loss="cross_entropy"):
    """(net, targets, held-out targets, torch's loss of outputs) for one kind of loss."""
    net = small_net(outputs=classes)
    if loss == "cross_entropy":
        y, held = labels(12, classes), labels(7, classes, seed=1)
        return net, y, held, cross_entropy(y)
    if loss == "binary":
        y, held = labels(12 * classes, 2).double(), labels(7 * classes, 2, seed=1).double()
        y, held = y.view(12, classes), held.view(7, classes)
        return net, y, held, lambda z: F.binary_cross_entropy_with_logits(z, y)
    y, held = randn(12, classes, seed=5), randn(7, classes, seed=6)
    return net, y, held, lambda z: F.mse_loss(z, y)


KINDS = [(2, "cross_entropy"), (6, "cross_entropy"), (1, "binary"), (3, "binary"), (2, "mse")]


@pytest.mark.parametrize(("classes", "loss"), KINDS)
@pytest.mark.parametrize("micro_batch", [64, 5])
def test_gram_matrices_are_those_of_the_dense_jacobian(classes, loss, micro_batch):
    net, y, held, _ = problem(classes, loss)
    linear = linearize(net, (X, y), (X_HELD, held), loss=loss, micro_batch=micro_batch)
    z, J = Dense(net, X, None, 0.0).outputs_and_jacobian(torch.cat([X, X_HELD]))
    if loss == "cross_entropy":  # margins: differences to the last class
        J = J.view(19, classes, -1)
        J, z = (J[:, :-1] - J[:, -1:]).flatten(0, 1), (z[:, :-1] - z[:, -1:])
    n = len(J) * 12 // 19
    matrices = penalty_weights(net, 1.0)
    for cell, K, own in zip(linear.cells, linear.grams.matrices, linear.grams.held, strict=True):
        part = J * (matrices if cell.penalized else 1 - matrices)
        close(K, part[:n] @ part.T, 1e-12)
        blocks = part[n:].view(len(own), linear.m, -1)
        close(own, blocks @ blocks.mT, 1e-12)
    close(linear.grams.start, z.flatten().detach(), 1e-12)


@pytest.mark.parametrize(("classes", "loss"), KINDS)
@pytest.mark.parametrize("include_all", [False, True])
@pytest.mark.parametrize("kind", ["l2sp", "l2"])
def test_every_step_is_the_dense_damped_step(classes, loss, include_all, kind):
    net, y, held, value = problem(classes, loss)
    weights = penalty_weights(net, 0.2, 0.2 if include_all else 0.0)
    center = flat(net.parameters()) * (0.0 if kind == "l2" else 1.0)
    dense = Dense(net, X, value, weights, center)
    linear = linearize(net, (X, y), (X_HELD, held), loss=loss)
    run = linear.run(0.2, damping=0.3, steps=4, regularizer=kind, include_all=include_all, tol=0)
    theta = dense.theta0
    for k in range(1, 5):
        d = dense.step(theta, 0.3)
        H = dense.hessian(theta)
        gain = dense.objective(theta) - dense.objective(theta + d)
        promise = -(dense.gradient(theta) @ d + d @ H @ d / 2)
        record = run[k]
        assert record.step_length == 1  # of these convex problems
        close(record.objective, dense.objective(theta), 1e-12)
        close(record.grad_norm, dense.gradient(theta).norm(), 1e-10)
        close(record.step_norm, d.norm(), 1e-10)
        close(record.rho, gain / promise, 1e-6)
        theta = theta + d
        close(record.train_loss, value(dense.outputs(theta)), 1e-11)
    close(linear.theta(run), theta, 1e-10)


@pytest.mark.parametrize("kind", [L2SP, L2])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    "solver", [{"solver": "cg", "rtol": 1e-14, "max_iter": 300}, {"solver": "dual", "rtol": 1e-12}]
)
def test_the_first_step_is_that_of_the_optimizer(kind, classes, solver):
    net, y, held, _ = problem(classes)
    linear = linearize(net, (X, y), (X_HELD, held))
    name = "l2sp" if kind is L2SP else "l2"
    run = linear.run(0.05, damping=0.5, steps=1, regularizer=name)

    def evaluate():
        with torch.no_grad():
            return {"val_loss": float(F.cross_entropy(net(X_HELD), held))}

    def loss_fn(batch):
        outputs = net(batch[0])
        return F.cross_entropy(outputs, batch[1]), outputs

    optimizer = RLHFOptimizer(
        net.named_parameters(), lambda_reg=0.05, regularizer=kind(), damping=0.5, **solver
    )
    first, true = train(loss_fn, optimizer, [(X, y)], evaluate=evaluate)
    close(run[0].loss, first.loss, 1e-12)
    close(run[0].penalty, first.penalty, 1e-12)
    close(run[0].val_loss, first.val_loss, 1e-12)
    for name in ("loss", "penalty", "grad_norm", "step_norm", "step_length", "damping"):
        close(getattr(run[1], name), getattr(true, name), 1e-9)
    after = flat(net.parameters())
    linear.back()
    close(linear.theta(run), after, 1e-9)


@pytest.mark.parametrize(("classes", "loss"), KINDS)
@pytest.mark.parametrize("kind", ["l2sp", "l2"])
def test_the_minimum_is_the_dense_one(classes, loss, kind):
    net, y, held, value = problem(classes, loss)
    center = flat(net.parameters()) * (0.0 if kind == "l2" else 1.0)
    dense = Dense(net, X, value, 0.03, center)
    linear = linearize(net, (X, y), (X_HELD, held), loss=loss)
    fit = linear.minimum(0.03, regularizer=kind, include_all=True)
    assert fit.converged
    theta = dense.minimum()
    close(linear.theta(fit), theta, 1e-9)
    close(fit.train_loss, value(dense.outputs(theta)), 1e-10)
    close(fit.distance, (theta - center).norm(), 1e-9)
    outputs = dense.outputs(theta, X_HELD)
    if loss == "cross_entropy":
        close(fit.val_loss, F.cross_entropy(outputs, held), 1e-10)
        close(fit.val_accuracy, (outputs.argmax(1) == held).double().mean(), 1e-12)
    elif loss == "binary":
        close(fit.val_loss, F.binary_cross_entropy_with_logits(outputs, held), 1e-10)
    else:
        close(fit.val_loss, F.mse_loss(outputs, held), 1e-10)


def few_free(classes=2, seed=0):
    """A net with one bias vector, which does not fit all labels alone."""
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, classes)).double()
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(randn(*p.shape, seed=seed + i))
    return net


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", ["l2sp", "l2"])
def test_biases_without_a_penalty_are_free_in_the_minimum(classes, kind):
    net, y = few_free(classes), labels(12, classes)
    center = flat(net.parameters()) * (0.0 if kind == "l2" else 1.0)
    dense = Dense(net, X, cross_entropy(y), penalty_weights(net, 0.03), center)
    linear = linearize(net, (X, y))
    fit = linear.minimum(0.03, regularizer=kind)
    assert fit.converged
    theta = dense.minimum()
    # A bias common to all classes changes nothing; neither minimum has moved along it.
    close(linear.theta(fit), theta, 1e-8)
    assert float(dense.gradient(linear.theta(fit)).norm()) < 1e-10


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_biases_that_fit_every_label_are_refused_by_name(dtype):
    # In single precision most of the 12 eigenvalues of the biases' kernel are near its rounding.
    linear = linearize(mlp(3, 40, 2, dtype=dtype), (X.to(dtype), labels(12, 2)))
    with pytest.raises(ValueError, match="include_all=True"):
        linear.minimum(0.1)
    assert linear.minimum(0.1, include_all=True).converged
    assert linear.run(0.1, damping=0.5, steps=2).reason == "max_steps"


def test_without_any_penalty_few_parameters_have_their_minimum():
    for seed in range(30):  # from some starts the last step is below the objective's rounding
        torch.manual_seed(seed)
        net, y = nn.Linear(3, 2).double(), labels(12, 2, seed=3)
        linear = linearize(net, (X, y))
        fit = linear.minimum(0.0)
        dense = Dense(net, X, cross_entropy(y), 0.0)
        assert fit.converged, (seed, fit.reason)
        assert float(dense.gradient(linear.theta(fit)).norm()) < 1e-8


def test_groups_have_lambdas_and_centers_of_their_own():
    net, y = small_net(outputs=3), labels(12, 3)
    dense_weights = flat(
        torch.full_like(p, 0.5 if n.startswith("3") else 0.02) for n, p in net.named_parameters()
    )
    center = flat(p * (0 if n.startswith("3") else 1) for n, p in net.named_parameters())
    dense = Dense(net, X, cross_entropy(y), dense_weights, center)
    linear = linearize(net, (X, y), groups={"head": ["3."]}, include_all=True)
    fit = linear.minimum({"head": 0.5, "rest": 0.02}, regularizer={"head": "l2", "rest": "l2sp"})
    close(linear.theta(fit), dense.minimum(), 1e-9)


def test_groups_may_be_an_optimizers_and_are_what_the_optimizer_does():
    net, y, _, _ = problem(3)
    params = [
        {"params": list(net[0].parameters()), "lambda_reg": 0.3},
        {"params": list(net[1:].parameters()), "lambda_reg": 0.01},
    ]
    optimizer = RLHFOptimizer(params, regularizer="l2sp", damping=0.4, solver="dual", rtol=1e-12)
    linear = linearize(net, (X, y), groups=optimizer.param_groups)
    run = linear.run({"0": 0.3, "1": 0.01}, damping=0.4, steps=1)

    def closure():
        outputs = net(X)
        return F.cross_entropy(outputs, y), outputs

    optimizer.step(closure)
    after = flat(net.parameters())
    linear.back()
    close(linear.theta(run), after, 1e-9)


def test_other_samples_and_labels_are_another_linearization():
    net, y, held, _ = problem(3)
    linear = linearize(net, (X, y), (X_HELD, held))
    chosen, new = torch.tensor([7, 0, 3, 10, 11]), labels(12, 3, seed=9)
    other = linearize(net, (X[chosen.sort().values], new[chosen.sort().values]), (X_HELD, held))
    for a, b in zip(
        linear.run(0.1, damping=0.2, steps=3, samples=chosen, labels=new),
        other.run(0.1, damping=0.2, steps=3),
        strict=True,
    ):
        assert a.val_accuracy == b.val_accuracy
        for name in ("loss", "penalty", "train_loss", "val_loss"):
            close(getattr(a, name), getattr(b, name), 1e-12)
    fit = linear.minimum(0.1, samples=chosen, labels=new, include_all=True)
    close(linear.theta(fit), other.theta(other.minimum(0.1, include_all=True)), 1e-10)


def test_a_path_is_its_minima_and_goes_to_the_center():
    net, y, held, _ = problem(2)
    linear = linearize(net, (X, y), (X_HELD, held), include_all=True)
    path = linear.path([1e6, 1.0, 0.01])
    assert path.column("reason") == ["converged"] * 3
    for fit in path:
        close(linear.theta(fit), linear.theta(linear.minimum(fit.lambda_reg)), 1e-9)
    assert path[0].distance < 1e-5
    assert path[0].distance < path[1].distance < path[2].distance


def test_assign_writes_into_the_model_and_back_undoes_it():
    net, y, _, value = problem(2)
    start = flat(net.parameters())
    linear = linearize(net, (X, y), include_all=True)
    fit = linear.minimum(0.1)
    theta = linear.theta(fit)
    assert torch.equal(flat(net.parameters()), start)
    linear.assign(fit)
    assert torch.equal(flat(net.parameters()), theta)
    with pytest.raises(ValueError, match="back"):
        linear.theta(fit)
    linear.assign(linear.minimum(0.2))  # from theta_0 again
    close(flat(net.parameters()), Dense(restored(net, start), X, value, 0.2).minimum(), 1e-9)
    linear.back()
    assert torch.equal(flat(net.parameters()), start)


def restored(net, theta):
    with torch.no_grad():
        offset = 0
        for p in net.parameters():
            p.copy_(theta[offset : offset + p.numel()].view_as(p))
            offset += p.numel()
    return net


def test_the_damping_rule_and_the_line_search_are_the_optimizers():
    net = small_net()
    y = labels(12, 2)
    linear = linearize(net, (X, y))
    run = linear.run(0.0, damping=1.0, steps=3, damping_rule="nielsen")
    dampings = [record.damping for record in run[1:]]
    for record, after in zip(run[1:], dampings[1:], strict=False):
        close(after, record.damping * max(1 / 3, 1 - (2 * record.rho - 1) ** 3), 1e-12)
    assert run[0].damping is None and run[0].reason == "start"
    # A huge step from far away has to be cut.
    with torch.no_grad():
        net[3].weight.mul_(8)
    run = linearize(net, (X, y)).run(0.0, damping=1e-3, steps=2)
    assert 0 < run[1].step_length < 1
    assert run[2].loss < run[1].loss


def test_reasons_say_why_a_run_ended():
    net, y, _, _ = problem(2)
    linear = linearize(net, (X, y), include_all=True)
    assert linear.run(0.1, steps=3).reason == "max_steps"
    ended = linear.run(0.1, damping=1e-3, steps=50)
    assert ended.reason == ended[-1].reason == "converged" and len(ended) < 51
    assert linear.minimum(0.1, max_steps=1).reason == "max_steps"
    with torch.no_grad():
        net[3].bias.fill_(float("nan"))
    assert linearize(net, (X, y), include_all=True).run(0.1).reason == "not_finite"


def test_what_cannot_be_asked_says_what_to_do():
    net, y, _, _ = problem(2)
    linear = linearize(net, (X, y), groups={"head": ["3."]})
    with pytest.raises(ValueError, match="lambda_reg for each of head, rest"):
        linear.run({"head": 0.1})
    with pytest.raises(ValueError, match="'l2sp' or 'l2'"):
        linear.run(0.1, regularizer="l1")
    with pytest.raises(ValueError, match="finite lambda_reg"):
        linear.run(-1.0)
    with pytest.raises(ValueError, match="indices from 0 to 11"):
        linear.run(0.1, samples=[12])
    with pytest.raises(ValueError, match="labels for all 12 training samples"):
        linear.run(0.1, labels=y[:3])
    with pytest.raises(ValueError, match="classes from 0 to 1"):
        linear.run(0.1, labels=y + 1)
    with pytest.raises(ValueError, match="one group"):
        linearize(net, (X, y), groups={"a": ["3."], "b": ["3.bias"]})
    with pytest.raises(ValueError, match="none"):
        linearize(net, (X, y), groups={"a": ["no such name"]})
    with pytest.raises(ValueError, match="targets of 12 samples"):
        linearize(net, (X, y[:3]))
    with pytest.raises(ValueError, match="training="):
        linearize(net)
    with pytest.raises(ValueError, match="loss out of"):
        linearize(net, (X, y), loss="hinge")


def test_a_function_needs_params_and_gets_dicts_as_keywords():
    net, y, _, _ = problem(2)
    data = {"x": X, "scale": torch.ones(12, 1).double()}

    def outputs(x, scale):
        return net(x) * scale

    with pytest.raises(ValueError, match="params"):
        linearize(outputs, (data, y))
    linear = linearize(outputs, (data, y), params=net.named_parameters())
    close(linear.grams.matrices, linearize(net, (X, y)).grams.matrices, 1e-12)


@pytest.mark.parametrize("kind", ["l2sp", "l2"])
def test_cross_validation_needs_no_other_gram_matrix(kind):
    net, y, _, _ = problem(3)
    options = {"regularizer": kind, "include_all": True}
    linear = linearize(net, (X, y))
    train_part, left = torch.tensor([0, 2, 3, 5, 7, 8, 10, 11]), torch.tensor([1, 4, 6, 9])
    other = linearize(net, (X[train_part], y[train_part]), (X[left], y[left]))
    fit = linear.fold_fit(**options)
    for value, scores in zip([1.0, 0.1], fit(train_part, left, [1.0, 0.1], 0), strict=True):
        truth = other.minimum(value, **options)
        close(scores["loss"], truth.val_loss, 1e-9)
        close(scores["accuracy"], truth.val_accuracy, 1e-12)
        close(scores["train_loss"], truth.train_loss, 1e-9)
    chosen = select_lambda(fit, y, [1.0, 0.1, 0.01], folds=3)
    assert chosen.finished == 3
