"""Robustness: combinations under ever stronger perturbations of the matching."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from modecomb_viz.alignment import Alignment, perturbed_in
from modecomb_viz.hypercube import Combinations
from modecomb_viz.sweep.measurement import QUANTITIES, REFERENCES, Located, Measurement, Step, Sweep
from modecomb_viz.sweep.settings import LawSettings, check_count

__all__ = ["ALL_GROUPS", "PerturbationSweep"]

#: The name of the perturbation of all groups at once, where groups are perturbed one by one as well.
ALL_GROUPS = "all groups"

_REALISED = ("churn", "objective_lost")


@dataclass(frozen=True, kw_only=True)
class PerturbationSweep(LawSettings, Sweep):
    """Loss, accuracy, churn and lost objective of combinations under perturbations of the matching.

    The combinations are draws of a law of Λ, by default the midpoint; draw i is the same Λ at all strengths. The
    references are those of the unperturbed alignment.

    Attributes:
        distribution: of the coefficients; constant (by default ½, the midpoint) has one member, so it is not drawn.
        strength: one or more strengths in [0, 1].
        repeats: perturbations per strength; repeat r has the seed ``perturbation_seed + r`` at all strengths.
        per_group: perturb every group of units alone as well, by the draw that perturbs it among all.
        n: draws of the law per perturbation.
    """

    name: ClassVar[str] = "perturbation"

    distribution: str = "constant"
    parameters: dict[str, float] = field(default_factory=dict)
    strength: float | tuple[float, ...] = tuple(k / 10 for k in range(11))
    repeats: int = 5
    per_group: bool = False
    n: int = 8

    def __post_init__(self):
        super().__post_init__()
        check_count("repeats", self.repeats, 1, 10_000)
        check_count("n", self.n, 1, 10_000)
        object.__setattr__(self, "strength", self.strengths)
        if not self.strength:
            raise ValueError("strengths is empty; give at least one, such as [0, 0.5, 1].")

    def measure(self, run: Measurement) -> Iterator[Step]:
        groups = [ALL_GROUPS, *(run.modes.spec.sizes if self.per_group else ())]
        splits, count = len(self.splits), len(self.strengths)
        draws = 1 if self.distribution == "constant" else self.n
        run.total = (len(groups) * count * self.repeats * draws + len(REFERENCES)) * splits
        references = yield from run.references(run.alignment())
        shape = (len(groups), count, self.repeats)
        values = {q: np.full((splits, *shape, draws), np.nan) for q in QUANTITIES}
        realised = {name: np.full(shape, np.nan) for name in _REALISED}
        for repeat in range(self.repeats):
            for s, strength in enumerate(self.strengths):
                every = run.perturbed(strength, seed_offset=repeat)
                for g, group in enumerate(groups):
                    alignment = _of_group(every, group)
                    for name, array in realised.items():
                        array[g, s, repeat] = getattr(alignment, name)
                    measured = yield from run.evaluate(*self._combinations(run, alignment))
                    for quantity in QUANTITIES:
                        values[quantity][:, g, s, repeat] = measured[quantity]
            yield self._dataset(run, repeat + 1, groups, values, realised, references)

    def located(self, run: Measurement, strength: float, found: xr.Dataset, where: Mapping[str, Any]) -> Located:
        yield from ()
        every = run.perturbed(strength, seed_offset=where["repeat"])
        family, draws = self._combinations(run, _of_group(every, where.get("group", ALL_GROUPS)))
        return family, draws[[where.get("sample", 0)]]

    def _combinations(self, run: Measurement, alignment: Alignment) -> tuple[Combinations, Tensor]:
        """The networks of the law between A and this π(B)."""
        if self.distribution == "constant":
            return run.line(alignment.params), torch.tensor([self.parameters["value"]])
        family = self.draws(run.modes.spec, run.params_a, run.placed(alignment.params))
        return family, torch.arange(self.n)

    def _dataset(self, run: Measurement, repeats: int, groups: list[str], values, realised, references):
        """The dimensions ``group`` and ``sample`` are there where there is more than one of either."""
        one = {"group": not self.per_group, "sample": self.distribution == "constant"}
        dims = ("group", "strength", "repeat")
        dataset = run.dataset(
            {q: (("split", *dims, "sample"), a[:, :, :, :repeats].copy()) for q, a in values.items()}
            | {name: (dims, a[:, :, :repeats].copy()) for name, a in realised.items()}
            | {f"reference_{q}": (("split", "reference"), a) for q, a in references.items()},
            {
                "repeat": np.arange(repeats),
                "reference": list(REFERENCES),
                "group": groups,
                "sample": np.arange(next(iter(values.values())).shape[-1]),
            },
        )
        return dataset.isel({name: 0 for name, drop in one.items() if drop}, drop=True)


def _of_group(every: Alignment, group: str) -> Alignment:
    """The alignment with one group perturbed, or all of them."""
    return every if group == ALL_GROUPS else perturbed_in(every, [group])
