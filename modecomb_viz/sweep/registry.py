"""The sweeps by name, and a sweep from its name and settings."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from modecomb_viz.sweep.cut import CutSweep
from modecomb_viz.sweep.inspection import InspectionSweep
from modecomb_viz.sweep.laws import LawsSweep
from modecomb_viz.sweep.layers import LayersSweep
from modecomb_viz.sweep.measurement import Sweep
from modecomb_viz.sweep.perturbation import PerturbationSweep
from modecomb_viz.sweep.plane import PlaneSweep
from modecomb_viz.sweep.points import PointsSweep
from modecomb_viz.sweep.samples import SamplesSweep
from modecomb_viz.sweep.search import SearchSweep
from modecomb_viz.sweep.segment import SegmentSweep
from modecomb_viz.sweep.settings import LawSettings
from modecomb_viz.sweep.similarity import SimilaritySweep
from modecomb_viz.sweep.transitivity import TransitivitySweep

__all__ = ["SWEEPS", "make_sweep"]

#: The sweeps by name, as it stands in a recipe.
SWEEPS: dict[str, type[Sweep]] = {
    sweep.name: sweep
    for sweep in (
        SegmentSweep,
        PlaneSweep,
        InspectionSweep,
        CutSweep,
        SamplesSweep,
        PerturbationSweep,
        LayersSweep,
        LawsSweep,
        PointsSweep,
        SearchSweep,
        TransitivitySweep,
        SimilaritySweep,
    )
}


def make_sweep(name: str, settings: Mapping[str, Any]) -> Sweep:
    """A sweep from its settings; lists become tuples, and what is no setting is taken as a parameter of the law.

    Raises:
        ValueError: for an unknown sweep, setting or parameter, or a value that is not allowed.
    """
    if name not in SWEEPS:
        raise ValueError(f"sweep must be one of {', '.join(SWEEPS)}, got {name!r}.")
    known = {field.name for field in fields(SWEEPS[name])}
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items() if k in known}
    rest = {key: value for key, value in settings.items() if key not in known}
    if rest and not issubclass(SWEEPS[name], LawSettings):
        raise ValueError(f"a {name} sweep takes no {', '.join(rest)}; it takes {', '.join(sorted(known))}.")
    if rest:
        given["parameters"] = {**given.get("parameters", {}), **rest}
    return SWEEPS[name](**given)
