import math

import pytest
import torch
from cases import (
    at,
    classification,
    close,
    cross_entropy_closure,
    cross_entropy_on,
    dense_gauss_newton,
    few_cases,
    flat,
    mlp,
    randn,
    seeds,
    tiny_bert,
    tiny_gpt2,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from rlhf_lib import GaussNewtonOperator, conjugate_gradient
from rlhf_lib.curvature import Shifted
from rlhf_lib.objective import TaskLoss
from rlhf_lib.per_sample import SampleSpace, factor, rows
from rlhf_lib.solve import sample_space_solve

N = 4
IDS = torch.tensor([[1, 2, 3, 0, 5, 6], [4, 4, 4, 4, 0, 0], [7, 1, 0, 0, 0, 0], [2, 3, 2, 3, 2, 9]])
LABELS = torch.tensor([0, 2, 1, 1])
VECTORS = randn(N, 5, seed=1)
TOKENS = randn(N, 6, 5, seed=2)
IMAGES = randn(N, 2, 5, 5, seed=3)


def cross_entropy(logits):
    return F.cross_entropy(logits, LABELS)


class Problem:
    """A net on fixed inputs, a loss of its outputs, and the dense Gauss-Newton matrix of both."""

    def __init__(self, net, inputs, loss=cross_entropy):
        self.net, self.inputs, self.loss = net.double(), inputs, loss
        self.params = list(self.net.parameters())
        self.theta = flat(self.params)

    def outputs(self, net):
        found = net(self.inputs)
        return found if isinstance(found, tuple) else (found,)

    def closure(self):
        outputs = self.outputs(self.net)
        return self.loss(*outputs), outputs

    def space(self, **options):
        return SampleSpace(TaskLoss(self.closure), self.params, **options)

    def operator(self):
        return GaussNewtonOperator(self.closure, self.params)

    def dense(self):
        shapes = [o.shape for o in self.outputs(self.net)]

        def joined(theta):
            call = self.outputs(lambda x: functional_call(self.net, at(self.net, theta), (x,)))
            return torch.cat([o.reshape(-1) for o in call])

        def loss(z):
            parts = z.split([s.numel() for s in shapes])
            return self.loss(*(part.view(s) for part, s in zip(parts, shapes, strict=True)))

        return dense_gauss_newton(joined, loss, self.theta)


class Net(nn.Module):
    """A module from parts and a function (parts, x) -> outputs."""

    def __init__(self, forward, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self._forward = forward

    def forward(self, x):
        return self._forward(self, x)


def param(*shape, seed=0):
    return nn.Parameter(randn(*shape, seed=seed))


def tied():
    table = nn.Embedding(10, 5)
    return Net(lambda m, x: F.linear(m.table(x).tanh().mean(1), m.table.weight)[:, :3], table=table)


def positions(ids):
    def forward(m, x):
        return m.head((m.words(x) + m.places(ids(x))).tanh().mean(1))

    return Net(forward, words=nn.Embedding(10, 5), places=nn.Embedding(8, 5), head=nn.Linear(5, 3))


def row(x):
    return torch.arange(x.shape[1])[None]


def positions_first():
    net = positions(row)
    net._forward = lambda m, x: m.head((m.places(row(x)) + m.words(x)).tanh().mean(1))
    return net


def cells():
    def forward(m, x):
        state, h = None, None
        for part in x.unbind(1):
            state = m.lstm(part, state)
            h = m.rnn(m.gru(state[0]), h)
        return m.head(h)

    cells = {"lstm": nn.LSTMCell(5, 3), "gru": nn.GRUCell(3, 2), "rnn": nn.RNNCell(2, 3)}
    return Net(forward, **cells, head=nn.Linear(3, 3))


def bend(net, x):
    """A net and its second derivative by the input."""
    x = x.clone().requires_grad_()
    y = net.body(x)
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad((slope**2).sum(), x, create_graph=True)
    return y + bend.sum(1, keepdim=True)


def span(start, end):
    return (F.cross_entropy(start, LABELS) + F.cross_entropy(end, LABELS + 1)) / 2


def token_labels(logits):
    labels = LABELS[:, None].repeat(1, 6)
    labels[:, 3:] = -100
    labels[2] = -100
    return F.cross_entropy(logits.reshape(-1, 3), labels.reshape(-1))


def squares(y):
    return F.mse_loss(y, randn(*y.shape, seed=9))


def two_heads(m, x):
    found = m.head(m.body(x).tanh())
    return found[..., 0], found[..., 1]


class OwnFunction(torch.autograd.Function):
    """A function that no mode sees."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.T, x.T @ g


# name -> (problem, whether every use of a parameter is known)
PROBLEMS = {
    "mlp": lambda: (Problem(mlp(5, 7, 3), VECTORS), True),
    "mlp with LayerNorm": lambda: (Problem(mlp(5, 7, 4, 3, norm=True), VECTORS), True),
    "in-place activation": lambda: (
        Problem(nn.Sequential(nn.Linear(5, 7), nn.ReLU(inplace=True), nn.Linear(7, 3)), VECTORS),
        True,
    ),
    "a layer used twice": lambda: (
        Problem(
            Net(
                lambda m, x: m.head(m.body(m.body(x).tanh()).tanh()),
                body=nn.Linear(5, 5),
                head=nn.Linear(5, 3),
            ),
            VECTORS,
        ),
        True,
    ),
    "tied weights": lambda: (Problem(tied(), IDS), True),
    "a row of positions": lambda: (Problem(positions(row), IDS), True),
    "positions before the samples": lambda: (Problem(positions_first(), IDS), False),
    "positions without a batch": lambda: (
        Problem(positions(lambda x: torch.arange(x.shape[1])), IDS),
        False,
    ),
    "as many positions as samples": lambda: (
        Problem(positions(lambda x: torch.arange(x.shape[1])), IDS[:, :N]),
        False,
    ),
    "one id a sample": lambda: (
        Problem(
            Net(
                lambda m, x: m.head(m.words(x[:, 0])),
                words=nn.Embedding(10, 5),
                head=nn.Linear(5, 3),
            ),
            IDS,
        ),
        True,
    ),
    "padding_idx": lambda: (
        Problem(
            Net(
                lambda m, x: m.head(m.words(x).tanh().mean(1)),
                words=nn.Embedding(10, 5, padding_idx=0),
                head=nn.Linear(5, 3),
            ),
            IDS,
        ),
        True,
    ),
    "span loss": lambda: (
        Problem(Net(two_heads, body=nn.Linear(5, 4), head=nn.Linear(4, 2)), TOKENS, span),
        True,
    ),
    "tokens with ignored labels": lambda: (
        Problem(
            Net(lambda m, x: m.head(m.body(x).tanh()), body=nn.Linear(5, 4), head=nn.Linear(4, 3)),
            TOKENS,
            token_labels,
        ),
        True,
    ),
    "squared error": lambda: (Problem(mlp(5, 4, 2), VECTORS, squares), True),
    "outputs of one dimension": lambda: (
        Problem(Net(lambda m, x: x @ m.w + m.b, w=param(5), b=param(1)), VECTORS, squares),
        False,
    ),
    "binary cross-entropy": lambda: (
        Problem(
            mlp(5, 4, 2),
            VECTORS,
            lambda z: F.binary_cross_entropy_with_logits(z, (randn(N, 2) > 0).double()),
        ),
        True,
    ),
    "bare matrices": lambda: (
        Problem(
            Net(
                lambda m, x: torch.addmm(m.c, (x @ m.A + m.b).tanh() * m.s, m.B),
                A=param(5, 4),
                b=param(4),
                s=param(4, seed=1),
                B=param(4, 3),
                c=param(3),
            ),
            VECTORS,
        ),
        True,
    ),
    "bare matrices on tokens": lambda: (
        Problem(
            Net(
                lambda m, x: ((m.s * torch.matmul(x, m.A) + m.b).tanh() @ m.B).sum(1),
                A=param(5, 4),
                b=param(4),
                s=param(4, seed=1),
                B=param(4, 3),
            ),
            TOKENS,
        ),
        True,
    ),
    "tokens as rows": lambda: (
        Problem(
            Net(
                lambda m, x: m.head(m.body(x.reshape(-1, 5)).tanh().view(N, 6, -1).mean(1)),
                body=nn.Linear(5, 4),
                head=nn.Linear(4, 3),
            ),
            TOKENS,
        ),
        False,
    ),
    "nothing but tokens as rows": lambda: (
        Problem(
            Net(
                lambda m, x: m.head(m.body(x.reshape(-1, 5)).tanh()).view(N, 6, 3).mean(1),
                body=nn.Linear(5, 4),
                head=nn.Linear(4, 3),
            ),
            TOKENS,
        ),
        False,
    ),
    "convolution": lambda: (
        Problem(
            Net(
                lambda m, x: m.head(m.conv(x).tanh().flatten(1)),
                conv=nn.Conv2d(2, 3, 3),
                head=nn.Linear(27, 3),
            ),
            IMAGES,
        ),
        False,
    ),
    "batch normalization at rest": lambda: (
        Problem(
            nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4).eval(), nn.Tanh(), nn.Linear(4, 3)),
            VECTORS,
        ),
        False,
    ),
    "lstm": lambda: (
        Problem(
            Net(
                lambda m, x: m.head(m.lstm(x)[0][:, -1]),
                lstm=nn.LSTM(5, 4, batch_first=True),
                head=nn.Linear(4, 3),
            ),
            TOKENS,
        ),
        False,
    ),
    "gru, deep and both ways": lambda: (
        Problem(
            Net(
                lambda m, x: m.head(m.gru(x)[0].mean(1)),
                gru=nn.GRU(5, 2, 2, batch_first=True, bidirectional=True),
                head=nn.Linear(4, 3),
            ),
            TOKENS,
        ),
        False,
    ),
    "recurrent, time first, without biases": lambda: (
        Problem(
            Net(
                lambda m, x: m.head(m.rnn(x.transpose(0, 1))[1][0]),
                rnn=nn.RNN(5, 4, nonlinearity="relu", bias=False),
                head=nn.Linear(4, 3),
            ),
            TOKENS,
        ),
        False,
    ),
    "recurrent cells": lambda: (Problem(cells(), TOKENS), False),
    "attention module": lambda: (
        Problem(
            Net(
                lambda m, x: m.head(m.attention(x, x, x)[0].mean(1)),
                attention=nn.MultiheadAttention(5, 1, batch_first=True),
                head=nn.Linear(5, 3),
            ),
            TOKENS,
        ),
        False,
    ),
    "temperature": lambda: (
        Problem(Net(lambda m, x: m.head(x) * m.t.exp(), head=nn.Linear(5, 3), t=param(1)), VECTORS),
        False,
    ),
    "temperature without dimensions": lambda: (
        Problem(
            Net(
                lambda m, x: m.head(x) * m.t,
                head=nn.Linear(5, 3),
                t=nn.Parameter(torch.tensor(0.7)),
            ),
            VECTORS,
        ),
        False,
    ),
    "a computed weight of one row": lambda: (
        Problem(
            Net(
                lambda m, x: F.linear(m.body(x).tanh(), 2 * m.w).expand(N, 2),
                body=nn.Linear(5, 4),
                w=param(1, 4),
            ),
            VECTORS,
            squares,
        ),
        False,
    ),
    "a weight computed before the samples": lambda: (
        Problem(
            Net(
                lambda m, x: m.head(F.linear(x, 2 * m.w).tanh()),
                head=nn.Linear(4, 3),
                w=param(4, 5),
            ),
            VECTORS,
        ),
        False,
    ),
    "weight normalization": lambda: (
        Problem(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 3))), VECTORS),
        False,
    ),
    "a product of parameters": lambda: (
        Problem(Net(lambda m, x: x @ (m.A @ m.B), A=param(5, 2), B=param(2, 3)), VECTORS),
        False,
    ),
    "an unused parameter": lambda: (
        Problem(Net(lambda m, x: m.head(x), idle=param(3, 2), head=nn.Linear(5, 3)), VECTORS),
        True,
    ),
    "samples second": lambda: (
        Problem(
            Net(
                lambda m, x: m.head(m.body(x.transpose(0, 1)).tanh().transpose(0, 1).mean(1)),
                body=nn.Linear(5, 4),
                head=nn.Linear(4, 3),
            ),
            TOKENS,
        ),
        False,
    ),
}


@pytest.fixture(params=PROBLEMS)
def case(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PROBLEMS[request.param]()


def rows_of(space):
    """U itself, (rows, n)."""
    return torch.stack([space.lift(e) for e in torch.eye(space.rows, dtype=torch.float64)])


def diagonals(params, seed=0):
    """The kinds of D: one number, one a parameter, one an entry, and with entries that stay."""
    n = sum(p.numel() for p in params)
    by_entry = 0.1 + randn(n, seed=seed).abs()
    by_param = torch.cat(
        [torch.full((p.numel(),), 0.5 + i, dtype=torch.float64) for i, p in enumerate(params)]
    )
    free = randn(n, seed=seed + 1) > 0
    one = torch.tensor(0.3, dtype=torch.float64).expand(n)
    return [one, by_param, by_entry, by_entry * free, by_param * free]


def check_products(space, G, params):
    """Every product of U against the dense matrix U'U = G."""
    U = rows_of(space)
    close(U.T @ U, G, rtol=1e-10)
    close(space.diagonal(), G.diagonal(), rtol=1e-10)
    v = randn(len(G), seed=5)
    close(space.project(v), U @ v, rtol=1e-10)
    for inverse in diagonals(params):
        close(space.gram(inverse), (U * inverse) @ U.T, rtol=1e-10)


def test_rows_give_the_dense_gauss_newton_matrix(case):
    problem, known = case
    space = problem.space()
    check_products(space, problem.dense(), problem.params)
    if known:
        assert problem.space(every_use_known=True).rows == space.rows
    else:
        with pytest.raises(ValueError, match=r"used in (\[|functions of)"):
            problem.space(every_use_known=True)


WITH_COPIES = ("convolution", "lstm", "recurrent cells", "weight normalization", "derivatives")


@pytest.mark.parametrize("name", WITH_COPIES)
def test_rows_with_copies_are_those_of_a_backward_pass_each(name, monkeypatch):
    if name == "derivatives":
        problem = Problem(Net(bend, body=mlp(5, 4, 1)), VECTORS, squares)
    else:
        problem, _ = PROBLEMS[name]()
    space = problem.space(each_alone=False)
    assert space.alone == "" and space.copied == (name == "derivatives")
    # A forward pass, and for each direction a backward one: without the weights' part by the tape.
    directions = space.rows / N
    assert (1 + directions) / 3 < space.cost <= (1 + 2 * directions) / 3
    close(rows_of(problem.space(copied=True)), rows_of(space), rtol=1e-10)

    def refuses(*arguments):
        raise RuntimeError("no rule")

    monkeypatch.setattr(rows, "Apart", refuses)
    alone = problem.space()
    close(rows_of(alone), rows_of(space), rtol=1e-10)
    assert alone.alone and not alone.copied
    with pytest.raises(ValueError, match="no rule"):
        problem.space(each_alone=False)


def test_the_loss_and_the_outputs_under_the_tape_are_those_without_it(case):
    problem, _ = case
    seen = []

    def closure():
        found = problem.closure()
        seen.append(found)
        return found

    SampleSpace(TaskLoss(closure), problem.params)
    plain_loss, plain = problem.closure()
    close(seen[0][0], plain_loss, rtol=1e-14)
    for a, b in zip(seen[0][1], plain, strict=True):
        assert a.shape == b.shape
        close(a.detach(), b.detach(), rtol=1e-13)


def test_the_solution_is_that_of_a_direct_solve(case):
    problem, _ = case
    G = problem.dense()
    operator = GaussNewtonOperator(problem.closure, problem.params)
    b = -operator.gradient
    for shift in (0.2, 0.01 + randn(len(G), seed=3).abs()):
        found = sample_space_solve(Shifted(operator, shift), b, rtol=1e-11)
        matrix = G + torch.diag(torch.as_tensor(shift, dtype=G.dtype).expand(len(G)))
        assert found.reason == "converged", found
        close(found.x, torch.linalg.solve(matrix, b), rtol=1e-9)
        close(found.residual, b - matrix @ found.x, atol=1e-10)
        q = 0.5 * float(found.x @ matrix @ found.x) - float(b @ found.x)
        assert found.values[-1] == pytest.approx(q, rel=1e-9)


def test_whole_tiny_bert():
    bert = tiny_bert()
    space = SampleSpace(TaskLoss(bert.closure), bert.params, every_use_known=True)
    assert space.rows == 5  # samples times (classes - 1)
    U = rows_of(space)
    close(U.T @ U, bert.gauss_newton, rtol=1e-10)
    for inverse in diagonals(bert.params):
        close(space.gram(inverse), (U * inverse) @ U.T, rtol=1e-10)


def test_whole_tiny_gpt2():
    gpt2 = tiny_gpt2()
    space = SampleSpace(TaskLoss(gpt2.closure), gpt2.params, every_use_known=True)
    assert space.rows == 3 * 2
    check_products(space, gpt2.gauss_newton(), gpt2.params)


def test_an_own_function_of_a_parameter_is_not_left_out():
    problem = Problem(
        Net(
            lambda m, x: m.head(OwnFunction.apply(x, m.W).tanh()),
            W=param(5, 4),
            head=nn.Linear(4, 3),
        ),
        VECTORS,
    )
    operator = GaussNewtonOperator(problem.closure, problem.params)
    found = sample_space_solve(Shifted(operator, 0.2), -operator.gradient, rtol=1e-9)
    matrix = problem.dense() + 0.2 * torch.eye(len(problem.theta), dtype=torch.float64)
    if found.reason == "converged":
        close(found.x, torch.linalg.solve(matrix, -operator.gradient), rtol=1e-7)
    else:
        assert found.residual_norms[-1] > 1e-9 * found.residual_norms[0]


@pytest.mark.parametrize("buffer", [1, 64, 700])
def test_rows_may_be_formed_in_parts_of_any_size(monkeypatch, buffer):
    whole = {
        name: PROBLEMS[name]()[0]
        for name in ("tied weights", "convolution", "padding_idx", "tokens with ignored labels")
    }
    for problem in whole.values():
        n = len(problem.theta)
        inverse = 0.1 + randn(n).abs()
        K, diagonal = problem.space().gram(inverse), problem.space().diagonal()
        with monkeypatch.context() as patch:
            patch.setattr(factor, "_BUFFER", 8 * buffer)
            close(problem.space().gram(inverse), K, rtol=1e-12)
            close(problem.space().diagonal(), diagonal, rtol=1e-12)


# Micro-batches, masks, graphs.


@pytest.mark.parametrize("keep_graph", [True, False])
@pytest.mark.parametrize("sizes", [[10], [4, 4, 2], [1, 7, 2]])
def test_ragged_micro_batches_are_weighted_by_their_samples(sizes, keep_graph):
    X, Y = classification(10)
    net = mlp(3, 4, 3, norm=True)
    whole = GaussNewtonOperator(cross_entropy_closure(net, X, Y), net.parameters()).dense()
    parts = list(zip(X.split(sizes), Y.split(sizes), strict=True))
    operator = GaussNewtonOperator(
        cross_entropy_on(net), net.parameters(), parts, keep_graph=keep_graph
    )
    space = SampleSpace(operator.task, operator.params)
    assert space.rows == 20
    U = rows_of(space)
    close(U.T @ U, whole, rtol=1e-10)
    found = sample_space_solve(Shifted(operator, 0.1), -operator.gradient, rtol=1e-11)
    assert found.reason == "converged"


def test_batches_weighted_by_labelled_tokens():
    net = Net(lambda m, x: m.head(x), head=nn.Linear(5, 3)).double()
    labels = torch.randint(3, (N, 6), generator=torch.Generator().manual_seed(0))
    labels[0, 2:] = labels[2, 1:] = -100

    def closure(batch):
        logits = net(batch[0])
        return F.cross_entropy(logits.flatten(0, 1), batch[1].flatten(), ignore_index=-100), logits

    parts = [(TOKENS[:1], labels[:1]), (TOKENS[1:], labels[1:])]
    operator = GaussNewtonOperator(
        closure, net.parameters(), parts, count=lambda batch: int((batch[1] >= 0).sum())
    )
    whole = GaussNewtonOperator(lambda: closure((TOKENS, labels)), net.parameters()).dense()
    U = rows_of(SampleSpace(operator.task, operator.params))
    close(U.T @ U, whole, rtol=1e-10)


def test_dropout_masks_are_those_of_the_products():
    net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 3)).double()
    X, Y = classification(8)
    operator = GaussNewtonOperator(cross_entropy_closure(net, X, Y), net.parameters())
    U = rows_of(SampleSpace(operator.task, operator.params))
    close(U.T @ U, operator.dense(), rtol=1e-10)
    other = GaussNewtonOperator(cross_entropy_closure(net, X, Y), net.parameters()).dense()
    assert float((U.T @ U - other).norm()) > 0.01 * float(other.norm())


