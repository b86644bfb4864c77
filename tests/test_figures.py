"""Figures by their structure: sources, ranges, labels with units."""

import itertools
import json

import numpy as np
import pytest
import synthetic
import xarray as xr
from bokeh.models import ColumnDataSource, LogColorMapper
from explained import explains
from synthetic import at

from modecomb_viz.figures import (
    MapFigure,
    PerturbationFigure,
    SamplesFigure,
    SegmentFigure,
    color_range,
)
from modecomb_viz.figures.laws import _exists
from modecomb_viz.figures.looks import number, ticks
from modecomb_viz.figures.maps import mark_columns
from modecomb_viz.hypercube import with_moments


def estimated(plane, stride):
    """The plane as if every stride-th point were evaluated."""
    error = np.full(plane.loss.shape, 0.01)
    error[..., ::stride, ::stride] = 0
    dims = plane.loss.dims
    return plane.assign(loss_error=(dims, error), accuracy_error=(dims, error / 10)) if stride > 1 else plane


@pytest.fixture
def shown():
    """A map of the synthetic plane."""
    figure = MapFigure()
    figure.update(at(synthetic.plane()))
    return figure


def test_map_draws_every_point_at_the_centre_of_its_cell(shown):
    data = shown.sources["image"].data
    (image,) = data["image"]
    assert image.shape == (17, 17)
    assert image.dtype == np.float32
    assert (data["x"][0], data["dw"][0]) == pytest.approx((-1 / 32, 1 + 1 / 16))
    np.testing.assert_allclose(image, at(synthetic.plane()).loss.sel(split="test"), rtol=1e-6)


def test_map_says_what_it_shows(shown):
    assert shown.figure.xaxis[0].axis_label == "u: where z = 1 [coefficient]"
    assert shown.figure.yaxis[0].axis_label == "v: where z = 0 [coefficient]"
    assert shown._bar.title == "test loss [nats per example]"
    marks = shown.sources["marks"].data
    assert marks["text"] == ["A  0.05", "π(B)  0.15", "z  0.25"]
    assert marks["align"] == ["left", "right", "right"]


def test_refinement_moves_neither_axes_nor_colours():
    figure, plane = MapFigure(), at(synthetic.plane(17))
    seen = []
    for stride in (4, 2, 1):
        figure.update(estimated(plane, stride))
        ranges = (figure.figure.x_range.start, figure.figure.x_range.end, figure._linear.low, figure._linear.high)
        seen.append(ranges)
    assert len(set(seen)) == 1
    figure.update(synthetic.retold(at(synthetic.plane(17), 1.0), strength=1.0))
    assert (figure._linear.low, figure._linear.high) != seen[0][2:]


def test_texts_of_marks_in_a_row_stand_above_each_other():
    marks = [(0.0, 0.0, "A  0.0551"), (1.0, 0.0, "π(B)  0.0444"), (0.5, 0.0, "midpoint  0.166"), (0.0, 1.0, "π(C)")]
    columns = mark_columns(marks, (-0.3, 1.3), (-0.3, 1.3))
    assert columns["dy"] == [-14, -14, -38, 14]
    assert columns["align"] == ["left", "right", "left", "left"]
    apart = mark_columns([(0.0, 0.0, "A"), (1.0, 0.0, "B"), (0.5, 0.5, "midpoint")], (0, 1), (0, 1))
    assert apart["dy"] == [-14, -14, -14]


def test_colours_widen_where_refinement_leaves_them_and_end_as_those_of_the_exact_map():
    figure, plane = MapFigure(), at(synthetic.plane(17))
    exact = color_range(plane.loss.sel(split="test").values)

    def shown(dataset):
        figure.update(dataset)
        return figure._linear.low, figure._linear.high

    middle = (exact[0] + exact[1]) / 2
    near = estimated(plane, 4)
    near["loss"] = middle + (near.loss - middle) / 10
    low, high = shown(near)
    assert exact[0] < low < high < exact[1]
    far = estimated(plane, 2)
    far["loss"] = middle + (far.loss - middle) * 2
    wide = shown(far)
    assert wide[0] < exact[0]
    assert wide[1] > exact[1]
    assert shown(near) == wide, "nothing narrows while it is refined"
    assert shown(plane) == exact


