"""Datasets to one self-contained HTML page, with sliders that work without Python and without a network.

Every figure of :mod:`modecomb_viz.figures` is asked for its frames, one per strength, quantity and split; the page
holds them all, and one JavaScript callback shows the frame that the controls choose.
"""

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from bokeh.embed import components
from bokeh.layouts import column, row
from bokeh.models import CustomJS, CustomJSTickFormatter, Div, RadioButtonGroup, Range1d, Slider
from bokeh.resources import Resources
from jinja2 import Environment
from markupsafe import Markup

from modecomb_viz import __version__
from modecomb_viz.figures import (
    Figure,
    Frame,
    MapFigure,
    PerturbationFigure,
    Property,
    SamplesFigure,
    SegmentFigure,
    color_range,
)
from modecomb_viz.figures.looks import number
from modecomb_viz.figures.samples import axis_span
from modecomb_viz.results import check_path, recipe, save, write_whole
from modecomb_viz.results import open as open_dataset
from modecomb_viz.statistics import barriers, summary

__all__ = ["SIZE_BUDGET", "save_report"]

#: Bytes that a standard report must not exceed.
SIZE_BUDGET = 5 * 2**20

#: What one setting of the controls chooses: strength, quantity, split.
Choice = tuple[float, str, str]


@dataclass
class Picture:
    """A figure of the report, the Datasets it shows, and how to frame a choice of them."""

    name: str
    heading: str
    sentence: str
    figure: Figure
    datasets: list[xr.Dataset]

    def __post_init__(self):
        self.numbers = Div(text=" ", sizing_mode="stretch_width", styles={"font-size": "13px"})

    def frame(self, choice: Choice) -> Frame:
        """Columns and properties for one choice, the line of numbers included."""
        raise NotImplementedError


def _at(dataset: xr.Dataset, strength: float) -> xr.Dataset:
    """The Dataset at one strength; one that was computed at a single strength is shown at all of them."""
    return dataset.sel(strength=strength, method="nearest", drop=True) if "strength" in dataset.dims else dataset


class _Map(Picture):
    def frame(self, choice: Choice) -> Frame:
        strength, quantity, split = choice
        (dataset,) = self.datasets
        colors = color_range(dataset[quantity].sel(split=split).values)
        shown = _at(dataset, strength)
        values = shown[quantity].sel(split=split).values
        finite, missing = values[np.isfinite(values)], int((~np.isfinite(values)).sum())
        text = f"lowest {number(finite.min())} · highest {number(finite.max())}" if finite.size else "no finite value"
        return _with_numbers(
            self, self.figure.frame(shown, quantity=quantity, split=split, colors=colors),
            text + f" · {missing} points are not finite" * bool(missing),
        )  # fmt: skip


class _Segment(Picture):
    def frame(self, choice: Choice) -> Frame:
        strength, quantity, split = choice
        curves: dict[str, xr.Dataset] = {}
        for dataset in self.datasets:
            named = _curves(dataset, strength)
            if twice := curves.keys() & named.keys():
                raise ValueError(
                    f"two of the segments are both the {', '.join(sorted(twice))} one. A report draws one naive "
                    "(alignment 'identity'), one aligned and one perturbed segment; leave the other out."
                )
            curves |= named
        variable = {"loss": "barrier", "accuracy": "error_barrier"}[quantity]
        texts = []
        for name, curve in curves.items():
            values = barriers(curve)[variable].sel(split=split).values
            texts.append(name + " " + ", ".join(f"D{i}\u00a0{number(v)}" for i, v in enumerate(values, start=1)))
        return _with_numbers(self, self.figure.frame(curves, quantity=quantity, split=split), " · ".join(texts))


