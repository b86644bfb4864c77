"""Datasets to HoloViews objects, for notebooks and for everything that HoloViews composes.

All plots have one signature: the Dataset first, ``quantity`` and ``split`` by keyword. A dimension ``strength`` becomes
a slider. The looks are those of :mod:`modecomb_viz.figures`.
"""

import itertools
from collections.abc import Callable

import holoviews as hv
import numpy as np
import xarray as xr

from modecomb_viz.figures.looks import COLORS, CURVES, NAN_COLOR, PALETTES, axis_label, number, quantity_label
from modecomb_viz.figures.maps import color_range, estimate_note
from modecomb_viz.results import recipe
from modecomb_viz.statistics import barriers, embedding

__all__ = [
    "plot_perturbation",
    "plot_plane",
    "plot_samples",
    "plot_segment",
    "plot_similarity",
    "plot_transitivity",
]

_SIZE = {"width": 480, "height": 360}
_WIDE = {"width": 640, "height": 360}


def _over_strengths(dataset: xr.Dataset, draw: Callable[[xr.Dataset], hv.core.Dimensioned]) -> hv.core.Dimensioned:
    """The drawing itself, or a HoloMap with a slider over the dimension ``strength``."""
    if not hv.extension._loaded:
        hv.extension("bokeh", logo=False)
    if "strength" not in dataset.dims:
        return draw(dataset)
    frames = {
        strength: draw(dataset.sel(strength=strength, drop=True)) for strength in dataset.strength.values.tolist()
    }
    return hv.HoloMap(frames, kdims=[hv.Dimension("strength", label=axis_label(dataset.strength))])


def _check(dataset: xr.Dataset, sweep: str, quantity: str, split: str):
    made = recipe(dataset)["sweep"]
    if made != sweep:
        raise ValueError(f"plot_{sweep} draws the result of sweep_{sweep}; this dataset comes from sweep_{made}.")
    if quantity not in ("loss", "accuracy"):
        raise ValueError(f"quantity must be 'loss' or 'accuracy', got {quantity!r}.")
    if split not in dataset.split.values:
        raise ValueError(f"split must be one of {', '.join(dataset.split.values)}, got {split!r}.")


