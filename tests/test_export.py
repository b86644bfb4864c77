"""Results as tables and as pictures."""

import doctest
import io
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import synthetic
import xarray as xr
from bokeh.models import DataTable, Legend, Plot
from explained import explains
from PIL import Image
from pyarrow import parquet

import modecomb_viz as mc
from modecomb_viz.export import browser, pictures
from modecomb_viz.export import tables as export_tables
from modecomb_viz.plots import PLOTS
from modecomb_viz.results import recipe

RESULTS = {f"{recipe(d)['sweep']}-{i}": d for i, d in enumerate(synthetic.all_sweeps())}
every = pytest.mark.parametrize("dataset", RESULTS.values(), ids=list(RESULTS))

#: The tables of a result that are no statistics, by sweep.
ROWS = {
    "plane": ["points", "mark"],
    "segment": ["points"],
    "samples": ["points", "reference"],
    "perturbation": ["points", "reference"],
    "laws": ["points", "reference"],
    "layers": ["points", "layer"],
    "transitivity": ["points", "pair-route"],
    "similarity": ["points", "model-other", "k"],
    "points": ["points"],
    "search": ["points", "reference", "end", "step-slot"],
    "cut": ["points"],
    "inspection": ["points", "label-predicted", "shown", "shown-model", "toward-layer", "toward"],
}
STATISTICS = {
    "plane": [],
    "segment": ["barriers"],
    "samples": ["summary", "quantiles"],
    "perturbation": ["barriers", "tolerance"],
    "laws": ["summary", "quantiles"],
    "layers": ["barriers"],
    "transitivity": ["barriers", "transitivity"],
    "similarity": ["diversity", "embedding"],
    "points": [],
    "search": [],
    "cut": ["barriers"],
    "inspection": [],
}


@every
def test_every_sweep_has_its_tables(dataset):
    sweep = recipe(dataset)["sweep"]
    found = mc.tables(dataset)
    assert list(found) == [*ROWS[sweep], *STATISTICS[sweep]] == export_tables.table_names(dataset)
    for name, frame in found.items():
        pd.testing.assert_frame_equal(frame, mc.table(dataset, name))
        assert frame.attrs["units"].keys() == set(frame.columns)


@every
def test_the_tables_hold_the_whole_result(dataset):
    """Every variable comes back from its table, value by value."""
    found, missing = mc.tables(dataset), set(dataset.data_vars) - {"image"}
    for name in ROWS[recipe(dataset)["sweep"]]:
        frame = found[name]
        missing -= set(frame.columns)
        for variable in dataset.data_vars.keys() & set(frame.columns):
            dims = list(dataset[variable].dims)
            once = frame.drop_duplicates(dims).set_index(dims)[variable]
            again = once.to_xarray().reindex_like(dataset[variable].drop_attrs())
            np.testing.assert_array_equal(again.transpose(*dims), dataset[variable])
            assert frame.attrs["units"][variable] == dataset[variable].attrs["units"]
    assert not missing
    assert len(found["points"]) == dataset.loss.size


def test_statistics_are_those_of_the_package():
    transitivity = synthetic.transitivity()
    frame = mc.table(transitivity, "barriers").set_index(["strength", "split", "pair", "route", "definition"])
    xr.testing.assert_equal(
        frame.barrier.to_xarray().sortby("route"), mc.barriers(transitivity).barrier.sortby("route")
    )
    assert mc.table(transitivity, "transitivity").kind.unique().tolist() == ["naive", "direct", "through", "universe"]
    samples = synthetic.samples()
    summary, row = mc.summary(samples), mc.table(samples, "summary").set_index(["split", "strength"]).loc["train", 0.5]
    at = {"split": "train", "strength": 0.5}
    assert row.mean_interval_high == summary.mean_interval.sel(**at, bound="high")
    assert row.share_interval_low == summary.share_interval.sel(**at, bound="low")
    assert row.worst_excess == summary.worst_excess.sel(**at)
    quantiles = mc.table(samples, "quantiles")
    assert quantiles.columns.tolist()[:3] == ["strength", "split", "quantile"]
    assert len(quantiles) == summary.excess_quantile.size
    assert quantiles.attrs["units"]["quantile_interval_low"] == "nats per example"


def test_one_point_is_one_row():
    point = synthetic.segment().isel(strength=1, split=0, t=4)
    (row,) = mc.table(point).to_dict("records")
    assert row == {
        "strength": 0.5,
        "split": "test",
        "t": 0.5,
        "loss": point.loss.item(),
        "accuracy": point.accuracy.item(),
    }


