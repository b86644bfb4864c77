"""Alignment: the permutation that brings the units of B onto those of A, and its perturbation.

A method is one function ``(spec, params_a, params_b, *, seed, …) -> Matching`` and one line in :data:`METHODS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
    check_params,
    check_strength,
    churn,
    identity_permutation,
    random_permutation,
    shuffle,
)

__all__ = [
    "METHODS",
    "PERTURBATIONS",
    "Alignment",
    "Matching",
    "align",
    "matching_objective",
    "perturb_alignment",
    "unit_similarity",
]


class Matching(NamedTuple):
    """What a method finds: B's permutation, the objective at every step, and where each restart ended."""

    permutation: dict[str, Tensor]
    objective: tuple[float, ...]
    restarts: tuple[float, ...] = ()


@dataclass(frozen=True)
class Alignment:
    """B permuted onto A.

    Attributes:
        spec, params_a, params_b: what was aligned; ``params_b`` is B as it came.
        permutation: of B's units, ``params = apply_permutation(spec, permutation, params_b)``.
        method: the name of the method.
        objective: the matching objective (see :func:`matching_objective`) at every step of the method.
        restarts: the objective that each restart reached; the best was taken.
        base: the alignment before a perturbation, else None.
    """

    spec: PermutationSpec = field(repr=False)
    params_a: Params = field(repr=False)
    params_b: Params = field(repr=False)
    permutation: Permutation = field(repr=False)
    method: str
    objective: tuple[float, ...] = field(repr=False)
    restarts: tuple[float, ...] = ()
    base: "Alignment | None" = field(default=None, repr=False)

    @cached_property
    def params(self) -> dict[str, Tensor]:
        """π(Θ_B), the aligned weights."""
        return apply_permutation(self.spec, self.permutation, self.params_b)

    @cached_property
    def churn(self) -> float:
        """Share of the units that the perturbation moved; 0 without one."""
        return churn(self.base.permutation, self.permutation) if self.base else 0.0

    @cached_property
    def objective_lost(self) -> float:
        """(F(π) − F(π′)) / (F(π) − F(id)): the share of the matching's gain that the perturbation lost.

        0 is the matching itself, 1 as good as no matching; more than 1 is worse than none. NaN where the matching
        gained nothing.
        """
        if self.base is None:
            return 0.0
        matched, naive = self.base.objective[-1], _objective_at(self, identity_permutation(self.spec))
        return (matched - self.objective[-1]) / (matched - naive) if matched != naive else float("nan")


def _objective_at(alignment: Alignment, permutation: Permutation) -> float:
    permuted = apply_permutation(alignment.spec, permutation, alignment.params_b)
    return matching_objective(alignment.spec, alignment.params_a, permuted)


def _matched_names(spec: PermutationSpec) -> list[str]:
    return [name for name in spec.axes_to_perm if name not in spec.statistics]


def matching_objective(spec: PermutationSpec, params_a: Params, params_b: Params) -> float:
    """F = Σ ⟨Θ_A, Θ_B⟩ over all trained tensors, in float64; the larger, the closer are A and B.

    Running statistics are left out. Maximising it over π minimises ‖Θ_A − π(Θ_B)‖ (Git Re-Basin, eq. 1).
    """
    return sum((params_a[name].double() * params_b[name].double()).sum().item() for name in _matched_names(spec))


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
        if name not in spec.statistics:
            a, b = (_unit_rows(spec, params[name], name, axis, group) for params in (params_a, params_b))
            total += (a @ b.T).cpu()
    return total


def _unit_rows(spec: PermutationSpec, tensor: Tensor, name: str, axis: int, group: str) -> Float[Tensor, "unit weight"]:
    """All weights of a tensor that belong to each unit of the group along one axis."""
    entry = spec.axes_to_perm[name][axis]
    pieces = ((entry, 1),) if isinstance(entry, str) else entry
    lengths = [block * spec.sizes.get(owner, 1) for owner, block in pieces]
    parts = tensor.double().movedim(axis, 0).split(lengths)
    rows = [
        part.reshape(spec.sizes[group], -1) for part, (owner, _) in zip(parts, pieces, strict=True) if owner == group
    ]
    return torch.cat(rows, 1)


def _assign(similarity: Float[Tensor, "unit unit"]) -> Tensor:
    """p with Σ_i S[i, p[i]] maximal (Hungarian algorithm of scipy)."""
    return torch.as_tensor(linear_sum_assignment(similarity.numpy(), maximize=True)[1])


def weight_matching(
    spec: PermutationSpec,
    params_a: Params,
    params_b: Params,
    *,
    seed: int = 0,
    restarts: int = 1,
    max_sweeps: int = 100,
) -> Matching:
    """Coordinate descent over the groups: each in turn gets its optimal assignment given all others.

    Groups are visited in random order until a whole sweep improves nothing. The first run starts at the
    identity, each further restart at a random permutation; the best objective wins. A step is taken only when it
    raises the objective, so the trace never decreases.

    Source: Ainsworth, Hayase, Srinivasa, "Git Re-Basin", ICLR 2023, algorithm 1.
    """
    if restarts < 1:
        raise ValueError(f"restarts must be at least 1, got {restarts}.")
    starts = [identity_permutation(spec), *(random_permutation(spec, seed + r) for r in range(1, restarts))]
    runs = [
        _coordinate_descent(spec, params_a, params_b, start, torch.Generator().manual_seed(seed + r), max_sweeps)
        for r, start in enumerate(starts)
    ]
    best = max(runs, key=lambda run: run.objective[-1])
    return best._replace(restarts=tuple(run.objective[-1] for run in runs))


