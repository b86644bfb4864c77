"""Figures by their structure: sources, ranges, labels with units."""

import json

import numpy as np
import pytest
import synthetic
import xarray as xr
from bokeh.models import ColumnDataSource, LogColorMapper
from explained import explains

from modecomb_viz.figures import (
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
    color_range,
)
from modecomb_viz.figures.laws import _exists, border, cell_edges
from modecomb_viz.figures.looks import number, shortened, ticks
from modecomb_viz.figures.maps import mark_columns
from modecomb_viz.figures.scales import compressed, compressed_ticks
from modecomb_viz.figures.similarity import compared, possible_region, turned
from modecomb_viz.hypercube import with_moments


def at(dataset, strength=0.0):
    return dataset.sel(strength=strength, drop=True)


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
    figure.update(at(synthetic.plane(17), 1.0).assign_attrs(recipe='{"other": 1}'))
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
    shown.update(plane.assign_attrs(recipe="{}"))
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
    for high in np.linspace(0.0441, 0.3, 60):
        found = ticks(0.044, high)
        assert 3 <= len(found) <= 9, high
        assert 0.044 <= found[0] < found[-1] <= high


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


def test_transitivity_draws_every_route_that_a_pair_has():
    figure = TransitivityFigure()
    figure.update(at(synthetic.transitivity()))
    marks = figure.sources["marks"].data
    assert sorted(zip(marks["pair"], marks["route"], strict=True)) == sorted(
        (pair, route)
        for pair, third in {"A–B": "C", "A–C": "B", "B–C": "A"}.items()
        for route in ("naive", "direct", f"through {third}", "universe")
    )
    heights = {"naive": 1.0, "direct": 0.02, "universe": 0.03}
    np.testing.assert_allclose(marks["value"], [heights.get(route, 0.05) for route in marks["route"]])
    np.testing.assert_allclose(marks["x"], compressed(marks["value"]))
    assert len(set(zip(marks["color"], marks["marker"], strict=True))) == 4
    assert len(set(marks["y"])) == 12
    assert figure.figure.xaxis[0].axis_label == "test loss barrier D2 [nats per example], logarithmic above 0.01"
    assert list(figure.figure.yaxis[0].major_label_overrides.values()) == ["A–B", "A–C", "B–C"]
    start, end = figure.figure.x_range.start, figure.figure.x_range.end
    assert start < 0 < max(marks["x"]) < end
    figure.update(at(synthetic.transitivity()), quantity="accuracy", definition="D4")
    assert figure.figure.xaxis[0].axis_label.startswith("test error barrier D4 [fraction]")
    with explains("definition must be one of D1, D2, D3, D4", "'D5'"):
        figure.update(at(synthetic.transitivity()), definition="D5")


def test_a_barrier_that_is_no_number_is_a_cross():
    figure, dataset = TransitivityFigure(), at(synthetic.transitivity()).copy(deep=True)
    dataset.loss[0, 0, 1, 2] = np.nan
    figure.update(dataset)
    lost = figure.sources["lost"].data
    assert (lost["pair"], lost["route"]) == (["A–B"], ["direct"])
    assert figure.figure.title.text == "grey ×: not a number, 1"
    assert len(figure.sources["marks"].data["x"]) == 11


def test_many_pairs_make_a_tall_figure():
    figure, dataset = TransitivityFigure(), at(synthetic.transitivity())
    figure.update(dataset)
    few = figure.figure.height
    figure.update(dataset.isel(pair=np.arange(12) % 3).assign_coords(pair=[f"pair {i}" for i in range(12)]))
    assert figure.figure.height > few


def test_the_compressed_axis_holds_zero_and_decades():
    marks = compressed_ticks(*compressed(np.array([0, 3])))
    assert next(iter(marks.values())) == "0"
    assert float(list(marks.values())[-1]) >= 1
    np.testing.assert_allclose(compressed(np.array([float(text) for text in marks.values()])), list(marks))
    assert list(compressed_ticks(*compressed(np.array([-0.02, 0.02]))).values()) == [
        "-0.02",
        "-0.01",
        "0",
        "0.01",
        "0.02",
    ]


