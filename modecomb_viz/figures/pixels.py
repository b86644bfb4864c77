"""Arrays as PNG."""

import base64
import io

import numpy as np
from bokeh.colors import RGB
from PIL import Image

from modecomb_viz.figures.looks import NAN_COLOR

__all__ = ["colored", "png", "png_url", "rgb"]


def rgb(color: str) -> tuple[int, int, int]:
    """A colour such as ``#0072B2`` as three bytes."""
    found = RGB.from_hex_string(color)
    return found.r, found.g, found.b


def colored(values: np.ndarray, palette: tuple[str, ...], low: float, high: float) -> np.ndarray:
    """Values ``[row, column]`` as colours ``[row, column, 3]``, as a map draws them, the first row above."""
    colors = np.array([rgb(color) for color in palette], dtype=np.uint8)
    places = np.clip((np.nan_to_num(values) - low) / (high - low), 0, 1) * (len(colors) - 1)
    pixels = colors[places.round().astype(int)]
    pixels[~np.isfinite(values)] = rgb(NAN_COLOR)
    return pixels


def png(pixels: np.ndarray | Image.Image) -> bytes:
    """A PNG of bytes ``[row, column]`` or ``[row, column, 3]``, or of an image."""
    held = io.BytesIO()
    (Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels).save(held, "PNG")
    return held.getvalue()


def png_url(content: bytes) -> str:
    """A PNG as an address that needs no file."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
