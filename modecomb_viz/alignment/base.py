"""What all alignments share: the result, the objective in weights, similarities, assignments."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from modecomb_viz.permutation import (
    Params,
    Permutation,
    PermutationSpec,
    apply_permutation,
    churn,
    identity_permutation,
    pieces_of,
)

__all__ = ["Alignment", "Matching", "assign", "matched_names", "matching_objective", "objective_of", "unit_similarity"]


class Matching(NamedTuple):
    """What a method finds.

    Attributes:
        permutation: of B's units.
        objective: what the method maximised, or minimised, at every step.
        restarts: where each restart ended, if there were several.
        similarities: per group ``[unit of A, unit of B]``, what its assignment maximised, if not the weights.
    """

    permutation: dict[str, Tensor]
    objective: tuple[float, ...]
    restarts: tuple[float, ...] = ()
    similarities: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class Alignment:
    """B permuted onto A.

    Attributes:
        spec, params_a, params_b: what was aligned; ``params_b`` is B as it came.
        permutation: of B's units, ``params = apply_permutation(spec, permutation, params_b)``.
        method: the name of the method.
        objective: what the method maximised (``random``, ``identity`` and weights: :func:`matching_objective`), or
            the loss that it minimised, at every step.
        restarts: the objective that each restart reached; the best was taken.
        base: the alignment before a perturbation, else None.
        similarities: per group ``[unit of A, unit of B]``, what the assignment maximised, if not the weights.
    """

    spec: PermutationSpec = field(repr=False)
    params_a: Params = field(repr=False)
    params_b: Params = field(repr=False)
    permutation: Permutation = field(repr=False)
    method: str
    objective: tuple[float, ...] = field(repr=False)
    restarts: tuple[float, ...] = ()
    base: "Alignment | None" = field(default=None, repr=False)
    similarities: Mapping[str, Tensor] | None = field(default=None, repr=False)

    @cached_property
    def params(self) -> dict[str, Tensor]:
        """π(Θ_B), the aligned weights."""
        return apply_permutation(self.spec, self.permutation, self.params_b)

    @cached_property
    def churn(self) -> float:
        """Share of the units that the perturbation moved; 0 without one."""
        return churn(self.base.permutation, self.permutation) if self.base else 0.0

    @cached_property
    def matched(self) -> tuple[float, float]:
        """:func:`matching_objective` of A with B as it came, and with π(B)."""
        return objective_of(self, identity_permutation(self.spec)), objective_of(self, self.permutation)

    @cached_property
    def objective_lost(self) -> float:
        """(F(π) − F(π′)) / (F(π) − F(id)): the share of the matching's gain that the perturbation lost.

        F is :func:`matching_objective`, whatever the method, so that methods can be compared. 0 is the matching itself,
        1 as good as no matching; more than 1 is worse than none. NaN where the matching gained nothing.
        """
        if self.base is None:
            return 0.0
        (naive, matched), (_, perturbed) = self.base.matched, self.matched
        return (matched - perturbed) / (matched - naive) if matched != naive else float("nan")


def objective_of(alignment: Alignment, permutation: Permutation) -> float:
    """:func:`matching_objective` of what an alignment aligned, under another permutation."""
    permuted = apply_permutation(alignment.spec, permutation, alignment.params_b)
    return matching_objective(alignment.spec, alignment.params_a, permuted)


def matched_names(spec: PermutationSpec) -> list[str]:
    """The tensors that a matching compares: trained ones, each under its first name."""
    return [name for name in spec.axes_to_perm if name not in spec.statistics and name not in spec.tied]


def matching_objective(spec: PermutationSpec, params_a: Params, params_b: Params) -> float:
    """F = Σ ⟨Θ_A, Θ_B⟩ over all trained tensors, in float64; the larger, the closer are A and B.

    Running statistics are left out. Maximising it over π minimises ‖Θ_A − π(Θ_B)‖ (Git Re-Basin, eq. 1).
    """
    return sum((params_a[name].double() * params_b[name].double()).sum().item() for name in matched_names(spec))


def unit_similarity(
    spec: PermutationSpec, params_a: Params, params_b: Params, group: str
) -> Float[Tensor, "unit unit"]:
    """S[i, j] = Σ over the axes of the group of ⟨unit i of A, unit j of B⟩, float64 on the CPU.

    ``params_b`` comes with all other groups permuted already, so S[i, p[i]] summed over i is what the
    group contributes to the objective.
    """
    n = spec.sizes[group]
    total = torch.zeros(n, n, dtype=torch.float64)
    for name, axis in spec.places[group]:
        if name not in spec.statistics and name not in spec.tied:
            a, b = (_unit_rows(spec, params[name], name, axis, group) for params in (params_a, params_b))
            total += (a @ b.T).cpu()
    return total


def _unit_rows(spec: PermutationSpec, tensor: Tensor, name: str, axis: int, group: str) -> Float[Tensor, "unit weight"]:
    """All weights of a tensor that belong to each unit of the group along one axis."""
    pieces = pieces_of(spec, name, axis)
    parts = tensor.double().movedim(axis, 0).split([length for _, _, length in pieces])
    rows = [
        part.reshape(spec.sizes[group], -1) for part, (owner, _, _) in zip(parts, pieces, strict=True) if owner == group
    ]
    return torch.cat(rows, 1)


def assign(similarity: Float[Tensor, "unit unit"]) -> Tensor:
    """p with Σ_i S[i, p[i]] maximal (Hungarian algorithm of scipy)."""
    return torch.as_tensor(linear_sum_assignment(similarity.numpy(), maximize=True)[1])
