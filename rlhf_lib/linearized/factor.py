"""S with S S' = W, the Hessian of the mean loss at the margins: a block for each term."""

from __future__ import annotations

from torch import Tensor


class Factor:
    """Products with the block-diagonal S, blocks (R, m, r)."""

    def __init__(self, blocks: Tensor):
        self.blocks = blocks
        R, self.m, self.r = blocks.shape
        self._diagonal = blocks.view(R) if self.m == self.r == 1 else None

    def apply(self, x: Tensor) -> Tensor:
        """S x for x (R r,) or (R r, k)."""
        if self._diagonal is not None:
            return self._diagonal * x if x.ndim == 1 else self._diagonal[:, None] * x
        return (self.blocks @ x.reshape(len(self.blocks), self.r, -1)).reshape(-1, *x.shape[1:])

    def adjoint(self, x: Tensor) -> Tensor:
        """S' x for x (R m,) or (R m, k)."""
        if self._diagonal is not None:
            return self._diagonal * x if x.ndim == 1 else self._diagonal[:, None] * x
        return (self.blocks.mT @ x.reshape(len(self.blocks), self.m, -1)).reshape(-1, *x.shape[1:])

    def sandwich(self, K: Tensor) -> Tensor:
        """S' K S, (R r, R r)."""
        if self._diagonal is not None:
            return K * self._diagonal * self._diagonal[:, None]
        return self.adjoint(self.adjoint(K).T.contiguous())

    def squares(self) -> Tensor:
        """W itself, (R, m, m)."""
        return self.blocks @ self.blocks.mT
