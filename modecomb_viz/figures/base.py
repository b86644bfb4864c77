"""A figure that is drawn once and then updated: everything that depends on data is a frame.

A frame holds the columns of every data source and the properties (a range, a label) that go with them. The explorer
applies frames from Python, a report from JavaScript; both show the same figure.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from bokeh.model import Model
from bokeh.models import (
    Axis,
    ColumnDataSource,
    CustomAction,
    CustomJS,
    FixedTicker,
    LayoutDOM,
    Legend,
    LegendItem,
    Range1d,
)
from bokeh.plotting import figure

from modecomb_viz.figures.looks import FONT, HEIGHT, shortened
from modecomb_viz.figures.scales import position_label, position_ticks

__all__ = [
    "TALLEST_BESIDE",
    "Figure",
    "Frame",
    "Panels",
    "Property",
    "add_legend",
    "axis_properties",
    "check_shown",
    "make_figure",
    "make_rows",
    "padded_range",
    "range_properties",
    "row_properties",
    "rows_height",
]


class Property(NamedTuple):
    """A property of a Bokeh model and its value."""

    model: Model
    name: str
    value: Any


class Frame(NamedTuple):
    """What a figure shows: columns per source, and properties."""

    columns: dict[str, dict[str, Any]]
    properties: tuple[Property, ...]


class Figure:
    """Base of the figures.

    Attributes:
        figure: the Bokeh figure; never replaced.
        sources: the data sources by name.
    """

    figure: figure
    sources: dict[str, ColumnDataSource]

    @property
    def panels(self) -> list[LayoutDOM]:
        """What is laid out side by side where there is space."""
        return [self.figure]

    def frame(self, *args: Any, **options: Any) -> Frame:
        """The frame that shows the given results; changes nothing."""
        raise NotImplementedError

    def update(self, *args: Any, **options: Any):
        """Show results: one assignment per source, and only the properties that change."""
        self.apply(self.frame(*args, **options))

    def apply(self, frame: Frame):
        """Show a frame. A property is set when it differs from the last frame, so refinement keeps a reader's zoom."""
        for model, name, value in frame.properties:
            key = model.id, name
            if key not in self._shown or self._shown[key] != value:
                self._shown[key] = value
                setattr(model, name, value)
        for name, columns in frame.columns.items():
            self.sources[name].data = columns

    @cached_property
    def _shown(self) -> dict[tuple[str, str], Any]:
        """The values of the last frame, by model and property."""
        return {}


class Panels(Figure):
    """Several figures of one result, shown side by side.

    Attributes:
        parts: the figures by name; a source of one is called ``part.source``.
    """

    def __init__(self, **parts: Figure):
        self.parts = parts
        self.sources = {f"{name}.{key}": source for name, part in parts.items() for key, source in part.sources.items()}

    @property
    def panels(self) -> list[LayoutDOM]:
        """Those of all parts."""
        return [panel for part in self.parts.values() for panel in part.panels]

    def frame(self, dataset: xr.Dataset, **options: Any) -> Frame:
        """The frames of all parts, each given the same options."""
        frames = {name: part.frame(dataset, **options) for name, part in self.parts.items()}
        columns = {f"{name}.{key}": values for name, frame in frames.items() for key, values in frame.columns.items()}
        return Frame(columns, tuple(shown for frame in frames.values() for shown in frame.properties))


def check_shown(dataset: xr.Dataset, quantity: str, split: str, *, strength: bool = False):
    """ValueError unless the dataset has the quantity and the split, and one strength where one is drawn."""
    if quantity not in ("loss", "accuracy"):
        raise ValueError(f"quantity must be 'loss' or 'accuracy', got {quantity!r}.")
    if split not in dataset.split.values:
        raise ValueError(f"split must be one of {', '.join(map(str, dataset.split.values))}, got {split!r}.")
    if "strength" in dataset[quantity].dims and not strength:
        raise ValueError(
            f"a figure shows one strength, the dataset has {dataset.sizes['strength']}: "
            f"{', '.join(f'{s:g}' for s in dataset.strength.values)}. Choose one: dataset.sel(strength=…, drop=True)."
        )


def make_figure(height: int = HEIGHT, **options: Any) -> figure:
    """A Bokeh figure with the common looks and fixed ranges: no logo, a quiet grid, fonts that can be read."""
    made = figure(
        height=height,
        sizing_mode="stretch_width",
        tools="pan,wheel_zoom,box_zoom,reset",
        x_range=Range1d(0, 1),
        y_range=Range1d(0, 1),
        min_border=6,
        title=" ",
        **options,
    )
    made.add_tools(
        CustomAction(icon="save", description="Save as PNG", callback=_saved(made, "png")),
        CustomAction(icon=_SVG_ICON, description="Save as SVG", callback=_saved(made, "svg")),
    )
    made.toolbar.logo = None
    made.toolbar.autohide = True
    made.title.text_font_style, made.title.text_font_size = "normal", "12px"
    made.grid.grid_line_color = "#e8e8e8"
    made.outline_line_color = "#cccccc"
    made.background_fill_alpha = made.border_fill_alpha = 0
    for name, value in FONT.items():
        setattr(made.axis, name, value)
    return made


