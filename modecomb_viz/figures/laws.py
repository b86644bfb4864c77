"""Combinability of a family of laws: the mean of the coefficients against their dispersion."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, LinearColorMapper

from modecomb_viz.figures.base import (
    Figure,
    Frame,
    Panels,
    Property,
    check_shown,
    make_figure,
    padded_range,
    range_properties,
)
from modecomb_viz.figures.looks import COLORS, HEIGHT, NAN_COLOR, PALETTES, axis_label, number, quantity_label
from modecomb_viz.figures.maps import color_range, draw_marks, make_color_bar, mark_columns
from modecomb_viz.results import recipe
from modecomb_viz.statistics import summary

__all__ = [
    "LawsFigure",
    "border",
    "cell_edges",
    "corner_laws",
    "draws_of_laws",
    "is_map",
    "law_statistics",
    "law_table",
    "marked_laws",
    "shown_label",
    "shown_values",
]


def is_map(dataset: xr.Dataset) -> bool:
    """Whether the laws have several deviations, so that they are drawn as a map; else as a curve over the mean."""
    return dataset.sizes["deviation"] > 1


def law_statistics(dataset: xr.Dataset, epsilon: float = 0.1) -> xr.Dataset:
    """:func:`~modecomb_viz.summary` of every law, quantiles aside, and its mean accuracy, by sorted mean and deviation.

    Where there is no such law, all is NaN, the share included.
    """
    dataset = dataset.sortby(["mean", "deviation"])
    found = summary(dataset, epsilon=epsilon, quantiles=()).assign(
        mean_accuracy=dataset.accuracy.mean("sample", skipna=False).assign_attrs(dataset.accuracy.attrs)
    )
    none = dataset.loss.isnull().all("sample") & ~_exists(dataset)
    return found.where(~none).assign_attrs(found.attrs)


def law_table(statistics: xr.Dataset, split: str) -> pd.DataFrame:
    """One row per law, deviation by deviation: its moments, :func:`law_statistics` and their intervals."""
    here = statistics.sel(split=split).transpose("deviation", "mean", ...)
    means, deviations = np.meshgrid(here["mean"].values, here.deviation.values)
    columns = (
        means, deviations, here.mean_excess.values, *np.moveaxis(here.mean_interval.values, -1, 0),
        here.low_loss_share.values, *np.moveaxis(here.share_interval.values, -1, 0), here.worst_excess.values,
    )  # fmt: skip
    return pd.DataFrame({name: values.ravel() for name, values in zip(_STATISTICS, columns, strict=True)})


def _exists(dataset: xr.Dataset) -> xr.DataArray:
    """Which means and deviations a law of the family can have."""
    variance = dataset.deviation**2
    most = dataset["mean"] * (1 - dataset["mean"])
    match recipe(dataset)["distribution"]:
        case "beta":
            return (variance > 0) & (variance < most)
        case "bernoulli":
            return (most >= 0) | (variance > 0)
        case _:
            return (most == most) | (variance > 0)


def cell_edges(values: np.ndarray) -> np.ndarray:
    """Borders of cells around sorted values, half-way between neighbours.

    >>> cell_edges(np.array([0.0, 0.5, 1.0])).tolist()
    [-0.25, 0.25, 0.75, 1.25]
    """
    if len(values) == 1:
        return np.array([values[0] - 0.0625, values[0] + 0.0625])
    between = (values[1:] + values[:-1]) / 2
    return np.array([2 * values[0] - between[0], *between, 2 * values[-1] - between[-1]])


def border(low: np.ndarray, known: np.ndarray, x: np.ndarray, y: np.ndarray) -> list[tuple[float, float, float, float]]:
    """Pieces ``x0, y0, x1, y1`` of the line between cells ``[y, x]`` that are low and neighbours that are not."""
    pieces = []
    for i, j in np.ndindex(low.shape):
        if j + 1 < low.shape[1] and known[i, j] and known[i, j + 1] and low[i, j] != low[i, j + 1]:
            pieces.append((x[j + 1], y[i], x[j + 1], y[i + 1]))
        if i + 1 < low.shape[0] and known[i, j] and known[i + 1, j] and low[i, j] != low[i + 1, j]:
            pieces.append((x[j], y[i + 1], x[j + 1], y[i + 1]))
    return pieces


def corner_laws(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation √(m(1 − m)) of the laws that draw 0 and 1 alone, as far as the edges of the cells reach.

    No law within the cube has a larger deviation.
    """
    m = np.linspace(0, 1, 101)
    arch = np.sqrt(m * (1 - m))
    inside = (m >= x[0]) & (m <= x[-1]) & (arch >= y[0]) & (arch <= y[-1])
    return m[inside], arch[inside]


