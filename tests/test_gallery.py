"""The gallery: reports by what they say of themselves, nothing of a file unchecked or unescaped."""

import base64
import io
import json
import re

import numpy as np
import pytest
import synthetic
from explained import explains
from PIL import Image

import modecomb_viz as mc
from modecomb_viz.figures.looks import CURVES, PALETTES
from modecomb_viz.figures.pixels import rgb
from modecomb_viz.report.about import ELEMENT, FORMAT
from modecomb_viz.report.gallery import read_report


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """A folder of two reports, one with a map and one with curves."""
    folder = tmp_path_factory.mktemp("reports")
    mc.save_report(synthetic.everything(), folder / "with map & more.html", title="First <b>report</b>")
    mc.save_report([synthetic.segment(), synthetic.segment("identity")], folder / "curves.html", title="Second")
    return folder


def told(**changes):
    """The text of a file that says it is a report."""
    about = {
        "format": FORMAT, "title": "t", "version": "0", "modes": ["m"], "sweeps": ["plane"], "split": "test",
        "findings": [], "picture": None, **changes,
    }  # fmt: skip
    return f'<!DOCTYPE html><script type="application/json" id="{ELEMENT}">{json.dumps(about)}</script>'


def test_a_report_says_what_it_is(reports):
    found = read_report(reports / "with map & more.html")
    assert (found.title, found.modes, found.split) == ("First <b>report</b>", ["synthetic <i>"], "test")
    assert found.sweeps == ["plane", "segment", "samples", "perturbation"]
    assert [(one["claim"], one["verdict"]) for one in found.findings] == [
        ("Combinability", "holds"), ("Robustness", "does not hold"),
    ]  # fmt: skip
    assert ("naive barrier", "1 nats") in found.findings[0]["numbers"]


def test_the_small_picture_is_the_map(reports):
    data = re.search(r"base64,([^\"]+)", str(read_report(reports / "with map & more.html").picture))[1]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert picture.shape == (17, 17, 3)
    shade_of = {rgb(color): shade for shade, color in enumerate(PALETTES["loss"])}
    shades = [[shade_of[tuple(pixel)] for pixel in row] for row in picture.tolist()]
    plane = synthetic.plane().loss.sel(strength=0.0, split="test")
    assert shades[16][0] == 0, "A is the lowest, and below at the left"
    assert shades[0][0] > shades[8][8] > 0
    assert plane.values.argmin() == 0


def test_an_index_links_to_reports_beside_and_above_it(reports, tmp_path):
    index = mc.save_gallery([reports], reports / "index.html", title="All & <everything>")
    html = index.read_text()
    assert 'href="with%20map%20%26%20more.html"' in html
    assert "First &lt;b&gt;report&lt;/b&gt;" in html
    assert "All &amp; &lt;everything&gt;" in html
    assert re.findall(r'<polyline [^>]*stroke="(#\w+)"', html) == [CURVES["aligned"][0], CURVES["naive"][0]]
    assert "<script" not in html
    assert "does not hold" in html
    mc.save_gallery([reports], index)
    assert index.read_text().count("<li>") == 2, "the index itself is no report"
    index.unlink()
    inner = mc.save_gallery([reports / "curves.html"], reports / "deeper" / "index.html")
    assert 'href="../curves.html"' in inner.read_text()


def test_nothing_of_a_file_reaches_the_index_unescaped(tmp_path):
    evil = '"><img src=x onerror=alert(1)>'
    finding = {"claim": "Combinability", "modes": evil, "verdict": "holds", "numbers": {evil: evil}}
    text = told(title=evil, modes=[evil, evil], sweeps=[evil], split=evil, version=evil, findings=[finding])
    (tmp_path / "evil.html").write_text(text.replace("</", "<\\/", text.count("</") - 1))
    html = mc.save_gallery([tmp_path / "evil.html"], tmp_path / "index.html").read_text()
    assert "<img" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") >= 5


FINDING = {"claim": "Combinability", "modes": "m", "verdict": "holds", "numbers": {}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<p>hello</p>", ["does not say that it is one"]),
        (told(format="report 2"), ["its format is 'report 2'", FORMAT]),
        (f'<script type="application/json" id="{ELEMENT}">{{</script>', ["Expecting"]),
        (f'<script type="application/json" id="{ELEMENT}">{"[" * 100_000}</script>', ["is no report"]),
        (told(title=3), ["its title", "'3'"]),
        (told(title="x" * 500), ["its title"]),
        (told(modes="m"), ["a list of modes"]),
        (told(findings=[{**FINDING, "claim": "Beauty"}]), ["of 'Beauty'"]),
        (told(findings=[{**FINDING, "verdict": "<b>"}]), ["it finds '<b>'"]),
        (told(findings=[{**FINDING, "numbers": {"a": 1}}]), ["a number", "'1'"]),
        (told(picture={"kind": "video"}), ["its picture is 'video'"]),
        (told(picture={"kind": "map", "width": 10**9, "height": 1, "shades": ""}), ["0 shades"]),
        (told(picture={"kind": "map", "width": 2, "height": 2, "shades": "AAAA"}), ["3 shades for 2 × 2"]),
        (told(picture={"kind": "map", "width": 2, "height": 2, "shades": "%"}), ["cannot be decoded"]),
        (told(picture={"kind": "curves", "curves": [{"name": "naive", "heights": [0, "<b>"]}]}), ["a height"]),
        (told(picture={"kind": "curves", "curves": [{"name": "x", "heights": [0]}]}), ["1 points"]),
    ],
)
def test_what_is_no_report_is_named(tmp_path, text, words):
    (tmp_path / "x.html").write_text(text)
    with explains("x.html' is no report of modecomb_viz", "`modecomb report`", *words):
        mc.save_gallery([tmp_path / "x.html"], tmp_path / "index.html")
    assert [path.name for path in tmp_path.iterdir()] == ["x.html"]


def test_bad_paths_are_explained(reports, tmp_path):
    with explains("no report in what was given", "nothing"):
        mc.save_gallery([], tmp_path / "index.html")
    with explains("no report in what was given", str(tmp_path)):
        mc.save_gallery([tmp_path], tmp_path / "index.html")
    with explains("none.html' cannot be read", "No such file"):
        mc.save_gallery([tmp_path / "none.html"], tmp_path / "index.html")
    with explains("must end in '.html'", "index.md"):
        mc.save_gallery([reports], tmp_path / "index.md")
    with explains("cannot be one of the reports"):
        mc.save_gallery([reports / "curves.html"], reports / "curves.html")
