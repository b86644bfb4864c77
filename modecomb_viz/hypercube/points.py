"""Networks as mixtures of ends, described before they are made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from modecomb_viz.hypercube.coefficients import Coefficients
from modecomb_viz.permutation import Params

__all__ = ["Combinations", "Points", "combine", "mixed", "segment"]


def combine(params_a: Params, params_b: Params, coefficients: Coefficients) -> dict[str, Tensor]:
    """Θ(Λ) = (1 − Λ) ⊙ Θ_A + Λ ⊙ Θ_B for every point, with a leading point axis.

    Computed as a linear interpolation from the nearer end, which is exact at Λ = 0, at Λ = 1 and for
    Θ_A = Θ_B. Nothing is clipped: outside the cube a mixed running variance may be negative.
    """
    points = Points((params_a, params_b), (coefficients,))
    return {name: points.weight(name) for name in params_a}


def mixed(ends: Sequence[Tensor], coefficients: Sequence[Tensor], *, in_place: bool = True) -> Tensor:
    """(1 − Σ Λ_k) ⊙ T_A + Σ Λ_k ⊙ T_k; with two ends, exact at Λ = 0 and at Λ = 1.

    ``in_place=False`` is for vmap, which cannot add to a tensor of its own.
    """
    first, *others = ends
    if len(others) == 1:
        return torch.lerp(first, others[0], coefficients[0])
    total = (1 - sum(coefficients)) * first
    for coefficient, other in zip(coefficients, others, strict=True):
        total = torch.addcmul(total, coefficient, other, out=total if in_place else None)
    return total


@dataclass(frozen=True)
class Points:
    """Networks, described: Θ_A + Σ_k Λ_k ⊙ (Θ_k − Θ_A), and tensors that are given outright.

    Attributes:
        ends: Θ_A and the other ends.
        coefficients: of every other end, per tensor ``[point, …]``, broadcastable against ``[point, *shape]``.
        given: tensors ``[point, *shape]`` that are no mixture of ends, such as statistics that were measured again.
    """

    ends: tuple[Params, ...]
    coefficients: tuple[Coefficients, ...]
    given: Params = field(default_factory=dict)

    def __len__(self) -> int:
        tables = (*self.coefficients, self.given)
        return len(next(tensor for table in tables for tensor in table.values()))

    def weight(self, name: str, index: int | Tensor | slice = slice(None)) -> Tensor:
        """A tensor of the points with these numbers; with a point axis unless there is one number."""
        if name in self.given:
            return self.given[name][index]
        shape = self.ends[0][name].shape
        shares = [self.coefficient(name, k, index) for k in range(len(self.coefficients))]
        # lerp broadcasts its weight, but faster when told so
        spread = [share.expand(*share.shape[: share.ndim - len(shape)], *shape) for share in shares]
        return mixed([end[name] for end in self.ends], spread)

    def coefficient(self, name: str, k: int = 0, index: int | Tensor | slice = slice(None)) -> Tensor:
        """Λ_k of a tensor, on its device and in its type, of the points with these numbers."""
        return self.coefficients[k][name][index].to(self.ends[0][name])

    def weights(self, index: int | Tensor | slice = slice(None)) -> dict[str, Tensor]:
        """All tensors of the points with these numbers."""
        names = dict.fromkeys([*(self.ends[0] if self.ends else ()), *self.given])
        return {name: self.weight(name, index) for name in names}


@dataclass(frozen=True, eq=False)
class Combinations:
    """A family of networks by coordinates: Θ(x) = Θ_A + Σ_k Λ_k(x) ⊙ (Θ_k − Θ_A).

    Calling it gives weights with a leading point axis.

    Attributes:
        params_a: Θ_A.
        others: the other ends, one or two.
        coefficients: coordinates ``[point, …]`` to the coefficients Λ_k of every other end.
        affine: the same networks as mixtures of other ends by numbers alone, as which they are made where it is there.
    """

    params_a: Params
    others: tuple[Params, ...]
    coefficients: Callable[[Tensor], tuple[Coefficients, ...]]
    affine: "Combinations | None" = None

    def points(self, coordinates: Tensor) -> Points:
        """The networks at these coordinates, described."""
        made = self.affine or self
        return Points((made.params_a, *made.others), made.coefficients(coordinates))

    def __call__(self, coordinates: Tensor) -> dict[str, Tensor]:
        return self.points(coordinates).weights()


def segment(params_a: Params, params_b: Params) -> Combinations:
    """t ↦ (1 − t)·Θ_A + t·Θ_B, for coordinates ``[point]``."""

    def at(t: Tensor) -> tuple[Coefficients]:
        return ({name: t.to(a).reshape(-1, *[1] * a.ndim) for name, a in params_a.items()},)

    return Combinations(params_a, (params_b,), at)
