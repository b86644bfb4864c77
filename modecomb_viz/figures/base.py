"""A figure that is drawn once and then updated: everything that depends on data is a frame.

A frame holds the columns of every data source and the properties (a range, a label) that go with them. The explorer
applies frames from Python, a report from JavaScript; both show the same figure.
"""

from typing import Any, NamedTuple

from bokeh.model import Model
from bokeh.models import ColumnDataSource, Range1d
from bokeh.plotting import figure

from modecomb_viz.figures.looks import FONT, HEIGHT

__all__ = ["Figure", "Frame", "Property", "make_figure", "range_properties"]


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

    def frame(self, *args: Any, **options: Any) -> Frame:
        """The frame that shows the given results; changes nothing."""
        raise NotImplementedError

    def update(self, *args: Any, **options: Any):
        """Show results: one assignment per source, and only the properties that change."""
        self.apply(self.frame(*args, **options))

    def apply(self, frame: Frame):
        """Show a frame."""
        for model, name, value in frame.properties:
            if getattr(model, name) != value:
                setattr(model, name, value)
        for name, columns in frame.columns.items():
            self.sources[name].data = columns


def make_figure(height: int = HEIGHT, **options: Any) -> figure:
    """A Bokeh figure with the common looks and fixed ranges: no logo, a quiet grid, fonts that can be read."""
    made = figure(
        height=height,
        sizing_mode="stretch_width",
        tools="pan,wheel_zoom,box_zoom,reset,save",
        x_range=Range1d(0, 1),
        y_range=Range1d(0, 1),
        min_border=6,
        title=" ",
        **options,
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


def range_properties(view: Range1d, low: float, high: float) -> list[Property]:
    """A range, and what Reset goes back to."""
    ends = {"start": low, "reset_start": low, "end": high, "reset_end": high}
    return [Property(view, name, value) for name, value in ends.items()]
