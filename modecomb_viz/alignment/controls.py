"""Controls: no alignment, and a random one."""

from modecomb_viz.alignment.base import Matching, matching_objective
from modecomb_viz.permutation import (
    Params,
    PermutationSpec,
    apply_permutation,
    identity_permutation,
    random_permutation,
)

__all__ = ["identity", "random_matching"]


def identity(spec: PermutationSpec, params_a: Params, params_b: Params, *, seed: int = 0) -> Matching:
    """No alignment: the naive combination, as a control."""
    return Matching(identity_permutation(spec), (matching_objective(spec, params_a, params_b),))


def random_matching(spec: PermutationSpec, params_a: Params, params_b: Params, *, seed: int = 0) -> Matching:
    """A uniformly random permutation of every group, as a control."""
    permutation = random_permutation(spec, seed)
    permuted = apply_permutation(spec, permutation, params_b)
    return Matching(permutation, (matching_objective(spec, params_a, permuted),))
