"""A straight cut through a plane, between any two of its points."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from modecomb_viz.hypercube import Plane, grid_axis
from modecomb_viz.sweep.measurement import QUANTITIES, Located, Measurement, Step
from modecomb_viz.sweep.named import NamedPoints
from modecomb_viz.sweep.plane import PlaneSweep
from modecomb_viz.sweep.refinement import levels
from modecomb_viz.sweep.settings import check_count

__all__ = ["CutSweep"]


@dataclass(frozen=True, kw_only=True)
class CutSweep(PlaneSweep):
    """Loss and accuracy along a segment of a plane: (u, v)(t) = (1 − t)·start + t·end.

    ``margin``, ``region``, ``resolution`` and ``tolerance`` change nothing.

    Attributes:
        start: u and v at t = 0.
        end: u and v at t = 1.
        points: equidistant values of t; an odd number contains the middle.
    """

    name: ClassVar[str] = "cut"

    start: tuple[float, float] = (0.0, 0.0)
    end: tuple[float, float] = (1.0, 1.0)
    points: int = 33

    def __post_init__(self):
        super().__post_init__()
        check_count("points", self.points, 2, 10_001)
        for name in ("start", "end"):
            place = getattr(self, name)
            if len(place) != 2 or not np.isfinite(place).all():
                raise ValueError(f"{name} must be u and v, two finite numbers such as (0, 1), got {place!r}.")
        if tuple(self.start) == tuple(self.end):
            raise ValueError(f"start and end of a cut must differ, both are {self.start}.")

    def measure(self, run: Measurement) -> Iterator[Step]:
        run.total = self.points * len(self.strengths) * len(self.splits)
        named, planes = NamedPoints(run, self), []
        for strength in self.strengths:
            plane, _ = yield from self._plane(run, named, strength)
            planes.append(plane)
        t = grid_axis(0.0, 1.0, self.points)
        values = {q: np.full((len(planes), len(self.splits), len(t)), np.nan) for q in QUANTITIES}
        for stride, new in levels(self.points):
            for row, plane in enumerate(planes):
                measured = yield from run.evaluate(plane.at, self._places(t[new]))
                for quantity in QUANTITIES:
                    values[quantity][row][:, new] = measured[quantity]
            yield self._result(run, planes[0], t[::stride], {q: array[..., ::stride] for q, array in values.items()})

    def located(self, run: Measurement, strength: float, found: xr.Dataset, where: Mapping[str, Any]) -> Located:
        plane, _ = yield from self._plane(run, NamedPoints(run, self), strength)
        return plane.at, self._places(np.array([where["t"]]))

    def _places(self, t: np.ndarray) -> Tensor:
        """u and v ``[point, 2]``."""
        start, end = (torch.tensor(place, dtype=torch.float64) for place in (self.start, self.end))
        return torch.lerp(start, end, torch.as_tensor(t)[:, None])

    def _result(self, run: Measurement, plane: Plane, t: np.ndarray, values: dict[str, np.ndarray]) -> xr.Dataset:
        u, v = self._places(t).numpy().T
        variables = {q: (("strength", "split", "t"), array.copy()) for q, array in values.items()}
        attributes = {
            name: {"long_name": label, "units": plane.units} for name, label in zip("uv", plane.labels, strict=True)
        }
        return run.dataset(
            variables | {"u": (("t",), u), "v": (("t",), v)},
            {"t": t},
            attributes | {"t": {"units": "fraction", "long_name": "position on the cut"}},
        )
