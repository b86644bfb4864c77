"""The difference of two maps of one plane."""

from typing import Any

import numpy as np
import xarray as xr

from modecomb_viz.figures.base import Frame, check_shown
from modecomb_viz.figures.looks import DIVERGING, quantity_label
from modecomb_viz.figures.maps import MapFigure
from modecomb_viz.results import recipe

__all__ = ["DifferenceFigure", "difference"]


#: What makes a plane of each kind what it is, in a recipe, whatever is evaluated on it.
_MADE_OF = {
    "split": ("z", "distribution", "parameters", "granularity", "seed"),
    "random": ("granularity", "seed"),
    "three_modes": ("c", "coordinates"),
}


def _plane(dataset: xr.Dataset) -> dict[str, Any]:
    """The kind of a plane and what it is made of."""
    made = recipe(dataset)
    kind, of = made["plane"], _MADE_OF[made["plane"]]
    if kind == "split" and isinstance(made["z"], int):
        of = ("z",)  # 1 on so many layers, whatever the law
    return {"plane": kind, **{name: made[name] for name in of}}


def _words(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    return [f"{name} {value}" for name, value in ours.items() if theirs.get(name) != value]


def difference(dataset: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    """The first map less the second, on their common grid; standard errors add as those of independent estimates.

    Raises:
        ValueError: when the maps have different axes, or are of different planes.
    """
    ours, theirs = _plane(dataset), _plane(other)
    if ours != theirs:
        one, two = ", ".join(_words(ours, theirs)), ", ".join(_words(theirs, ours))
        raise ValueError(f"the maps show different planes, so they have no difference: {one}, and {two}.")
    if any(not np.array_equal(dataset[axis], other[axis]) for axis in "uv"):
        raise ValueError(
            "the two maps have different axes, so they have no difference. Distances between the networks differ: "
            "choose affine coordinates."
        )
    found = dataset.copy()
    for quantity in ("loss", "accuracy"):
        found[quantity] = (dataset[quantity] - other[quantity]).assign_attrs(dataset[quantity].attrs)
        errors = [one[f"{quantity}_error"] for one in (dataset, other) if f"{quantity}_error" in one]
        if errors:
            found[f"{quantity}_error"] = sum(error**2 for error in errors) ** 0.5
    return found


class DifferenceFigure(MapFigure):
    """A map of signed values: white where the two agree, red where the first is larger, blue where it is smaller."""

    def update(self, dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test", contours: bool = False):
        """Show a :func:`difference`."""
        self.apply(self.frame(dataset, quantity=quantity, split=split, contours=contours))

    def frame(
        self,
        dataset: xr.Dataset,
        *,
        quantity: str = "loss",
        split: str = "test",
        log_scale: bool = False,
        contours: bool = False,
        colors: tuple[float, float] | None = None,
    ) -> Frame:
        """As of a map, in colours that are symmetric about 0; ``log_scale`` changes nothing."""
        check_shown(dataset, quantity, split)
        sizes = np.abs(dataset[quantity].sel(split=split).values)
        finite = sizes[np.isfinite(sizes)]
        largest = float(np.quantile(finite, 0.98)) if finite.size else 1.0
        ends = colors or ((-largest, largest) if largest else (-1e-3, 1e-3))
        return super().frame(dataset, quantity=quantity, split=split, contours=contours, colors=ends)

    def _looks(self, quantity: str, split: str) -> tuple[tuple[str, ...], str]:
        return DIVERGING, f"difference of {quantity_label(quantity, split)}"
