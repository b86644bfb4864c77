"""What all plots share: their checks, their sizes, and the slider over strengths."""

from collections.abc import Callable, Sequence

import holoviews as hv
import xarray as xr

from modecomb_viz.figures.base import check_shown, rows_height
from modecomb_viz.figures.looks import axis_label, shortened
from modecomb_viz.results import recipe

__all__ = ["SIZE", "TOP_LEGEND", "WIDE", "check_plot", "load_backend", "over_strengths", "row_options"]

SIZE = {"width": 480, "height": 360}
WIDE = {"width": 640, "height": 360}

#: A legend above the frame; with a margin it would reach into it.
TOP_LEGEND = {"legend_position": "top", "legend_opts": {"margin": 0, "spacing": 12}}


def row_options(names: Sequence[str], label: str) -> dict[str, object]:
    """Options of an upright axis with one row per name, from 0 downwards by one each."""
    return {
        "yticks": [(-i, shortened(name, 24)) for i, name in enumerate(names)],
        "ylim": (0.4 - len(names), 0.6),
        "ylabel": label,
        "height": rows_height(SIZE["height"], len(names)),
    }


def load_backend():
    """Bokeh as the backend of HoloViews, unless one was loaded."""
    if not hv.extension._loaded:
        hv.extension("bokeh", logo=False)


def over_strengths(dataset: xr.Dataset, draw: Callable[[xr.Dataset], hv.core.Dimensioned]) -> hv.core.Dimensioned:
    """The drawing itself, or a HoloMap with a slider over the dimension ``strength``."""
    load_backend()
    if "strength" not in dataset.dims:
        return draw(dataset)
    frames = {strength: draw(dataset.sel(strength=strength)) for strength in dataset.strength.values.tolist()}
    return hv.HoloMap(frames, kdims=[hv.Dimension("strength", label=axis_label(dataset.strength))])


def check_plot(dataset: xr.Dataset, sweep: str, quantity: str, split: str):
    """ValueError unless the dataset comes from the sweep and has the quantity and the split."""
    made = recipe(dataset)["sweep"]
    if made != sweep:
        raise ValueError(f"plot_{sweep} draws the result of sweep_{sweep}; this dataset comes from sweep_{made}.")
    check_shown(dataset, quantity, split, strength=True)
