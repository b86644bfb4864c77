"""The best and the worst point of the cube, searched at the granularity of layers or units."""

import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from modecomb_viz.alignment import Alignment
from modecomb_viz.data import Split
from modecomb_viz.executor import Progress
from modecomb_viz.hypercube import Coefficients, Combinations, expand, slots
from modecomb_viz.permutation import PermutationSpec
from modecomb_viz.sweep.gradients import loss_and_gradient, train_losses, training_part
from modecomb_viz.sweep.measurement import QUANTITIES, REFERENCES, Found, Located, Measurement, Step, Sweep
from modecomb_viz.sweep.settings import check_choice, check_count, check_finite

__all__ = ["SearchSweep", "Space"]

#: A result is given after every so-many-th part of the steps.
_PICTURES = 20

#: Coefficients beyond which the evolution adapts variances alone: a whole covariance matrix costs their number cubed.
_MOST_CORRELATED = 100

#: First standard deviation of the evolution, as a share of the width of the bounds.
_FIRST_DEVIATION = 0.1


@dataclass(frozen=True, kw_only=True)
class SearchSweep(Sweep):
    """The best or worst Λ that a search finds from the midpoint, with the loss and accuracy of what it had on the way.

    The search sees a stratified part of the train split alone. The point of a step is the best (worst) that was seen up
    to it, by ``searched_loss``, the loss of that part; step 0 is the midpoint and the last step the point found. The
    definition of the search is ours.

    "gradient": Adam (Kingma & Ba, 2015) along the exact gradient ∂L/∂Λ, each step projected to the bounds; it takes
    no repair, and is computed in float32 or float64. "evolution": CMA-ES (Hansen & Ostermeier, 2001), of more than 100
    coefficients its separable form (Ros & Hansen, 2008), from ``seed``; a step is a generation, clipped to the bounds.
    When it has converged it begins anew with twice the population (Auger & Hansen, 2005).

    A journal keeps all evaluations; a run that goes on computes its gradients again, to the same values on a CPU.

    Attributes:
        goal: "best", the smallest loss, or "worst", the largest.
        method: "gradient" or "evolution".
        granularity: what shares one coefficient: layer or unit.
        n: steps after the midpoint.
        bounds: lowest and highest coefficient; 0 and 1 is the cube. The midpoint ½ lies between.
        rate: of the gradient: the step size of Adam, in coefficients.
        train_examples: training examples (a stratified part) on which it searches.
    """

    name: ClassVar[str] = "search"

    goal: str = "best"
    method: str = "gradient"
    granularity: str = "layer"
    n: int = 60
    bounds: tuple[float, float] = (0.0, 1.0)
    rate: float = 0.05
    train_examples: int = 2000

    def __post_init__(self):
        super().__post_init__()
        check_choice("goal", self.goal, ("best", "worst"))
        check_choice("method", self.method, list(_SEARCHERS))
        check_choice("granularity", self.granularity, ("layer", "unit"))
        check_count("n", self.n, 1, 100_000)
        check_count("train_examples", self.train_examples, 1, 10_000_000)
        if not (isinstance(self.bounds, tuple) and len(self.bounds) == 2):
            raise ValueError(f"bounds must be the lowest and the highest coefficient, as (0, 1), got {self.bounds!r}.")
        for bound in self.bounds:
            check_finite("bounds", bound)
        if not self.bounds[0] < 0.5 < self.bounds[1]:
            raise ValueError(f"bounds must have ½, where the search begins, between them, got {self.bounds}.")
        check_finite("rate", self.rate)
        if self.rate <= 0:
            raise ValueError(f"rate must be > 0, got {self.rate}.")
        if self.method == "gradient" and self.repair != "none":
            raise ValueError(
                f"the gradient of a repaired network is not computed, got repair={self.repair!r}. "
                "Choose repair='none' or method='evolution'."
            )

    def measure(self, run: Measurement) -> Iterator[Step]:
        run.total = (self.n + 1 + len(REFERENCES)) * len(self.splits) * len(self.strengths)
        space, part = Space(run.modes.spec, self.granularity), training_part(run, self.train_examples)
        searches = [_Search(run, self, space, part, strength) for strength in self.strengths]
        for search in searches:
            yield from search.begin()
        for step in range(self.n + 1):
            for search in searches:
                yield from search.advance()
            if step == self.n or step % max(1, self.n // _PICTURES) == 0:
                yield self._dataset(run, space, searches)

    def _dataset(self, run: Measurement, space: "Space", searches: list["_Search"]):
        variables: dict[str, Any] = {}
        for q in QUANTITIES:
            values = np.stack([np.concatenate([found[q] for found in search.found], 1) for search in searches])
            variables[q] = ("strength", "split", "step"), values
            references = np.stack([search.references[q] for search in searches])
            variables[f"reference_{q}"] = ("strength", "split", "reference"), references
        losses, ends = variables["loss"][1][..., -1], variables["reference_loss"][1][..., :2]
        excess = losses[..., None] - np.stack([ends.min(-1), ends.max(-1)], -1)
        points = torch.stack([torch.stack(search.points) for search in searches])
        variables |= {
            "searched_loss": (("strength", "step"), np.array([search.losses for search in searches])),
            "excess": (("strength", "split", "end"), excess),
            "coefficient": (("strength", "step", "slot"), np.stack([space.of_layers(p).numpy() for p in points])),
        }
        coordinates = {
            "step": np.arange(len(searches[0].points)),
            "slot": list(space.shapes),
            "end": ["better", "worse"],
            "reference": list(REFERENCES),
        }
        if self.granularity == "unit":
            variables["unit_coefficient"] = ("strength", "unit"), points[:, -1].numpy()
            coordinates["unit"] = space.names
        return run.dataset(variables, coordinates)

    def located(self, run: Measurement, strength: float, found: xr.Dataset, where: Mapping[str, Any]) -> Located:
        yield from ()
        last = int(found.step[-1])
        if self.granularity == "unit" and where["step"] != last:
            raise ValueError(
                f"a search of units keeps the coefficients of its last step alone, got step={where['step']}. Give "
                f"step={last}, or search with granularity='layer', which keeps them all."
            )
        point = found.unit_coefficient if self.granularity == "unit" else found.coefficient.sel(step=where["step"])
        family = Space(run.modes.spec, self.granularity).family(run, run.perturbed(strength))
        return family, torch.tensor(point.values, dtype=torch.float64)[None]


class Space:
    """Points as vectors of their coefficients at a granularity, layer after layer.

    Attributes:
        shapes: of the coefficients of every layer.
        names: of every coefficient.
    """

    def __init__(self, spec: PermutationSpec, granularity: str):
        self._spec, self._granularity = spec, granularity
        self.shapes = slots(spec, granularity)
        self._lengths = [math.prod(shape) for shape in self.shapes.values()]
        self.names = [
            f"{layer} {unit}" if shape else layer
            for layer, shape in self.shapes.items()
            for unit in range(math.prod(shape))
        ]

    def coefficients(self, points: Float[Tensor, "point coefficient"]) -> tuple[Coefficients]:
        """The coefficients of every tensor."""
        parts = points.split(self._lengths, 1)
        blocks = {s: p.reshape(-1, *shape) for (s, shape), p in zip(self.shapes.items(), parts, strict=True)}
        return (expand(self._spec, self._granularity, blocks),)

    def family(self, run: Measurement, alignment: Alignment) -> Combinations:
        """The networks between A and π(B) by their coefficients."""
        return Combinations(run.params_a, (run.placed(alignment.params),), self.coefficients)

    def of_layers(self, points: Float[Tensor, "point coefficient"]) -> Float[Tensor, "point layer"]:
        """The mean coefficient of every layer."""
        return torch.stack([part.mean(1) for part in points.split(self._lengths, 1)], 1)


class _Search:
    """One search, between A and one π(B), and what it had at every step.

    Attributes:
        references: loss and accuracy ``[split, reference]``.
        points: at every step the best so far ``[coefficient]``.
        losses: of these, on the part that is searched.
        found: of these, on the splits.
    """

    def __init__(self, run: Measurement, sweep: SearchSweep, space: Space, part: Split, strength: float):
        self._run, self._sweep, self._alignment = run, sweep, run.perturbed(strength)
        self._family = space.family(run, self._alignment)
        self._searcher = _SEARCHERS[sweep.method](run, sweep, self._family, part, len(space.names))
        self.references: Found = {}
        self.points: list[Tensor] = []
        self.losses: list[float] = []
        self.found: list[Found] = []

    def begin(self) -> Generator[Progress, None, None]:
        """Evaluate what the search is compared with."""
        self.references = yield from self._run.references(self._alignment)

    def advance(self) -> Generator[Progress, None, None]:
        """One step; what is better than all before is evaluated on the splits."""
        point, loss = yield from self._searcher.step()
        if self._is_better(loss):
            found = yield from self._run.evaluate(self._family, point[None])
        else:
            point, loss, found = self.points[-1], self.losses[-1], self.found[-1]
            self._run.done += len(self._sweep.splits)
            yield Progress(self._run.done, self._run.total)
        self.points.append(point)
        self.losses.append(loss)
        self.found.append(found)

    def _is_better(self, loss: float) -> bool:
        """A loss that is not a number is worse than any, for either goal."""
        if not self.losses or math.isnan(self.losses[-1]):
            return True
        return loss < self.losses[-1] if self._sweep.goal == "best" else loss > self.losses[-1]


class _Searcher(Protocol):
    """A method of search."""

    def step(self) -> Generator[Progress, None, tuple[Tensor, float]]:
        """The best point of a step ``[coefficient]``, float64 on the CPU, and its loss; first the midpoint."""
        ...


class _Descent:
    """Adam along the gradient, or against it, projected to the bounds."""

    def __init__(self, run: Measurement, sweep: SearchSweep, family: Combinations, part: Split, size: int):
        self._run, self._family, self._part, self._bounds = run, family, part, sweep.bounds
        self._point = torch.full((size,), 0.5, dtype=torch.float64)
        self._adam = torch.optim.Adam([self._point], lr=sweep.rate, maximize=sweep.goal == "worst")

    def step(self) -> Generator[Progress, None, tuple[Tensor, float]]:
        here = self._point.clone()
        loss, gradient = yield from loss_and_gradient(self._run, self._family, here, self._part)
        if not (math.isfinite(loss) and gradient.isfinite().all()):
            raise ValueError(
                f"the search came to a point whose loss is {loss} and whose gradient is not finite everywhere; outside "
                f"[0, 1] a mixed running variance may be negative. The bounds are {self._bounds}: choose bounds within "
                "[0, 1], or method='evolution'."
            )
        self._point.grad = gradient
        self._adam.step()
        self._point.clamp_(*self._bounds)
        return here, loss


class _Evolution:
    """Generations of CMA-ES; every loss that is not a number counts as the worst."""

    def __init__(self, run: Measurement, sweep: SearchSweep, family: Combinations, part: Split, size: int):
        self._run, self._sweep, self._family, self._part = run, sweep, family, part
        self._middle = torch.full((size,), 0.5, dtype=torch.float64)
        self._sign = 1.0 if sweep.goal == "best" else -1.0
        self._begun, self._starts = False, 0
        self._strategy = self._start()

    def _start(self) -> Any:
        """A strategy at the midpoint; every further one with twice the population."""
        from cmaes import CMA, SepCMA

        size = len(self._middle)
        population = (4 + int(3 * math.log(size))) * 2**self._starts
        seed = np.random.SeedSequence([self._sweep.seed, self._starts]).generate_state(1)[0]
        bounds = np.tile(np.array(self._sweep.bounds, dtype=float), (size, 1))
        deviation = _FIRST_DEVIATION * (bounds[0, 1] - bounds[0, 0])
        self._starts += 1
        kind = CMA if size <= _MOST_CORRELATED else SepCMA
        options = {"bounds": bounds, "seed": int(seed), "population_size": population, "n_max_resampling": 1}
        return kind(mean=self._middle.numpy().copy(), sigma=deviation, **options)

    def step(self) -> Generator[Progress, None, tuple[Tensor, float]]:
        if not self._begun:
            self._begun = True
            losses = yield from train_losses(self._run, self._family, self._middle[None], self._part)
            return self._middle.clone(), losses.item()
        if self._strategy.should_stop():
            self._strategy = self._start()
        asked = [self._strategy.ask() for _ in range(self._strategy.population_size)]
        losses = []
        for point in asked:  # each by itself: its loss does not depend on the others, nor on how a journal cuts them
            found = yield from train_losses(self._run, self._family, torch.as_tensor(point)[None], self._part)
            losses.append(found.item())
        ranked = [math.inf if math.isnan(loss) else self._sign * loss for loss in losses]
        self._strategy.tell(list(zip(asked, ranked, strict=True)))
        best = int(np.argmin(ranked))
        return torch.as_tensor(asked[best]), losses[best]


#: The methods of search by name.
_SEARCHERS: dict[str, type[_Searcher]] = {"gradient": _Descent, "evolution": _Evolution}