def test_an_estimate_says_so_and_how_far_it_may_be_off(shown):
    plane = at(synthetic.plane())
    shown.update(estimated(plane, 2).isel(u=slice(1, None)))
    assert shown.figure.title.text == "estimate ± 0.02 (2 SE) · last colour: ≥ 0.215"
    assert shown.sources["marks"].data["text"] == ["A", "π(B)  0.15", "z  0.25"]
    assert shown.sources["image"].data["error"][0].max() == pytest.approx(0.02)
    assert ("within", "± @error{0.0000}") in shown._hover.tooltips
    shown.update(estimated(plane, 5))
    assert shown.sources["marks"].data["text"] == ["A  0.05", "π(B)  ≈ 0.15", "z  ≈ 0.25"]
    unknown = estimated(plane, 2)
    unknown["loss_error"] = unknown.loss_error.where(unknown.u + unknown.v < 1, np.inf)
    shown.update(unknown)
    assert shown.figure.title.text.startswith("estimate ± 0.02 (2 SE), unknown at 153 ·")
    shown.update(plane)
    assert shown.figure.title.text == "last colour: ≥ 0.215"
    assert "error" not in shown.sources["image"].data
    assert len(shown._hover.tooltips) == 3


def test_an_update_replaces_data_and_nothing_else(shown):
    models = set(shown.figure.references())
    shown.update(at(synthetic.plane(), 0.5), quantity="accuracy", split="train", log_scale=True)
    assert set(shown.figure.references()) - models <= {shown._log, *shown._tickers.values()} | {
        m for m in shown.figure.references() if not isinstance(m, ColumnDataSource)
    }
    assert shown._bar.title == "train accuracy [fraction]"


def test_logarithmic_colours_are_for_loss(shown):
    shown.update(at(synthetic.plane()), log_scale=True)
    assert isinstance(shown._image.glyph.color_mapper, LogColorMapper)
    assert shown._log.low > 0
    shown.update(at(synthetic.plane()), quantity="accuracy", log_scale=True)
    assert shown._image.glyph.color_mapper is shown._linear


def test_what_colours_cannot_say_is_said(shown):
    plane = at(synthetic.plane())
    plane.loss[0, 0, 0] = np.nan
    plane.loss[0, 1, 1] = 50.0
    shown.update(synthetic.retold(plane, seed=1))
    assert "grey: NaN" in shown.figure.title.text
    assert "last colour: ≥" in shown.figure.title.text
    assert shown._linear.nan_color == "#bdbdbd"


@pytest.mark.parametrize("distribution", ["uniform", "normal", "beta", "bernoulli"])
def test_figures_know_which_laws_there_are(distribution):
    means = np.linspace(-0.25, 1.25, 13)
    deviations = [np.nan] if distribution == "bernoulli" else np.linspace(0, 0.75, 7)
    laws = xr.Dataset(coords={"mean": means, "deviation": deviations})
    laws.attrs["recipe"] = json.dumps({"distribution": distribution})
    exists = _exists(laws).transpose("mean", "deviation").values.tolist()
    assert exists == [[with_moments(distribution, m, d) is not None for d in deviations] for m in means]


def test_color_range_resists_outliers_and_emptiness():
    values = np.linspace(0, 1, 1000)
    assert color_range(np.append(values, 1e6)) == pytest.approx((0, 0.98), abs=0.01)
    assert color_range(np.array([np.nan, np.inf])) == (0.0, 1.0)
    low, high = color_range(np.full(5, 2.0))
    assert low < high


def test_segment_shows_each_curve_with_its_barrier():
    figure = SegmentFigure()
    figure.update({"naive": synthetic.segment("identity"), "aligned": at(synthetic.segment())})
    labels = {name: item.label.value for name, item in figure._items.items() if item.visible}
    assert labels == {"naive": "naive 1", "aligned": "aligned 0.1"}
    assert figure.figure.title.text == "D2 barrier of each curve, in nats:"
    assert figure.figure.yaxis[0].axis_label == "test loss [nats per example]"
    assert figure.figure.y_range.start < 0.1 < 1.2 < figure.figure.y_range.end
    assert len(figure.sources["perturbed"].data["t"]) == 0
    figure.update({"naive": synthetic.segment("identity"), "perturbed": at(synthetic.segment(), 0.5)})
    assert {name for name, item in figure._items.items() if item.visible} == {"naive", "perturbed"}


def test_samples_show_every_draw_and_every_reference():
    figure = SamplesFigure()
    figure.update(at(synthetic.samples()))
    dots, lines = figure.sources["dots"].data, figure.sources["lines"].data
    np.testing.assert_allclose(10 ** dots["x"], at(synthetic.samples()).loss.sel(split="test"))
    assert lines["text"] == ["A 0.1", "B 0.3", "midpoint 0.25", "naive midpoint 1.2"]
    assert len(set(lines["y"])) == 4
    start, end = figure.figure.x_range.start, figure.figure.x_range.end
    assert all(start < x < end for x in (*dots["x"], *lines["x"]))
    assert figure.figure.xaxis[0].axis_label == "test loss [nats per example], logarithmic"
    assert figure.figure.title.text == "40 draws: mean 0.3, from 0.2 to 0.4"


