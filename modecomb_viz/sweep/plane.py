"""Loss maps: two-dimensional slices of the hypercube and its vicinity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import xarray as xr

from modecomb_viz.checkpoints import ModeSet
from modecomb_viz.hypercube import (
    PLANES,
    Plane,
    grid_axis,
    layer_mask,
    random_plane,
    split_plane,
    three_modes_plane,
)
from modecomb_viz.sweep.growing import GrowingMap
from modecomb_viz.sweep.measurement import QUANTITIES, Measurement, Step, Sweep
from modecomb_viz.sweep.settings import LawSettings, check_choice, check_count, check_finite

__all__ = ["MAX_RESOLUTION", "PlaneSweep"]

MAX_RESOLUTION = 1025


@dataclass(frozen=True, kw_only=True)
class PlaneSweep(LawSettings, Sweep):
    """Loss and accuracy on a square grid of a plane.

    Attributes:
        plane: "split", "random" or "three_modes" (see :data:`~modecomb_viz.hypercube.PLANES`).
        resolution: points per side. A coarse grid is evaluated first, then twice as many points each time, where the
            estimated error is largest; in between the map is an estimate with a standard error per point.
        margin: every side is extended by margin times its length.
        tolerance: 0 evaluates every point. Otherwise the map ends as an estimate once no two standard errors of the
            loss are more than this share of its range.
        z: for the split plane: "draw" (one draw of the law at the granularity, from ``seed``), a number of first
            layers, or names of layers.
        c: for three modes: the third mode, aligned to a as well.
        coordinates: for three modes: "affine" or "orthonormal" axes.

    Distribution, parameters and granularity are those of the draw z; the random plane uses the granularity.
    """

    name: ClassVar[str] = "plane"

    plane: str = "split"
    resolution: int = 33
    margin: float = 0.0
    tolerance: float = 0.0
    z: str | int | tuple[str, ...] = "draw"
    c: str = "C"
    coordinates: str = "affine"

    def __post_init__(self):
        super().__post_init__()
        check_choice("plane", self.plane, list(PLANES))
        check_choice("coordinates", self.coordinates, ("affine", "orthonormal"))
        check_count("resolution", self.resolution, 2, MAX_RESOLUTION)
        check_finite("margin", self.margin)
        if not 0 <= self.margin <= 10:
            raise ValueError(f"margin must lie in [0, 10] (times the length of the side), got {self.margin}.")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance must lie in [0, 1) (of the range of the loss), got {self.tolerance}.")
        if isinstance(self.z, str) and self.z != "draw":
            raise ValueError(f"z must be 'draw', a number of layers or a list of their names, got {self.z!r}.")

    def measure(self, run: Measurement) -> Iterator[Step]:
        run.total = self.resolution**2 * len(self.strengths) * len(self.splits)
        planes = [self._plane(run, strength) for strength in self.strengths]
        u, v = (grid_axis(*side, self.resolution, self.margin) for side in (planes[0].u_range, planes[0].v_range))
        maps = [
            GrowingMap(self.resolution, len(self.splits), self.tolerance, sampled=bool(run.samples)) for _ in planes
        ]
        growing = True
        while growing:
            growing = False
            for plane, grown in zip(planes, maps, strict=True):
                if (points := grown.wanted_of_sample()).any():
                    found = yield from run.evaluate_sample(plane.at, _coordinates(u, v, points))
                    grown.put_sample(points, *found)
                    growing = True
            if growing:
                yield self._dataset(run, planes[0], (u, v), maps)
            for plane, grown in zip(planes, maps, strict=True):
                if (points := grown.wanted()).any():
                    grown.put(points, (yield from run.evaluate(plane.at, _coordinates(u, v, points))))
                    growing = True
            if growing:
                yield self._dataset(run, planes[0], (u, v), maps)

    def _plane(self, run: Measurement, strength: float) -> Plane:
        a, b = run.params_a, run.placed(run.perturbed(strength).params)
        match self.plane:
            case "split":
                return split_plane(a, b, self._mask(run.modes))
            case "random":
                return random_plane(run.modes.spec, a, b, granularity=self.granularity, seed=self.seed)
            case _:
                c = run.placed(run.perturbed(strength, self.c, seed_offset=1).params)
                return three_modes_plane(a, b, c, coordinates=self.coordinates)

    def _mask(self, modes: ModeSet):
        if self.z == "draw":
            return self.draw(modes, 0, 1, self.seed)
        return layer_mask(modes.spec, self.z)

    def _dataset(
        self, run: Measurement, plane: Plane, axes: tuple[np.ndarray, np.ndarray], maps: Sequence[GrowingMap]
    ) -> xr.Dataset:
        """The whole maps; with standard errors, unless every point is evaluated."""
        dims, exact = ("strength", "split", "v", "u"), all(grown.evaluated.all() for grown in maps)
        variables = {}
        for quantity in QUANTITIES:
            surfaces = [[(s.values, s.errors) for s in grown.surfaces()[quantity]] for grown in maps]
            values, errors = np.moveaxis(np.array(surfaces), 2, 0)
            variables[quantity] = dims, values
            if not exact:
                variables[f"{quantity}_error"] = dims, errors
        mark_u, mark_v = np.array(list(plane.marks.values()), dtype=float).T
        variables |= {"mark_u": (("mark",), mark_u), "mark_v": (("mark",), mark_v)}
        coordinates, attributes = {"mark": list(plane.marks)}, {}
        for name, axis, text in zip("uv", axes, plane.labels, strict=True):
            coordinates[name] = axis
            attributes[name] = {"long_name": text, "units": plane.units, "low": axis[0], "high": axis[-1]}
        return run.dataset(variables, coordinates, attributes)


def _coordinates(u: np.ndarray, v: np.ndarray, points: np.ndarray) -> torch.Tensor:
    """The coordinates ``[point, 2]`` of grid points."""
    rows, columns = np.nonzero(points)
    return torch.as_tensor(np.stack([u[columns], v[rows]], 1))
