"""Which layers matter: one layer after another goes from A to π(B) while the others stay."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from modecomb_viz.hypercube import Coefficients, Combinations, grid_axis
from modecomb_viz.sweep.measurement import QUANTITIES, Located, Measurement, Step, Sweep
from modecomb_viz.sweep.refinement import levels
from modecomb_viz.sweep.settings import check_count, check_finite

__all__ = ["LayersSweep"]

#: Half the step of the central difference that gives a slope, in coefficients.
_STEP = 0.002


@dataclass(frozen=True, kw_only=True)
class LayersSweep(Sweep):
    """Loss and accuracy along Λ(t) = base + (t − base_ℓ)·e_ℓ: layer ℓ has the coefficient t, all others stay at base.

    With base 0 the curve of a layer goes from A to A with that layer of π(B) (t = 1, the swap), and its barriers are
    layer-wise barriers (Adilova, Andriushchenko, Kamp, Fischer, Jaggi, "Layer-wise Linear Mode Connectivity", 2024).
    ``slope`` is ∂L/∂λ_ℓ at the base, by a central difference of ±0.002; ``base_loss`` and ``base_accuracy`` are those
    of the base itself.

    Attributes:
        base: coefficient of the other layers: 0 is A, 1 is π(B), ½ the midpoint; or one for every layer.
        points: equidistant values of t from 0 to 1.
    """

    name: ClassVar[str] = "layers"

    base: float | tuple[float, ...] = 0.0
    points: int = 9

    def __post_init__(self):
        super().__post_init__()
        check_count("points", self.points, 2, 1025)
        for base in self._bases(1):
            check_finite("base", base)

    def _bases(self, layers: int) -> tuple[float, ...]:
        """The coefficient of every layer at the base."""
        return self.base if isinstance(self.base, tuple) else (self.base,) * layers

    def measure(self, run: Measurement) -> Iterator[Step]:
        modes = run.modes
        layers, count = modes.spec.layer_names, len(modes.spec.layer_names)
        bases = self._bases(count)
        if len(bases) != count:
            raise ValueError(
                f"base must be one number, or one for each of the {count} layers ({', '.join(layers)}), "
                f"got {self.base}."
            )
        run.total = ((self.points + 2) * count + 1) * len(self.strengths) * len(self.splits)
        families = [self._family(run, strength) for strength in self.strengths]
        shape = (len(families), len(self.splits), count)
        slopes, at_base = np.full(shape, np.nan), {q: np.full(shape[:2], np.nan) for q in QUANTITIES}
        sides = [[layer, bases[layer] + side] for layer in range(count) for side in (-_STEP, _STEP)]
        sides = torch.tensor([[0, bases[0]], *sides], dtype=torch.float64)
        for s, family in enumerate(families):
            measured = yield from run.evaluate(family, sides)
            for quantity in QUANTITIES:
                at_base[quantity][s] = measured[quantity][:, 0]
            below, above = measured["loss"][:, 1:].reshape(len(self.splits), count, 2).transpose(2, 0, 1)
            slopes[s] = (above - below) / (2 * _STEP)
        t, values = grid_axis(0.0, 1.0, self.points), {q: np.full((*shape, self.points), np.nan) for q in QUANTITIES}
        for stride, new in levels(self.points):
            at = torch.as_tensor([[layer, value] for layer in range(count) for value in t[new]], dtype=torch.float64)
            for s, family in enumerate(families):
                measured = yield from run.evaluate(family, at)
                for quantity in QUANTITIES:
                    values[quantity][s][..., new] = measured[quantity].reshape(len(self.splits), count, len(new))
            dims = ("strength", "split", "layer", "t")
            yield run.dataset(
                {q: (dims, array[..., ::stride].copy()) for q, array in values.items()}
                | {f"base_{q}": (dims[:2], array) for q, array in at_base.items()}
                | {"slope": (dims[:-1], slopes)},
                {"t": t[::stride], "layer": list(layers)},
            )

    def located(self, run: Measurement, strength: float, found: xr.Dataset, where: Mapping[str, Any]) -> Located:
        yield from ()
        layer = list(run.modes.spec.layer_names).index(where["layer"])
        return self._family(run, strength), torch.tensor([[layer, where["t"]]], dtype=torch.float64)

    def _family(self, run: Measurement, strength: float) -> Combinations:
        spec = run.modes.spec
        number = {layer: i for i, layer in enumerate(spec.layer_names)}
        bases = dict(zip(spec.layer_names, self._bases(len(number)), strict=True))

        def at(points: Tensor) -> tuple[Coefficients]:
            layer, t = points.unbind(1)

            def of(name: str, a: Tensor) -> Tensor:
                own = torch.where(layer == number[spec.layers[name]], t, bases[spec.layers[name]])
                return own.to(a).reshape(-1, *[1] * a.ndim)

            return ({name: of(name, a) for name, a in run.params_a.items()},)

        return Combinations(run.params_a, (run.placed(run.perturbed(strength).params),), at)
