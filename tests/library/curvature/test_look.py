"""A closure that is not what it seems is named at the first step, or when it is checked."""

import warnings

import pytest
import torch
from cases import classification, cross_entropy_closure, flat, mlp
from torch import nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from rlhf_lib import GaussNewtonOperator, HessianOperator, RLHFOptimizer, check_closure

X, Y = classification(12)
F = nn.functional


@pytest.fixture
def net():
    return mlp(3, 4, 3)


def pair(outputs):
    return F.cross_entropy(outputs, Y), outputs


def stale_outputs(net):
    outputs = net(X)
    return lambda: pair(outputs)


def stale_body(net):
    features = net[:-1](X)
    return lambda: pair(net[-1](features))


def cached(net):
    parametrize.register_parametrization(net[0], "weight", nn.Tanh())
    cache = parametrize.cached()
    cache.__enter__()
    net.close = lambda: cache.__exit__(None, None, None)
    return lambda: pair(net(X))


def iterator(net):
    batches = iter(zip(X.split(1), Y.split(1), strict=True))

    def closure():
        x, y = next(batches)
        outputs = net(x)
        return F.cross_entropy(outputs, y), outputs

    return closure


def counter(net):
    calls = []

    def closure():
        calls.append(1)
        return pair(net(X) * (1 + 1e-6 * len(calls)))

    return closure


def log_probabilities(net):
    def closure():
        outputs = F.log_softmax(net(X), 1)
        return F.nll_loss(outputs, Y), outputs

    return closure


def the_loss_itself(net):
    def closure():
        loss, _ = pair(net(X))
        return loss, loss

    return closure


def reentrant(net):
    def closure():
        inputs = X.clone().requires_grad_()
        return pair(net[-1](checkpoint(net[:-1], inputs, use_reentrant=True)))

    return closure


def detached(net):
    def closure():
        outputs = net(X).detach().requires_grad_()
        return pair(outputs)

    return closure


def sparse(net):
    net.append(nn.Embedding(5, 3, sparse=True).double())
    return lambda: pair(net[:-1](X) + net[-1](Y))


def renormalized(net):
    net.append(nn.Embedding(5, 3, max_norm=0.1).double())
    return lambda: pair(net[:-1](X) + net[-1](Y))


def labels_among_outputs(net):
    def closure():
        loss, outputs = pair(net(X))
        return loss, (outputs, outputs.argmax(1))

    return closure


def without_gradients(net):
    @torch.no_grad()
    def closure():
        return pair(net(X))

    return closure


WRONG = {
    stale_outputs: "computed anew in each call",
    stale_body: "computed anew in each call",
    cached: "computed anew in each call",
    iterator: "one loss at the same parameters",
    counter: "one loss at the same parameters",
    log_probabilities: "got log-probabilities: the loss is linear in them",
    the_loss_itself: "the loss is linear in them",
    reentrant: "use_reentrant=False",
    detached: "does not depend on any trained parameter",
    sparse: "sparse=False",
    renormalized: "leaves the parameters alone, .*max_norm",
    labels_among_outputs: r"got output 1 of shape \(12,\) in torch.int64",
    without_gradients: r"computed under torch.no_grad\(\)",
}


@pytest.mark.parametrize("make", WRONG, ids=lambda make: make.__name__)
@pytest.mark.parametrize("ask", ["step", "check"])
def test_a_wrong_closure_is_named_and_nothing_has_changed(net, make, ask):
    closure = make(net)
    params = list(net.parameters())
    theta = flat(params)
    with pytest.raises((ValueError, RuntimeError), match=WRONG[make]):
        if ask == "step":
            RLHFOptimizer(params, regularizer=None).step(closure)
        else:
            check_closure(closure, params)
    getattr(net, "close", lambda: None)()
    assert torch.equal(flat(params), theta)


def test_a_product_that_is_rebuilt_notices_a_new_batch(net):
    operator = GaussNewtonOperator(iterator(net), net.parameters(), keep_graph=False)
    with pytest.raises(ValueError, match="one loss at the same parameters"):
        operator @ operator.gradient


def test_a_loss_made_anew_from_a_number_is_not_a_stationary_point(net):
    def closure():
        return torch.tensor(pair(net(X))[0].item(), requires_grad=True)

    with pytest.raises(RuntimeError, match="does not depend on any trained parameter"):
        HessianOperator(closure, net.parameters())


def test_parameters_that_nothing_reaches_are_named_once(net):
    def closure():
        return pair(net[-1](net[:-1](X).detach()))

    optimizer = RLHFOptimizer(net.named_parameters(), regularizer=None)
    with pytest.warns(UserWarning, match=r"does not reach 2 of the 4 parameters: 0\.weight, 0\.b"):
        optimizer.step(closure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step(closure)
        # A gradient of zero is none that is missing.
        nn.init.zeros_(net[-1].weight)
        RLHFOptimizer(net.parameters(), regularizer=None).step(cross_entropy_closure(net, X, Y))


def test_a_loss_that_is_linear_only_here_is_a_warning(net):
    def closure():
        outputs = net(X)
        return F.huber_loss(outputs, outputs.detach() + 100), outputs

    with pytest.warns(UserWarning, match="no curvature in an output at this point"):
        RLHFOptimizer(net.parameters(), regularizer=None).step(closure)


class Sine(torch.autograd.Function):
    """Its second derivative is 0 by mistake."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].detach().cos()


@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layer", [nn.Tanh, nn.ReLU])
def test_a_right_closure_passes_and_is_left_alone(curvature, dtype, layer):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(3, 30), layer(), nn.BatchNorm1d(30), nn.Dropout(), nn.Linear(30, 3)
    )
    net.to(dtype)
    before = [torch.get_rng_state(), *(t.clone() for t in net.state_dict().values())]
    found = check_closure(
        lambda batch: (lambda z: (F.cross_entropy(z, batch[1]), z))(net(batch[0])),
        net.parameters(),
        batches=[(X[:5].to(dtype), Y[:5]), (X[5:].to(dtype), Y[5:])],
        curvature=curvature,
    )
    assert max(found["gradient"], found["symmetry"]) < 1e-2 and found["unreached"] == 0
    assert all(map(torch.equal, before, [torch.get_rng_state(), *net.state_dict().values()]))


@pytest.mark.parametrize(
    ("outputs", "loss", "curvature", "message"),
    [
        (lambda net: net[-1](net[:-1](X).detach()), None, "ggn", "slope of the loss.*detach"),
        (lambda net: net(X) + net(X).detach(), None, "hessian", "slope of the loss.*detach"),
        (lambda net: Sine.apply(net(X)), None, "hessian", "products to agree .*Function"),
        (lambda net: net(X), lambda z: (z - 3).sin().sum(), "ggn", "not convex in the outputs"),
    ],
)
def test_check_closure_names_the_likely_cause(net, outputs, loss, curvature, message):
    def closure():
        z = outputs(net)
        return pair(z) if loss is None else (loss(z), z)

    with pytest.raises(ValueError, match=message):
        check_closure(closure, net.parameters(), curvature=curvature)
    with pytest.raises(ValueError, match="expected curvature 'ggn' or 'hessian', got 'fisher'"):
        check_closure(closure, net.parameters(), curvature="fisher")
