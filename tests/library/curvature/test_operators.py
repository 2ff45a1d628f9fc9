import gc
import weakref

import pytest
import torch
from cases import (
    LABELS,
    at,
    classification,
    close,
    cross_entropy_closure,
    cross_entropy_on,
    dense_gauss_newton,
    difference_product,
    few_cases,
    flat,
    flat_loss,
    mlp,
    randn,
    seeds,
    tiny_bert,
    watched_closure,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from rlhf_lib import CurvatureOperator, GaussNewtonOperator, HessianOperator, exact_hessian, newton
from rlhf_lib.objective import TaskLoss, assign, flatten
from rlhf_lib.text import load_model

X, Y = classification(10)
OPERATORS = [HessianOperator, GaussNewtonOperator]
both = pytest.mark.parametrize("Operator", OPERATORS)


@pytest.fixture(scope="module")
def bert():
    return tiny_bert()


@pytest.fixture
def net():
    return mlp(3, 4, 3)


def loss_alone(closure):
    return lambda *batch: closure(*batch)[0]


# A whole BERT. Random vectors decide equality of matrices as surely as all columns would.


def test_hessian_of_a_whole_bert_equals_the_dense_one(bert):
    operator = HessianOperator(bert.closure, bert.params)
    V = randn(bert.n, 5)
    close(operator @ V, bert.hessian @ V, rtol=1e-12)
    for i in (0, bert.n // 2, bert.n - 1):
        unit = torch.zeros(bert.n, dtype=torch.float64)
        unit[i] = 1
        close(operator @ unit, bert.hessian[:, i], rtol=1e-12)


def test_gauss_newton_of_a_whole_bert_equals_the_dense_one(bert):
    operator = GaussNewtonOperator(bert.closure, bert.params)
    V = randn(bert.n, 5)
    close(operator @ V, bert.gauss_newton @ V, rtol=1e-12)


def test_the_two_matrices_of_a_bert_are_not_one(bert):
    v = randn(bert.n)
    difference = (bert.hessian - bert.gauss_newton) @ v
    assert float(difference.norm() / (bert.hessian @ v).norm()) > 0.1


def test_exact_hessian_of_a_whole_bert_equals_the_dense_one(bert):
    close(exact_hessian(bert.loss, bert.theta), bert.hessian, rtol=1e-12)


def test_hessian_of_a_whole_bert_agrees_with_central_differences(bert):
    v = randn(bert.n, seed=7)
    found = HessianOperator(bert.closure, bert.params) @ v
    close(found, difference_product(bert.loss, bert.theta, v, h=3e-2), rtol=1e-8)


@both
def test_loss_and_gradient_come_with_the_operator(bert, Operator):
    operator = Operator(bert.closure, bert.params)
    loss = bert.closure()[0]
    assert operator.loss == loss.item()
    close(operator.gradient, flat(torch.autograd.grad(loss, bert.params)), rtol=1e-12)


@both
def test_ragged_micro_batches_equal_the_whole_batch_of_a_bert(bert, Operator):
    def closure(batch):
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        logits = bert.model(**inputs).logits
        return nn.functional.cross_entropy(logits, batch["labels"]), logits

    whole = {**bert.encoded, "labels": LABELS}
    parts = [{key: value[a:b] for key, value in whole.items()} for a, b in ((0, 2), (2, 4), (4, 5))]
    truth = bert.hessian if Operator is HessianOperator else bert.gauss_newton
    v = randn(bert.n)
    for keep_graph in (True, False):
        operator = Operator(closure, bert.params, parts, keep_graph=keep_graph)
        close(operator @ v, truth @ v, rtol=1e-10)
        loss = bert.closure()[0]
        assert operator.loss == pytest.approx(loss.item(), rel=1e-12)
        close(operator.gradient, flat(torch.autograd.grad(loss, bert.params)), rtol=1e-10)
    equal = Operator(closure, bert.params, parts, count=lambda batch: 1)
    assert float((equal @ v - truth @ v).norm() / (truth @ v).norm()) > 0.02


# LayerNorm: torch.func.hessian and nested forward mode are wrong through it in torch 2.13.


@pytest.mark.parametrize("exact", [True, False])
def test_hessian_is_right_through_layer_norm(exact):
    net = mlp(3, 5, 2, norm=True, activation=nn.Identity)
    X, target = randn(6, 3), randn(6, 2, seed=1)
    theta = flat(net.parameters())
    f = flat_loss(net, lambda call: (call(X) - target).pow(2).mean())
    if exact:
        H = exact_hessian(f, theta)
    else:
        H = HessianOperator(lambda: (net(X) - target).pow(2).mean(), net.parameters()).dense()
    close(H, H.T, rtol=1e-13)
    for seed in range(3):
        v = randn(len(theta), seed=seed)
        close(H @ v, difference_product(f, theta, v, h=1e-3), rtol=1e-9)


# What a curvature matrix has to be.


@few_cases
@given(seed=seeds, a=st.floats(-1e3, 1e3), b=st.floats(-1e3, 1e3), norm=st.booleans())
@both
def test_products_are_linear_and_symmetric(Operator, seed, a, b, norm):
    net = mlp(3, 4, 3, seed=seed % 1000, norm=norm)
    operator = Operator(cross_entropy_closure(net, X, Y), net.parameters())
    n = operator.shape[0]
    u, v = randn(n, seed=seed), randn(n, seed=seed + 1)
    Au, Av = operator @ u, operator @ v
    scale = float(u.norm() * Av.norm() + v.norm() * Au.norm())
    assert abs(float(u @ Av - v @ Au)) <= 1e-13 * scale
    size = abs(a) * float(Au.norm()) + abs(b) * float(Av.norm())
    assert float((operator @ (a * u + b * v) - a * Au - b * Av).norm()) <= 1e-13 * size


@few_cases
@given(seed=seeds, depth=st.integers(0, 2), norm=st.booleans())
def test_gauss_newton_is_positive_semidefinite(seed, depth, norm):
    net = mlp(3, *[4] * depth, 3, seed=seed % 1000, norm=norm)
    inputs, labels = classification(6, seed=seed)
    G = GaussNewtonOperator(cross_entropy_closure(net, inputs, labels), net.parameters()).dense()
    eigenvalues = torch.linalg.eigvalsh(G)
    assert float(eigenvalues[0]) >= -1e-13 * float(eigenvalues[-1])
    assert int((eigenvalues > 1e-10 * eigenvalues[-1]).sum()) <= 6 * (3 - 1)  # n (C - 1)


def test_the_hessian_need_not_be_positive_semidefinite(net):
    H = HessianOperator(loss_alone(cross_entropy_closure(net, X, Y)), net.parameters()).dense()
    eigenvalues = torch.linalg.eigvalsh(H)
    assert float(eigenvalues[0]) < -1e-3 * float(eigenvalues[-1])


def test_gauss_newton_of_a_linear_model_is_the_hessian():
    net = mlp(3, 3)
    closure = cross_entropy_closure(net, X, Y)
    G = GaussNewtonOperator(closure, net.parameters()).dense()
    close(G, HessianOperator(closure, net.parameters()).dense(), rtol=1e-13)


def squared(outputs):
    return (outputs - randn(*outputs.shape, seed=4)).pow(2).mean()


def binary(outputs):
    return nn.functional.binary_cross_entropy_with_logits(outputs, (Y > 0).double()[:, None])


def ignoring(outputs):
    return nn.functional.cross_entropy(outputs, torch.where(Y == 0, -100, Y))


@pytest.mark.parametrize(("loss", "outputs"), [(squared, 2), (binary, 1), (ignoring, 3)])
def test_gauss_newton_is_j_h_j_for_any_loss(loss, outputs):
    net = mlp(3, 4, outputs)
    theta = flat(net.parameters())
    J = torch.autograd.functional.jacobian(flat_loss(net, lambda call: call(X).flatten()), theta)
    at_outputs = net(X).detach()
    inner = torch.autograd.functional.hessian(
        lambda z: loss(z.view_as(at_outputs)), at_outputs.flatten()
    )

    def closure():
        z = net(X)
        return loss(z), z

    close(GaussNewtonOperator(closure, net.parameters()).dense(), J.T @ inner @ J, rtol=1e-12)


def test_gauss_newton_takes_several_outputs_as_the_span_loss_has():
    net, starts, ends = mlp(3, 4, 10), Y, (Y + 3)

    def closure():
        first, last = net(X).split(5, dim=1)
        cross_entropy = nn.functional.cross_entropy
        return (cross_entropy(first, starts) + cross_entropy(last, ends % 5)) / 2, (first, last)

    theta = flat(net.parameters())
    J = torch.autograd.functional.jacobian(flat_loss(net, lambda call: call(X)), theta)
    p = net(X).detach().view(10, 2, 5).softmax(2)
    inner = (torch.diag_embed(p) - p[..., :, None] * p[..., None, :]) / 20
    J = J.view(10, 2, 5, -1)
    expected = torch.einsum("nscp,nscd,nsdq->pq", J, inner, J)
    operator = GaussNewtonOperator(closure, net.parameters())
    close(operator.dense(), expected, rtol=1e-12)
    close(operator.gradient, flat(torch.autograd.grad(closure()[0], list(net.parameters()))))


def test_an_output_that_enters_the_loss_linearly_adds_no_curvature():
    net = mlp(3, 4, 3)

    def closure():
        z = net(X)
        curved, straight = z[:, :2], z[:, 2]
        return curved.pow(2).mean() + straight.mean(), (curved, straight)

    def without():
        curved = net(X)[:, :2]
        return curved.pow(2).mean(), curved

    both_outputs = GaussNewtonOperator(closure, net.parameters())
    close(both_outputs.dense(), GaussNewtonOperator(without, net.parameters()).dense())
    close(both_outputs.gradient, flat(torch.autograd.grad(closure()[0], list(net.parameters()))))


@both
def test_a_loss_without_curvature_gives_zeros(Operator):
    w = randn(4).requires_grad_(True)

    def closure():
        z = w * 2.0
        return z.sum(), z

    operator = Operator(closure, [w])
    assert torch.equal(operator @ randn(4), torch.zeros(4, dtype=torch.float64))
    assert operator.gradient.tolist() == [2.0] * 4


# What the Gauss-Newton operator refuses.


def refusal(closure, params, error, message):
    with pytest.raises(error, match=message):
        GaussNewtonOperator(closure, params)


def test_a_penalty_in_the_closure_is_refused_because_it_goes_around_the_outputs(net):
    def closure():
        z = net(X)
        return nn.functional.cross_entropy(z, Y) + net[0].weight.pow(2).sum(), z

    refusal(closure, net.parameters(), ValueError, "other than through the outputs")


@pytest.mark.parametrize("change", [torch.clone, torch.detach, lambda z: z[:], lambda z: z + 0])
def test_outputs_that_are_not_those_of_the_loss_are_refused(net, change):
    def closure():
        z = net(X)
        return nn.functional.cross_entropy(z, Y), change(z)

    refusal(closure, net.parameters(), ValueError, "not computed from the outputs returned")


def test_half_of_the_outputs_is_refused(net):
    def closure():
        first, last = net(X).split([1, 2], dim=1)
        return first.pow(2).mean() + last.pow(2).mean(), first

    refusal(closure, net.parameters(), ValueError, "return all outputs that the loss uses")


def test_an_output_computed_from_another_one_is_refused_because_it_would_count_twice(net):
    def hidden_too():
        hidden = net[1](net[0](X))
        z = net[2](hidden)
        return nn.functional.cross_entropy(z, Y), (z, hidden)

    def twice():
        z = net(X)
        return nn.functional.cross_entropy(z, Y), (z, z)

    for closure in (hidden_too, twice):
        refusal(closure, net.parameters(), ValueError, "would count twice")


def test_a_loss_alone_is_refused_with_both_ways_out(net):
    closure = loss_alone(cross_entropy_closure(net, X, Y))
    refusal(closure, net.parameters(), TypeError, r"return \(loss, outputs\), or.*'hessian'")


# Graphs and random numbers.


@both
def test_keeping_the_graph_or_rebuilding_it_gives_the_same_products(net, Operator):
    parts = list(zip(X.split([4, 4, 2]), Y.split([4, 4, 2]), strict=True))
    kept, rebuilt = (
        Operator(cross_entropy_on(net), net.parameters(), parts, keep_graph=keep)
        for keep in (True, False)
    )
    V = randn(kept.shape[0], 3)
    assert torch.equal(kept @ V, rebuilt @ V)
    assert torch.equal(kept @ V, kept @ V)
    assert kept.loss == rebuilt.loss and torch.equal(kept.gradient, rebuilt.gradient)


@both
def test_a_kept_graph_calls_the_closure_once_and_a_rebuilt_one_at_each_product(net, Operator):
    for keep_graph, expected in ((True, 1), (False, 4)):
        calls, inner = [], cross_entropy_closure(net, X, Y)

        def closure(calls=calls, inner=inner):
            calls.append(1)
            return inner()

        operator = Operator(closure, net.parameters(), keep_graph=keep_graph)
        operator @ randn(operator.shape[0], 3)
        assert len(calls) == expected and operator.products == 3


@both
@pytest.mark.parametrize("keep_graph", [True, False])
def test_all_products_of_one_operator_see_one_dropout_mask_and_the_next_another(
    Operator, keep_graph
):
    torch.manual_seed(0)
    net = mlp(3, 8, 3)
    net.insert(2, nn.Dropout(0.5))
    parts = list(zip(X.split(5), Y.split(5), strict=True))

    def operator():
        return Operator(cross_entropy_on(net), net.parameters(), parts, keep_graph=keep_graph)

    first, second = operator(), operator()
    v = randn(first.shape[0])
    assert torch.equal(first @ v, first @ v)
    assert float(((first @ v) - (second @ v)).norm() / (first @ v).norm()) > 0.01
    close(first.dense(), first.dense().T)


@both
def test_a_task_that_was_evaluated_before_lends_its_masks(Operator):
    torch.manual_seed(0)
    net = mlp(3, 8, 3)
    net.insert(2, nn.Dropout(0.5))
    task = TaskLoss(cross_entropy_closure(net, X, Y))
    value = task.value()
    assert Operator(task, net.parameters()).loss == value


@both
def test_the_graphs_go_with_the_operator(net, Operator):
    gc.collect()
    gc.disable()  # so that a reference cycle would show
    try:
        closure, activations = watched_closure(net, X, Y)
        operator = Operator(closure, net.parameters())
        operator @ operator.gradient
        graphs = [weakref.ref(graph) for graph in operator._graphs]
        del operator
        assert [graph() for graph in graphs] == [None]
        assert activations[0]() is None
    finally:
        gc.enable()


# Parameters of all kinds.


@both
def test_unused_parameters_get_zero_rows_and_columns(net, Operator):
    unused = torch.ones(2, dtype=torch.float64, requires_grad=True)
    matrix = Operator(cross_entropy_closure(net, X, Y), [unused, *net.parameters()]).dense()
    assert not matrix[:2].any() and not matrix[:, :2].any()
    close(matrix[2:, 2:], Operator(cross_entropy_closure(net, X, Y), net.parameters()).dense())


@both
def test_frozen_parameters_leave_the_block_of_the_trained_ones(net, Operator):
    whole = Operator(cross_entropy_closure(net, X, Y), net.parameters()).dense()
    net[0].requires_grad_(False)
    frozen = sum(p.numel() for p in net[0].parameters())
    operator = Operator(cross_entropy_closure(net, X, Y), net[2].parameters())
    close(operator.dense(), whole[frozen:, frozen:])
    with pytest.raises(ValueError, match=r"parameter 0 .* is frozen"):
        Operator(cross_entropy_closure(net, X, Y), net.parameters())


@both
def test_a_subset_of_the_parameters_gives_the_block_of_the_matrix(net, Operator):
    whole = Operator(cross_entropy_closure(net, X, Y), net.parameters()).dense()
    part = Operator(cross_entropy_closure(net, X, Y), [net[2].bias, net[0].bias])
    index = torch.cat([torch.arange(28, 31), torch.arange(12, 16)])
    close(part.dense(), whole[index][:, index])


@both
def test_tied_parameters_count_once_with_all_their_uses(Operator):
    net = mlp(3, 3, 3)
    net[2].weight = net[0].weight
    assert len(list(net.parameters())) == 3
    theta = flat(net.parameters())

    def f(theta):
        w, b1, b2 = theta[:9].view(3, 3), theta[9:12], theta[12:]
        return nn.functional.cross_entropy(torch.tanh(X @ w.T + b1) @ w.T + b2, Y)

    operator = Operator(cross_entropy_closure(net, X, Y), net.parameters())
    close(operator.gradient, torch.autograd.functional.jacobian(f, theta))
    if Operator is HessianOperator:
        close(operator.dense(), torch.autograd.functional.hessian(f, theta), rtol=1e-12)


def test_an_output_may_be_a_parameter_itself():
    w = randn(4).requires_grad_(True)
    operator = GaussNewtonOperator(lambda: ((w**4).sum(), w), [w])
    close(operator.dense(), torch.diag(12 * w.detach() ** 2))


def test_float32_products_are_float32_and_close():
    single, double = mlp(3, 4, 3, dtype=torch.float32), mlp(3, 4, 3, dtype=torch.float32).double()
    v = randn(31)
    for Operator in OPERATORS:
        found = Operator(cross_entropy_closure(single, X.float(), Y), single.parameters()) @ v
        truth = Operator(cross_entropy_closure(double, X, Y), double.parameters()) @ v
        assert found.dtype == torch.float32
        close(found.double(), truth, rtol=1e-5)


@both
def test_operators_work_under_no_grad(net, Operator):
    closure = cross_entropy_closure(net, X, Y)
    v = randn(31)
    expected = Operator(closure, net.parameters()) @ v
    with torch.no_grad():
        found = Operator(closure, net.parameters()) @ v
    assert torch.equal(found, expected) and not found.requires_grad
    assert all(p.grad is None for p in net.parameters())


@both
@pytest.mark.parametrize("shape", [(30,), (30, 31), (31, 1, 1), ()])
def test_vectors_of_another_length_are_refused(net, Operator, shape):
    operator = Operator(cross_entropy_closure(net, X, Y), net.parameters())
    with pytest.raises(ValueError, match=r"expected a vector of shape \(31,\)"):
        operator @ torch.ones(shape)


# Errors that autograd would put less helpfully.


@both
def test_a_closure_that_calls_backward_is_told_so(net, Operator):
    def closure():
        z = net(X)
        loss = nn.functional.cross_entropy(z, Y)
        loss.backward()
        return loss, z

    with pytest.raises(RuntimeError, match=r"must not call loss\.backward"):
        Operator(closure, net.parameters())


@both
def test_fused_attention_of_a_model_gives_way_to_one_with_second_derivatives(bert, Operator):
    model, _ = load_model(name="tiny-random", dtype=torch.float64)
    model.set_attn_implementation("sdpa")

    def closure():
        logits = model(**bert.encoded).logits
        return nn.functional.cross_entropy(logits, LABELS), logits

    product = Operator(closure, model.parameters()) @ randn(bert.n)
    truth = bert.hessian if Operator is HessianOperator else bert.gauss_newton
    close(product, truth @ randn(bert.n), rtol=1e-10)


def test_the_base_class_is_exported_for_own_curvatures():
    assert issubclass(HessianOperator, CurvatureOperator)
    assert issubclass(GaussNewtonOperator, CurvatureOperator)


# The exact Hessian of toys.


@few_cases
@given(seed=seeds, chunk=st.integers(1, 12))
def test_exact_hessian_of_a_quadratic_is_its_matrix_whatever_the_chunk(seed, chunk):
    A = randn(6, 6, seed=seed)
    found = exact_hessian(lambda t: 0.5 * t @ A @ t + t.sum(), randn(6, seed=seed), chunk=chunk)
    close(found, (A + A.T) / 2, rtol=1e-14)


def test_exact_hessian_of_linear_and_partly_linear_functions():
    theta = randn(3)
    assert torch.equal(exact_hessian(lambda t: 2 * t.sum(), theta), torch.zeros_like(theta.diag()))
    expected = torch.diag(torch.tensor([6.0, 0, 0]) * theta)
    close(exact_hessian(lambda t: t[0] ** 3 + t[1], theta), expected)


def test_exact_hessian_leaves_its_argument_alone_and_works_under_no_grad():
    theta = randn(3).requires_grad_(True)
    with torch.no_grad():
        found = exact_hessian(lambda t: (t**4).sum().reshape(1), theta)
    close(found, torch.diag(12 * theta.detach() ** 2))
    assert theta.grad is None and not found.requires_grad


def test_exact_hessian_refuses_what_does_not_fit_and_says_how_much_it_would_take():
    theta = torch.zeros(100_000)
    with pytest.raises(MemoryError, match=r"of 100,000 parameters takes 37\.3 GiB.* 2\.0 GiB"):
        exact_hessian(lambda t: t.sum(), theta)
    with pytest.raises(MemoryError):
        exact_hessian(lambda t: (t**2).sum(), torch.zeros(4), max_bytes=63)
    assert exact_hessian(lambda t: (t**2).sum(), torch.zeros(4), max_bytes=64).shape == (4, 4)


def test_exact_hessian_explains_wrong_shapes():
    with pytest.raises(ValueError, match=r"theta of shape \(n,\), got \(2, 2\)"):
        exact_hessian(lambda t: t.sum(), torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"f\(theta\) to be a scalar, got \(3,\)"):
        exact_hessian(lambda t: t**2, torch.zeros(3))


def test_exact_hessian_goes_row_by_row_where_there_is_no_rule_for_a_batch():
    theta = randn(12)

    def f(t):
        return nn.functional.group_norm(t.view(1, -1), 2).pow(3).sum()

    close(exact_hessian(f, theta), torch.autograd.functional.hessian(f, theta))


def test_a_loss_of_two_parts_takes_copies_or_says_so():
    # A variational autoencoder: the KL term's mean is also what is decoded.
    net, inputs, noise = mlp(3, 4, 4), randn(5, 3), randn(5, 2, seed=1)
    decoder = mlp(2, 3, seed=2)
    pair = nn.ModuleList([net, decoder])
    params = list(pair.parameters())

    def parts(encode, decode):
        mean, log_variance = encode(inputs).chunk(2, 1)
        return decode(mean + (log_variance / 2).exp() * noise), mean, log_variance

    def loss(decoded, mean, log_variance):
        kl = (log_variance.exp() + mean.square() - log_variance - 1).sum(1).mean() / 2
        return (decoded - inputs).square().mean() + kl

    def outputs(theta):
        named = at(pair, theta)
        inside = [{k[2:]: p for k, p in named.items() if k.startswith(str(i))} for i in range(2)]
        made = parts(
            lambda x: functional_call(net, inside[0], (x,)),
            lambda z: functional_call(decoder, inside[1], (z,)),
        )
        return torch.cat(made, 1)

    def closure(kept, copied):
        decoded, *code = parts(net, decoder)
        code = [part.clone() for part in code] if copied else code
        return loss(decoded, *code), (decoded, *code)[:kept]

    G = GaussNewtonOperator(lambda: closure(3, True), params)
    truth = dense_gauss_newton(outputs, lambda z: loss(*z.split([3, 2, 2], 1)), flat(params))
    close(G.dense(), truth)
    for kept in (1, 3):
        with pytest.raises(ValueError, match=r"mean\.clone\(\).*curvature='hessian'"):
            GaussNewtonOperator(lambda kept=kept: closure(kept, False), params)
    assert HessianOperator(lambda: closure(1, False)[0], params).gradient.isfinite().all()


NORMS = {
    "group": lambda: nn.GroupNorm(2, 4),
    "instance": lambda: nn.InstanceNorm1d(4, affine=True, track_running_stats=True),
    "batch": lambda: nn.BatchNorm1d(4),
    "root mean square": lambda: nn.RMSNorm([4, 5]),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NORMS)
def test_norm_layers_against_central_differences(name, training):
    net = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), NORMS[name](), nn.Tanh(), nn.Flatten())
    net = net.double()
    X = randn(3, 2, 5)
    net(X)
    net.train(training)
    params = list(net.parameters())
    operator = HessianOperator(lambda: net(X).pow(3).sum(), params)
    v, h = randn(operator.shape[0], seed=1), 1e-5
    product, ends = operator @ v, []
    for sign in (1, -1):
        assign(params, flat(params) + sign * h * v)
        ends.append(flatten(torch.autograd.grad(net(X).pow(3).sum(), params)))
        assign(params, flat(params) - sign * h * v)
    close(product, (ends[0] - ends[1]) / (2 * h), rtol=1e-6, atol=1e-6)


def test_weight_norm_has_no_right_second_derivative_in_torch():
    v, g = randn(3, 2).requires_grad_(), randn(3, 1, seed=1).requires_grad_()
    assert not torch.autograd.gradgradcheck(  # once it holds, nothing need be refused
        lambda v, g: torch._weight_norm(v, g, 0).tanh(), (v, g), raise_exception=False
    )
    net = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)).double()
    X = randn(5, 3)

    def closure():
        z = net(X)
        return z.tanh().square().mean(), z

    with pytest.raises(RuntimeError, match="got weight_norm"):
        HessianOperator(closure, net.parameters())

    def loss(theta):
        return torch._weight_norm(theta[:6].view(3, 2), theta[6:].view(3, 1), 0).tanh().sum()

    for solve in (exact_hessian, lambda f, theta: list(newton(f, theta))):
        with pytest.raises(RuntimeError, match="got weight_norm"):
            solve(loss, randn(9))
    assert GaussNewtonOperator(closure, net.parameters()).loss > 0
