"""Answers to the exercises of notebook 03."""

import torch
from answers import Shown, record


def path(damping, y_end, smallest):
    eigenvalues = torch.tensor([smallest - damping, 1.0])
    steps = [
        record(theta=torch.tensor([0.0, y]), damping=damping, extra={"eigenvalues": eigenvalues})
        for y in (0.2, y_end)
    ]
    return Shown(steps, {"x": 1.5, "y": 0.2, "damping": damping})


def safe(H, margin):
    return max(0.0, margin - float(torch.linalg.eigvalsh(H)[0]))


def in_place(H, margin):
    answer = safe(H, margin)
    H += answer * torch.eye(len(H), dtype=H.dtype)
    return answer


SOLUTIONS = {"03.escape": path(0.9, 1.0, 0.02)}

MISTAKES = {
    "03.escape": [
        (path(0.1, 0.0, -0.78), "at the saddle"),
        (path(0.5, -1.0, -0.38), "by luck"),
        (path(0.88, 1.0, 0.0), "by luck"),
        (path(0.94, 1.0, 0.06), "smaller μ"),
        (path(2.9, 0.6, 2.02), "on the way"),
    ],
    "03.safe_damping": [
        (lambda H, m: safe(H, 0.0), "margin is missing"),
        (lambda H, m: m - float(torch.linalg.eigvalsh(H)[0]), "not be negative"),
        (lambda H, m: max(0.0, m - float(H.diagonal().min())), "not the spectrum"),
        (lambda H, m: m + float(torch.linalg.eigvalsh(H).abs().max()), "the least"),
        (lambda H, m: max(0.0, m - float(torch.linalg.eigvalsh(H)[-1])), "not the largest"),
        (in_place, "in place"),
        (lambda H, m: 0.123, "Wanted here"),
        (lambda H, m: torch.linalg.eigvalsh(H), "a number"),
    ],
}
