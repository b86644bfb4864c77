"""The proof of a spec: random permutations must leave the outputs of the network as they are."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from modecomb_viz.permutation import Params, Permutation, PermutationSpec, apply_permutation, random_permutation
from modecomb_viz.tracing.recording import left_as_it_was, run_network

__all__ = ["prove"]

#: Largest change of the outputs, relative to the largest output, that counts as rounding of float64.
TOLERANCE = 1e-8

_TRIALS = 2

#: All outputs of the network from weights.
Outputs = Callable[[Params], list[Tensor]]


def prove(spec: PermutationSpec, model: nn.Module, inputs: Sequence[Tensor], *, seed: int = 0):
    """Raise unless random permutations of all groups leave every output unchanged in float64.

    The weights are the network's own, disturbed at random, so that no two units are alike: a norm that was never
    trained has the same scale everywhere, and a wrong permutation of it would not show.

    Raises:
        ValueError: naming the groups and layers whose permutation changes the outputs, or saying why the outputs
            cannot be compared.
    """
    with left_as_it_was(model):
        outputs = partial(_outputs, model, inputs)
        params = _disturbed(spec, model, seed)
        before = outputs(params)
        if not any(output.isfinite().any() for output in before):
            raise ValueError(
                f"the outputs of {type(model).__name__} on the example are not finite, so its spec cannot be proven."
            )
        for trial in range(_TRIALS):
            permutation = random_permutation(spec, seed + trial)
            if _change(spec, params, permutation, outputs, before) > TOLERANCE:
                raise ValueError(_explain(spec, type(model).__name__, params, permutation, outputs, before))


class _InDouble(TorchDispatchMode):
    """Every floating-point number in float64, whatever the network asks for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return tree_map(_doubled, func(*tree_map(_doubled, args), **tree_map(_doubled, kwargs or {})))


def _doubled(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return torch.float64 if value.is_floating_point else value
    if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64:
        return value.double()
    return value


def _disturbed(spec: PermutationSpec, model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Every tensor of the table, disturbed; what is never negative, such as a variance, stays so.

    Buffers that are no running statistics, such as masks, are only stretched, so that their zeros stay.
    """
    generator = torch.Generator().manual_seed(seed)
    state, params = model.state_dict(), {}
    for name in spec.axes_to_perm:
        first = spec.tied.get(name, name)
        if first in params:
            params[name] = params[first]
            continue
        weight = state[name].detach().double().clone()
        spread = weight.std().item() if weight.numel() > 1 else 0.0
        low = 0.0 if (weight >= 0).all() else -1.0
        weight *= _varied(weight, generator).mul_(0.5).add_(1)
        if name not in spec.statistics or "running_" in name:
            weight += _varied(weight, generator).mul_(1 - low).add_(low).mul_(0.1 * (spread or 1.0))
        params[name] = weight
    return params


def _varied(like: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers in [0, 1) that differ along every axis: the mean of one random vector per axis, of little memory."""
    total = torch.full_like(like, torch.rand((), generator=generator, dtype=torch.float64).item())
    for axis, size in enumerate(like.shape):
        vector = torch.rand(size, generator=generator, dtype=torch.float64).to(like.device)
        total += vector.reshape(-1, *[1] * (like.ndim - axis - 1))
    return total.div_(1 + like.ndim)


def _outputs(model: nn.Module, inputs: Sequence[Tensor], params: Params) -> list[Tensor]:
    try:
        with torch.no_grad(), _InDouble():
            return run_network(model, params, [_doubled(x) for x in inputs])
    except Exception as error:  # the forward pass is anybody's code and may raise anything
        raise ValueError(
            f"{type(model).__name__} cannot be run in float64, so its spec cannot be proven: {error}"
        ) from error


def _change(
    spec: PermutationSpec, params: Params, permutation: Permutation, outputs: Outputs, before: Sequence[Tensor]
) -> float:
    """The largest change of an output, relative to the largest of all outputs; infinite where one turns (in)finite."""
    after = outputs(apply_permutation(spec, permutation, params))
    largest, change = 1e-300, 0.0
    for old, new in zip(before, after, strict=True):
        finite = old.isfinite()
        if not torch.equal(finite, new.isfinite()) or not torch.equal(old[~finite].isnan(), new[~finite].isnan()):
            return float("inf")
        if finite.any():
            largest = max(largest, old[finite].abs().max().item())
            change = max(change, (new[finite] - old[finite]).abs().max().item())
    return change / largest


def _explain(
    spec: PermutationSpec,
    name: str,
    params: Params,
    permutation: Permutation,
    outputs: Outputs,
    before: Sequence[Tensor],
) -> str:
    if _change(spec, params, {}, outputs, before) > TOLERANCE:
        return f"the outputs of {name} are random in eval mode, so its spec cannot be proven. Turn the randomness off."
    changes = {group: _change(spec, params, {group: p}, outputs, before) for group, p in permutation.items()}
    wrong = [group for group, change in changes.items() if change > TOLERANCE]
    layers = {group: dict.fromkeys(spec.layers[tensor] for tensor, _ in spec.places[group]) for group in wrong}
    described = "; ".join(f"{group} (layers {', '.join(map(repr, layers[group]))})" for group in wrong[:5])
    return (
        f"the spec of {name} changes its function: permuting {described or 'all groups at once'} changes the outputs "
        f"by {max(changes.values(), default=0):.1e} of their size. The spec is not used. Does the network treat some "
        "units by their number?"
    )
