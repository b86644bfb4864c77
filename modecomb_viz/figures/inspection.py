"""One point of a plane: where it errs, of what it is made, and examples that it answers otherwise than its parents."""

import numpy as np
import xarray as xr
from bokeh.core.properties import value as literal
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, LegendItem, LinearColorMapper, Span

from modecomb_viz.figures.base import (
    Figure,
    Frame,
    Panels,
    Property,
    add_legend,
    check_shown,
    make_figure,
    padded_range,
    range_properties,
    row_properties,
)
from modecomb_viz.figures.looks import COLORS, CONFUSION, HEIGHT
from modecomb_viz.figures.pixels import png, png_url
from modecomb_viz.figures.words import place_template
from modecomb_viz.results import recipe

__all__ = ["InspectionFigure", "coefficient_words"]

#: Pixels of an example and of a line of words below it; how many examples stand in a row.
_SIDE, _LINE, _ACROSS = 48, 14, 5

#: Labels of which every count is written into its cell.
_WRITTEN = 20


def coefficient_words(dataset: xr.Dataset) -> str:
    """Λ of an inspected point in words: what u and v stand for on its plane, and what they are."""
    u, v = (f"{at.item():.4g}".replace("-", "−") for at in (dataset.u, dataset.v))
    found = zip(dataset.toward.values, dataset.mean_coefficient.values, strict=True)
    shares = ", ".join(f"{share:.3g} of {name}" for name, share in found)
    return f"{place_template(recipe(dataset)).format(u=u, v=v)} On average {shares}."


class InspectionFigure(Panels):
    """Confusion, coefficients of the layers, and examples on which the point and its parents differ."""

    def __init__(self, height: int = HEIGHT):
        super().__init__(confusion=_Confusion(height), layers=_Layers(height), examples=_Examples())