def test_frozen_parameters_leave_the_block_of_the_trained_ones():
    net = mlp(5, 4, 3)
    problem = Problem(net, VECTORS)
    G = problem.dense()
    net[0].weight.requires_grad_(False)
    trained = [p for p in net.parameters() if p.requires_grad]
    U = rows_of(SampleSpace(TaskLoss(problem.closure), trained))
    close(U.T @ U, G[20:, 20:], rtol=1e-10)


def test_it_works_under_no_grad_and_leaves_gradients_alone():
    problem = Problem(mlp(5, 4, 3), VECTORS)
    with torch.no_grad():
        U = rows_of(problem.space())
    close(U.T @ U, problem.dense(), rtol=1e-10)
    assert all(p.grad is None for p in problem.params)


# The solve.


@few_cases
@given(
    seed=seeds,
    n=st.integers(1, 6),
    width=st.integers(1, 6),
    classes=st.integers(2, 4),
    shift=st.floats(1e-3, 10),
    varying=st.booleans(),
    masked=st.booleans(),
)
def test_the_dual_solution_is_that_of_conjugate_gradients(
    seed, n, width, classes, shift, varying, masked
):
    net = mlp(3, width, classes, seed=seed % 1000)
    inputs, labels = classification(n, classes=classes, seed=seed)
    operator = GaussNewtonOperator(cross_entropy_closure(net, inputs, labels), net.parameters())
    size = operator.shape[0]
    D = shift * (1 + randn(size, seed=seed + 1).abs()) if varying else shift
    free = randn(size, seed=seed + 2) > -0.5 if masked else None
    b = -operator.gradient if free is None else -operator.gradient * free
    system = Shifted(operator, D, free)
    dual = sample_space_solve(system, b, rtol=1e-12)
    primal = conjugate_gradient(system, b, rtol=1e-13, max_iter=50 * size)
    assert dual.reason == "converged"
    assert float((dual.x - primal.x).norm()) <= 1e-10 * float(primal.x.norm())
    if free is not None:
        assert not dual.x[~free].any()