def test_csv_has_units_in_its_header_and_every_digit(tmp_path):
    dataset = synthetic.segment("identity")
    dataset.loss[0, 1], dataset.loss[0, 2] = np.nan, np.inf
    text = mc.save_table(dataset, tmp_path / "x.csv").read_text()
    lines = text.splitlines()
    assert lines[0] == "split,t [coefficient],loss [nats per example],accuracy [fraction]"
    assert [line.split(",")[2] for line in lines[2:4]] == ["NaN", "inf"]
    assert len(lines) == 1 + dataset.loss.size
    bare = mc.save_table(dataset, tmp_path / "y.csv", units=False).read_text()
    assert bare.splitlines()[1:] == lines[1:]
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(bare)), mc.table(dataset), check_exact=True)


@every
def test_parquet_keeps_values_units_and_recipe(dataset, tmp_path):
    for name, frame in mc.tables(dataset).items():
        path = mc.save_table(dataset, tmp_path / f"{name}.parquet", of=name)
        pd.testing.assert_frame_equal(pd.read_parquet(path), frame)
        schema = parquet.read_schema(path)
        assert schema.metadata[b"recipe"].decode() == dataset.attrs["recipe"]
        assert schema.metadata[b"wall_time"] == b"1.5"
        for column, unit in frame.attrs["units"].items():
            assert schema.field(column).metadata[b"units"].decode() == unit
            assert schema.field(column).metadata[b"long_name"]


def test_a_table_that_is_not_there_is_explained(tmp_path):
    dataset = synthetic.samples()
    with explains("no table 'barriers'", "points, reference, summary, quantiles"):
        mc.table(dataset, "barriers")
    with explains(".csv or .parquet", "x.xlsx", "Choose one"):
        mc.save_table(dataset, tmp_path / "x.xlsx")
    with explains("no variable 'loss'", "only accuracy", "Give what a sweep returned"):
        mc.tables(dataset[["accuracy"]])
    with explains("cannot write '/proc/x.csv'"):
        mc.save_table(dataset, "/proc/x.csv")
    assert list(tmp_path.iterdir()) == []


