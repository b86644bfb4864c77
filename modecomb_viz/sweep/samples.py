"""Combinability: many draws of a law of coefficients."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from torch import Tensor, arange

from modecomb_viz.checkpoints import ModeSet
from modecomb_viz.hypercube import Coefficients, Combinations
from modecomb_viz.sweep.measurement import QUANTITIES, REFERENCES, Measurement, Step, Sweep
from modecomb_viz.sweep.refinement import growing
from modecomb_viz.sweep.settings import LawSettings, check_count

__all__ = ["SamplesSweep"]


@dataclass(frozen=True, kw_only=True)
class SamplesSweep(LawSettings, Sweep):
    """Loss and accuracy of independent draws Λ of a law, and of A, B, the midpoint and the naive midpoint.

    Draw i depends on ``(seed, i)`` and the law alone, so a longer sweep begins with the draws of a shorter one.

    Attributes:
        n: number of draws.
    """

    name: ClassVar[str] = "samples"

    n: int = 64

    def __post_init__(self):
        super().__post_init__()
        check_count("n", self.n, 1, 100_000)

    def _draws(self, modes: ModeSet, index: Tensor) -> tuple[Coefficients]:
        return (self.draw(modes, int(index[0]), len(index), self.seed),)

    def measure(self, run: Measurement) -> Iterator[Step]:
        modes = run.modes
        strengths, splits = len(self.strengths), len(self.splits)
        run.total = (self.n + len(REFERENCES)) * strengths * splits
        alignments = [run.perturbed(strength) for strength in self.strengths]
        aligned = [run.placed(alignment.params) for alignment in alignments]
        values = {q: np.full((strengths, splits, self.n), np.nan) for q in QUANTITIES}
        references = {q: np.full((strengths, splits, len(REFERENCES)), np.nan) for q in QUANTITIES}
        for row, alignment in enumerate(alignments):
            measured = yield from run.references(alignment)
            for quantity in QUANTITIES:
                references[quantity][row] = measured[quantity]
        for start, stop in growing(self.n):
            for row, params_b in enumerate(aligned):
                family = Combinations(run.params_a, (params_b,), partial(self._draws, modes))
                measured = yield from run.evaluate(family, arange(start, stop))
                for quantity in QUANTITIES:
                    values[quantity][row, :, start:stop] = measured[quantity]
            yield run.dataset(
                {q: (("strength", "split", "sample"), a[..., :stop].copy()) for q, a in values.items()}
                | {f"reference_{q}": (("strength", "split", "reference"), a) for q, a in references.items()},
                {"sample": np.arange(stop), "reference": list(REFERENCES)},
            )
