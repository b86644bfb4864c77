"""The loss map of a plane."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from bokeh.models import (
    BasicTicker,
    ColorBar,
    ColumnDataSource,
    HoverTool,
    LinearColorMapper,
    LogColorMapper,
    LogTicker,
    Ticker,
)
from bokeh.plotting import figure
from contourpy import contour_generator

from modecomb_viz.figures.base import Figure, Frame, Property, check_shown, make_figure, range_properties
from modecomb_viz.figures.looks import (
    HEIGHT,
    NAN_COLOR,
    PALETTES,
    axis_label,
    even_ticks,
    number,
    quantity_label,
    shortened,
    ticks,
)
from modecomb_viz.results import recipe

__all__ = [
    "MapFigure",
    "color_range",
    "draw_marks",
    "estimate_note",
    "make_color_bar",
    "mark_columns",
    "region_of",
    "seen",
]


def color_range(values: np.ndarray) -> tuple[float, float]:
    """Minimum and 98 % quantile of the finite values; (0, 1) where there are none.

    One outlier must not hide the basin: what lies above is drawn in the last colour, and the colour bar says ≥.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(np.quantile(finite, 0.98))
    return low, high if high > low else low + max(abs(low), 1.0) * 1e-3


def _errors(dataset: xr.Dataset, quantity: str, split: str) -> np.ndarray | None:
    """The standard errors of a map that is an estimate; None of one that is exact."""
    name = f"{quantity}_error"
    return dataset[name].sel(split=split).transpose("v", "u").values if name in dataset else None


def estimate_note(dataset: xr.Dataset, quantity: str, split: str) -> str:
    """What a map that is an estimate says of itself: the largest two standard errors; nothing of one that is exact.

    On the border between numbers and none the error is not known.
    """
    errors = _errors(dataset, quantity, split)
    if errors is None:
        return ""
    known, unknown = errors[np.isfinite(errors) & (errors != 0)], np.isinf(errors).sum()
    within = f" ± {number(2 * known.max())} (2 SE)" if known.size else ""
    return f"estimate{within}" + (f", unknown at {unknown}" if unknown else "")


def make_color_bar(to: figure, mapper: LinearColorMapper, ticker: Ticker) -> ColorBar:
    """A colour bar at the right of a figure; its title is left to the frames."""
    bar = ColorBar(
        color_mapper=mapper, ticker=ticker, width=14, title=" ", padding=6, title_text_font_style="normal",
        title_text_font_size="12px", major_label_text_font_size="12px",
    )  # fmt: skip
    to.add_layout(bar, "right")
    return bar


def draw_marks(to: figure, source: ColumnDataSource):
    """Named points over a map, from the columns of :func:`mark_columns`."""
    to.scatter("u", "v", source=source, size=9, fill_color="white", line_color="black", line_width=1.5)
    to.text(
        "u", "v", "text", source=source, x_offset="dx", y_offset="dy", text_align="align", text_baseline="middle",
        text_font_size="12px", text_color="white", background_fill_color="black", background_fill_alpha=0.65,
        padding=3, border_radius=3,
    )  # fmt: skip


#: Pixels of a narrow map, of a letter of a text and of what stands around it, from a text to the next above it.
_NARROW, _LETTER, _AROUND, _LINE = 300, 6.6, 15, 24


def mark_columns(
    marks: list[tuple[float, float, str]], across: tuple[float, float], up: tuple[float, float]
) -> dict[str, list[Any]]:
    """Columns of points and their texts, which stand towards the middle of the map, clear of those before them."""
    columns: dict[str, list[Any]] = {name: [] for name in _EMPTY_MARKS}
    taken: list[tuple[float, float, float]] = []
    for u, v, text in marks:
        right, below = 2 * u > sum(across), 2 * v > sum(up)
        width = (_AROUND + _LETTER * len(text)) / _NARROW * (across[1] - across[0])
        left, height = u - width if right else u, (v - up[0]) / (up[1] - up[0])
        step = 14 if below else -14
        while _meets(left, left + width, height - step / _NARROW, taken):
            step += _LINE if below else -_LINE
        taken.append((left, left + width, height - step / _NARROW))
        row = u, v, text, -9 if right else 9, step, "right" if right else "left"
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    return columns


def _meets(left: float, right: float, height: float, taken: list[tuple[float, float, float]]) -> bool:
    """Whether a text lies over one of those that are there, given by their ends and their height."""
    return any(left < end and start < right and abs(height - at) < 0.9 * _LINE / _NARROW for start, end, at in taken)


#: The space around the grid, as a share of its side.
_EDGE = 0.02


def seen(dataset: xr.Dataset) -> tuple[tuple[float, float], tuple[float, float]]:
    """The ranges of the axes of a map: the sides of the grid and some space around them."""
    across, up = ((axis.attrs["low"], axis.attrs["high"]) for axis in (dataset.u, dataset.v))
    return _widened(*across), _widened(*up)


def _widened(low: float, high: float) -> tuple[float, float]:
    return low - _EDGE * (high - low), high + _EDGE * (high - low)


