"""Named points of the cube, side by side."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from modecomb_viz.alignment.base import matched_names
from modecomb_viz.executor import Progress
from modecomb_viz.hypercube import NAMED, Coefficients, Combinations, expand, mean_over_weights
from modecomb_viz.permutation import Params
from modecomb_viz.similarity import weight_distance
from modecomb_viz.sweep.measurement import QUANTITIES, Located, Measurement, Step, Sweep
from modecomb_viz.sweep.named import EXTREMES, LABELS, Chosen, NamedPoints, NamedSettings

__all__ = ["PointsSweep", "swap_label"]

#: Points on the segment from A to π(B), and where.
_ON_SEGMENT = {"A": 0.0, "π(B)": 1.0, "midpoint": 0.5}

#: What is known of every point beside loss and accuracy.
_DETAILS = ("mean_coefficient", "midpoint_distance", "draw", "chosen_loss")


def swap_label(layer: str) -> str:
    """The name of the point A with one layer of π(B)."""
    return f"{layer} of B"


@dataclass(frozen=True, kw_only=True)
class PointsSweep(NamedSettings, Sweep):
    """Loss and accuracy of named points: A, π(B), midpoint, magnitude, sign, every layer swap, Fisher, best and worst.

    A layer swap is A with one layer of π(B). Fisher, magnitude and sign are those of
    :data:`~modecomb_viz.hypercube.NAMED`. Best and worst are draws of the law, chosen by their loss on training
    examples: ``draw`` is the number of the draw, ``chosen_loss`` that loss. ``mean_coefficient`` is the mean of Λ over
    all trained weights, ``midpoint_distance`` is ‖Θ(Λ) − Θ(½)‖ / ‖Θ_A − π(Θ_B)‖ over them.
    """

    name: ClassVar[str] = "points"

    def measure(self, run: Measurement) -> Iterator[Step]:
        names = [*_ON_SEGMENT, "magnitude", "sign", *map(swap_label, run.modes.spec.layer_names)]
        more = ["Fisher", *EXTREMES]
        count, strengths = len(names) + len(more), len(self.strengths)
        run.total = (count * len(self.splits) + self.n) * strengths
        named = NamedPoints(run, self)
        rows = [_Row(run, named, strength, count) for strength in self.strengths]
        for row in rows:
            yield from row.ends_and_midpoint()
            for name in ("magnitude", "sign"):
                yield from row.suggested(name)
            yield from row.swaps()
        yield self._dataset(run, rows, names)
        for row in rows:
            yield from row.suggested("fisher")
        yield self._dataset(run, rows, [*names, LABELS["fisher"]])
        for row in rows:
            yield from row.extremes()
        yield self._dataset(run, rows, [*names, *more])

    def located(self, run: Measurement, strength: float, found: xr.Dataset, where: Mapping[str, Any]) -> Located:
        name, known = where["point"], {}
        if name in EXTREMES:
            one = found.sel(point=name)
            known = {name: Chosen(int(one.draw), float(one.chosen_loss))}
        row = _Row(run, NamedPoints(run, self, known), strength, 1)
        return (yield from row.located(name))

    def _dataset(self, run: Measurement, rows: list["_Row"], names: list[str]):
        variables: dict[str, Any] = {}
        for quantity in QUANTITIES:
            values = np.stack([row.values[quantity][:, : len(names)] for row in rows])
            variables[quantity] = ("strength", "split", "point"), values
        for detail in _DETAILS:
            values = np.stack([row.details[detail][: len(names)] for row in rows])
            variables[detail] = ("strength", "point"), values
        return run.dataset(variables, {"point": names})


class _Row:
    """The points between A and one π(B), in the order in which they are evaluated.

    Attributes:
        values: loss and accuracy ``[split, point]``, NaN where not yet evaluated.
        details: ``[point]``, what else is known.
    """

    def __init__(self, run: Measurement, named: NamedPoints, strength: float, count: int):
        self._run, self._named, self._alignment = run, named, run.perturbed(strength)
        self._aligned = run.placed(self._alignment.params)
        self._midpoint: Params = {k: w[0] for k, w in run.line(self._aligned)(torch.tensor([0.5])).items()}
        self.values = {q: np.full((len(run.splits), count), np.nan) for q in QUANTITIES}
        self.details = {detail: np.full(count, np.nan) for detail in _DETAILS}
        self._done = 0

    def ends_and_midpoint(self) -> Generator[Progress, None, None]:
        """A, π(B) and the midpoint."""
        yield from self._add(self._run.line(self._aligned), torch.tensor(list(_ON_SEGMENT.values())))

    def located(self, name: str) -> Located:
        """One point by its name."""
        swaps = [swap_label(layer) for layer in self._run.modes.spec.layer_names]
        if name in _ON_SEGMENT:
            return self._run.line(self._aligned), torch.tensor([_ON_SEGMENT[name]])
        if name in EXTREMES:
            draws = self._named.draws(self._aligned)
            found = yield from self._named.extremes(draws)
            return draws, torch.tensor([found[name].draw])
        if name in swaps:
            return self._swapped(), torch.tensor([swaps.index(name)])
        rule = next(rule for rule in NAMED if LABELS.get(rule, rule) == name)
        return (yield from self._suggestion(rule)), torch.tensor([0])

    def swaps(self) -> Generator[Progress, None, None]:
        """A with one layer of π(B), layer after layer."""
        yield from self._add(self._swapped(), torch.arange(len(self._run.modes.spec.layer_names)))

    def _swapped(self) -> Combinations:
        """A with one layer of π(B), by the number of the layer."""
        spec = self._run.modes.spec

        def at(number: Tensor) -> tuple[Coefficients]:
            values = {layer: (number == i).double() for i, layer in enumerate(spec.layer_names)}
            return (expand(spec, "layer", values),)

        return self._family(at)

    def suggested(self, name: str) -> Generator[Progress, None, None]:
        """A point that the networks suggest."""
        family = yield from self._suggestion(name)
        yield from self._add(family, torch.tensor([self._done]))

    def _suggestion(self, name: str) -> Generator[Progress, None, Combinations]:
        coefficients = yield from self._named.coefficients(name, self._alignment)
        return self._family(lambda number: (coefficients,))

    def extremes(self) -> Generator[Progress, None, None]:
        """The best and the worst draw."""
        draws = self._named.draws(self._aligned)
        found = yield from self._named.extremes(draws)
        for name in EXTREMES:
            yield from self._add(draws, torch.tensor([found[name].draw]), found[name])

    def _family(self, at: Any) -> Combinations:
        return Combinations(self._run.params_a, (self._aligned,), at)

    def _add(
        self, family: Combinations, coordinates: Tensor, chosen: Chosen | None = None
    ) -> Generator[Progress, None, None]:
        measured = yield from self._run.evaluate(family, coordinates)
        spec, start = self._run.modes.spec, self._done
        self._done = stop = start + len(coordinates)
        for quantity in QUANTITIES:
            self.values[quantity][:, start:stop] = measured[quantity]
        (coefficients,) = family.coefficients(coordinates)
        self.details["mean_coefficient"][start:stop] = mean_over_weights(spec, coefficients)
        ends = self._run.params_a, self._aligned
        for i in range(len(coordinates)):
            point = {name: w[0] for name, w in family(coordinates[i : i + 1]).items()}
            distance = weight_distance(point, self._midpoint, *ends, matched_names(spec))
            self.details["midpoint_distance"][start + i] = distance
        if chosen:
            self.details["draw"][start], self.details["chosen_loss"][start] = chosen
