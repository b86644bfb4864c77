"""The plot of a family of laws."""

from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from modecomb_viz.figures.laws import (
    border,
    cell_edges,
    corner_laws,
    draws_of_laws,
    is_map,
    law_statistics,
    law_table,
    marked_laws,
    shown_label,
    shown_values,
)
from modecomb_viz.figures.looks import COLORS, NAN_COLOR, PALETTES, axis_label
from modecomb_viz.figures.maps import color_range
from modecomb_viz.plots.drawing import SIZE, WIDE, check_plot, over_strengths

__all__ = ["plot_laws"]

_STATISTICS = ("mean", "share")


def plot_laws(
    dataset: xr.Dataset,
    *,
    quantity: str = "loss",
    split: str = "test",
    statistic: str = "mean",
    epsilon: float = 0.1,
) -> hv.core.Dimensioned:
    """Combinability of a family of laws: a map of mean and deviation of the coefficients, or a curve over the mean.

    A white line encloses the laws whose mean excess loss is at most ``epsilon``; the dashed arch are the laws that draw
    0 and 1 alone, above which a law must leave the cube. A family with one deviation, such as Bernoulli's, is a curve
    with the 95 % interval over draws. Where there is no such law, the map is grey.

    Args:
        statistic: "mean", the mean excess loss, or of quantity "accuracy" the mean accuracy; or "share", the share of
            draws whose excess loss is at most ``epsilon``, whatever the quantity.
        epsilon: nats per example.

    Raises:
        ValueError: for the result of another sweep, another quantity or statistic, or a split that is not there.
    """
    check_plot(dataset, "laws", quantity, split)
    if statistic not in _STATISTICS:
        raise ValueError(f"statistic must be one of {', '.join(_STATISTICS)}, got {statistic!r}.")
    dataset = dataset.sortby(["mean", "deviation"])
    found = law_statistics(dataset, epsilon)
    shown = shown_values(found, statistic, quantity, split)
    colors = (0.0, 1.0) if statistic == "share" else color_range(shown.values)

    options = {"statistic": statistic, "quantity": quantity, "split": split}
    if is_map(dataset):
        return over_strengths(found, lambda one: _map(one, colors, **options))
    together = dataset.assign(found.data_vars).assign_attrs(found.attrs)
    return over_strengths(together, lambda one: _curve(one, **options))


def _map(found: xr.Dataset, colors: tuple[float, float], *, statistic: str, quantity: str, split: str) -> hv.Overlay:
    x, y = cell_edges(found["mean"].values), cell_edges(found.deviation.values)
    axes = [
        hv.Dimension("mean", label=axis_label(found["mean"])),
        hv.Dimension("deviation", label=axis_label(found.deviation)),
    ]
    values = shown_values(found, statistic, quantity, split).values
    value = hv.Dimension("value", label=shown_label(statistic, quantity, split))
    left, bottom = (edges.ravel() for edges in np.meshgrid(x[:-1], y[:-1]))
    right, top = (edges.ravel() for edges in np.meshgrid(x[1:], y[1:]))
    cells = hv.Rectangles((left, bottom, right, top, values.ravel()), [*axes, "right", "top"], value)
    excess = found.mean_excess.sel(split=split).transpose("deviation", "mean").values
    pieces = np.array(border(excess <= found.attrs["epsilon"], ~np.isnan(excess), x, y)).reshape(-1, 4)
    line, marks = hv.Segments(pieces, [*axes, "x1", "y1"]), marked_laws(x, y)
    palette = PALETTES["loss" if statistic == "mean" and quantity == "loss" else "accuracy"]
    above = 0.06 * (y[-1] - y[0])
    texts = [(u, v - above if v else v + above, text) for u, v, text in marks]
    arch = hv.Curve(corner_laws(x, y), axes[0], axes[1])
    shown = [
        cells.opts(
            cmap=palette, clim=colors, colorbar=True, clipping_colors={"NaN": NAN_COLOR}, tools=["hover"],
            clabel=value.label, color="value", hooks=[_close],
        ),
        line.opts(color="black", line_width=4),
        line.clone().opts(color="white", line_width=2),
        arch.opts(color="black", line_width=3.5, line_dash="dashed"),
        arch.clone().opts(color="white", line_width=1.5, line_dash="dashed"),
        hv.Points([mark[:2] for mark in marks], axes).opts(color="white", line_color="black", size=9),
        hv.Labels(texts, axes).opts(
            text_color="white", text_font_size="12px", background_fill_color="black", background_fill_alpha=0.65,
        ),
    ]  # fmt: skip
    return hv.Overlay(shown).opts(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), **{**SIZE, "width": 560})


def _close(plot: Any, element: hv.Rectangles):
    """Border lines in the colours of the cells, so that no gaps show."""
    plot.handles["glyph"].line_color = plot.handles["glyph"].fill_color


def _curve(dataset: xr.Dataset, *, statistic: str, quantity: str, split: str) -> hv.Overlay:
    mean = hv.Dimension("mean", label=axis_label(dataset["mean"]))
    value = hv.Dimension("value", label=shown_label(statistic, quantity, split))
    x, table = dataset["mean"].values, law_table(dataset, split)
    layers = []
    if statistic == "mean":
        dots = draws_of_laws(dataset, quantity, split)
        layers.append(
            hv.Scatter((dots["x"], dots["y"]), mean, value, label="draws").opts(color=COLORS["draws"], size=4)
        )
    if statistic == "share" or quantity == "loss":
        low, high = ("low", "high") if statistic == "mean" else ("share_low", "share_high")
        band = hv.Area((x, table[low], table[high]), mean, [value, "upper"], label="95 % interval over draws")
        layers.append(band.opts(color=COLORS["draws"], alpha=0.3, line_alpha=0))
    values = shown_values(dataset, statistic, quantity, split).values[0]
    name = "share" if statistic == "share" else "mean"
    layers.append(hv.Curve((x, values), mean, value, label=name).opts(color="#1f6f9f", line_width=2.5, tools=["hover"]))
    if statistic == "mean" and quantity == "loss":
        epsilon = dataset.attrs["epsilon"]
        line = hv.Curve([(x[0], epsilon), (x[-1], epsilon)], mean, value, label=f"ε = {epsilon:g} nat")
        layers.append(line.opts(color=COLORS["text"], line_dash="dashed"))
    view = {"ylim": (-0.04, 1.04)} if statistic == "share" else {}
    return hv.Overlay(layers).opts(legend_position="right", show_grid=True, **WIDE, **view)
