"""The page: pictures under their headings, the controls, recipes at the foot."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import xarray as xr
from bokeh.document import Document
from bokeh.embed.util import standalone_docs_json_and_render_items
from bokeh.model import Model
from bokeh.models import CustomJS, LayoutDOM
from bokeh.resources import Resources
from jinja2 import Environment
from markupsafe import Markup

from modecomb_viz import __version__
from modecomb_viz.figures import (
    CutFigure,
    Figure,
    Frame,
    InspectionFigure,
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
from modecomb_viz.figures.looks import HEIGHT
from modecomb_viz.report.about import about
from modecomb_viz.report.claims import MEANING, Finding, findings_of
from modecomb_viz.report.controls import (
    Control,
    axes_of,
    choices_of,
    controls_of,
    make_widgets,
    moved_by,
    picture_frames,
    start_of,
)
from modecomb_viz.report.families import families
from modecomb_viz.report.frames import Pool, script_text
from modecomb_viz.report.inspector import attach, inspected
from modecomb_viz.report.named import PointsPicture, SearchPicture
from modecomb_viz.report.networks import LawsPicture, LayersPicture, SimilarityPicture, TransitivityPicture
from modecomb_viz.report.picture import Picture
from modecomb_viz.report.planes import CutPicture, InspectionPicture
from modecomb_viz.report.points import MapPicture, PerturbationPicture, SamplesPicture, SegmentPicture, kinds_of
from modecomb_viz.report.recipes import lead, recipe_tables, told_apart
from modecomb_viz.results import recipe

__all__ = ["PICTURES", "pictures_of", "render"]

#: By sweep, in the order of the page: the picture and its figure.
PICTURES: dict[str, tuple[type[Picture], type[Figure]]] = {
    "plane": (MapPicture, MapFigure),
    "segment": (SegmentPicture, SegmentFigure),
    "samples": (SamplesPicture, SamplesFigure),
    "laws": (LawsPicture, LawsFigure),
    "layers": (LayersPicture, LayersFigure),
    "points": (PointsPicture, PointsFigure),
    "search": (SearchPicture, SearchFigure),
    "cut": (CutPicture, CutFigure),
    "inspection": (InspectionPicture, InspectionFigure),
    "transitivity": (TransitivityPicture, TransitivityFigure),
    "perturbation": (PerturbationPicture, PerturbationFigure),
    "similarity": (SimilarityPicture, SimilarityFigure),
}


def render(datasets: Sequence[xr.Dataset], title: str, budget: int | None = None) -> str:
    """The HTML of a report.

    Args:
        budget: bytes; a page that is larger says so.

    Raises:
        ValueError: when the Datasets have no split in common or differ in their strengths.
    """
    choices = choices_of(datasets)
    pictures = list(pictures_of(datasets))
    names = _names(pictures)
    controls = controls_of(pictures, choices)
    widgets = make_widgets(controls)
    pool, entries = Pool(), []
    for name, picture in zip(names, pictures, strict=True):
        frames, axes = picture_frames(picture, choices), axes_of(picture, choices)
        picture.figure.apply(frames[start_of(axes)])
        pool.models.clear()
        entry = _entry(picture, frames, pool)
        # A frame may set a model that no figure shows yet: this keeps it in the document.
        kept = CustomJS(args={"models": list(pool.models.values())}, code="")
        picture.numbers.js_on_change("name", kept)
        entries.append(entry | {"name": name, "axes": [[controls.index(a), len(a.entries)] for a in axes]})
        if isinstance(picture, MapPicture):
            attach(picture, name)
            entries[-1]["inspector"] = inspected(picture)
    roots = [{str(i): widget for i, widget in enumerate(widgets)}]
    for picture in pictures:
        parts = {f"panel.{j}": panel for j, panel in enumerate(picture.figure.panels)}
        roots.append(parts | {"numbers": picture.numbers} | ({"table": picture.table} if picture.has_table else {}))
    documents, (control_divs, *divs) = zip(*map(_document, roots), strict=True)
    findings = findings_of(datasets, choices[2][0])
    sections = list(_sections(pictures, names, divs, len(choices[0]) > 1))
    page = {
        "title": title,
        "version": __version__,
        "lead": lead(datasets),
        "about": Markup(script_text(about(title, datasets, findings, choices[2][0]))),
        "frames": Markup(_frames_text(entries, controls, pool)),
        "resources": Markup(Resources(mode="inline", components=["bokeh", "bokeh-widgets"]).render()),
        "controls": [(None if c.slides else c.label, control_divs[str(i)]) for i, c in enumerate(controls)],
        "claims": _claims(findings, sections),
        "recipes": recipe_tables(datasets),
        "code": Markup(_resource("report.js")),
        "naming": Markup(_resource("named.js")),
        "documents": [
            {"of": name, "text": Markup(script_text(document))}
            for name, document in zip(("", *names), documents, strict=True)
        ],
    }
    html = Environment(autoescape=True).from_string(_resource("report.html")).render(**page)
    return _sized(html, budget)


def _document(roots: Mapping[str, LayoutDOM]) -> tuple[list[Any], dict[str, Markup]]:
    """A Bokeh document as the script embeds it, and the elements that it is embedded into.

    Every picture has one of its own, so that the page shows the first while it makes the others.
    """
    document = Document()
    with document.models.freeze():
        for root in roots.values():
            document.add_root(root)
    docs, (item,) = standalone_docs_json_and_render_items(list(roots.values()))
    element = Markup('<div id="{}" data-root-id="{}" style="display: contents;"></div>')
    divs = {name: element.format(one.elementid, one.id) for name, one in zip(roots, item.roots, strict=True)}
    return [docs, item.to_json()], divs


def _frames_text(entries: Sequence[dict[str, Any]], controls: Sequence[Control], pool: Pool) -> str:
    """All frames and what chooses them, as JSON for the script."""
    told = [{"label": control.label, "entries": control.entries, "start": control.start} for control in controls]
    rest = script_text({"pictures": entries, "controls": told})
    return f'{{"values":{pool.text()},{rest[1:]}'


def _entry(picture: Picture, frames: Sequence[Frame], pool: Pool) -> dict[str, Any]:
    """The frames of a picture as the script takes them; their models are added to those of the pool."""
    first = frames[0]
    return {
        "sources": {name: picture.figure.sources[name].id for name in first.columns},
        "models": [_known(pool, p.model) for p in first.properties],
        "names": [p.name for p in first.properties],
        "frames": [pool.frame(frame) for frame in frames],
    }


def _known(pool: Pool, model: Model) -> str:
    pool.models[model.id] = model
    return model.id


#: Stands in the page for its size until it is known; as long as what replaces it.
_SIZE = "{{size of this page}}"


def _sized(html: str, budget: int | None) -> str:
    """The page with its own size in it, and whether that is more than a report should have."""
    size = len(html.encode())
    words = f"{size / 1e6:.1f} MB" + (
        f", more than the {budget / 1e6:g} MB of a standard report: fewer strengths, laws, granularities or points per "
        "side make it smaller"
        if budget is not None and size > budget
        else ""
    )
    return html.replace(_SIZE, words, 1)


def _resource(name: str) -> str:
    return (files("modecomb_viz") / "templates" / name).read_text(encoding="utf-8")


def pictures_of(datasets: Sequence[xr.Dataset]) -> Iterator[Picture]:
    """One picture per family of results, in the order of the page; segments of the same networks share one.

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
        if sweep == "segment":
            yield from (picture(_figure(figure, picture), group) for group in _together(found))
        else:
            yield from (picture.of(_figure(figure, picture), family) for family in families(found))


