"""Weight matching: every group in turn gets the assignment that brings B's weights closest to A's."""

import torch

from modecomb_viz.alignment.base import Matching, assign, matched_names, unit_similarity
from modecomb_viz.executor import checkpoint
from modecomb_viz.permutation import (
    Params,
    Permutation,
    PermutationSpec,
    apply_permutation,
    identity_permutation,
    random_permutation,
    restrict,
)

__all__ = ["check_restarts", "coordinate_ascent", "weight_matching"]


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
    check_restarts(restarts)
    starts = [identity_permutation(spec), *(random_permutation(spec, seed + r) for r in range(1, restarts))]
    runs = [
        coordinate_ascent(spec, params_a, params_b, start, torch.Generator().manual_seed(seed + r), max_sweeps)
        for r, start in enumerate(starts)
    ]
    best = max(runs, key=lambda run: run.objective[-1])
    return best._replace(restarts=tuple(run.objective[-1] for run in runs))


def check_restarts(restarts: int):
    """Raise a ValueError unless there is at least one start."""
    if restarts < 1:
        raise ValueError(f"restarts must be at least 1, got {restarts}.")


def coordinate_ascent(
    spec: PermutationSpec,
    params_a: Params,
    params_b: Params,
    start: Permutation,
    generator: torch.Generator,
    max_sweeps: int = 100,
) -> Matching:
    """Assign group after group, in random order, until a whole sweep over all groups improves nothing."""
    permutation, names = dict(start), matched_names(spec)
    current = apply_permutation(spec, permutation, params_b)
    products = {name: _product(params_a, current, name) for name in names}
    parts = {group: restrict(spec, dict.fromkeys(name for name, _ in spec.places[group])) for group in spec.sizes}
    trace, groups = [sum(products.values())], list(spec.sizes)
    for _ in range(max_sweeps):
        improved = False
        for i in torch.randperm(len(groups), generator=generator).tolist():
            checkpoint()
            group, part = groups[i], parts[groups[i]]
            step = {group: assign(unit_similarity(spec, params_a, current, group))}
            moved = apply_permutation(part, step, {name: current[name] for name in part.axes_to_perm})
            changed = {name: _product(params_a, moved, name) for name in moved if name in products}
            objective = sum({**products, **changed}.values())
            if objective > trace[-1] + 1e-12 * abs(trace[-1]):
                permutation[group] = permutation[group][step[group]]
                current, products, improved = {**current, **moved}, {**products, **changed}, True
                trace.append(objective)
        if not improved:
            break
    return Matching(permutation, tuple(trace))


def _product(params_a: Params, params_b: Params, name: str) -> float:
    return (params_a[name].double() * params_b[name].double()).sum().item()
