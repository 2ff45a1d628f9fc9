"""The step of cubic regularization, hard case included, by the eigenvectors of a small Hessian."""

from __future__ import annotations

import torch
from torch import Tensor


def cubic_step(g: Tensor, H: Tensor, gamma: float) -> Tensor:
    """The d, of shape (p,), where g'd + d'Hd/2 + gamma |d|^3 / 3 is least.

    By Nesterov and Polyak (2006), whose M is 2 gamma.

    g has the shape (p,), H is symmetric of shape (p, p), gamma is positive. There
    (H + mu I) d = -g with mu = gamma |d|, and H + mu I has no negative eigenvalue. In the hard case
    the eigenvector of the smallest eigenvalue is added, to either side.
    """
    h, V = torch.linalg.eigh(H)
    parts = V.T @ g
    low = max(0.0, -float(h[0]))
    tiny = torch.finfo(g.dtype).eps ** 0.6
    hard = (h + low <= tiny * float(h.abs().max())) & (parts.abs() <= tiny * float(g.norm()))
    d = torch.where(hard, 0.0, -parts / torch.where(hard, 1.0, h + low))
    if bool(hard.any()) and gamma * float(d.norm()) <= low:
        d[0] = d[0] + ((low / gamma) ** 2 - d @ d).clamp(min=0).sqrt()
        return V @ d

    def too_long(mu: float) -> bool:
        return gamma * float((parts / (h + mu)).norm()) > mu

    high = low + 1.0
    while too_long(high):
        high *= 2
    while high - low > 4 * torch.finfo(g.dtype).eps * high:
        mu = (low + high) / 2
        low, high = (mu, high) if too_long(mu) else (low, mu)
    return -V @ (parts / (h + high))
