"""Curves along a segment."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from bokeh.core.properties import value as literal
from bokeh.models import ColumnDataSource, HoverTool, Legend, LegendItem

from modecomb_viz.figures.base import Figure, Frame, Property, check_shown, make_figure, range_properties
from modecomb_viz.figures.looks import CURVES, HEIGHT, number, quantity_label
from modecomb_viz.statistics import barriers

__all__ = ["SegmentFigure", "padded_range"]


def padded_range(values: list[np.ndarray], padding: float = 0.06) -> tuple[float, float]:
    """A range that holds all finite values, with some space around them; (0, 1) where there are none."""
    together = np.concatenate([np.ravel(part) for part in values]) if values else np.empty(0)
    finite = together[np.isfinite(together)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    space = padding * (high - low) or 0.01 * max(abs(high), 1e-3)
    return low - space, high + space


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
        legend = Legend(
            items=list(self._items.values()), orientation="horizontal", border_line_color=None, padding=0, margin=4,
            label_text_font_size="12px", spacing=14,
        )  # fmt: skip
        self.figure.add_layout(legend, "above")

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


def _barrier(dataset: xr.Dataset, quantity: str, split: str) -> str:
    variable = {"loss": "barrier", "accuracy": "error_barrier"}[quantity]
    value = barriers(dataset)[variable].sel(split=split, definition="D2").item()
    return number(value) if quantity == "loss" else number(100 * value)