def test_a_zero_right_hand_side_has_the_zero_solution():
    problem = Problem(mlp(5, 4, 3), VECTORS)
    operator = GaussNewtonOperator(problem.closure, problem.params)
    found = sample_space_solve(Shifted(operator, 1.0), torch.zeros_like(operator.gradient))
    assert found.converged and found.iterations == 0 and not found.x.any()


def test_float32_is_refined_until_the_residual_of_the_operator_is_small():
    net = mlp(5, 16, 3).float()
    X, Y = classification(16, features=5)
    operator = GaussNewtonOperator(cross_entropy_closure(net, X.float(), Y), net.parameters())
    found = sample_space_solve(Shifted(operator, 1e-4), -operator.gradient, rtol=1e-5)
    assert found.reason == "converged" and found.x.dtype == torch.float32
    assert found.iterations > 1  # the first solution was not good enough
    left = -operator.gradient.double() - (operator @ found.x).double() - 1e-4 * found.x.double()
    assert float(left.norm()) <= 2e-5 * float(operator.gradient.norm())


def test_without_refinement_the_same_system_is_not_called_converged():
    net = mlp(5, 16, 3).float()
    X, Y = classification(16, features=5)
    operator = GaussNewtonOperator(cross_entropy_closure(net, X.float(), Y), net.parameters())
    found = sample_space_solve(
        Shifted(operator, 1e-4), -operator.gradient, rtol=1e-5, refinements=0
    )
    assert found.reason == "max_iter" and found.iterations == 1