class _Confusion(Figure):
    """How many examples of a label (rows) are given another (columns)."""

    def __init__(self, height: int):
        self.figure = make_figure(height)
        self.figure.grid.visible = False
        self.sources = {"cells": ColumnDataSource({name: [] for name in _CELLS})}
        mapper = LinearColorMapper(palette=CONFUSION, low=0, high=1)
        cells = self.figure.rect(
            "predicted", "label", 1, 1, source=self.sources["cells"], line_color=None,
            fill_color={"field": "shade", "transform": mapper},
        )  # fmt: skip
        self.figure.text(
            "predicted", "label", "text", source=self.sources["cells"], text_align="center", text_baseline="middle",
            text_font_size="11px", text_color="ink",
        )  # fmt: skip
        tooltips = [
            ("label", "@label"),
            ("given", "@predicted"),
            ("examples", "@count"),
            ("of the label", "@share{0.0%}"),
        ]
        self.figure.add_tools(HoverTool(renderers=[cells], tooltips=tooltips))
        for axis, name in zip(self.figure.axis, ("label that the point gives", "true label"), strict=True):
            axis.axis_label, axis.ticker, axis.minor_tick_line_color = name, FixedTicker(ticks=[]), None

    def frame(self, dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> Frame:
        """Counts of one split, whatever the quantity."""
        check_shown(dataset, quantity, split)
        counts = dataset.confusion.sel(split=split).transpose("label", "predicted").values
        labels, sums = dataset.label.values, counts.sum(1, keepdims=True)
        share = np.divide(counts, sums, out=np.zeros(counts.shape), where=sums > 0)
        rows, columns = np.nonzero(counts)
        shade = np.sqrt(share[rows, columns])
        written = len(labels) <= _WRITTEN
        cells = {
            "label": labels[rows], "predicted": labels[columns], "count": counts[rows, columns],
            "share": share[rows, columns], "shade": shade,
            "text": [str(count) if written else "" for count in counts[rows, columns]],
            "ink": np.where(shade > 0.6, "white", "black").tolist(),
        }  # fmt: skip
        ends, right = (float(labels[0]) - 0.5, float(labels[-1]) + 0.5), np.trace(counts)
        ticks = labels.tolist() if written else labels[:: len(labels) // 10].tolist()
        missing = int(counts.sum()) - int(right)
        properties = (
            *range_properties(self.figure.x_range, *ends),
            *range_properties(self.figure.y_range, *ends[::-1]),
            *(Property(axis.ticker, "ticks", ticks) for axis in self.figure.axis),
            Property(self.figure.title, "text", f"{missing} of {counts.sum()} {split} examples are wrong"),
        )
        return Frame({"cells": cells}, properties)


_CELLS = ("label", "predicted", "count", "share", "shade", "text", "ink")


#: Of the bars of two networks: colour, and how far beside the middle of their row.
_BARS = ((COLORS["B"], 0.2), (COLORS["midpoint"], -0.2))


class _Layers(Figure):
    """The mean coefficient of every layer: 0 is A, 1 the network that the bar is of."""

    def __init__(self, height: int):
        self._height = height
        self.figure = make_figure(height)
        self.figure.yaxis.update(ticker=FixedTicker(ticks=[]), minor_tick_line_color=None)
        self.figure.ygrid.ticker = self.figure.yaxis[0].ticker
        for at in (0, 1):
            self.figure.add_layout(Span(location=at, dimension="height", line_color="#888888", line_width=1))
        self.sources = {name: ColumnDataSource({"y": [], "share": [], "layer": []}) for name in ("π(B)", "π(C)")}
        self._items = {}
        for (name, source), (color, shift) in zip(self.sources.items(), _BARS, strict=True):
            bars = self.figure.hbar("y", right="share", height=0.35, source=source, color=color, alpha=0.85)
            self._items[name] = LegendItem(label=name, renderers=[bars]), shift
            tooltips = [("layer", "@layer"), (f"coefficient of {name}", "@share{0.000}")]
            self.figure.add_tools(HoverTool(renderers=[bars], tooltips=tooltips))
        self.figure.xaxis.axis_label = "mean coefficient of the layer: 0 is A"
        add_legend(self.figure, [item for item, _ in self._items.values()])

    def frame(self, dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> Frame:
        """Bars, whatever the quantity and the split."""
        layers, columns, properties = dataset.layer.values.tolist(), {}, []
        for name, (item, shift) in self._items.items():
            there = name in dataset.toward.values
            shares = dataset.coefficient.sel(toward=name).values if there else np.empty(0)
            moved = shift if dataset.sizes["toward"] > 1 else 0.0
            columns[name] = {
                "y": moved - np.arange(len(shares), dtype=float), "share": shares, "layer": layers[: len(shares)],
            }  # fmt: skip
            properties += [Property(item, "visible", there), Property(item, "label", literal(name))]
        ends = padded_range([dataset.coefficient.values.ravel(), np.array([0.0, 1.0])], 0.04)
        properties += [
            *row_properties([self.figure], layers, self._height),
            *range_properties(self.figure.x_range, *ends),
        ]
        return Frame(columns, tuple(properties))


class _Examples(Figure):
    """Examples on which the point and its parents differ, as images where they are images."""

    def __init__(self):
        self.figure = make_figure()
        self.figure.axis.visible = self.figure.grid.visible = False
        self.figure.outline_line_color = None
        self.figure.toolbar_location = None
        self.figure.tools = []
        self.sources = {"examples": ColumnDataSource({name: [] for name in ("x", "y", "url", "words")})}
        source = self.sources["examples"]
        self.figure.image_url(
            "url", "x", "y", w=_SIDE, h=_SIDE, w_units="screen", h_units="screen", anchor="top_center", source=source
        )
        self.figure.text(
            "x", "y", "words", source=source, y_offset=_SIDE + 4, text_align="center", text_baseline="top",
            text_font_size="11px", text_color=COLORS["text"],
        )  # fmt: skip

    def frame(self, dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test") -> Frame:
        """Examples of one split, whatever the quantity."""
        here = dataset.sel(split=split)
        count = int((here.example >= 0).sum())
        networks = [str(name) for name in dataset.model.values]
        labels = here.prediction.transpose("shown", "model").values[:count].tolist()
        true, places = here.true_label.values[:count].tolist(), np.arange(count)
        columns = {
            "x": 0.5 + places % _ACROSS, "y": -(places // _ACROSS).astype(float),
            "url": [_url(image) for image in here.image.values[:count]] if "image" in here else [""] * count,
            "words": [_example_words(is_, row, networks) for is_, row in zip(true, labels, strict=True)],
        }  # fmt: skip
        rows = max(1, -(-count // _ACROSS))
        properties = (
            *range_properties(self.figure.x_range, 0, _ACROSS),
            *range_properties(self.figure.y_range, -rows, 0),
            Property(self.figure, "height", rows * (_SIDE + _LINE * len(networks) + 10) + 40),
            Property(self.figure.title, "text", _examples_title(here, count, split)),
        )
        return Frame({"examples": columns}, properties)


def _label(value: int) -> str:
    return "none" if value < 0 else str(value)


def _example_words(true: int, labels: list[int], networks: list[str]) -> str:
    """What an example is, what the point says, what its parents say."""
    *parents, point = map(_label, labels)
    said = [f"{name} {label}" for name, label in zip(networks, parents, strict=False)]
    return "\n".join([f"is {true}, here {point}", " · ".join(said[:2]), *said[2:]])


def _examples_title(here: xr.Dataset, count: int, split: str) -> str:
    if not here.differing:
        return f"every {split} example is answered as by the parents"
    shown = f"{here.differing.item()} {split} examples are answered otherwise"
    return f"{shown}; {count} of them:" if "image" in here else f"{shown} (they are no images):"


def _url(image: np.ndarray) -> str:
    """An image ``[channel, row, column]`` in [0, 1] as PNG in a data URL, its pixels sharp at the size drawn."""
    pixels = np.round(255 * np.moveaxis(image, 0, -1)).astype(np.uint8)
    times = -(-2 * _SIDE // max(pixels.shape[:2]))
    large = pixels.repeat(times, 0).repeat(times, 1)
    return png_url(png(large[..., 0] if large.shape[-1] == 1 else large))