def shown_values(statistics: xr.Dataset, statistic: str, quantity: str, split: str) -> xr.DataArray:
    """What a panel shows: the share of draws of low loss, or the mean excess loss or mean accuracy."""
    name = {"share": "low_loss_share", "mean": {"loss": "mean_excess", "accuracy": "mean_accuracy"}[quantity]}[
        statistic
    ]
    return statistics[name].sel(split=split).transpose(..., "deviation", "mean")


def shown_label(statistic: str, quantity: str, split: str) -> str:
    """The label of :func:`shown_values`, with units."""
    if statistic == "share":
        return f"draws of low {split} loss [fraction]"
    return ("mean excess " if quantity == "loss" else "mean ") + quantity_label(quantity, split)


class LawsFigure(Panels):
    """Left the mean excess loss or the mean accuracy, right the share of draws of low loss.

    Several deviations make a map; a single one, such as that of Bernoulli laws, a curve over the mean with the
    interval of the statistic. ``frame`` takes ``epsilon``, ``statistics``, a :func:`law_statistics` that is already
    there, and ``colors``, the range of colours of the left map.
    """

    def __init__(self, height: int = HEIGHT):
        super().__init__(mean=_Laws(height, "mean"), share=_Laws(height, "share"))

    def frame(
        self,
        dataset: xr.Dataset,
        *,
        quantity: str = "loss",
        split: str = "test",
        epsilon: float = 0.1,
        statistics: xr.Dataset | None = None,
        colors: tuple[float, float] | None = None,
    ) -> Frame:
        """Cells or curves, and axes, of a laws result without the dimension ``strength``."""
        check_shown(dataset, quantity, split)
        found = law_statistics(dataset, epsilon) if statistics is None else statistics
        return super().frame(dataset, quantity=quantity, split=split, statistics=found, colors=colors)


