"""Operations launched as one: CUDA graphs of the groups of a schedule.

A small network keeps a GPU waiting for its next kernel most of the time. What was captured as a CUDA graph is launched
at once instead; it reads and writes the same memory every time, so what it reads is copied there first, and what it
gives is copied out (see "CUDA Graphs" in PyTorch's notes on CUDA semantics).
"""

import operator
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

__all__ = ["Replays", "Uncapturable"]

#: Runs of a form that are not worth a capture, which costs about as much as these.
_PATIENCE = 8

#: Runs before a capture, in which libraries choose their algorithms and take their workspace.
_WARM_UP = 3


class Uncapturable(ValueError):
    """The operations of a network cannot be captured."""


class Replays:
    """Runs graphs of operations by replaying what was captured of them, once for every form of what they read.

    The form is shape, strides, type and device of tensors, and any other argument itself. The first runs of a form are
    runs of the operations; one that comes more often is captured. On a CPU, where nothing can be captured, a replay
    runs the operations again on the same memory.
    """

    def __init__(self):
        self._runs: Counter[Hashable] = Counter()
        self._captured: dict[Hashable, _Captured] = {}
        self._pool: list[Any] = []

    def __call__(self, graph: GraphModule, *given: Any) -> Any:
        """What the graph gives for these arguments.

        Raises:
            Uncapturable: with the reason, where a GPU cannot capture it.
        """
        read = _reads(graph)
        if not _launches(graph):
            return graph(*given)
        key = graph, tuple(_form(value) if use else None for value, use in zip(given, read, strict=True))
        if key not in self._captured:
            self._runs[key] += 1
            if self._runs[key] <= _PATIENCE:
                return graph(*given)
            self._captured[key] = _Captured(graph, given, read, self._pool)
        return self._captured[key](given)

    def clear(self):
        """Forget what was captured, and what came how often."""
        self._runs.clear()
        self._captured.clear()
        self._pool.clear()


class _Captured:
    """A graph of operations on memory of its own."""

    def __init__(self, graph: GraphModule, given: Sequence[Any], read: Sequence[bool], pool: list[Any]):
        self._inputs = [
            value.clone() if isinstance(value, Tensor) and use else value
            for value, use in zip(given, read, strict=True)
        ]
        self._copied = [i for i, use in enumerate(read) if use and isinstance(given[i], Tensor)]
        gpus = [self._inputs[i].device for i in self._copied if self._inputs[i].device.type == "cuda"]
        capture = partial(_capture, device=gpus[0]) if gpus else _run_again
        self._given, self._replay = capture(lambda: _listed(graph(*self._inputs)), pool)
        self._alone = not _gives_several(graph)

    def __call__(self, given: Sequence[Any]) -> Any:
        for i in self._copied:
            self._inputs[i].copy_(given[i])
        self._replay()
        made = [value.clone() if isinstance(value, Tensor) else value for value in self._given]
        return made[0] if self._alone else made


def _capture(
    run: Callable[[], list[Any]], pool: list[Any], device: torch.device
) -> tuple[list[Any], Callable[[], None]]:
    """Capture on a GPU; all that share a list of pools share memory for what is between."""
    with torch.cuda.device(device):
        given, graph = _captured_on_current(run, pool)

    def replay():
        with torch.cuda.device(device):
            graph.replay()

    return given, replay


@cache
def _stream(device: int) -> torch.cuda.Stream:
    """The stream on which a GPU captures; torch's own is that of the first GPU that captured."""
    return torch.cuda.Stream(device)


def _captured_on_current(run: Callable[[], list[Any]], pool: list[Any]) -> tuple[list[Any], torch.cuda.CUDAGraph]:
    stream, graph = _stream(torch.cuda.current_device()), torch.cuda.CUDAGraph()
    before = torch.cuda.current_stream()
    try:
        stream.wait_stream(before)
        with torch.cuda.stream(stream):  # which a capture that fails does not leave by itself
            for _ in range(_WARM_UP):
                run()
            options = {"pool": pool[0] if pool else None, "stream": stream, "capture_error_mode": "thread_local"}
            with torch.cuda.graph(graph, **options):
                given = run()
        before.wait_stream(stream)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise Uncapturable(f"its operations cannot be captured as a CUDA graph: {error}") from error
    if not pool:
        pool.append(graph.pool())
    return given, graph


def _run_again(run: Callable[[], list[Any]], pool: list[Any]) -> tuple[list[Any], Callable[[], None]]:
    """The same without a GPU: results are written to where the first ones were."""
    given = [value.clone() if isinstance(value, Tensor) else value for value in run()]

    def replay():
        for old, new in zip(given, run(), strict=True):
            if isinstance(old, Tensor):
                old.copy_(new)

    return given, replay


def _gives_several(graph: GraphModule) -> bool:
    (out,) = (node.args[0] for node in graph.graph.nodes if node.op == "output")
    return not isinstance(out, Node)


def _listed(made: Any) -> list[Any]:
    return [made] if isinstance(made, Tensor) else list(made)


def _reads(graph: GraphModule) -> list[bool]:
    """Which arguments the graph reads, in their order."""
    return [bool(node.users) for node in graph.graph.nodes if node.op == "placeholder"]


def _launches(graph: GraphModule) -> bool:
    """Whether there is an operation that is more than a view or a product of sizes."""
    return any(_launched(node) for node in graph.graph.nodes if node.op == "call_function")


def _launched(node: Node) -> bool:
    return not (node.target in (operator.getitem, operator.mul) or getattr(node.target, "is_view", False))


def _form(value: Any) -> Hashable:
    """What a capture depends on."""
    return (value.shape, value.stride(), value.dtype, value.device) if isinstance(value, Tensor) else value