def region_of(across: tuple[float, float], up: tuple[float, float]) -> tuple[float, float, float, float]:
    """The region of a plane whose map has these ranges of the axes: the inverse of :func:`seen`."""
    u_edge, v_edge = (_EDGE / (1 + 2 * _EDGE) * (high - low) for low, high in (across, up))
    return across[0] + u_edge, across[1] - u_edge, up[0] + v_edge, up[1] - v_edge


class MapFigure(Figure):
    """An image of the plane with its named points; grid points are vertices, each at the centre of its cell.

    The colour range is chosen when a request brings its first level, widened where refinement leaves it, and chosen
    anew when the map is exact. Where it is to be kept, it stays there for all later requests of the same subject: the
    same networks, split, quantity and kind of plane, with as many maps beside it.
    """

    def __init__(self, height: int = HEIGHT):
        self.figure = make_figure(height=height)
        self.figure.grid.visible = False
        empty = {"image": _EMPTY_IMAGE, "contours": _EMPTY_CONTOURS, "marks": _EMPTY_MARKS}
        self.sources = {name: ColumnDataSource(columns) for name, columns in empty.items()}
        mapper = {"palette": PALETTES["loss"], "low": 0.0, "high": 1.0, "nan_color": NAN_COLOR}
        self._linear, self._log = LinearColorMapper(**mapper), LogColorMapper(**{**mapper, "low": 0.1})
        self._tickers = {False: BasicTicker(), True: LogTicker()}
        self._draw_image()
        draw_marks(self.figure, self.sources["marks"])
        self._request, self._chosen = "", (0.0, 1.0)
        self._subject: tuple[Any, ...] = ()
        self._fitted = ""  # the request that the colours were chosen for

    def _draw_image(self):
        self._image = self.figure.image(
            "image", "x", "y", "dw", "dh", source=self.sources["image"], color_mapper=self._linear
        )
        self._bar = make_color_bar(self.figure, self._linear, self._tickers[False])
        self._hover = HoverTool(renderers=[self._image], tooltips=_TOOLTIPS)
        lines = self.figure.multi_line(
            "xs", "ys", source=self.sources["contours"], line_color="white", line_width=1.2, line_alpha=0.75
        )
        self.figure.add_tools(self._hover, HoverTool(renderers=[lines], tooltips=[("contour", "@level")]))

    def update(
        self,
        dataset: xr.Dataset,
        *,
        quantity: str = "loss",
        split: str = "test",
        log_scale: bool = False,
        keep_colors: bool = False,
        fits: int = 0,
        contours: bool = False,
        beside: Sequence[xr.Dataset] = (),
    ):
        """Show a plane. Another subject chooses the colour range anew, another recipe unless it is to be kept.

        Args:
            keep_colors: whether the range stays as it is.
            fits: how often it was asked to fit what is shown; once more chooses it anew all the same.
            beside: planes that are compared with this one: the colours cover them all.
        """
        check_shown(dataset, quantity, split)
        together = [dataset, *beside]
        request = " ".join([*sorted(one.attrs["recipe"] for one in together), quantity, split])
        lows, highs = zip(*(color_range(one[quantity].sel(split=split).values) for one in together), strict=True)
        low, high = min(lows), max(highs)
        made = recipe(dataset)
        subject = made["modes"], made["plane"], quantity, split, len(together), fits
        same = subject == self._subject
        stays = keep_colors and same and request != self._fitted
        if stays:
            low, high = self._chosen
        elif same and request == self._request and any(f"{quantity}_error" in one for one in together):
            low, high = min(low, self._chosen[0]), max(high, self._chosen[1])
        if not stays:
            self._fitted = request
        self._request, self._chosen, self._subject = request, (low, high), subject
        looks: dict[str, Any] = {"quantity": quantity, "split": split, "log_scale": log_scale, "contours": contours}
        self.apply(self.frame(dataset, colors=self._chosen, **looks))

    def frame(
        self,
        dataset: xr.Dataset,
        *,
        quantity: str = "loss",
        split: str = "test",
        log_scale: bool = False,
        contours: bool = False,
        colors: tuple[float, float] | None = None,
    ) -> Frame:
        """Image, contours, marks, ranges and colours of a plane without the dimension ``strength``."""
        check_shown(dataset, quantity, split)
        values = dataset[quantity].sel(split=split).transpose("v", "u").values
        low, high = colors or color_range(values)
        errors = _errors(dataset, quantity, split)
        logarithmic = log_scale and quantity == "loss"
        columns = {
            "image": _image_columns(dataset, values, errors),
            "contours": _contour_columns(dataset, values, low, high, logarithmic) if contours else _EMPTY_CONTOURS,
            "marks": _mark_columns(dataset, values, errors),
        }
        palette, title = self._looks(quantity, split)
        properties = (
            *self._range_properties(dataset),
            *self._color_properties(palette, low, high, logarithmic),
            Property(self._hover, "tooltips", _TOOLTIPS + [("within", "± @error{0.0000}")] * (errors is not None)),
            Property(self._bar, "title", title),
            Property(self.figure.title, "text", _notes(values, low, high, estimate_note(dataset, quantity, split))),
            Property(self.figure.xaxis[0], "axis_label", axis_label(dataset.u)),
            Property(self.figure.yaxis[0], "axis_label", axis_label(dataset.v)),
        )
        return Frame(columns, properties)

    def look_at(self, dataset: xr.Dataset):
        """Bring the axes to a map, wherever a reader has gone."""
        for model, name, value in self._range_properties(dataset):
            setattr(model, name, value)

    def _range_properties(self, dataset: xr.Dataset) -> list[Property]:
        across, up = seen(dataset)
        return [*range_properties(self.figure.x_range, *across), *range_properties(self.figure.y_range, *up)]

    def _looks(self, quantity: str, split: str) -> tuple[tuple[str, ...], str]:
        """The palette, and what stands beside the colour bar."""
        return PALETTES[quantity], quantity_label(quantity, split)

    def _color_properties(self, palette: tuple[str, ...], low: float, high: float, logarithmic: bool) -> list[Property]:
        if logarithmic:
            low = max(low, high * 1e-6)
        mapper = self._log if logarithmic else self._linear
        return [
            Property(mapper, "palette", palette),
            Property(mapper, "low", low),
            Property(mapper, "high", high),
            Property(self._image.glyph, "color_mapper", mapper),
            Property(self._bar, "color_mapper", mapper),
            Property(self._bar, "ticker", self._tickers[logarithmic]),
        ]


