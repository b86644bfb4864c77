"""Plots that compare networks: transitivity and similarity."""

from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from modecomb_viz.figures.base import padded_range
from modecomb_viz.figures.looks import COLORS, NAN_COLOR, ROUTES, number, quantity_label, shortened, spread
from modecomb_viz.figures.scales import SCALE, compressed, compressed_ticks
from modecomb_viz.figures.similarity import (
    NAMED,
    compared,
    ensemble_references,
    measure_label,
    networks_of,
    possible_region,
    square_view,
    turned,
)
from modecomb_viz.figures.transitivity import LANES, barrier_label, kind_label, routes
from modecomb_viz.plots.drawing import SIZE, TOP_LEGEND, WIDE, check_plot, load_backend, over_strengths, row_options

__all__ = ["plot_similarity", "plot_transitivity"]


def plot_transitivity(
    dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test", definition: str = "D2"
) -> hv.core.Dimensioned:
    """The barrier of every pair by every route of alignment, and the share of units that the route brings elsewhere.

    One row per pair, in it one lane per kind of route; every third network is a mark. The axis of barriers is linear
    near zero and logarithmic from 0.01 on. A barrier that is not finite is a grey cross at the right.

    Args:
        definition: of the barrier, D1 … D4; see :mod:`modecomb_viz.statistics`.

    Raises:
        ValueError: for the result of another sweep, another quantity or definition, or a split that is not there.
    """
    check_plot(dataset, "transitivity", quantity, split)
    pairs = dataset.pair.values.tolist()
    label = f"{barrier_label(quantity, split, definition)}, {SCALE}"

    def draw(one: xr.Dataset, strays: bool) -> hv.Overlay:
        table = routes(one, quantity, split, definition)
        table["row"] = table.kind.map(LANES) - table.pair.map(pairs.index)
        return _strays(table, pairs) if strays else _barriers(table, pairs, label)

    return over_strengths(dataset, lambda one: draw(one, False)) + over_strengths(dataset, lambda one: draw(one, True))


def _barriers(table: pd.DataFrame, pairs: list[str], label: str) -> hv.Overlay:
    finite = np.isfinite(table.barrier.to_numpy())
    positions = compressed(table.barrier.to_numpy())
    high = 1.06 * max(positions[finite].max(initial=0.0), 1.0)
    value = hv.Dimension("position", label=label)
    layers = _marks(table[finite].assign(x=positions[finite]), value)
    lost = table[~finite]
    if len(lost):
        crosses = hv.Points(lost.assign(x=0.97 * high), [("x", label), "row"], ["pair", "route"], label="not finite")
        layers.append(crosses.opts(marker="x", color=NAN_COLOR, size=10, tools=["hover"]))
    ticks = [(at, text) for at, text in compressed_ticks(-0.01, high).items()]
    options = {"xticks": ticks, "xlim": (-0.04 * high, high), **TOP_LEGEND}
    return hv.Overlay(layers).opts(show_grid=True, xlabel=label, **_rows(pairs), **options, width=WIDE["width"])


def _strays(table: pd.DataFrame, pairs: list[str]) -> hv.Overlay:
    value = hv.Dimension("cycle_error", label="units brought elsewhere [fraction]")
    layers = _marks(table.assign(x=table.cycle_error), value)
    options = {"show_legend": False, "xlim": (-0.04, 1.04), "width": 300, "yaxis": None}
    return hv.Overlay(layers).opts(show_grid=True, xlabel=value.label, **_rows(pairs), **options)


def _marks(table: pd.DataFrame, value: hv.Dimension) -> list[hv.Points]:
    """One set of marks per kind of route, with pair, route, barrier and cycle error to hover."""
    layers = []
    for kind, (color, marker) in ROUTES.items():
        own = table[table.kind == kind].drop(columns="cycle_error" if value.name == "cycle_error" else [])
        vdims = [column for column in ("pair", "route", "barrier", "cycle_error") if column in own]
        points = hv.Points(own.rename(columns={"x": value.name}), [value, "row"], vdims, label=kind_label(kind))
        layers.append(points.opts(color=color, marker=marker, size=9, alpha=0.85, tools=["hover"]))
    return layers


def _rows(pairs: list[str]) -> dict[str, object]:
    """Options of an axis with one tall row per pair, for its routes."""
    height = min(max(SIZE["height"], 110 + 44 * len(pairs)), 1200)
    return {**row_options(pairs, "pair of networks"), "ylim": (0.5 - len(pairs), 0.5), "height": height}


#: Pixels of the left column.
_LEFT = 580


