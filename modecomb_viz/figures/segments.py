"""Curves along a segment."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from bokeh.core.properties import value as literal
from bokeh.models import ColumnDataSource, HoverTool, LegendItem

from modecomb_viz.figures.base import (
    Figure,
    Frame,
    Property,
    add_legend,
    check_shown,
    make_figure,
    padded_range,
    range_properties,
)
from modecomb_viz.figures.looks import CURVES, HEIGHT, number, quantity_label
from modecomb_viz.results import recipe
from modecomb_viz.statistics import d2_barrier

__all__ = ["SegmentFigure", "curve_name"]


class SegmentFigure(Figure):
    """Naive, aligned and perturbed curves, each with its D2 barrier in the legend."""

    def __init__(self, height: int = HEIGHT):
        self.figure = make_figure(height)
        self.sources = {name: ColumnDataSource({"t": [], "value": []}) for name in CURVES}
        self._items = {}
        for name, (color, dash) in CURVES.items():
            source = self.sources[name]
            line = self.figure.line("t", "value", source=source, color=color, line_dash=dash, line_width=2.5)
            dots = self.figure.scatter("t", "value", source=source, color=color, size=5)
            self._items[name] = LegendItem(label=name, renderers=[line, dots], visible=False)
            tooltips = [("curve", name), ("t", "@t{0.000}"), ("value", "@value{0.0000}")]
            self.figure.add_tools(HoverTool(renderers=[dots], tooltips=tooltips))
        add_legend(self.figure, list(self._items.values()))

    def frame(self, datasets: Mapping[str, xr.Dataset], *, quantity: str = "loss", split: str = "test") -> Frame:
        """Curves by name, among ``naive``, ``aligned`` and ``perturbed``, without the dimension ``strength``."""
        columns = {name: {"t": np.empty(0), "value": np.empty(0)} for name in CURVES}
        for name, dataset in datasets.items():
            check_shown(dataset, quantity, split)
            columns[name] = {"t": dataset.t.values, "value": dataset[quantity].sel(split=split).values}
        labels = {name: f"{name} {_barrier(dataset, quantity, split)}" for name, dataset in datasets.items()}
        low, high = padded_range([column["value"] for column in columns.values()])
        start, end = padded_range([column["t"] for column in columns.values()], 0.03)
        properties = (
            *(Property(item, "label", literal(labels.get(name, name))) for name, item in self._items.items()),
            *(Property(item, "visible", name in datasets) for name, item in self._items.items()),
            *range_properties(self.figure.y_range, low, high),
            *range_properties(self.figure.x_range, start, end),
            Property(self.figure.xaxis[0], "axis_label", "t: coefficient of π(B), A at 0"),
            Property(self.figure.title, "text", f"D2 barrier of each curve, in {_UNITS[quantity]}:"),
            Property(self.figure.yaxis[0], "axis_label", quantity_label(quantity, split)),
        )
        return Frame(columns, properties)


_UNITS = {"loss": "nats", "accuracy": "percentage points of error"}


def curve_name(dataset: xr.Dataset) -> str:
    """naive, aligned or perturbed: what a segment at one strength shows."""
    settings = recipe(dataset)
    if settings["alignment"] == "identity":
        return "naive"
    return "perturbed" if np.any(dataset.get("strength", settings["strength"])) else "aligned"


def _barrier(dataset: xr.Dataset, quantity: str, split: str) -> str:
    value = d2_barrier(dataset, quantity, split)
    return number(value) if quantity == "loss" else number(100 * value)