def test_similarity_shows_all_networks_in_all_panels():
    figure, dataset = SimilarityFigure(), synthetic.similarity()
    figure.update(dataset, quantity="accuracy")
    sources, plane = figure.sources, figure.parts["plane"]
    assert sources["plane.named"].data["name"] == ["A", "B", "midpoint", "ensemble of A and B"]
    assert sources["plane.others"].data["label"] == ["C"]
    np.testing.assert_allclose(sources["plane.draws"].data["x"], [0.5, 0.6, 0.7, 0.8])
    np.testing.assert_allclose(sources["plane.draws"].data["y"], [0.65, 0.6, 0.55, 0.5])
    assert plane.figure.xaxis[0].axis_label == "disagreement [fraction], from A"
    assert plane.figure.yaxis[0].axis_label == "test accuracy [fraction]"
    assert plane.figure.title.text == "grey: what the error rates allow"
    assert len(figure.panels) == 3
    np.testing.assert_array_equal(sources["ensemble.curve"].data["k"], [1, 2, 3, 4])
    np.testing.assert_allclose(sources["ensemble.lines"].data["y"], [0.9, 0.85, 0.7, 0.575])
    figure.update(dataset, quantity="loss", split="train", measure="jensen_shannon")
    assert len(sources["plane.possible"].data["y"]) == 0
    assert plane.figure.xaxis[0].axis_label == "Jensen–Shannon [nats per example], from A"
    assert figure.parts["ensemble"].figure.yaxis[0].axis_label == "train loss [nats per example]"


def test_the_embedding_keeps_distances_and_turns_a_and_b_level():
    dataset = synthetic.similarity()
    x, y, explained = turned(dataset, "disagreement", "test")
    assert explained == pytest.approx(1)
    np.testing.assert_allclose(np.diff(x), 0.1)
    np.testing.assert_allclose(y, 0, atol=1e-6)
    figure = SimilarityFigure()
    figure.update(dataset)
    view = figure.parts["places"].figure
    assert view.x_range.end - view.x_range.start == pytest.approx(view.y_range.end - view.y_range.start)
    assert view.title.text == "shows 100% of the squared distances"


def test_error_rates_bound_the_disagreement():
    accuracy, least, most = possible_region(0.9, 0.5, 1.0)
    np.testing.assert_allclose([accuracy[0], least[0], most[0]], [0.5, 0.4, 0.6])
    np.testing.assert_allclose([accuracy[-1], least[-1], most[-1]], [1.0, 0.1, 0.1])


def test_groups_of_networks_are_compared_by_every_measure():
    table = compared(synthetic.similarity(), "test").set_index(["measure", "networks"])
    ours = table.loc["disagreement", "draws – A"]
    np.testing.assert_allclose(ours[["mean", "lowest", "highest"]].astype(float), [0.65, 0.5, 0.8])
    assert table.loc[("disagreement", "draws – draws"), "pairs"] == 6
    assert ("weight_distance", "ensemble – A, B") not in table.index
    assert ("weight_angle", "draws – A") not in table.index
    dataset = synthetic.similarity()
    dataset.disagreement[0, 5, 0] = np.nan
    assert np.isnan(
        compared(dataset, "test").set_index(["measure", "networks"]).loc[("disagreement", "draws – A"), "mean"]
    )


def test_layers_pick_out_those_that_move_most():
    figure, dataset = LayersFigure(), at(synthetic.layers())
    figure.update(dataset)
    curves, rows = figure.parts["curves"], figure.parts["rows"]
    labels = [item.label.value for item in curves._items if item.visible]
    assert labels == [f"block.{k}.conv" for k in (7, 6, 5, 4, 3, 2)]
    assert curves._others.label.value == "2 other layers"
    assert figure.sources["curves.others"].data["layer"] == ["block.0.conv", "block.1.conv"]
    assert curves.figure.xaxis[0].axis_label == "t: coefficient of one layer, the others at 0"
    data = figure.sources["rows.rows"].data
    np.testing.assert_allclose(data["change"], np.arange(1, 9) / 10)
    np.testing.assert_allclose(data["slope"], np.arange(8) - 2.0)
    np.testing.assert_allclose(data["barrier"], 0, atol=1e-12)
    assert next(iter(rows.figure.yaxis[0].major_label_overrides.values())) == "block.0.conv"
    assert rows.figure.xaxis[0].axis_label == "change in test loss [nats per example]"
    assert rows._slopes.xaxis[0].axis_label == "∂L/∂λ [nats per coefficient]"
    assert rows._slopes.y_range is rows.figure.y_range
    figure.update(dataset, highlighted=["block.1.conv"])
    assert [item.label.value for item in curves._items if item.visible] == ["block.1.conv"]


def test_few_layers_leave_no_others():
    figure = LayersFigure()
    figure.update(at(synthetic.layers(3)), quantity="accuracy")
    curves = figure.parts["curves"]
    assert [item.visible for item in (*curves._items, curves._others)] == [True] * 3 + [False] * 4
    assert figure.sources["rows.rows"].data["change"][0] < 0


def test_many_layers_stay_legible():
    figure, dataset = LayersFigure(), at(synthetic.layers(60))
    names = [f"features.denseblock{k // 16}.denselayer{k % 16}.convolution" for k in range(60)]
    figure.update(dataset.assign_coords(layer=names))
    assert figure.parts["rows"].figure.height >= 60 * 18
    labels = figure.parts["rows"].figure.yaxis[0].major_label_overrides
    assert max(map(len, labels.values())) <= 24
    assert shortened("a.b") == "a.b"


