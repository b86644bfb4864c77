"""Benchmarks on the machine at hand: ratios to a plain loop and to the matrix-multiply rate of the same run."""

import gc
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import xarray as xr
from rich.table import Table
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from modecomb_viz.architectures import build, params_of
from modecomb_viz.checkpoints import ModeSet, Recipe, open_modes
from modecomb_viz.data import Split, load_dataset
from modecomb_viz.evaluation import place, resolve_device
from modecomb_viz.hypercube import combine
from modecomb_viz.permutation import Params
from modecomb_viz.sweep import PlaneSweep, SamplesSweep, Sweep
from modecomb_viz.training import train_mode

__all__ = ["WORKS", "PlainLoop", "Run", "Work", "as_table", "run_bench", "run_engine"]

#: Batches of the plain loop; its best counts.
BATCHES = (32, 128, 512, 1000)

#: Seconds that one measurement of a plain loop takes, about.
_PATIENCE = 1.5


Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Work:
    """Something to measure: networks, a sweep over them, and batches of the plain loop beside the best.

    Attributes:
        modes: an embedded set by name, or what builds one.
        sweep: what the engine runs, at full size; one with a tolerance is compared with the exact map.
        batches: of the plain loop, measured each; the best counts.
        on_demand: measured only when asked for by its name alone, because it takes many minutes or data.
    """

    modes: Callable[[], ModeSet]
    sweep: Sweep
    batches: tuple[int, ...] = ()
    on_demand: bool = False


def _untrained(name: str, shape: tuple[int, ...], examples: int, **options: Any) -> ModeSet:
    """Freshly initialised networks on noise: what a network computes takes as long as on images."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(examples, *shape, generator=generator), torch.randint(10, (examples,), generator=generator)
    params = {mode: params_of(build(name, seed, **options)) for seed, mode in enumerate("ABC")}
    split = Split(x, y)
    return ModeSet(name, build(name, **options), params, test=split, train=split)


@cache
def _mnist_mlp() -> ModeSet:
    return _untrained("mlp", (1, 28, 28), 10_000)


@cache
def _trained_mnist_mlp() -> ModeSet:
    """Three networks trained for four epochs on MNIST, which ``MODECOMB_DATA`` must hold."""
    training = {"epochs": 4, "batch_size": 500, "optimizer": "adam", "learning_rate": 5e-3}
    recipe = Recipe("MNIST MLP", "mlp", "mnist", training)
    splits = load_dataset(recipe.data)
    params = {mode: params_of(train_mode(recipe, seed, splits["train"])) for seed, mode in enumerate("ABC")}
    return ModeSet("mnist-mlp", recipe.build(), params, test=splits["test"], train=splits["train"])


@cache
def _convnet() -> ModeSet:
    channels = [16, 16, "M", 32, 32, 32, "M", 64, 64, 64]
    return _untrained("convnet", (3, 32, 32), 1000, channels=channels)


@cache
def _resnet20() -> ModeSet:
    return _untrained("resnet", (3, 32, 32), 1000, norm="batch")


@cache
def _embedded(name: str) -> ModeSet:
    return open_modes(name)


def _plane(resolution: int, **settings: Any) -> PlaneSweep:
    return PlaneSweep(resolution=resolution, alignment="identity", **settings)


#: What is measured, by name, at the sizes of ``docs/benchmarks.md``.
WORKS: dict[str, Work] = {
    "digits-mlp, plane": Work(lambda: _embedded("digits-mlp"), _plane(65)),
    "digits-convnet, plane": Work(lambda: _embedded("digits-convnet"), _plane(17), (90, 360)),
    "digits-resnet, plane": Work(lambda: _embedded("digits-resnet"), _plane(17), (90, 360)),
    "MNIST MLP 3×512, plane": Work(_mnist_mlp, _plane(25)),
    "MNIST MLP 3×512, three modes": Work(_mnist_mlp, _plane(25, plane="three_modes")),
    "MNIST MLP 3×512, layers": Work(_mnist_mlp, _plane(25, z=2)),
    "MNIST MLP 3×512, unit-wise draws": Work(_mnist_mlp, SamplesSweep(n=64, alignment="identity")),
    "MNIST MLP 3×512 trained, estimate": Work(
        _trained_mnist_mlp, PlaneSweep(plane="three_modes", resolution=51, margin=0.3, tolerance=0.01), on_demand=True
    ),
    "MNIST MLP 3×512, large map": Work(_mnist_mlp, _plane(101, plane="three_modes", margin=0.3), on_demand=True),
    "8-layer BatchNorm convnet, plane": Work(_convnet, _plane(15), BATCHES),
    "ResNet-20 BatchNorm, plane": Work(_resnet20, _plane(5), BATCHES),
}


def _timed(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one call, the device's queue included."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def matmul_rate(device: torch.device, n: int = 1024, repeats: int = 15) -> float:
    """Floating-point operations per second of a float32 n×n matrix product; the median of several."""
    a = torch.rand(n, n, device=device)
    _timed(lambda: a @ a, device)
    return 2 * n**3 / median(_timed(lambda: a @ a, device) for _ in range(repeats))


def _flops(model: torch.nn.Module, params: Params, x: torch.Tensor) -> float:
    """Of one network on all of x, counted on its first example."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        functional_call(model, dict(params), (x[:1],))
    return counter.get_total_flops() * len(x)


