"""Many models to one common universe, cycle-consistent by construction."""

from collections.abc import Generator, Iterator, Mapping
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from modecomb_viz.alignment.base import Matching, assign, matched_names
from modecomb_viz.alignment.soft import apply_matrices, harden, matrix_of
from modecomb_viz.alignment.weights import check_restarts, coordinate_ascent
from modecomb_viz.executor import checkpoint
from modecomb_viz.permutation import (
    Params,
    PermutationSpec,
    apply_permutation,
    compose,
    identity_permutation,
    invert,
    random_permutation,
    restrict,
)

__all__ = ["Universe", "UniverseSearch", "find_universe", "universe"]


class Universe(NamedTuple):
    """Every model's permutation into the universe, the objective at every step, and where each restart ended."""

    permutations: dict[str, dict[str, Tensor]]
    objective: tuple[float, ...]
    restarts: tuple[float, ...]

    def onto(self, model: str, reference: str) -> dict[str, Tensor]:
        """The permutation of a model onto another: into the universe, and out of it again."""
        return compose(invert(self.permutations[reference]), self.permutations[model])


def find_universe(
    spec: PermutationSpec,
    models: Mapping[str, Params],
    *,
    seed: int = 0,
    restarts: int = 1,
    max_steps: int = 50,
    tolerance: float = 1e-4,
) -> Universe:
    """Permutations u_k of every model that bring all pairs together: max Σ_{k<l} ⟨u_k(Θ_k), u_l(Θ_l)⟩.

    Frank–Wolfe over doubly stochastic matrices: the gradient of all models and groups at once, the permutation that
    maximises its linear model (Hungarian algorithm), and the best step towards it; at the end every matrix is
    rounded to the nearest permutation, and coordinate ascent over single groups takes what rounding lost. The first
    run starts at the identity, each further restart at random permutations; the best wins. The map from k to l goes
    through the universe, so every cycle of maps is the identity to the letter.

    Source: Crisostomi, Fumero, Baieri, Bernard, Rodolà, "C²M³: Cycle-Consistent Multi-Model Merging", NeurIPS 2024.
    """
    options = {"seed": seed, "restarts": restarts, "max_steps": max_steps, "tolerance": tolerance}
    return UniverseSearch(spec, models, **options).finish()


class UniverseSearch:
    """:func:`find_universe` in small steps, so that it can pause, and go on where it was; arguments as there."""

    def __init__(
        self,
        spec: PermutationSpec,
        models: Mapping[str, Params],
        *,
        seed: int = 0,
        restarts: int = 1,
        max_steps: int = 50,
        tolerance: float = 1e-4,
    ):
        check_restarts(restarts)
        names = matched_names(spec)
        part = restrict(spec, names)
        weights = {model: {name: params[name].double().cpu() for name in names} for model, params in models.items()}

        def begin() -> _Part:
            starts = (_start(part, weights, seed, restart) for restart in range(restarts))
            return _best_of(_run(part, weights, start, max_steps, tolerance) for start in starts)

        self._begin, self._steps = begin, begin()
        self._found: Universe | None = None
        self._lock = Lock()

    def advance(self) -> bool:
        """One step; False once the universe is found. A step that raises, as when its job is cancelled, begins anew."""
        with self._lock:
            if self._found is None:
                try:
                    next(self._steps)
                except StopIteration as end:
                    self._found = end.value
                except Exception:
                    self._steps = self._begin()
                    raise
            return self._found is None

    def finish(self) -> Universe:
        """All steps that are left. A job that is cancelled between two of them leaves the search where it is."""
        while self.advance():
            checkpoint()
        assert self._found is not None
        return self._found


#: A part of a search: yields between steps.
_Part = Generator[None, None, Universe]


def _best_of(runs: Iterator[_Part]) -> _Part:
    found = []
    for run in runs:
        found.append((yield from run))
    best = max(found, key=lambda one: one.objective[-1])
    return best._replace(restarts=tuple(one.objective[-1] for one in found))


def _start(spec: PermutationSpec, weights: Mapping[str, Params], seed: int, restart: int) -> dict[str, dict]:
    if not restart:
        return {model: identity_permutation(spec) for model in weights}
    count = len(weights)
    return {model: random_permutation(spec, seed + restart * count + i) for i, model in enumerate(weights)}


def _together(
    spec: PermutationSpec, matrices: Mapping[str, Mapping[str, Tensor]], weights: Mapping[str, Params]
) -> Tensor:
    """The objective at matrices, differentiable in them."""
    return _pairs([apply_matrices(spec, matrices[model], params) for model, params in weights.items()])


def _agreement(spec: PermutationSpec, permutations: Mapping[str, Mapping], weights: Mapping[str, Params]) -> float:
    """The objective at permutations."""
    return _pairs([apply_permutation(spec, permutations[m], params) for m, params in weights.items()]).item()


