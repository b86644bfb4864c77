"""Activation matching: units that answer alike to the same data belong together."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from modecomb_viz.alignment.base import Matching, assign
from modecomb_viz.executor import checkpoint
from modecomb_viz.permutation import Params, PermutationSpec
from modecomb_viz.tracing import Activations, Tap

__all__ = ["activation_matching", "unit_correlation"]


@dataclass
class _Moments:
    """Sums over samples of the activations of A and B at one place, in float64."""

    count: int
    a: Tensor
    b: Tensor
    aa: Tensor
    bb: Tensor
    ab: Tensor

    @classmethod
    def empty(cls, units: int, device: torch.device) -> "_Moments":
        """Nothing seen yet."""
        vectors = [torch.zeros(units, dtype=torch.float64, device=device) for _ in range(4)]
        return cls(0, *vectors, torch.zeros(units, units, dtype=torch.float64, device=device))

    def add(self, a: Float[Tensor, "sample unit"], b: Float[Tensor, "sample unit"], shift: tuple[Tensor, Tensor]):
        """Take in samples; both are shifted near zero first, which changes no correlation but the rounding."""
        a, b = (values - offset for values, offset in zip((a, b), shift, strict=True))
        self.count += len(a)
        self.ab += (a.T @ b).double()
        for values, total, squares in ((a, self.a, self.aa), (b, self.b, self.bb)):
            total += values.sum(0, dtype=torch.float64)
            squares += values.square().sum(0, dtype=torch.float64)

    def correlation(self) -> Float[Tensor, "unit unit"]:
        """Of every unit of A with every unit of B; a unit that never changes correlates with none: 0."""
        covariance = self.ab / self.count - torch.outer(self.a, self.b) / self.count**2
        spread_a, spread_b = (
            (squares / self.count - (total / self.count).square()).clamp_min(0).sqrt()
            for total, squares in ((self.a, self.aa), (self.b, self.bb))
        )
        product = torch.outer(spread_a, spread_b)
        return torch.where(product > 1e-12, covariance / product, 0.0)


def unit_correlation(
    spec: PermutationSpec, params_a: Params, params_b: Params, model: nn.Module, x: Tensor, *, batch: int = 256
) -> dict[str, Float[Tensor, "unit unit"]]:
    """Per group, the Pearson correlation of the activations of every unit of A with every unit of B.

    Samples are the examples of ``x`` times all positions (pixels, tokens). A group that is seen in several places, such
    as a residual stream, gets the mean of their correlations. Examples are read batch by batch and only sums are
    kept, so x may have any length.
    """
    if batch < 1 or not len(x):
        raise ValueError(f"batch must be at least 1 and x hold an example, got {batch} and {len(x)} examples.")
    device = x.device
    reader = Activations(model, spec)
    weights = [{name: t.to(device, torch.float32) for name, t in params.items()} for params in (params_a, params_b)]
    moments: dict[Tap, _Moments] = {}
    shifts: dict[Tap, tuple[Tensor, Tensor]] = {}
    for part in x.split(batch):
        checkpoint()
        for tap, a, b in _both(reader, weights, part):
            if tap not in moments:
                moments[tap] = _Moments.empty(spec.sizes[tap.group], device)
                shifts[tap] = (a.mean(0), b.mean(0))
            moments[tap].add(a, b, shifts[tap])
    seen: dict[str, list[Tensor]] = {group: [] for group in spec.sizes}
    for tap, moment in moments.items():
        seen[tap.group].append(moment.correlation().cpu())
    return {group: torch.stack(found).mean(0) for group, found in seen.items() if found}


def _both(reader: Activations, weights: list[dict[str, Tensor]], x: Tensor) -> Iterator[tuple[Tap, Tensor, Tensor]]:
    for (tap, a), (_, b) in zip(*(reader.units(params, x) for params in weights), strict=True):
        yield tap, a, b


def activation_matching(
    spec: PermutationSpec,
    params_a: Params,
    params_b: Params,
    *,
    model: nn.Module,
    x: Tensor,
    seed: int = 0,
    batch: int = 256,
) -> Matching:
    """Every group gets the assignment with the largest sum of correlations (:func:`unit_correlation`).

    The objective is the mean correlation of matched units, first of the identity, then of the matching. Nothing is
    random: ``seed`` is taken so that all methods are called alike.

    Source: Li, Yosinski, Clune, Lipson, Hopcroft, "Convergent Learning", 2016; Ainsworth et al., "Git Re-Basin",
    ICLR 2023, section 3.1; activations as in Jordan et al., "REPAIR", ICLR 2023.
    """
    similarities = unit_correlation(spec, params_a, params_b, model, x, batch=batch)
    permutation = {group: assign(similarities[group]) for group in spec.sizes}
    naive = _mean_along(similarities, {group: torch.arange(n) for group, n in spec.sizes.items()})
    return Matching(permutation, (naive, _mean_along(similarities, permutation)), similarities=similarities)


def _mean_along(similarities: dict[str, Tensor], permutation: dict[str, Tensor]) -> float:
    matched = [similarities[group][torch.arange(len(p)), p] for group, p in permutation.items()]
    return torch.cat(matched).mean().item() if matched else float("nan")
