"""One point of a plane, looked at closely: what it answers, where it differs from its parents, what it is made of."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from modecomb_viz.alignment.base import matched_names
from modecomb_viz.data import Split
from modecomb_viz.hypercube import Combinations, Plane, mean_over_layers, mean_over_weights, segment
from modecomb_viz.similarity import disagreement, jensen_shannon, weight_distance
from modecomb_viz.sweep.measurement import QUANTITIES, Located, Measurement, Step
from modecomb_viz.sweep.named import NamedPoints
from modecomb_viz.sweep.plane import PlaneSweep
from modecomb_viz.sweep.settings import check_count, check_finite

__all__ = ["INSPECTED", "InspectionSweep"]

#: The name of the point among the networks that it is compared with.
INSPECTED = "point"

#: The dimensions of what a split says, after the split.
_DIMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((*QUANTITIES, "disagreement", "jensen_shannon"), ("model",)),
    "confusion": ("label", "predicted"),
    "differing": (),
    **dict.fromkeys(("example", "true_label"), ("shown",)),
    **dict.fromkeys(("prediction", "certainty"), ("shown", "model")),
    "image": ("shown", "channel", "row", "column"),
}


@dataclass(frozen=True, kw_only=True)
class InspectionSweep(PlaneSweep):
    """One point (u, v) of a plane beside the networks that span it: answers, confusion, disagreement, coefficients.

    Networks are A, π(B), for three modes π(C), and the point. ``confusion`` counts the examples of a label (rows) that
    the point gives another (columns). ``example`` lists examples that it answers otherwise than A or π(B), those
    first on which it differs from more of the networks and is more certain; ``image`` shows them, every channel scaled
    to [0, 1] by its range over the split. ``coefficient`` is the mean over the weights of every layer. ``margin``,
    ``region``, ``resolution`` and ``tolerance`` change nothing.

    Attributes:
        u, v: coordinates of the point on the plane; also between and beyond the points of a map.
        shown: examples that are listed at most.
    """

    name: ClassVar[str] = "inspection"

    u: float = 0.5
    v: float = 0.5
    shown: int = 15

    def __post_init__(self):
        super().__post_init__()
        for name in ("u", "v"):
            check_finite(name, getattr(self, name))
        check_count("shown", self.shown, 0, 1000)
        if isinstance(self.strength, tuple):
            raise ValueError(f"an inspection takes one strength, got {self.strength}.")

    def measure(self, run: Measurement) -> Iterator[Step]:
        plane, _ = yield from self._plane(run, NamedPoints(run, self), self.strength)
        names = [*_ends(plane), INSPECTED]
        run.total = len(names) * len(self.splits)
        answers: list[dict[str, Any]] = []
        for name in names:
            answers.append((yield from run.of_splits(*self._network(plane, name), (*QUANTITIES, "logits"))))
        of_splits = [_of_split([of[name] for of in answers], run.modes.split(name), self.shown) for name in self.splits]
        variables = {name: (("split", *_DIMS[name]), np.stack([of[name] for of in of_splits])) for name in of_splits[0]}
        labels = list(range(of_splits[0]["confusion"].shape[0]))
        yield run.dataset(
            variables | self._weights(run, plane),
            {
                "model": names, "label": labels, "predicted": labels, "shown": list(range(self.shown)),
                "toward": names[1:-1], "layer": list(run.modes.spec.layer_names), "u": self.u, "v": self.v,
            },
            {name: {"long_name": label, "units": plane.units} for name, label in zip("uv", plane.labels, strict=True)},
        )  # fmt: skip

    def located(self, run: Measurement, strength: float, found: xr.Dataset, where: Mapping[str, Any]) -> Located:
        plane, _ = yield from self._plane(run, NamedPoints(run, self), strength)
        return self._network(plane, where["model"])

    def _network(self, plane: Plane, name: str) -> tuple[Combinations, Tensor]:
        """A network by its name: one of the ends, or the point."""
        if name == INSPECTED:
            return plane.at, torch.tensor([[self.u, self.v]], dtype=torch.float64)
        params = dict(zip(_ends(plane), (plane.at.params_a, *plane.at.others), strict=True))[name]
        return segment(params, params), torch.zeros(1)

    def _weights(self, run: Measurement, plane: Plane) -> dict[str, Any]:
        """Of what the point is made: coefficients of the layers, distances to the networks."""
        spec, (family, at) = run.modes.spec, self._network(plane, INSPECTED)
        tables = family.coefficients(at)
        point = {name: tensor[0] for name, tensor in family(at).items()}
        ends = plane.at.params_a, *plane.at.others
        names = matched_names(spec)
        distances = [weight_distance(point, other, *ends[:2], names) for other in (*ends, point)]
        return {
            "coefficient": (("toward", "layer"), np.stack([mean_over_layers(spec, table) for table in tables])),
            "mean_coefficient": (("toward",), np.stack([mean_over_weights(spec, table)[0] for table in tables])),
            "weight_distance": (("model",), np.array(distances)),
        }


def _ends(plane: Plane) -> list[str]:
    """The names of the networks that span a plane: A, π(B), for three modes π(C)."""
    return ["A", "π(B)", "π(C)"][: 1 + len(plane.at.others)]


def _answered(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The label of every example, −1 where its probability is no number, and its probability."""
    certainty, label = logits.double().softmax(-1).max(-1)
    return torch.where(certainty.isnan(), -1, label), certainty


