"""The proof of a spec: random permutations must leave the outputs of the network as they are."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

from modecomb_viz.permutation import Params, Permutation, PermutationSpec, apply_permutation, random_permutation

__all__ = ["prove"]

#: Largest change of the outputs, relative to the largest output, that counts as rounding of float64.
TOLERANCE = 1e-8

_TRIALS = 2


def prove(spec: PermutationSpec, model: nn.Module, inputs: Sequence[Tensor], *, seed: int = 0):
    """Raise unless random permutations of all groups leave every output unchanged in float64.

    The weights are the network's own, disturbed at random, so that no two units are alike: a norm that was never
    trained has the same scale everywhere, and a wrong permutation of it would not show.

    Raises:
        ValueError: naming the groups and layers whose permutation changes the outputs, or saying why the outputs
            cannot be compared.
    """
    doubled = copy.deepcopy(model).double()
    x = tuple(t.double() if t.is_floating_point() else t for t in inputs)
    params = _disturbed(spec, doubled, seed)
    before = _outputs(doubled, params, x)
    if not all(output.isfinite().all() for output in before):
        raise ValueError(
            f"the outputs of {type(model).__name__} on the example are not finite, so its spec cannot be proven."
        )
    for trial in range(_TRIALS):
        permutation = random_permutation(spec, seed + trial)
        if _change(spec, doubled, params, permutation, x, before) > TOLERANCE:
            raise ValueError(_explain(spec, doubled, params, permutation, x, before))


def _disturbed(spec: PermutationSpec, model: nn.Module, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state, params = model.state_dict(), {}
    for name in spec.axes_to_perm:
        first = spec.tied.get(name, name)
        if first in params:
            params[name] = params[first]
            continue
        weight = state[name].detach().cpu()
        stretch, shift = (_varied(weight.shape, generator) for _ in range(2))
        spread = weight.std().item() if weight.numel() > 1 else 0.0
        params[name] = weight * (1 + 0.5 * stretch) + 0.1 * (spread or 1.0) * (2 * shift - 1)
    return params


def _varied(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Numbers in [0, 1) that differ along every axis: the mean of one random vector per axis, of little memory."""
    total = torch.rand((), generator=generator, dtype=torch.float64)
    for axis, size in enumerate(shape):
        vector = torch.rand(size, generator=generator, dtype=torch.float64)
        total = total + vector.reshape(-1, *[1] * (len(shape) - axis - 1))
    return total / (1 + len(shape))


def _outputs(model: nn.Module, params: Params, x: Sequence[Tensor]) -> list[Tensor]:
    with torch.no_grad():
        made = functional_call(model, dict(params), tuple(x), tie_weights=False)
    return [leaf.double() for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]


def _change(
    spec: PermutationSpec,
    model: nn.Module,
    params: Params,
    permutation: Permutation,
    x: Sequence[Tensor],
    before: Sequence[Tensor],
) -> float:
    """The largest change of an output, relative to the largest output."""
    after = _outputs(model, apply_permutation(spec, permutation, params), x)
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if old.numel()]
    return max(((new - old).abs().max() / old.abs().max().clamp_min(1e-300)).item() for old, new in pairs)


def _explain(
    spec: PermutationSpec,
    model: nn.Module,
    params: Params,
    permutation: Permutation,
    x: Sequence[Tensor],
    before: Sequence[Tensor],
) -> str:
    name = type(model).__name__
    if any(not torch.equal(*pair) for pair in zip(before, _outputs(model, params, x), strict=True)):
        return f"the outputs of {name} are random in eval mode, so its spec cannot be proven. Turn the randomness off."
    changes = {group: _change(spec, model, params, {group: p}, x, before) for group, p in permutation.items()}
    wrong = [group for group, change in changes.items() if change > TOLERANCE]
    layers = {group: dict.fromkeys(spec.layers[tensor] for tensor, _ in spec.places[group]) for group in wrong}
    described = "; ".join(f"{group} (layers {', '.join(map(repr, layers[group]))})" for group in wrong[:5])
    return (
        f"the spec of {name} changes its function: permuting {described or 'all groups at once'} changes the outputs "
        f"by {max(changes.values(), default=0):.1e} of their size. The spec is not used. Does the network compute in "
        "a lower precision inside, or treat some units by their number?"
    )
