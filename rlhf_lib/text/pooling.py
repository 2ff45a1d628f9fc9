"""One vector for a text from those of its tokens, as the folder of a model states it.

Models for sentences are trained with a pooling of their own (Reimers and Gurevych, 2019, section 3,
"Sentence-BERT"). Their folders say which: `modules.json` lists the parts, `1_Pooling/config.json`
the mode, and a part `Normalize` divides by the 2-norm.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..arguments import flag, real

MODES = ("mean", "cls", "max", "mean_sqrt_len_tokens")
# The same as single switches, as folders of older versions have them.
_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
NORMALIZED_SCALE = 8.0


@dataclass(frozen=True)
class Pooling:
    """`pooling(hidden, mask)`: a text's features, whatever padding stands behind its tokens.

    mode: "mean" of the tokens, "cls" (the first one), "max" (of each feature over the tokens), or
        "mean_sqrt_len_tokens" (their sum over the root of their number).
    normalize: divide the result by its 2-norm.
    scale: what the features are multiplied by; None: 8 where they are normalized, else 1. It is a
        choice of design, no parameter: a head of norm |w| on features of length s does what one of
        norm s |w| does on unit features, so a penalty λ on the head acts as λ / s² would there. At
        length 1 the logits of a small head hardly differ, and training is slow.

    Raises ValueError with what was expected.
    """

    mode: str = "mean"
    normalize: bool = False
    scale: float | None = None

    def __post_init__(self):
        if self.mode not in MODES:
            raise ValueError(f"pooling: expected one of {', '.join(MODES)}, got {self.mode!r}.")
        scale = self.scale
        if flag("pooling: normalize", self.normalize) and scale is None:
            scale = NORMALIZED_SCALE
        scale = 1.0 if scale is None else scale
        if not 0 < real("pooling: scale", scale, finite=False) < float("inf"):
            raise ValueError(f"pooling: expected a finite scale > 0, got {scale!r}.")
        object.__setattr__(self, "scale", scale)

    def __call__(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """(n, d) of hidden states (n, T, d).

        mask: (n, T), 0 for padding and else not; or as it is added to attention, (n, 1, 1, T), 0
            for tokens and else not; None: all are tokens.
        """
        if mask is None:
            tokens = torch.ones_like(hidden[..., 0])
        else:
            tokens = mask != 0 if mask.ndim == 2 else mask[:, 0, 0] == 0
        if self.mode == "cls":
            pooled = hidden[:, 0]
        else:
            pooled = self._over_tokens(hidden, tokens[..., None].to(hidden.dtype))
        if self.normalize:
            pooled = nn.functional.normalize(pooled, dim=-1)
        assert self.scale is not None  # see __post_init__
        return pooled * self.scale

    def _over_tokens(self, hidden: Tensor, mask: Tensor) -> Tensor:
        if self.mode == "max":
            return hidden.masked_fill(mask == 0, torch.finfo(hidden.dtype).min).amax(1)
        length = mask.sum(1)
        return (hidden * mask).sum(1) / (length if self.mode == "mean" else length.sqrt())

    def as_dict(self) -> dict:
        """For a config: `Pooling(**config.pooling)` is this again."""
        return asdict(self)


def stated_pooling(folder: Path) -> Pooling | None:
    """What a folder's `modules.json` states; None where there is no such file.

    Raises ValueError, naming the part, for one that is not known here.
    """
    modules = folder / "modules.json"
    if not modules.is_file():
        return None
    parts = json.loads(modules.read_text())
    kinds = [part["type"].rpartition(".")[2] for part in parts]
    cure = 'Do: say what to use instead, pooling="mean" or another, or "model" for its own head.'
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        raise ValueError(
            f"{modules}: expected Transformer, Pooling and perhaps Normalize, got "
            f"{', '.join(kinds)}. {cure}"
        )
    path = folder / parts[1]["path"] / "config.json"
    config = json.loads(path.read_text())
    mode = config.get("pooling_mode")
    if mode is None:
        # Without any the mean is meant.
        mode = [name for switch, name in _SWITCHES.items() if config.get(switch)] or ["mean"]
    modes = [mode] if isinstance(mode, str) else list(mode)
    if len(modes) > 1 or modes[0] not in MODES:
        raise ValueError(
            f"{path}: expected one pooling of {', '.join(MODES)}, got {' and '.join(modes)}. {cure}"
        )
    return Pooling(modes[0], normalize="Normalize" in kinds)


def choose_pooling(
    chosen: str | Pooling | None, config, folder: Path | None = None
) -> Pooling | None:
    """The pooling that a classifier is to have; None for the architecture's own head.

    chosen: of `load_model`. config: of the model; one that was saved with a pooling has it.
    folder: where the model lies, if it does.
    """
    if chosen == "model":
        return None
    if isinstance(chosen, Pooling):
        return chosen
    if chosen is not None and chosen not in MODES:
        raise ValueError(
            f'pooling: expected one of {", ".join(MODES)}, "model", a Pooling or None, got '
            f"{chosen!r}."
        )
    saved = getattr(config, "pooling", None)
    found: Pooling | None = None
    try:
        if saved:
            found = Pooling(**saved)
        elif folder is not None:
            found = stated_pooling(folder)
    except ValueError:
        if chosen is None:
            raise
    if chosen is None:
        return found
    normalize = found is not None and found.normalize
    return found if found and found.mode == chosen else Pooling(chosen, normalize)
