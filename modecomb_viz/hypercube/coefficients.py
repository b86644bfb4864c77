"""Who shares a coefficient, and the laws from which coefficients are drawn."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from modecomb_viz.permutation import PermutationSpec

__all__ = [
    "GRANULARITIES",
    "LAWS",
    "Coefficients",
    "Law",
    "Parameter",
    "check_granularity",
    "check_law",
    "draw_generator",
    "expand",
    "layer_mask",
    "sample_coefficients",
    "slots",
    "with_moments",
]

Coefficients = Mapping[str, Tensor]

#: What shares one coefficient, from coarse to fine.
GRANULARITIES: dict[str, str] = {
    "model": "one λ for the whole network",
    "layer": "one λ per layer",
    "unit": "one λ per unit or channel: a row of its layer's weight with its bias and norm",
    "weight": "one λ per scalar",
}


def check_granularity(granularity: str) -> str:
    """The granularity, or a ValueError that lists the four."""
    if granularity not in GRANULARITIES:
        raise ValueError(f"granularity must be one of {', '.join(GRANULARITIES)}, got {granularity!r}.")
    return granularity


def slots(spec: PermutationSpec, granularity: str) -> dict[str, tuple[int, ...]]:
    """The distinct coefficients: name and shape of each block of them, in the order in which they are drawn.

    ``model``: one scalar. ``layer``: a scalar per layer. ``unit``: ``(units,)`` per layer. ``weight``: the
    shape of each tensor.
    """
    match check_granularity(granularity):
        case "model":
            return {"model": ()}
        case "layer":
            return dict.fromkeys(spec.layer_names, ())
        case "unit":
            return {layer: (_units(spec, layer),) for layer in spec.layer_names}
        case _:
            return {name: tuple(shape) for name, shape in spec.shapes.items() if name not in spec.tied}


def _units(spec: PermutationSpec, layer: str) -> int:
    sizes = {
        (spec.shapes[name] or (1,))[spec.unit_axes.get(name, 0)]
        for name, owner in spec.layers.items()
        if owner == layer
    }
    if len(sizes) > 1:
        raise ValueError(f"the tensors of layer '{layer}' disagree on its number of units: {sorted(sizes)}.")
    return sizes.pop()


def _slot(spec: PermutationSpec, granularity: str, name: str) -> str:
    return {"model": "model", "weight": spec.tied.get(name, name)}.get(granularity, spec.layers[name])


def expand(spec: PermutationSpec, granularity: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Coefficients per tensor from one block ``[point, *slot shape]`` per slot (see :func:`slots`)."""
    coefficients = {}
    for name, shape in spec.shapes.items():
        block = values[_slot(spec, granularity, name)]
        if granularity != "weight":
            axes = [1] * len(shape)
            if granularity == "unit" and shape:
                axes[spec.unit_axes.get(name, 0)] = -1
            block = block.reshape(len(block), *axes)
        coefficients[name] = block
    return coefficients


def layer_mask(spec: PermutationSpec, layers: int | Iterable[str]) -> dict[str, Tensor]:
    """z = 1 on the first ``layers`` layers, or on the named ones, and 0 elsewhere; one point.

    Raises:
        ValueError: for an unknown layer, or a number that leaves no layer on one side.
    """
    names = spec.layer_names
    if isinstance(layers, int):
        if not 0 < layers < len(names):
            raise ValueError(f"z = {layers} layers leaves one side empty; give 1 … {len(names) - 1} of {len(names)}.")
        layers = names[:layers]
    chosen = set(layers)
    if unknown := chosen - set(names):
        raise ValueError(f"there is no layer {', '.join(sorted(unknown))}; the layers are {', '.join(names)}.")
    return expand(spec, "layer", {name: torch.tensor([float(name in chosen)]) for name in names})


class Parameter(NamedTuple):
    """A parameter of a law: its default, the values allowed, the range a slider offers, and what it means."""

    default: float
    allowed: tuple[float, float]
    offered: tuple[float, float]
    doc: str


@dataclass(frozen=True)
class Law:
    """A distribution of coefficients.

    ``draw(generator, shape, **parameters)`` gives independent float64 coefficients; one generator state gives
    nearby draws for nearby parameters wherever the law has a quantile function that is cheap.
    """

    formula: str
    draw: Callable[..., Tensor]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


_REAL = (-math.inf, math.inf)


def _uniforms(generator: torch.Generator, shape: Sequence[int]) -> Tensor:
    return torch.rand(tuple(shape), generator=generator, dtype=torch.float64)


def _constant(generator, shape, value):
    return torch.full(tuple(shape), value, dtype=torch.float64)


def _uniform(generator, shape, low, high):
    if low > high:
        raise ValueError(f"uniform needs low ≤ high, got low={low}, high={high}.")
    return low + (high - low) * _uniforms(generator, shape)


def _bernoulli(generator, shape, p):
    return (_uniforms(generator, shape) < p).double()


def _normal(generator, shape, mean, std, clip):
    draw = mean + std * torch.randn(tuple(shape), generator=generator, dtype=torch.float64)
    return draw.clamp(0, 1) if clip else draw