def test_samples_that_act_on_one_another_are_noticed():
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3)).double()
    problem = Problem(net, VECTORS)
    operator = GaussNewtonOperator(problem.closure, problem.params)
    found = sample_space_solve(Shifted(operator, 0.05), -operator.gradient, rtol=1e-8)
    assert found.reason in ("stagnation", "max_iter") and not found.converged
    system = Shifted(operator, 0.05)
    left = float((-operator.gradient - system @ found.x).norm())
    assert found.residual_norms[-1] == pytest.approx(left, rel=1e-9)


# What is refused.


@pytest.mark.parametrize("shift", [0.0, -1.0, math.nan])
def test_a_shift_that_is_not_positive_is_refused(shift):
    problem = Problem(mlp(5, 4, 3), VECTORS)
    operator = GaussNewtonOperator(problem.closure, problem.params)
    for D in (shift, torch.ones(operator.shape[0]).double().index_fill(0, torch.tensor(3), shift)):
        with pytest.raises(ValueError, match="raise damping above 0"):
            sample_space_solve(Shifted(operator, D), operator.gradient)


def test_a_shift_of_zero_does_no_harm_where_nothing_moves():
    problem = Problem(mlp(5, 4, 3), VECTORS)
    operator = GaussNewtonOperator(problem.closure, problem.params)
    D = torch.ones(operator.shape[0]).double()
    D[7] = 0.0
    free = D > 0
    found = sample_space_solve(Shifted(operator, D, free), -operator.gradient * free, rtol=1e-10)
    assert found.converged and found.x[7] == 0


