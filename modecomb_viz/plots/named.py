"""Plots of named points, and of a search for the best or the worst one."""

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from modecomb_viz.figures.looks import COLORS, NAN_COLOR, number
from modecomb_viz.figures.points import KINDS, cross_place, far_end, point_table
from modecomb_viz.figures.scales import position, position_label, position_ticks, span
from modecomb_viz.figures.search import (
    BETWEEN,
    coefficient_range,
    coefficient_title,
    trace_missing,
    trace_span,
    trace_values,
)
from modecomb_viz.plots.drawing import TOP_LEGEND, WIDE, check_plot, over_strengths, row_options
from modecomb_viz.results import recipe

__all__ = ["plot_points", "plot_search"]


def plot_points(dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> hv.core.Dimensioned:
    """A row for every named point: its loss or accuracy, and how far it is from the midpoint.

    The axis of the loss is logarithmic; the grey line is the worse of A and π(B). A value that is not finite is a
    grey cross at the right.

    Raises:
        ValueError: for the result of another sweep, another quantity, or a split that is not there.
    """
    check_plot(dataset, "points", quantity, split)
    within = span(dataset[quantity].sel(split=split).values, quantity)
    values = over_strengths(dataset, lambda one: _values(one, quantity, split, within))
    return values + over_strengths(dataset, lambda one: _distances(one, quantity, split))


def _table(dataset: xr.Dataset, quantity: str, split: str) -> tuple[pd.DataFrame, dict[str, object]]:
    """Points with their rows, and the options of the axis of rows."""
    table = point_table(dataset, quantity, split)
    table["row"] = -np.arange(len(table), dtype=float)
    return table, row_options(table.point.tolist(), "named point")


def _values(dataset: xr.Dataset, quantity: str, split: str, within: tuple[float, float]) -> hv.Overlay:
    table, rows = _table(dataset, quantity, split)
    label, details = position_label(quantity, split), ["point", "value", "excess", "mean_coefficient"]
    axes = [hv.Dimension("x", label=label), hv.Dimension("row", label="named point")]
    finite, worse = np.isfinite(table.value), float(table.worse[0])
    line = hv.VLines([worse] if np.isfinite(worse) else [])
    layers: list[hv.Element] = [line.opts(color="#888888", line_width=1)]
    for kind in KINDS:
        points = hv.Points(table[finite & (table.kind == kind.label)], axes, details, label=kind.label)
        layers.append(
            points.opts(color=kind.color, marker=kind.marker, size=kind.size, line_color="white", tools=["hover"])
        )
    if not finite.all():
        crosses = hv.Points(table[~finite].assign(x=cross_place(within)), axes, ["point"], label="not finite")
        layers.append(crosses.opts(marker="x", color=NAN_COLOR, size=10, tools=["hover"]))
    options = {"xticks": list(position_ticks(*within, quantity).items()), "xlim": within, "xlabel": label}
    return hv.Overlay(layers).opts(show_grid=True, width=620, legend_cols=3, **TOP_LEGEND, **options, **rows)


def _distances(dataset: xr.Dataset, quantity: str, split: str) -> hv.Segments:
    table, rows = _table(dataset, quantity, split)
    label = f"from the midpoint [{dataset.midpoint_distance.units}]"
    colors = {kind.label: kind.color for kind in KINDS}
    ends = (np.zeros(len(table)), table.row, table.midpoint_distance, table.row, table.point, table.kind.map(colors))
    axes = ["start", hv.Dimension("row", label="named point"), hv.Dimension("distance", label=label), "end_row"]
    bars = hv.Segments(ends, axes, ["point", "color"])
    options = {"xlim": (0, far_end(table)), "xlabel": label, "yaxis": None, "width": 260, "show_grid": True}
    return bars.opts(color="color", line_width=8, tools=["hover"], **{**rows, **options})


def plot_search(dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> hv.core.Dimensioned:
    """The best (worst) point up to every step: its loss or accuracy beside A and B, and the coefficient of every layer.

    The axis of the loss is logarithmic. Dotted is the loss of the training examples that are searched. Of a search of
    units the colour is the mean over a layer.

    Raises:
        ValueError: for the result of another sweep, another quantity, or a split that is not there.
    """
    check_plot(dataset, "search", quantity, split)
    within = trace_span(dataset, quantity, split)
    trace = over_strengths(dataset, lambda one: _trace(one, quantity, split, within))
    return trace + over_strengths(dataset, _coefficients)


def _trace(dataset: xr.Dataset, quantity: str, split: str, within: tuple[float, float]) -> hv.Overlay:
    curves, steps = trace_values(dataset, quantity, split), dataset.step.values
    label = position_label(quantity, split)
    axes = hv.Dimension("step", label="step of the search"), hv.Dimension("position", label=label)
    layers = []
    for name in ("A", "B"):
        y = position(curves[name], quantity)[0]
        line = hv.Curve([(steps[0], y), (steps[-1], y)], *axes, label=f"{name} {number(curves[name].item())}")
        layers.append(line.opts(color=COLORS[name], line_dash="dashed"))
    names = {"found": f"{recipe(dataset)['goal']} so far", "searched": "training examples searched"}
    for name, dash in (("found", "solid"), ("searched", "dotted")):
        if name in curves:
            columns = {"step": steps, "position": position(curves[name], quantity), "value": curves[name]}
            line = hv.Curve(columns, axes[0], [axes[1], "value"], label=names[name])
            layers.append(line.opts(color=COLORS["text"], line_dash=dash, line_width=2, tools=["hover"]))
    options = {"yticks": list(position_ticks(*within, quantity).items()), "ylim": within, "ylabel": label}
    options["title"] = trace_missing(curves)
    return hv.Overlay(layers).opts(show_grid=True, legend_cols=2, **TOP_LEGEND, **options, **WIDE)


def _coefficients(dataset: xr.Dataset) -> hv.Image:
    names = dataset.slot.values.tolist()
    values = dataset.coefficient.transpose("slot", "step").values
    axes = [hv.Dimension("step", label="step of the search"), hv.Dimension("row", label="layer")]
    bounds = (-0.5, 0.5 - len(names), values.shape[1] - 0.5, 0.5)
    image = hv.Image(values, axes, "coefficient", bounds=bounds)
    options = {"cmap": BETWEEN, "clim": coefficient_range(dataset), "colorbar": True, "clabel": "coefficient of π(B)"}
    rows = row_options(names, "layer")
    return image.opts(tools=["hover"], title=coefficient_title(dataset), width=560, **options, **rows)
