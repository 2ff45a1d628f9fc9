"""What the tape notes, and the forms of per-sample gradients and of the loss's own curvature."""

import pytest
import torch
from cases import close, few_cases, mlp, randn, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from rlhf_lib.per_sample import Tape, output_factor
from rlhf_lib.per_sample.gradients import Lookup, Outer, Plain

# Per-sample gradients: each form against the matrix that it stands for.


def outer():
    left, right = randn(4, 3, 5), randn(4, 3, 2, seed=1)
    return Outer(0, left, right), torch.einsum("nta,ntb->nab", left, right)


def plain():
    matrix = randn(4, 10)
    return Plain(0, matrix), matrix.view(4, 5, 2)


def lookup():
    ids = torch.tensor([[0, 3, 3], [-1, 2, 0], [4, 4, 4], [-1, -1, -1]])
    g = randn(4, 3, 2)
    dense = torch.zeros(4, 5, 2, dtype=torch.float64)
    for i, row in enumerate(ids.tolist()):
        for t, where in enumerate(row):
            if where >= 0:
                dense[i, where] += g[i, t]
    return Lookup(0, ids, g), dense


@pytest.mark.parametrize("make", [outer, plain, lookup])
def test_a_form_writes_projects_and_lifts_the_matrix_that_it_stands_for(make):
    form, dense = make()
    assert form.n == 4
    for lo, hi in ((0, 5), (1, 3), (4, 5)):
        out = torch.ones(4, hi - lo, 2, dtype=torch.float64)
        form.write(lo, hi, out)
        close(out, 1 + dense[:, lo:hi])
    v, alpha = randn(5, 2, seed=2), randn(4, seed=3)
    close(form.project(v), torch.einsum("nab,ab->n", dense, v))
    into = torch.ones(5, 2, dtype=torch.float64)
    form.lift(alpha, into)
    close(into, 1 + torch.einsum("nab,n->ab", dense, alpha))


def test_a_lookup_in_the_table_of_its_own_ids_is_the_same_without_the_other_rows():
    form, dense = lookup()
    used = torch.tensor([0, 2, 3, 4])
    out = torch.zeros(4, 4, 2, dtype=torch.float64)
    form.renumbered(used).write(0, 4, out)
    close(out, dense[:, used])


# The tape.


def taped(params, fn):
    tape = Tape(list(params))
    with tape:
        fn()
    return tape


def test_each_use_is_noted_with_its_multiplications():
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2, bias=False))
    tape = taped(net.parameters(), lambda: net(torch.ones(5, 3)))
    assert (tape.samples, tape.other) == (5, {})
    counts = sorted((use.param, use.multiplications) for use in tape.uses)
    assert counts == [(0, 5 * 12), (1, 0), (2, 0), (3, 0), (4, 5 * 8)]


def test_functions_without_a_rule_are_named():
    net = nn.Conv1d(1, 2, 3)
    tape = taped(net.parameters(), lambda: net(torch.ones(5, 1, 7)))
    assert tape.uses == [] and set(tape.other.values()) == {"conv1d"}


@pytest.mark.parametrize("options", [{"max_norm": 1.0}, {"scale_grad_by_freq": True}])
def test_embeddings_with_a_rule_of_their_own_for_gradients_are_not_taken_for_plain_ones(options):
    net = nn.Embedding(7, 3, **options)
    tape = taped(net.parameters(), lambda: net(torch.tensor([[1, 2], [3, 3]])).clone())
    assert tape.uses == [] and 0 in tape.other


def test_nothing_is_noted_outside_or_without_gradients():
    net = mlp(3, 2)
    tape = Tape(list(net.parameters()))
    net(randn(4, 3))
    with tape, torch.no_grad():
        net(randn(4, 3))
    assert tape.uses == [] and tape.other == {} and tape.samples is None


def test_the_output_of_the_net_is_the_same_tensor_under_the_tape():
    net = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2)).double()
    ids = torch.tensor([[1, 2, 3]])
    plain = net(ids)
    with Tape(list(net.parameters())):
        assert torch.equal(net(ids), plain)


# The curvature of the loss at the outputs.


def total(factor):
    """sum_k S_k S_k', sample by sample, (n, m, m)."""
    S = torch.stack([torch.cat([d.reshape(len(d), -1) for d in part], 1) for part in factor])
    return torch.einsum("kna,knb->nab", S, S)


def blocks(loss, *outputs):
    """The loss's Hessian by torch's own, its diagonal blocks, and what lies beside them."""
    n, sizes = len(outputs[0]), [o[0].numel() for o in outputs]

    def of(z):
        parts = z.split(sizes, 1)
        return loss(*(p.reshape(o.shape) for p, o in zip(parts, outputs, strict=True)))

    z = torch.cat([o.detach().reshape(n, -1) for o in outputs], 1)
    H = torch.autograd.functional.hessian(of, z)  # (n, m, n, m)
    return torch.stack([H[i, :, i] for i in range(n)])


@few_cases
@given(seed=seeds, n=st.integers(1, 5), classes=st.integers(2, 5))
def test_cross_entropy_has_one_direction_fewer_than_classes(seed, n, classes):
    labels = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed % 999))
    z = randn(n, classes, seed=seed).requires_grad_(True)
    factor = output_factor(F.cross_entropy(z, labels), [z])
    assert len(factor) == classes - 1
    p = z.detach().softmax(1)
    close(total(factor), (torch.diag_embed(p) - p[:, :, None] * p[:, None, :]) / n, rtol=1e-11)


def test_several_outputs_that_a_loss_couples():
    a, b = (randn(3, 2, seed=s).requires_grad_(True) for s in (0, 1))

    def loss(a, b):
        return ((a * b.exp()) ** 2).sum() + (a**2).sum() + (b**2).sum() * 40

    close(total(output_factor(loss(a, b), [a, b])), blocks(loss, a, b), rtol=1e-10)


def test_an_output_that_enters_linearly_has_no_direction():
    a, b = randn(3, 2).requires_grad_(True), randn(3, 2, seed=1).requires_grad_(True)
    factor = output_factor((a**2).sum() + b.sum(), [a, b])
    assert len(factor) == 2 and all(not part[1].any() for part in factor)
    assert output_factor(b.sum(), [b]) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gap", [10.0, 18.0, 40.0, 300.0])
def test_a_saturated_softmax_is_still_convex(dtype, gap):
    # At a gap of 17 the larger probability rounds to 1 in float32, and p (1 - p) to 0, but the
    # entries beside the diagonal do not: such a matrix is indefinite, by rounding alone.
    z = torch.tensor([[gap, 0.0, 0.3], [0.0, gap, -gap]], dtype=dtype, requires_grad=True)
    factor = output_factor(F.cross_entropy(z, torch.tensor([0, 1])), [z])
    p = z.detach().double().softmax(1)
    H = (torch.diag_embed(p) - p[:, :, None] * p[:, None, :]) / 2
    if factor:
        close(total(factor).double(), H, atol=20 * torch.finfo(dtype).eps)
    else:
        assert float(H.abs().max()) < 20 * torch.finfo(dtype).eps


def test_negative_curvature_is_refused_at_any_sample_of_any_size():
    z = randn(4, 3).requires_grad_(True)
    scale = torch.tensor([1.0, 1.0, 1.0, -0.01]).double()[:, None]
    with pytest.raises(ValueError, match="not convex in the outputs"):
        output_factor((scale * z**2).sum(), [z])


def test_outputs_without_samples_are_refused():
    with pytest.raises(ValueError, match="samples along their first dimension"):
        output_factor(torch.ones(()), [])