def test_a_loss_that_is_not_convex_is_refused():
    problem = Problem(mlp(5, 4, 3), VECTORS, lambda z: z.sin().mean())
    with pytest.raises(ValueError, match="not convex in the outputs"):
        problem.space()


@pytest.mark.parametrize(
    "outputs", [lambda z: z.sum(), lambda z: (z, randn(3, 3)), lambda z: (z, z.new_zeros(()))]
)
def test_outputs_that_are_not_samples_first_are_refused(outputs):
    net = mlp(5, 4, 3)

    def closure():
        z = net(VECTORS)
        return cross_entropy(z), outputs(z)

    with pytest.raises(ValueError, match="samples along their first dimension"):
        SampleSpace(TaskLoss(closure), net.parameters())


def test_rows_of_unknown_functions_that_do_not_fit_are_refused():
    problem, _ = PROBLEMS["convolution"]()
    size = 2 * N * 8 * problem.net.conv.weight.numel()
    with pytest.raises(MemoryError, match=r"\['conv2d'\] take more than max_bytes"):
        problem.space(max_bytes=size)
    assert problem.space(max_bytes=2 * size).rows == 2 * N


def test_passes_that_compare_parts_of_a_batch_make_no_function_unknown():
    net = mlp(5, 4, 3)

    def loss(batch):
        x, y = batch
        z = net(x)
        return F.cross_entropy(z, y), z

    batches = [(VECTORS, LABELS), (VECTORS[:3], LABELS[:3])]
    space = SampleSpace(TaskLoss(loss, batches), net.parameters(), max_bytes=1)
    assert space.rows == 2 * 7 and not space.copied


