"""Non-vacuity: how different combinations are, from their parents and from each other, in function and in weights."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
import xarray as xr
from torch import Tensor

from modecomb_viz.alignment.base import matched_names
from modecomb_viz.executor import Progress
from modecomb_viz.hypercube import Combinations
from modecomb_viz.permutation import Params
from modecomb_viz.similarity import FUNCTIONAL, WEIGHTS, InnerProducts, disagreement_bounds, flat_weights
from modecomb_viz.sweep.measurement import QUANTITIES, Located, Measurement, Step, Sweep
from modecomb_viz.sweep.refinement import growing
from modecomb_viz.sweep.settings import LawSettings, check_count

__all__ = ["ENSEMBLE", "SimilaritySweep"]

#: The name of the mean of the logits of A and B.
ENSEMBLE = "ensemble of A and B"

#: Networks on the segment from A to π(B), and where.
_ON_SEGMENT = {"A": 0.0, "B": 1.0, "midpoint": 0.5}

#: Draws that are compared before there is a first picture.
_FIRST = 2

_BOUNDS = ("least_disagreement", "most_disagreement")


@dataclass(frozen=True, kw_only=True)
class SimilaritySweep(LawSettings, Sweep):
    """Every pair among A, π(B), the midpoint, the other modes, the ensemble of A and B, and draws of a law, compared.

    The other modes of the set are aligned to a as well: independent networks, the measure of a large difference. A and
    B are those at coefficient 0 and 1, whatever their names; another mode of such a name is "mode A".
    ``ensemble_loss`` and ``ensemble_accuracy`` are those of the mean of the logits of the first k draws. Measures are
    those of :mod:`modecomb_viz.similarity`.

    Attributes:
        n: number of draws.
        layer: the module whose outputs CKA compares; by default the logits.
    """

    name: ClassVar[str] = "similarity"

    n: int = 16
    layer: str = ""

    def __post_init__(self):
        super().__post_init__()
        check_count("n", self.n, 1, 1000)
        if isinstance(self.strength, tuple):
            raise ValueError(f"a similarity sweep takes one strength, got {self.strength}.")

    def measure(self, run: Measurement) -> Iterator[Step]:
        modes = run.modes
        if self.layer and self.layer not in dict(modes.model.named_modules()):
            known = ", ".join(name for name, _ in modes.model.named_modules() if name)
            raise ValueError(f"layer must be a module of the network, got '{self.layer}'. It has {known}.")
        others = [mode for mode in modes.params if mode not in (self.a, self.b)]
        run.total = (3 + len(others) + self.n) * len(self.splits)
        aligned = run.placed(run.perturbed(self.strength).params)
        table = _Table(run, self, aligned)
        yield from table.add(list(_ON_SEGMENT), run.line(aligned), torch.tensor(list(_ON_SEGMENT.values())))
        for mode in others:
            yield from table.add([_called(mode)], *self._other(run, mode))
        table.add_ensemble()
        draws = self.draws(modes.spec, run.params_a, aligned)
        for start, stop in growing(self.n, _FIRST):
            yield from table.add([f"draw {i}" for i in range(start, stop)], draws, torch.arange(start, stop))
            yield table.dataset()

    def located(self, run: Measurement, strength: float, found: xr.Dataset, where: Mapping[str, Any]) -> Located:
        yield from ()
        name = where["model"]
        if name == ENSEMBLE:
            raise ValueError(
                f"model '{ENSEMBLE}' is no network but the mean of what two answer, so it has no weights to export. "
                "Choose 'midpoint', or another model of the result."
            )
        for mode in run.modes.params:
            if mode not in (self.a, self.b) and _called(mode) == name:
                return self._other(run, mode)
        aligned = run.placed(run.perturbed(strength).params)
        if name in _ON_SEGMENT:
            return run.line(aligned), torch.tensor([_ON_SEGMENT[name]])
        draws = self.draws(run.modes.spec, run.params_a, aligned)
        return draws, torch.tensor([int(name.removeprefix("draw "))])

    def _other(self, run: Measurement, mode: str) -> tuple[Combinations, Tensor]:
        """Another mode, aligned to a."""
        return run.line(run.perturbed(self.strength, mode).params), torch.tensor([1.0])


def _called(mode: str) -> str:
    """The name of another mode in a result, where A and B are taken."""
    return f"mode {mode}" if mode in _ON_SEGMENT else mode


class _Table:
    """Networks, what they answer, and all pairs compared."""

    def __init__(self, run: Measurement, sweep: SimilaritySweep, aligned: Params):
        self._run, self._sweep, self._matched = run, sweep, matched_names(run.modes.spec)
        self._weights = InnerProducts(*(flat_weights(params, self._matched) for params in (run.params_a, aligned)))
        self._weighted: list[int] = []
        self._names: list[str] = []
        self._logits: list[dict[str, Tensor]] = []
        self._features: list[dict[str, Tensor]] = []
        self._pairs: dict[tuple[str, str, int, int], float] = {}

    def add(self, names: list[str], family: Combinations, coordinates: Tensor) -> Generator[Progress, None, None]:
        """Evaluate networks and compare them with all that are there."""
        found = yield from self._run.of_splits(family, coordinates, ("logits",))
        logits = {split: torch.from_numpy(of["logits"]) for split, of in found.items()}
        rows = []
        for i, name in enumerate(names):
            weights = {k: w[0] for k, w in family(coordinates[i : i + 1]).items()}
            rows.append(flat_weights(weights, self._matched))
            self._weighted.append(len(self._names))
            self._append(name, {split: values[i] for split, values in logits.items()}, weights)
            yield Progress(self._run.done, self._run.total)
        for _ in self._weights.add(rows):
            yield Progress(self._run.done, self._run.total)

    def add_ensemble(self):
        """The mean of the logits of the first two networks."""
        mean = {split: (self._logits[0][split] + self._logits[1][split]) / 2 for split in self._logits[0]}
        self._append(ENSEMBLE, mean, None)

    def _append(self, name: str, logits: dict[str, Tensor], weights: Params | None):
        features = logits
        if self._sweep.layer:
            features = self._run.features(weights, self._sweep.layer) if weights else {}
        for table, value in zip((self._names, self._logits, self._features), (name, logits, features), strict=True):
            table.append(value)
        for other in range(len(self._names)):
            self._compare(len(self._names) - 1, other)

    def _compare(self, i: int, j: int):
        for split, data in self._run.splits.items():
            y = data.y.cpu()
            pair = self._logits[i][split], self._logits[j][split]
            for measure, function in FUNCTIONAL.items():
                given = pair
                if measure == "cka":
                    given = self._features[i].get(split), self._features[j].get(split)
                value = np.nan if given[0] is None or given[1] is None else function(*given, y)
                self._put(measure, split, i, j, value)
            for measure, value in zip(_BOUNDS, disagreement_bounds(*pair, y), strict=True):
                self._put(measure, split, i, j, value)

    def _put(self, measure: str, split: str, i: int, j: int, value: float):
        self._pairs[measure, split, i, j] = self._pairs[measure, split, j, i] = value

    def _of_weights(self, measure: str) -> np.ndarray:
        """``[network, network]``, NaN for those that have none."""
        table = np.full((len(self._names),) * 2, np.nan)
        table[np.ix_(self._weighted, self._weighted)] = WEIGHTS[measure](self._weights).numpy()
        return table

    def dataset(self):
        """All that is there."""
        splits, count = list(self._run.splits), len(self._names)
        every = range(count)
        variables: dict[str, Any] = {}
        for measure in (*FUNCTIONAL, *_BOUNDS):
            values = [[[self._pairs[measure, s, i, j] for j in every] for i in every] for s in splits]
            variables[measure] = ("split", "model", "other"), np.array(values)
        for measure in WEIGHTS:
            variables[measure] = ("model", "other"), self._of_weights(measure)
        own = [[_measured(one[split], self._run.splits[split].y.cpu()) for one in self._logits] for split in splits]
        together = [[_measured(mean, self._run.splits[s].y.cpu()) for mean in self._growing_means(s)] for s in splits]
        for q, quantity in enumerate(QUANTITIES):
            variables[quantity] = ("split", "model"), np.array(own)[..., q]
            variables[f"ensemble_{quantity}"] = ("split", "k"), np.array(together)[..., q]
        k = np.arange(1, 1 + np.array(together).shape[1])
        return self._run.dataset(variables, {"model": self._names, "other": self._names, "k": k})

    def _growing_means(self, split: str) -> Iterator[Tensor]:
        """The mean logits of the first draw, of the first two, …"""
        total, count = 0.0, 0
        for name, logits in zip(self._names, self._logits, strict=True):
            if name.startswith("draw "):
                total, count = total + logits[split], count + 1
                yield total / count


def _measured(logits: Tensor, y: Tensor) -> tuple[float, float]:
    """Loss and accuracy."""
    if logits.isnan().any():
        return np.nan, np.nan
    return F.cross_entropy(logits.double(), y).item(), (logits.argmax(-1) == y).double().mean().item()
