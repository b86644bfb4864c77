"""Looks, defined once: palettes, colours, labels with units, formats, sizes."""

import numpy as np
import xarray as xr
from bokeh.palettes import Blues256, Cividis256, RdBu11, Viridis256, interp_palette

__all__ = [
    "COLORS",
    "CONFUSION",
    "CURVES",
    "DIVERGING",
    "FONT",
    "HEIGHT",
    "HIGHLIGHTS",
    "NAN_COLOR",
    "PALETTES",
    "ROUTES",
    "UNITS",
    "axis_label",
    "even_ticks",
    "interval",
    "lost_text",
    "number",
    "quantity_label",
    "shortened",
    "signed",
    "spread",
    "ticks",
]

#: Sequential palettes, both fit for colour-blind readers; in either, yellow is large.
PALETTES = {"loss": Viridis256, "accuracy": Cividis256}

#: Counts of labels: the darker, the more.
CONFUSION = Blues256[::-1]

#: Signed differences: blue below, red above, white for none.
DIVERGING = tuple(interp_palette(RdBu11, 256))

#: What is not a number is drawn so, and said so.
NAN_COLOR = "#bdbdbd"

#: Okabe and Ito's colours for categories; text is grey enough to be read on a light and on a dark page.
COLORS = {
    "A": "#0072B2",
    "B": "#D55E00",
    "midpoint": "#009E73",
    "naive midpoint": "#CC79A7",
    "ensemble of A and B": "#E69F00",
    "draws": "#56B4E9",
    "text": "#6e6e6e",
}

#: Colours of the few that are picked out of many.
HIGHLIGHTS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

#: Curves of a segment: colour and dash.
CURVES = {"naive": ("#CC79A7", "dashed"), "aligned": ("#009E73", "solid"), "perturbed": ("#E69F00", "solid")}

#: Kinds of routes between two networks: colour and marker.
ROUTES = {
    "naive": ("#CC79A7", "circle"),
    "direct": ("#009E73", "square"),
    "universe": ("#E69F00", "triangle"),
    "through": ("#0072B2", "hex"),
}

FONT = {
    "axis_label_text_font_style": "normal",
    "axis_label_text_font_size": "13px",
    "major_label_text_font_size": "12px",
}

#: Height of every figure in pixels: a figure without one collapses.
HEIGHT = 340

UNITS = {"loss": "nats per example", "accuracy": "fraction"}


def quantity_label(quantity: str, split: str) -> str:
    """For instance ``test loss [nats per example]``; the loss is the cross-entropy."""
    return f"{split} {quantity} [{UNITS[quantity]}]"


def axis_label(coordinate: xr.DataArray) -> str:
    """Long name and units of a coordinate."""
    units = coordinate.attrs["units"]
    return coordinate.attrs["long_name"] + (
        f" [{units}]" if units and units not in coordinate.attrs["long_name"] else ""
    )


def number(value: float) -> str:
    """Three significant digits, never in scientific notation where a reader would not expect it.

    >>> number(0.05513), number(12.3456), number(float("nan"))
    ('0.0551', '12.3', 'not a number')
    """
    return "not a number" if np.isnan(value) else f"{value:.3g}"


def spread(middle: float, low: float, high: float) -> str:
    """A value and the bounds of its interval or its range.

    >>> spread(0.2, 0.1, 0.31)
    '0.2 (0.1 to 0.31)'
    """
    return number(middle) if np.isnan([low, high]).any() else f"{number(middle)} ({number(low)} to {number(high)})"


def signed(value: float) -> str:
    """Three significant digits of a change, with its sign.

    >>> signed(0.0167), signed(-0.5), signed(0.0)
    ('+0.0167', '−0.5', '0')
    """
    return number(value) if np.isnan(value) or value == 0 else f"{value:+.3g}".replace("-", "−", 1)


def interval(low: float, high: float) -> str:
    """Two bounds as words.

    >>> interval(0.01, 0.02), interval(float("nan"), 1.0)
    ('0.01 to 0.02', 'none')
    """
    return "none" if np.isnan([low, high]).any() else f"{number(low)} to {number(high)}"


def lost_text(count: int, what: str) -> str:
    """How many are drawn as grey crosses, or not at all; empty for none.

    >>> lost_text(1, "point"), lost_text(3, "step"), lost_text(0, "point")
    ('1 point is not finite', '3 steps are not finite', '')
    """
    return f"{count} {what}{'s are' if count > 1 else ' is'} not finite" if count else ""


def shortened(name: str, length: int = 28) -> str:
    """A name of at most so many characters: the middle goes, because names of layers differ at their ends.

    >>> shortened("features.denseblock4.denselayer16.conv2", 21)
    'featu…selayer16.conv2'
    """
    start = length // 4
    return name if len(name) <= length else f"{name[:start]}…{name[start + 1 - length :]}"


def ticks(low: float, high: float) -> list[float]:
    """Round values within [low, high], for a logarithmic axis; at most about eight.

    Of a decade and more 1, 2 and 5 times powers of ten, of many decades fewer; of less than a decade all digits, or
    equal steps where that leaves fewer than three values.

    >>> ticks(0.04, 1.2), ticks(0.04, 0.08), ticks(0.095, 0.195)
    ([0.05, 0.1, 0.2, 0.5, 1.0], [0.04, 0.05, 0.06, 0.07, 0.08], [0.1, 0.12, 0.14, 0.16, 0.18])
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for mantissas in (range(1, 10), (1, 2, 5), (1, 3), (1,)):
        found = [round(m * 10.0**k, 12) for k in decades for m in mantissas if low <= m * 10.0**k <= high]
        if len(found) <= 8:
            break
    if len(found) >= 3:
        return found
    return even_ticks(low, high)


def even_ticks(low: float, high: float) -> list[float]:
    """Round values within [low, high] at equal steps; at most about eight.

    >>> even_ticks(0.1, 0.9), even_ticks(-3, 17)
    ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], [0.0, 5.0, 10.0, 15.0])
    """
    scale = 10.0 ** int(np.floor(np.log10((high - low) / 8)))
    step = next(m * scale for m in (1, 2, 5, 10) if (high - low) / (m * scale) <= 8)
    return [round(k * step, 12) for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]
