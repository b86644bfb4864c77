"""Norm repair: a combination of networks gets back the statistics that mixing took from its units.

Averaged units vary less than either of the units they come from ("variance collapse"), and the running statistics of a
BatchNorm are not those of the combination. A repair measures the combination on one batch of training examples, and
gives every point of a family its corrections beside its weights, so that points are evaluated as before.

Source: Jordan, Sedghi, Saukh, Entezari, Neyshabur, "REPAIR", ICLR 2023.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, vmap

from modecomb_viz.data import Split
from modecomb_viz.hypercube import Coefficients, Combinations, Points
from modecomb_viz.permutation import Params, PermutationSpec

__all__ = ["REPAIRS", "Repair", "has_batch_norm", "make_repair"]

#: What can be repaired, and how.
REPAIRS: dict[str, str] = {
    "none": "the combination as it is",
    "batchnorm": "running statistics of every BatchNorm measured again",
    "repair": "REPAIR: mean and deviation of every unit set between those of the networks",
    "temperature": "logits divided by the temperature that fits the training examples best",
}

_UNITS_FIRST = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCH_NORM = nn.modules.batchnorm._BatchNorm

#: The temperature is sought between e^−5 and e^5, by halving this interval.
_WIDEST, _HALVINGS = 5.0, 40


def has_batch_norm(model: nn.Module) -> bool:
    """Whether the network has running statistics that a combination leaves wrong."""
    return any(isinstance(module, _BATCH_NORM) and module.track_running_stats for module in model.modules())


@dataclass(frozen=True)
class _Place:
    """A module whose output units are measured: ``layer`` owns the units, ``normalises`` marks a BatchNorm."""

    name: str
    axis: int
    layer: str
    units: int
    normalises: bool


class Repaired(nn.Module):
    """The network with room for corrections: a scale and a shift per measured unit, and a temperature.

    Its weights are those of ``network.…``; the corrections are buffers that do nothing until they are given.
    """

    def __init__(self, network: nn.Module, places: list[_Place]):
        super().__init__()
        self.network, self.places = network, places
        for i, place in enumerate(places):
            self.register_buffer(f"scale_{i}", torch.ones(place.units))
            self.register_buffer(f"shift_{i}", torch.zeros(place.units))
        self.register_buffer("temperature", torch.ones(()))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        def correct(i: int, module: nn.Module, given: Tensor, made: Tensor) -> Tensor:
            scale, shift = getattr(self, f"scale_{i}"), getattr(self, f"shift_{i}")
            return _corrected(made, scale, shift, self.places[i].axis)

        with _hooked(self.network, self.places, correct):
            return self.network(x) / self.temperature


def _corrected(made: Tensor, scale: Tensor, shift: Tensor, axis: int) -> Tensor:
    """An output with every unit stretched and moved."""
    shape = [1] * made.ndim
    shape[axis] = -1
    return made * scale.reshape(shape) + shift.reshape(shape)


@contextmanager
def _hooked(network: nn.Module, places: list[_Place], change: Callable[..., Tensor]) -> Iterator[None]:
    """While it lasts, measured module number i gives what ``change(i, module, input, output)`` makes of its output."""

    def listener(i: int) -> Callable[..., Tensor]:
        return lambda module, given, made: change(i, module, given[0], made)

    handles = [network.get_submodule(place.name).register_forward_hook(listener(i)) for i, place in enumerate(places)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class Repair:
    """One method of repair on one network, with the training examples that it measures on.

    Attributes:
        method: a key of :data:`REPAIRS`, not "none".
        model: the network that evaluates the corrected points.
        spec: of the network.
        batch: the training examples, on the device and in the precision of the evaluation.
        strategy: of the plan; "vmap" measures several points together, every other one after the other.
        points_at_once: how many points are measured together under vmap.
    """

    method: str
    model: Repaired
    spec: PermutationSpec
    batch: Split
    strategy: str
    points_at_once: int = 1

    def __post_init__(self):
        self._ends: list[tuple[Params, dict[str, Tensor]]] = []

    def named(self, params: Params) -> dict[str, Tensor]:
        """Weights of the network under the names of :attr:`model`, uncorrected."""
        state = {name: tensor for name, tensor in self.model.named_buffers() if not name.startswith("network.")}
        return {f"network.{name}": tensor for name, tensor in params.items()} | state

    def points(self, family: Combinations) -> "RepairedFamily":
        """The family with every point corrected."""
        return RepairedFamily(self, family)

    def plain(self, params: Params) -> dict[str, Tensor]:
        """One point of :attr:`model` as weights of the network alone: what corrects a module goes into its weights.

        Raises:
            ValueError: where the network has no weights that could hold a correction.
        """
        found = {name.removeprefix("network."): t for name, t in params.items() if name.startswith("network.")}
        folds = [(p, params[f"scale_{i}"], params[f"shift_{i}"]) for i, p in enumerate(self.model.places)]
        if self.method == "temperature":
            last = self._last()
            folds = [(last, (1 / params["temperature"]).expand(last.units), torch.zeros_like(params["temperature"]))]
        for place, scale, shift in folds:
            if bool((scale != 1).any()) or bool((shift != 0).any()):
                found |= _folded(self.method, place, self.spec, found, scale, shift)
        self._check_plain(params, found)
        return found

    def _last(self) -> _Place:
        """The module whose output is the network's."""
        network = self.model.network
        known = _known_places(network, self.spec)
        _, last = _run_order(network, known, self.batch.x[:2])
        if last is None:
            raise ValueError(
                f"the temperature of a repaired point divides the logits, and those of {type(network).__name__} are "
                "not the output of a linear layer or a convolution that could hold it. Export a point without repair."
            )
        return known[last]

    def _check_plain(self, params: Params, found: Params):
        """ValueError unless the network with these weights answers on the batch as the corrected point does."""
        corrected = functional_call(self.model, dict(params), (self.batch.x,), tie_weights=False)
        plain = functional_call(self.model.network, dict(found), (self.batch.x,), tie_weights=False)
        tolerance = 1e-4 * max(1.0, corrected.nan_to_num().abs().max().item())
        if not torch.allclose(plain, corrected, rtol=1e-4, atol=tolerance, equal_nan=True):
            raise ValueError(
                f"{type(self.model.network).__name__} with the corrections of repair '{self.method}' in its weights "
                "answers otherwise than the repaired point. Export a point without repair."
            )

    def corrections(self, family: Combinations, coordinates: Tensor) -> dict[str, Tensor]:
        """What :attr:`model` has beside the mixed weights of the points, each with a leading point axis."""
        params = family(coordinates)
        targets = self._targets(family, coordinates) if self.method == "repair" else {}
        measured = self._measure(params, targets)
        found = {
            name: tensor.expand(len(coordinates), *tensor.shape)
            for name, tensor in self.model.named_buffers()
            if not name.startswith("network.")
        }
        if self.method == "temperature":
            ends = [self._statistics_of(end)["logits"] for end in (family.params_a, *family.others)]
            enough = torch.stack([F.cross_entropy(logits.double(), self.batch.y) for logits in ends]).max()
            return found | {"temperature": fit_temperature(measured["logits"], self.batch.y, enough)}
        weights = {f"network.{name}" for name in params}
        return found | {name: tensor for name, tensor in measured.items() if name in found or name in weights}

    def _measure(self, params: Params, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Statistics, corrections and logits on the batch, each with a leading point axis."""
        if self.strategy == "vmap":
            return vmap(self._measure_one)(dict(params), dict(targets))
        count = len(next(iter(params.values())))
        each = [
            self._measure_one({k: v[i] for k, v in params.items()}, {k: v[i] for k, v in targets.items()})
            for i in range(count)
        ]
        return {name: torch.stack([one[name] for one in each]) for name in each[0]}

    def _measure_one(
        self, params: Params, targets: Mapping[str, Tensor], *, as_it_is: bool = False
    ) -> dict[str, Tensor]:
        """One network. Every place sees what the places before it have corrected; ``as_it_is`` corrects nothing."""
        found: dict[str, Tensor] = {}

        def change(i: int, module: nn.Module, given: Tensor, made: Tensor) -> Tensor:
            place = self.model.places[i]
            if place.normalises and not as_it_is:
                mean, var = _statistics(given, 1)
                found[f"network.{place.name}.running_mean"], found[f"network.{place.name}.running_var"] = mean, var
                made = F.batch_norm(given, mean, var, module.weight, module.bias, False, 0.0, module.eps)
            if self.method == "repair":
                mean, var = _statistics(made, place.axis)
                found[f"mean_{i}"], found[f"std_{i}"] = mean, var.sqrt()
            if targets:
                std, wanted = found[f"std_{i}"], targets[f"std_{i}"]
                scale = torch.where(std > 0, wanted / std, torch.ones_like(std))
                shift = targets[f"mean_{i}"] - mean * scale
                found[f"scale_{i}"], found[f"shift_{i}"] = scale, shift
                made = _corrected(made, scale, shift, place.axis)
            return made

        places = [] if self.method == "temperature" else self.model.places
        with _hooked(self.model.network, places, change):
            logits = functional_call(self.model.network, dict(params), (self.batch.x,), tie_weights=False)
        return found | {"logits": logits}

    def _targets(self, family: Combinations, coordinates: Tensor) -> dict[str, Tensor]:
        """(1 − Σ λ̄_k)·stat_A + Σ λ̄_k·stat_k per measured unit, ``[point, unit]``."""
        ends = [self._statistics_of(end) for end in (family.params_a, *family.others)]
        coefficients = family.coefficients(coordinates)
        targets = {}
        for i, place in enumerate(self.model.places):
            shares = [mean_coefficient(self.spec, of, place.layer, place.units) for of in coefficients]
            for kind in ("mean", "std"):
                a, *others = (end[f"{kind}_{i}"] for end in ends)
                targets[f"{kind}_{i}"] = a + sum(share.to(a) * (b - a) for share, b in zip(shares, others, strict=True))
        return targets

    def _statistics_of(self, params: Params) -> dict[str, Tensor]:
        """Mean and deviation of every measured unit of an end, measured once."""
        for known, statistics in self._ends:
            if known is params:
                return statistics
        statistics = self._measure_one(params, {}, as_it_is=True)
        self._ends.append((params, statistics))
        return statistics


@dataclass(frozen=True, eq=False)
class RepairedFamily:
    """A family whose points are measured and corrected; calling it gives weights with a leading point axis."""

    repair: Repair
    family: Combinations

    @property
    def described_at_once(self) -> int:
        """How many points are measured together."""
        return self.repair.points_at_once

    def points(self, coordinates: Tensor) -> Points:
        """The points with the names of :attr:`Repair.model`, and their corrections."""
        parts = [self.repair.corrections(self.family, part) for part in coordinates.split(self.repair.points_at_once)]
        given = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        plain = self.family.points(coordinates)
        ends, coefficients = (
            tuple({f"network.{name}": tensor for name, tensor in table.items()} for table in tables)
            for tables in (plain.ends, plain.coefficients)
        )
        return Points(ends, coefficients, given)

    def __call__(self, coordinates: Tensor) -> dict[str, Tensor]:
        return self.points(coordinates).weights()


def _folded(
    method: str, place: _Place, spec: PermutationSpec, params: Params, scale: Tensor, shift: Tensor
) -> dict[str, Tensor]:
    """Weight and bias of a module that gives scale · output + shift."""
    weight, bias = f"{place.name}.weight", f"{place.name}.bias"
    tied = {*spec.tied, *spec.tied.values()}
    held = weight in params and not {weight, bias} & tied and (bias in params or not bool(shift.any()))
    axis = spec.unit_axes.get(weight, 0)
    if not held or params[weight].shape[axis] != len(scale):
        raise ValueError(
            f"repair '{method}' scales and shifts the output of '{place.name}', which has no weight and bias of its "
            "own for that, so the plain architecture cannot hold the repaired point. Export a point without repair."
        )
    shape = [1] * params[weight].ndim
    shape[axis] = -1
    found = {weight: params[weight] * scale.reshape(shape)}
    return found | ({bias: params[bias] * scale + shift} if bias in params else {})


@lru_cache(maxsize=8)
def _repairable(network: nn.Module, places: tuple[_Place, ...]) -> Repaired:
    """The network with room for corrections, made once."""
    return Repaired(network, list(places))


def _statistics(made: Tensor, axis: int) -> tuple[Float[Tensor, " unit"], Float[Tensor, " unit"]]:
    """Mean and (biased) variance of every unit over examples and positions."""
    others = [i for i in range(made.ndim) if i != axis % made.ndim]
    var, mean = torch.var_mean(made, others, correction=0)
    return mean, var


def mean_coefficient(
    spec: PermutationSpec, coefficients: Coefficients, layer: str, units: int
) -> Float[Tensor, "point units"]:
    """λ̄: the mean coefficient of every unit of a layer, over its row of the layer's largest tensor."""
    own = [name for name in spec.axes_to_perm if spec.layers[name] == layer]
    name = max(own, key=lambda name: torch.Size(spec.shapes[name]).numel())
    coefficient = coefficients[name]
    rows = coefficient.movedim(1 + spec.unit_axes.get(name, 0), 1).flatten(2).mean(2)
    return rows.expand(len(rows), units)


def fit_temperature(
    logits: Float[Tensor, "point example label"],
    y: Int[Tensor, " example"],
    enough: Float[Tensor, ""],
) -> Float[Tensor, " point"]:
    """T > 0 for logits/T: the nearest to 1 that brings the mean cross-entropy down to ``enough``, or as low as it gets.

    Examples that are all classified right would be fitted best by T → 0, which is no repair; hence the bound, which
    is ours. NaN where a logit is not finite. The loss is convex in 1/T, so its slope has one zero, and on the way
    to it from T = 1 the loss falls; both are found by halving an interval of log(1/T).
    """
    scores = logits.double()
    right = scores.gather(2, y.expand(len(scores), -1)[..., None]).squeeze(2)

    def slope(sharpness: Tensor) -> Tensor:
        chosen = torch.softmax(scores * sharpness.exp()[:, None, None], 2)
        return ((chosen * scores).sum(2) - right).mean(1)

    def loss(sharpness: Tensor) -> Tensor:
        scaled = scores * sharpness.exp()[:, None, None]
        return (scaled.logsumexp(2) - right * sharpness.exp()[:, None]).mean(1)

    zero = torch.zeros_like(right[:, 0])
    best = _halve(zero - _WIDEST, zero + _WIDEST, lambda middle: slope(middle) < 0)
    nearest = _halve(zero, best, lambda middle: loss(middle) > enough)
    finite = scores.isfinite().flatten(1).all(1)
    return torch.where(finite, (-nearest).exp(), torch.nan).to(logits.dtype)


def _halve(start: Tensor, end: Tensor, before: Callable[[Tensor], Tensor]) -> Tensor:
    """Where ``before`` turns from true, at the start, to false; the end where it never does."""
    for _ in range(_HALVINGS):
        middle = (start + end) / 2
        go_on = before(middle)
        start, end = torch.where(go_on, middle, start), torch.where(go_on, end, middle)
    return start


def make_repair(
    method: str,
    network: nn.Module,
    spec: PermutationSpec,
    batch: Split,
    *,
    strategy: str = "loop",
    points_at_once: int = 1,
) -> Repair:
    """Prepare a repair.

    Args:
        method: "batchnorm", "repair" or "temperature". BatchNorm: mean and variance of every BatchNorm are measured
            again. REPAIR: the output of every hidden linear and convolution layer, after its BatchNorm if it has one
            (whose statistics are measured again), gets the mean and deviation (1 − λ̄)·stat_A + λ̄·stat_B, λ̄ the mean
            coefficient of the unit; a unit that never changes keeps its size. A network combined with itself stays as
            it is. Temperature: one number per point, see :func:`fit_temperature`.
        network: in eval mode, on the device and in the precision of the evaluation.
        batch: the training examples to measure on; layer after layer, all at once.
        strategy, points_at_once: as in :class:`Repair`.

    Raises:
        ValueError: for an unknown method, a network without what it repairs, or one that uses a module several times.
    """
    if method not in REPAIRS or method == "none":
        raise ValueError(f"repair must be one of {', '.join(REPAIRS)}, got {method!r}.")
    places = _places(method, network, spec, batch.x[:2])
    if method == "batchnorm" and not places:
        name = type(network).__name__
        raise ValueError(f"repair 'batchnorm' needs a network with BatchNorm; {name} has none. Use 'repair' or 'none'.")
    if method == "repair" and not places:
        name = type(network).__name__
        raise ValueError(
            f"repair 'repair' needs modules whose output units it can measure, linear layers, convolutions or "
            f"BatchNorm before the last; {name} has none. Use 'none'."
        )
    model = _repairable(network, tuple(places)).to(batch.x.device, batch.x.dtype)
    return Repair(method, model, spec, batch, strategy, points_at_once)


def _places(method: str, network: nn.Module, spec: PermutationSpec, x: Tensor) -> list[_Place]:
    """The modules to measure, in the order in which they run."""
    if method == "temperature":
        return []
    known = _known_places(network, spec)
    normalised = {place.layer for place in known.values() if place.normalises}
    wanted = {
        name: place
        for name, place in known.items()
        if place.normalises or (method == "repair" and place.layer not in normalised)
    }
    order, last = _run_order(network, wanted, x)
    return [wanted[name] for name in order if wanted[name].normalises or name != last]


def _known_places(network: nn.Module, spec: PermutationSpec) -> dict[str, _Place]:
    """All modules whose output units can be measured."""
    return {name: place for name, module in network.named_modules() if (place := _place(name, module, spec))}


def _place(name: str, module: nn.Module, spec: PermutationSpec) -> _Place | None:
    if isinstance(module, _BATCH_NORM) and module.track_running_stats:
        return _Place(name, 1, spec.layers[f"{name}.running_mean"], module.num_features, True)
    if isinstance(module, (nn.Linear, *_UNITS_FIRST)) and f"{name}.weight" in spec.layers:
        units = module.out_features if isinstance(module, nn.Linear) else module.out_channels
        return _Place(name, -1 if isinstance(module, nn.Linear) else 1, spec.layers[f"{name}.weight"], units, False)
    return None


def _run_order(network: nn.Module, places: Mapping[str, _Place], x: Tensor) -> tuple[list[str], str | None]:
    """The names of the modules as they run, and the one whose output is the network's."""
    listed, made_by, kept = list(places.values()), {}, []

    def note(i: int, module: nn.Module, given: Tensor, made: Tensor) -> Tensor:
        made_by[id(made)] = listed[i].name
        kept.append((listed[i].name, made))
        return made

    with torch.no_grad(), _hooked(network, listed, note):
        out = network(x)
    order = [name for name, _ in kept]
    if repeated := sorted({name for name in order if order.count(name) > 1}):
        raise ValueError(
            f"'{repeated[0]}' runs {order.count(repeated[0])} times in one pass, so its units cannot be repaired."
        )
    return order, made_by.get(id(out))