def _curves(dataset: xr.Dataset, strength: float) -> dict[str, xr.Dataset]:
    """What a segment contributes: naive, perturbed or aligned; one with many strengths is both of the latter."""
    settings = recipe(dataset)
    if settings["alignment"] == "identity":
        return {"naive": _at(dataset, strength)}
    if "strength" not in dataset.dims:
        return {"perturbed" if np.any(dataset.get("strength", settings["strength"])) else "aligned": dataset}
    curves = {"aligned": dataset.sel(strength=0.0, drop=True)} if 0.0 in dataset.strength.values else {}
    return curves | ({"perturbed": _at(dataset, strength)} if strength else {})


class _Samples(Picture):
    def frame(self, choice: Choice) -> Frame:
        strength, quantity, split = choice
        (dataset,) = self.datasets
        shown, span = _at(dataset, strength), axis_span(dataset, quantity, split)
        stats = summary(shown).sel(split=split)
        low, high = stats.share_interval.values
        text = (
            f"{stats.low_loss_share.item():.0%} of the draws have a loss within 0.1 nat of the worse end "
            f"(95 % interval {low:.0%} to {high:.0%}) · worst excess {number(stats.worst_excess.item())} nats"
        )
        return _with_numbers(self, self.figure.frame(shown, quantity=quantity, split=split, span=span), text)


class _Perturbation(Picture):
    def frame(self, choice: Choice) -> Frame:
        strength, quantity, split = choice
        (dataset,) = self.datasets
        at = dataset.sel(strength=strength, method="nearest")
        mean = at[quantity].sel(split=split).mean(skipna=False).item()
        text = (
            f"at strength {at.strength.item():g}: mean {number(mean)} · "
            f"{at.churn.mean().item():.0%} of the units moved · "
            f"{at.objective_lost.mean().item():.0%} of the objective lost"
        )
        frame = self.figure.frame(dataset, quantity=quantity, split=split, strength=strength)
        return _with_numbers(self, frame, text)


def _with_numbers(picture: Picture, frame: Frame, text: str) -> Frame:
    return frame._replace(properties=(*frame.properties, Property(picture.numbers, "text", text)))


_PICTURES = {
    "plane": partial(
        _Map, "map", "Loss map",
        "A plane of combinations. One basin that holds all marked points means that the networks combine; "
        "walls between them mean that they do not.",
    ),
    "segment": partial(
        _Segment, "segment", "Segment from A to B",
        "Loss or accuracy along (1 − t)·A + t·π(B). A flat aligned curve beside the hump of the naive one is linear "
        "mode connectivity. Barriers: D1 Git Re-Basin, D2 above the straight line between the ends, D3 midpoint, "
        "D4 above the worse end.",
    ),
    "samples": partial(
        _Samples, "distribution", "Distribution over draws",
        "Every dot is one draw of the coefficients, beside both networks and two midpoints. Draws near A and B mean "
        "that the law stays in the basin.",
    ),
    "perturbation": partial(
        _Perturbation, "perturbation", "The midpoint under a perturbed matching",
        "How much of the matching may be wrong before the midpoint is lost. References: the unperturbed networks.",
    ),
}  # fmt: skip
_FIGURES = {"plane": MapFigure, "segment": SegmentFigure, "samples": SamplesFigure, "perturbation": PerturbationFigure}


def save_report(datasets: Sequence[xr.Dataset], path: str | Path, *, title: str = "Mode combinability") -> Path:
    """Write one HTML file that shows the Datasets, opens without a network and keeps its sliders.

    Args:
        datasets: results of the four sweeps in any number; naive and aligned segments are drawn together. Those
            with the dimension ``strength`` follow the slider.
        path: ends in ``.html``.
        title: the heading of the page.

    Raises:
        ValueError: for no dataset, one that no sweep made, splits that differ, a path with another ending, or a folder
            that cannot be written.
    """
    path = check_path(path, ".html")
    if not datasets:
        raise ValueError("there is nothing to report: datasets is empty. Give at least one result of a sweep.")
    for dataset in datasets:
        recipe(dataset)
    # A page that is rendered once Panel is imported links to its scripts, so it would need a network.
    html = _render_elsewhere(datasets, title) if "panel" in sys.modules else render(datasets, title)
    return write_whole(path, lambda part: part.write_text(html, encoding="utf-8"))


