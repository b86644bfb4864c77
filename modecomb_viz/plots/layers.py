"""The plot of one layer at a time."""

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from modecomb_viz.figures.layers import base_words, layer_table, most_moving
from modecomb_viz.figures.looks import HIGHLIGHTS, UNITS, quantity_label, shortened
from modecomb_viz.plots.drawing import TOP_LEGEND, check_plot, over_strengths, row_options

__all__ = ["plot_layers"]


_WIDTH = 620


def plot_layers(dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> hv.core.Dimensioned:
    """Which layers matter: a row for every layer with its change, barrier and slope; below, the curves of all layers.

    The six layers whose curves go farthest are in colour and in the legend, the others grey. ``change`` is the
    quantity with the layer of π(B) less that with the layer of A; ``slope`` is ∂L/∂λ at the base.

    Raises:
        ValueError: for the result of another sweep, another quantity, or a split that is not there.
    """
    check_plot(dataset, "layers", quantity, split)
    chosen = most_moving(dataset, quantity, split)
    base = base_words(dataset)
    curves = over_strengths(dataset, lambda one: _curves(one, quantity, split, chosen, base))
    changes = over_strengths(dataset, lambda one: _changes(layer_table(one, quantity, split), quantity, split))
    slopes = over_strengths(dataset, lambda one: _slopes(layer_table(one, quantity, split), base))
    return (changes + slopes + curves).cols(2)


def _curves(dataset: xr.Dataset, quantity: str, split: str, chosen: list[str], base: str) -> hv.Overlay:
    names, t = dataset.layer.values.tolist(), dataset.t.values
    table = dict(zip(names, dataset[quantity].sel(split=split).transpose("layer", "t").values, strict=True))
    axis = hv.Dimension("t", label=f"t: coefficient of one layer, the others at {base}")
    value = hv.Dimension(quantity, label=quantity_label(quantity, split))
    rest = [{"t": t, quantity: table[name], "layer": name} for name in names if name not in chosen]
    others = hv.Path(rest, [axis, value], "layer", label=f"{len(rest)} other layers")
    layers = [others.opts(color="#9a9a9a", alpha=0.7, tools=["hover"])] if rest else []
    for name, color in zip(chosen, HIGHLIGHTS, strict=False):
        curve = hv.Curve((t, table[name]), axis, value, label=shortened(name))
        layers.append(curve.opts(color=color, line_width=2.5, tools=["hover"]))
    return hv.Overlay(layers).opts(legend_cols=2, show_grid=True, width=_WIDTH, height=460, **TOP_LEGEND)


def _changes(table: pd.DataFrame, quantity: str, split: str) -> hv.Overlay:
    y = -np.arange(len(table), dtype=float)
    value = hv.Dimension("change", label=f"change in {split} {quantity} [{UNITS[quantity]}]")
    row, layer = hv.Dimension("row", label="layer"), hv.Dimension("layer")
    spread = hv.Segments(
        (table.lowest, y, table.highest, y), [value, row, "end", "end_row"], label="range of the curve"
    )
    change = hv.Points((table.change, y, table.layer), [value, row], layer, label="change from t = 0 to 1")
    barrier = hv.Points((table.barrier, y, table.layer), [value, row], layer, label="barrier D2")
    shown = [
        hv.VLine(0).opts(color="#888888", line_width=1),
        spread.opts(color="#9ecae1", line_width=5),
        change.opts(color="#0072B2", size=8, tools=["hover"]),
        barrier.opts(color="#E69F00", size=8, marker="diamond", tools=["hover"]),
    ]
    looks = {**TOP_LEGEND, "show_grid": True, "xlabel": value.label, "width": _WIDTH}
    return hv.Overlay(shown).opts(**row_options(table.layer.tolist(), "layer"), **looks)


def _slopes(table: pd.DataFrame, base: str) -> hv.Overlay:
    y = -np.arange(len(table), dtype=float)
    value = hv.Dimension("slope", label=f"∂L/∂λ at {base} [nats per coefficient]")
    bars = hv.Segments((np.zeros(len(y)), y, table.slope, y), ["start", "row", value, "end_row"])
    points = hv.Points((table.slope, y, table.layer), [value, hv.Dimension("row", label="layer")], "layer")
    shown = [
        hv.VLine(0).opts(color="#888888", line_width=1),
        bars.opts(color="#009E73", line_width=7),
        points.opts(color="#009E73", size=8, tools=["hover"]),
    ]
    looks = {"show_grid": True, "xlabel": value.label, "yaxis": None, "width": 280}
    return hv.Overlay(shown).opts(**row_options(table.layer.tolist(), "layer"), **looks)
