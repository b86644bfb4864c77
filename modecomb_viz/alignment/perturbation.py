"""Perturbed matchings: how much of an alignment may be wrong before the combination fails."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from modecomb_viz.alignment.base import Alignment, assign, objective_of, unit_similarity
from modecomb_viz.permutation import check_strength, shuffle

__all__ = ["PERTURBATIONS", "perturb_alignment", "perturbed_in"]


def _perturb_shuffle(alignment: Alignment, strength: float, seed: int) -> dict[str, Tensor]:
    return shuffle(alignment.permutation, strength, seed)


def _perturb_noise(alignment: Alignment, strength: float, seed: int) -> dict[str, Tensor]:
    """Solve every assignment again with (1 − s)·S + s·std(S)·N(0, 1), which has the optimum of S + s/(1 − s)·std·N."""
    known = alignment.similarities
    if known is None and alignment.method != "weight_matching":
        raise ValueError(
            f"kind 'noise' perturbs the similarities that a matching maximised unit by unit; alignment "
            f"'{alignment.method}' maximised none. Use kind='shuffle', or align with 'weight_matching' or "
            "'activation_matching'."
        )
    generator = torch.Generator().manual_seed(seed)
    perturbed = {}
    for group, p in alignment.permutation.items():
        if known is None:
            similarity = unit_similarity(alignment.spec, alignment.params_a, alignment.params, group)
        else:
            similarity = known[group][:, p]
        noise = torch.randn(similarity.shape, generator=generator, dtype=torch.float64)
        noisy = (1 - strength) * similarity + strength * similarity.std(correction=0) * noise
        perturbed[group] = p[assign(noisy)]
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
    objective = (objective_of(alignment, permutation),)
    return replace(alignment, permutation=permutation, objective=objective, restarts=(), base=alignment)


def perturbed_in(alignment: Alignment, groups: Sequence[str]) -> Alignment:
    """A perturbed alignment, its perturbation undone but for these groups.

    Raises:
        ValueError: for a group that the network has not.
    """
    if unknown := set(groups) - set(alignment.permutation):
        raise ValueError(f"groups must be among {', '.join(alignment.permutation)}, got {', '.join(sorted(unknown))}.")
    if alignment.base is None:
        return alignment
    base = alignment.base.permutation
    permutation = {group: p if group in groups else base[group] for group, p in alignment.permutation.items()}
    return replace(alignment, permutation=permutation, objective=(objective_of(alignment.base, permutation),))
