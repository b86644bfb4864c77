"""What a standard report shows of a mode set: the four claims, with a slider for every choice that moves them."""

from collections.abc import Mapping
from typing import Any

from modecomb_viz.sweep.laws import LawsSweep
from modecomb_viz.sweep.layers import LayersSweep
from modecomb_viz.sweep.measurement import Sweep
from modecomb_viz.sweep.perturbation import PerturbationSweep
from modecomb_viz.sweep.plane import PlaneSweep
from modecomb_viz.sweep.points import PointsSweep
from modecomb_viz.sweep.samples import SamplesSweep
from modecomb_viz.sweep.segment import SegmentSweep
from modecomb_viz.sweep.similarity import SimilaritySweep
from modecomb_viz.sweep.transitivity import TransitivitySweep

__all__ = ["standard_sweeps"]

#: What the sliders over perturbation strength, law and granularity offer.
_STRENGTHS = tuple(k / 10 for k in range(11))
_PROBABILITIES = (0.1, 0.3, 0.5, 0.7, 0.9)
_GRANULARITIES = ("layer", "unit", "weight")


def standard_sweeps(members: int, *, resolution: int = 33, n: int = 64, **settings: Any) -> dict[str, Sweep]:
    """The sweeps of a standard report, by the names of their files.

    Naive and aligned segment, split planes through a Bernoulli(½) draw, Bernoulli draws over p and granularity, normal
    laws by mean and deviation, layers, named points, the midpoint under a perturbed matching, transitivity, similarity.
    What can follow the perturbation strength is computed at 0, 0.1 … 1.

    Args:
        members: networks of the set; fewer than three have no transitivity.
        resolution: points per side of the planes.
        n: draws of each Bernoulli law; a quarter as many are compared, an eighth as many taken of each normal law.
        settings: of all sweeps, such as ``splits`` or ``repair``.

    Raises:
        ValueError: for a setting that is not allowed.
    """
    moved = {**settings, "strength": _STRENGTHS}
    each = {"granularity": _GRANULARITIES}
    sweeps: dict[str, Sweep] = {
        "naive": SegmentSweep(points=33, **{**settings, "alignment": "identity"}),
        "aligned": SegmentSweep(points=33, **moved),
        **_over(PlaneSweep, "plane", {"resolution": resolution, **moved}, each),
        **_over(SamplesSweep, "draws", {"n": n, **moved}, {"p": _PROBABILITIES, **each}),
        **_over(LawsSweep, "laws", {"n": max(1, n // 8), **settings}, each),
        "layers": LayersSweep(**moved),
        "points": PointsSweep(n=n, **moved),
        "perturbation": PerturbationSweep(**settings),
    }
    if members > 2:
        sweeps["transitivity"] = TransitivitySweep(**moved)
    return sweeps | _over(SimilaritySweep, "similarity", {"n": max(1, n // 4), **settings}, each)


def _over(
    sweep: type[Sweep], name: str, settings: Mapping[str, Any], choices: Mapping[str, tuple[Any, ...]]
) -> dict[str, Sweep]:
    """A sweep for every p and granularity, named after them."""
    sweeps = {}
    for p in choices.get("p", (None,)):
        for granularity in choices["granularity"]:
            words = [name, granularity] if p is None else [name, granularity, f"p{p:g}"]
            law = {} if p is None else {"parameters": {"p": p}}
            sweeps["-".join(words)] = sweep(granularity=granularity, **law, **settings)
    return sweeps