def test_a_layer_without_numbers_is_said_and_marked():
    figure, dataset = LayersFigure(), at(synthetic.layers()).copy(deep=True)
    dataset.loss[0, 3, 2] = np.nan
    figure.update(dataset)
    assert figure.parts["curves"].figure.title.text == "1 of 8 layers have points that are not finite"
    assert figure.sources["rows.lost"].data["layer"] == ["block.3.conv"]
    assert np.isnan(figure.sources["rows.rows"].data["barrier"][3])


def test_points_stand_in_rows_with_stems_from_the_worse_end():
    figure = PointsFigure()
    figure.update(at(synthetic.points()))
    rows = figure.sources["points"].data
    assert rows["point"][:6] == ["A", "π(B)", "midpoint", "magnitude", "sign", "block.0.conv of B"]
    np.testing.assert_allclose(10 ** np.array(rows["x"]), rows["value"])
    np.testing.assert_allclose(rows["worse"], np.log10(0.3))
    np.testing.assert_allclose(rows["excess"][:3], [-0.2, 0, 0.1], atol=1e-12)
    assert figure.figure.xaxis[0].axis_label == "test loss [nats per example], logarithmic"
    assert figure._far.xaxis[0].axis_label == "from the midpoint [× ‖A − π(B)‖]"
    assert len(set(rows["color"])) == 6
    figure.update(at(synthetic.points()), quantity="accuracy")
    np.testing.assert_allclose(figure.sources["points"].data["worse"], np.exp(-0.3))


def test_a_point_that_is_no_number_is_a_cross():
    figure, dataset = PointsFigure(), at(synthetic.points()).copy(deep=True)
    dataset.loss[0, 3] = np.nan
    figure.update(dataset)
    assert figure.sources["lost"].data["point"] == ["magnitude"]
    assert "magnitude" not in figure.sources["points"].data["point"]
    assert figure.figure.title.text.endswith("grey ×: not a number, 1")
    dataset.loss[0, 0] = np.nan
    figure.update(dataset)
    assert not figure._worse.visible, "what is worse than a NaN is not known"
    assert np.isnan(figure.sources["points"].data["excess"]).all()


def test_a_search_shows_its_trace_and_its_coefficients():
    figure = SearchFigure()
    figure.update(at(synthetic.search()))
    trace, coefficients = figure.parts["trace"], figure.parts["coefficients"]
    labels = [item.label.value for item in trace._items.values() if item.visible]
    assert labels == ["best so far, test loss", "training examples searched", "A 0.1", "B 0.3"]
    found = figure.sources["trace.found"].data
    np.testing.assert_allclose(10 ** found["y"], found["value"])
    np.testing.assert_allclose(found["value"][[0, -1]], [0.5, 0.1])
    np.testing.assert_allclose(figure.sources["trace.A"].data["value"], [0.1, 0.1])
    (image,) = figure.sources["coefficients.image"].data["image"]
    np.testing.assert_allclose(image[:, -1], [1, 2 / 3, 1 / 3, 0], atol=1e-6)
    assert list(coefficients.figure.yaxis[0].major_label_overrides.values()) == [f"block.{k}.conv" for k in range(4)]
    assert coefficients.figure.title.text == "one per layer"
    figure.update(at(synthetic.search("unit")), quantity="accuracy", split="train")
    assert next(item.label.value for item in trace._items.values() if item.visible) == "best so far, train accuracy"
    assert not trace._items["searched"].visible
    assert coefficients.figure.title.text == "mean over the units of a layer"


@pytest.mark.parametrize(("bounds", "colors"), [([0.0, 1.0], (0, 1)), ([-0.5, 1.0], (-0.5, 1.5))])
def test_the_middle_colour_of_coefficients_is_the_midpoint(bounds, colors):
    dataset = at(synthetic.search())
    dataset.attrs["recipe"] = json.dumps(json.loads(dataset.attrs["recipe"]) | {"bounds": bounds})
    figure = SearchFigure()
    figure.update(dataset)
    mapper = figure.parts["coefficients"]._mapper
    assert (mapper.low, mapper.high) == colors


