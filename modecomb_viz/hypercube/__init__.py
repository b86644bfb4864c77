"""The hypercube between two modes: who shares a coefficient, laws of coefficients, segments and planes.

    Θ(Λ) = (1 − Λ) ⊙ Θ_A + Λ ⊙ π(Θ_B)

Coefficients are ``dict[tensor name, Tensor]`` with a leading point axis, each broadcastable against
``[point, *shape]`` of its tensor, so that one number per layer costs one number. Every point is computed
from the end points; Λ = 0 and Λ = 1 give A and π(B) to the bit, and a network combined with itself is itself.
"""

from modecomb_viz.hypercube.coefficients import (
    GRANULARITIES,
    LAWS,
    Coefficients,
    Law,
    Parameter,
    check_granularity,
    check_law,
    expand,
    layer_mask,
    sample_coefficients,
    slots,
    with_moments,
)
from modecomb_viz.hypercube.planes import PLANES, Plane, grid_axis, random_plane, split_plane, three_modes_plane
from modecomb_viz.hypercube.points import Combinations, Points, combine, mixed, segment

__all__ = [
    "GRANULARITIES",
    "LAWS",
    "PLANES",
    "Coefficients",
    "Combinations",
    "Law",
    "Parameter",
    "Plane",
    "Points",
    "check_granularity",
    "check_law",
    "combine",
    "expand",
    "grid_axis",
    "layer_mask",
    "mixed",
    "random_plane",
    "sample_coefficients",
    "segment",
    "slots",
    "split_plane",
    "three_modes_plane",
    "with_moments",
]
