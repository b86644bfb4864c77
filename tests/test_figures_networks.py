"""Figures that compare networks, layers, laws and points, by their structure."""

import json

import numpy as np
import pytest
import synthetic
from explained import explains
from synthetic import at

from modecomb_viz.figures import (
    LawsFigure,
    LayersFigure,
    PointsFigure,
    SearchFigure,
    SimilarityFigure,
    TransitivityFigure,
)
from modecomb_viz.figures.laws import border, cell_edges
from modecomb_viz.figures.looks import shortened
from modecomb_viz.figures.points import point_table
from modecomb_viz.figures.scales import compressed, compressed_ticks
from modecomb_viz.figures.similarity import compared, possible_region, turned


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
    assert figure.figure.title.text == "grey ×: not finite, 1"
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
    assert labels == [f"block.{k}.conv" for k in range(2, 8)]
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
    assert figure.figure.title.text.endswith("grey ×: 1 point is not finite")
    far = figure.sources["lost"].data["midpoint_distance"]
    assert (far, figure._far.renderers[1].data_source) == ([0.1], figure.sources["lost"])
    dataset.loss[0, 0] = np.nan
    dataset.loss[0, 4] = np.inf
    dataset.midpoint_distance[:] = np.nan
    figure.update(dataset)
    assert figure._far.x_range.end == 0.53
    assert figure.figure.title.text.endswith("3 points are not finite")
    assert not figure._worse.visible, "what is worse than a NaN is not known"
    assert np.isnan(figure.sources["points"].data["excess"]).all()


def test_a_point_of_no_known_name_is_refused():
    dataset = at(synthetic.points())
    names = [*dataset.point.values.tolist()[:-1], "a point of one's own"]
    with explains("a point of one's own", "magnitude", "LAYER of B"):
        point_table(dataset.assign_coords(point=names), "loss", "test")


def test_steps_of_a_search_that_are_no_numbers_are_counted():
    figure, dataset = SearchFigure(), at(synthetic.search()).copy(deep=True)
    dataset.searched_loss[3] = np.nan
    figure.update(dataset)
    title = figure.parts["trace"].figure.title
    assert title.text == "1 searched step is not finite"
    dataset.loss[0, [2, 4]] = np.inf
    figure.update(dataset)
    assert title.text == "2 steps are not finite · 1 searched step is not finite"
    figure.update(dataset, quantity="accuracy")
    assert title.text == " "


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
