"""What all sweeps share: the networks on the device, measuring, and provenance."""

import hashlib
import json
import math
import platform
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import cache, cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from modecomb_viz import __version__
from modecomb_viz.alignment import Alignment, align_modes, perturb_alignment, universe_search
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
from modecomb_viz.hypercube import Combinations, segment
from modecomb_viz.permutation import Params
from modecomb_viz.repair import Repair, make_repair
from modecomb_viz.results import label
from modecomb_viz.sweep.journal import Journal
from modecomb_viz.sweep.settings import Settings

__all__ = ["QUANTITIES", "REFERENCES", "Located", "Measurement", "Step", "Sweep", "last_dataset", "with_threads"]

#: What a sweep's generator yields: progress in between, a Dataset that is whole at its level.
Step = Progress | xr.Dataset

#: A family and the coordinates of one point of it, found with progress on the way.
Located = Generator[Progress, None, tuple[Combinations, Tensor]]

#: Networks that draws and perturbations are compared with.
REFERENCES = ("A", "B", "midpoint", "naive midpoint")

QUANTITIES = ("loss", "accuracy")

#: The sample of a split for first pictures: one example in so many, at least so many, where the split has so many times
#: as many.
_SAMPLED, _SAMPLE, _WORTH = 10, 64, 4

#: Points that are evaluated in float32 as well where the precision is reduced.
_CHECKED = 4

#: Seconds of points that a journal writes at once, and how many are written one by one before; the last is timed.
_BLOCK, _SINGLE = 2.0, 2

#: What is measured, by quantity: ``[split, point]``.
Found = dict[str, np.ndarray]


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
    packages = ("torch", "numpy", "scipy", "xarray", "cmaes")
    own = {"modecomb_viz": __version__, "python": platform.python_version()}
    return own | {name: version(name) for name in packages}