def _of_split(answers: Sequence[Mapping[str, np.ndarray]], split: Split, shown: int) -> dict[str, np.ndarray]:
    """What one split says of the networks, of which the point is the last."""
    logits, y = torch.stack([torch.from_numpy(of["logits"][0]) for of in answers]), split.y.cpu()
    labels, certainty = zip(*map(_answered, logits), strict=True)
    prediction, certainty = torch.stack(labels), torch.stack(certainty)
    found = {q: np.concatenate([of[q] for of in answers]) for q in QUANTITIES}
    for measure in (disagreement, jensen_shannon):
        found[measure.__name__] = np.array([measure(logits[-1], one) for one in logits])
    count, known = logits.shape[-1], prediction[-1] >= 0
    pairs = torch.bincount(y[known] * count + prediction[-1][known], minlength=count**2)
    found["confusion"] = pairs.reshape(count, count).numpy()
    others = (prediction[:-1] != prediction[-1]).sum(0)
    order = np.lexsort((-certainty[-1].numpy(), -others.numpy()))
    index = torch.from_numpy(order[: min(shown, int((others > 0).sum()))])
    found["differing"] = np.array((others > 0).sum().item())
    given = {"prediction": prediction[:, index].T, "certainty": certainty[:, index].T}
    listed = {"example": index, "true_label": y[index], **given}
    if (pictures := _pictures(split.x, index)) is not None:
        listed["image"] = pictures
    return found | {name: _filled(values, shown) for name, values in listed.items()}


def _filled(values: Tensor, rows: int) -> np.ndarray:
    """Rows up to so many: −1 for what is counted, NaN for what is measured."""
    empty = torch.full((rows - len(values), *values.shape[1:]), math.nan if values.is_floating_point() else -1)
    return torch.cat([values, empty.to(values.dtype)]).numpy()


def _pictures(x: Tensor, index: Tensor) -> Tensor | None:
    """Examples as images ``[example, channel, row, column]``; None where they are none.

    Scaling by the range of the split undoes a normalisation per channel.
    """
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4 or x.shape[1] not in (1, 3) or not x.is_floating_point():
        return None
    low, high = (getattr(x, end)((0, 2, 3), keepdim=True) for end in ("amin", "amax"))
    return ((x[index] - low) / (high - low).clamp(min=torch.finfo(x.dtype).tiny)).float().cpu()
