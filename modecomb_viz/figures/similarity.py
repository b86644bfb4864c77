"""How different combinations are: from their parents, from each other, and what their ensemble is worth."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from bokeh.core.properties import value as literal
from bokeh.models import BasicTicker, ColumnDataSource, CustomJS, HoverTool, LegendItem

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
)
from modecomb_viz.figures.looks import COLORS, HEIGHT, number, quantity_label, shortened
from modecomb_viz.statistics import embedding, is_draw

__all__ = [
    "ENSEMBLE",
    "NAMED",
    "SimilarityFigure",
    "compared",
    "ensemble_references",
    "measure_label",
    "networks_of",
    "possible_region",
    "square_view",
    "turned",
]

#: The name of the mean of the logits of A and B.
ENSEMBLE = "ensemble of A and B"

#: Networks with a colour of their own, and how the figures call them: colour, marker.
NAMED = {
    "A": (COLORS["A"], "circle"),
    "B": (COLORS["B"], "circle"),
    "midpoint": (COLORS["midpoint"], "square"),
    ENSEMBLE: (COLORS[ENSEMBLE], "triangle"),
}

_FUNCTION = ("disagreement", "disagreement_share", "jensen_shannon", "error_overlap", "cka")
_WEIGHTS = ("weight_distance", "weight_cosine", "weight_angle")


def _first(dataset: xr.Dataset, name: str) -> int:
    """The place of a network that every result holds."""
    return dataset.model.values.tolist().index(name)


def networks_of(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """Places of the draws, of the networks with a colour of their own, and of the others."""
    draws, named = np.flatnonzero(is_draw(dataset)), np.array([_first(dataset, name) for name in NAMED])
    others = np.setdiff1d(np.arange(dataset.sizes["model"]), [*draws, *named])
    return {"draws": draws, "named": named, "others": others}


def compared(dataset: xr.Dataset, split: str) -> pd.DataFrame:
    """Every measure between groups of networks: ``measure, networks, mean, lowest, highest, pairs``.

    What a group cannot have has no row: the weights of an ensemble, an angle at A of A itself. NaN else stays.
    """
    a, rows = _first(dataset, "A"), []
    for measure in (*_FUNCTION, *_WEIGHTS):
        table = dataset[measure]
        table = table.sel(split=split).values if "split" in table.dims else table.values
        for name, (first, second) in _groups(dataset).items():
            has = np.full(len(first), not (name.startswith("ensemble") and np.isnan(table[first, second]).all()))
            if measure == "weight_angle":
                has &= (first != a) & (second != a)
            if has.any():
                values = table[first, second][has]
                rows.append((measure, name, values.mean(), values.min(), values.max(), len(values)))
    return pd.DataFrame(rows, columns=["measure", "networks", "mean", "lowest", "highest", "pairs"])


def _groups(dataset: xr.Dataset) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pairs of networks by what they are, as places of the first and of the second."""
    draws, (a, b, middle, ensemble), others = networks_of(dataset).values()
    apart = np.array([a, b, *others])
    i, j = np.triu_indices(len(apart), 1)
    k, l = np.triu_indices(len(draws), 1)  # noqa: E741 (k and l are indices)
    groups = {
        "trained apart": (apart[i], apart[j]),
        "draws – A": (draws, np.full(len(draws), a)),
        "draws – B": (draws, np.full(len(draws), b)),
        "draws – draws": (draws[k], draws[l]),
        "midpoint – A, B": (np.array([middle] * 2), np.array([a, b])),
        "ensemble – A, B": (np.array([ensemble] * 2), np.array([a, b])),
    }
    return {name: group for name, group in groups.items() if len(group[0])}