class Measurement:
    """One run of a sweep: the networks and splits on the device, the time spent, the points done.

    Args:
        sweep, modes: what is measured, on what.
        journal: where evaluations are kept, and from where those are taken that it has.

    Attributes:
        total: points × splits that the whole run will evaluate; the sweep says it.
    """

    def __init__(self, sweep: Settings, modes: ModeSet, journal: Journal | None = None):
        self.sweep, self.modes, self.total, self._journal = sweep, modes, 0, journal
        self.device = resolve_device(sweep.device)
        self.dtype = check_precision(sweep.precision, self.device)
        self.done, self.seconds = 0, 0.0
        self.splits = {name: self._placed_split(modes.split(name)) for name in sweep.splits}
        self.model = _placed(modes.model, self.device, self.dtype)
        self.params_a = self.placed(modes.mode(sweep.a))
        split = self.splits[sweep.splits[0]]
        known = journal.header.get("plan", {}) if journal else {}
        forced, memory = (known, known["memory"]) if known else (sweep.plan, sweep.max_memory)
        self.plan: Plan = make_plan(
            self.model, self.params_a, split, max_memory=memory, precision=sweep.precision, **check_plan(forced)
        )
        self._block: int | None = forced.get("block")
        self._cuts, self._cutting = 0, journal is not None or self._block is not None
        self._first = math.inf
        if journal and not known:
            journal.note(plan=self._recorded_plan())
        self._precision_error: dict[str, float] = {}
        self._objectives: dict[str, dict[str, float]] = {}
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
        b, onto, method = b or sweep.b, onto or sweep.a, method or sweep.alignment
        found = _aligned(self.modes, onto, b, method, sweep.alignment_seed)
        self._objectives[f"{b} onto {onto}, {method}"] = dict(zip(("naive", "aligned"), found.matched, strict=True))
        return found

    def find_universe(self) -> Iterator[Progress]:
        """Search the universe of all modes, which takes long, in steps between which other jobs have their turn."""
        search = universe_search(self.modes, self.sweep.alignment_seed)
        while search.advance():
            yield Progress(self.done, max(1, self.total))

    def perturbed(self, strength: float, b: str | None = None, seed_offset: int = 0) -> Alignment:
        """The alignment of a mode onto ``a``, perturbed as the sweep says."""
        seed = self.sweep.perturbation_seed + seed_offset
        return perturb_alignment(self.alignment(b), strength, self.sweep.perturbation, seed)

    def evaluate(
        self, family: Combinations, coordinates: Tensor, *, examples: bool = False
    ) -> Generator[Progress, None, Found]:
        """Loss and accuracy ``[split, point]`` of a family at the coordinates, repaired as the sweep says.

        With ``examples`` also ``example_loss_SPLIT``, ``[point, example]``.
        """
        quantities = (*QUANTITIES, *(("example_loss",) if examples else ()))
        of_splits = yield from self.of_splits(family, coordinates, quantities)
        found = _stacked(of_splits, QUANTITIES)
        if examples:
            found |= {f"example_loss_{name}": of["example_loss"] for name, of in of_splits.items()}
        if self.sweep.precision in REDUCED and not self._precision_error:
            yield from self._measure_precision(family, coordinates, found)
        return found

    def _measure_precision(
        self, family: Combinations, coordinates: Tensor, found: Found
    ) -> Generator[Progress, None, None]:
        """Evaluate some of the points in float32 as well, and keep the largest differences."""
        some = np.unique(np.linspace(0, len(coordinates) - 1, _CHECKED).astype(int))
        plan = replace(self.plan, precision="float32")
        of_splits = yield from self.of_splits(family, coordinates[some], QUANTITIES, plan=plan, counts=False)
        exact = _stacked(of_splits, QUANTITIES)
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
        of_splits = yield from self.of_splits(family, coordinates, quantities, self.samples, counts=False)
        found = _stacked(of_splits, quantities)
        sizes, whole = (np.array([[len(s.y)] for s in of.values()]) for of in (self.samples, self.splits))
        guessing = np.log([[len(split.y.unique())] for split in self.splits.values()])
        right = (found["accuracy"] * sizes + 1) / (sizes + 2)
        of_right = np.sqrt(right * (1 - right))
        deviations = {"loss": np.maximum(found.pop("loss_deviation"), guessing * of_right), "accuracy": of_right}
        return found, {q: deviation * np.sqrt((1 - sizes / whole) / sizes) for q, deviation in deviations.items()}

    def of_splits(
        self,
        family: Combinations,
        coordinates: Tensor,
        quantities: Sequence[str],
        splits: Mapping[str, Split] | None = None,
        *,
        plan: Plan | None = None,
        counts: bool = True,
    ) -> Generator[Progress, None, dict[str, Found]]:
        """Per split the quantities ``[point, …]``, such as logits ``[point, example, class]``.

        Args:
            splits: by default those of the sweep; others on its device, such as parts of them.
            plan: by default that of the run.
            counts: whether the points are among those that the run has announced.
        """
        found, plan = {}, plan or self.plan
        for name, split in (splits or self.splits).items():
            found[name] = yield from self._found(name, split, family, coordinates, quantities, plan, counts)
        return found

    def _found(
        self,
        name: str,
        split: Split,
        family: Combinations,
        coordinates: Tensor,
        quantities: Sequence[str],
        plan: Plan,
        counts: bool,
    ) -> Generator[Progress, None, Found]:
        """Quantities ``[point, …]`` of a family on one split: from the journal as far as it goes, the rest computed."""
        blocks, start = [], 0
        while start < len(coordinates):
            part = coordinates[start : start + self._at_once(len(coordinates))]
            asked = f"{name} {len(split.y)} {plan.precision} {' '.join(quantities)} {_fingerprint(part)}"
            block = self._from_journal(asked, len(part), counts)
            if block is None:
                before = self.seconds
                steps = self._engine(family, split, plan).steps(part, quantities)
                measured = yield from self._timed(steps, len(part) if counts else 0)
                block = {quantity: tensor.numpy() for quantity, tensor in measured.items()}
                self._keep(asked, block, self.seconds - before)
            blocks.append(block)
            start += len(part)
        return {quantity: np.concatenate([block[quantity] for block in blocks]) for quantity in quantities}

    def _at_once(self, points: int) -> int:
        """Points of the next block; the first ones are single while it is not known how long one takes."""
        if not self._cutting:
            return points
        return 1 if self._cuts < _SINGLE else self._block

    def _from_journal(self, asked: str, points: int, counts: bool) -> Found | None:
        if self._journal is None or (taken := self._journal.taken(asked, (points,))) is None:
            return None
        found, seconds = taken
        self._cuts += 1
        self.seconds += seconds
        self.done += points if counts else 0
        return found

    def _keep(self, asked: str, block: Found, seconds: float):
        """Write what was computed; with the last of the single points, settle how many are written together.

        That is noted first: a run that is killed in between goes on with the same cut.
        """
        self._cuts += 1
        if self._journal is None:
            return
        self._first = min(self._first, seconds)
        if self._block is None and self._cuts == _SINGLE:
            self._block = max(self.plan.points, int(_BLOCK / max(min(seconds, self._first), 1e-4)))
            self._journal.note(plan=self._recorded_plan())
        self._journal.put(asked, block, seconds)

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

    def references(self, alignment: Alignment, *, examples: bool = False) -> Generator[Progress, None, Found]:
        """Loss and accuracy ``[split, reference]`` of :data:`REFERENCES`; losses of examples as :meth:`evaluate`."""
        at = torch.tensor([0.0, 1.0, 0.5])
        aligned = yield from self.evaluate(self.line(alignment.params), at, examples=examples)
        naive = yield from self.evaluate(self.line(alignment.params_b), at[2:], examples=examples)
        axes = {quantity: int(quantity in QUANTITIES) for quantity in aligned}
        return {q: np.concatenate([aligned[q], naive[q]], axis=axis) for q, axis in axes.items()}

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
        """Recipe, content hashes, device, type, plan, versions, seconds of computing, objective of every matching."""
        identity = {name: json.dumps(entry) for name, entry in _identity(self.sweep, self.modes).items()}
        return {
            "sweep": self.sweep.name,
            **identity,
            "device": _device_name(self.device),
            "device_type": self.device.type,
            "dtype": self.sweep.precision,
            "plan": json.dumps(self._recorded_plan()),
            "wall_time": self.seconds,
            **({"matching_objective": json.dumps(self._objectives)} if self._objectives else {}),
            **({"precision_error": json.dumps(self._precision_error)} if self._precision_error else {}),
        }

    def _recorded_plan(self) -> dict[str, Any]:
        """All that must be the same for the same bits."""
        cut = {"block": self._block} if self._block else {}
        return {**asdict(self.plan), "threads": torch.get_num_threads(), **cut}


