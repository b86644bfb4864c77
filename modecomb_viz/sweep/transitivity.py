"""Transitivity: networks aligned to a third one, against networks aligned to each other."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from modecomb_viz.alignment import Alignment, perturb_alignment
from modecomb_viz.checkpoints import ModeSet
from modecomb_viz.hypercube import Combinations, grid_axis, segment
from modecomb_viz.permutation import churn, compose, identity_permutation, invert
from modecomb_viz.sweep.measurement import QUANTITIES, Located, Measurement, Step, Sweep
from modecomb_viz.sweep.refinement import levels
from modecomb_viz.sweep.settings import check_count

__all__ = ["TransitivitySweep"]

#: Points of every segment in the first picture: the ends and the midpoint, as there are many segments.
_FIRST = 3


@dataclass(frozen=True, kw_only=True)
class TransitivitySweep(Sweep):
    """Loss and accuracy along the segment between every two modes, by every route of aligning them.

    Routes, for a pair I–J: ``naive``, I and J as they are; ``direct``, I and π_{J→I}(J); ``through K`` for every third
    mode K, π_{I→K}(I) and π_{J→K}(J); ``universe``, both in the cycle-consistent universe of all modes. ``cycle_error``
    is the share of units that the route brings elsewhere than the direct alignment. A route that a pair has not is NaN.
    A permutation changes nothing that a network computes, so the ends of all routes of a pair are those of the naive
    one, unless they are repaired.

    Attributes:
        a, b: not read; every pair of ``members`` is measured.
        members: names of at least three modes; by default all of the set.
        points: equidistant points of every segment; an odd number contains the midpoint.
    """

    name: ClassVar[str] = "transitivity"

    members: tuple[str, ...] = ()
    points: int = 17

    def __post_init__(self):
        super().__post_init__()
        check_count("points", self.points, 2, 10_001)
        if isinstance(self.members, str) or len(set(self.members)) != len(self.members):
            raise ValueError(f"members must be different modes, such as ('A', 'B', 'C'), got {self.members!r}.")

    def measure(self, run: Measurement) -> Iterator[Step]:
        modes = run.modes
        members = self.members or tuple(modes.params)
        if len(members) < 3:
            raise ValueError(
                f"transitivity needs at least three modes, got {', '.join(members) or 'none'}; "
                f"{modes.name} has {', '.join(modes.params)}."
            )
        pairs = self._pairs(modes)
        routes = ["naive", "direct", *(f"through {k}" for k in members), "universe"]
        last = self.points - 1
        shared = [0, last] if self.repair == "none" else []
        of_pair = self.points + len(members) * (self.points - len(shared))
        run.total = of_pair * len(pairs) * len(self.strengths) * len(self.splits)
        errors = np.full((len(self.strengths), len(pairs), len(routes)), np.nan)
        shape = (len(self.strengths), len(self.splits), len(pairs), len(routes), self.points)
        values = {q: np.full(shape, np.nan) for q in QUANTITIES}
        t = grid_axis(0.0, 1.0, self.points)
        dims = ("strength", "split", "pair", "route", "t")
        # The universe takes longer than all the others, which are shown meanwhile.
        for together in ([route for route in routes if route != "universe"], ["universe"]):
            if together == ["universe"]:
                yield from run.find_universe()
            lines: dict[tuple[int, int, int], Combinations] = {}
            for s, strength in enumerate(self.strengths):
                for p, (i, j) in enumerate(pairs.values()):
                    for route in together:
                        if _is_route(route, i, j):
                            at = s, p, routes.index(route)
                            lines[at], errors[at] = _Routes(run, strength).line(i, j, route)
            for stride, new in levels(self.points, _FIRST):
                for (s, p, r), line in lines.items():
                    ends = shared if routes[r] != "naive" else []
                    for quantity in QUANTITIES:
                        values[quantity][s, :, p, r, ends] = values[quantity][s, :, p, 0, ends]
                    at = np.setdiff1d(new, ends)
                    if at.size:
                        measured = yield from run.evaluate(line, torch.as_tensor(t[at]))
                        for quantity in QUANTITIES:
                            values[quantity][s, :, p, r, at] = measured[quantity].T
                if together == ["universe"] and stride > 1:
                    continue
                yield run.dataset(
                    {q: (dims, array[..., ::stride].copy()) for q, array in values.items()}
                    | {"cycle_error": (("strength", "pair", "route"), errors.copy())},
                    {"t": t[::stride], "pair": list(pairs), "route": routes},
                )

    def _pairs(self, modes: ModeSet) -> dict[str, tuple[str, str]]:
        """Every two members, by the name of the pair."""
        return {f"{i}–{j}": (i, j) for i, j in itertools.combinations(self.members or modes.params, 2)}

    def located(self, run: Measurement, strength: float, found: xr.Dataset, where: Mapping[str, Any]) -> Located:
        yield from ()
        (i, j), route = self._pairs(run.modes)[where["pair"]], where["route"]
        if not _is_route(route, i, j):
            raise ValueError(
                f"the pair {where['pair']} has no route '{route}': a third mode is another than the two. Choose "
                "naive, direct, universe, or through a mode that is not of the pair."
            )
        line, _ = _Routes(run, strength).line(i, j, route)
        return line, torch.tensor([where["t"]], dtype=torch.float64)


def _is_route(route: str, i: str, j: str) -> bool:
    """Whether the pair has the route: it goes through a third mode, or through none."""
    return route.removeprefix("through ") not in (i, j)


class _Routes:
    """The segments between modes, at one strength of the perturbation."""

    def __init__(self, run: Measurement, strength: float):
        self._run, self._strength = run, strength

    def line(self, i: str, j: str, route: str) -> tuple[Combinations, float]:
        """The segment from i to j, and the share of units that stand elsewhere than under the direct alignment."""
        modes, direct = self._run.modes, self._onto(i, j)
        if route == "naive":
            ends, permutation = (modes.mode(i), modes.mode(j)), identity_permutation(modes.spec)
        elif route == "direct":
            ends, permutation = (modes.mode(i), direct.params), direct.permutation
        elif route == "universe":
            found = self._onto(i, j, "universe")
            ends, permutation = (modes.mode(i), found.params), found.permutation
        else:
            third = route.removeprefix("through ")
            first, second = self._onto(third, i), self._onto(third, j)
            ends = (first.params, second.params)
            permutation = compose(invert(first.permutation), second.permutation)
        return segment(*map(self._run.placed, ends)), churn(direct.permutation, permutation)

    def _onto(self, a: str, b: str, method: str | None = None) -> Alignment:
        """Mode b aligned to mode a, perturbed as the sweep says; every alignment with a draw of its own."""
        names, sweep = list(self._run.modes.params), self._run.sweep
        seed = sweep.perturbation_seed + names.index(a) * len(names) + names.index(b)
        alignment = self._run.alignment(b, method, onto=a)
        return perturb_alignment(alignment, self._strength, sweep.perturbation, seed)