def test_growing_samples_keep_the_axis():
    figure, samples = SamplesFigure(), at(synthetic.samples())
    figure.update(samples.isel(sample=slice(0, 8)))
    before = figure.figure.x_range.start, figure.figure.x_range.end
    figure.update(samples)
    after = figure.figure.x_range.start, figure.figure.x_range.end
    assert after[0] <= before[0]
    assert after[1] >= before[1]
    first = figure.sources["dots"].data["y"][:8]
    figure.update(samples.isel(sample=slice(0, 8)))
    np.testing.assert_array_equal(figure.sources["dots"].data["y"], first)


def test_samples_count_what_is_not_finite():
    figure, samples = SamplesFigure(), at(synthetic.samples())
    samples.loss[0, 0], samples.loss[0, 1] = np.nan, np.inf
    figure.update(samples)
    assert figure.figure.title.text.endswith("; 2 not finite")


def test_accuracy_is_on_a_linear_axis():
    figure = SamplesFigure()
    figure.update(at(synthetic.samples()), quantity="accuracy")
    accuracy = at(synthetic.samples()).accuracy.sel(split="test")
    np.testing.assert_allclose(figure.sources["dots"].data["x"], accuracy)
    assert all(float(text) == pytest.approx(at) for at, text in figure.figure.xaxis[0].major_label_overrides.items())


def test_perturbation_shows_mean_range_and_references():
    figure = PerturbationFigure()
    figure.update(synthetic.perturbation(), strength=0.5)
    mean = figure.sources["mean"].data
    np.testing.assert_allclose(mean["mean"], [0.25, 0.8, 1.35])
    np.testing.assert_allclose(mean["high"] - mean["low"], [0, 0.1, 0.2], atol=1e-12)
    assert len(figure.sources["dots"].data["churn"]) == 9
    assert figure.sources["cursor"].data["x"] == [0.5]
    assert figure._items["naive midpoint"].label.value == "naive midpoint 1.2"
    assert figure.figure.xaxis[0].axis_label == "perturbation strength [fraction]"


def test_groups_perturbed_alone_are_lines_and_draws_their_mean():
    figure = PerturbationFigure()
    figure.update(synthetic.perturbation_of_draws())
    np.testing.assert_allclose(figure.sources["mean"].data["mean"], [0.25, 0.8, 1.35])
    assert len(figure.sources["dots"].data["churn"]) == 9
    groups = figure.sources["groups"].data
    assert groups["group"] == ["<b>fc1</b>", "fc2"]
    np.testing.assert_allclose(groups["mean"], [[0.25, 0.525, 0.8], [0.25, 0.3875, 0.525]])
    assert figure._perturbed.label.value == "perturbed draws, mean and range"
    assert figure._alone.visible
    figure.update(synthetic.perturbation())
    assert figure._perturbed.label.value == "perturbed midpoint, mean and range"
    assert not figure._alone.visible
    assert figure.sources["groups"].data["group"] == []


def test_numbers_and_ticks():
    assert [number(x) for x in (0.05513, 12.3456, float("nan"))] == ["0.0551", "12.3", "not a number"]
    assert ticks(0.04, 1.2) == [0.05, 0.1, 0.2, 0.5, 1.0]
    assert len(ticks(1e-6, 1e3)) <= 10
    for low, ratio in itertools.product(np.geomspace(0.01, 0.1, 41), (1.01, 1.5, 1.99, 2, 2.05, 2.5, 3, 5, 9, 30, 900)):
        found = ticks(low, ratio * low)
        assert 3 <= len(found) <= 9, (low, ratio)
        assert low <= found[0] < found[-1] <= ratio * low
        assert len(set(np.round(np.diff(found), 9))) == 1 or set(found) <= {
            round(m * 10.0**k, 12) for m in range(1, 10) for k in range(-4, 4)
        }


@pytest.mark.parametrize(
    ("figure", "dataset"), [(MapFigure(), synthetic.plane(5)), (SamplesFigure(), synthetic.samples())]
)
def test_what_cannot_be_shown_is_explained(figure, dataset):
    with explains("shows one strength", "0, 0.5, 1", "dataset.sel(strength="):
        figure.update(dataset)
    with explains("split must be one of test, train", "'dev'"):
        figure.update(at(dataset), split="dev")
    with explains("quantity must be 'loss' or 'accuracy'", "'error'"):
        figure.update(at(dataset), quantity="error")


def test_refinement_keeps_a_readers_zoom():
    figure, plane = MapFigure(), at(synthetic.plane())
    figure.update(estimated(plane, 2))
    figure.figure.x_range.start = 0.3
    figure.update(plane)
    assert figure.figure.x_range.start == 0.3


def test_a_repeat_that_is_nan_is_not_hidden():
    figure, dataset = PerturbationFigure(), synthetic.perturbation()
    dataset.loss[0, 1, 0] = np.nan
    figure.update(dataset)
    mean = figure.sources["mean"].data
    for column in ("mean", "low", "high"):
        np.testing.assert_array_equal(np.isnan(mean[column]), [False, True, False])
