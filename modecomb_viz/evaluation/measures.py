"""Loss, accuracy and logits of points, added up over chunks of examples."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["QUANTITIES", "Totals", "check_quantities"]

QUANTITIES = ("loss", "accuracy", "loss_deviation", "example_loss", "logits")

#: Quantities that are kept per example, not added up.
_KEPT = ("example_loss", "logits")


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
        sums = {*quantities, *(("loss",) if "loss_deviation" in quantities else ())} - set(_KEPT)
        self._sums = {q: torch.zeros(points, dtype=torch.float64) for q in sums}
        self._kept: dict[str, Tensor] = {}
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
        for quantity, values in (("example_loss", losses), ("logits", logits)):
            if quantity in self._quantities:
                self._keep(quantity, index, start, values)

    def _keep(self, quantity: str, index: Tensor, start: int, values: Tensor):
        """Put values ``[point, example, …]`` in their place."""
        if quantity not in self._kept:
            self._kept[quantity] = values.new_empty(self._points, self._examples, *values.shape[2:], device="cpu")
        self._kept[quantity][index, start : start + values.shape[1]] = values.cpu()

    def means(self) -> dict[str, Tensor]:
        """Loss in nats per example, its deviation over examples, accuracy as a fraction ``[point]``.

        Losses of examples are ``[point, example]``, logits ``[point, example, class]``.
        """
        found = {quantity: total / self._examples for quantity, total in self._sums.items()}
        if "loss_deviation" in found:
            found["loss_deviation"] = (found["loss_deviation"] - found["loss"] ** 2).clamp(min=0).sqrt()
        return found | self._kept
