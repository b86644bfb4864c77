"""Loss, accuracy and logits of points, added up over chunks of examples."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["QUANTITIES", "Totals", "check_quantities"]

QUANTITIES = ("loss", "accuracy", "loss_deviation", "logits")


def check_quantities(quantities: Sequence[str]):
    """ValueError unless all are known."""
    if unknown := set(quantities) - set(QUANTITIES):
        raise ValueError(f"quantities must be among {', '.join(QUANTITIES)}, got {', '.join(sorted(unknown))}.")


class Totals:
    """Sums over the examples seen so far, float64 on the CPU.

    A network with a logit that is NaN has NaN loss and NaN accuracy.

    Args:
        points, examples: how many there will be.
        quantities: among :data:`QUANTITIES`.
    """

    def __init__(self, points: int, examples: int, quantities: Sequence[str]):
        self._examples, self._quantities = examples, quantities
        sums = {*quantities, *(("loss",) if "loss_deviation" in quantities else ())} - {"logits"}
        self._sums = {q: torch.zeros(points, dtype=torch.float64) for q in sums}
        self._logits: Tensor | None = None
        self._points = points

    def add(
        self,
        points: Sequence[int],
        start: int,
        logits: Float[Tensor, "point example label"],
        y: Int[Tensor, " example"],
    ):
        """The logits of points with these numbers, each once, on the examples from ``start`` on."""
        index = torch.as_tensor(points)
        losses = -F.log_softmax(logits, -1).gather(-1, y.expand(len(logits), -1)[..., None]).squeeze(-1)
        if "loss" in self._sums:
            self._sums["loss"][index] += losses.sum(1, dtype=torch.float64).cpu()
        if "loss_deviation" in self._sums:
            self._sums["loss_deviation"][index] += losses.square().sum(1, dtype=torch.float64).cpu()
        if "accuracy" in self._sums:
            right = logits.argmax(-1) == y
            total = right.sum(1).double()
            if losses.isnan().any():
                total[logits.isnan().flatten(1).any(1)] = torch.nan
            self._sums["accuracy"][index] += total.cpu()
        if "logits" in self._quantities:
            if self._logits is None:
                self._logits = logits.new_empty(self._points, self._examples, logits.shape[-1], device="cpu")
            self._logits[index, start : start + logits.shape[1]] = logits.cpu()

    def means(self) -> dict[str, Tensor]:
        """Loss in nats per example, its deviation over examples, accuracy as a fraction ``[point]``.

        Logits are ``[point, example, class]``.
        """
        found = {quantity: total / self._examples for quantity, total in self._sums.items()}
        if "loss_deviation" in found:
            found["loss_deviation"] = (found["loss_deviation"] - found["loss"] ** 2).clamp(min=0).sqrt()
        return found if self._logits is None else found | {"logits": self._logits}