def test_tables_need_neither_torch_nor_a_drawing_library():
    code = (
        "import sys, modecomb_viz as mc; mc.save_table, mc.tables;"
        "print(*[m for m in ('torch', 'bokeh', 'holoviews', 'panel') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, encoding="utf-8")
    assert done.stdout.strip() == ""


def test_the_examples_are_right():
    for module in (export_tables, pictures):
        outcome = doctest.testmod(module)
        assert outcome.attempted
        assert not outcome.failed


@pytest.fixture
def roots(monkeypatch):
    """What would be drawn, without a browser: every figure that Chromium was asked for, with kind and scale."""
    asked = []

    def draw(root, kind, scale):
        asked.append((root, kind, scale))
        return b"drawn"

    monkeypatch.setattr(pictures, "drawn", draw)
    return asked


@every
def test_every_sweep_becomes_figures_alone(dataset, roots, tmp_path):
    sweep = recipe(dataset)["sweep"]
    strength = 0.5 if "strength" in dataset.dims and sweep != "perturbation" else None
    path = mc.save_picture(dataset, tmp_path / "x.svg", quantity="loss", split="train", strength=strength)
    assert path.read_bytes() == b"drawn"
    ((root, kind, scale),) = roots
    assert (kind, scale) == ("svg", 1.0)
    figures = list(root.select({"type": Plot}))
    assert figures
    assert all(figure.toolbar_location is None for figure in figures)
    assert not list(root.select({"type": DataTable}))
    assert all(not isinstance(legend.location, tuple) or legend.margin == 0 for legend in root.select({"type": Legend}))


def test_the_results_are_of_all_plots():
    assert {recipe(dataset)["sweep"] for dataset in RESULTS.values()} == set(PLOTS)


def test_one_strength_is_shown_as_if_it_had_been_computed_alone(roots, tmp_path):
    for strength, name in ((0.0, "aligned"), (0.5, "perturbed")):
        mc.save_picture(synthetic.segment(), tmp_path / "x.png", strength=strength)
        figure = roots[-1][0]
        assert figure.title.text.startswith(f"{name}: D2 barrier")
    mc.save_picture(synthetic.segment(), tmp_path / "x.png", strength=0.5, width=700, height=300, scale=3.0)
    root, kind, scale = roots[-1]
    assert (root.width, root.height, kind, scale) == (700, 300, "png", 3.0)


def test_wrong_options_of_a_picture_are_explained(roots, tmp_path):
    segment, naive, png = synthetic.segment(), synthetic.segment("identity"), tmp_path / "x.png"
    with explains("the result has 3 strengths", "0, 0.5, 1"):
        mc.save_picture(segment, png)
    with explains("no strength 0.7", "0, 0.5, 1"):
        mc.save_picture(segment, png, strength=0.7)
    with explains("strength=0.5", "leave it out"):
        mc.save_picture(naive, png, strength=0.5)
    with explains(".png or .svg", "x.pdf"):
        mc.save_picture(naive, tmp_path / "x.pdf")
    with explains("scale is for .png", "SVG is sharp at any size"):
        mc.save_picture(naive, tmp_path / "x.svg", scale=2.0)
    with explains("scale must be 0.25 to 8", "9"):
        mc.save_picture(naive, png, scale=9.0)
    with explains("height must be 100 to 8,000", "20"):
        mc.save_picture(naive, png, height=20)
    with explains("width cannot be given", "2 figures"):
        mc.save_picture(synthetic.transitivity().isel(strength=0, drop=True), png, width=900)
    with explains("plot_segment has no option measure", "quantity, split"):
        mc.save_picture(naive, png, measure="cka")
    with explains("quantity must be 'loss' or 'accuracy'"):
        mc.save_picture(naive, png, quantity="error")
    with explains("there is no plot of sweep_sphere", "plane"):
        mc.save_picture(naive.assign_attrs(recipe='{"sweep": "sphere"}'), png)
    assert roots == []
    assert list(tmp_path.iterdir()) == []


def test_a_missing_browser_is_explained(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(browser.CHROMIUM, raising=False)
    with explains("chromium, chromium-browser, google-chrome", "on the PATH", "apt-get install", browser.CHROMIUM):
        mc.save_picture(synthetic.segment("identity"), tmp_path / "x.png")
    monkeypatch.setenv(browser.CHROMIUM, str(tmp_path / "none"))
    with explains(browser.CHROMIUM, str(tmp_path / "none"), "no program"):
        browser.find_chromium()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("", ["showed no picture", "It said: no display", "TMPDIR", browser.CHROMIUM]),
        ('<pre id="problem">Error: a &lt;b&gt; failed</pre>', ["could not be drawn: Error: a <b> failed"]),
        ('<pre id="picture">data:,</pre>', ["more pixels than Chromium can draw", "smaller scale"]),
        ('<pre id="picture">data:image/png;base64,!!</pre>', ["gave a PNG that cannot be read"]),
    ],
)
def test_a_browser_that_draws_nothing_is_explained(monkeypatch, tmp_path, printed, words):
    fake = tmp_path / "fake"
    fake.write_text(f"#!/bin/sh\necho '{printed}'\necho 'no display' >&2\n")
    fake.chmod(0o755)
    monkeypatch.setenv(browser.CHROMIUM, str(fake))
    with explains(*words):
        mc.save_picture(synthetic.segment("identity"), tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == [fake]


@pytest.fixture(scope="module")
def hostile():
    """A map whose named points would end a script or a text if they were not escaped."""
    plane = synthetic.plane().sel(strength=0.5, drop=True)
    return plane.assign_coords(mark=["A", "</script><b>", "<!-- & z"]).assign_attrs(plane.attrs)


def test_a_png_has_its_size_and_is_opaque(hostile, tmp_path):
    path = mc.save_picture(hostile, tmp_path / "x.png", width=500, height=300, scale=1.5)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGBA"))
    assert pixels.shape == (450, 750, 4)
    assert (pixels[..., 3] == 255).all()
    assert (pixels[0, :, :3] == 255).all()
    assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 200, "a map has many colours"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.png"]


def texts(path: Path) -> tuple[ElementTree.Element, list[str]]:
    """The root of an SVG and what is written in it."""
    root = ElementTree.parse(path).getroot()
    return root, ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_an_svg_has_its_size_and_its_texts(hostile, tmp_path):
    path = mc.save_picture(hostile, tmp_path / "x.svg", quantity="accuracy", split="train", width=600)
    root, found = texts(path)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("600", "360", "0 0 600 360")
    assert {"train accuracy [fraction]", "A", "</script><b>", "<!-- & z"} <= set(found)
    assert any("u: where z = 1" in text for text in found)


def test_figures_side_by_side_are_one_svg(tmp_path):
    root, found = texts(mc.save_picture(synthetic.similarity(), tmp_path / "x.svg"))
    assert int(root.get("width")) > 1000
    assert "midpoint" in found
    assert any(text.startswith("shows ") for text in found)
    assert any("draws whose logits are averaged" in text for text in found)
