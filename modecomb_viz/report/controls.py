"""The controls of the page, and the frames that they choose from."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import xarray as xr
from bokeh.layouts import row
from bokeh.models import CustomJS, CustomJSTickFormatter, RadioButtonGroup, Range1d, Slider

from modecomb_viz.figures import Frame
from modecomb_viz.report.picture import Choice, Picture
from modecomb_viz.results import recipe

__all__ = ["Choices", "choices_of", "make_controls", "picture_frames"]

#: The strengths, quantities and splits that the controls offer.
Choices = tuple[list[float], list[str], list[str]]


def choices_of(datasets: Sequence[xr.Dataset]) -> Choices:
    """What the controls offer for these Datasets.

    Raises:
        ValueError: when the Datasets have no split in common or differ in their strengths.
    """
    splits = [s for s in ("test", "train") if all(s in dataset.split.values for dataset in datasets)]
    if not splits:
        raise ValueError(
            "the datasets have no split in common: "
            + "; ".join(", ".join(map(str, dataset.split.values)) for dataset in datasets)
            + ". Compute them with the same splits=…"
        )
    return _strengths(datasets), ["loss", "accuracy"], splits


def _strengths(datasets: Sequence[xr.Dataset]) -> list[float]:
    """The strengths of the slider: those of the pictures that follow it, else those of the perturbation curve."""
    follow = [d for d in datasets if "strength" in d.dims and recipe(d)["sweep"] != "perturbation"]
    shown = follow or [d for d in datasets if "strength" in d.dims][:1]
    grids = [(recipe(dataset)["sweep"], sorted(dataset.strength.values.tolist())) for dataset in shown]
    first = grids[0][1] if grids else [0.0]
    if any(grid != first for _, grid in grids):
        raise ValueError(
            "the datasets have different perturbation strengths, so no slider fits them all: "
            + "; ".join(f"{name} {', '.join(f'{s:g}' for s in grid)}" for name, grid in grids)
            + ". Compute them with the same strength=[…], or with a single one."
        )
    return first


def picture_frames(picture: Picture, choices: Choices) -> list[Frame]:
    """All frames of a picture, in the order of the choices, with axes that hold still while the strength moves."""
    strengths, quantities, splits = choices
    moved = strengths if picture.follows else strengths[:1]
    frames: dict[Choice, Frame] = {choice: picture.frame(choice) for choice in product(moved, quantities, splits)}
    for quantity, split in product(quantities, splits):
        group = [(strength, quantity, split) for strength in moved]
        frames.update(zip(group, _steady([frames[choice] for choice in group]), strict=True))
    return [frames[s if picture.follows else moved[0], q, split] for s, q, split in product(*choices)]


def _steady(frames: list[Frame]) -> list[Frame]:
    """The frames with the union of their ranges."""
    ends: dict[tuple[Any, str], float] = {}
    for frame in frames:
        for model, name, value in frame.properties:
            if isinstance(model, Range1d):
                pick = min if name.endswith("start") else max
                ends[model, name] = pick(ends.get((model, name), value), value)
    return [
        frame._replace(
            properties=tuple(p._replace(value=ends.get((p.model, p.name), p.value)) for p in frame.properties)
        )
        for frame in frames
    ]


def make_controls(pictures: Sequence[Picture], frames: Sequence[list[Frame]], choices: Choices):
    """A slider over the strengths, buttons for quantity and split, and the callback that shows the chosen frame."""
    strengths, quantities, splits = choices
    slider = Slider(
        start=0, end=max(1, len(strengths) - 1), value=0, step=1, width=420,
        format=CustomJSTickFormatter(args={"strengths": strengths}, code="return String(strengths[tick])"),
        title="Perturbation strength", disabled=len(strengths) < 2, name="strength",
    )  # fmt: skip
    quantity = RadioButtonGroup(labels=quantities, active=0, name="quantity")
    split = RadioButtonGroup(labels=splits, active=0, name="split")
    shown = [_script_frames(picture, own) for picture, own in zip(pictures, frames, strict=True)]
    callback = CustomJS(
        args={"slider": slider, "quantity": quantity, "split": split, "pictures": shown, "splits": len(splits)},
        code=_SCRIPT,
    )  # fmt: skip
    slider.js_on_change("value", callback)
    quantity.js_on_change("active", callback)
    split.js_on_change("active", callback)
    return row(slider, quantity, split, sizing_mode="stretch_width")


#: Shows one frame: replaces the data of every source and sets every property. A dict arrives as a Map.
_SCRIPT = """
const plain = (value) => value instanceof Map ? Object.fromEntries(value) : value
const k = (slider.value * 2 + quantity.active) * splits + split.active
for (const picture of pictures.map(plain)) {
  const frame = plain(picture.frames[picture.order[k]])
  picture.models.forEach((model, i) => { model[picture.names[i]] = frame.values[i] })
  const columns = plain(frame.columns)
  for (const [name, source] of Object.entries(plain(picture.sources))) { source.data = plain(columns[name]) }
}
"""


def _script_frames(picture: Picture, frames: list[Frame]) -> dict[str, Any]:
    """The frames as the script takes them; one that several choices share is there once."""
    different = list({id(frame): frame for frame in frames}.values())
    places = {id(frame): i for i, frame in enumerate(different)}
    first = frames[0]
    return {
        "sources": {name: picture.figure.sources[name] for name in first.columns},
        "models": [p.model for p in first.properties],
        "names": [p.name for p in first.properties],
        "frames": [{"values": [p.value for p in frame.properties], "columns": frame.columns} for frame in different],
        "order": [places[id(frame)] for frame in frames],
    }
