"""Loss, accuracy and logits of many combined models, on CPU or GPU, in bounded memory.

The work is cut into chunks of points and of examples. :func:`evaluate_steps` is a generator that pauses after
every chunk of points, so that a caller can show progress, interleave other work or stop.
"""

import copy
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from modecomb_viz.data import Split
from modecomb_viz.permutation import Params

__all__ = [
    "PRECISIONS",
    "QUANTITIES",
    "Plan",
    "check_precision",
    "evaluate",
    "evaluate_steps",
    "finish",
    "make_plan",
    "near",
    "place",
    "resolve_device",
]

QUANTITIES = ("loss", "accuracy", "logits")

#: Types in which a network can be evaluated.
PRECISIONS: dict[str, torch.dtype] = {"float32": torch.float32, "float64": torch.float64}

#: Points to stacked weights: ``[point, k]`` coordinates in, tensors with a leading point axis out.
Points = Callable[[Tensor], Params]

#: Bytes of weights and activations held at once when the caller names no bound.
DEFAULT_MEMORY = {"cpu": 256 * 2**20, "cuda": 4 * 2**30}

#: Bytes of the largest activation of one chunk of examples on a CPU: what its caches keep.
CACHE_SIZE = 2**20


def resolve_device(device: str | torch.device | None) -> torch.device:
    """The device asked for; by default the GPU if there is one, else the CPU.

    Raises:
        ValueError: for a name torch does not know, or a GPU that is not there.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"there is no device {device!r}; use 'cpu', 'cuda' or 'cuda:0'.") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for, but torch finds no GPU here. Use device='cpu'.")
    return resolved


def check_precision(precision: str) -> torch.dtype:
    """The dtype of a precision, or a ValueError that lists them."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}.")
    return PRECISIONS[precision]


@dataclass(frozen=True)
class Plan:
    """How an evaluation is cut: ``points`` networks at once, ``examples`` images at once.

    ``strategy`` is "loop" (one network after another) or "vmap" (stacked into batched kernels).
    """

    strategy: str
    points: int
    examples: int


class _LargestOutput(TorchDispatchMode):
    """Records the size in bytes of the largest tensor that an operation makes; views of its arguments cost nothing."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in args if isinstance(t, Tensor)}
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in given:
                self.bytes = max(self.bytes, tensor.numel() * tensor.element_size())
        return out


def place(model: nn.Module, device: torch.device, dtype: torch.dtype | None = None) -> nn.Module:
    """A copy of the architecture on a device and in a type; the caller's model stays as it is."""
    return copy.deepcopy(model).to(device, dtype)


