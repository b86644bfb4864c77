"""Loss, accuracy and logits of many combined models, on CPU or GPU, in bounded memory.

A network is recorded once as a list of tensor operations (:mod:`.program`). For the points of a family, described by
their coefficients, the operations are grouped by what they share (:mod:`.schedule`), cut by a plan (:mod:`.plans`)
and run in small steps (:mod:`.engine`), so that a caller can show progress, interleave other work or stop.
"""

from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from modecomb_viz.data import Split
from modecomb_viz.evaluation.engine import Described, Engine
from modecomb_viz.evaluation.measures import QUANTITIES, check_quantities
from modecomb_viz.evaluation.plans import STRATEGIES, Plan, check_plan, default_memory, make_plan
from modecomb_viz.evaluation.settings import PRECISIONS, REDUCED, check_precision, near, place, resolve_device
from modecomb_viz.hypercube import Points
from modecomb_viz.permutation import Params

__all__ = [
    "PRECISIONS",
    "QUANTITIES",
    "REDUCED",
    "STRATEGIES",
    "Described",
    "Engine",
    "Plan",
    "check_plan",
    "check_precision",
    "default_memory",
    "evaluate",
    "finish",
    "layer_outputs",
    "make_engine",
    "make_plan",
    "near",
    "place",
    "resolve_device",
]


def make_engine(model: nn.Module, family: Described, split: Split, plan: Plan) -> Engine:
    """An engine for a family of networks on a split, all on the device and in the precision of the evaluation.

    Raises:
        ValueError: for a model in training mode.
    """
    if model.training:
        raise ValueError(
            f"{type(model).__name__} is in training mode: dropout and batch statistics would make its loss random. "
            "Call model.eval() first."
        )
    return Engine(model, family, split, plan)


class _Given:
    """Networks whose weights are there, stacked."""

    def __init__(self, stacked: Params):
        self._stacked = stacked

    def points(self, coordinates: Tensor) -> Points:
        """Those with the given numbers."""
        return Points((), (), {name: tensor[coordinates] for name, tensor in self._stacked.items()})


def evaluate(
    model: nn.Module,
    stacked_params: Params,
    split: Split,
    quantities: Sequence[str] = ("loss", "accuracy"),
    *,
    device: str | torch.device | None = None,
    strategy: str | None = None,
    max_memory: int | None = None,
    precision: str = "float32",
) -> dict[str, Tensor]:
    """Evaluate networks whose weights carry a leading point axis (see :func:`~modecomb_viz.combine`).

    Args:
        model: the architecture, in eval mode; its own weights are not read.
        stacked_params: ``[point, *shape]`` per tensor, in the precision of the evaluation.
        split: inputs and labels, in the same precision.
        quantities: among "loss" (nats per example), "loss_deviation" (of it over examples), "accuracy" (fraction),
            "example_loss" (of every example), "logits".
        device: default: the GPU if there is one.
        strategy: one of :data:`STRATEGIES`; default: by device.
        max_memory: bytes of weights and activations held at once, beyond the arguments themselves.
        precision: of the products: "tf32" and "bfloat16" round their factors; otherwise that of the arguments.

    Returns:
        ``{"loss": [point], "accuracy": [point], "example_loss": [point, example], "logits": [point, example, class]}``,
        on the CPU.

    Raises:
        ValueError: for a model in training mode, an unknown quantity, device or strategy, or no point at all.
    """
    target = resolve_device(device)
    check_quantities(quantities)
    check_precision(precision, target)
    stacked = {name: tensor.to(target) for name, tensor in stacked_params.items()}
    count = len(next(iter(stacked.values())))
    if not count:
        raise ValueError("stacked_params holds no point: its leading axis has length 0.")
    moved, placed = split.to(target), place(model, target)
    first = {name: tensor[0] for name, tensor in stacked.items()}
    plan = make_plan(placed, first, moved, strategy=strategy, max_memory=max_memory, precision=precision)
    return finish(make_engine(placed, _Given(stacked), moved, plan).steps(torch.arange(count), quantities))


@torch.no_grad()
def layer_outputs(model: nn.Module, params: Params, layer: str, x: Tensor, examples: int) -> Tensor:
    """What a module of the network gives on all inputs ``[example, …]``, on the CPU; ``examples`` at once.

    Raises:
        ValueError: for a module that gives no tensor with one entry per example.
    """
    heard: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda module, given, made: heard.append(made))
    try:
        for part in x.split(examples):
            functional_call(model, dict(params), (part,), tie_weights=False)
    finally:
        handle.remove()
    if not all(isinstance(made, Tensor) for made in heard) or sum(map(len, heard)) != len(x):
        raise ValueError(f"layer '{layer}' gives no tensor with one entry per example. Choose another module.")
    return torch.cat([made.cpu() for made in heard])


def finish(steps: Generator[Any, None, Any]) -> Any:
    """Run a generator to its end and give its value."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value
