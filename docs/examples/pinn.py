"""A physics-informed network in plain PyTorch: -u'' = f on (0, 1), u(0) = u(1) = 0.

The net is u(x) = x (1 - x) N(x), which is right at the boundary whatever N is, and what is
minimized is half the mean square of the residual r = u'' + f at fixed points (Raissi, Perdikaris
and Karniadakis, 2019). The residuals are the outputs of the closure, so that the Gauss-Newton
matrix is that of a least-squares problem, J'J / n. Adam and L-BFGS get the CPU seconds that
RLHFOptimizer took, Adam at each of three learning rates, of which the best counts. With two inner
layers of 20 tanh units, 501 parameters, the errors are about 1e-2 by Adam, 3e-5 by RLHFOptimizer
and 3e-6 by L-BFGS: on a problem so small a curvature built from gradients is the cheapest.

    python docs/examples/pinn.py --steps 60 --seeds 2
"""

import argparse
import math
import statistics
import time

import torch
from torch import nn

from rlhf_lib import RLHFOptimizer

POINTS, WIDTH = 128, 20
RATES = (1e-2, 3e-3, 1e-3)


def exact(x):
    return torch.sin(math.pi * x) + 0.3 * torch.sin(4 * math.pi * x)


def source(x):
    """f = -u'' of the exact solution."""
    low, high = torch.sin(math.pi * x), 0.3 * 16 * torch.sin(4 * math.pi * x)
    return math.pi**2 * (low + high)


class Solution(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.net = nn.Sequential(
            *(nn.Linear(1, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh()),
            nn.Linear(WIDTH, 1),
        ).double()

    def forward(self, x):
        return x * (1 - x) * self.net(x)

    def residuals(self, x):
        """u'' + f at the points x, (n, 1)."""
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self(x).sum(), x, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
        return bend + source(x)

    @torch.no_grad()
    def error(self):
        """|u - exact| / |exact| at points in between."""
        x = torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None]
        return float((self(x) - exact(x)).norm() / exact(x).norm())


def points():
    return (torch.arange(POINTS, dtype=torch.float64)[:, None] + 0.5) / POINTS


def rlhf(seed, steps):
    """The error after so many steps, and the CPU seconds that they took."""
    model, x = Solution(seed), points()
    optimizer = RLHFOptimizer(
        model.named_parameters(), damping=1.0, max_iter=100, rtol=1e-3, progress_tol=None
    )

    def closure():
        residuals = model.residuals(x)
        return residuals.square().mean() / 2, residuals

    start = time.process_time()
    for _ in range(steps):
        optimizer.step(closure)
    return model.error(), time.process_time() - start


def first_order(make, seed, seconds):
    """The error of another optimizer after these CPU seconds, and its steps."""
    model, x = Solution(seed), points()
    optimizer = make(model.parameters())

    def closure():
        optimizer.zero_grad()
        loss = model.residuals(x).square().mean() / 2
        loss.backward()
        return loss

    start, steps = time.process_time(), 0
    while time.process_time() - start < seconds:
        optimizer.step(closure)
        steps += 1
    return model.error(), steps


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60, help="of RLHFOptimizer")
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()

    def adam(rate):
        return lambda parameters: torch.optim.Adam(parameters, lr=rate)

    def lbfgs(parameters):
        return torch.optim.LBFGS(
            parameters, max_iter=20, history_size=50, line_search_fn="strong_wolfe"
        )

    found = {"RLHF": [], "Adam": [], "L-BFGS": []}
    for seed in range(arguments.seeds):
        error, seconds = rlhf(seed, arguments.steps)
        rates = {rate: first_order(adam(rate), seed, seconds)[0] for rate in RATES}
        best = min(rates, key=rates.get)
        found["RLHF"].append(error)
        found["Adam"].append(rates[best])
        found["L-BFGS"].append(first_order(lbfgs, seed, seconds)[0])
        print(
            f"seed {seed}, {seconds:.1f} CPU seconds each: relative errors "
            + ", ".join(f"{name} {errors[-1]:.1e}" for name, errors in found.items())
            + f" (Adam's best rate {best:g})",
            flush=True,
        )
    medians = {name: statistics.median(errors) for name, errors in found.items()}
    print("median: " + ", ".join(f"{name} {error:.1e}" for name, error in medians.items()))


if __name__ == "__main__":
    main()
