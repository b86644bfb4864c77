"""Alignment: the permutation that brings the units of B onto those of A, and its perturbation.

A method is one function ``(spec, params_a, params_b, *, seed, …) -> Matching`` and one line in :data:`METHODS`. What
else it needs, such as ``model``, ``x`` and ``y``, it names as keyword arguments.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from modecomb_viz.alignment.activations import activation_matching, unit_correlation
from modecomb_viz.alignment.base import Alignment, Matching, matching_objective, unit_similarity
from modecomb_viz.alignment.controls import identity, random_matching
from modecomb_viz.alignment.perturbation import PERTURBATIONS, perturb_alignment, perturbed_in
from modecomb_viz.alignment.sinkhorn import sinkhorn
from modecomb_viz.alignment.universe import Universe, UniverseSearch, find_universe, universe
from modecomb_viz.alignment.weights import weight_matching
from modecomb_viz.checkpoints import ModeSet
from modecomb_viz.permutation import Params, PermutationSpec, check_params

__all__ = [
    "METHODS",
    "PERTURBATIONS",
    "Alignment",
    "Matching",
    "Universe",
    "align",
    "align_many",
    "align_modes",
    "find_universe",
    "matching_objective",
    "perturb_alignment",
    "perturbed_in",
    "takes",
    "unit_correlation",
    "unit_similarity",
    "universe_search",
]

#: The methods by name.
METHODS: dict[str, Callable[..., Matching]] = {
    "weight_matching": weight_matching,
    "activation_matching": activation_matching,
    "sinkhorn": sinkhorn,
    "universe": universe,
    "identity": identity,
    "random": random_matching,
}


def takes(method: str) -> set[str]:
    """The keyword arguments of a method."""
    _check_name(method)
    return {p.name for p in inspect.signature(METHODS[method]).parameters.values() if p.kind == p.KEYWORD_ONLY}


def align(
    spec: PermutationSpec,
    params_a: Params,
    params_b: Params,
    method: str = "weight_matching",
    seed: int = 0,
    **options: Any,
) -> Alignment:
    """Permute the hidden units of B onto those of A.

    Args:
        method: a name of :data:`METHODS`.
        seed: of the order of groups and of random starts.
        options: of the method, such as ``restarts=4``; activation matching needs ``model`` and ``x``.

    Raises:
        ValueError: for an unknown method or option, an option that is missing, weights that do not fit the spec, or
            weights that are not finite.
    """
    _check_method(method, options)
    for name, params in (("params_a", params_a), ("params_b", params_b)):
        _check(spec, params, name)
    matching = METHODS[method](spec, params_a, params_b, seed=seed, **options)
    return Alignment(spec, params_a, params_b, method=method, **matching._asdict())


def _check_name(method: str):
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")


def _check_method(method: str, options: Mapping[str, Any]):
    _check_name(method)
    parameters = inspect.signature(METHODS[method]).parameters.values()
    needed = {p.name for p in parameters if p.kind == p.KEYWORD_ONLY and p.default is p.empty}
    unknown, missing = options.keys() - takes(method), needed - options.keys()
    if unknown or missing:
        faults = [f"does not take {', '.join(sorted(unknown))}"] * bool(unknown)
        faults += [f"needs {', '.join(sorted(missing))}"] * bool(missing)
        raise ValueError(
            f"method '{method}' {' and '.join(faults)}; its options are {', '.join(sorted(takes(method)))}."
        )


def _check(spec: PermutationSpec, params: Params, name: str):
    try:
        check_params(spec.shapes, params, name)
    except ValueError as error:
        raise ValueError(f"{error} Only networks of one architecture and of equal widths can be aligned.") from error
    if broken := [key for key, tensor in params.items() if not tensor.isfinite().all()]:
        raise ValueError(
            f"{name} has values that are not finite in {', '.join(map(repr, broken[:5]))}. "
            "Did its training diverge? A matching of NaN means nothing. A constant such as a mask of −∞ must stay "
            "out of the state dict: register_buffer(…, persistent=False)."
        )


def align_modes(
    modes: ModeSet, a: str, b: str, method: str = "weight_matching", seed: int = 0, **options: Any
) -> Alignment:
    """Mode b of a set aligned to mode a; the method gets the network and train split of the set where it needs them.

    A universe is that of all modes of the set. Options and errors as in :func:`align`.
    """
    for mode in (a, b):
        modes.mode(mode)
    if method == "universe":
        _check_method(method, options)
        found = universe_search(modes, seed, **options).finish()
        return _onto(modes.spec, modes.params, found, b, a)
    _check_name(method)
    data = {"model": modes.model, "x": modes.train.x, "y": modes.train.y}
    needed = {name: value for name, value in data.items() if name in takes(method)}
    return align(modes.spec, modes.mode(a), modes.mode(b), method, seed, **needed, **options)


def align_many(
    spec: PermutationSpec,
    models: Mapping[str, Params],
    method: str = "universe",
    seed: int = 0,
    reference: str | None = None,
    **options: Any,
) -> dict[str, Alignment]:
    """Permute the units of every model onto those of one of them.

    Args:
        models: at least two, by name.
        method: "universe" matches all models at once, so that going from one to another through a third is the same as
            going directly; any other method aligns each model to the reference alone.
        seed, options: as in :func:`align`.
        reference: the model that stays; by default the first.

    Returns:
        One alignment per model, that of the reference being the identity.

    Raises:
        ValueError: for fewer than two models, an unknown reference, or what :func:`align` refuses.
    """
    if len(models) < 2 or (reference is not None and reference not in models):
        raise ValueError(
            f"align_many needs at least two models and a reference among them; got {', '.join(models) or 'none'} and "
            f"reference {reference!r}."
        )
    reference = reference or next(iter(models))
    target = models[reference]
    same = align(spec, target, target, "identity")
    if method != "universe":
        others = {
            name: align(spec, target, p, method, seed, **options) for name, p in models.items() if name != reference
        }
        return {name: others.get(name, same) for name in models}
    _check_method(method, options)
    for name, params in models.items():
        _check(spec, params, f"model {name}")
    found = find_universe(spec, models, seed=seed, **options)
    return {name: _onto(spec, models, found, name, reference) for name in models}


@lru_cache(maxsize=8)
def universe_search(modes: ModeSet, seed: int, **options: Any) -> UniverseSearch:
    """The search for the universe of all modes of a set: one for all who ask, so that none is made twice."""
    for name, params in modes.params.items():
        _check(modes.spec, params, f"mode {name}")
    return UniverseSearch(modes.spec, modes.params, seed=seed, **options)


def _onto(spec: PermutationSpec, models: Mapping[str, Params], found: Universe, b: str, a: str) -> Alignment:
    """One model aligned to another through their universe."""
    permutation = found.onto(b, a)
    return Alignment(spec, models[a], models[b], permutation, "universe", found.objective, restarts=found.restarts)