def _render_elsewhere(datasets: Sequence[xr.Dataset], title: str) -> str:
    """Render in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(save(dataset, Path(folder) / f"{i}.nc")) for i, dataset in enumerate(datasets)]
        command = [sys.executable, "-m", "modecomb_viz.report", title, *paths]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise ValueError(f"the report could not be rendered: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


def render(datasets: Sequence[xr.Dataset], title: str) -> str:
    """The HTML of a report.

    Raises:
        ValueError: when the Datasets have no split in common or differ in their strengths.
    """
    pictures = list(_pictures(datasets))
    choices = _choices(datasets)
    frames = {picture.name: _frames(picture, choices) for picture in pictures}
    controls = _controls(pictures, frames, choices)
    roots = {"controls": controls, **{picture.name: _root(picture) for picture in pictures}}
    for picture in pictures:
        picture.figure.apply(frames[picture.name][0])
    script, divs = components(roots)
    template = Environment(autoescape=True).from_string(_template())
    return template.render(
        title=title,
        version=__version__,
        lead=_lead(datasets),
        resources=Markup(Resources(mode="inline", components=["bokeh", "bokeh-widgets"]).render()),
        controls=Markup(divs["controls"]),
        pictures=[
            {"name": p.name, "heading": p.heading, "sentence": p.sentence, "div": Markup(divs[p.name])}
            for p in pictures
        ],
        recipes=[_recipe_table(dataset) for dataset in datasets],
        script=Markup(script),
    )


def _template() -> str:
    return (files("modecomb_viz") / "templates" / "report.html").read_text(encoding="utf-8")


def _pictures(datasets: Sequence[xr.Dataset]) -> Iterator[Picture]:
    """One picture per sweep, in the order of the page; all segments share one."""
    for sweep, make in _PICTURES.items():
        found = [dataset for dataset in datasets if recipe(dataset)["sweep"] == sweep]
        for group in [found] if sweep == "segment" and found else [[dataset] for dataset in found]:
            yield make(_FIGURES[sweep](), group)


def _root(picture: Picture):
    return column(picture.figure.figure, picture.numbers, sizing_mode="stretch_width")


def _choices(datasets: Sequence[xr.Dataset]) -> tuple[list[float], list[str], list[str]]:
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
    grids = {recipe(dataset)["sweep"]: sorted(dataset.strength.values.tolist()) for dataset in shown}
    first = next(iter(grids.values()), [0.0])
    if any(sorted(dataset.strength.values.tolist()) != first for dataset in shown):
        raise ValueError(
            "the datasets have different perturbation strengths, so no slider fits them all: "
            + "; ".join(f"{name} {', '.join(f'{s:g}' for s in grid)}" for name, grid in grids.items())
            + ". Compute them with the same strength=[…], or with a single one."
        )
    return first


def _all_choices(choices: tuple[list[float], list[str], list[str]]) -> Iterator[Choice]:
    return product(*choices)


def _controls(
    pictures: Sequence[Picture], frames: dict[str, list[Frame]], choices: tuple[list[float], list[str], list[str]]
):
    """A slider over the strengths, buttons for quantity and split, and the callback that shows the chosen frame."""
    strengths, quantities, splits = choices
    slider = Slider(
        start=0, end=max(1, len(strengths) - 1), value=0, step=1, width=420,
        format=CustomJSTickFormatter(args={"strengths": strengths}, code="return String(strengths[tick])"),
        title="Perturbation strength", disabled=len(strengths) < 2, name="strength",
    )  # fmt: skip
    quantity = RadioButtonGroup(labels=quantities, active=0, name="quantity")
    split = RadioButtonGroup(labels=splits, active=0, name="split")
    shown = [_script_frames(picture, frames[picture.name]) for picture in pictures]
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
  const frame = plain(picture.frames[k])
  picture.models.forEach((model, i) => { model[picture.names[i]] = frame.values[i] })
  const columns = plain(frame.columns)
  for (const [name, source] of Object.entries(plain(picture.sources))) { source.data = plain(columns[name]) }
}
"""