def _pairs(moved: list[dict[str, Tensor]]) -> Tensor:
    """Σ_{k<l} ⟨Θ_k, Θ_l⟩ = ½(‖Σ Θ_k‖² − Σ ‖Θ_k‖²)."""
    total = torch.zeros((), dtype=torch.float64)
    for name in moved[0]:
        stack = torch.stack([params[name] for params in moved])
        total = total + 0.5 * (stack.sum(0).square().sum() - stack.square().sum())
    return total


def _run(
    spec: PermutationSpec, weights: Mapping[str, Params], start: Mapping, max_steps: int, tolerance: float
) -> _Part:
    if not spec.sizes:  # nothing is free
        return Universe({model: {} for model in start}, (_agreement(spec, start, weights),), ())
    current = {model: {group: matrix_of(p) for group, p in groups.items()} for model, groups in start.items()}
    trace = [_together(spec, current, weights).item()]
    for _ in range(max_steps):
        target = yield from _linear_maximum(spec, current, weights)
        step = yield from _best_step(spec, current, target, weights)
        moved = _between(current, target, step)
        reached = _together(spec, moved, weights).item()
        if reached <= trace[-1] + tolerance * abs(trace[-1]):
            break
        current = moved
        trace.append(reached)
    permutations = {model: harden(groups) for model, groups in current.items()}
    return (yield from _ascend(spec, weights, permutations, [*trace, _agreement(spec, permutations, weights)]))


def _linear_maximum(
    spec: PermutationSpec, current: Mapping, weights: Mapping[str, Params]
) -> Generator[None, None, dict[str, dict[str, Tensor]]]:
    """The permutations that maximise the linear model of the objective around the current matrices."""
    free = {model: {g: m.clone().requires_grad_() for g, m in groups.items()} for model, groups in current.items()}
    leaves = [matrix for groups in free.values() for matrix in groups.values()]
    slopes = iter(
        torch.autograd.grad(_together(spec, free, weights), leaves, allow_unused=True, materialize_grads=True)
    )
    target: dict[str, dict[str, Tensor]] = {model: {} for model in free}
    for model, groups in free.items():
        for group in groups:
            target[model][group] = matrix_of(assign(next(slopes)))
            yield
    return target


def _between(current: Mapping, target: Mapping, step: float) -> dict:
    return {
        model: {group: torch.lerp(matrix, target[model][group], step) for group, matrix in groups.items()}
        for model, groups in current.items()
    }


def _best_step(
    spec: PermutationSpec, current: Mapping, target: Mapping, weights: Mapping[str, Params]
) -> Generator[None, None, float]:
    """The best step in [0, 1], exactly: the objective is a polynomial in it, of twice the axes that move together."""
    degree = 2 * max(sum(entry is not None for entry in axes) for axes in spec.axes_to_perm.values())
    steps = 0.5 - 0.5 * np.cos(np.pi * np.arange(degree + 1) / degree)
    values = []
    for step in steps:
        values.append(_together(spec, _between(current, target, float(step)), weights).item())
        yield
    polynomial = np.polynomial.Polynomial.fit(steps, values, degree)
    turns = [root.real for root in polynomial.deriv().roots() if abs(root.imag) < 1e-9 and 0 < root.real < 1]
    return max([*turns, 1.0], key=polynomial)


def _ascend(spec: PermutationSpec, weights: Mapping[str, Params], permutations: dict, trace: list[float]) -> _Part:
    """Coordinate ascent: every model and group in turn gets the best assignment against the sum of the others."""
    permutations = {model: dict(groups) for model, groups in permutations.items()}
    while True:
        for model in weights:
            others = [
                apply_permutation(spec, permutations[other], weights[other]) for other in weights if other != model
            ]
            total = {name: sum(params[name] for params in others) for name in spec.axes_to_perm}
            order = torch.Generator().manual_seed(len(trace))
            permutations[model] = coordinate_ascent(spec, total, weights[model], permutations[model], order).permutation
            yield
        reached = _agreement(spec, permutations, weights)
        if reached <= trace[-1] + 1e-12 * abs(trace[-1]):
            return Universe(permutations, tuple(trace), ())
        trace.append(reached)


def universe(
    spec: PermutationSpec, params_a: Params, params_b: Params, *, seed: int = 0, restarts: int = 1, max_steps: int = 50
) -> Matching:
    """B onto A through a universe of the two; for more models see :func:`~modecomb_viz.align_many`."""
    found = find_universe(spec, {"A": params_a, "B": params_b}, seed=seed, restarts=restarts, max_steps=max_steps)
    return Matching(found.onto("B", "A"), found.objective, found.restarts)