def plot_plane(dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> hv.core.Dimensioned:
    """The loss map: an image with the named points. What is not a number is grey; an estimate says so in the title.

    Raises:
        ValueError: for the result of another sweep, another quantity, or a split that is not there.
    """
    _check(dataset, "plane", quantity, split)
    colors = color_range(dataset[quantity].sel(split=split).values)

    def draw(plane: xr.Dataset) -> hv.Overlay:
        values = plane[quantity].sel(split=split).transpose("v", "u").values
        dimensions = [hv.Dimension(name, label=axis_label(plane[name])) for name in ("u", "v")]
        value = hv.Dimension(quantity, label=quantity_label(quantity, split))
        image = hv.Image((plane.u.values, plane.v.values, values), dimensions, value)
        image = image.opts(
            cmap=PALETTES[quantity], clim=colors, colorbar=True, clipping_colors={"NaN": NAN_COLOR}, tools=["hover"],
            clabel=value.label, title=estimate_note(plane, quantity, split), **_SIZE,
        )  # fmt: skip
        points = hv.Points((plane.mark_u.values, plane.mark_v.values)).opts(color="white", line_color="black", size=9)
        labels = hv.Labels(_label_places(plane)).opts(text_color="white", text_font_size="13px")
        return image * points * labels

    return _over_strengths(dataset, draw)


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
    _check(dataset, "segment", quantity, split)
    settings = recipe(dataset)

    def draw(segment: xr.Dataset) -> hv.Curve:
        values = segment[quantity].sel(split=split).values
        variable = {"loss": "barrier", "accuracy": "error_barrier"}[quantity]
        barrier = barriers(segment)[variable].sel(split=split, definition="D2").item()
        name = "naive" if settings["alignment"] == "identity" else "perturbed" if settings["strength"] else "aligned"
        color, dash = CURVES[name]
        t = hv.Dimension("t", label="t: coefficient of π(B), A at 0")
        value = hv.Dimension(quantity, label=quantity_label(quantity, split))
        curve = hv.Curve((segment.t.values, values), t, value, label=f"{name}: D2 barrier {number(barrier)}")
        return curve.opts(
            color=color, line_dash=dash, line_width=2.5, tools=["hover"], show_grid=True, title=curve.label, **_SIZE
        )

    return _over_strengths(dataset, draw)


def plot_samples(dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> hv.core.Dimensioned:
    """The histogram of the draws with a line for every reference network.

    Values that are not finite are left out of the histogram; the title says how many.

    Raises:
        ValueError: for the result of another sweep, another quantity, or a split that is not there.
    """
    _check(dataset, "samples", quantity, split)

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
        return hv.Overlay([bars, *lines]).opts(legend_position="right", show_grid=True, **_WIDE)

    return _over_strengths(dataset, draw)


def plot_perturbation(dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> hv.core.Dimensioned:
    """The midpoint against the strength: mean and range over the repeats, with a line for every reference network.

    Raises:
        ValueError: for the result of another sweep, another quantity, or a split that is not there.
    """
    _check(dataset, "perturbation", quantity, split)
    if not hv.extension._loaded:
        hv.extension("bokeh", logo=False)
    values = dataset[quantity].sel(split=split)
    x = dataset.strength.values
    strength = hv.Dimension("strength", label=axis_label(dataset.strength))
    value = hv.Dimension(quantity, label=quantity_label(quantity, split))
    color = CURVES["perturbed"][0]
    low, high = (getattr(values, end)("repeat", skipna=False).values for end in ("min", "max"))
    band = hv.Area((x, low, high), strength, [value, "upper"])
    mean = hv.Curve((x, values.mean("repeat", skipna=False).values), strength, value, label="perturbed midpoint")
    references = dataset[f"reference_{quantity}"].sel(split=split).to_series()
    lines = [
        hv.Curve([(x[0], y), (x[-1], y)], strength, value, label=f"{name} {number(y)}").opts(color=COLORS[str(name)])
        for name, y in references.items()
    ]
    shown = [band.opts(color=color, alpha=0.25, line_alpha=0), mean.opts(color=color, line_width=2.5, tools=["hover"])]
    return hv.Overlay([*shown, *lines]).opts(legend_position="right", show_grid=True, **_WIDE)


#: Markers of pairs of networks, in order.
_MARKERS = ("circle", "square", "triangle", "diamond", "hex", "inverted_triangle", "star", "plus")


def plot_transitivity(dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> hv.core.Dimensioned:
    """The D2 barrier of every pair by every route of alignment, one marker per pair.

    Raises:
        ValueError: for the result of another sweep, another quantity, or a split that is not there.
    """
    _check(dataset, "transitivity", quantity, split)
    variable = {"loss": "barrier", "accuracy": "error_barrier"}[quantity]
    shown = barriers(dataset).sel(split=split, definition="D2", drop=True)
    route = hv.Dimension("route", label="route of alignment", values=dataset.route.values.tolist())
    attributes = shown[variable].attrs
    value = hv.Dimension("barrier", label=f"{split} {attributes['long_name']}, D2 [{attributes['units']}]")

    def draw(table: xr.Dataset) -> hv.Overlay:
        layers = []
        for pair, marker in zip(table.pair.values.tolist(), itertools.cycle(_MARKERS)):
            known = table[variable].sel(pair=pair).dropna("route")
            points = hv.Scatter((known.route.values, known.values), route, value, label=pair)
            layers.append(points.opts(size=9, marker=marker, alpha=0.8, tools=["hover"]))
        return hv.Overlay(layers).opts(legend_position="right", show_grid=True, xrotation=20, **_WIDE)

    return _over_strengths(shown, draw)


def plot_similarity(
    dataset: xr.Dataset, *, quantity: str = "accuracy", split: str = "test", measure: str = "disagreement"
) -> hv.core.Dimensioned:
    """The diversity–accuracy plane, and the networks as points whose distances are their disagreement.

    Left: how far every network is from A, against its accuracy or loss. Right: :func:`~modecomb_viz.embedding`.

    Args:
        measure: "disagreement", "disagreement_share" or "jensen_shannon".

    Raises:
        ValueError: for the result of another sweep, another quantity or measure, or a split that is not there.
    """
    _check(dataset, "similarity", quantity, split)
    if not hv.extension._loaded:
        hv.extension("bokeh", logo=False)
    places = embedding(dataset, measure=measure).sel(split=split)
    here, attributes = dataset.sel(split=split), dataset[measure].attrs
    name = attributes["long_name"]
    from_a = hv.Dimension("from_a", label=f"{name}, from A [{attributes['units']}]")
    value = hv.Dimension(quantity, label=quantity_label(quantity, split))
    x, y = (hv.Dimension(axis, label=f"{axis} of the embedding [{attributes['units']}]") for axis in "xy")
    network = hv.Dimension("network", label="network")
    drawn = np.array([str(model).startswith("draw ") for model in dataset.model.values])

    def scatter(columns: tuple[np.ndarray, np.ndarray], axes: tuple[hv.Dimension, hv.Dimension]) -> hv.Overlay:
        layers = []
        others = {str(name): dataset.model.values == name for name in dataset.model.values[~drawn]}
        for label, chosen in {"draws": drawn, **others}.items():
            kept = [column[chosen] for column in (*columns, dataset.model.values)]
            points = hv.Scatter(tuple(kept), axes[0], [axes[1], network], label=label)
            color = COLORS.get(label, COLORS["text"])
            layers.append(points.opts(size=7 if label == "draws" else 11, color=color, alpha=0.85, tools=["hover"]))
        return hv.Overlay(layers).opts(show_grid=True, legend_position="top_right", **_SIZE)

    plane = scatter((here[measure].sel(other="A").values, here[quantity].values), (from_a, value))
    shown = f"{places.explained.item():.0%} of the squared distances"
    together = scatter((places.x.values, places.y.values), (x, y)).opts(title=shown, show_legend=False)
    return plane + together
