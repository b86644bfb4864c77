"""How an evaluation is cut: chosen by a short measurement, within a bound on memory."""

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.fx import GraphModule

from modecomb_viz.data import Split
from modecomb_viz.evaluation.program import Program, Unrecordable, program_of
from modecomb_viz.permutation import Params

__all__ = ["STRATEGIES", "Plan", "check_plan", "default_memory", "faster_strategy", "make_plan"]

#: How points are evaluated, by name.
STRATEGIES: dict[str, str] = {
    "loop": "one network after another; what points share is computed once",
    "vmap": "stacked into batched kernels; what points share is computed once",
    "graphs": "as the loop, with what a GPU runs in between launched as CUDA graphs",
    "module": "one network after another, by the module itself; for networks that cannot be recorded",
}

#: Bytes of the largest tensor of one chunk of examples on a CPU: about what its caches keep.
CACHE_SIZE = 2**20

#: Chunks of examples that are measured, relative to what the caches keep.
_CANDIDATES = (0.25, 1.0, 4.0)

#: Least and most rounds of the measurement, and seconds after which there are no more.
_ROUNDS, _PATIENCE = (3, 20), 0.04

#: Times that differ by less than this factor are alike, and more examples at once are taken.
_ALIKE = 1.1

#: Points and examples on which strategies are compared.
_MEASURED_POINTS, _MEASURED_EXAMPLES = 8, 256

#: Largest number of examples at once on a GPU, and of bytes that are held by default on either.
_MOST_EXAMPLES, _MOST_BYTES = 2048, {"cpu": 512 * 2**20, "cuda": 8 * 2**30}


@dataclass(frozen=True)
class Plan:
    """How an evaluation is cut.

    Attributes:
        strategy: one of :data:`STRATEGIES`.
        points: networks at once, under vmap.
        examples: images at once.
        memory: bytes of weights, activations and shared results held at once.
        share: mix products from those with the ends where that is less work.
        precision: of the products.
    """

    strategy: str
    points: int
    examples: int
    memory: int
    share: bool = True
    precision: str = "float32"


def check_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What a recorded or written plan forces, as arguments of :func:`make_plan`.

    Raises:
        ValueError: for an unknown entry, an unknown strategy, or a number below 1.
    """
    known = ("strategy", "points", "examples", "share")
    if unknown := plan.keys() - {*known, "memory", "threads", "precision", "block"}:
        raise ValueError(f"a plan has {', '.join(known)}; got {', '.join(sorted(unknown))}.")
    if (strategy := plan.get("strategy")) is not None and strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(map(repr, STRATEGIES))}, got {strategy!r}.")
    for name in ("points", "examples", "block"):
        if (count := plan.get(name)) is not None and (not isinstance(count, int) or count < 1):
            raise ValueError(f"{name} of a plan must be a whole number ≥ 1, got {count!r}.")
    return {name: plan[name] for name in known if name in plan}


def default_memory(device: torch.device) -> int:
    """Bytes that an evaluation may hold: an eighth of what is free, at most 512 MiB (on a GPU half, at most 8 GiB)."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0] // 2
    else:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8
    return min(free, _MOST_BYTES.get(device.type, _MOST_BYTES["cpu"]))


