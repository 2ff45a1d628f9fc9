"""What a search for lambda asks of a linearized model: minima without a fold, or of all samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from .model import LinearModel
    from .solution import LambdaCurve


@dataclass(frozen=True)
class FoldFit:
    """The ``fit`` of :func:`~rlhf_lib.select_lambda` on one Gram matrix.

    Attributes:
        model: linearized at a point that should not know the labels: at a head that was fitted to
            them no fold, and no sample that is left out, is unseen.
        options: of :meth:`LinearModel.minimum`.
    """

    model: LinearModel
    options: Mapping[str, Any]

    @property
    def samples(self) -> int:
        """How many training samples there are."""
        return self.model.samples

    def __call__(
        self, train: Tensor, validation: Tensor, lambdas: Iterable[float], seed: int
    ) -> Iterator[dict[str, float]]:
        """Loss, accuracy (if there is one) and train_loss for each lambda, judged on the fold."""
        last = None
        for value in lambdas:
            last = self.model.minimum(value, start=last, samples=train, **self.options)
            scores = self.model.judge(last, validation, self.options.get("labels"))
            yield {**scores, "train_loss": last.train_loss}

    def path(self, lambdas: Iterable[float]) -> LambdaCurve:
        """The minimum of all samples for each lambda."""
        return self.model.path(lambdas, **self.options)