def test_samples_with_too_many_outputs_are_refused_before_any_work():
    net = nn.Linear(2, 6000).double()

    def closure():
        z = net(randn(8, 2))
        return z.square().mean(), z

    with pytest.raises(MemoryError, match="8 samples of 6,000 outputs"):
        SampleSpace(TaskLoss(closure), net.parameters())


# Costs.


def test_the_cost_counts_multiplications():
    # One hidden layer, n samples: a forward pass multiplies n w times, w being the entries of both
    # matrices. Every direction takes as much for the gradients at the outputs of the layers.
    problem = Problem(mlp(5, 7, 3), VECTORS)
    space = problem.space()
    gradient = 3 * N * (5 * 7 + 7 * 3)
    forward, backward = gradient / 3, 2 * gradient / 3
    assert space.cost == pytest.approx((forward + backward) / gradient)
    space.project(problem.theta)
    assert space.cost == pytest.approx((forward + 2 * backward) / gradient)


def test_the_prediction_is_what_a_solve_then_takes():
    for name in ("tokens with ignored labels", "padding_idx", "one token"):
        problem = Problem(mlp(5, 7, 3), VECTORS) if name == "one token" else PROBLEMS[name]()[0]
        space = problem.space()
        before, predicted = space.cost, space.predicted_cost
        inverse = torch.ones_like(problem.theta)
        space.gram(inverse)
        space.lift(space.project(problem.theta))
        taken = space.cost - before + space.factorization_cost
        assert taken == pytest.approx(predicted, rel=0.3)