def _frames(picture: Picture, choices: tuple[list[float], list[str], list[str]]) -> list[Frame]:
    """All frames of a picture, in the order of the choices, with axes that hold still while the strength moves."""
    strengths, quantities, splits = choices
    frames = {choice: picture.frame(choice) for choice in _all_choices(choices)}
    for quantity, split in product(quantities, splits):
        group = [(strength, quantity, split) for strength in strengths]
        frames.update(zip(group, _steady([frames[choice] for choice in group]), strict=True))
    return list(frames.values())


def _script_frames(picture: Picture, frames: list[Frame]) -> dict[str, Any]:
    """The frames as the script takes them."""
    first = frames[0]
    return {
        "sources": {name: picture.figure.sources[name] for name in first.columns},
        "models": [p.model for p in first.properties],
        "names": [p.name for p in first.properties],
        "frames": [{"values": [p.value for p in frame.properties], "columns": frame.columns} for frame in frames],
    }


def _steady(frames: list[Frame]) -> list[Frame]:
    """The frames with the union of their ranges."""
    low: dict[tuple[Any, str], float] = {}
    for frame in frames:
        for model, name, value in frame.properties:
            if isinstance(model, Range1d):
                pick = min if name.endswith("start") else max
                low[model, name] = pick(low.get((model, name), value), value)
    return [
        frame._replace(
            properties=tuple(p._replace(value=low.get((p.model, p.name), p.value)) for p in frame.properties)
        )
        for frame in frames
    ]


def _lead(datasets: Sequence[xr.Dataset]) -> str:
    """Whose networks, how they are aligned, how the matching is perturbed; every value that occurs."""
    recipes = [recipe(dataset) for dataset in datasets]

    def every(text: str) -> str:
        return "; ".join(dict.fromkeys(text.format(**settings).replace("_", " ") for settings in recipes))

    modes = "; ".join(dict.fromkeys("{modes}, networks {a} and {b}".format(**settings) for settings in recipes))
    return (
        f"Modes: {modes}. Alignment: {every('{alignment}')}. Perturbation of the matching: {every('{perturbation}')}."
    )


def _recipe_table(dataset: xr.Dataset) -> dict[str, Any]:
    settings = recipe(dataset)
    sweep, modes = settings.pop("sweep"), settings.pop("modes")
    arguments = "".join(f",\n    {name}={value!r}" for name, value in settings.items())
    provenance = [
        (name.replace("_", " "), _readable(value)) for name, value in dataset.attrs.items() if name != "recipe"
    ]
    return {
        "heading": f"{sweep} ({settings['alignment'].replace('_', ' ')})",
        "rows": [("modes", modes), *((n.replace("_", " "), _readable(v)) for n, v in settings.items()), *provenance],
        "code": f"import modecomb_viz as mc\n\nmc.sweep_{sweep}(\n    mc.open_modes({modes!r}){arguments},\n)",
        "command": _command(sweep, modes, settings),
    }


def _command(sweep: str, modes: str, settings: dict[str, Any]) -> str:
    """The call of the command line that computes a recipe again."""
    words = ["modecomb", sweep, "--modes", modes, "--out", f"{sweep}.nc"]
    for name, value in settings.items():
        if isinstance(value, dict):
            values = [f"{key}={v:g}" if isinstance(v, float) else f"{key}={v}" for key, v in value.items()]
        elif name == "z" and isinstance(value, list):
            values = [",".join(value)]
        else:
            values = value if isinstance(value, list) else [] if value is None else [value]
        words += [word for v in values for word in (f"--{name.replace('_', '-')}", str(v))]
    return shlex.join(words)


def _readable(value: Any) -> str:
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(render([open_dataset(file) for file in sys.argv[2:]], sys.argv[1]))