#: The letters SVG in a grey that is read on a light and on a dark page.
_SVG_ICON = (
    "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg' width='24' height='24'>"
    "<text x='12' y='16' font-family='sans-serif' font-size='10' text-anchor='middle' fill='rgb(110,110,110)'>"
    "SVG</text></svg>"
)

#: The figure as it stands, on the ground of its page, as a file; pixels are a third as large as those of the screen.
_SAVE = """
const solid = (color) => !/^(transparent|rgba[(].*, 0[)])$/.test(color)
const view = Bokeh.index.find_one(plot)
let ground = "white"
for (let part = view.el; part; part = part.parentElement ?? part.getRootNode().host) {
  const color = getComputedStyle(part).backgroundColor
  if (solid(color)) { ground = color; break }
}
const drawn = view.export("svg", false).ctx.get_serialized_svg(true)
const svg = drawn.replace(/<svg [^>]*>/, (head) => `${head}<rect width="100%" height="100%" fill="${ground}"/>`)
const save = (blob) => {
  const link = document.createElement("a")
  link.href = URL.createObjectURL(blob)
  link.download = `modecomb.${kind}`
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10000)
}
if (kind === "svg") { save(new Blob([svg], {type: "image/svg+xml"})); return }
const image = new Image(), canvas = document.createElement("canvas")
image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`
image.decode().then(() => {
  canvas.width = 3 * image.width
  canvas.height = 3 * image.height
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height)
  canvas.toBlob(save, "image/png")
})
"""


def _saved(plot: figure, kind: str) -> CustomJS:
    return CustomJS(args={"plot": plot, "kind": kind}, code=_SAVE)


def make_rows(height: int, width: int) -> tuple[figure, figure]:
    """Two figures that share an axis of rows (see :func:`row_properties`); the left one tells the names of the rows.

    Args:
        height: of both, in pixels.
        width: of the right one, in pixels; the left one takes what is left.
    """
    left, right = make_figure(height), make_figure(height, width=width)
    right.update(sizing_mode="fixed", y_range=left.y_range)
    right.yaxis.visible = False
    for made in (left, right):
        made.yaxis.update(ticker=FixedTicker(ticks=[]), minor_tick_line_color=None)
        made.ygrid.ticker = made.yaxis[0].ticker
    return left, right


def row_properties(figures: Sequence[figure], names: Sequence[str], least: int) -> list[Property]:
    """One row per name in all figures, from the top; ``least`` is the height of few rows in pixels."""
    first, labels = figures[0], {-i: shortened(name, 24) for i, name in enumerate(names)}
    return [
        *range_properties(first.y_range, 0.4 - len(names), 0.6),
        *(Property(made.yaxis[0].ticker, "ticks", list(labels)) for made in figures),
        Property(first.yaxis[0], "major_label_overrides", labels),
        *(Property(made, "height", rows_height(least, len(names))) for made in figures),
    ]


#: Pixels; a figure beside the rows of many names.
TALLEST_BESIDE = 560


def rows_height(least: int, rows: int) -> int:
    """Pixels that so many rows need."""
    return min(max(least, 120 + 18 * rows), 2400)


def axis_properties(axis: Axis, within: tuple[float, float], quantity: str, split: str) -> list[Property]:
    """Labels of an axis of positions (see :mod:`.scales`) between two of them."""
    marks = position_ticks(*within, quantity)
    return [
        Property(axis.ticker, "ticks", list(marks)),
        Property(axis, "major_label_overrides", marks),
        Property(axis, "axis_label", position_label(quantity, split)),
    ]


def range_properties(view: Range1d, low: float, high: float) -> list[Property]:
    """A range, and what Reset goes back to."""
    ends = {"start": low, "reset_start": low, "end": high, "reset_end": high}
    return [Property(view, name, value) for name, value in ends.items()]


def padded_range(values: list[np.ndarray], padding: float = 0.06) -> tuple[float, float]:
    """A range that holds all finite values, with some space around them; (0, 1) where there are none."""
    together = np.concatenate([np.ravel(part) for part in values]) if values else np.empty(0)
    finite = together[np.isfinite(together)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    space = padding * (high - low) or 0.01 * max(abs(high), 1e-3)
    return low - space, high + space


def add_legend(to: figure, items: list[LegendItem], **options: Any):
    """A legend above the figure, in rows."""
    legend = Legend(
        items=items, orientation="horizontal", border_line_color=None, padding=0, margin=4, spacing=12,
        label_text_font_size="12px", **options,
    )  # fmt: skip
    to.add_layout(legend, "above")
