"""Robustness: the midpoint under ever stronger perturbations of the matching."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from modecomb_viz.sweep.measurement import QUANTITIES, REFERENCES, Measurement, Step, Sweep
from modecomb_viz.sweep.settings import check_count, check_finite

__all__ = ["PerturbationSweep"]


@dataclass(frozen=True, kw_only=True)
class PerturbationSweep(Sweep):
    """Loss, accuracy, churn and lost objective at Λ = ``coefficient`` · 1 under perturbations of the matching.

    The references are those of the unperturbed alignment.

    Attributes:
        strength: one or more strengths in [0, 1].
        repeats: perturbations per strength; repeat r has the seed ``perturbation_seed + r`` at all strengths.
        coefficient: λ of the network that is measured; ½ is the midpoint.
    """

    name: ClassVar[str] = "perturbation"

    strength: float | tuple[float, ...] = tuple(k / 10 for k in range(11))
    repeats: int = 5
    coefficient: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        check_count("repeats", self.repeats, 1, 10_000)
        check_finite("coefficient", self.coefficient)
        object.__setattr__(self, "strength", self.strengths)
        if not self.strength:
            raise ValueError("strengths is empty; give at least one, such as [0, 0.5, 1].")

    def measure(self, run: Measurement) -> Iterator[Step]:
        splits, count = len(self.splits), len(self.strengths)
        run.total = (count * self.repeats + len(REFERENCES)) * splits
        references = yield from run.references(run.alignment())
        values = {q: np.full((splits, count, self.repeats), np.nan) for q in QUANTITIES}
        realised = {name: np.full((count, self.repeats), np.nan) for name in ("churn", "objective_lost")}
        for repeat in range(self.repeats):
            alignments = [run.perturbed(strength, seed_offset=repeat) for strength in self.strengths]
            for name, array in realised.items():
                array[:, repeat] = [getattr(alignment, name) for alignment in alignments]
            for i, alignment in enumerate(alignments):
                measured = yield from run.evaluate(run.line(alignment.params), torch.tensor([self.coefficient]))
                for quantity in QUANTITIES:
                    values[quantity][:, i, repeat] = measured[quantity][:, 0]
            yield self._dataset(run, repeat + 1, values, realised, references)

    def _dataset(self, run: Measurement, repeats: int, values, realised, references):
        return run.dataset(
            {q: (("split", "strength", "repeat"), a[..., :repeats].copy()) for q, a in values.items()}
            | {name: (("strength", "repeat"), a[:, :repeats].copy()) for name, a in realised.items()}
            | {f"reference_{q}": (("split", "reference"), a) for q, a in references.items()},
            {"repeat": np.arange(repeats), "reference": list(REFERENCES)},
        )