def test_without_a_sum_over_tokens_the_gram_matrix_counts_inputs_and_outputs():
    space = Problem(mlp(5, 7, 3), VECTORS).space()
    before = space.cost
    space.gram(torch.ones(sum(p.numel() for p in space.params), dtype=torch.float64))
    vectors = 7 + 3  # the biases, written out as they are
    entries = (5 + 7) + (7 + 3)
    unit = 3 * N * (5 * 7 + 7 * 3)
    counted = (space.cost - before) * unit
    weights = 2 * N * (5 * 7 + 7 * 3)
    assert counted == pytest.approx(space.rows**2 * (entries + vectors) + weights)


# The gradient in sample space.


@pytest.mark.parametrize("name", ["tokens with ignored labels", "padding_idx"])
def test_the_slope_adds_the_rows_up_to_the_gradient(name):
    problem, _ = PROBLEMS[name]()
    space, operator = problem.space(), problem.operator()
    close(space.lift(space.slope), operator.gradient, rtol=1e-10)


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_a_known_gradient_gives_the_same_solution(offset):
    operator = Problem(mlp(5, 7, 3), VECTORS).operator()
    b = offset * randn(operator.shape[0], seed=3) - operator.gradient
    system = Shifted(operator, 0.01)
    plain = sample_space_solve(system, b, rtol=1e-12)
    known = sample_space_solve(system, b, rtol=1e-12, gradient=operator.gradient)
    assert known.converged and known.iterations == 1
    close(known.x, plain.x, rtol=1e-9)