class _Laws(Figure):
    """One statistic of all laws."""

    def __init__(self, height: int, statistic: str):
        self._statistic = statistic
        self.figure = make_figure(height)
        self.figure.xaxis.axis_label = "mean of the law [coefficient]"
        self.sources = {name: ColumnDataSource({c: [] for c in columns}) for name, columns in _COLUMNS.items()}
        self._mapper = LinearColorMapper(palette=PALETTES["loss"], low=0.0, high=1.0, nan_color=NAN_COLOR)
        self._bar = make_color_bar(self.figure, self._mapper, BasicTicker())
        self._draw_map()
        self._draw_curve()

    def _draw_map(self):
        sources, looks = self.sources, {"field": "value", "transform": self._mapper}
        cells = self.figure.quad(
            "left", "right", "top", "bottom", source=sources["cells"], fill_color=looks, line_color=looks
        )
        for width, color in ((4, "black"), (2, "white")):
            self.figure.segment("x0", "y0", "x1", "y1", source=sources["border"], color=color, line_width=width)
        for width, color in ((3.5, "black"), (1.5, "white")):
            self.figure.line("x", "y", source=sources["corners"], color=color, line_width=width, line_dash=[6, 5])
        draw_marks(self.figure, sources["marks"])
        self.figure.add_tools(HoverTool(renderers=[cells], tooltips=_TOOLTIPS))

    def _draw_curve(self):
        sources, color = self.sources, "#1f6f9f"
        self.figure.varea("x", "low", "high", source=sources["curve"], fill_color=COLORS["draws"], fill_alpha=0.3)
        self.figure.scatter("x", "y", source=sources["dots"], size=5, color=COLORS["draws"], alpha=0.7)
        self.figure.line("x", "y", source=sources["curve"], color=color, line_width=2.5)
        means = self.figure.scatter("x", "y", source=sources["curve"], color=color, size=6)
        self.figure.segment(
            "left", "y", "right", "y", source=sources["lines"], color="color", line_width=1.5, line_dash="dashed"
        )
        self.figure.text(
            "right", "y", "text", source=sources["lines"], text_align="right", text_color="color", y_offset=-3,
            text_font_size="12px", background_fill_color="white", background_fill_alpha=0.7,
        )  # fmt: skip
        tooltips = [
            ("mean of the law", "@x{0.000}"),
            ("value", "@y{0.0000}"),
            ("interval", "@low{0.0000} to @high{0.0000}"),
        ]
        self.figure.add_tools(HoverTool(renderers=[means], tooltips=tooltips))

    def frame(
        self,
        dataset: xr.Dataset,
        *,
        quantity: str,
        split: str,
        statistics: xr.Dataset,
        colors: tuple[float, float] | None,
    ) -> Frame:
        """Cells or curve, and axes."""
        draw = self._map if is_map(dataset) else self._curve
        columns, properties = draw(dataset.sortby(["mean", "deviation"]), statistics, quantity, split, colors)
        empty = {name: {column: [] for column in _COLUMNS[name]} for name in _COLUMNS}
        return Frame(empty | columns, tuple(properties))

    def _map(self, dataset, found, quantity: str, split: str, colors) -> tuple[dict[str, Any], list[Property]]:
        values = shown_values(found, self._statistic, quantity, split).values
        low, high = (0.0, 1.0) if self._statistic == "share" else colors or color_range(values)
        x, y = cell_edges(dataset["mean"].values), cell_edges(dataset.deviation.values)
        excess = found.mean_excess.sel(split=split).transpose("deviation", "mean").values
        epsilon, known = found.attrs["epsilon"], ~np.isnan(excess)
        pieces = np.array(border(excess <= epsilon, known, x, y)).reshape(-1, 4).T
        arch = corner_laws(x, y)
        columns = {
            "cells": _cells(found, values, split, x, y),
            "border": dict(zip(_COLUMNS["border"], pieces, strict=True)),
            "corners": {"x": arch[0], "y": arch[1]},
            "marks": mark_columns(marked_laws(x, y), (float(x[0]), float(x[-1])), (float(y[0]), float(y[-1]))),
        }
        notes = _notes(values, excess, _exists(dataset).transpose("deviation", "mean").values, epsilon, high)
        return columns, self._properties(
            (x[0], x[-1]), (y[0], y[-1]), axis_label(dataset.deviation), notes,
            (quantity if self._statistic == "mean" else "accuracy", low, high),
            shown_label(self._statistic, quantity, split),
        )  # fmt: skip

    def _curve(self, dataset, found, quantity: str, split: str, colors) -> tuple[dict[str, Any], list[Property]]:
        here = found.sel(split=split).isel(deviation=0)
        x, values = dataset["mean"].values, shown_values(found, self._statistic, quantity, split).values[0]
        bounds = np.full((2, len(x)), np.nan)
        if self._statistic == "share" or quantity == "loss":
            name = "share_interval" if self._statistic == "share" else "mean_interval"
            bounds = here[name].transpose("bound", "mean").values
        dots = draws_of_laws(dataset, quantity, split) if self._statistic == "mean" else {"x": [], "y": []}
        left, right = padded_range([x], 0.03)
        lines = self._lines(dataset, quantity, split, found.attrs["epsilon"], left, right)
        low, high = -0.04, 1.04
        if self._statistic == "mean":
            low, high = padded_range([values, bounds, dots["y"], np.array(lines["y"])])
        columns = {
            "curve": {"x": x, "y": values, "low": bounds[0], "high": bounds[1]}, "dots": dots, "lines": lines,
        }  # fmt: skip
        note = "dots: draws · " if self._statistic == "mean" else ""
        note += "band: 95 % interval" if np.isfinite(bounds).any() else "line: mean"
        label = shown_label(self._statistic, quantity, split)
        return columns, self._properties((left, right), (low, high), label, note, None, label)

    def _lines(self, dataset, quantity: str, split: str, epsilon: float, left: float, right: float) -> dict[str, Any]:
        if self._statistic == "share":
            marks = []
        elif quantity == "loss":
            marks = [(epsilon, COLORS["text"], f"ε = {number(epsilon)} nat")]
        else:
            ends = dataset.reference_accuracy.sel(split=split)
            marks = [(ends.sel(reference=name).item(), COLORS[name], name) for name in "AB"]
        y, color, text = zip(*marks, strict=True) if marks else ((), (), ())
        size = len(marks)
        return {"y": list(y), "color": list(color), "text": list(text), "left": [left] * size, "right": [right] * size}

    def _properties(self, across, up, label: str, note: str, colors, title: str) -> list[Property]:
        """Those of a map and of a curve; ``colors`` is None for a curve, which has no colour bar."""
        quantity, low, high = colors or ("loss", 0.0, 1.0)
        return [
            *range_properties(self.figure.x_range, *map(float, across)),
            *range_properties(self.figure.y_range, *map(float, up)),
            Property(self._mapper, "palette", PALETTES[quantity]),
            Property(self._mapper, "low", low),
            Property(self._mapper, "high", high),
            Property(self._bar, "visible", colors is not None),
            Property(self._bar, "title", title),
            Property(self.figure.grid[0], "visible", colors is None),
            Property(self.figure.grid[1], "visible", colors is None),
            Property(self.figure.yaxis[0], "axis_label", label),
            Property(self.figure.title, "text", note),
        ]