_TOOLTIPS = [("u", "$x{0.000}"), ("v", "$y{0.000}"), ("value", "@image{0.0000}")]
_EMPTY_IMAGE: dict[str, list[Any]] = {"image": [], "x": [], "y": [], "dw": [], "dh": []}
_EMPTY_CONTOURS: dict[str, list[Any]] = {"xs": [], "ys": [], "level": []}
_EMPTY_MARKS: dict[str, list[Any]] = {"u": [], "v": [], "text": [], "dx": [], "dy": [], "align": []}


def _cell(coordinates: np.ndarray) -> tuple[float, float]:
    """Left edge of the first cell and width of all cells, so that every grid point is the centre of its own."""
    half = (coordinates[-1] - coordinates[0]) / (len(coordinates) - 1) / 2
    return float(coordinates[0] - half), float(coordinates[-1] - coordinates[0] + 2 * half)


def _contour_columns(
    dataset: xr.Dataset, values: np.ndarray, low: float, high: float, logarithmic: bool
) -> dict[str, list[Any]]:
    """Lines of equal height at round values between two; what is no number has none around it."""
    levels = ticks(max(low, high * 1e-6), high) if logarithmic else even_ticks(low, high)
    generator = contour_generator(dataset.u.values, dataset.v.values, np.ma.masked_invalid(values))
    lines = [(number(level), line) for level in levels for line in generator.lines(level)]
    return {
        "xs": [line[:, 0] for _, line in lines],
        "ys": [line[:, 1] for _, line in lines],
        "level": [level for level, _ in lines],
    }


def _image_columns(dataset: xr.Dataset, values: np.ndarray, errors: np.ndarray | None) -> dict[str, list[Any]]:
    (x, dw), (y, dh) = _cell(dataset.u.values), _cell(dataset.v.values)
    columns = {"image": [values.astype(np.float32)], "x": [x], "y": [y], "dw": [dw], "dh": [dh]}
    if errors is not None:
        columns["error"] = [np.where(np.isfinite(errors), 2 * errors, np.nan).astype(np.float32)]
    return columns


def _mark_columns(dataset: xr.Dataset, values: np.ndarray, errors: np.ndarray | None) -> dict[str, list[Any]]:
    """Marks with the value of their grid point, where they fall on one, ≈ if estimated."""
    across, up = ((axis.attrs["low"], axis.attrs["high"]) for axis in (dataset.u, dataset.v))
    marks = []
    for name, u, v in zip(dataset.mark.values, dataset.mark_u.values, dataset.mark_v.values, strict=True):
        i, j = np.abs(dataset.v.values - v).argmin(), np.abs(dataset.u.values - u).argmin()
        on_grid = np.isclose(dataset.v.values[i], v) and np.isclose(dataset.u.values[j], u)
        about = "" if errors is None or errors[i, j] == 0 else "≈ "
        text = shortened(str(name), 20)
        marks.append((u, v, f"{text}  {about}{number(values[i, j])}" if on_grid else text))
    return mark_columns(marks, across, up)


def _notes(values: np.ndarray, low: float, high: float, estimate: str) -> str:
    """What the colours do not say: that it is an estimate, values beyond the range, values that are none."""
    notes = [estimate] * bool(estimate)
    if np.nanmin(values, initial=np.inf) < low:
        notes.append(f"first colour: ≤ {number(low)}")
    if np.nanmax(values, initial=-np.inf) > high:
        notes.append(f"last colour: ≥ {number(high)}")
    if np.isnan(values).any():
        notes.append("grey: NaN")
    return " · ".join(notes) or " "
