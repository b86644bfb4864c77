"""What a report says of itself, for a gallery: title, networks, findings, a small picture as numbers."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from modecomb_viz import __version__
from modecomb_viz.figures import color_range
from modecomb_viz.figures.segments import curve_name
from modecomb_viz.report.claims import Finding
from modecomb_viz.results import recipe

__all__ = ["ELEMENT", "FORMAT", "about"]

#: The id of the script element that holds it, and what it says it is.
ELEMENT = "modecomb-report"
FORMAT = "modecomb report 1"

#: Points per side of a small map and of a small curve, and curves at most.
_SIDE, _POINTS, _MOST = 33, 33, 8


def about(title: str, datasets: Sequence[xr.Dataset], findings: Sequence[Finding], split: str) -> dict[str, Any]:
    """The description, ready for JSON."""
    return {
        "format": FORMAT,
        "title": title,
        "version": __version__,
        "modes": list(dict.fromkeys(recipe(dataset)["modes"] for dataset in datasets)),
        "sweeps": list(dict.fromkeys(recipe(dataset)["sweep"] for dataset in datasets)),
        "split": split,
        "findings": [
            {"claim": one.claim, "modes": one.modes, "verdict": one.verdict, "numbers": one.numbers} for one in findings
        ],
        "picture": _map(datasets, split) or _curves(datasets, split),
    }


def _lowest(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.isel(strength=int(dataset.strength.values.argmin())) if "strength" in dataset.dims else dataset


def _map(datasets: Sequence[xr.Dataset], split: str) -> dict[str, Any] | None:
    """The first map: shades 0 to 254 of its range over all strengths, from the top, 255 where it is no number."""
    planes = [dataset for dataset in datasets if recipe(dataset)["sweep"] == "plane"]
    if not planes:
        return None
    units = [dataset for dataset in planes if recipe(dataset)["granularity"] == "unit"]
    plane = (units or planes)[0]
    low, high = color_range(plane.loss.sel(split=split).values)
    values = _lowest(plane).loss.sel(split=split).transpose("v", "u").values[::-1]
    rows, columns = (np.linspace(0, size - 1, min(size, _SIDE)).round().astype(int) for size in values.shape)
    values = values[np.ix_(rows, columns)]
    shades = np.where(np.isfinite(values), np.clip((values - low) / (high - low), 0, 1) * 254, 255)
    data = base64.b64encode(np.nan_to_num(shades, nan=255).round().astype(np.uint8).tobytes()).decode()
    return {"kind": "map", "height": len(rows), "width": len(columns), "shades": data}


def _curves(datasets: Sequence[xr.Dataset], split: str) -> dict[str, Any] | None:
    """The losses along the segments that are numbers, as shares of the largest."""
    segments = [_lowest(dataset) for dataset in datasets if recipe(dataset)["sweep"] == "segment"]
    found = [(curve_name(one), one.loss.sel(split=split).values) for one in segments]
    curves = [(name, curve) for name, curve in found if np.isfinite(curve).all()]
    highest = max((float(curve.max()) for _, curve in curves), default=0.0)
    if highest <= 0:
        return None
    places = np.linspace(0, 1, _POINTS)
    shown = [
        {"name": name, "heights": np.interp(places, np.linspace(0, 1, len(curve)), curve / highest).round(4).tolist()}
        for name, curve in curves[:_MOST]
    ]
    return {"kind": "curves", "curves": shown}