def test_laws_are_cells_around_their_moments():
    figure, dataset = LawsFigure(), at(synthetic.laws())
    figure.update(dataset, epsilon=0.15)
    cells = figure.sources["mean.cells"].data
    assert len(cells["value"]) == 15
    np.testing.assert_allclose(cells["value"].reshape(3, 5)[:, 0], [0, 0.09, 0.18], atol=1e-12)
    np.testing.assert_allclose([cells["left"][0], cells["right"][-1]], [-0.125, 1.125])
    np.testing.assert_allclose(figure.sources["share.cells"].data["value"].reshape(3, 5)[:, 0], [1, 1, 0])
    assert (cells["low"] <= cells["excess"]).all()
    assert (cells["excess"] <= cells["high"]).all()
    border_line = figure.sources["mean.border"].data
    np.testing.assert_allclose(border_line["y0"], [0.375] * 5)
    assert figure.sources["mean.marks"].data["text"] == ["A", "π(B)", "random corners"]
    mean, share = figure.parts["mean"], figure.parts["share"]
    assert mean._bar.title == "mean excess test loss [nats per example]"
    assert (share._bar.title, share._mapper.low, share._mapper.high) == ("draws of low test loss [fraction]", 0, 1)
    assert mean.figure.xaxis[0].axis_label == "mean of the law [coefficient]"
    assert mean.figure.yaxis[0].axis_label == "standard deviation of the law [coefficient]"
    assert "white line: mean excess 0.15 nat" in mean.figure.title.text
    figure.update(dataset, quantity="accuracy")
    assert mean._bar.title == "mean test accuracy [fraction]"


def test_laws_that_do_not_exist_are_grey_and_said():
    figure, dataset = LawsFigure(), at(synthetic.laws("beta"))
    figure.update(dataset)
    for source in ("mean.cells", "share.cells"):
        assert np.isnan(figure.sources[source].data["value"]).sum() == 12
    assert figure.parts["share"].figure.title.text.endswith("grey: no such law")
    dataset = at(synthetic.laws()).copy(deep=True)
    dataset.loss[0, 1, 1] = np.nan
    figure.update(dataset)
    assert figure.parts["mean"].figure.title.text.endswith("grey: NaN")
    assert figure.sources["share.cells"].data["value"][6] == 0


def test_one_deviation_is_a_curve_with_its_interval():
    figure, dataset = LawsFigure(), at(synthetic.laws("bernoulli"))
    figure.update(dataset)
    curve, dots = figure.sources["mean.curve"].data, figure.sources["mean.dots"].data
    np.testing.assert_allclose(curve["y"], 0.36 * np.sqrt([0, 0.1875, 0.25, 0.1875, 0]), atol=1e-12)
    assert (curve["low"] < curve["y"]).all()
    assert len(dots["x"]) == 20
    assert len(figure.sources["mean.cells"].data["value"]) == 0
    mean = figure.parts["mean"]
    assert not mean._bar.visible
    assert mean.figure.yaxis[0].axis_label == "mean excess test loss [nats per example]"
    assert figure.sources["mean.lines"].data["text"] == ["ε = 0.1 nat"]
    figure.update(dataset, quantity="accuracy")
    assert np.isnan(figure.sources["mean.curve"].data["low"]).all()
    assert figure.sources["mean.lines"].data["text"] == ["A", "B"]
    figure.update(at(synthetic.laws()))
    assert mean._bar.visible
    assert len(figure.sources["mean.curve"].data["x"]) == 0


def test_borders_of_cells():
    np.testing.assert_allclose(cell_edges(np.array([0.0, 0.1, 0.4])), [-0.05, 0.05, 0.25, 0.55])
    np.testing.assert_allclose(cell_edges(np.array([0.5])), [0.4375, 0.5625])
    low, known = np.array([[True, False]]), np.array([[True, True]])
    x, y = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0])
    assert border(low, known, x, y) == [(1.0, 0.0, 1.0, 1.0)]
    assert border(low, np.array([[True, False]]), x, y) == []


PANELS = {
    TransitivityFigure: synthetic.transitivity,
    SimilarityFigure: synthetic.similarity,
    LayersFigure: synthetic.layers,
    LawsFigure: synthetic.laws,
    PointsFigure: synthetic.points,
    SearchFigure: synthetic.search,
}


@pytest.mark.parametrize("make", list(PANELS))
def test_every_choice_has_a_frame_of_one_shape(make):
    figure, dataset = make(), PANELS[make]()
    if "strength" in dataset.dims:
        with explains("shows one strength", "0, 0.5, 1", "dataset.sel(strength="):
            figure.update(dataset)
        dataset = at(dataset, 0.5)
    with explains("split must be one of test, train", "'dev'"):
        figure.update(dataset, split="dev")
    with explains("quantity must be 'loss' or 'accuracy'", "'error'"):
        figure.update(dataset, quantity="error")
    shapes = set()
    for quantity in ("loss", "accuracy"):
        for split in synthetic.SPLITS:
            frame = figure.frame(dataset, quantity=quantity, split=split)
            for name, columns in frame.columns.items():
                assert columns.keys() == figure.sources[name].data.keys()
                assert len({len(column) for column in columns.values()}) == 1, name
            shapes.add((tuple(frame.columns), tuple((p.model.id, p.name) for p in frame.properties)))
            figure.apply(frame)
    assert len(shapes) == 1
