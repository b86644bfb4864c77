"""Plots of what is looked at on a plane: a cut through it, one of its points."""

import holoviews as hv
import numpy as np
import xarray as xr

from modecomb_viz.figures.cuts import place_words
from modecomb_viz.figures.inspection import coefficient_words
from modecomb_viz.figures.looks import COLORS, CONFUSION, axis_label, number, quantity_label, shortened
from modecomb_viz.plots.drawing import SIZE, check_plot, load_backend, over_strengths
from modecomb_viz.statistics import d2_barrier

__all__ = ["plot_cut", "plot_inspection"]


def plot_cut(dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> hv.core.Dimensioned:
    """The curve between two points of a plane, its D2 barrier in the title; dotted the straight line between its ends.

    Raises:
        ValueError: for the result of another sweep, another quantity, or a split that is not there.
    """
    check_plot(dataset, "cut", quantity, split)
    where = f"t: from (u, v) = {place_words(dataset, 0)} to {place_words(dataset, -1)}"

    def draw(cut: xr.Dataset) -> hv.Overlay:
        values = cut[quantity].sel(split=split).values
        found = d2_barrier(cut, quantity, split)
        t, value = hv.Dimension("t", label=where), hv.Dimension(quantity, label=quantity_label(quantity, split))
        straight = hv.Curve((cut.t.values[[0, -1]], values[[0, -1]]), t, value)
        curve = hv.Curve((cut.t.values, values), t, value).opts(
            color=COLORS["midpoint"], line_width=2.5, tools=["hover"], title=f"D2 barrier {number(found)}", **SIZE
        )
        return straight.opts(color="#888888", line_dash="dotted", line_width=2) * curve.opts(show_grid=True)

    return over_strengths(dataset, draw)


def plot_inspection(dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> hv.core.Dimensioned:
    """Which labels a point of a plane gives for which, and the mean coefficient of every layer.

    Raises:
        ValueError: for the result of another sweep, another quantity, or a split that is not there.
    """
    check_plot(dataset, "inspection", quantity, split)
    load_backend()
    counts = dataset.confusion.sel(split=split).transpose("label", "predicted")
    given, label = (hv.Dimension(str(axis.name), label=axis_label(axis)) for axis in (counts.predicted, counts.label))
    number_of = hv.Dimension("examples", label=axis_label(dataset.confusion))
    image = hv.Image((counts.predicted.values, counts.label.values, counts.values), [given, label], number_of)
    point = dataset[quantity].sel(split=split).isel(model=-1).item()
    shown = image.opts(
        cmap=CONFUSION, colorbar=True, invert_yaxis=True, tools=["hover"], clabel=number_of.label,
        title=f"{split} {quantity} {number(point)}", **SIZE,
    )  # fmt: skip
    return (shown + _bars(dataset)).opts(title=coefficient_words(dataset), fontsize={"title": "10pt"})


def _bars(dataset: xr.Dataset) -> hv.Bars:
    rows = [
        (shortened(str(layer), 24), str(name), float(share))
        for name, shares in zip(dataset.toward.values, dataset.coefficient.values, strict=True)
        for layer, share in zip(dataset.layer.values, shares, strict=True)
    ]
    toward, value = hv.Dimension("toward", label="network"), hv.Dimension("coefficient", label="mean coefficient")
    bars = hv.Bars(rows, [hv.Dimension("layer"), toward], value)
    low, high = (float(pick(dataset.coefficient.values)) for pick in (np.min, np.max))
    return bars.opts(ylim=(min(0.0, low), max(1.0, high)), xrotation=45, tools=["hover"], show_grid=True, **SIZE)
