"""A result as a picture of a few pixels, to be recognised by."""

import numpy as np
import xarray as xr
from PIL import Image, ImageDraw

from modecomb_viz.figures.looks import COLORS, PALETTES
from modecomb_viz.figures.maps import color_range
from modecomb_viz.figures.pixels import colored, png

__all__ = ["thumbnail"]

#: Width and height in pixels.
_SIZE = (96, 64)

#: Curves that are drawn at most.
_CURVES = 40


def thumbnail(dataset: xr.Dataset, quantity: str = "loss", split: str = "test") -> bytes:
    """A PNG of the quantity: a map as it is, everything else as curves over its last dimension."""
    values = dataset[quantity].sel(split=split)
    if {"u", "v"} <= set(values.dims):
        picture = _map(values.transpose("v", "u").values, quantity)
    else:
        picture = _curves(np.atleast_2d(values.values.reshape(-1, values.shape[-1]) if values.ndim else values.values))
    return png(picture)


def _map(values: np.ndarray, quantity: str) -> Image.Image:
    pixels = colored(values[::-1], PALETTES[quantity], *color_range(values))
    return Image.fromarray(pixels).resize(_SIZE, Image.Resampling.NEAREST)


def _curves(rows: np.ndarray) -> Image.Image:
    picture = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(picture)
    finite = rows[np.isfinite(rows)]
    if not finite.size:
        return picture
    low, high = float(finite.min()), float(finite.max())
    across = np.linspace(4, _SIZE[0] - 5, rows.shape[1])
    for row in rows[:: -(-len(rows) // _CURVES)]:
        there = np.isfinite(row)
        up = _SIZE[1] - 5 - (row[there] - low) / ((high - low) or 1.0) * (_SIZE[1] - 10)
        draw.line(list(zip(across[there], up, strict=True)), fill=COLORS["A"], width=1)
    return picture