class PlainLoop:
    """What one writes by hand: mix, load the state dict into the module, run the data in batches, add up the loss."""

    def __init__(self, modes: ModeSet, device: torch.device):
        self.model, self.split, self.device = place(modes.model, device), modes.test.to(device), device
        self.ends = [{k: v.to(device) for k, v in modes.params[m].items()} for m in ("A", "B")]
        self.half = {name: torch.full((1, *[1] * w.ndim), 0.5) for name, w in self.ends[0].items()}

    def point(self, batches: Iterable[Batch]):
        """Evaluate the midpoint."""
        with torch.inference_mode():
            mixed = combine(*self.ends, self.half)
            self.model.load_state_dict({name: tensor[0] for name, tensor in mixed.items()}, strict=False)
            for x, y in batches:
                F.cross_entropy(self.model(x), y, reduction="sum").item()

    def in_memory(self, batch: int) -> Iterable[Batch]:
        """Slices of the tensors in memory."""
        return zip(self.split.x.split(batch), self.split.y.split(batch), strict=True)

    def by_loader(self, batch: int) -> Iterable[Batch]:
        """Through a DataLoader, as most code of the field does."""
        return DataLoader(TensorDataset(*self.split), batch_size=batch)

    def seconds(self, batches: Callable[[], Iterable[Batch]]) -> float:
        """Seconds per point: the median of as many points as patience allows, at least three."""
        first = _timed(lambda: self.point(batches()), self.device)
        repeats = max(3, min(500, round(_PATIENCE / first)))
        return median(_timed(lambda: self.point(batches()), self.device) for _ in range(repeats))


class Run(NamedTuple):
    """A sweep that ran: seconds to the first picture, to the end, and of its longest step, after which it can stop."""

    first: float
    whole: float
    longest: float
    result: xr.Dataset


def run_engine(work: Sweep, modes: ModeSet) -> Run:
    start = last = time.perf_counter()
    first = longest = 0.0
    for step in work.steps(modes):
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
        if isinstance(step, xr.Dataset):
            first, result = first or now - start, step
    return Run(first, now - start, longest, result)


def _against_exact(estimate: xr.Dataset, sweep: PlaneSweep, modes: ModeSet) -> dict[str, float]:
    """How far an estimated map is from the exact one, relative to its range, and what it cost."""
    exact = run_engine(replace(sweep, tolerance=0.0), modes)
    error, spread = abs(estimate.loss - exact.result.loss), exact.result.loss.max() - exact.result.loss.min()
    evaluated = estimate.loss_error == 0
    return {
        "estimate_share_evaluated": float(evaluated.mean()),
        "estimate_largest_error": float(error.max() / spread),
        "estimate_within_two_errors": float(((error <= 2 * estimate.loss_error) | evaluated).mean()),
        "exact_seconds": exact.whole,
    }


