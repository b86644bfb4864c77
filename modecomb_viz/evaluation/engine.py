"""Runs the networks of a family over a split, in bounded memory and in small steps."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.fx import GraphModule

from modecomb_viz.data import Split
from modecomb_viz.evaluation.measures import Totals
from modecomb_viz.evaluation.partitions import Partitions, partitions_of
from modecomb_viz.evaluation.plans import Plan
from modecomb_viz.evaluation.program import program_of
from modecomb_viz.evaluation.replays import Replays
from modecomb_viz.evaluation.schedule import Group, Need, Schedule, make_schedule
from modecomb_viz.evaluation.settings import arithmetic
from modecomb_viz.hypercube import Points

__all__ = ["Described", "Engine"]

#: Bytes of logits that are gathered before they are measured, and of coefficients of points that are described at once.
_GATHERED, _DESCRIBED = 2**20, 2**25

#: Shares of the memory for logits that are gathered, coefficients, and results that wait for other groups.
_OF_GATHERED, _OF_DESCRIBED, _OF_KEPT = 1 / 16, 1 / 16, 3 / 8


@runtime_checkable
class Described(Protocol):
    """A family of networks that can describe them."""

    def points(self, coordinates: Tensor) -> Points:
        """The networks at these coordinates."""


class _Chunk(NamedTuple):
    """Examples that run at once: their place in the split, and what groups gave on them."""

    start: int
    x: Tensor
    y: Tensor
    values: dict[str, Any]


@dataclass
class Engine:
    """Evaluates networks of one family on one split.

    What no weight of any point enters is kept from call to call, where all examples fit into one block.

    Attributes:
        model: in eval mode, on the device and in the precision of the evaluation.
        family: gives descriptions of networks by coordinates.
        split: on the device and in the precision of the evaluation.
        plan: how the work is cut.
    """

    model: nn.Module
    family: Described
    split: Split
    plan: Plan
    _constant: dict[int, dict[str, Any]] = field(default_factory=dict, repr=False)
    _constant_of: Schedule | None = field(default=None, repr=False)
    _replays: Replays = field(default_factory=Replays, repr=False)
    _replays_of: Schedule | None = field(default=None, repr=False)

    def steps(self, coordinates: Tensor, quantities: Sequence[str]) -> Generator[float, None, dict[str, Tensor]]:
        """Evaluate the networks at the coordinates; yields the share that is done after every chunk of work."""
        totals = Totals(len(coordinates), len(self.split.y), quantities)
        described = self._described_at_once(coordinates)
        for first in range(0, len(coordinates), described):
            with torch.inference_mode():
                points = self.family.points(coordinates[first : first + described])
            steps = self._batch(points, first, totals)
            while True:
                with torch.inference_mode(), arithmetic(self.plan.precision):
                    share = next(steps, None)
                if share is None:
                    break
                yield (first + share * len(points)) / len(coordinates)
        return totals.means()

    def _described_at_once(self, coordinates: Tensor) -> int:
        """How many points are described at once: coefficients of single weights are as large as the network."""
        if fixed := getattr(self.family, "described_at_once", None):
            return fixed
        one = self.family.points(coordinates[:1])
        tables = (*one.coefficients, one.given)
        size = sum(tensor.numel() * tensor.element_size() for table in tables for tensor in table.values())
        return max(1, min(len(coordinates), int(min(_DESCRIBED, _OF_DESCRIBED * self.plan.memory) / max(1, size))))

    def _batch(self, points: Points, first: int, totals: Totals) -> Iterator[float]:
        if self.plan.strategy == "module":
            yield from self._by_module(points, first, totals)
            return
        program = program_of(self.model, self.split.x)
        partitions, of = partitions_of(points, program.state)
        stacked = self.plan.strategy == "vmap"
        narrow = self.plan.precision == "bfloat16"
        options = {"share": self.plan.share, "stacked": stacked, "narrow": narrow}
        schedule = make_schedule(program, points, partitions, of, **options)
        blocks = self._blocks(schedule)
        for i, block in enumerate(blocks):
            run = self._stacked if stacked else self._walk
            for share in run(schedule, points, partitions, block, first, totals):
                yield (i + share) / len(blocks)
            if len(blocks) > 1:
                for chunk in block:
                    chunk.values.clear()

    def _by_module(self, points: Points, first: int, totals: Totals) -> Iterator[float]:
        for i in range(len(points)):
            params = points.weights(i)
            start = 0
            for x, y in zip(
                self.split.x.split(self.plan.examples), self.split.y.split(self.plan.examples), strict=True
            ):
                with torch.autocast(x.device.type, torch.bfloat16, enabled=self.plan.precision == "bfloat16"):
                    logits = functional_call(self.model, params, (x,), tie_weights=False)
                totals.add([first + i], start, logits.to(x.dtype)[None], y)
                start += len(y)
                yield (i + start / len(self.split.y)) / len(points)

    @property
    def _room(self) -> int:
        """Bytes for results that wait: of all points, and as much for those of the points at once or of graphs."""
        return int(_OF_KEPT * self.plan.memory) // (1 if self.plan.strategy == "loop" else 2)

    def _blocks(self, schedule: Schedule) -> list[list[_Chunk]]:
        """The chunks of examples, in blocks whose results that wait for other groups fit into their share of memory."""
        fit = max(1, self._room // max(1, schedule.kept_bytes))
        size = min(self.plan.examples, fit)
        many = fit // size
        chunks = [
            _Chunk(start, self.split.x[start : start + size], self.split.y[start : start + size], {})
            for start in range(0, len(self.split.y), size)
        ]
        if many < len(chunks) or self._constant_of is not schedule:
            self._constant.clear()
        if many >= len(chunks):
            self._constant_of = schedule
            chunks = [c._replace(values=self._constant.setdefault(c.start, {})) for c in chunks]
        return [chunks[i : i + many] for i in range(0, len(chunks), many)]

    def _walk(
        self,
        schedule: Schedule,
        points: Points,
        partitions: Partitions,
        block: Sequence[_Chunk],
        first: int,
        totals: Totals,
    ) -> Iterator[float]:
        """Point after point, in an order in which neighbours share as much as they can; only what changes is run."""
        ids = [partitions.ids[group.partition] for group in schedule.groups]
        call = self._caller(schedule)
        current: list[int | None] = [None] * len(ids)
        made: dict[str, Any] = {}
        gatherer = _Gatherer(self.split.y, totals, min(_GATHERED, int(_OF_GATHERED * self.plan.memory)))
        for done, p in enumerate(_order(schedule, ids)):
            changed = [i for i in range(len(ids)) if current[i] != ids[i][p]]
            for i in changed:
                current[i] = ids[i][p]
                _make(schedule.groups[i], points, p, made, call)
            for n, chunk in enumerate(block):
                for i in changed:
                    _run(schedule.groups[i], chunk, made, call)
                gatherer.take(first + p, chunk.start, chunk.values[schedule.output])
                yield (done + (n + 1) / len(block)) / len(points)
        gatherer.flush()

    def _caller(self, schedule: Schedule) -> "_Call":
        """How graphs of operations are run: as they are, or replayed; what was captured is kept for one schedule."""
        if self.plan.strategy != "graphs":
            return lambda graph, *given: graph(*given)
        if self._replays_of is not schedule:
            self._replays.clear()
        self._replays_of = schedule
        return self._replays

    def _stacked(
        self,
        schedule: Schedule,
        points: Points,
        partitions: Partitions,
        block: Sequence[_Chunk],
        first: int,
        totals: Totals,
    ) -> Iterator[float]:
        """Many points at once: every group runs on a stack of its parts."""
        waiting = schedule.kept_bytes * len(block[0].y)
        at_once = min(self.plan.points, max(1, self._room // max(1, waiting)))
        for start in range(0, len(points), at_once):
            index = np.arange(start, min(start + at_once, len(points)))
            stacks = _Stacks(schedule, partitions, index)
            made: dict[str, Any] = {}
            for i, group in enumerate(schedule.groups):
                needs = [_needed(points, need, index[stacks.parts[i]]) for need in group.needs]
                stacks.call(i, group.make, (), needs, group.made_from, group.makes, made)
            for n, chunk in enumerate(block):
                values = {**made, **chunk.values}
                for i, group in enumerate(schedule.groups):
                    if not all(name in values for name in group.gives):
                        stacks.call(i, group.run, (chunk.x, len(chunk.y)), (), group.run_from, group.gives, values)
                    if not group.partition:
                        chunk.values.update((name, values[name]) for name in group.gives)
                numbers = range(first + start, first + start + len(index))
                totals.add(numbers, chunk.start, stacks.of_points(schedule.output, values), chunk.y)
                yield (start + len(index) * (n + 1) / len(block)) / len(points)


class _Gatherer:
    """Holds logits back until there are enough to be measured together: measuring a few costs as much as many."""

    def __init__(self, y: Tensor, totals: Totals, most: int):
        self._y, self._totals, self._most = y, totals, most
        self._held: dict[int, list[tuple[int, Tensor]]] = {}
        self._bytes = 0

    def take(self, point: int, start: int, logits: Tensor):
        """The logits of a point on the examples from ``start`` on."""
        self._held.setdefault(start, []).append((point, logits))
        self._bytes += logits.nbytes
        if self._bytes > self._most:
            self.flush()

    def flush(self):
        """Measure what is held."""
        for start, held in self._held.items():
            logits = torch.stack([logits for _, logits in held])
            self._totals.add([p for p, _ in held], start, logits, self._y[start : start + logits.shape[1]])
        self._held, self._bytes = {}, 0


class _Stacks:
    """The parts of every group among some points, and how results go from group to group.

    Attributes:
        parts: per group, the points (by their place) where each of its parts is first seen.
    """

    def __init__(self, schedule: Schedule, partitions: Partitions, index: np.ndarray):
        self._constant = [group.partition == 0 for group in schedule.groups]
        found = [
            np.unique(partitions.ids[group.partition][index], return_index=True, return_inverse=True)
            for group in schedule.groups
        ]
        self.parts = [parts for _, parts, _ in found]
        self._part_of = [part_of for _, _, part_of in found]
        self._home = {name: i for i, group in enumerate(schedule.groups) for name in (*group.makes, *group.gives)}

    def call(
        self,
        i: int,
        graph: GraphModule,
        plain: Sequence[Any],
        stacked: Sequence[Tensor],
        names: Sequence[str],
        results: Sequence[str],
        values: dict[str, Any],
    ):
        """Run a graph of group i on all its parts; results of coarser groups are repeated for them."""
        if not results:
            return
        if self._constant[i]:
            made = graph(*plain, *stacked, *(values[name] for name in names))
        else:
            entering = [self._entering(name, i, values[name]) for name in names]
            dims = (*[None] * len(plain), *[0] * len(stacked), *(dim for _, dim in entering))
            made = vmap(graph, in_dims=dims)(*plain, *stacked, *(value for value, _ in entering))
        values.update(zip(results, made, strict=True))

    def _entering(self, name: str, i: int, value: Any) -> tuple[Any, int | None]:
        home = self._home[name]
        if self._constant[home] or not isinstance(value, Tensor):
            return value, None
        if home == i:
            return value, 0
        return value[torch.as_tensor(self._part_of[home][self.parts[i]], device=value.device)], 0

    def of_points(self, name: str, values: Mapping[str, Any]) -> Tensor:
        """A result with one row per point."""
        home, value = self._home[name], values[name]
        rows = torch.as_tensor(self._part_of[home], device=value.device)
        return value.expand(len(rows), *value.shape) if self._constant[home] else value[rows]


def _order(schedule: Schedule, ids: Sequence[np.ndarray]) -> list[int]:
    """The points, those next to each other that agree in the groups that have most to share."""
    with_data = [of for group, of in zip(schedule.groups, ids, strict=True) if group.gives]
    others = [of for group, of in zip(schedule.groups, ids, strict=True) if not group.gives]
    return np.lexsort([*reversed(others), *reversed(with_data)]).tolist()


def _needed(points: Points, need: Need, index: Any) -> Tensor:
    """A tensor that a group reads of the points with these numbers."""
    if need.kind == "end":
        return points.ends[need.k][need.name]
    if isinstance(index, np.ndarray):
        index = torch.as_tensor(index)
    if need.kind == "weight":
        return points.weight(need.name, index)
    share = points.coefficient(need.name, need.k, index)
    return share.reshape(need.shape if isinstance(index, int) else (len(index), *need.shape))


_Call = Callable[..., Any]


def _make(group: Group, points: Points, p: int, made: dict[str, Any], call: _Call):
    """What a group makes of the weights of a point."""
    if group.partition or not all(name in made for name in group.makes):
        needs = [_needed(points, need, p) for need in group.needs]
        read = (made[name] for name in group.made_from)
        made.update(zip(group.makes, call(group.make, *needs, *read), strict=True))


def _run(group: Group, chunk: _Chunk, made: Mapping[str, Any], call: _Call):
    """What a group gives on a chunk of examples; what no weight enters is there from before."""
    values = chunk.values
    if not group.gives or (group.partition == 0 and all(name in values for name in group.gives)):
        return
    entering = (values[name] if name in values else made[name] for name in group.run_from)
    values.update(zip(group.gives, call(group.run, chunk.x, len(chunk.y), *entering), strict=True))
