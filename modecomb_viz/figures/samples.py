"""The distribution of loss or accuracy over draws of a law."""

from typing import Any

import numpy as np
import xarray as xr
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool

from modecomb_viz.figures.base import (
    Figure,
    Frame,
    Property,
    axis_properties,
    check_shown,
    make_figure,
    range_properties,
)
from modecomb_viz.figures.looks import COLORS, number
from modecomb_viz.figures.scales import position, span

__all__ = ["SamplesFigure", "axis_span"]

_BINS = 30


class SamplesFigure(Figure):
    """A histogram over a strip of dots, one per draw, and a labelled line for every reference network.

    Loss is drawn on a logarithmic axis, because the ends and the naive midpoint lie decades apart; the axis holds
    positions log10(loss) with labels in nats.
    """

    def __init__(self, height: int = 260):
        self.figure = make_figure(height)
        self.figure.y_range.update(start=-0.42, end=1.12, reset_start=-0.42, reset_end=1.12)
        self.figure.yaxis.visible = False
        self.figure.ygrid.visible = False
        self.figure.xaxis[0].ticker = FixedTicker(ticks=[])
        self.sources = {
            "bars": ColumnDataSource({"left": [], "right": [], "top": []}),
            "dots": ColumnDataSource({"x": [], "y": [], "draw": [], "value": []}),
            "lines": ColumnDataSource({"x": [], "y": [], "text": [], "color": [], "align": [], "dx": []}),
        }
        self.figure.quad("left", "right", "top", 0, source=self.sources["bars"], color=COLORS["draws"], alpha=0.55)
        dots = self.figure.scatter(
            "x", "y", source=self.sources["dots"], size=6, color=COLORS["draws"], line_color="#1f6f9f", alpha=0.75
        )
        self.figure.add_tools(HoverTool(renderers=[dots], tooltips=[("draw", "@draw"), ("value", "@value{0.0000}")]))
        self._draw_references()
        self._range_of: tuple[str, tuple[float, float]] = ("", (0.0, 1.0))

    def _draw_references(self):
        source = self.sources["lines"]
        self.figure.segment("x", -0.42, "x", "y", source=source, color="color", line_width=2)
        self.figure.text(
            "x", "y", "text", source=source, text_color="color", text_font_size="12px", text_align="align",
            text_baseline="middle", x_offset="dx", background_fill_color="white", background_fill_alpha=0.8, padding=1,
        )  # fmt: skip

    def update(self, dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test"):
        """Show draws. The axis is chosen when a request brings its first draws; later draws only widen it."""
        check_shown(dataset, quantity, split)
        request = f"{dataset.attrs['recipe']} {quantity} {split}"
        low, high = axis_span(dataset, quantity, split)
        if self._range_of[0] == request:
            low, high = min(low, self._range_of[1][0]), max(high, self._range_of[1][1])
        self._range_of = (request, (low, high))
        self.apply(self.frame(dataset, quantity=quantity, split=split, within=(low, high)))

    def frame(
        self,
        dataset: xr.Dataset,
        *,
        quantity: str = "loss",
        split: str = "test",
        within: tuple[float, float] | None = None,
    ) -> Frame:
        """Histogram, dots, references and axis of samples without the dimension ``strength``."""
        check_shown(dataset, quantity, split)
        low, high = within or axis_span(dataset, quantity, split)
        values = dataset[quantity].sel(split=split).values
        positions = position(values, quantity)
        columns = {
            "bars": _bars(positions, low, high),
            "dots": _dots(positions, values),
            "lines": _lines(dataset, quantity, split, (low + high) / 2),
        }
        properties = (
            *range_properties(self.figure.x_range, low, high),
            *axis_properties(self.figure.xaxis[0], (low, high), quantity, split),
            Property(self.figure.title, "text", _title(values)),
        )
        return Frame(columns, properties)


def axis_span(dataset: xr.Dataset, quantity: str, split: str) -> tuple[float, float]:
    """Positions on the axis between which all draws and references lie, those of every strength."""
    parts = [dataset[name].sel(split=split).values.ravel() for name in (quantity, f"reference_{quantity}")]
    return span(np.concatenate(parts), quantity)


def _bars(positions: np.ndarray, low: float, high: float) -> dict[str, np.ndarray]:
    counts, edges = np.histogram(positions[np.isfinite(positions)], _BINS, (low, high))
    return {"left": edges[:-1], "right": edges[1:], "top": counts / max(1, counts.max())}


def _dots(positions: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    """Dots at fixed pseudo-random heights below the histogram, so that a draw stays where it is."""
    draw = np.arange(len(values))
    return {"x": positions, "y": -0.08 - 0.28 * ((draw * 0.6180339887) % 1), "draw": draw, "value": values}


def _lines(dataset: xr.Dataset, quantity: str, split: str, middle: float) -> dict[str, list[Any]]:
    """One line per reference, its label at a height of its own, so that no two overlap."""
    values = dataset[f"reference_{quantity}"].sel(split=split)
    columns: dict[str, list[Any]] = {name: [] for name in ("x", "y", "text", "color", "align", "dx")}
    positions = position(values.values, quantity)
    for k, (name, x, value) in enumerate(zip(dataset.reference.values, positions, values.values, strict=True)):
        left = x < middle
        row = (
            x,
            1.04 - 0.17 * k,
            f"{name} {number(value)}",
            COLORS[str(name)],
            "left" if left else "right",
            4 if left else -4,
        )
        for column, entry in zip(columns.values(), row, strict=True):
            column.append(entry)
    return columns


def _title(values: np.ndarray) -> str:
    finite = values[np.isfinite(values)]
    text = f"{len(values)} draws"
    if finite.size:
        text += f": mean {number(finite.mean())}, from {number(finite.min())} to {number(finite.max())}"
    return text + (f"; {len(values) - finite.size} not finite" if finite.size < len(values) else "")
