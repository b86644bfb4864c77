"""Plots of points of the hypercube: planes, segments, draws of a law, a perturbed matching."""

import holoviews as hv
import numpy as np
import xarray as xr

from modecomb_viz.figures.looks import COLORS, CURVES, NAN_COLOR, PALETTES, axis_label, number, quantity_label
from modecomb_viz.figures.maps import color_range, estimate_note
from modecomb_viz.figures.perturbation import all_groups, combination, of_repeats, single_groups
from modecomb_viz.figures.segments import curve_name
from modecomb_viz.plots.drawing import SIZE, WIDE, check_plot, load_backend, over_strengths
from modecomb_viz.statistics import d2_barrier

__all__ = ["plot_perturbation", "plot_plane", "plot_samples", "plot_segment"]


def plot_plane(dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> hv.core.Dimensioned:
    """The loss map: an image with the named points. What is not a number is grey; an estimate says so in the title.

    Raises:
        ValueError: for the result of another sweep, another quantity, or a split that is not there.
    """
    check_plot(dataset, "plane", quantity, split)
    colors = color_range(dataset[quantity].sel(split=split).values)

    def draw(plane: xr.Dataset) -> hv.Overlay:
        values = plane[quantity].sel(split=split).transpose("v", "u").values
        dimensions = [hv.Dimension(name, label=axis_label(plane[name])) for name in ("u", "v")]
        value = hv.Dimension(quantity, label=quantity_label(quantity, split))
        image = hv.Image((plane.u.values, plane.v.values, values), dimensions, value)
        image = image.opts(
            cmap=PALETTES[quantity], clim=colors, colorbar=True, clipping_colors={"NaN": NAN_COLOR}, tools=["hover"],
            clabel=value.label, title=estimate_note(plane, quantity, split), **SIZE,
        )  # fmt: skip
        points = hv.Points((plane.mark_u.values, plane.mark_v.values)).opts(color="white", line_color="black", size=9)
        labels = hv.Labels(_label_places(plane)).opts(
            text_color="white", text_font_size="13px", background_fill_color="black", background_fill_alpha=0.65
        )
        return image * points * labels

    return over_strengths(dataset, draw)


def _label_places(plane: xr.Dataset) -> list[tuple[float, float, str]]:
    """Where the names of the marks stand: beside them, towards the middle of the plane."""
    places = []
    for name, *mark in zip(plane.mark.values.tolist(), plane.mark_u.values, plane.mark_v.values, strict=True):
        sides = [(axis.attrs["low"], axis.attrs["high"]) for axis in (plane.u, plane.v)]
        shift = [
            0.07 * (high - low) * (1 if at <= (low + high) / 2 else -1)
            for at, (low, high) in zip(mark, sides, strict=True)
        ]
        places.append((mark[0] + shift[0], mark[1] + shift[1], name))
    return places


def plot_segment(dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> hv.core.Dimensioned:
    """The curve from A to B, its D2 barrier in the title; overlay with ``(a * b).opts(legend_position="top")``.

    Raises:
        ValueError: for the result of another sweep, another quantity, or a split that is not there.
    """
    check_plot(dataset, "segment", quantity, split)

    def draw(segment: xr.Dataset) -> hv.Curve:
        values = segment[quantity].sel(split=split).values
        name, barrier = curve_name(segment), d2_barrier(segment, quantity, split)
        color, dash = CURVES[name]
        t = hv.Dimension("t", label="t: coefficient of π(B), A at 0")
        value = hv.Dimension(quantity, label=quantity_label(quantity, split))
        curve = hv.Curve((segment.t.values, values), t, value, label=f"{name}: D2 barrier {number(barrier)}")
        return curve.opts(
            color=color, line_dash=dash, line_width=2.5, tools=["hover"], show_grid=True, title=curve.label, **SIZE
        )

    return over_strengths(dataset, draw)


def plot_samples(dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> hv.core.Dimensioned:
    """The histogram of the draws with a line for every reference network.

    Values that are not finite are left out of the histogram; the title says how many.

    Raises:
        ValueError: for the result of another sweep, another quantity, or a split that is not there.
    """
    check_plot(dataset, "samples", quantity, split)

    def draw(samples: xr.Dataset) -> hv.Overlay:
        values = samples[quantity].sel(split=split).values
        finite = values[np.isfinite(values)]
        label = quantity_label(quantity, split)
        counts, edges = np.histogram(finite, 20)
        bars = hv.Histogram((edges, counts), kdims=[hv.Dimension(quantity, label=label)], vdims=["draws"])
        lost = f", {len(values) - len(finite)} not finite" * (len(finite) < len(values))
        bars = bars.opts(color=COLORS["draws"], line_width=0.5, title=f"{len(values)} draws{lost}")
        references = samples[f"reference_{quantity}"].sel(split=split).to_series()
        lines = [
            hv.Curve([(x, 0), (x, counts.max())], quantity, "draws", label=f"{name} {number(x)}").opts(
                color=COLORS[str(name)]
            )
            for name, x in references.items()
        ]
        return hv.Overlay([bars, *lines]).opts(legend_position="right", show_grid=True, **WIDE)

    return over_strengths(dataset, draw)


def plot_perturbation(dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> hv.core.Dimensioned:
    """The midpoint, or the mean of draws, against the strength: mean and range over repeats, and the references.

    Where groups of units were perturbed alone as well, the mean of each is a thin grey line.

    Raises:
        ValueError: for the result of another sweep, another quantity, or a split that is not there.
    """
    check_plot(dataset, "perturbation", quantity, split)
    load_backend()
    values = of_repeats(all_groups(dataset), quantity, split)
    x = dataset.strength.values
    strength = hv.Dimension("strength", label=axis_label(dataset.strength))
    value = hv.Dimension(quantity, label=quantity_label(quantity, split))
    color = CURVES["perturbed"][0]
    low, high = (getattr(values, end)("repeat", skipna=False).values for end in ("min", "max"))
    band = hv.Area((x, low, high), strength, [value, "upper"])
    name = f"perturbed {combination(dataset)}"
    mean = hv.Curve((x, values.mean("repeat", skipna=False).values), strength, value, label=name)
    references = dataset[f"reference_{quantity}"].sel(split=split).to_series()
    lines = [
        hv.Curve([(x[0], y), (x[-1], y)], strength, value, label=f"{name} {number(y)}").opts(color=COLORS[str(name)])
        for name, y in references.items()
    ]
    shown = [band.opts(color=color, alpha=0.25, line_alpha=0), mean.opts(color=color, line_width=2.5, tools=["hover"])]
    if (alone := single_groups(dataset)) is not None:
        means = of_repeats(alone, quantity, split).mean("repeat", skipna=False).transpose("group", "strength")
        paths = [
            {"strength": x, quantity: line, "group": group}
            for group, line in zip(alone.group.values.tolist(), means.values, strict=True)
        ]
        groups = hv.Path(paths, [strength, value], "group", label="one group alone")
        shown.insert(0, groups.opts(color="#9a9a9a", line_width=1.5, tools=["hover"]))
    return hv.Overlay([*shown, *lines]).opts(legend_position="right", show_grid=True, **WIDE)