def _coordinate_descent(
    spec: PermutationSpec,
    params_a: Params,
    params_b: Params,
    start: Permutation,
    generator: torch.Generator,
    max_sweeps: int,
) -> Matching:
    permutation = dict(start)
    current = apply_permutation(spec, permutation, params_b)
    trace = [matching_objective(spec, params_a, current)]
    groups = list(spec.sizes)
    for _ in range(max_sweeps):
        improved = False
        for i in torch.randperm(len(groups), generator=generator).tolist():
            step = {groups[i]: _assign(unit_similarity(spec, params_a, current, groups[i]))}
            candidate = apply_permutation(spec, step, current)
            objective = matching_objective(spec, params_a, candidate)
            if objective > trace[-1] + 1e-12 * abs(trace[-1]):
                permutation[groups[i]] = permutation[groups[i]][step[groups[i]]]
                current, improved = candidate, True
                trace.append(objective)
        if not improved:
            break
    return Matching(permutation, tuple(trace))


def identity(spec: PermutationSpec, params_a: Params, params_b: Params, *, seed: int = 0) -> Matching:
    """No alignment: the naive combination, as a control."""
    return Matching(identity_permutation(spec), (matching_objective(spec, params_a, params_b),))


def random_matching(spec: PermutationSpec, params_a: Params, params_b: Params, *, seed: int = 0) -> Matching:
    """A uniformly random permutation of every group, as a control."""
    permutation = random_permutation(spec, seed)
    permuted = apply_permutation(spec, permutation, params_b)
    return Matching(permutation, (matching_objective(spec, params_a, permuted),))


#: The methods by name.
METHODS: dict[str, Callable[..., Matching]] = {
    "weight_matching": weight_matching,
    "identity": identity,
    "random": random_matching,
}


def align(
    spec: PermutationSpec,
    params_a: Params,
    params_b: Params,
    method: str = "weight_matching",
    seed: int = 0,
    **options: object,
) -> Alignment:
    """Permute the hidden units of B onto those of A.

    Args:
        method: "weight_matching", "identity" or "random".
        seed: of the order of groups and of random starts.
        options: of the method, such as ``restarts=4``.

    Raises:
        ValueError: for an unknown method or option, weights that do not fit the spec, or weights that are not finite.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    for name, params in (("params_a", params_a), ("params_b", params_b)):
        check_params(spec.shapes, params, name)
        _check_finite(name, params)
    try:
        matching = METHODS[method](spec, params_a, params_b, seed=seed, **options)
    except TypeError as error:
        raise ValueError(f"method '{method}' does not take these options: {error}") from error
    return Alignment(spec, params_a, params_b, method=method, **matching._asdict())


def _check_finite(name: str, params: Params):
    broken = [key for key, tensor in params.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(
            f"{name} has values that are not finite in {', '.join(map(repr, broken[:5]))}. "
            "Did its training diverge? A matching of NaN means nothing."
        )


def _perturb_shuffle(alignment: Alignment, strength: float, seed: int) -> dict[str, Tensor]:
    return shuffle(alignment.permutation, strength, seed)


def _perturb_noise(alignment: Alignment, strength: float, seed: int) -> dict[str, Tensor]:
    """Solve every assignment again with (1 − s)·S + s·std(S)·N(0, 1), which has the optimum of S + s/(1 − s)·std·N."""
    if alignment.method != "weight_matching":
        raise ValueError(
            f"kind 'noise' perturbs the similarities that a matching maximised; alignment '{alignment.method}' "
            "maximised none. Use kind='shuffle', or align with 'weight_matching'."
        )
    generator = torch.Generator().manual_seed(seed)
    perturbed = {}
    for group, p in alignment.permutation.items():
        similarity = unit_similarity(alignment.spec, alignment.params_a, alignment.params, group)
        noise = torch.randn(similarity.shape, generator=generator, dtype=torch.float64)
        noisy = (1 - strength) * similarity + strength * similarity.std(correction=0) * noise
        perturbed[group] = p[_assign(noisy)]
    return perturbed


#: Kinds of perturbation by name. All give their input at strength 0.
PERTURBATIONS: Mapping[str, Callable[[Alignment, float, int], dict[str, Tensor]]] = {
    "shuffle": _perturb_shuffle,
    "noise": _perturb_noise,
}


def perturb_alignment(alignment: Alignment, strength: float, kind: str = "shuffle", seed: int = 0) -> Alignment:
    """The alignment with its matching perturbed; strength 0 returns it as it is.

    ``shuffle``: round(s·n) units of every group are re-assigned without fixed points, nested in s (see
    :func:`~modecomb_viz.permutation.shuffle`). ``noise``: every similarity matrix gets s/(1−s)·std·N(0, 1), the same
    draw for all s of one seed, and its assignment is solved again; s = 1 is a uniformly random permutation.
    The result reports its ``churn`` and ``objective_lost``. Both definitions are ours.

    Raises:
        ValueError: for a strength outside [0, 1], an unknown kind, or noise on an alignment without similarities.
    """
    strength = check_strength(strength)
    if kind not in PERTURBATIONS:
        raise ValueError(f"kind of perturbation must be one of {', '.join(PERTURBATIONS)}, got {kind!r}.")
    if strength == 0.0:
        return alignment
    permutation = PERTURBATIONS[kind](alignment, strength, seed)
    objective = (_objective_at(alignment, permutation),)
    return replace(alignment, permutation=permutation, objective=objective, restarts=(), base=alignment)
