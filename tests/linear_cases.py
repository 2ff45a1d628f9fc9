"""Models linearized with a dense Jacobian: the truth for rlhf_lib.linearized, which has none."""

import cases
import torch
from cases import flat, randn
from torch import nn
from torch.nn import functional as F


def close(actual, expected, rtol=1e-8):
    """`cases.close` in double precision, for numbers too."""
    pair = (torch.as_tensor(x, dtype=torch.float64).detach() for x in (actual, expected))
    cases.close(*pair, rtol)


def labels(n, classes, seed=0):
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))


def small_net(inputs=3, outputs=2, hidden=4, seed=0):
    """A net with biases and a normalization, in float64."""
    net = nn.Sequential(
        nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.Tanh(), nn.Linear(hidden, outputs)
    ).double()
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(randn(*p.shape, seed=seed + i) * 0.7)
    return net


class Dense:
    """z_0 + J (theta - theta_0) with J as a matrix, and the objective that it is trained by.

    loss: from all outputs to the mean loss, a torch function.
    weights: lambda of each entry of theta, (p,). center: what they pull to, (p,).
    """

    def __init__(self, net, inputs, loss, weights, center=None):
        self.net, self.loss = net, loss
        self.theta0 = flat(net.parameters())
        self.weights = torch.as_tensor(weights, dtype=torch.float64).expand_as(self.theta0)
        self.center = self.theta0 if center is None else center
        self.z0, self.J = self.outputs_and_jacobian(inputs)

    def outputs_and_jacobian(self, inputs):
        z = self.net(inputs)
        params = list(self.net.parameters())
        rows = [
            flat(
                torch.autograd.grad(
                    entry, params, retain_graph=True, materialize_grads=True, allow_unused=True
                )
            )
            for entry in z.flatten()
        ]
        return z.detach(), torch.stack(rows)

    def outputs(self, theta, inputs=None):
        z0, J = (self.z0, self.J) if inputs is None else self.outputs_and_jacobian(inputs)
        return z0 + (J @ (theta - self.theta0)).view_as(z0)

    def objective(self, theta):
        penalty = 0.5 * (self.weights * (theta - self.center) ** 2).sum()
        return self.loss(self.outputs(theta)) + penalty

    def task_hessian(self, theta):
        H = torch.autograd.functional.hessian(
            self.loss, self.outputs(theta).detach(), vectorize=True
        )
        m = self.z0.numel()
        return self.J.T @ H.reshape(m, m) @ self.J

    def hessian(self, theta):
        return self.task_hessian(theta) + torch.diag(self.weights)

    def gradient(self, theta):
        leaf = theta.clone().requires_grad_()
        (g,) = torch.autograd.grad(self.objective(leaf), leaf)
        return g

    def step(self, theta, damping):
        """The damped Newton step by a dense solve."""
        H = self.hessian(theta) + damping * torch.eye(len(theta), dtype=theta.dtype)
        return -torch.linalg.solve(H, self.gradient(theta))

    def minimum(self, theta=None, steps=60):
        theta = self.theta0.clone() if theta is None else theta
        for _ in range(steps):
            H, g = self.hessian(theta), self.gradient(theta)
            if float(g.norm()) < 1e-14:
                break
            d, t = -torch.linalg.lstsq(H, g[:, None]).solution[:, 0], 1.0
            while self.objective(theta + t * d) > self.objective(theta) + 1e-14 and t > 1e-9:
                t /= 2
            theta = theta + t * d
        return theta


def penalty_weights(net, penalized, unpenalized=0.0):
    """lambda of each entry: of matrices, and of the other parameters."""
    return flat(
        torch.full_like(p, penalized if p.ndim > 1 and "norm" not in n else unpenalized)
        for n, p in net.named_parameters()
    )


def cross_entropy(y):
    return lambda z: F.cross_entropy(z, y)