def possible_region(accuracy_of_a: float, low: float, high: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Accuracies in [low, high], with the least and the most disagreement with A that the two error rates allow."""
    accuracy = np.clip(np.linspace(low, high, 101), 0, 1)
    e, f = 1 - accuracy_of_a, 1 - accuracy
    return accuracy, np.abs(e - f), np.minimum(1.0, e + f)


def turned(dataset: xr.Dataset, measure: str, split: str) -> tuple[np.ndarray, np.ndarray, float]:
    """The embedding turned so that A is left of B on a level line, and the share of squared distances it shows.

    An embedding is free to turn and to flip; so splits and results can be compared. The first other network is above.
    """
    places = embedding(dataset, measure=measure).sel(split=split)
    points = places.x.values + 1j * places.y.values
    way = points[_first(dataset, "B")] - points[_first(dataset, "A")]
    if np.isfinite(way) and way:
        points = points * np.conj(way) / abs(way)
    others = networks_of(dataset)["others"]
    if len(others) and points[others[0]].imag < points[_first(dataset, "A")].imag:
        points = np.conj(points)
    return points.real, points.imag, places.explained.item()


def square_view(x: np.ndarray, y: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ranges of one length for both axes, so that distances are true in a square figure."""
    ends = padded_range([x], 0.1), padded_range([y], 0.1)
    half = max(high - low for low, high in ends) / 2
    across, up = (((low + high) / 2 - half, (low + high) / 2 + half) for low, high in ends)
    return across, up


class SimilarityFigure(Panels):
    """Three panels: diversity against accuracy, the networks as points of a plane, ensembles of draws.

    ``frame`` takes ``measure``: "disagreement" (the default), "disagreement_share" or "jensen_shannon".
    """

    def __init__(self, height: int = HEIGHT):
        plane, places = _Plane(height + 60), _Places(height)
        super().__init__(plane=plane, places=places, ensemble=_Ensemble(height + 60))
        follow = CustomJS(args={"plane": plane.figure, "places": places.figure}, code=_AS_LARGE)
        for side in ("inner_width", "inner_height"):
            plane.figure.js_on_change(side, follow)


#: A square frame beside another: as large as fits into that one.
_AS_LARGE = """
const side = Math.min(plane.inner_width, plane.inner_height)
if (side > 0) places.setv({frame_width: side, frame_height: side})
"""


class _Networks(Figure):
    """Networks as marks: draws small, those with a name in their colours, other networks with their names beside."""

    def __init__(self, made: Any):
        self.figure = made
        self.sources = {
            "draws": ColumnDataSource({name: [] for name in _COLUMNS}),
            "named": ColumnDataSource({name: [] for name in _COLUMNS}),
            "others": ColumnDataSource({name: [] for name in _COLUMNS}),
        }

    def _draw(self, tooltips: list[tuple[str, str]]):
        sources = self.sources
        draws = self.figure.scatter(
            "x", "y", source=sources["draws"], size=7, color=COLORS["draws"], line_color="#1f6f9f", alpha=0.75
        )
        looks = {"size": 12, "line_color": "white", "marker": "marker"}
        others = self.figure.scatter("x", "y", source=sources["others"], color=COLORS["text"], **looks)
        named = self.figure.scatter("x", "y", source=sources["named"], color="color", **looks)
        self.figure.text(
            "x", "y", "label", source=sources["others"], x_offset=9, text_baseline="middle", text_font_size="12px",
            text_color=COLORS["text"], background_fill_color="white", background_fill_alpha=0.7,
        )  # fmt: skip
        self.figure.add_tools(HoverTool(renderers=[draws, others, named], tooltips=tooltips))
        return draws, others

    def _columns(self, dataset: xr.Dataset, x: np.ndarray, y: np.ndarray, accuracy: np.ndarray) -> dict[str, Any]:
        names, chosen = dataset.model.values.tolist(), networks_of(dataset)
        return {
            source: {
                "x": x[at], "y": y[at], "accuracy": accuracy[at], "name": [names[i] for i in at],
                "label": [shortened(names[i], 18) for i in at],
                "color": [NAMED.get(names[i], (COLORS["text"],))[0] for i in at],
                "marker": [NAMED[names[i]][1] if source == "named" else "circle" for i in at],
            }
            for source, at in chosen.items()
        }  # fmt: skip


_COLUMNS = ("x", "y", "accuracy", "name", "label", "color", "marker")


class _Plane(_Networks):
    """How far every network is from A, against how good it is; in grey where the error rates allow a network."""

    def __init__(self, height: int):
        super().__init__(make_figure(height))
        self.sources["possible"] = ColumnDataSource({"y": [], "left": [], "right": []})
        self.figure.harea("left", "right", "y", source=self.sources["possible"], fill_color="#ececec")
        draws, others = self._draw(
            [("network", "@name"), ("from A", "@x{0.0000}"), ("value", "@y{0.0000}"), ("accuracy", "@accuracy{0.0%}")]
        )
        items = [LegendItem(label="draws", renderers=[draws])]
        for name, (color, marker) in NAMED.items():
            glyph = self.figure.scatter([0], [0], marker=marker, color=color, size=10, visible=False)
            items.append(LegendItem(label=name, renderers=[glyph]))
        items.append(LegendItem(label="other networks", renderers=[others]))
        add_legend(self.figure, items, ncols=3)

    def frame(
        self, dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test", measure: str = "disagreement"
    ) -> Frame:
        """Marks, the possible region and axes of a similarity result."""
        check_shown(dataset, quantity, split)
        here, a = dataset.sel(split=split), _first(dataset, "A")
        x, y = here[measure].values[:, a], here[quantity].values
        (left, right), (low, high) = padded_range([x]), padded_range([y])
        columns = self._columns(dataset, x, y, here.accuracy.values)
        drawn = measure == "disagreement" and quantity == "accuracy"
        region = possible_region(here.accuracy.values[a], low, high) if drawn else ([], [], [])
        columns["possible"] = dict(zip(("y", "left", "right"), region, strict=True))
        lost = int((~np.isfinite(x) | ~np.isfinite(y)).sum())
        notes = ["grey: what the error rates allow"] * drawn + [f"{lost} networks have no number"] * bool(lost)
        properties = (
            *range_properties(self.figure.x_range, left, right),
            *range_properties(self.figure.y_range, low, high),
            Property(self.figure.xaxis[0], "axis_label", f"{measure_label(dataset, measure)}, from A"),
            Property(self.figure.yaxis[0], "axis_label", quantity_label(quantity, split)),
            Property(self.figure.title, "text", " · ".join(notes) or " "),
        )
        return Frame(columns, properties)


def measure_label(dataset: xr.Dataset, measure: str) -> str:
    return (
        f"{measure.replace('_', ' ').replace('jensen shannon', 'Jensen–Shannon')} [{dataset[measure].attrs['units']}]"
    )


class _Places(_Networks):
    """The networks as points whose distances are close to the measure; one scale for both axes."""

    def __init__(self, height: int):
        made = make_figure(height)
        made.update(sizing_mode=None, frame_width=height - 80, frame_height=height - 80, width=None, height=None)
        super().__init__(made)
        self._draw([("network", "@name"), ("accuracy", "@accuracy{0.0%}")])

    def frame(
        self, dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test", measure: str = "disagreement"
    ) -> Frame:
        """Places and axes of a similarity result; ``quantity`` changes nothing."""
        check_shown(dataset, quantity, split)
        x, y, explained = turned(dataset, measure, split)
        lost = int((~np.isfinite(x)).sum())
        across, up = square_view(x, y)
        properties = [*range_properties(self.figure.x_range, *across), *range_properties(self.figure.y_range, *up)]
        note = f"shows {explained:.0%} of the squared distances" + f"; {lost} have no number" * bool(lost)
        properties += [
            Property(self.figure.xaxis[0], "axis_label", f"distance: {split} {measure_label(dataset, measure)}"),
            Property(self.figure.yaxis[0], "axis_label", "second direction, same scale"),
            Property(self.figure.title, "text", note),
        ]
        return Frame(self._columns(dataset, x, y, dataset.accuracy.sel(split=split).values), tuple(properties))


class _Ensemble(Figure):
    """Loss or accuracy of the mean of the logits of the first k draws, beside the networks and the mean draw."""

    def __init__(self, height: int):
        self.figure = make_figure(height)
        self.figure.xaxis.ticker = BasicTicker(min_interval=1, num_minor_ticks=0)
        self.sources = {
            "curve": ColumnDataSource({"k": [], "value": []}),
            "lines": ColumnDataSource({"y": [], "left": [], "right": [], "color": [], "dash": []}),
        }
        self.figure.segment(
            "left", "y", "right", "y", source=self.sources["lines"], color="color", line_width=2, line_dash="dash"
        )
        line = self.figure.line("k", "value", source=self.sources["curve"], color=COLORS["text"], line_width=2.5)
        dots = self.figure.scatter("k", "value", source=self.sources["curve"], color=COLORS["text"], size=6)
        self.figure.add_tools(HoverTool(renderers=[dots], tooltips=[("draws", "@k"), ("value", "@value{0.0000}")]))
        self._items = {}
        for name, (color, dash) in _LINES.items():
            glyph = self.figure.line([0], [0], color=color, line_width=2, line_dash=dash, visible=False)
            self._items[name] = LegendItem(label=name, renderers=[glyph])
        items = [LegendItem(label="ensemble of k draws", renderers=[line, dots]), *self._items.values()]
        add_legend(self.figure, items, ncols=2)

    def frame(
        self, dataset: xr.Dataset, *, quantity: str = "loss", split: str = "test", measure: str = "disagreement"
    ) -> Frame:
        """Curve, lines and axes of a similarity result; ``measure`` changes nothing."""
        check_shown(dataset, quantity, split)
        here = dataset.sel(split=split)
        k, curve = here.k.values, here[f"ensemble_{quantity}"].values
        lines = dict(ensemble_references(here, quantity))
        left, right = padded_range([k], 0.03)
        columns = {
            "curve": {"k": k, "value": curve},
            "lines": {
                "y": np.array(list(lines.values())), "left": np.full(len(lines), left),
                "right": np.full(len(lines), right), "color": [_LINES[name][0] for name in lines],
                "dash": [_LINES[name][1] for name in lines],
            },
        }  # fmt: skip
        properties = (
            *(Property(self._items[name], "label", literal(f"{name} {number(y)}")) for name, y in lines.items()),
            *range_properties(self.figure.y_range, *padded_range([curve, columns["lines"]["y"]])),
            *range_properties(self.figure.x_range, left, right),
            Property(self.figure.xaxis[0], "axis_label", "k: draws whose logits are averaged"),
            Property(self.figure.yaxis[0], "axis_label", quantity_label(quantity, split)),
        )
        return Frame(columns, properties)


#: Lines beside the curve of the ensemble: colour, dash.
_LINES = {
    "A": (COLORS["A"], "solid"),
    "B": (COLORS["B"], "dashed"),
    ENSEMBLE: (COLORS[ENSEMBLE], "solid"),
    "one draw, mean": (COLORS["draws"], "solid"),
}


def ensemble_references(here: xr.Dataset, quantity: str) -> Iterator[tuple[str, float]]:
    """A, B, their ensemble, and the mean of the draws."""
    values = here[quantity].values
    for name in ("A", "B", ENSEMBLE):
        yield name, float(values[_first(here, name)])
    yield "one draw, mean", float(values[is_draw(here)].mean())
