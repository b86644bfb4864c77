"""An index over many reports: what each says of itself, with a small picture, read from the files alone."""

import base64
import binascii
import json
import math
import os
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from jinja2 import Environment
from markupsafe import Markup

from modecomb_viz import __version__
from modecomb_viz.figures.looks import CURVES, NAN_COLOR, PALETTES
from modecomb_viz.figures.pixels import colored, png, png_url
from modecomb_viz.report.about import ELEMENT, FORMAT
from modecomb_viz.report.claims import MEANING
from modecomb_viz.results import check_path, write_whole
from modecomb_viz.statistics import VERDICTS

__all__ = ["Described", "read_report", "save_gallery"]

#: What a report says of itself stands within so many bytes from its beginning.
_HEAD = 2**20

#: Longest text, longest list and largest side of a picture that are taken from a file.
_TEXT, _LIST, _SIDE = 400, 100, 129

_DESCRIPTION = re.compile(
    rf'<script type="application/json" id="{ELEMENT}">(.*?)</script>'.encode(), re.DOTALL | re.IGNORECASE
)


#: What a gallery has in its head; it stands in the template.
_INDEX = b'<meta name="modecomb" content="gallery">'


class Described(NamedTuple):
    """A report by what it says of itself, checked.

    Attributes:
        path: of the file.
        findings: per claim its verdict and its main numbers.
        picture: an element; empty where there is none.
    """

    path: Path
    title: str
    modes: list[str]
    sweeps: list[str]
    split: str
    version: str
    findings: list[dict[str, Any]]
    picture: Markup


def save_gallery(reports: Sequence[str | Path], path: str | Path, *, title: str = "Gallery of reports") -> Path:
    """Write one HTML page that lists reports, with their main numbers and a small picture of each, and links to them.

    Args:
        reports: files that :func:`~modecomb_viz.save_report` wrote, and folders, of which every ``.html`` is taken
            that is no gallery. Links are relative to the index.
        path: ends in ``.html``.

    Raises:
        ValueError: for no report, a file that is none, or a path that cannot be written.
    """
    path = check_path(path, ".html")
    described = [read_report(report) for report in _files(reports, path)]
    page = Environment(autoescape=True).from_string(
        (files("modecomb_viz") / "templates" / "gallery.html").read_text(encoding="utf-8")
    )
    rows = [{**one._asdict(), "link": _link(one.path, path)} for one in described]
    html = page.render(title=title, version=__version__, reports=rows, claims=MEANING)
    return write_whole(path, lambda part: part.write_text(html, encoding="utf-8"))


def _files(reports: Sequence[str | Path], index: Path) -> list[Path]:
    found: list[Path] = []
    for report in map(Path, reports):
        if report.is_dir():
            found += sorted(file for file in report.glob("*.html") if not _is_index(file))
        else:
            found.append(report)
    found = list(dict.fromkeys(found))
    if not found:
        given = ", ".join(f"'{report}'" for report in reports) or "nothing"
        raise ValueError(f"there is no report in what was given: {given}. Give files that `modecomb report` wrote.")
    if any(file.resolve() == index.resolve() for file in found):
        raise ValueError(f"'{index}' is to be written, so it cannot be one of the reports. Give --out another name.")
    return found


def _is_index(file: Path) -> bool:
    """Whether this is a gallery, of which folders hold one beside the reports."""
    with file.open("rb") as opened:
        return _INDEX in opened.read(2**12)


def _link(report: Path, index: Path) -> str:
    """The way from the index to a report, as an address."""
    return quote(Path(os.path.relpath(report.resolve(), index.resolve().parent)).as_posix())


