"""Memory counted by tensors, against sizes known beforehand."""

import torch

from rlhf_course.cost.memory import peak_bytes
from rlhf_lib import HessianOperator

N = 1000
BYTES = 4 * N


def test_the_peak_is_of_what_lives_at_one_time():
    def one_after_another():
        for _ in range(3):
            torch.zeros(N)

    def together():
        return [torch.zeros(N) for _ in range(3)]

    assert peak_bytes(one_after_another) <= 2 * BYTES  # the next is made before the last is gone
    assert peak_bytes(together) == 3 * BYTES


def test_what_was_there_before_does_not_count():
    x = torch.zeros(N)
    assert peak_bytes(lambda: x.view(10, -1).add_(1)) == 0
    assert peak_bytes(lambda: (x + 1).view(10, -1)) == BYTES


def test_what_backward_passes_make_counts():
    x = torch.ones(N, requires_grad=True)
    with_graph = peak_bytes(lambda: torch.autograd.grad(x.sin().sum(), x))
    assert with_graph >= 2 * BYTES  # sin x, and the gradient

    def product():
        return HessianOperator(lambda: x.sin().sum(), [x]) @ torch.ones(N)

    assert with_graph <= peak_bytes(product) < 12 * BYTES