def plot_similarity(
    dataset: xr.Dataset, *, quantity: str = "accuracy", split: str = "test", measure: str = "disagreement"
) -> hv.core.Dimensioned:
    """The diversity–accuracy plane, the networks in a plane, ensembles of draws, and a table of all measures.

    First how far every network is from A, against its accuracy or loss; grey is what the two error rates allow. Then
    :func:`~modecomb_viz.embedding`, turned so that A and B are level; the loss or accuracy of the mean of the logits of
    k draws; every measure between groups of networks, its mean and range.

    Args:
        measure: "disagreement", "disagreement_share" or "jensen_shannon".

    Raises:
        ValueError: for the result of another sweep, another quantity or measure, or a split that is not there.
    """
    check_plot(dataset, "similarity", quantity, split)
    load_backend()
    x, y, explained = turned(dataset, measure, split)
    across, up = square_view(x, y)
    square = {"xlim": across, "ylim": up, "width": 400, "height": 400, "hooks": [_square]}
    axes = [
        hv.Dimension("x", label=f"distance: {split} {measure_label(dataset, measure)}"),
        hv.Dimension("y", label="second direction, same scale"),
    ]
    places = hv.Overlay(_networks(dataset, x, y, axes)).opts(
        show_grid=True, show_legend=False, title=f"shows {explained:.0%} of the squared distances", **square
    )
    plane, ensemble = _plane(dataset, quantity, split, measure), _ensemble(dataset, quantity, split)
    return hv.Layout([plane, places, _table(dataset, split), ensemble]).cols(2)


def _square(plot: Any, overlay: hv.Overlay):
    """A frame as wide as high, whatever the labels take."""
    plot.state.update(frame_width=300, frame_height=300, sizing_mode=None)


def _plane(dataset: xr.Dataset, quantity: str, split: str, measure: str) -> hv.Overlay:
    here = dataset.sel(split=split)
    a = here.model.values.tolist().index("A")
    x, y = here[measure].values[:, a], here[quantity].values
    axes = [
        hv.Dimension("from_a", label=f"{measure_label(dataset, measure)}, from A"),
        hv.Dimension(quantity, label=quantity_label(quantity, split)),
    ]
    across, up = padded_range([x]), padded_range([y])
    layers = _networks(dataset, x, y, axes)
    if measure == "disagreement" and quantity == "accuracy":
        accuracy, least, most = possible_region(here.accuracy.values[a], *up)
        outline = np.concatenate([least, most[::-1]]), np.concatenate([accuracy, accuracy[::-1]])
        region = hv.Polygons([outline], axes, label="what the error rates allow")
        layers.insert(0, region.opts(color="#ececec", line_alpha=0))
    return hv.Overlay(layers).opts(
        show_grid=True, legend_position="right", xlim=across, ylim=up, width=_LEFT, height=400
    )


def _networks(dataset: xr.Dataset, x: np.ndarray, y: np.ndarray, axes: list[hv.Dimension]) -> list[hv.Element]:
    """Draws, the networks with colours of their own, the others with their names beside."""
    names, places = np.array([str(name) for name in dataset.model.values]), networks_of(dataset)
    groups = {"draws": places["draws"], "other networks": places["others"]}
    groups |= {name: places["named"][[i]] for i, name in enumerate(NAMED)}
    layers: list[hv.Element] = []
    for label, chosen in groups.items():
        if not len(chosen):
            continue
        color, marker = NAMED.get(label, (COLORS.get(label, COLORS["text"]), "circle"))
        points = hv.Points((x[chosen], y[chosen], names[chosen]), axes, "network", label=label)
        layers.append(points.opts(color=color, marker=marker, size=7 if label == "draws" else 11, tools=["hover"]))
        if label == "other networks":
            texts = hv.Labels((x[chosen], y[chosen], [shortened(name, 18) for name in names[chosen]]), axes)
            beside = 0.025 * np.ptp(padded_range([x]))
            layers.append(texts.opts(text_align="left", xoffset=beside, text_font_size="12px", text_color=color))
    return layers


def _ensemble(dataset: xr.Dataset, quantity: str, split: str) -> hv.Overlay:
    here = dataset.sel(split=split)
    k = hv.Dimension("k", label="k: draws whose logits are averaged")
    value = hv.Dimension(quantity, label=quantity_label(quantity, split))
    curve = hv.Curve((here.k.values, here[f"ensemble_{quantity}"].values), k, value, label="ensemble of k draws")
    layers = [curve.opts(color=COLORS["text"], line_width=2.5, tools=["hover"])]
    ends = here.k.values[[0, -1]]
    for name, y in ensemble_references(here, quantity):
        color = COLORS.get(name, COLORS["draws"])
        line = hv.Curve((ends, [y, y]), k, value, label=f"{name} {number(y)}")
        layers.append(line.opts(color=color, line_dash="dashed" if name == "B" else "solid", line_width=2))
    return hv.Overlay(layers).opts(show_grid=True, width=400, height=440, legend_cols=2, **TOP_LEGEND)


def _table(dataset: xr.Dataset, split: str) -> hv.Table:
    """Every measure between groups of networks: mean and range over their pairs."""
    table = compared(dataset, split)
    columns = {
        "measure": [f"{dataset[name].attrs['long_name']} [{dataset[name].attrs['units']}]" for name in table.measure],
        "networks (pairs)": [f"{name} ({pairs})" for name, pairs in zip(table.networks, table.pairs, strict=True)],
        "mean (range)": [
            spread(*values) for values in table[["mean", "lowest", "highest"]].itertuples(index=False, name=None)
        ],
    }
    return hv.Table(columns, [], list(columns)).opts(width=_LEFT, height=440, hooks=[_widen])


def _widen(plot: Any, element: hv.Table):
    """Columns as wide as their words."""
    table = plot.handles["table"]
    table.index_position = None
    for column, width in zip(table.columns, (300, 120, 160), strict=True):
        column.width = width
