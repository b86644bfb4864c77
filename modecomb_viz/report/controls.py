"""The controls of the page, and the frames that they choose from."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import xarray as xr
from bokeh.models import CustomJS, CustomJSTickFormatter, LayoutDOM, RadioButtonGroup, Range1d, Slider

from modecomb_viz.figures import Frame
from modecomb_viz.report.picture import Choice, Picture
from modecomb_viz.results import recipe

__all__ = [
    "Choices",
    "Control",
    "axes_of",
    "choices_of",
    "controls_of",
    "make_widgets",
    "moved_by",
    "picture_frames",
    "start_of",
]

#: The strengths, quantities and splits that the controls offer.
Choices = tuple[list[float], list[str], list[str]]


class Control(NamedTuple):
    """A choice that the page offers.

    Attributes:
        label: what is chosen.
        entries: in words.
        start: the place of the one that is chosen first.
        slides: whether it is a slider; else buttons.
    """

    label: str
    entries: tuple[str, ...]
    start: int = 0
    slides: bool = False


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
    grids = [(recipe(dataset)["sweep"], tuple(sorted(dataset.strength.values.tolist()))) for dataset in shown]
    first = grids[0][1] if grids else (0.0,)
    if any(grid != first for _, grid in grids):
        raise ValueError(
            "the datasets have different perturbation strengths, so no slider fits them all: "
            + "; ".join(f"{name} {', '.join(f'{s:g}' for s in grid)}" for name, grid in dict.fromkeys(grids))
            + ". Compute them with the same strength=[…], or with a single one."
        )
    return list(first)


def controls_of(pictures: Sequence[Picture], choices: Choices) -> list[Control]:
    """All controls of the page; pictures with the same laws, or the same granularities, share one."""
    found: dict[Control, None] = {}
    for picture in pictures:
        found |= dict.fromkeys(axes_of(picture, choices))
    offered = {name: None for name in _common(choices) if len(name.entries) > 1 or name.label != _STRENGTH}
    return list(offered | found)


_STRENGTH = "Perturbation strength"


def _common(choices: Choices) -> list[Control]:
    strengths, quantities, splits = choices
    return [
        Control(_STRENGTH, tuple(f"{s:g}" for s in strengths), slides=True),
        Control("quantity", tuple(quantities)),
        Control("split", tuple(splits)),
    ]


def axes_of(picture: Picture, choices: Choices) -> list[Control]:
    """The controls that move a picture, in the order of its frames."""
    (law, granularity), axes = picture.family.start, []
    if laws := picture.family.laws:
        axes.append(Control(*_law_words(recipe(picture.datasets[0])["distribution"], laws), law, slides=True))
    if picture.family.granularities:
        axes.append(Control("granularity", picture.family.granularities, granularity))
    strength, *others = _common(choices)
    return [*axes, *([strength] if picture.follows else []), *others]


def moved_by(picture: Picture) -> str:
    """What moves a picture beside quantity and split, in words."""
    law = f"{recipe(picture.datasets[0])['distribution'].capitalize()} law" if picture.family.laws else ""
    moves = {_STRENGTH.lower(): picture.follows, law: bool(law), "granularity": bool(picture.family.granularities)}
    return ", ".join(name for name, moved in moves.items() if moved)


def _law_words(distribution: str, laws: Sequence[dict[str, float]]) -> tuple[str, tuple[str, ...]]:
    """What a slider over laws is called, and its entries: the parameters that differ."""
    moved = [name for name in laws[0] if len({law[name] for law in laws}) > 1]
    if len(moved) == 1:
        return f"{distribution.capitalize()} law, {moved[0]}", tuple(f"{law[moved[0]]:g}" for law in laws)
    entries = tuple(", ".join(f"{name} {law[name]:g}" for name in moved) for law in laws)
    return f"{distribution.capitalize()} law", entries


def start_of(axes: Sequence[Control]) -> int:
    """The place of the frame that is shown first."""
    place = 0
    for axis in axes:
        place = place * len(axis.entries) + axis.start
    return place


def picture_frames(picture: Picture, choices: Choices) -> list[Frame]:
    """All frames of a picture, in the order of its axes, with ranges that hold still while law and strength move."""
    strengths, quantities, splits = choices
    moved = strengths if picture.follows else strengths[:1]
    frames: dict[tuple[int, Choice], Frame] = {
        (i, choice): member.frame(choice)
        for i, member in enumerate(picture.members)
        for choice in product(moved, quantities, splits)
    }
    for quantity, split in product(quantities, splits):
        group = [(i, (strength, quantity, split)) for i in range(len(picture.members)) for strength in moved]
        frames.update(zip(group, _steady([frames[place] for place in group]), strict=True))
    return list(frames.values())


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


def make_widgets(controls: Sequence[Control]) -> list[LayoutDOM]:
    """A slider or buttons for every control; each calls the script of the page."""
    widgets = [_widget(f"control-{i}", control) for i, control in enumerate(controls)]
    for widget in widgets:
        widget.js_on_change("value" if isinstance(widget, Slider) else "active", CustomJS(code="modecomb.show()"))
    return widgets


def _widget(name: str, control: Control) -> LayoutDOM:
    if not control.slides:
        return RadioButtonGroup(labels=list(control.entries), active=control.start, name=name)
    return Slider(
        start=0, end=max(1, len(control.entries) - 1), value=control.start, step=1, width=250, title=control.label,
        format=CustomJSTickFormatter(args={"entries": list(control.entries)}, code="return entries[tick]"),
        name=name, margin=(2, 12, 2, 12),
    )  # fmt: skip
