"""What all sweeps share: their settings, the networks on the device, measuring, and provenance."""

import json
import math
import platform
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property, lru_cache
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from modecomb_viz import __version__
from modecomb_viz.alignment import (
    METHODS,
    PERTURBATIONS,
    Alignment,
    align_modes,
    perturb_alignment,
)
from modecomb_viz.checkpoints import ModeSet
from modecomb_viz.data import Split, stratified
from modecomb_viz.evaluation import (
    REDUCED,
    Engine,
    Plan,
    check_plan,
    check_precision,
    layer_outputs,
    make_engine,
    make_plan,
    near,
    place,
    resolve_device,
)
from modecomb_viz.executor import Progress
from modecomb_viz.hypercube import Combinations, check_granularity, check_law, sample_coefficients, segment
from modecomb_viz.permutation import Params, check_strength
from modecomb_viz.repair import REPAIRS, Repair, make_repair
from modecomb_viz.results import label

__all__ = [
    "REFERENCES",
    "LawSettings",
    "Measurement",
    "Step",
    "Sweep",
    "check_choice",
    "check_count",
    "last_dataset",
]

#: What a sweep's generator yields: progress in between, a Dataset that is whole at its level.
Step = Progress | xr.Dataset

#: Networks that draws and perturbations are compared with.
REFERENCES = ("A", "B", "midpoint", "naive midpoint")

QUANTITIES = ("loss", "accuracy")

#: The sample of a split for first pictures: one example in so many, at least so many, where the split has so many times
#: as many.
_SAMPLED, _SAMPLE, _WORTH = 10, 64, 4

#: Points that are evaluated in float32 as well where the precision is reduced.
_CHECKED = 4

#: What is measured, by quantity: ``[split, point]``.
Found = dict[str, np.ndarray]