class _Memory:
    """Peak memory of a piece of work above what was held before; NaN where the system does not tell."""

    _STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def __init__(self, device: torch.device):
        self._device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)
        elif self._RESET.exists():
            self._RESET.write_text("5")
            self._before = self._read("VmRSS")

    def peak(self) -> float:
        """Bytes since the object was made."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        return self._read("VmHWM") - self._before if self._RESET.exists() else float("nan")

    def _read(self, key: str) -> int:
        (line,) = (line for line in self._STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
        return int(line.split()[1]) * 1024


def _measure(name: str, work: Work, sweep: Sweep, device: torch.device) -> dict[str, Any]:
    modes = work.modes()
    points = sweep.resolution**2 if isinstance(sweep, PlaneSweep) else sweep.n
    plain, examples = PlainLoop(modes, device), len(modes.test.y)
    loops = {
        batch: plain.seconds(partial(plain.in_memory, batch)) for batch in dict.fromkeys((*work.batches, examples))
    }
    run_engine(replace(sweep, resolution=3) if isinstance(sweep, PlaneSweep) else replace(sweep, n=4), modes)
    before, memory = matmul_rate(device), _Memory(device)
    run = run_engine(sweep, modes)
    peak = memory.peak()
    # before and after: the speed of a machine drifts
    rate = (before + matmul_rate(device)) / 2
    loops = {batch: (seconds + plain.seconds(partial(plain.in_memory, batch))) / 2 for batch, seconds in loops.items()}
    best = min(loops, key=loops.__getitem__)
    compared = _against_exact(run.result, sweep, modes) if "loss_error" in run.result else {}
    flops = _flops(plain.model, plain.ends[0], plain.split.x) * points
    return {
        "work": name,
        "points": points,
        "examples": examples,
        "plain_loop_seconds": loops[best] * points,
        "plain_loop_batches": {batch: seconds * points for batch, seconds in loops.items()},
        "data_loader_seconds": plain.seconds(partial(plain.by_loader, min(1000, examples))) * points,
        "engine_seconds": run.whole,
        "ratio": loops[best] * points / run.whole,
        "ratio_to_whole_batch": loops[examples] * points / run.whole,
        "matmul_gflops": rate / 1e9,
        "share_of_matmul_rate": flops / run.whole / rate,
        "first_picture_seconds": run.first,
        "longest_step_seconds": run.longest,
        "peak_memory_bytes": peak,
        **compared,
    }


def run_bench(
    resolution: int | None = None,
    device: str | None = None,
    only: str = "",
    on_work: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Measure every work of :data:`WORKS`.

    Args:
        resolution: points per side of the maps, and number of draws; by default those of the table.
        only: part of the names of works to measure.
        on_work: called with every name before it is measured.

    Returns:
        ``{"device", "torch", "threads", "matmul_gflops", "rows": [...]}``, where the rate is the median of the rows; a
        row holds seconds of the plain loop (at its best batch and at each), of the same through a DataLoader and of the
        engine, their ratio, the rate of matrix multiplication beside it, the share of that rate that the plain loop's
        arithmetic in the engine's time would be, seconds to the first picture and of the longest step, after which work
        can be cancelled, and peak memory above the loaded data. An estimated map has ``estimate_…`` beside: its share
        of evaluated points, its largest error relative to the range of the exact map, and the share of points within
        two standard errors.

    Raises:
        ValueError: when no work has such a name.
    """
    target, rows = resolve_device(device), []
    matching = {name: work for name, work in WORKS.items() if only.lower() in name.lower()}
    chosen = {name: work for name, work in matching.items() if not work.on_demand} or matching
    if not chosen:
        raise ValueError(f"no work is called '{only}'. There are: {'; '.join(WORKS)}.")
    for name, work in chosen.items():
        on_work(name)
        sweep = replace(work.sweep, device=str(target))
        if resolution is not None:
            sweep = replace(sweep, **{"resolution" if isinstance(sweep, PlaneSweep) else "n": resolution})
        rows.append(_measure(name, work, sweep, target))
    return {
        "device": torch.cuda.get_device_name(target) if target.type == "cuda" else platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "matmul_gflops": median(row["matmul_gflops"] for row in rows),
        "rows": rows,
    }


def as_table(figures: Mapping[str, Any]) -> Table:
    """The figures of :func:`run_bench` for a terminal."""
    title = (
        f"{figures['device']}, torch {figures['torch']}, {figures['threads']} threads, "
        f"matrix multiply {figures['matmul_gflops']:.0f} GFLOP/s"
    )
    columns = ("work", "points × images", "plain loop", "DataLoader", "engine", "ratio", "of matmul")
    table = Table(*columns, "first picture", "longest step", "memory", title=title, box=None)
    for row in figures["rows"]:
        table.add_row(
            row["work"],
            f"{row['points']} × {row['examples']}",
            f"{row['plain_loop_seconds']:.2f} s",
            f"{row['data_loader_seconds']:.2f} s",
            f"{row['engine_seconds']:.2f} s",
            f"{row['ratio']:.2f}×",
            f"{row['share_of_matmul_rate']:.0%}",
            f"{row['first_picture_seconds'] * 1000:.0f} ms",
            f"{row['longest_step_seconds'] * 1000:.0f} ms",
            f"{row['peak_memory_bytes'] / 2**20:.0f} MiB",
        )
        if "exact_seconds" in row:
            table.caption = (
                f"estimate: {row['estimate_share_evaluated']:.1%} of the points evaluated, largest error "
                f"{row['estimate_largest_error']:.2%} of the range, {row['estimate_within_two_errors']:.1%} within two "
                f"standard errors; the exact map took {row['exact_seconds']:.1f} s"
            )
    return table
