"""Loss maps: two-dimensional slices of the hypercube and its vicinity."""

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from modecomb_viz.alignment import Alignment
from modecomb_viz.executor import Progress
from modecomb_viz.hypercube import (
    NAMED,
    PLANES,
    Coefficients,
    Plane,
    grid_axis,
    layer_mask,
    random_plane,
    split_plane,
    swapped_layer,
    three_modes_plane,
)
from modecomb_viz.permutation import PermutationSpec
from modecomb_viz.sweep.growing import GrowingMap
from modecomb_viz.sweep.measurement import QUANTITIES, Located, Measurement, Step, Sweep
from modecomb_viz.sweep.named import EXTREMES, LABELS, Chosen, NamedPoints, NamedSettings
from modecomb_viz.sweep.points import swap_label
from modecomb_viz.sweep.settings import check_choice, check_count, check_finite

__all__ = ["MAX_RESOLUTION", "Z_POINTS", "PlaneSweep"]

MAX_RESOLUTION = 1025

#: Points through which a split plane can be laid, by name: a draw of the law, and named points.
Z_POINTS = ("draw", *NAMED, *EXTREMES)


@dataclass(frozen=True, kw_only=True)
class PlaneSweep(NamedSettings, Sweep):
    """Loss and accuracy on a square grid of a plane.

    The named points that lie on the plane are marked. Where z is the best or the worst of the draws, ``draw`` is the
    number of that draw and ``chosen_loss`` the loss of the training examples by which it was chosen.

    Attributes:
        plane: "split", "random" or "three_modes" (see :data:`~modecomb_viz.hypercube.PLANES`).
        resolution: points per side. A coarse grid is evaluated first, then twice as many points each time, where the
            estimated error is largest; in between the map is an estimate with a standard error per point.
        margin: every side is extended by margin times its length.
        region: a part of the plane, as (lowest u, highest u, lowest v, highest v), in place of its sides and margin.
        tolerance: 0 evaluates every point. Otherwise the map ends as an estimate once no two standard errors of the
            loss are more than this share of its range.
        z: for the split plane: "draw" (one draw of the law at the granularity, from ``seed``), "fisher", "magnitude",
            "sign" (see :data:`~modecomb_viz.hypercube.NAMED`), "best" or "worst" (of ``n`` draws), a number of first
            layers, or names of layers.
        c: for three modes: the third mode, aligned to a as well.
        coordinates: for three modes: "affine" or "orthonormal" axes.

    Distribution, parameters and granularity are those of the draws; the random plane uses the granularity.
    """

    name: ClassVar[str] = "plane"

    plane: str = "split"
    resolution: int = 33
    margin: float = 0.0
    region: tuple[float, float, float, float] | None = None
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
        if self.region is not None:
            _check_region(self.region)
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance must lie in [0, 1) (of the range of the loss), got {self.tolerance}.")
        if isinstance(self.z, str) and self.z not in Z_POINTS:
            words = ", ".join(map(repr, Z_POINTS))
            raise ValueError(f"z must be {words}, a number of layers or a list of their names, got {self.z!r}.")

    def measure(self, run: Measurement) -> Iterator[Step]:
        drawn = self.n if self.plane == "split" and self.z in EXTREMES else 0
        run.total = (self.resolution**2 * len(self.splits) + drawn) * len(self.strengths)
        named, planes, chosen = NamedPoints(run, self), [], []
        for strength in self.strengths:
            plane, draw = yield from self._plane(run, named, strength)
            planes.append(plane)
            chosen.append(draw)
        u, v = self._axes(planes[0])
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
                yield self._dataset(run, planes[0], (u, v), maps, chosen)
            for plane, grown in zip(planes, maps, strict=True):
                if (points := grown.wanted()).any():
                    grown.put(points, (yield from run.evaluate(plane.at, _coordinates(u, v, points))))
                    growing = True
            if growing:
                yield self._dataset(run, planes[0], (u, v), maps, chosen)

    def _axes(self, plane: Plane) -> tuple[np.ndarray, np.ndarray]:
        """The coordinates of the grid along u and v."""
        if self.region:
            u_low, u_high, v_low, v_high = self.region
            return grid_axis(u_low, u_high, self.resolution), grid_axis(v_low, v_high, self.resolution)
        u, v = (grid_axis(*side, self.resolution, self.margin) for side in (plane.u_range, plane.v_range))
        return u, v

    def located(self, run: Measurement, strength: float, found: xr.Dataset, where: Mapping[str, Any]) -> Located:
        known = {str(self.z): Chosen(int(found.draw), float(found.chosen_loss))} if "draw" in found else {}
        plane, _ = yield from self._plane(run, NamedPoints(run, self, known), strength)
        return plane.at, torch.tensor([[where["u"], where["v"]]], dtype=torch.float64)

    def _plane(
        self, run: Measurement, named: NamedPoints, strength: float
    ) -> Generator[Progress, None, tuple[Plane, Chosen | None]]:
        """The plane at one strength, with its marks; and the draw that it goes through, if that was chosen."""
        alignment = run.perturbed(strength)
        a, b = run.params_a, run.placed(alignment.params)
        match self.plane:
            case "split":
                z, chosen = yield from self._z(named, alignment, run)
                plane = split_plane(a, b, z)
                return replace(plane, marks=self._split_marks(plane, run.modes.spec, z)), chosen
            case "random":
                return random_plane(run.modes.spec, a, b, granularity=self.granularity, seed=self.seed), None
            case _:
                c = run.placed(run.perturbed(strength, self.c, seed_offset=1).params)
                plane = three_modes_plane(a, b, c, coordinates=self.coordinates)
                return replace(plane, marks=_three_modes_marks(plane)), None

    def _z(
        self, named: NamedPoints, alignment: Alignment, run: Measurement
    ) -> Generator[Progress, None, tuple[Coefficients, Chosen | None]]:
        if self.z in NAMED:
            return (yield from named.coefficients(self.z, alignment)), None
        if self.z in EXTREMES:
            found = yield from named.extremes(named.draws(run.placed(alignment.params)))
            return self.draw(run.modes.spec, found[self.z].draw), found[self.z]
        if self.z == "draw":
            return self.draw(run.modes.spec, 0), None
        return layer_mask(run.modes.spec, self.z), None

    def _split_marks(self, plane: Plane, spec: PermutationSpec, z: Coefficients) -> dict[str, tuple[float, float]]:
        """A, π(B), the midpoint, z and its mirror, each under the name of the named point that it is."""
        own = self.z if self.z in (*NAMED, *EXTREMES) else "z"
        point, mirror = LABELS.get(own, own), f"1−{LABELS.get(own, own)}"
        if layer := swapped_layer(spec, z):
            point = swap_label(layer)
        if layer := swapped_layer(spec, {name: 1 - w for name, w in z.items()}):
            mirror = swap_label(layer)
        names = {"z": point, "1−z": mirror}
        return {names.get(name, name): at for name, at in plane.marks.items()} | {"midpoint": (0.5, 0.5)}

    def _dataset(
        self,
        run: Measurement,
        plane: Plane,
        axes: tuple[np.ndarray, np.ndarray],
        maps: Sequence[GrowingMap],
        chosen: Sequence[Chosen | None],
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
        if all(chosen):
            draws, losses = np.array(chosen, dtype=float).T
            variables |= {"draw": (("strength",), draws), "chosen_loss": (("strength",), losses)}
        coordinates, attributes = {"mark": list(plane.marks)}, {}
        for name, axis, text in zip("uv", axes, plane.labels, strict=True):
            coordinates[name] = axis
            attributes[name] = {"long_name": text, "units": plane.units, "low": axis[0], "high": axis[-1]}
        return run.dataset(variables, coordinates, attributes)


def _check_region(region: tuple[float, ...]):
    if len(region) != 4 or not all(map(math.isfinite, region)) or not (region[0] < region[1] and region[2] < region[3]):
        raise ValueError(
            "region must be four finite numbers, the lowest u below the highest and the lowest v below the highest, "
            f"such as (0.2, 0.8, 0.2, 0.8), got {region!r}."
        )


def _three_modes_marks(plane: Plane) -> dict[str, tuple[float, float]]:
    """The modes, the midpoint of A and π(B), and the centroid: means of corners, in any coordinates."""
    corners = np.array(list(plane.marks.values()), dtype=float)
    means = {"midpoint": corners[:2].mean(0), "centroid": corners.mean(0)}
    return {**plane.marks, **{name: (float(u), float(v)) for name, (u, v) in means.items()}}


def _coordinates(u: np.ndarray, v: np.ndarray, points: np.ndarray) -> torch.Tensor:
    """The coordinates ``[point, 2]`` of grid points."""
    rows, columns = np.nonzero(points)
    return torch.as_tensor(np.stack([u[columns], v[rows]], 1))
