"""The settings that sweeps take, checked when they are given."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from modecomb_viz.alignment import METHODS, PERTURBATIONS
from modecomb_viz.checkpoints import ModeSet
from modecomb_viz.evaluation import check_plan, check_precision
from modecomb_viz.hypercube import Coefficients, Combinations, check_granularity, check_law, sample_coefficients
from modecomb_viz.permutation import Params, PermutationSpec, check_strength
from modecomb_viz.repair import REPAIRS

__all__ = ["LawSettings", "Settings", "check_choice", "check_count", "check_finite"]


def check_choice(name: str, value: object, allowed: Sequence[str]):
    """ValueError unless the value is one of the allowed words."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")


def check_count(name: str, value: int, low: int, high: int):
    """ValueError unless the value is a whole number in [low, high]."""
    if not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high:,}, got {value!r}.")


def check_finite(name: str, value: float):
    """ValueError unless the value is a finite number."""
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value}.")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that every sweep takes. A sweep is a value: equal settings give equal results.

    Attributes:
        a: name of the mode at coefficient 0.
        b: name of the mode at coefficient 1, whose units are permuted onto those of a.
        alignment: method of :func:`~modecomb_viz.align`; "identity" for the naive combination.
        perturbation: kind of the matching perturbation, "shuffle" or "noise".
        strength: of the perturbation, in [0, 1]; a list adds the dimension ``strength``.
        repair: what is repaired in every combined network: none, batchnorm, repair (REPAIR) or temperature.
        repair_examples: number of training examples on which a repair measures.
        splits: "test", "train" or both.
        seed: of draws and random directions.
        alignment_seed: of the order in which groups are matched.
        perturbation_seed: of the units that are moved, or of the noise.
        device: default: the GPU if there is one.
        precision: "float32", "float64"; "tf32" (on a GPU) or "bfloat16" round the factors of products: the attribute
            ``precision_error`` of the result says by how much that moved some of its points.
        max_memory: bytes of weights, activations and shared results held at once; by default a share of what is free.
        plan: forces how the evaluation is cut, such as ``{"strategy": "vmap"}``; the attribute ``plan`` of a result
            replays it.

    Raises:
        ValueError: for any setting that is not allowed.
    """

    name: ClassVar[str]

    a: str = "A"
    b: str = "B"
    alignment: str = "weight_matching"
    perturbation: str = "shuffle"
    strength: float | tuple[float, ...] = 0.0
    repair: str = "none"
    repair_examples: int = 512
    splits: tuple[str, ...] = ("test",)
    seed: int = 0
    alignment_seed: int = 0
    perturbation_seed: int = 0
    device: str | None = None
    precision: str = "float32"
    max_memory: int | None = None
    plan: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        check_choice("alignment", self.alignment, list(METHODS))
        check_choice("perturbation", self.perturbation, list(PERTURBATIONS))
        check_choice("repair", self.repair, list(REPAIRS))
        check_count("repair_examples", self.repair_examples, 2, 1_000_000)
        check_precision(self.precision)
        for strength in self.strengths:
            check_strength(strength)
        check_plan(self.plan)
        for name in ("seed", "alignment_seed", "perturbation_seed"):
            check_count(name, getattr(self, name), 0, 2**31 - 1)
        if isinstance(self.splits, str) or not self.splits:
            raise ValueError(f"splits must be a list such as ('test',) or ('train', 'test'), got {self.splits!r}.")
        for split in self.splits:
            check_choice("splits", split, ("train", "test"))

    @property
    def strengths(self) -> tuple[float, ...]:
        """The strengths as a tuple, also when there is one."""
        return self.strength if isinstance(self.strength, tuple) else (self.strength,)

    def recipe(self, modes: ModeSet) -> dict[str, Any]:
        """Everything that is needed to compute the result again, ready for JSON."""
        return {"sweep": self.name, "modes": modes.name, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class LawSettings:
    """Settings of a law of coefficients, mixed into those of a sweep, whose seed it takes.

    Attributes:
        distribution: constant, uniform, bernoulli, normal or beta.
        parameters: of the law; what is not given takes the law's default.
        granularity: what shares one coefficient: model, layer, unit or weight.
    """

    distribution: str = "bernoulli"
    parameters: dict[str, float] = field(default_factory=dict)
    granularity: str = "unit"

    def __post_init__(self):
        super().__post_init__()
        check_granularity(self.granularity)
        object.__setattr__(self, "parameters", check_law(self.distribution, self.parameters))

    def draw(self, spec: PermutationSpec, first: int, n: int = 1) -> Coefficients:
        """Draws ``first`` … of the law (see :func:`~modecomb_viz.sample_coefficients`)."""
        law = {"granularity": self.granularity, **self.parameters}
        return sample_coefficients(spec, self.distribution, first=first, n=n, seed=self.seed, **law)

    def draws(self, spec: PermutationSpec, params_a: Params, params_b: Params) -> Combinations:
        """The networks of the law between A and π(B), by the number of the draw; numbers that follow each other."""
        return Combinations(params_a, (params_b,), lambda index: (self.draw(spec, int(index[0]), len(index)),))
