"""A map while it is computed: what is known of it, on all data and on a sample, and what follows for the rest."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from modecomb_viz.sweep.surrogate import Mask, Surface, coarsest, estimate, nearest, next_points

__all__ = ["GrowingMap"]

#: Rounds of evaluation before errors are trusted to end a map.
_LEAST_ROUNDS = 2

#: A slice is noisy when doubling its points leaves more than this share of the mean error.
_NOISY = 0.7

#: A sample of the data serves a noisy slice when its difference to all data is at most this share as rough.
_ALIKE = 0.5

Found = Mapping[str, Float[np.ndarray, "split point"]]


class GrowingMap:
    """Loss and accuracy of one plane on some splits, from coarse to fine.

    A caller evaluates :meth:`wanted_of_sample` on a sample of every split and :meth:`wanted` on the whole splits, and
    puts in what it found, until neither wants more. In between, :meth:`surfaces` has the whole map.

    Args:
        resolution: points per side.
        splits: number of splits.
        tolerance: share of the range of the loss that two standard errors may be when the map ends; 0 evaluates all.
        sampled: whether there are samples.

    Attributes:
        evaluated: the points that were evaluated on all data.
    """

    QUANTITIES = ("loss", "accuracy")

    def __init__(self, resolution: int, splits: int, tolerance: float = 0.0, *, sampled: bool = False):
        self._tolerance, self._sampling = tolerance, sampled
        self.evaluated, self._sampled = np.zeros((2, resolution, resolution), dtype=bool)
        kinds = ("all", "sample", "sample error")
        shape = (splits, resolution, resolution)
        self._values = {(kind, q): np.full(shape, np.nan) for kind in kinds for q in self.QUANTITIES}
        self._splits = range(splits)
        self._rounds, self._noisy = 0, False
        self._surfaces: dict[str, list[Surface]] | None = None

    def wanted_of_sample(self) -> Mask:
        """Points to evaluate on the samples now: the coarsest at first, all others once the slice turns out noisy."""
        if self._sampling and not self._sampled.any():
            return coarsest(len(self.evaluated))
        return ~self._sampled & self._noisy

    def put_sample(self, points: Mask, values: Found, errors: Found):
        """What the samples gave, and its standard errors as estimates of what all data would give."""
        self._put("sample", points, values)
        self._put("sample error", points, errors)
        self._sampled |= points

    def wanted(self) -> Mask:
        """Points to evaluate on all data now; none when the map is done."""
        if not self.evaluated.any():
            return coarsest(len(self.evaluated))
        if self.evaluated.all() or (self._rounds >= _LEAST_ROUNDS and 2 * self._errors(np.max) <= self._tolerance):
            return np.zeros_like(self.evaluated)
        roughness = np.max([surface.roughness / spread for surface, spread in self._relative()], 0)
        return next_points(roughness, self.evaluated, int(self.evaluated.sum()), self._tolerance / 2)

    def put(self, points: Mask, values: Found):
        """What all data gave."""
        judged = self._rounds == _LEAST_ROUNDS - 1 and self._sampling
        before = self._errors(np.mean) if judged else 0.0
        self._put("all", points, values)
        self.evaluated |= points
        self._rounds += 1
        if judged and not self.evaluated.all():
            self._noisy = self._errors(np.mean) > _NOISY * before and self._samples_are_alike()

    def _put(self, kind: str, points: Mask, values: Found):
        for quantity in self.QUANTITIES:
            self._values[kind, quantity][:, points] = values[quantity]
        self._surfaces = None

    def surfaces(self) -> dict[str, list[Surface]]:
        """The whole map of every quantity, one per split; before anything is evaluated, that of the samples."""
        if self._surfaces is None:
            self._surfaces = {q: [self._surface(q, split) for split in self._splits] for q in self.QUANTITIES}
        return self._surfaces

    def _surface(self, quantity: str, split: int) -> Surface:
        values, sample, error = (self._values[kind, quantity][split] for kind in ("all", "sample", "sample error"))
        loss = quantity == "loss"
        if self.evaluated.any():
            base = sample if self._sampled.all() else None
            return estimate(values, self.evaluated, loss=loss, base=base)
        found = estimate(sample, self._sampled, loss=loss)
        return found._replace(errors=np.hypot(found.errors, nearest(error, self._sampled)))

    def _relative(self) -> list[tuple[Surface, float]]:
        """The loss of every split, with the range of what is evaluated of it."""
        known = [values[self.evaluated & np.isfinite(values)] for values in self._values["all", "loss"]]
        spreads = [float(np.ptp(values)) if values.size else 0.0 for values in known]
        return [(s, spread or 1.0) for s, spread in zip(self.surfaces()["loss"], spreads, strict=True)]

    def _errors(self, statistic: Callable[[np.ndarray], float]) -> float:
        """A statistic of the standard errors of the loss, relative to its range, of the worst split.

        Points that are taken to be no numbers have none.
        """
        found = [surface.errors[~np.isnan(surface.errors)] / spread for surface, spread in self._relative()]
        return max((float(statistic(errors)) for errors in found if errors.size), default=0.0)

    def _samples_are_alike(self) -> bool:
        """Whether the samples' difference to all data is smoother than the loss, seen on the coarsest points."""
        first = coarsest(len(self.evaluated))
        rough = {False: 0.0, True: 0.0}
        for with_base in rough:
            for split in self._splits:
                values, sample = (self._values[kind, "loss"][split] for kind in ("all", "sample"))
                found = estimate(values, first, loss=True, base=sample if with_base else None)
                rough[with_base] += found.roughness[first].sum()
        return bool(rough[True] <= _ALIKE * rough[False])
