"""Named points of the cube: combinations that two networks suggest themselves, weight by weight.

A point is given by its coefficients ``[1, *shape]`` per tensor. Exchanging A and B mirrors every point, Λ → 1 − Λ.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from modecomb_viz.hypercube.coefficients import Coefficients, check_granularity, expand, slots
from modecomb_viz.permutation import Params, PermutationSpec

__all__ = ["NAMED", "averaged", "fisher_point", "magnitude_point", "mean_over_weights", "sign_point", "swapped_layer"]

#: Points that follow from one number per weight and network, by name.
NAMED: dict[str, str] = {
    "fisher": "Λ = F_B / (F_A + F_B), F the diagonal of the Fisher information",
    "magnitude": "the weight of larger magnitude",
    "sign": "the mean where the signs agree, else the weight of larger magnitude",
}

_HALF = torch.tensor(0.5, dtype=torch.float64)


def fisher_point(fisher_a: Params, fisher_b: Params) -> dict[str, Tensor]:
    """Λ = F_B / (F_A + F_B); the midpoint ½ where both are 0.

    The mean of the networks weighted by how much each one's likelihood depends on the weight. Source: Matena & Raffel,
    "Merging Models with Fisher-Weighted Averaging", NeurIPS 2022.

    Args:
        fisher_a, fisher_b: per tensor the diagonal of the Fisher information, of its shape, of A and of π(B).
    """

    def of(a: Tensor, b: Tensor) -> Tensor:
        total = a.double() + b.double()
        return torch.where(total == 0, _HALF.to(total), b.double() / total)

    return _each(of, fisher_a, fisher_b)


def magnitude_point(params_a: Params, params_b: Params) -> dict[str, Tensor]:
    """Λ = 1 where |π(B)| > |A|, 0 where |π(B)| < |A|, ½ where they are equal. The definition is ours."""
    return _each(_larger, params_a, params_b)


def sign_point(params_a: Params, params_b: Params) -> dict[str, Tensor]:
    """Λ = ½ where A and π(B) have the same sign, else 1 where |π(B)| > |A| and 0 where |π(B)| < |A|.

    0 has a sign of its own; opposite weights of equal size give ½. These are sign election and disjoint mean of TIES
    (Yadav et al., "TIES-Merging", NeurIPS 2023) for two networks, without its trimming, and with the weights
    themselves in place of differences to a common initialisation, which independent networks do not have.
    """
    return _each(lambda a, b: torch.where(a.sign() == b.sign(), _HALF.to(a.device), _larger(a, b)), params_a, params_b)


def _each(rule: Callable[[Tensor, Tensor], Tensor], of_a: Params, of_b: Params) -> dict[str, Tensor]:
    return {name: rule(a, of_b[name])[None] for name, a in of_a.items()}


def _larger(a: Tensor, b: Tensor) -> Tensor:
    return torch.heaviside(b.abs().double() - a.abs().double(), _HALF.to(a.device))


def averaged(spec: PermutationSpec, coefficients: Coefficients, granularity: str) -> dict[str, Tensor]:
    """The point whose coefficients are the means over all trained weights that share one at the granularity.

    Running statistics of a norm are not trained: no likelihood depends on them as on a weight, and their size or sign
    says nothing of which network should give them. At every granularity, "weight" included, they take the mean over
    the trained weights of their unit, as the statistics that REPAIR aims at do. ½ where there is no trained weight.

    Args:
        coefficients: of one point.
    """
    sums, counts = _unit_sums(spec, coefficients)
    match check_granularity(granularity):
        case "model":
            total, count = sum(s.sum() for s in sums.values()), sum(c.sum() for c in counts.values())
            return expand(spec, "model", {"model": _mean(total, count)[None]})
        case "layer":
            return expand(
                spec, "layer", {layer: _mean(s.sum(), counts[layer].sum())[None] for layer, s in sums.items()}
            )
        case _:
            of_units = expand(spec, "unit", {layer: _mean(s, counts[layer])[None] for layer, s in sums.items()})
    if granularity == "unit":
        return of_units
    own = {name: coefficients[spec.tied.get(name, name)] for name in spec.shapes if name not in spec.statistics}
    return {name: own.get(name, of_units[name]) for name in spec.shapes}


def _mean(total: Tensor, count: Tensor) -> Tensor:
    return torch.where(count == 0, _HALF.to(total), total / count)


def _unit_sums(spec: PermutationSpec, coefficients: Coefficients) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Per layer ``[unit]``, over the trained weights of every unit: the sum of their coefficients, and their number."""
    sums = {layer: torch.zeros(shape, dtype=torch.float64) for layer, shape in slots(spec, "unit").items()}
    counts = {layer: torch.zeros_like(total) for layer, total in sums.items()}
    for name in _trained(spec):
        whole = coefficients[name][0].expand(spec.shapes[name])
        rows = whole.movedim(spec.unit_axes.get(name, 0), 0).flatten(1) if whole.ndim > 1 else whole.reshape(-1, 1)
        sums[spec.layers[name]] += rows.double().sum(1).cpu()
        counts[spec.layers[name]] += rows.shape[1]
    return sums, counts


def _trained(spec: PermutationSpec) -> list[str]:
    """The trained tensors, each under its first name."""
    return [name for name in spec.shapes if name not in spec.statistics and name not in spec.tied]


def mean_over_weights(spec: PermutationSpec, coefficients: Coefficients) -> Float[Tensor, " point"]:
    """λ̄: the mean coefficient over all trained weights."""
    total, count = torch.zeros(()), 0
    for name in _trained(spec):
        block, size = coefficients[name].double(), torch.Size(spec.shapes[name]).numel()
        total = total + block.reshape(len(block), -1).mean(1).cpu() * size
        count += size
    return total / count


def mean_over_layers(spec: PermutationSpec, coefficients: Coefficients) -> Float[Tensor, " layer"]:
    """The mean coefficient of the first point over the trained weights of every layer, in the order of the layers."""
    sums, counts = _unit_sums(spec, coefficients)
    return torch.stack([sums[layer].sum() / counts[layer].sum() for layer in spec.layer_names])


def swapped_layer(spec: PermutationSpec, coefficients: Coefficients) -> str | None:
    """The layer ℓ where the point is A with layer ℓ of π(B): Λ is 1 on it and 0 on all others; else None."""
    ones = [layer for layer in spec.layer_names if _is(spec, coefficients, layer, 1)]
    others = [layer for layer in spec.layer_names if layer not in ones]
    return ones[0] if len(ones) == 1 and all(_is(spec, coefficients, layer, 0) for layer in others) else None


def _is(spec: PermutationSpec, coefficients: Coefficients, layer: str, value: int) -> bool:
    return all(bool((coefficients[name] == value).all()) for name, owner in spec.layers.items() if owner == layer)
