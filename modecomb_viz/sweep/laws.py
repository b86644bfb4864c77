"""Combinability of a whole family of laws: mean coefficient against dispersion."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from torch import Tensor, arange, tensor

from modecomb_viz.checkpoints import ModeSet
from modecomb_viz.hypercube import Combinations, check_granularity, sample_coefficients, with_moments
from modecomb_viz.permutation import Params
from modecomb_viz.sweep.measurement import QUANTITIES, REFERENCES, Located, Measurement, Step, Sweep
from modecomb_viz.sweep.refinement import growing
from modecomb_viz.sweep.settings import check_choice, check_count, check_finite

__all__ = ["LawsSweep"]


@dataclass(frozen=True, kw_only=True)
class LawsSweep(Sweep):
    """Loss and accuracy of draws of laws with every given mean and standard deviation of the coefficients.

    Where a law has no such member it is NaN: Beta needs σ² < m(1 − m). Bernoulli has one deviation per mean,
    √(p(1 − p)), so its ``deviation`` is one entry, NaN. Draw i has the same seed in every cell. The definition of the
    map is ours.

    Attributes:
        distribution: uniform, normal, beta or bernoulli.
        granularity: what shares one coefficient: model, layer, unit or weight.
        means: mean coefficients; outside [0, 1] the law lies around a point of the vicinity.
        deviations: standard deviations of the coefficients; a corner of the cube is ½ from its centre.
        n: draws per cell.
    """

    name: ClassVar[str] = "laws"

    distribution: str = "normal"
    granularity: str = "unit"
    means: tuple[float, ...] = tuple(k / 8 for k in range(-2, 11))
    deviations: tuple[float, ...] = tuple(k / 8 for k in range(7))
    n: int = 8

    def __post_init__(self):
        super().__post_init__()
        check_choice("distribution", self.distribution, ("uniform", "normal", "beta", "bernoulli"))
        check_granularity(self.granularity)
        check_count("n", self.n, 1, 10_000)
        for name in ("means", "deviations"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty; give at least one number.")
            for value in getattr(self, name):
                check_finite(name, value)
        if min(self.deviations) < 0:
            raise ValueError(f"deviations must be ≥ 0, got {min(self.deviations)}.")

    def measure(self, run: Measurement) -> Iterator[Step]:
        deviations = (np.nan,) if self.distribution == "bernoulli" else self.deviations
        cells = {
            (i, j): law
            for i, deviation in enumerate(deviations)
            for j, mean in enumerate(self.means)
            if (law := with_moments(self.distribution, mean, deviation)) is not None
        }
        splits, strengths = len(self.splits), len(self.strengths)
        run.total = (len(cells) * self.n + len(REFERENCES)) * splits * strengths
        shape = (strengths, splits, len(deviations), len(self.means), self.n)
        values = {q: np.full(shape, np.nan) for q in QUANTITIES}
        references = {q: np.full((strengths, splits, len(REFERENCES)), np.nan) for q in QUANTITIES}
        families = {}
        for s, strength in enumerate(self.strengths):
            alignment = run.perturbed(strength)
            measured = yield from run.references(alignment)
            for quantity in QUANTITIES:
                references[quantity][s] = measured[quantity]
            aligned = run.placed(alignment.params)
            for cell, law in cells.items():
                families[s, *cell] = self._family(run, aligned, law)
        for start, stop in growing(self.n, first=2):
            for (s, i, j), family in families.items():
                measured = yield from run.evaluate(family, arange(start, stop))
                for quantity in QUANTITIES:
                    values[quantity][s, :, i, j, start:stop] = measured[quantity]
            dims = ("strength", "split", "deviation", "mean", "sample")
            yield run.dataset(
                {q: (dims, array[..., :stop].copy()) for q, array in values.items()}
                | {f"reference_{q}": (("strength", "split", "reference"), a) for q, a in references.items()},
                {
                    "mean": list(self.means),
                    "deviation": list(deviations),
                    "sample": np.arange(stop),
                    "reference": list(REFERENCES),
                },
            )

    def located(self, run: Measurement, strength: float, found: xr.Dataset, where: Mapping[str, Any]) -> Located:
        yield from ()
        law = with_moments(self.distribution, where["mean"], where["deviation"])
        if law is None:
            raise ValueError(
                f"{self.distribution} has no law of mean {where['mean']} and deviation {where['deviation']}, so there "
                "is no network there. Choose a mean and a deviation where the result has a loss."
            )
        aligned = run.placed(run.perturbed(strength).params)
        return self._family(run, aligned, law), tensor([where["sample"]])

    def _family(self, run: Measurement, aligned: Params, law: dict[str, float]) -> Combinations:
        return Combinations(run.params_a, (aligned,), partial(self._draws, run.modes, law))

    def _draws(self, modes: ModeSet, law: dict[str, float], index: Tensor):
        options = {"granularity": self.granularity, "first": int(index[0]), "n": len(index), "seed": self.seed}
        return (sample_coefficients(modes.spec, self.distribution, **options, **law),)
