"""The hypercube between two modes: who shares a coefficient, laws of coefficients, named points, segments and planes.

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
from modecomb_viz.hypercube.named import (
    NAMED,
    averaged,
    fisher_point,
    magnitude_point,
    mean_over_layers,
    mean_over_weights,
    sign_point,
    swapped_layer,
)
from modecomb_viz.hypercube.planes import PLANES, Plane, grid_axis, random_plane, split_plane, three_modes_plane
from modecomb_viz.hypercube.points import Combinations, Points, combine, mixed, segment

__all__ = [
    "GRANULARITIES",
    "LAWS",
    "NAMED",
    "PLANES",
    "Coefficients",
    "Combinations",
    "Law",
    "Parameter",
    "Plane",
    "Points",
    "averaged",
    "check_granularity",
    "check_law",
    "combine",
    "expand",
    "fisher_point",
    "grid_axis",
    "layer_mask",
    "magnitude_point",
    "mean_over_layers",
    "mean_over_weights",
    "mixed",
    "random_plane",
    "sample_coefficients",
    "segment",
    "sign_point",
    "slots",
    "split_plane",
    "swapped_layer",
    "three_modes_plane",
    "with_moments",
]
