"""The report: whole, escaped, small, and rendered without Panel."""

import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import synthetic
import xarray as xr
from bokeh.models import Range1d
from explained import explains

import modecomb_viz as mc
from modecomb_viz import report
from modecomb_viz.cli import app
from modecomb_viz.report import SIZE_BUDGET, render
from modecomb_viz.sweep import last_dataset, make_sweep


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    return mc.save_report(synthetic.everything(), path, title='A <b>bold</b> "title"').read_text()


def test_all_four_pictures_and_their_recipes_are_there(html):
    assert re.findall(r'<section id="(\w+)">', html) == ["map", "segment", "distribution", "perturbation"]
    assert html.count("<details>") == 5
    assert "mc.sweep_plane(" in html
    assert "mc.open_modes(&#39;synthetic &lt;i&gt;&#39;)" in html


def test_nothing_reaches_the_page_unescaped(html):
    assert "A &lt;b&gt;bold&lt;/b&gt; &#34;title&#34;" in html
    assert "<b>bold" not in html
    assert "synthetic <i>" not in html


def test_it_loads_nothing(html):
    loaded = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attributes):
            loaded.extend(value for name, value in attributes if name in ("src", "href"))

    Tags().feed(html)
    assert loaded == []


def test_a_realistic_report_keeps_the_budget(tmp_path):
    strengths = np.linspace(0, 1, 11)
    datasets = [synthetic.plane(33), synthetic.segment("identity"), synthetic.segment(), synthetic.samples(64)]
    grown = [
        d.interp(strength=strengths, kwargs={"fill_value": "extrapolate"}) if "strength" in d.dims else d
        for d in datasets
    ]
    path = mc.save_report([*grown, synthetic.perturbation(5)], tmp_path / "report.html")
    assert 500_000 < path.stat().st_size <= SIZE_BUDGET


def test_it_is_rendered_elsewhere_when_panel_is_loaded(tmp_path):
    code = """
import sys
sys.path.insert(0, sys.argv[2])
import panel, synthetic, modecomb_viz as mc
mc.save_report(synthetic.everything(), sys.argv[1], title="beside panel")
"""
    path = tmp_path / "report.html"
    command = [sys.executable, "-W", "error", "-c", code, str(path), str(synthetic.__file__.rpartition("/")[0])]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert "beside panel" in path.read_text()
    assert "panel.min.js" not in path.read_text()


def test_any_subset_will_do():
    alone = render([synthetic.segment("identity")], "one")
    assert re.findall(r'<section id="(\w+)">', alone) == ["segment"]
    two_maps = render([synthetic.plane(5), synthetic.plane(9)], "two")
    assert two_maps.count('<section id="map') == 2


def test_real_results_with_points_that_are_no_numbers(batchnorm):
    html = render([mc.sweep_plane(batchnorm, "three_modes", resolution=5, margin=0.5)], "BatchNorm")
    assert "points are not finite" in html


def test_bad_input_is_explained(tmp_path):
    good = synthetic.segment()
    with explains("datasets is empty", "at least one"):
        mc.save_report([], tmp_path / "x.html")
    with explains("must end in '.html'", "x.pdf"):
        mc.save_report([good], tmp_path / "x.pdf")
    with explains("cannot write '/proc/x.html'", "Choose a folder"):
        mc.save_report([good], "/proc/x.html")
    with explains("no 'recipe' attribute"):
        mc.save_report([xr.Dataset()], tmp_path / "x.html")
    with explains("no split in common", "test; train"):
        mc.save_report([good.sel(split=["test"]), synthetic.plane().sel(split=["train"])], tmp_path / "x.html")
    assert list(tmp_path.iterdir()) == []


def test_the_first_picture_has_the_axes_of_all_strengths():
    datasets = synthetic.everything()
    choices = report._choices(datasets)
    for picture in report._pictures(datasets):
        frames = report._frames(picture, choices)
        ranges = [
            [(p.model.id, p.name, p.value) for p in frame.properties if isinstance(p.model, Range1d)]
            for frame in frames[:: len(choices[1]) * len(choices[2])]
        ]
        assert all(found == ranges[0] for found in ranges), picture.name


def test_segments_are_named_by_their_strength():
    many = synthetic.segment()
    one = many.sel(strength=0.5)
    assert set(report._curves(synthetic.segment("identity"), 0.5)) == {"naive"}
    assert set(report._curves(many, 0.0)) == {"aligned"}
    assert set(report._curves(many, 0.5)) == {"aligned", "perturbed"}
    assert set(report._curves(many.sel(strength=[0.5, 1.0]), 0.5)) == {"perturbed"}
    assert set(report._curves(one, 0.0)) == {"perturbed"}
    assert set(report._curves(many.sel(strength=0.0), 0.0)) == {"aligned"}
    with explains("two of the segments are both the naive one", "leave the other out"):
        render([synthetic.segment("identity")] * 2, "twice")


def test_strengths_that_differ_are_explained():
    with explains("different perturbation strengths", "plane 0, 0.5, 1", "samples 0, 1", "same strength="):
        render([synthetic.plane(5), synthetic.samples().sel(strength=[0.0, 1.0])], "mixed")


SETTINGS = {
    "plane": {"resolution": 3, "z": ["linear1"], "parameters": {"p": 0.3}, "strength": [0.0, 0.5]},
    "segment": {"points": 3, "start": -0.5, "alignment": "identity", "max_memory": 10**9},
    "samples": {"n": 2, "distribution": "normal", "parameters": {"std": 0.1, "clip": 1.0}, "splits": ["train", "test"]},
    "perturbation": {"strength": [0.0, 1.0], "repeats": 1, "perturbation": "noise"},
}


@pytest.mark.parametrize("sweep", list(SETTINGS))
def test_python_and_command_line_compute_the_recipe_again(sweep, tmp_path):
    modes = mc.open_modes("digits-mlp")
    settings = {**SETTINGS[sweep], "plan": {"strategy": "loop", "examples": 90}}  # to the bit, so not by measurement
    if "z" in settings:
        settings = {**settings, "z": list(modes.spec.layer_names[:1])}
    dataset = last_dataset(make_sweep(sweep, settings).steps(modes))
    table = report._recipe_table(dataset)
    code = table["code"].replace("mc.sweep", "again = mc.sweep")
    scope = {}
    exec(code, scope)
    words = shlex.split(table["command"])
    out = tmp_path / words[words.index("--out") + 1]
    words[words.index("--out") + 1] = str(out)
    app(words[1:], standalone_mode=False)
    for again in (scope["again"], mc.open(out)):
        assert mc.recipe(again) == mc.recipe(dataset)
        xr.testing.assert_equal(again.loss, dataset.loss)