def _figure(figure: type[Figure], picture: type[Picture]) -> Figure:
    return figure() if picture.height == HEIGHT else figure(height=picture.height)


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


def _names(pictures: Sequence[Picture]) -> list[str]:
    """The name of every section: that of the picture, numbered where there are several."""
    names = [picture.name for picture in pictures]
    return [f"{name}-{names[:i].count(name) + 1}" if name in names[:i] else name for i, name in enumerate(names)]


def _sections(
    pictures: Sequence[Picture], names: Sequence[str], divs: Sequence[dict[str, Markup]], slides: bool
) -> Iterator[dict[str, Any]]:
    """What the template shows of every picture; pictures of one sweep are told apart by their recipes."""
    for i, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        alike = [other for other in pictures if other.name == picture.name]
        moved = {"parameters"} if any(other.family.laws for other in alike) else set()
        moved |= {"granularity"} if any(other.family.granularities for other in alike) else set()
        apart = told_apart([other.datasets[0] for other in alike], moved)[alike.index(picture)]
        yield {
            "name": name,
            "claim": picture.claim,
            "heading": f"{picture.heading}: {apart}" if apart else picture.heading,
            "sentence": picture.sentence,
            "note": _note(picture) if slides else "",
            "moves": moved_by(picture),
            "wide": picture.wide,
            "panel": picture.panel,
            "panels": [div for key, div in divs[i].items() if key.startswith("panel.")],
            "inspector": isinstance(picture, MapPicture),
            "numbers": divs[i]["numbers"],
            "table": divs[i].get("table", ""),
        }


def _claims(findings: Sequence[Finding], sections: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims that a section speaks to, each with its findings and its sections."""
    several = len({finding.modes for finding in findings}) > 1
    return [
        {
            "number": number,
            "name": claim,
            "meaning": MEANING[claim],
            "findings": [one for one in findings if one.claim == claim],
            "several": several,
            "pictures": own,
        }
        for number, claim in enumerate(MEANING, start=1)
        if (own := [section for section in sections if section["claim"] == claim])
    ]


def _note(picture: Picture) -> str:
    """What a picture says that does not follow the slider of strengths."""
    if picture.follows:
        return ""
    strengths = dict.fromkeys(f"{np.atleast_1d(recipe(dataset)['strength'])[0]:g}" for dataset in picture.datasets)
    return f"Computed at perturbation strength {', '.join(strengths)}: its slider does not move it."