_STATISTICS = ("mean", "deviation", "excess", "low", "high", "share", "share_low", "share_high", "worst")
_COLUMNS = {
    "cells": ("left", "right", "top", "bottom", "value", *_STATISTICS),
    "border": ("x0", "y0", "x1", "y1"),
    "corners": ("x", "y"),
    "marks": ("u", "v", "text", "dx", "dy", "align"),
    "curve": ("x", "y", "low", "high"),
    "dots": ("x", "y"),
    "lines": ("y", "color", "text", "left", "right"),
}
_TOOLTIPS = [
    ("mean of the law", "@mean{0.000}"),
    ("its deviation", "@deviation{0.000}"),
    ("mean excess loss", "@excess{0.0000} (@low{0.0000} to @high{0.0000})"),
    ("draws of low loss", "@share{0%} (@share_low{0%} to @share_high{0%})"),
    ("worst excess", "@worst{0.0000}"),
]


def _cells(found: xr.Dataset, values: np.ndarray, split: str, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """One row per cell, deviation by deviation."""
    left, bottom = np.meshgrid(x[:-1], y[:-1])
    right, top = np.meshgrid(x[1:], y[1:])
    places = {"left": left, "right": right, "top": top, "bottom": bottom, "value": values}
    table = law_table(found, split)
    return {name: column.ravel() for name, column in places.items()} | {name: table[name].to_numpy() for name in table}


def marked_laws(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float, str]]:
    """Where both networks and random corners of the cube lie, as far as the map reaches."""
    places = [(0.0, 0.0, "A"), (1.0, 0.0, "π(B)"), (0.5, 0.5, "random corners")]
    return [place for place in places if x[0] <= place[0] <= x[-1] and y[0] <= place[1] <= y[-1]]


def draws_of_laws(dataset: xr.Dataset, quantity: str, split: str) -> dict[str, np.ndarray]:
    """Every draw at the mean of its law: its excess loss, or its accuracy."""
    values = dataset[quantity].sel(split=split).isel(deviation=0).transpose("mean", "sample")
    if quantity == "loss":
        ends = dataset.reference_loss.sel(split=split, reference=["A", "B"])
        values = values - ends.max("reference", skipna=False)
    return {"x": np.repeat(dataset["mean"].values, dataset.sizes["sample"]), "y": values.values.ravel()}


def _notes(values: np.ndarray, excess: np.ndarray, exists: np.ndarray, epsilon: float, high: float) -> str:
    """What colours and lines mean."""
    low = excess[~np.isnan(excess)] <= epsilon
    notes = [f"white line: mean excess {number(epsilon)} nat"] if low.any() and not low.all() else []
    if low.size and low.all():
        notes.append(f"everywhere mean excess ≤ {number(epsilon)} nat")
    if np.nanmax(values, initial=-np.inf) > high:
        notes.append(f"last colour: ≥ {number(high)}")
    grey = [name for name, cells in {"no such law": ~exists, "NaN": exists}.items() if np.isnan(values[cells]).any()]
    if grey:
        notes.append(f"grey: {' or '.join(grey)}")
    return " · ".join(notes) or " "