def _stacked(of_splits: Mapping[str, Found], quantities: Sequence[str]) -> Found:
    """What is one number per point, ``[split, point]``."""
    return {quantity: np.stack([found[quantity] for found in of_splits.values()]) for quantity in quantities}


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


def _fingerprint(coordinates: Tensor) -> str:
    return hashlib.sha256(coordinates.contiguous().numpy().tobytes()).hexdigest()[:16]


def _identity(sweep: Settings, modes: ModeSet) -> dict[str, dict[str, Any]]:
    """What a run is: the same entries, the same result."""
    hashes = modes.hashes
    return {
        "recipe": sweep.recipe(modes),
        "modes_hash": {mode: hashes[mode] for mode in modes.params},
        "data_hash": {split: hashes[split] for split in sweep.splits},
        "versions": _versions(),
    }


class Sweep(Settings):
    """Settings, and how they are computed."""

    def steps(self, modes: ModeSet, journal: str | Path | None = None) -> Iterator[Step]:
        """Compute: progress, and Datasets from coarse to fine; the last is the result.

        Args:
            journal: a file in which every evaluation is kept as soon as it is there. A run that finds its own journal
                goes on from it, with the plan and the threads that it began with; on a CPU the result is the same to
                the bit as that of a run that was not interrupted.

        Raises:
            ValueError: for a journal of another run.
        """
        with ExitStack() as stack:
            kept = None
            if journal is not None:
                device = _device_name(resolve_device(self.device)), torch.backends.cpu.get_cpu_capability()
                header = {**_identity(self, modes), "device": dict(zip(("name", "instructions"), device, strict=True))}
                identity = json.loads(json.dumps(header))
                kept = stack.enter_context(Journal.opened(journal, identity))
                stack.enter_context(with_threads(kept.header.get("plan", {}).get("threads")))
            run = Measurement(self, modes, kept)
            if self.alignment == "universe":
                yield from run.find_universe()
            yield from self.measure(run)

    def measure(self, run: Measurement) -> Iterator[Step]:
        """What :meth:`steps` yields, by one run; sets its total first."""
        raise NotImplementedError

    def located(self, run: Measurement, strength: float, found: xr.Dataset, where: Mapping[str, Any]) -> Located:
        """One point of a result: the family that :meth:`measure` evaluates, and its coordinates there.

        Args:
            found: the result, at this strength.
            where: the entry of every dimension of its loss but ``split`` and ``strength``.
        """
        raise NotImplementedError


@contextmanager
def with_threads(count: int | None) -> Iterator[None]:
    """So many threads of torch; None leaves them."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def last_dataset(steps: Iterator[Step]) -> xr.Dataset:
    """Run to the end and give the last Dataset."""
    result = None
    for step in steps:
        if isinstance(step, xr.Dataset):
            result = step
    if result is None:
        raise RuntimeError("the sweep yielded no Dataset")
    return result
