"""The page: pictures under their headings, the controls, recipes at the foot."""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import xarray as xr
from bokeh.embed import components
from bokeh.resources import Resources
from jinja2 import Environment
from markupsafe import Markup

from modecomb_viz import __version__
from modecomb_viz.figures import (
    Figure,
    LawsFigure,
    LayersFigure,
    MapFigure,
    PerturbationFigure,
    PointsFigure,
    SamplesFigure,
    SearchFigure,
    SegmentFigure,
    SimilarityFigure,
    TransitivityFigure,
)
from modecomb_viz.report.controls import choices_of, make_controls, picture_frames
from modecomb_viz.report.named import PointsPicture, SearchPicture
from modecomb_viz.report.networks import LawsPicture, LayersPicture, SimilarityPicture, TransitivityPicture
from modecomb_viz.report.picture import Picture
from modecomb_viz.report.points import MapPicture, PerturbationPicture, SamplesPicture, SegmentPicture, kinds_of
from modecomb_viz.report.recipes import lead, recipe_tables, told_apart
from modecomb_viz.results import recipe

__all__ = ["PICTURES", "pictures_of", "render"]

#: By sweep, in the order of the page: the picture and its figure.
PICTURES: dict[str, tuple[type[Picture], type[Figure]]] = {
    "plane": (MapPicture, MapFigure),
    "segment": (SegmentPicture, SegmentFigure),
    "samples": (SamplesPicture, SamplesFigure),
    "perturbation": (PerturbationPicture, PerturbationFigure),
    "laws": (LawsPicture, LawsFigure),
    "layers": (LayersPicture, LayersFigure),
    "transitivity": (TransitivityPicture, TransitivityFigure),
    "similarity": (SimilarityPicture, SimilarityFigure),
    "points": (PointsPicture, PointsFigure),
    "search": (SearchPicture, SearchFigure),
}


def render(datasets: Sequence[xr.Dataset], title: str) -> str:
    """The HTML of a report.

    Raises:
        ValueError: when the Datasets have no split in common or differ in their strengths.
    """
    choices = choices_of(datasets)
    pictures = list(pictures_of(datasets))
    frames = [picture_frames(picture, choices) for picture in pictures]
    for picture, own in zip(pictures, frames, strict=True):
        picture.figure.apply(own[0])
    roots = {"controls": make_controls(pictures, frames, choices)}
    for i, picture in enumerate(pictures):
        roots |= {f"{i}.panel.{j}": panel for j, panel in enumerate(picture.figure.panels)}
        roots |= {f"{i}.numbers": picture.numbers, **({f"{i}.table": picture.table} if picture.has_table else {})}
    script, divs = components(roots)
    template = Environment(autoescape=True).from_string(_template("report.html"))
    return template.render(
        title=title,
        version=__version__,
        lead=lead(datasets),
        naming=Markup(_template("named.js")),
        resources=Markup(Resources(mode="inline", components=["bokeh", "bokeh-widgets"]).render()),
        controls=Markup(divs["controls"]),
        pictures=list(_sections(pictures, divs, len(choices[0]) > 1)),
        recipes=recipe_tables(datasets),
        script=Markup(script),
    )


def _template(name: str) -> str:
    return (files("modecomb_viz") / "templates" / name).read_text(encoding="utf-8")


def pictures_of(datasets: Sequence[xr.Dataset]) -> Iterator[Picture]:
    """One picture per result, in the order of the page; segments of the same networks share one.

    Raises:
        ValueError: for the result of a sweep that has no picture.
    """
    for sweep in dict.fromkeys(recipe(dataset)["sweep"] for dataset in datasets):
        if sweep not in PICTURES:
            raise ValueError(
                f"a report has no picture of the result of sweep_{sweep}; it draws {', '.join(PICTURES)}. Leave it out."
            )
    for sweep, (picture, figure) in PICTURES.items():
        found = [dataset for dataset in datasets if recipe(dataset)["sweep"] == sweep]
        for group in _together(found) if sweep == "segment" else [[dataset] for dataset in found]:
            yield picture(figure(), group)


def _together(segments: Sequence[xr.Dataset]) -> list[list[xr.Dataset]]:
    """Segments by the networks that they join: at most one naive, one aligned and one perturbed curve in each group.

    A naive segment stands beside every aligned one of its networks; those of two alignments have a group each.
    """
    groups: list[list[xr.Dataset]] = []
    for segment in sorted(segments, key=lambda dataset: kinds_of(dataset) == {"naive"}):
        naive = kinds_of(segment) == {"naive"}
        open_to_it = [group for group in groups if _joins(segment, group)]
        for group in open_to_it if naive else open_to_it[:1]:
            group.append(segment)
        if not open_to_it:
            groups.append([segment])
    return groups


def _joins(segment: xr.Dataset, group: list[xr.Dataset]) -> bool:
    """Whether a segment is drawn with a group: the same networks, the same alignment if any, another curve."""
    settings, others = recipe(segment), [recipe(dataset) for dataset in group]
    same = all(other.get(name) == settings.get(name) for other in others for name in ("modes", "a", "b", "repair"))
    alignments = {one["alignment"] for one in (settings, *others)} - {"identity"}
    taken = set().union(*map(kinds_of, group))
    return same and len(alignments) < 2 and not taken & kinds_of(segment)


def _sections(pictures: Sequence[Picture], divs: dict[str, str], slides: bool) -> Iterator[dict[str, Any]]:
    """What the template shows of every picture; pictures of one sweep are told apart by their recipes."""
    names = [picture.name for picture in pictures]
    for i, picture in enumerate(pictures):
        alike = [other for other in pictures if other.name == picture.name]
        apart = told_apart([other.datasets[0] for other in alike])[alike.index(picture)]
        number = names[:i].count(picture.name)
        yield {
            "name": picture.name if not number else f"{picture.name}-{number + 1}",
            "heading": f"{picture.heading}: {apart}" if apart else picture.heading,
            "sentence": picture.sentence,
            "note": _note(picture) if slides else "",
            "wide": picture.wide,
            "panel": picture.panel,
            "panels": [Markup(div) for name, div in divs.items() if name.startswith(f"{i}.panel.")],
            "numbers": Markup(divs[f"{i}.numbers"]),
            "table": Markup(divs.get(f"{i}.table", "")),
        }


def _note(picture: Picture) -> str:
    """What a picture says that does not follow the slider."""
    if picture.follows:
        return ""
    strengths = dict.fromkeys(f"{np.atleast_1d(recipe(dataset)['strength'])[0]:g}" for dataset in picture.datasets)
    return f"Computed at perturbation strength {', '.join(strengths)}: the slider does not move it."
