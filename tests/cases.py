"""Problems and independent truths that several test files share. Nothing here uses the numerics."""

import weakref
from functools import cache
from itertools import pairwise

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from rlhf_lib.text import encode, load_model

TEXTS = ["what a film", "no, no!", "we left at once and never came back", "good", "so so"]
LABELS = torch.tensor([1, 0, 0, 1, 0])

# The same cases in every run, and no deadline: the machine may be busy.
few_cases = settings(deadline=None, max_examples=25, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def randn(*shape, seed=0, dtype=torch.float64):
    """Standard normal numbers that do not touch torch's global generator."""
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def close(actual, expected, rtol=1e-8, atol=1e-12):
    """Equal up to rounding, relative to the largest entry: curvature spans many magnitudes."""
    expected = torch.as_tensor(expected)
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(
        torch.as_tensor(actual), expected, rtol=0, atol=max(rtol * scale, atol)
    )


def spd(n, seed=0, condition=100.0):
    """A symmetric positive definite matrix with eigenvalues from 1 to `condition`."""
    q, _ = torch.linalg.qr(randn(n, n, seed=seed))
    return q @ torch.diag(torch.logspace(0, 1, n, base=condition, dtype=torch.float64)) @ q.T


def flat(tensors):
    return torch.cat([t.detach().reshape(-1) for t in tensors])


def at(module, theta):
    """name -> piece of theta, for functional_call."""
    pieces, offset = {}, 0
    for name, p in module.named_parameters():
        pieces[name] = theta[offset : offset + p.numel()].view_as(p)
        offset += p.numel()
    return pieces


def flat_loss(module, loss):
    """theta -> loss(call), where call(...) is the module with the parameters theta."""
    return lambda theta: loss(
        lambda *args, **kwargs: functional_call(module, at(module, theta), args, kwargs)
    )


def gradient(f, theta):
    theta = theta.detach().clone().requires_grad_(True)
    return torch.autograd.grad(f(theta), theta)[0]


def difference_product(f, theta, v, h=1e-3):
    """H v by central differences of the gradient, extrapolated to order 4 (Richardson)."""

    def slope(step):
        ahead, behind = gradient(f, theta + step * v), gradient(f, theta - step * v)
        return (ahead - behind) / (2 * step)

    h = h / float(v.norm())
    return (4 * slope(h / 2) - slope(h)) / 3


def mlp(*sizes, seed=0, norm=False, dtype=torch.float64, activation=nn.Tanh):
    """Linear layers with an activation, and LayerNorm if asked, between them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = []
        for i, (a, b) in enumerate(pairwise(sizes)):
            layers.append(nn.Linear(a, b))
            if i < len(sizes) - 2:
                layers += [nn.LayerNorm(b)] if norm else []
                layers.append(activation())
        return nn.Sequential(*layers).to(dtype)


def classification(n=10, features=3, classes=3, seed=0):
    """(inputs (n, features), labels (n,)) that no linear model separates."""
    labels = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))
    return randn(n, features, seed=seed + 1), labels


def cross_entropy_closure(module, inputs, labels):
    """For the operators and the optimizer: closure() -> (mean loss, logits)."""

    def closure():
        logits = module(inputs)
        return nn.functional.cross_entropy(logits, labels), logits

    return closure


def cross_entropy_on(module):
    """The same for batches: closure((inputs, labels))."""

    def closure(batch):
        logits = module(batch[0])
        return nn.functional.cross_entropy(logits, batch[1]), logits

    return closure


def badly_scaled():
    """Logistic regression on features from 1e-2 to 1e2; one logit, so that no direction is flat.

    Returns (net, closure).
    """
    inputs = randn(200, 30) * torch.logspace(-2, 2, 30, dtype=torch.float64)
    labels = (randn(200, 1, seed=1) > 0).double()
    net = mlp(30, 1)
    with torch.no_grad():
        net[0].weight.mul_(0.01)

    def closure():
        logits = net(inputs)
        return nn.functional.binary_cross_entropy_with_logits(logits, labels), logits

    return net, closure


def watched_closure(net, X, Y):
    """The first of these for a net of three modules, and weak references to its activations."""
    hidden = []

    def closure():
        activation = net[1](net[0](X))
        hidden.append(weakref.ref(activation))
        logits = net[2](activation)
        return nn.functional.cross_entropy(logits, Y), logits

    return closure, hidden


class TinyBert:
    """A whole BERT of 2,074 parameters in float64, its loss in two forms and its dense truths."""

    def __init__(self):
        self.model, tokenizer = load_model(name="tiny-random", dtype=torch.float64)
        self.params = list(self.model.parameters())
        # Short, because a dense Hessian costs a gradient for each of its rows.
        self.encoded = encode(tokenizer, TEXTS, max_length=10)
        self.theta = flat(self.params)
        self.n = self.theta.numel()

    def closure(self):
        logits = self.model(**self.encoded).logits
        return nn.functional.cross_entropy(logits, LABELS), logits

    def logits(self, theta):
        return functional_call(self.model, at(self.model, theta), (), self.encoded).logits

    def loss(self, theta):
        return nn.functional.cross_entropy(self.logits(theta), LABELS)

    @property
    @cache  # noqa: B019 - one object for the whole run
    def hessian(self):
        """By torch's own double backward, all rows at once."""
        return torch.autograd.functional.hessian(self.loss, self.theta, vectorize=True)

    @property
    @cache  # noqa: B019
    def gauss_newton(self):
        """J' H_L J with the softmax's own second derivative, (diag(p) - p p') / n a sample."""
        jacobian = torch.autograd.functional.jacobian(self.logits, self.theta)  # (n, C, params)
        p = self.logits(self.theta).detach().softmax(1)
        inner = (torch.diag_embed(p) - p[:, :, None] * p[:, None, :]) / len(p)
        return torch.einsum("scp,scd,sdq->pq", jacobian, inner, jacobian)


@cache
def tiny_bert():
    return TinyBert()


class Classifier:
    """A network on fixed inputs with cross-entropy: its closure, and its dense truths."""

    def __init__(self, net, labels, *args, pick=lambda out: out, **kwargs):
        self.net, self.labels, self.pick = net, labels, pick
        self.args, self.kwargs = args, kwargs
        self.params = list(net.parameters())
        self.theta = flat(self.params)

    def closure(self):
        logits = self.pick(self.net(*self.args, **self.kwargs))
        return nn.functional.cross_entropy(logits, self.labels), logits

    def logits(self, theta):
        return self.pick(functional_call(self.net, at(self.net, theta), self.args, self.kwargs))

    def loss(self, theta):
        return nn.functional.cross_entropy(self.logits(theta), self.labels)

    def hessian(self):
        return torch.autograd.functional.hessian(self.loss, self.theta, vectorize=True)

    def gauss_newton(self):
        return dense_gauss_newton(
            self.logits, lambda z: nn.functional.cross_entropy(z, self.labels), self.theta
        )


def dense_gauss_newton(outputs, loss, theta):
    """J' H_L J by torch's own Jacobian and Hessian, for one tensor of outputs(theta)."""
    at_theta = outputs(theta).detach()
    J = torch.autograd.functional.jacobian(lambda t: outputs(t).reshape(-1), theta)
    inner = torch.autograd.functional.hessian(
        lambda z: loss(z.view_as(at_theta)), at_theta.reshape(-1)
    )
    return J.T @ inner @ J


@cache
def tiny_gpt2():
    """A whole GPT-2 with its Conv1D layers, on three sequences of unequal length."""
    from transformers import GPT2Config, GPT2ForSequenceClassification

    config = GPT2Config(
        vocab_size=20,
        n_positions=8,
        n_embd=8,
        n_layer=1,
        n_head=2,
        num_labels=3,
        pad_token_id=0,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        attn_implementation="eager",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = GPT2ForSequenceClassification(config).double().eval()
        with torch.no_grad():  # larger than at initialization, where every activation is linear
            for p in net.parameters():
                p.add_(0.3 * torch.randn_like(p))
    ids = torch.tensor([[4, 7, 2, 9, 11], [5, 3, 3, 0, 0], [1, 19, 6, 8, 0]])
    return Classifier(
        net,
        torch.tensor([0, 2, 1]),
        input_ids=ids,
        attention_mask=(ids != 0).long(),
        pick=lambda out: out.logits,
    )