def read_report(path: str | Path) -> Described:
    """What a report says of itself; it is read as data and checked, nothing of it is run.

    Raises:
        ValueError: when the file cannot be read or is no report.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            found = _DESCRIPTION.search(file.read(_HEAD))
    except OSError as error:
        raise ValueError(f"the report '{path}' cannot be read: {error.strerror}.") from error
    try:
        if found is None:
            raise ValueError("it does not say that it is one")
        return _described(path, json.loads(found[1]))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is no report of modecomb_viz: {error}. Write it with `modecomb report`.") from error


def _described(path: Path, told: Any) -> Described:
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        given = told.get("format") if isinstance(told, dict) else told
        raise ValueError(f"its format is {str(given)[:40]!r}, known is {FORMAT!r}")
    title, split, version = (_text(told, name) for name in ("title", "split", "version"))
    modes, sweeps = ([_checked(name, str, "a text") for name in _list(told, key)] for key in ("modes", "sweeps"))
    findings = [_finding(_checked(one, dict, "a table")) for one in _list(told, "findings")]
    return Described(path, title, modes, sweeps, split, version, findings, _picture(told.get("picture")))


def _checked(value: Any, kind: type | tuple[type, ...], words: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, str) and len(value) > _TEXT):
        raise ValueError(f"where {words} should be it has {str(value)[:40]!r}")
    return value


def _text(table: dict[str, Any], name: str) -> str:
    return _checked(table.get(name), str, f"its {name}")


def _list(table: dict[str, Any], name: str) -> list[Any]:
    return _checked(table.get(name), list, f"a list of {name}")[:_LIST]


def _finding(told: dict[str, Any]) -> dict[str, Any]:
    claim, verdict = _text(told, "claim"), _text(told, "verdict")
    if claim not in MEANING or verdict not in (*VERDICTS, ""):
        raise ValueError(f"it finds {verdict[:40]!r} of {claim[:40]!r}")
    numbers = _checked(told.get("numbers"), dict, "its numbers")
    pairs = [(_checked(k, str, "a name"), _checked(v, str, "a number")) for k, v in numbers.items()][:_LIST]
    return {"claim": claim, "modes": _text(told, "modes"), "verdict": verdict, "numbers": pairs}


def _picture(told: Any) -> Markup:
    if told is None:
        return Markup("")
    kind = _checked(told, dict, "a picture").get("kind")
    if kind == "map":
        return _map(told)
    if kind == "curves":
        return _curves([_checked(curve, dict, "a curve") for curve in _list(told, "curves")])
    raise ValueError(f"its picture is {str(kind)[:40]!r}")


def _map(told: dict[str, Any]) -> Markup:
    """An image of shades, as a PNG in the page."""
    width, height = (_checked(told.get(name), int, f"the {name} of the picture") for name in ("width", "height"))
    try:
        shades = base64.b64decode(_checked_shades(told.get("shades")), validate=True)
    except binascii.Error as error:
        raise ValueError(f"its picture cannot be decoded: {error}") from error
    if not (1 <= width <= _SIDE and 1 <= height <= _SIDE) or len(shades) != width * height:
        raise ValueError(f"its picture has {len(shades)} shades for {width} × {height} points")
    values = np.frombuffer(shades, np.uint8).reshape(height, width).astype(float)
    values[values == 255] = np.nan
    return Markup('<img alt="" src="{}">').format(png_url(png(colored(values, PALETTES["loss"], 0, 254))))


def _checked_shades(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 2 * _SIDE**2:
        raise ValueError("the shades of its picture are no text, or too many")
    return value


def _curves(curves: list[dict[str, Any]]) -> Markup:
    """Lines over the width of the picture; heights from 0 to 1."""
    lines = Markup("")
    for curve in curves:
        color, _ = CURVES.get(_text(curve, "name"), (NAN_COLOR, ""))
        numbers = [float(_checked(y, (int, float), "a height")) for y in _list(curve, "heights")]
        if len(numbers) < 2 or not all(map(math.isfinite, numbers)):
            raise ValueError(f"a curve of its picture has {len(numbers)} points, or some that are not finite")
        points = " ".join(
            f"{100 * i / (len(numbers) - 1):.1f},{96 - 92 * min(max(y, 0), 1):.1f}" for i, y in enumerate(numbers)
        )
        lines += Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="2"/>').format(points, color)
    element = Markup('<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-hidden="true">{}</svg>')
    return element.format(lines)
