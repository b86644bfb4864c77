"""The report: whole, escaped, small, and rendered without Panel."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import synthetic
import xarray as xr
from explained import explains

import modecomb_viz as mc
from modecomb_viz.report import SIZE_BUDGET, render


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
