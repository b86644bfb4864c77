"""Results as pictures: the plots of :mod:`modecomb_viz.plots` as PNG and SVG."""

import inspect
from pathlib import Path
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr
from bokeh.models import Column, GridPlot, Legend, Plot, Row, UIElement

from modecomb_viz.export.browser import drawn
from modecomb_viz.plots import PLOTS
from modecomb_viz.results import check_path, recipe, write_whole

__all__ = ["save_picture"]

#: Unless another is asked for. At another than 1, Bokeh draws the marks of legends in an SVG too large.
_USUAL_SCALE = {".png": 2.0, ".svg": 1.0}

#: Bounds of the options: pixels of a PNG per pixel of the figure, and pixels of a side.
_SCALES, _SIDES = (0.25, 8.0), (100, 8000)

#: Sweeps whose plot shows all strengths at once.
_SHOW_STRENGTHS = ("perturbation",)

#: Pixels in which a legend of two columns fits.
_LEGEND_WIDTH = 480


def save_picture(
    dataset: xr.Dataset,
    path: str | Path,
    *,
    quantity: str | None = None,
    split: str = "test",
    strength: float | None = None,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    **options: Any,
) -> Path:
    """Write the plot of a result as PNG or SVG, and return the path. Chromium or Chrome draws it; none is started here:

    >>> import modecomb_viz as mc
    >>> mc.save_picture(mc.sweep_segment(mc.open_modes("digits-mlp"), points=3), "segment.pdf")
    Traceback (most recent call last):
    ...
    ValueError: a picture is written to .png or .svg, got 'segment.pdf'. Choose one of these endings.

    Args:
        path: ends in ``.png`` or ``.svg``; the text of an SVG stays text.
        quantity: "loss" or "accuracy"; by default what the plot of the sweep shows by default.
        split: "test" or "train".
        strength: which, of a result with many strengths.
        scale: pixels of a PNG per pixel of the figure, 0.25 to 8; by default 2.
        width, height: of the figure, 100 to 8,000 pixels; by default those of the plot. Not for plots of several
            figures (layers, transitivity, similarity).
        **options: of the plot, such as ``statistic="share"`` for laws.

    Tables that a plot has beside its figures are left out; :func:`~modecomb_viz.save_table` writes them.

    Raises:
        ValueError: for another ending, a folder that cannot be written, a sweep without a plot, a strength or an option
            that is not there, a number out of its bounds, or when no Chromium draws it.
    """
    path = Path(path)
    if path.suffix not in _USUAL_SCALE:
        raise ValueError(
            f"a picture is written to {' or '.join(_USUAL_SCALE)}, got '{path}'. Choose one of these endings."
        )
    if path.suffix == ".svg" and scale is not None:
        raise ValueError(f"scale is for .png, got {scale:g} for '{path}'. An SVG is sharp at any size: leave it out.")
    _check_bounds("scale", scale, _SCALES)
    for name, side in (("width", width), ("height", height)):
        _check_bounds(name, side, _SIDES)
    check_path(path, path.suffix)
    given = {"split": split, **({} if quantity is None else {"quantity": quantity}), **options}
    root = _root(_at_strength(dataset, strength), given)
    _resize(root, width, height)
    content = drawn(root, path.suffix[1:], scale or _USUAL_SCALE[path.suffix])
    return write_whole(path, lambda file: file.write_bytes(content))


def _check_bounds(name: str, value: float | None, bounds: tuple[float, float]):
    low, high = bounds
    if value is not None and not low <= value <= high:
        raise ValueError(f"{name} must be {low:g} to {high:,g}, got {value:g}.")


def _at_strength(dataset: xr.Dataset, strength: float | None) -> xr.Dataset:
    """The result at one strength, as if it had been computed at that one alone."""
    settings = recipe(dataset)
    if "strength" not in dataset.dims or settings["sweep"] in _SHOW_STRENGTHS:
        if strength is not None:
            raise ValueError(f"strength={strength:g} is for a result with many strengths to choose from; leave it out.")
        return dataset
    known = dataset.strength.values
    choice = f"choose one of {', '.join(f'{s:g}' for s in known)}"
    if strength is None:
        raise ValueError(f"the result has {len(known)} strengths, and a picture shows one: {choice} with strength.")
    (found,) = np.nonzero(np.isclose(known, strength))
    if not len(found):
        raise ValueError(f"there is no strength {strength:g} in the result: {choice}.")
    return dataset.isel(strength=found[0])


def _root(dataset: xr.Dataset, options: dict[str, Any]) -> UIElement:
    """The Bokeh figure, or layout of figures, of the plot; without toolbars."""
    sweep = recipe(dataset)["sweep"]
    if sweep not in PLOTS:
        raise ValueError(f"there is no plot of sweep_{sweep}; there are plots of {', '.join(PLOTS)}.")
    plot = PLOTS[sweep]
    known = [name for name in inspect.signature(plot).parameters if name != "dataset"]
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"plot_{sweep} has no option {', '.join(unknown)}; its options are {', '.join(known)}.")
    return _tidied(_figures_alone(hv.render(plot(dataset, **options), backend="bokeh")))


def _tidied(root: UIElement) -> UIElement:
    """The same without toolbars, and with legends that stay beside the frames: their margin shifts them into these."""
    for figure in (root, *_figures(root)):
        if hasattr(figure, "toolbar_location"):
            figure.toolbar_location = None
    for legend in root.select({"type": Legend}):
        if isinstance(legend.location, tuple):
            legend.margin = 0
    return root


def _figures_alone(root: UIElement) -> UIElement:
    """The same without tables; a grid that had one becomes a row of figures, each with room for its own legend."""
    if not isinstance(root, GridPlot):
        return root
    parts = [part for part, *_ in root.children]
    figures = [part for part in parts if isinstance(part, Plot)]
    if len(figures) == len(parts):
        return root
    for figure in figures:
        figure.width = max(figure.width, _LEGEND_WIDTH)
    # Bokeh aligns the frames of figures in a row, but not across columns.
    return Row(children=[Column(children=[figure]) for figure in figures])


def _figures(root: UIElement) -> list[Plot]:
    return list(root.select({"type": Plot}))


def _resize(root: UIElement, width: int | None, height: int | None):
    """Give a figure another size."""
    wanted = {name: side for name, side in (("width", width), ("height", height)) if side is not None}
    if wanted and not isinstance(root, Plot):
        raise ValueError(
            f"{' and '.join(wanted)} cannot be given: this plot has {len(_figures(root))} figures that fit each other. "
            "Choose a scale for a PNG; an SVG is sharp at any size."
        )
    root.update(**wanted)
