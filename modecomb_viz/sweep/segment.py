"""The straight line between two points of the hypercube's diagonal."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from modecomb_viz.hypercube import grid_axis
from modecomb_viz.sweep.measurement import QUANTITIES, Located, Measurement, Step, Sweep
from modecomb_viz.sweep.refinement import levels
from modecomb_viz.sweep.settings import check_count, check_finite

__all__ = ["SegmentSweep"]


@dataclass(frozen=True, kw_only=True)
class SegmentSweep(Sweep):
    """Loss and accuracy along Λ(t) = t·1.

    Attributes:
        start: first t; 0 is A, 1 is π(B), values outside [0, 1] extrapolate.
        end: last t.
        points: equidistant values of t; an odd number contains the midpoint.
    """

    name: ClassVar[str] = "segment"

    start: float = 0.0
    end: float = 1.0
    points: int = 25

    def __post_init__(self):
        super().__post_init__()
        check_count("points", self.points, 2, 10_001)
        for name in ("start", "end"):
            check_finite(name, getattr(self, name))
        if self.start == self.end:
            raise ValueError(f"start and end must differ, both are {self.start}.")

    def measure(self, run: Measurement) -> Iterator[Step]:
        run.total = self.points * len(self.strengths) * len(self.splits)
        t = grid_axis(self.start, self.end, self.points)
        lines = [run.line(run.perturbed(strength).params) for strength in self.strengths]
        values = {q: np.full((len(lines), len(self.splits), len(t)), np.nan) for q in QUANTITIES}
        for stride, new in levels(self.points):
            for row, line in enumerate(lines):
                measured = yield from run.evaluate(line, torch.as_tensor(t[new]))
                for quantity in QUANTITIES:
                    values[quantity][row][:, new] = measured[quantity]
            yield run.dataset(
                {q: (("strength", "split", "t"), values[q][..., ::stride].copy()) for q in QUANTITIES},
                {"t": t[::stride]},
            )

    def located(self, run: Measurement, strength: float, found: xr.Dataset, where: Mapping[str, Any]) -> Located:
        yield from ()
        return run.line(run.perturbed(strength).params), torch.tensor([where["t"]], dtype=torch.float64)
