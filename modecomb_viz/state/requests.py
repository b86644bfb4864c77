"""The sweeps that the choices of the explorer ask for."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from modecomb_viz.hypercube import LAWS
from modecomb_viz.sweep import (
    CutSweep,
    InspectionSweep,
    LawsSweep,
    LayersSweep,
    PerturbationSweep,
    PlaneSweep,
    SamplesSweep,
    SegmentSweep,
    SimilaritySweep,
    Sweep,
    TransitivitySweep,
)

if TYPE_CHECKING:
    from modecomb_viz.state.choices import ExplorerState

__all__ = ["law_parameter", "sweeps_of"]

#: Points of every curve: 2^k + 1, so that the midpoint is there at every level.
_SEGMENT_POINTS = 33

#: The same for the curve of every layer, of which there are many.
_LAYER_POINTS = 9


def law_parameter(distribution: str, name: str) -> str:
    """The name of the state's parameter that holds a parameter of a law, for instance ``normal_mean``."""
    return f"{distribution}_{name}"


def sweeps_of(state: "ExplorerState", topics: Iterable[str]) -> dict[str, Sweep]:
    """The sweeps by topic, without those that the choices leave without meaning.

    Raises:
        ValueError: when choices exclude each other, in words for the page.
    """
    asked = _Asked(state)
    return {topic: sweep for topic in topics if (sweep := getattr(asked, topic)()) is not None}


class _Asked:
    """One method per topic: its sweep, or None where the choices give it no meaning."""

    def __init__(self, state: "ExplorerState"):
        self._state = state

    @property
    def _law(self) -> dict[str, Any]:
        """Distribution, parameters and granularity, as sweeps take them."""
        state = self._state
        names = LAWS[state.distribution].parameters
        values = {name: float(getattr(state, law_parameter(state.distribution, name))) for name in names}
        return {"distribution": state.distribution, "parameters": values, "granularity": state.granularity}

    @property
    def _common(self) -> dict[str, Any]:
        state = self._state
        if state.a == state.b:
            raise ValueError(f"A and B are both network '{state.a}'. Choose two different networks.")
        return {"a": state.a, "b": state.b, "splits": (state.split,), "repair": state.repair}

    @property
    def _perturbed(self) -> dict[str, Any]:
        """The matching, and how it is perturbed, at the strength that a sweep takes itself."""
        names = ("alignment", "perturbation", "perturbation_seed", "seed")
        return {name: getattr(self._state, name) for name in names}

    @property
    def _matching(self) -> dict[str, Any]:
        return {**self._common, **self._perturbed, "strength": self._state.strength}

    @property
    def _on_plane(self) -> dict[str, Any]:
        """The plane itself, whatever is looked at on it."""
        state = self._state
        z = "draw" if state.z_kind == "draw" else state.z_layers
        place = {"plane": state.plane, "coordinates": state.coordinates, "c": state.c, "z": z}
        return {**place, **self._law, **self._matching}

    def plane(self) -> PlaneSweep:
        state = self._state
        shown = {name: getattr(state, name) for name in ("resolution", "margin", "tolerance", "region")}
        return PlaneSweep(**self._on_plane, **shown)

    def other(self) -> PlaneSweep | None:
        """The map that the first is compared with: all as there, but for one setting, or as the view that was kept."""
        state, ours = self._state, self.plane()
        match state.against:
            case "nothing":
                return None
            case "kept view":
                return _kept_plane(state)
            case setting:
                return replace(ours, **{setting: getattr(state, f"other_{setting}")})

    def inspection(self) -> InspectionSweep | None:
        if self._state.inspected is None:
            return None
        u, v = self._state.inspected
        return InspectionSweep(u=u, v=v, **self._on_plane)

    def cut(self) -> CutSweep | None:
        cut = self._state.cut
        return None if cut is None else CutSweep(start=cut[:2], end=cut[2:], points=_SEGMENT_POINTS, **self._on_plane)

    def naive(self) -> SegmentSweep:
        return SegmentSweep(**self._common, alignment="identity", points=_SEGMENT_POINTS)

    def aligned(self) -> SegmentSweep | None:
        if self._state.alignment == "identity":
            return None
        return SegmentSweep(**self._common, alignment=self._state.alignment, points=_SEGMENT_POINTS)

    def perturbed(self) -> SegmentSweep | None:
        return SegmentSweep(**{**self._matching, "seed": 0}, points=_SEGMENT_POINTS) if self._state.strength else None

    def matched(self) -> SegmentSweep:
        return SegmentSweep(**self._common, alignment=self._state.alignment, points=2)

    def samples(self) -> SamplesSweep:
        return SamplesSweep(n=self._state.draws, **self._law, **self._matching)

    def laws(self) -> LawsSweep | None:
        """A constant law has one member, so there is no family of them."""
        state = self._state
        if state.distribution == "constant":
            return None
        return LawsSweep(distribution=state.distribution, granularity=state.granularity, **self._matching)

    def perturbation(self) -> PerturbationSweep:
        state = self._state
        law = self._law if state.perturbed == "draws" else {}
        how = {"repeats": state.repeats, "per_group": state.per_group}
        return PerturbationSweep(**how, **law, **self._common, **self._perturbed)

    def transitivity(self) -> TransitivitySweep:
        state = self._state
        matching = {**self._perturbed, "strength": state.strength}
        return TransitivitySweep(splits=(state.split,), repair=state.repair, **matching)

    def similarity(self) -> SimilaritySweep:
        return SimilaritySweep(n=self._state.draws, **self._law, **self._matching)

    def layers(self) -> LayersSweep:
        base = tuple(self._state.mix) or 0.0
        return LayersSweep(base=base, points=_LAYER_POINTS, **self._matching)


def _kept_plane(state: "ExplorerState") -> PlaneSweep:
    """The map of the view that was kept, at the resolution and in the region of the present one."""
    if not state.kept:
        raise ValueError("no view has been chosen to compare with. Press Compare at one under 'Looked at before'.")
    choices = dict(parse_qsl(state.kept))
    if choices.get("modes_name", state.first_modes) != state.modes_name:
        raise ValueError(
            f"the view that was kept shows the modes '{choices.get('modes_name', state.first_modes)}', this one "
            f"'{state.modes_name}'. Choose the same modes, or compare with another view."
        )
    try:
        then = state.made_of(choices)
    except ValueError as error:
        raise ValueError(f"the view that was kept cannot be made again: {error}") from None
    then.param.update(resolution=state.resolution, region=state.region, margin=state.margin, split=state.split)
    return _Asked(then).plane()