def test_a_known_gradient_keeps_digits_that_cancellation_loses():
    net = mlp(5, 40, 2, dtype=torch.float32)
    operator = GaussNewtonOperator(
        cross_entropy_closure(
            net,
            *[
                t.float() if t.is_floating_point() else t
                for t in (randn(8, 5, seed=1), torch.arange(8) % 2)
            ],
        ),
        net.parameters(),
    )
    system, b = Shifted(operator, 1e-5), -operator.gradient
    plain = sample_space_solve(system, b, rtol=0.0, refinements=0)
    known = sample_space_solve(system, b, rtol=0.0, refinements=0, gradient=operator.gradient)
    assert known.residual_norms[1] < 0.2 * plain.residual_norms[1]


def test_a_loss_that_slopes_without_curving_has_no_slope_in_sample_space():
    net = mlp(3, 4, 2)
    inputs = randn(6, 3)

    def closure():
        z = net(inputs)
        return (z[:, 0] + z[:, 1].square()).mean(), z

    operator = GaussNewtonOperator(closure, net.parameters())
    space = SampleSpace(operator.task, operator.params)
    assert space.slope is None
    solved = sample_space_solve(
        Shifted(operator, 0.1), -operator.gradient, rtol=1e-10, gradient=operator.gradient
    )
    assert solved.converged


@pytest.mark.parametrize("power", [600, -600])
def test_a_power_of_two_changes_no_bit_of_the_solution(power):
    problem = Problem(mlp(5, 3, seed=2), VECTORS)
    operator = problem.operator()
    system, b, s = Shifted(operator, 0.1), randn(operator.shape[0]), 2.0**power
    assert torch.equal(sample_space_solve(system, b * s).x, sample_space_solve(system, b).x * s)