def near(tensor: Tensor) -> Tensor:
    """The tensor in the memory layout that convolutions prefer: images and their kernels with the channel last."""
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def make_plan(
    model: nn.Module,
    params: Params,
    split: Split,
    *,
    strategy: str | None = None,
    max_memory: int | None = None,
) -> Plan:
    """Choose the chunks so that weights and activations held at once stay below ``max_memory`` bytes.

    Counted are three copies of the weights (the coefficients, the combined weights, a temporary) and three
    of the largest activation. The default strategy is the loop on a CPU, where stacking gains nothing,
    and vmap on a GPU.

    Raises:
        ValueError: for an unknown strategy, or a bound below one network on one example.
    """
    device = split.x.device
    strategy = strategy or ("loop" if device.type == "cpu" else "vmap")
    if strategy not in ("loop", "vmap"):
        raise ValueError(f"strategy must be 'loop' or 'vmap', got {strategy!r}.")
    weights = 3 * sum(tensor.numel() * tensor.element_size() for tensor in params.values())
    with torch.no_grad(), _LargestOutput() as largest:
        functional_call(model, dict(params), (split.x[:1],), tie_weights=False)
    activations = 3 * max(1, largest.bytes)
    budget = max_memory or DEFAULT_MEMORY.get(device.type, DEFAULT_MEMORY["cpu"])
    if budget < weights + activations:
        raise ValueError(
            f"max_memory = {budget:,} bytes holds not even one network on one example, "
            f"which needs {weights + activations:,} bytes."
        )
    examples = min(len(split.x), max(1, (budget - weights) // activations))
    if device.type == "cpu":
        examples = min(examples, max(1, CACHE_SIZE // max(1, largest.bytes)))
    if strategy == "loop":
        return Plan(strategy, 1, examples)
    examples = min(examples, 2048)
    return Plan(strategy, max(1, budget // (weights + activations * examples)), examples)


def _check_model(model: nn.Module):
    if model.training:
        raise ValueError(
            f"{type(model).__name__} is in training mode: dropout and batch statistics would make its loss random. "
            "Call model.eval() first."
        )


def _check_quantities(quantities: Sequence[str]):
    if unknown := set(quantities) - set(QUANTITIES):
        raise ValueError(f"quantities must be among {', '.join(QUANTITIES)}, got {', '.join(sorted(unknown))}.")


def _measure(logits: Float[Tensor, "point example label"], y: Int[Tensor, " example"], quantity: str) -> Tensor:
    """One chunk's contribution: a sum over its examples, or the logits themselves."""
    match quantity:
        case "loss":
            flat = F.cross_entropy(logits.flatten(0, 1), y.repeat(len(logits)), reduction="none")
            return flat.view(len(logits), -1).double().sum(1)
        case "accuracy":
            correct = (logits.argmax(-1) == y).double()
            return correct.masked_fill(logits.isnan().any(-1), torch.nan).sum(1)
        case _:
            return logits


def _forward(model: nn.Module, params: Params, x: Tensor, strategy: str) -> Tensor:
    """Logits ``[point, example, class]`` of stacked networks."""
    if strategy == "vmap":
        return vmap(lambda p: functional_call(model, p, (x,), tie_weights=False))(dict(params))
    count = len(next(iter(params.values())))
    each = ({k: v[i] for k, v in params.items()} for i in range(count))
    return torch.stack([functional_call(model, one, (x,), tie_weights=False) for one in each])


def _evaluate_chunk(model: nn.Module, params: Params, split: Split, quantities: Sequence[str], plan: Plan):
    parts: dict[str, list[Tensor]] = {quantity: [] for quantity in quantities}
    for x, y in zip(split.x.split(plan.examples), split.y.split(plan.examples), strict=True):
        logits = _forward(model, params, x, plan.strategy)
        for quantity in quantities:
            parts[quantity].append(_measure(logits, y, quantity))
    total = len(split.y)
    return {
        quantity: torch.cat(chunks, 1) if quantity == "logits" else torch.stack(chunks).sum(0) / total
        for quantity, chunks in parts.items()
    }


def evaluate_steps(
    model: nn.Module,
    points: Points,
    coordinates: Tensor,
    split: Split,
    quantities: Sequence[str] = ("loss", "accuracy"),
    *,
    plan: Plan,
) -> Generator[int, None, dict[str, Tensor]]:
    """Evaluate the networks ``points(coordinates)``; yields the number of points done after every chunk.

    Returns (as the generator's value) ``{quantity: Tensor}`` on the CPU: loss in nats per example and accuracy as
    a fraction, float64 ``[point]``; logits ``[point, example, class]``. A network with a logit that is NaN has
    NaN loss and NaN accuracy.

    Raises:
        ValueError: for a model in training mode or an unknown quantity.
    """
    _check_model(model)
    _check_quantities(quantities)
    results: dict[str, list[Tensor]] = {quantity: [] for quantity in quantities}
    done = 0
    for chunk in coordinates.split(plan.points):
        with torch.inference_mode():
            values = _evaluate_chunk(model, points(chunk), split, quantities, plan)
            for quantity, value in values.items():
                results[quantity].append(value.cpu())
        done += len(chunk)
        yield done
    return {quantity: torch.cat(chunks) for quantity, chunks in results.items()}


def evaluate(
    model: nn.Module,
    stacked_params: Params,
    split: Split,
    quantities: Sequence[str] = ("loss", "accuracy"),
    *,
    device: str | torch.device | None = None,
    strategy: str | None = None,
    max_memory: int | None = None,
) -> dict[str, Tensor]:
    """Evaluate networks whose weights carry a leading point axis (see :func:`~modecomb_viz.combine`).

    Args:
        model: the architecture, in eval mode; its own weights are not read.
        stacked_params: ``[point, *shape]`` per tensor, in the precision of the evaluation.
        split: inputs and labels, in the same precision.
        quantities: among "loss" (nats per example), "accuracy" (fraction), "logits".
        device: default: the GPU if there is one.
        strategy: "loop" or "vmap"; default: by device.
        max_memory: bytes of weights and activations held at once, beyond the arguments themselves.

    Returns:
        ``{"loss": [point], "accuracy": [point], "logits": [point, example, class]}``, on the CPU.

    Raises:
        ValueError: for a model in training mode, an unknown quantity, device or strategy, or no point at all.
    """
    target = resolve_device(device)
    stacked = {name: tensor.to(target) for name, tensor in stacked_params.items()}
    count = len(next(iter(stacked.values())))
    if not count:
        raise ValueError("stacked_params holds no point: its leading axis has length 0.")
    moved = split.to(target)
    placed = place(model, target)
    plan = make_plan(placed, {k: v[0] for k, v in stacked.items()}, moved, strategy=strategy, max_memory=max_memory)
    steps = evaluate_steps(
        placed,
        lambda i: {k: v[i] for k, v in stacked.items()},
        torch.arange(count),
        moved,
        quantities,
        plan=plan,
    )
    return finish(steps)


def finish(steps: Generator[Any, None, Any]) -> Any:
    """Run a generator to its end and give its value."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value