def make_plan(
    model: nn.Module,
    params: Params,
    split: Split,
    *,
    strategy: str | None = None,
    points: int | None = None,
    examples: int | None = None,
    max_memory: int | None = None,
    share: bool = True,
    precision: str = "float32",
) -> Plan:
    """Choose how to cut an evaluation so that what is held at once stays below ``max_memory`` bytes.

    Half of it is for three copies of the weights (the coefficients, the combined weights, a temporary) and three of the
    largest activation, twice as many where graphs have memory of their own; the other half for results and descriptions
    that wait for their use. The default strategy is the loop on a CPU, where neither stacking nor graphs gain anything;
    on a GPU the faster of loop and vmap. On a CPU the number of examples at once is the fastest of a few. Both
    are measured once per network, shape and number of threads.

    Args:
        strategy, points, examples: force a choice; all three replay a recorded plan.
        share: False computes every point by itself.
        precision: as in :data:`~modecomb_viz.evaluation.PRECISIONS`.

    Raises:
        ValueError: for an unknown strategy, or a bound below one network on one example.
    """
    device = split.x.device
    check_plan({"strategy": strategy, "points": points, "examples": examples})
    program = _program(model, split.x)
    if program is None and strategy in ("vmap", "graphs"):
        raise ValueError(
            f"{type(model).__name__} cannot be recorded, so strategy {strategy!r} is not for it. Use 'module'."
        )
    if program is None:
        strategy = "module"
    strategy = strategy or ("loop" if device.type == "cpu" else faster_strategy(program, params, split.x))
    memory = max_memory or default_memory(device)
    copies = 6 if strategy == "graphs" else 3
    weights = copies * sum(tensor.numel() * tensor.element_size() for tensor in params.values())
    held = 2 * _bytes_of_one(split.x) if strategy == "graphs" else 0
    per_example = held + copies * (program.bytes_per_example if program else _most_bytes(model, params, split.x))
    half, least = memory // 2, weights + per_example
    if half < least:
        raise ValueError(
            f"max_memory = {memory:,} bytes holds not even one network on one example, which needs {2 * least:,} bytes."
        )
    most = min(len(split.x), (half - weights) // per_example)
    if examples is None:
        examples = most
        if device.type == "cpu":
            examples = _fastest(program, params, split.x, most, (per_example - held) // copies)
        elif strategy == "vmap":
            examples = min(most, _MOST_EXAMPLES)
    if points is None:
        points = 1 if strategy != "vmap" else max(1, half // (weights + per_example * examples))
    return Plan(strategy, points, examples, memory, share, precision)


def _bytes_of_one(x: Tensor) -> int:
    """Bytes of one example."""
    return x[:1].numel() * x.element_size()


def _program(model: nn.Module, x: Tensor) -> Program | None:
    try:
        return program_of(model, x)
    except Unrecordable:
        return None


def _most_bytes(model: nn.Module, params: Params, x: Tensor) -> int:
    """A guess for networks without a program: the largest of input and output, with room for hidden layers."""
    return 16 * x[:1].numel() * x.element_size()


def _fastest(program: Program | None, params: Params, x: Tensor, most: int, bytes_per_example: int) -> int:
    """The number of examples at once with the least time per example."""
    fits = max(1, CACHE_SIZE // max(1, bytes_per_example))
    sizes = sorted({max(1, min(most, round(fits * share))) for share in _CANDIDATES})
    if program is None or len(sizes) == 1:
        return min(most, fits)
    key = ("examples", tuple(sizes), torch.get_num_threads())
    if key not in program.schedules:
        run = GraphModule(program.module, program.graph)
        weights = [params[name] for name in program.state]
        with torch.inference_mode():
            times = _seconds({n: lambda n=n: run(*weights, x[:n], n) for n in sizes}, x.device)
        per_example = {n: times[n] / n for n in sizes}
        program.schedules[key] = max(n for n in sizes if per_example[n] <= _ALIKE * min(per_example.values()))
    return program.schedules[key]


def faster_strategy(program: Program, params: Params, x: Tensor) -> str:
    """The faster of loop and vmap for a few points on a few examples; measured once.

    Graphs are for those who ask for them, until they have been measured on a card.
    """
    key = ("strategy", x.device, torch.get_num_threads())
    if key not in program.schedules:
        run, some = GraphModule(program.module, program.graph), x[:_MEASURED_EXAMPLES]
        weights = [params[name] for name in program.state]
        stacked = [tensor.expand(_MEASURED_POINTS, *tensor.shape).clone() for tensor in weights]
        dims = (*[0] * len(stacked), None, None)

        works = {
            "loop": lambda: [run(*weights, some, len(some)) for _ in range(_MEASURED_POINTS)],
            "vmap": lambda: vmap(run, in_dims=dims)(*stacked, some, len(some)),
        }
        with torch.inference_mode():
            times = _seconds(works, x.device)
        program.schedules[key] = min(times, key=times.__getitem__)
    return program.schedules[key]


def _seconds(works: Mapping[Any, Callable[[], Any]], device: torch.device) -> dict[Any, float]:
    """The shortest of a few runs of each, taken in turns after one to warm up; the device's queue included."""
    times = dict.fromkeys(works, math.inf)
    least, most = _ROUNDS
    begun = time.perf_counter()
    for round_ in range(1 + most):
        if round_ > least and time.perf_counter() - begun > _PATIENCE:
            break
        for n, work in works.items():
            start = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if round_:
                times[n] = min(times[n], time.perf_counter() - start)
    return times
