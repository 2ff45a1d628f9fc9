"""Exact float64 in two architectures that compute in float32 inside, whatever their dtype.

T5's norm takes its mean of squares in float32, ModernBERT's attention its rotations and softmax:
seven digits are left, too few to compare curvature with finite differences. And in float32 the
least number of float64, by which padding is masked, is -infinity: a query of ModernBERT that has
nothing to look at gets NaN. In float32 both stay as transformers has them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.modernbert.modeling_modernbert import ModernBertAttention, rotate_half
from transformers.models.t5.modeling_t5 import T5LayerNorm


class Float64Norm(T5LayerNorm):
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension (Zhang and Sennrich, 2019)."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        mean = hidden_states.square().mean(-1, keepdim=True)
        return self.weight * hidden_states * torch.rsqrt(mean + self.variance_epsilon)


class Float64Attention(ModernBertAttention):
    """Softmax attention on rotated queries and keys (Su et al., 2021), eager."""

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> tuple[Tensor, Tensor]:
        assert position_embeddings is not None  # the model always gives them
        shape = hidden_states.shape[:-1]  # (n, T)
        q, k, v = self.Wqkv(hidden_states).view(*shape, 3, -1, self.head_dim).unbind(-3)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # (n, heads, T, d)
        cos, sin = (x.unsqueeze(1).to(q.dtype) for x in position_embeddings)
        q, k = (x * cos + rotate_half(x) * sin for x in (q, k))
        weights = q @ k.transpose(2, 3) * self.head_dim**-0.5
        if attention_mask is not None:
            weights = weights + attention_mask
        weights = nn.functional.dropout(weights.softmax(-1), self.attention_dropout, self.training)
        attended = (weights @ v).transpose(1, 2).reshape(*shape, -1)
        return self.out_drop(self.Wo(attended)), weights


EXACT: dict[type[nn.Module], type[nn.Module]] = {
    T5LayerNorm: Float64Norm,
    ModernBertAttention: Float64Attention,
}


def keep_float64(model: nn.Module) -> None:
    """Exchange, in place, the modules of a float64 model that would go through float32."""
    for module in model.modules():
        exact = EXACT.get(type(module))
        if exact is not None and next(module.parameters()).dtype == torch.float64:
            # Another class, not another forward: a deep copy keeps the one and loses the other.
            module.__class__ = exact
