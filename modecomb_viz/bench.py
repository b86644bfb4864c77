"""Benchmarks on the machine at hand: ratios to a plain loop and to the matrix-multiply rate of the same run."""

import platform
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import xarray as xr
from rich.table import Table
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from modecomb_viz.checkpoints import ModeSet, catalogue, open_modes
from modecomb_viz.evaluation import place, resolve_device
from modecomb_viz.hypercube import combine
from modecomb_viz.permutation import Params
from modecomb_viz.sweep import PlaneSweep

__all__ = ["as_table", "run_bench"]


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


def _flops(model: torch.nn.Module, params: Params, x: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        functional_call(model, dict(params), (x,))
    return counter.get_total_flops()


def _plain_loop(modes: ModeSet, device: torch.device, points: int) -> float:
    """Seconds per point of what one writes by hand: mix, load the state dict into the module, one forward pass."""
    model, split = place(modes.model, device), modes.test.to(device)
    a, b = ({k: v.to(device) for k, v in modes.params[m].items()} for m in ("A", "B"))
    mask = {name: torch.full((1, *[1] * w.ndim), 0.5) for name, w in a.items()}

    def work():
        with torch.inference_mode():
            for _ in range(points):
                mixed = combine(a, b, mask)
                model.load_state_dict({name: tensor[0] for name, tensor in mixed.items()}, strict=False)
                torch.nn.functional.cross_entropy(model(split.x), split.y).item()

    _timed(work, device)
    return _timed(work, device) / points


def _engine(modes: ModeSet, device: torch.device, resolution: int) -> tuple[float, float]:
    """Seconds to the first picture and to the whole map."""
    start, first = time.perf_counter(), None
    for step in PlaneSweep(resolution=resolution, device=str(device)).steps(modes):
        if first is None and isinstance(step, xr.Dataset):
            first = time.perf_counter() - start
    return first or 0.0, time.perf_counter() - start


def run_bench(resolution: int = 17, device: str | None = None) -> dict[str, Any]:
    """Measure every embedded mode set on a split plane of resolution².

    Returns:
        ``{"device", "torch", "threads", "matmul_gflops", "rows": [...]}``; a row holds seconds per map of the plain
        loop and of the engine, their ratio, the engine's share of the matrix-multiply rate, and seconds to the
        first picture.
    """
    target, rows = resolve_device(device), []
    rate = matmul_rate(target)
    for name in catalogue():
        modes = open_modes(name)
        flops = _flops(modes.model, modes.params["A"], modes.test.x)
        _engine(modes, target, 3)
        loop = _plain_loop(modes, target, 25) * resolution**2
        first, whole = _engine(modes, target, resolution)
        rows.append(
            {
                "modes": name,
                "points": resolution**2,
                "examples": len(modes.test.y),
                "plain_loop_seconds": loop,
                "engine_seconds": whole,
                "ratio": loop / whole,
                "share_of_matmul_rate": flops * resolution**2 / whole / rate,
                "first_picture_seconds": first,
            }
        )
    return {
        "device": torch.cuda.get_device_name(target) if target.type == "cuda" else platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "matmul_gflops": rate / 1e9,
        "rows": rows,
    }


def as_table(figures: dict[str, Any]) -> Table:
    """The figures of :func:`run_bench` for a terminal."""
    title = (
        f"{figures['device']}, torch {figures['torch']}, {figures['threads']} threads, "
        f"matrix multiply {figures['matmul_gflops']:.0f} GFLOP/s"
    )
    table = Table(
        "modes", "map", "plain loop", "engine", "ratio", "of matmul rate", "first picture", title=title, box=None
    )
    for row in figures["rows"]:
        table.add_row(
            row["modes"],
            f"{row['points']} points × {row['examples']} images",
            f"{row['plain_loop_seconds']:.2f} s",
            f"{row['engine_seconds']:.2f} s",
            f"{row['ratio']:.2f}×",
            f"{row['share_of_matmul_rate']:.0%}",
            f"{row['first_picture_seconds'] * 1000:.0f} ms",
        )
    return table