def _beta(generator, shape, alpha, beta):
    seed = torch.randint(2**62, (), generator=generator).item()
    return torch.as_tensor(np.random.default_rng(seed).beta(alpha, beta, size=tuple(shape)), dtype=torch.float64)


#: The laws by name. Outside [0, 1] a coefficient extrapolates; every law but beta and bernoulli can.
LAWS: dict[str, Law] = {
    "constant": Law("Λ = value", _constant, {"value": Parameter(0.5, _REAL, (-0.5, 1.5), "the one coefficient")}),
    "uniform": Law(
        "Λ ~ U[low, high]",
        _uniform,
        {
            "low": Parameter(0.0, _REAL, (-1.0, 1.0), "smallest coefficient"),
            "high": Parameter(1.0, _REAL, (0.0, 2.0), "largest coefficient"),
        },
    ),
    "bernoulli": Law(
        "Λ ∈ {0, 1}, P(Λ = 1) = p",
        _bernoulli,
        {"p": Parameter(0.5, (0.0, 1.0), (0.0, 1.0), "probability of taking π(B)")},
    ),
    "normal": Law(
        "Λ ~ N(mean, std²)",
        _normal,
        {
            "mean": Parameter(0.5, _REAL, (-0.5, 1.5), "mean coefficient"),
            "std": Parameter(0.25, (0.0, math.inf), (0.0, 1.5), "standard deviation"),
            "clip": Parameter(0.0, (0.0, 1.0), (0.0, 1.0), "1 clips to [0, 1]"),
        },
    ),
    "beta": Law(
        "Λ ~ Beta(alpha, beta)",
        _beta,
        {
            "alpha": Parameter(2.0, (1e-3, math.inf), (0.1, 10.0), "first shape parameter"),
            "beta": Parameter(2.0, (1e-3, math.inf), (0.1, 10.0), "second shape parameter"),
        },
    ),
}


def check_law(distribution: str, parameters: Mapping[str, float]) -> dict[str, float]:
    """All parameters of the law, with defaults filled in.

    Raises:
        ValueError: for an unknown law, an unknown parameter, or a value that is not allowed.
    """
    if distribution not in LAWS:
        raise ValueError(f"distribution must be one of {', '.join(LAWS)}, got {distribution!r}.")
    law = LAWS[distribution]
    if unknown := parameters.keys() - law.parameters.keys():
        raise ValueError(
            f"{distribution} has no parameter {', '.join(sorted(unknown))}; it takes {', '.join(law.parameters)}."
        )
    values = {name: float(parameters.get(name, p.default)) for name, p in law.parameters.items()}
    for name, value in values.items():
        low, high = law.parameters[name].allowed
        if not (low <= value <= high and math.isfinite(value)):
            raise ValueError(
                f"{distribution}: {name} ({law.parameters[name].doc}) must be a finite number in "
                f"[{low:g}, {high:g}], got {value:g}."
            )
    if distribution == "uniform" and values["low"] > values["high"]:
        raise ValueError(f"uniform needs low ≤ high, got low={values['low']:g}, high={values['high']:g}.")
    return values


def with_moments(distribution: str, mean: float, deviation: float) -> dict[str, float] | None:
    """The parameters of the law that has this mean and standard deviation; None where there is none.

    Bernoulli is taken by its mean alone.

    Raises:
        ValueError: for "constant" or an unknown law.
    """
    match distribution:
        case "uniform":
            half = math.sqrt(3) * deviation
            return {"low": mean - half, "high": mean + half}
        case "normal":
            return {"mean": mean, "std": deviation}
        case "beta":
            if not 0 < deviation**2 < mean * (1 - mean):
                return None
            both = mean * (1 - mean) / deviation**2 - 1
            return {"alpha": mean * both, "beta": (1 - mean) * both}
        case "bernoulli":
            return {"p": mean} if 0 <= mean <= 1 else None
        case _:
            raise ValueError(f"distribution must be uniform, normal, beta or bernoulli, got {distribution!r}.")


def draw_generator(seed: int, index: int) -> torch.Generator:
    """The generator of draw number ``index``."""
    state = np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) & (2**63 - 1))


def sample_coefficients(
    spec: PermutationSpec,
    distribution: str = "uniform",
    *,
    granularity: str = "unit",
    n: int = 1,
    seed: int = 0,
    first: int = 0,
    **parameters: float,
) -> dict[str, Tensor]:
    """Draws number ``first`` … ``first + n − 1`` of a law, independent over the slots of the granularity.

    Draw i depends on ``(seed, i)`` and the law alone, on every device and however the draws are grouped.

    Returns:
        Coefficients with a leading point axis of length n, float32.

    Raises:
        ValueError: for an unknown law or granularity, or a parameter that is not allowed.
    """
    values, shapes = check_law(distribution, parameters), slots(spec, granularity)
    draws: dict[str, list[Tensor]] = {slot: [] for slot in shapes}
    for index in range(first, first + n):
        generator = draw_generator(seed, index)
        for slot, shape in shapes.items():
            draws[slot].append(LAWS[distribution].draw(generator, shape, **values))
    return expand(spec, granularity, {slot: torch.stack(blocks).float() for slot, blocks in draws.items()})