def check_choice(name: str, value: object, allowed: Sequence[str]):
    """ValueError unless the value is one of the allowed words."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")


def check_count(name: str, value: int, low: int, high: int):
    """ValueError unless the value is a whole number in [low, high]."""
    if not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high:,}, got {value!r}.")


def check_finite(name: str, value: float):
    """ValueError unless the value is a finite number."""
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value}.")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The settings that every sweep takes. A sweep is a value: equal settings give equal results.

    Attributes:
        a: name of the mode at coefficient 0.
        b: name of the mode at coefficient 1, whose units are permuted onto those of a.
        alignment: method of :func:`~modecomb_viz.align`; "identity" for the naive combination.
        perturbation: kind of the matching perturbation, "shuffle" or "noise".
        strength: of the perturbation, in [0, 1]; a list adds the dimension ``strength``.
        repair: what is repaired in every combined network: none, batchnorm, repair (REPAIR) or temperature.
        repair_examples: number of training examples on which a repair measures.
        splits: "test", "train" or both.
        seed: of draws and random directions.
        alignment_seed: of the order in which groups are matched.
        perturbation_seed: of the units that are moved, or of the noise.
        device: default: the GPU if there is one.
        precision: "float32", "float64"; "tf32" (on a GPU) or "bfloat16" round the factors of products: the attribute
            ``precision_error`` of the result says by how much that moved some of its points.
        max_memory: bytes of weights, activations and shared results held at once; by default a share of what is free.
        plan: forces how the evaluation is cut, such as ``{"strategy": "vmap"}``; the attribute ``plan`` of a result
            replays it.

    Raises:
        ValueError: for any setting that is not allowed.
    """

    name: ClassVar[str]

    a: str = "A"
    b: str = "B"
    alignment: str = "weight_matching"
    perturbation: str = "shuffle"
    strength: float | tuple[float, ...] = 0.0
    repair: str = "none"
    repair_examples: int = 512
    splits: tuple[str, ...] = ("test",)
    seed: int = 0
    alignment_seed: int = 0
    perturbation_seed: int = 0
    device: str | None = None
    precision: str = "float32"
    max_memory: int | None = None
    plan: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        check_choice("alignment", self.alignment, list(METHODS))
        check_choice("perturbation", self.perturbation, list(PERTURBATIONS))
        check_choice("repair", self.repair, list(REPAIRS))
        check_count("repair_examples", self.repair_examples, 2, 1_000_000)
        check_precision(self.precision)
        for strength in self.strengths:
            check_strength(strength)
        check_plan(self.plan)
        for name in ("seed", "alignment_seed", "perturbation_seed"):
            check_count(name, getattr(self, name), 0, 2**31 - 1)
        if isinstance(self.splits, str) or not self.splits:
            raise ValueError(f"splits must be a list such as ('test',) or ('train', 'test'), got {self.splits!r}.")
        for split in self.splits:
            check_choice("splits", split, ("train", "test"))

    @property
    def strengths(self) -> tuple[float, ...]:
        """The strengths as a tuple, also when there is one."""
        return self.strength if isinstance(self.strength, tuple) else (self.strength,)

    def steps(self, modes: ModeSet) -> Iterator[Step]:
        """Compute: progress, and Datasets from coarse to fine; the last is the result."""
        raise NotImplementedError

    def recipe(self, modes: ModeSet) -> dict[str, Any]:
        """Everything that is needed to compute the result again, ready for JSON."""
        return {"sweep": self.name, "modes": modes.name, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class LawSettings:
    """Settings of a law of coefficients.

    Attributes:
        distribution: constant, uniform, bernoulli, normal or beta.
        parameters: of the law; what is not given takes the law's default.
        granularity: what shares one coefficient: model, layer, unit or weight.
    """

    distribution: str = "bernoulli"
    parameters: dict[str, float] = field(default_factory=dict)
    granularity: str = "unit"

    def __post_init__(self):
        super().__post_init__()
        check_granularity(self.granularity)
        object.__setattr__(self, "parameters", check_law(self.distribution, self.parameters))

    def draw(self, modes: ModeSet, first: int, n: int, seed: int):
        """Draws ``first`` … of the law (see :func:`~modecomb_viz.sample_coefficients`)."""
        law = {"granularity": self.granularity, **self.parameters}
        return sample_coefficients(modes.spec, self.distribution, first=first, n=n, seed=seed, **law)


@lru_cache(maxsize=32)
def _aligned(modes: ModeSet, a: str, b: str, method: str, seed: int) -> Alignment:
    """A mode aligned to another, once per mode set."""
    return align_modes(modes, a, b, method, seed)


@lru_cache(maxsize=8)
def _placed(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The architecture on a device and in a type, once: what is recorded of it is kept with it."""
    return place(model, device, dtype)


@cache
def _versions() -> dict[str, str]:
    packages = ("torch", "numpy", "scipy", "xarray")
    own = {"modecomb_viz": __version__, "python": platform.python_version()}
    return own | {name: version(name) for name in packages}


class Measurement:
    """One run of a sweep: the networks and splits on the device, the time spent, the points done.

    Args:
        sweep, modes: what is measured, on what.
        total: points × splits that the whole run will evaluate.
    """

    def __init__(self, sweep: Sweep, modes: ModeSet, total: int):
        self.sweep, self.modes, self.total = sweep, modes, total
        self.device = resolve_device(sweep.device)
        self.dtype = check_precision(sweep.precision, self.device)
        self.done, self.seconds = 0, 0.0
        self.splits = {name: self._placed_split(modes.split(name)) for name in sweep.splits}
        self.model = _placed(modes.model, self.device, self.dtype)
        self.params_a = self.placed(modes.mode(sweep.a))
        split = self.splits[sweep.splits[0]]
        self.plan: Plan = make_plan(
            self.model,
            self.params_a,
            split,
            max_memory=sweep.max_memory,
            precision=sweep.precision,
            **check_plan(sweep.plan),
        )
        self._precision_error: dict[str, float] = {}
        self.repair = self._prepare_repair() if sweep.repair != "none" else None
        self._engines: dict[tuple[int, str], tuple[Combinations, Engine]] = {}

    @cached_property
    def samples(self) -> dict[str, Split]:
        """Stratified samples of the splits, for first pictures; none where a split is too small for one."""
        sizes = {name: max(_SAMPLE, len(split.y) // _SAMPLED) for name, split in self.splits.items()}
        if any(_WORTH * size > len(self.splits[name].y) for name, size in sizes.items()):
            return {}
        index = {name: stratified(self.splits[name].y, size) for name, size in sizes.items()}
        return {name: Split(near(split.x[index[name]]), split.y[index[name]]) for name, split in self.splits.items()}

    def _prepare_repair(self) -> Repair:
        """On examples drawn from the train split with seed 0, the same for every point."""
        train = self.modes.train
        index = torch.randperm(len(train.y), generator=torch.Generator().manual_seed(0))[: self.sweep.repair_examples]
        batch = self._placed_split(Split(train.x[index], train.y[index]))
        at_once = max(1, self.plan.points * self.plan.examples // len(batch.y))
        return make_repair(
            self.sweep.repair, self.model, self.modes.spec, batch, strategy=self.plan.strategy, points_at_once=at_once
        )

    def _placed_split(self, split: Split) -> Split:
        x, y = split.to(self.device, self.dtype)
        return Split(near(x), y)

    def placed(self, params: Params) -> dict[str, Tensor]:
        """The weights on the device, in the precision of the sweep."""
        return {name: near(tensor.to(self.device, self.dtype)) for name, tensor in params.items()}

    def alignment(self, b: str | None = None, method: str | None = None, *, onto: str | None = None) -> Alignment:
        """The unperturbed alignment of a mode onto another, by default ``a``."""
        sweep = self.sweep
        return _aligned(self.modes, onto or sweep.a, b or sweep.b, method or sweep.alignment, sweep.alignment_seed)

    def perturbed(self, strength: float, b: str | None = None, seed_offset: int = 0) -> Alignment:
        """The alignment of a mode onto ``a``, perturbed as the sweep says."""
        seed = self.sweep.perturbation_seed + seed_offset
        return perturb_alignment(self.alignment(b), strength, self.sweep.perturbation, seed)

    def evaluate(self, family: Combinations, coordinates: Tensor) -> Generator[Progress, None, Found]:
        """Loss and accuracy ``[split, point]`` of a family at the coordinates, repaired as the sweep says."""
        found = yield from self._evaluate(self.splits, family, coordinates, QUANTITIES, self.plan)
        if self.sweep.precision in REDUCED and not self._precision_error:
            yield from self._measure_precision(family, coordinates, found)
        return found

    def _measure_precision(
        self, family: Combinations, coordinates: Tensor, found: Found
    ) -> Generator[Progress, None, None]:
        """Evaluate some of the points in float32 as well, and keep the largest differences."""
        some = np.unique(np.linspace(0, len(coordinates) - 1, _CHECKED).astype(int))
        plan = replace(self.plan, precision="float32")
        exact = yield from self._evaluate(self.splits, family, coordinates[some], QUANTITIES, plan, counts=False)
        differences = {quantity: abs(found[quantity][:, some] - values) for quantity, values in exact.items()}
        known = {q: values[np.isfinite(values)] for q, values in differences.items()}
        self._precision_error = {"points": len(some), **{q: float(v.max(initial=0)) for q, v in known.items()}}

    def evaluate_sample(
        self, family: Combinations, coordinates: Tensor
    ) -> Generator[Progress, None, tuple[Found, Found]]:
        """The same on :attr:`samples`, and standard errors of it as estimates of what all data would give.

        By the rule of succession a sample that is all right may miss examples that are wrong; the deviation of the loss
        is taken to be at least that of so many examples that cost what guessing costs.
        """
        quantities = (*QUANTITIES, "loss_deviation")
        found = yield from self._evaluate(self.samples, family, coordinates, quantities, self.plan, counts=False)
        sizes, whole = (np.array([[len(s.y)] for s in of.values()]) for of in (self.samples, self.splits))
        guessing = np.log([[len(split.y.unique())] for split in self.splits.values()])
        right = (found["accuracy"] * sizes + 1) / (sizes + 2)
        of_right = np.sqrt(right * (1 - right))
        deviations = {"loss": np.maximum(found.pop("loss_deviation"), guessing * of_right), "accuracy": of_right}
        return found, {q: deviation * np.sqrt((1 - sizes / whole) / sizes) for q, deviation in deviations.items()}

    def _evaluate(
        self,
        splits: Mapping[str, Split],
        family: Combinations,
        coordinates: Tensor,
        quantities: Sequence[str],
        plan: Plan,
        *,
        counts: bool = True,
    ) -> Generator[Progress, None, Found]:
        values = {quantity: np.full((len(splits), len(coordinates)), np.nan) for quantity in quantities}
        for row, split in enumerate(splits.values()):
            steps = self._engine(family, split, plan).steps(coordinates, quantities)
            measured = yield from self._timed(steps, len(coordinates) if counts else 0)
            for quantity, tensor in measured.items():
                values[quantity][row] = tensor.numpy()
        return values

    def logits(self, family: Combinations, coordinates: Tensor) -> Generator[Progress, None, dict[str, Tensor]]:
        """Per split ``[point, example, class]``, on the CPU."""
        found = {}
        for name, split in self.splits.items():
            steps = self._engine(family, split, self.plan).steps(coordinates, ("logits",))
            found[name] = (yield from self._timed(steps, len(coordinates)))["logits"]
        return found

    def features(self, params: Params, layer: str) -> dict[str, Tensor]:
        """Per split ``[example, …]``: what a module gives in the network with these weights, on the CPU."""
        return {
            name: layer_outputs(self.model, params, layer, split.x, self.plan.examples)
            for name, split in self.splits.items()
        }

    def _engine(self, family: Combinations, split: Split, plan: Plan) -> Engine:
        """The engine of a family; the last one of every split is kept, with what it has computed."""
        key = (id(split), plan.precision)
        known, engine = self._engines.get(key, (None, None))
        if known is not family or engine is None:
            model, points = self.model, family
            if self.repair:
                model, points = self.repair.model, self.repair.points(family)
            engine = make_engine(model, points, split, replace(plan, examples=min(plan.examples, len(split.y))))
            self._engines[key] = (family, engine)
        return engine

    def _timed(
        self, steps: Generator[float, None, dict[str, Tensor]], points: int
    ) -> Generator[Progress, None, dict[str, Tensor]]:
        """Pass on the steps as progress of the whole run, and add up the time spent in them alone."""
        before = self.done
        while True:
            start = time.perf_counter()
            try:
                self.done = before + int(points * next(steps))
            except StopIteration as stop:
                self.done = before + points
                return stop.value
            finally:
                self.seconds += time.perf_counter() - start
            yield Progress(self.done, self.total)

    def line(self, params_b: Params) -> Combinations:
        """t ↦ (1 − t)·Θ_A + t·Θ_B."""
        return segment(self.params_a, self.placed(params_b))

    def references(self, alignment: Alignment) -> Generator[Progress, None, dict[str, np.ndarray]]:
        """Loss and accuracy ``[split, reference]`` of :data:`REFERENCES`."""
        aligned = yield from self.evaluate(self.line(alignment.params), torch.tensor([0.0, 1.0, 0.5]))
        naive = yield from self.evaluate(self.line(alignment.params_b), torch.tensor([0.5]))
        return {quantity: np.concatenate([aligned[quantity], naive[quantity]], axis=1) for quantity in QUANTITIES}

    def dataset(
        self,
        variables: dict[str, tuple[tuple[str, ...], np.ndarray]],
        coordinates: dict[str, Any],
        attributes: dict[str, dict[str, Any]] | None = None,
    ) -> xr.Dataset:
        """A labelled Dataset with provenance; the dimension ``strength`` goes where only one was asked for."""
        coordinates = {"split": list(self.sweep.splits), **coordinates}
        if any("strength" in dims for dims, _ in variables.values()):
            coordinates["strength"] = list(self.sweep.strengths)
        dataset = xr.Dataset(variables, coordinates)
        if "strength" in dataset.dims and not isinstance(self.sweep.strength, tuple):
            dataset = dataset.isel(strength=0, drop=True)
        dataset.attrs = self.provenance()
        return label(dataset, attributes)

    def provenance(self) -> dict[str, Any]:
        """Recipe, content hashes, device, type, plan, versions and seconds of computing."""
        hashes = self.modes.hashes
        return {
            "sweep": self.sweep.name,
            "recipe": json.dumps(self.sweep.recipe(self.modes)),
            "modes_hash": json.dumps({mode: hashes[mode] for mode in self.modes.params}),
            "data_hash": json.dumps({split: hashes[split] for split in self.sweep.splits}),
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else platform.machine(),
            "device_type": self.device.type,
            "dtype": self.sweep.precision,
            "plan": json.dumps({**asdict(self.plan), "threads": torch.get_num_threads()}),
            "versions": json.dumps(_versions()),
            "wall_time": self.seconds,
            **({"precision_error": json.dumps(self._precision_error)} if self._precision_error else {}),
        }


def last_dataset(steps: Iterator[Step]) -> xr.Dataset:
    """Run to the end and give the last Dataset."""
    result = None
    for step in steps:
        if isinstance(step, xr.Dataset):
            result = step
    if result is None:
        raise RuntimeError("the sweep yielded no Dataset")
    return result
