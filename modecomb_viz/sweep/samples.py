"""Combinability: many draws of a law of coefficients."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from torch import arange, tensor

from modecomb_viz.sweep.measurement import QUANTITIES, REFERENCES, Located, Measurement, Step, Sweep
from modecomb_viz.sweep.refinement import growing
from modecomb_viz.sweep.settings import LawSettings, check_count

__all__ = ["SamplesSweep"]


@dataclass(frozen=True, kw_only=True)
class SamplesSweep(LawSettings, Sweep):
    """Loss and accuracy of independent draws Λ of a law, and of A, B, the midpoint and the naive midpoint.

    Draw i depends on ``(seed, i)`` and the law alone, so a longer sweep begins with the draws of a shorter one.

    Attributes:
        n: number of draws.
        examples: keep the loss of every example, for intervals over examples in :func:`~modecomb_viz.summary`.
    """

    name: ClassVar[str] = "samples"

    n: int = 64
    examples: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_count("n", self.n, 1, 100_000)

    def located(self, run: Measurement, strength: float, found: xr.Dataset, where: Mapping[str, Any]) -> Located:
        yield from ()
        aligned = run.placed(run.perturbed(strength).params)
        return self.draws(run.modes.spec, run.params_a, aligned), tensor([where["sample"]])

    def measure(self, run: Measurement) -> Iterator[Step]:
        strengths, splits = len(self.strengths), len(self.splits)
        run.total = (self.n + len(REFERENCES)) * strengths * splits
        alignments = [run.perturbed(strength) for strength in self.strengths]
        aligned = [run.placed(alignment.params) for alignment in alignments]
        references = []
        for alignment in alignments:
            references.append((yield from run.references(alignment, examples=self.examples)))
        found: list[list[dict[str, np.ndarray]]] = [[] for _ in aligned]
        for start, stop in growing(self.n):
            for row, params_b in enumerate(aligned):
                family = self.draws(run.modes.spec, run.params_a, params_b)
                found[row].append((yield from run.evaluate(family, arange(start, stop), examples=self.examples)))
            variables = {}
            for quantity in references[0]:
                of_splits = quantity in QUANTITIES
                draws = [np.concatenate([part[quantity] for part in row], axis=int(of_splits)) for row in found]
                known = [row[quantity] for row in references]
                for name, values, dim in ((quantity, draws, "sample"), (f"reference_{quantity}", known, "reference")):
                    variables[name] = _dims(quantity, dim), np.stack(values)
            yield run.dataset(variables, {"sample": np.arange(stop), "reference": list(REFERENCES)})


def _dims(quantity: str, dim: str) -> tuple[str, ...]:
    """Of a quantity of every split, or of every example of one."""
    if quantity in QUANTITIES:
        return "strength", "split", dim
    return "strength", dim, quantity.removeprefix("example_loss_") + "_example"
