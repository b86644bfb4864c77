"""The one door from tensors to labelled arrays.

Each sweep is a frozen dataclass of its settings with a generator ``steps(modes)``, and two functions: ``sweep_…`` gives
the final Dataset, ``iter_…`` all of them from coarse to fine. Parameters of a law are given by their own names:
``sweep_samples(modes, "bernoulli", p=0.3)``. All take ``journal="x.journal"``, a file in which every evaluation is kept
as soon as it is there: the same call goes on from it after an interruption, to the same result.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import xarray as xr

from modecomb_viz.checkpoints import ModeSet
from modecomb_viz.sweep.again import check_origin, differences, replayed, rerun, steps_again
from modecomb_viz.sweep.cut import CutSweep
from modecomb_viz.sweep.exported import export_point, point_params
from modecomb_viz.sweep.inspection import INSPECTED, InspectionSweep
from modecomb_viz.sweep.journal import journal_header
from modecomb_viz.sweep.laws import LawsSweep
from modecomb_viz.sweep.layers import LayersSweep
from modecomb_viz.sweep.measurement import Step, Sweep, last_dataset
from modecomb_viz.sweep.perturbation import PerturbationSweep
from modecomb_viz.sweep.plane import PlaneSweep
from modecomb_viz.sweep.points import PointsSweep
from modecomb_viz.sweep.registry import SWEEPS, make_sweep
from modecomb_viz.sweep.samples import SamplesSweep
from modecomb_viz.sweep.search import SearchSweep
from modecomb_viz.sweep.segment import SegmentSweep
from modecomb_viz.sweep.similarity import SimilaritySweep
from modecomb_viz.sweep.standard import standard_sweeps
from modecomb_viz.sweep.transitivity import TransitivitySweep

__all__ = [
    "INSPECTED",
    "SWEEPS",
    "CutSweep",
    "InspectionSweep",
    "LawsSweep",
    "LayersSweep",
    "PerturbationSweep",
    "PlaneSweep",
    "PointsSweep",
    "SamplesSweep",
    "SearchSweep",
    "SegmentSweep",
    "SimilaritySweep",
    "Step",
    "Sweep",
    "TransitivitySweep",
    "check_origin",
    "differences",
    "export_point",
    "iter_cut",
    "iter_inspection",
    "iter_laws",
    "iter_layers",
    "iter_perturbation",
    "iter_plane",
    "iter_points",
    "iter_samples",
    "iter_search",
    "iter_segment",
    "iter_similarity",
    "iter_transitivity",
    "journal_header",
    "last_dataset",
    "make_sweep",
    "point_params",
    "replayed",
    "rerun",
    "standard_sweeps",
    "steps_again",
    "sweep_cut",
    "sweep_inspection",
    "sweep_laws",
    "sweep_layers",
    "sweep_perturbation",
    "sweep_plane",
    "sweep_points",
    "sweep_samples",
    "sweep_search",
    "sweep_segment",
    "sweep_similarity",
    "sweep_transitivity",
]


def _iterate(name: str, modes: ModeSet, settings: Mapping[str, Any]) -> Iterator[xr.Dataset]:
    chosen = dict(settings)
    journal = chosen.pop("journal", None)
    steps = make_sweep(name, chosen).steps(modes, journal)
    return (step for step in steps if isinstance(step, xr.Dataset))


def iter_segment(modes: ModeSet, start: float = 0.0, end: float = 1.0, **settings: Any) -> Iterator[xr.Dataset]:
    """As :func:`sweep_segment`, from coarse to fine."""
    return _iterate("segment", modes, {"start": start, "end": end, **settings})


def iter_plane(modes: ModeSet, plane: str = "split", **settings: Any) -> Iterator[xr.Dataset]:
    """As :func:`sweep_plane`, from coarse to fine; every level reuses the points of the one before."""
    return _iterate("plane", modes, {"plane": plane, **settings})


def iter_cut(
    modes: ModeSet, start: tuple[float, float] = (0.0, 0.0), end: tuple[float, float] = (1.0, 1.0), **settings: Any
) -> Iterator[xr.Dataset]:
    """As :func:`sweep_cut`, from coarse to fine."""
    return _iterate("cut", modes, {"start": start, "end": end, **settings})


def iter_inspection(modes: ModeSet, u: float = 0.5, v: float = 0.5, **settings: Any) -> Iterator[xr.Dataset]:
    """As :func:`sweep_inspection`, which has one level."""
    return _iterate("inspection", modes, {"u": u, "v": v, **settings})


def iter_samples(modes: ModeSet, distribution: str = "uniform", **settings: Any) -> Iterator[xr.Dataset]:
    """As :func:`sweep_samples`, with 8, 16, 32 … draws."""
    return _iterate("samples", modes, {"distribution": distribution, **settings})


def iter_perturbation(
    modes: ModeSet, strengths: Sequence[float] | None = None, kind: str = "shuffle", **settings: Any
) -> Iterator[xr.Dataset]:
    """As :func:`sweep_perturbation`, one repeat more at a time."""
    chosen = {} if strengths is None else {"strength": tuple(strengths)}
    return _iterate("perturbation", modes, {"perturbation": kind, **chosen, **settings})


def iter_layers(modes: ModeSet, base: float | Sequence[float] = 0.0, **settings: Any) -> Iterator[xr.Dataset]:
    """As :func:`sweep_layers`, with ever more points of every curve."""
    bases = base if isinstance(base, int | float) else tuple(base)
    return _iterate("layers", modes, {"base": bases, **settings})


def iter_laws(modes: ModeSet, distribution: str = "normal", **settings: Any) -> Iterator[xr.Dataset]:
    """As :func:`sweep_laws`, with 2, 4, 8 … draws per cell."""
    return _iterate("laws", modes, {"distribution": distribution, **settings})


def iter_points(modes: ModeSet, distribution: str = "bernoulli", **settings: Any) -> Iterator[xr.Dataset]:
    """As :func:`sweep_points`, first the points of the weights alone, then Fisher, then the best and the worst draw."""
    return _iterate("points", modes, {"distribution": distribution, **settings})


def iter_search(
    modes: ModeSet, goal: str = "best", method: str = "gradient", *, steps: int = 60, **settings: Any
) -> Iterator[xr.Dataset]:
    """As :func:`sweep_search`, with ever more steps."""
    return _iterate("search", modes, {"goal": goal, "method": method, "n": steps, **settings})


def iter_transitivity(modes: ModeSet, **settings: Any) -> Iterator[xr.Dataset]:
    """As :func:`sweep_transitivity`, with ever more points of every segment."""
    return _iterate("transitivity", modes, settings)


def iter_similarity(modes: ModeSet, distribution: str = "bernoulli", **settings: Any) -> Iterator[xr.Dataset]:
    """As :func:`sweep_similarity`, with 8, 16, 32 … draws."""
    return _iterate("similarity", modes, {"distribution": distribution, **settings})


def sweep_segment(modes: ModeSet, start: float = 0.0, end: float = 1.0, **settings: Any) -> xr.Dataset:
    """Loss and accuracy along Λ(t) = t·1; dims ``([strength,] split, t)``. Settings: :class:`SegmentSweep`."""
    return last_dataset(iter_segment(modes, start, end, **settings))


def sweep_plane(modes: ModeSet, plane: str = "split", **settings: Any) -> xr.Dataset:
    """Loss and accuracy on a plane; dims ``([strength,] split, v, u)``. Settings: :class:`PlaneSweep`."""
    return last_dataset(iter_plane(modes, plane, **settings))


def sweep_cut(
    modes: ModeSet, start: tuple[float, float] = (0.0, 0.0), end: tuple[float, float] = (1.0, 1.0), **settings: Any
) -> xr.Dataset:
    """Loss and accuracy between two points (u, v) of a plane; dims ``([strength,] split, t)``.

    Settings: :class:`CutSweep`.
    """
    return last_dataset(iter_cut(modes, start, end, **settings))


def sweep_inspection(modes: ModeSet, u: float = 0.5, v: float = 0.5, **settings: Any) -> xr.Dataset:
    """One point of a plane beside A and π(B): answers, confusion, disagreement, examples; dims ``(split, model)``.

    Settings: :class:`InspectionSweep`.
    """
    return last_dataset(iter_inspection(modes, u, v, **settings))


def sweep_samples(modes: ModeSet, distribution: str = "uniform", **settings: Any) -> xr.Dataset:
    """Loss and accuracy of draws of a law; dims ``([strength,] split, sample)``. Settings: :class:`SamplesSweep`."""
    return last_dataset(iter_samples(modes, distribution, **settings))


def sweep_perturbation(
    modes: ModeSet, strengths: Sequence[float] | None = None, kind: str = "shuffle", **settings: Any
) -> xr.Dataset:
    """Loss and accuracy of the midpoint against strength; dims ``(split, strength, repeat)``.

    ``strengths`` defaults to 0, 0.1 … 1, ``kind`` is that of the perturbation. Settings: :class:`PerturbationSweep`.
    """
    return last_dataset(iter_perturbation(modes, strengths, kind, **settings))


def sweep_transitivity(modes: ModeSet, **settings: Any) -> xr.Dataset:
    """Segments between all pairs of modes by every route of alignment; dims ``([strength,] split, pair, route, t)``.

    Settings: :class:`TransitivitySweep`.
    """
    return last_dataset(iter_transitivity(modes, **settings))


def sweep_similarity(modes: ModeSet, distribution: str = "bernoulli", **settings: Any) -> xr.Dataset:
    """How different combinations are; dims ``(split, model, other)``. Settings: :class:`SimilaritySweep`."""
    return last_dataset(iter_similarity(modes, distribution, **settings))


def sweep_layers(modes: ModeSet, base: float | Sequence[float] = 0.0, **settings: Any) -> xr.Dataset:
    """One layer after another from A to π(B), the others at ``base``; dims ``([strength,] split, layer, t)``.

    Settings: :class:`LayersSweep`.
    """
    return last_dataset(iter_layers(modes, base, **settings))


def sweep_laws(modes: ModeSet, distribution: str = "normal", **settings: Any) -> xr.Dataset:
    """Draws of all laws of a family, by mean and deviation; dims ``([strength,] split, deviation, mean, sample)``.

    :func:`~modecomb_viz.summary` gives every cell's excess loss and share of low loss. Settings: :class:`LawsSweep`.
    """
    return last_dataset(iter_laws(modes, distribution, **settings))


def sweep_points(modes: ModeSet, distribution: str = "bernoulli", **settings: Any) -> xr.Dataset:
    """Loss and accuracy of named points; dims ``([strength,] split, point)``. Settings: :class:`PointsSweep`."""
    return last_dataset(iter_points(modes, distribution, **settings))


def sweep_search(
    modes: ModeSet, goal: str = "best", method: str = "gradient", *, steps: int = 60, **settings: Any
) -> xr.Dataset:
    """The best or the worst Λ that a search finds; dims ``([strength,] split, step)``.

    Step 0 is the midpoint, the last step the point that was found. Settings: :class:`SearchSweep`, where ``steps`` is
    ``n``.
    """
    return last_dataset(iter_search(modes, goal, method, steps=steps, **settings))
