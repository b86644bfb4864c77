"""HoloViews plots by their structure, and the convention that they share."""

import inspect

import holoviews as hv
import numpy as np
import pytest
import synthetic
from bokeh.plotting import figure
from explained import explains
from synthetic import at

import modecomb_viz as mc
from modecomb_viz import plots
from modecomb_viz.sweep import SWEEPS, last_dataset, make_sweep

RESULTS = {
    "plane": synthetic.plane,
    "segment": synthetic.segment,
    "samples": synthetic.samples,
    "perturbation": synthetic.perturbation,
    "laws": synthetic.laws,
    "layers": synthetic.layers,
    "transitivity": synthetic.transitivity,
    "similarity": synthetic.similarity,
    "points": synthetic.points,
    "search": synthetic.search,
    "cut": synthetic.cut,
    "inspection": synthetic.inspection,
}
every = pytest.mark.parametrize("name", list(RESULTS))


def figures_of(plot):
    """The Bokeh figures of a plot, in the order in which they were made; tables are left out."""
    return sorted(hv.render(plot, backend="bokeh").select({"type": figure}), key=lambda made: int(made.id[1:]))


def test_every_plot_is_found_by_its_sweep():
    assert plots.PLOTS.keys() == RESULTS.keys()
    assert plots.PLOTS.keys() <= SWEEPS.keys()
    for name, plot in plots.PLOTS.items():
        assert plot is getattr(mc, f"plot_{name}")


@every
def test_all_plots_have_one_signature(name):
    parameters = list(inspect.signature(getattr(mc, f"plot_{name}")).parameters.values())
    assert [p.name for p in parameters[:3]] == ["dataset", "quantity", "split"]
    assert {p.kind for p in parameters[1:]} == {inspect.Parameter.KEYWORD_ONLY}
    assert all(p.default is not inspect.Parameter.empty for p in parameters[1:])
    assert f"plot_{name}" in plots.__all__


@every
@pytest.mark.parametrize("quantity", ["loss", "accuracy"])
def test_every_plot_renders_with_labels_and_units(name, quantity):
    plot = getattr(mc, f"plot_{name}")(RESULTS[name](), quantity=quantity, split="train")
    assert bool(plot.traverse(lambda part: part, [hv.HoloMap])) == (
        name not in ("perturbation", "similarity", "inspection")
    )
    unit = {"loss": "[nats per example]", "accuracy": "[fraction]"}[quantity]
    labels = []
    for shown in figures_of(plot):
        labels += [axis.axis_label for axis in (*shown.xaxis, *shown.yaxis)]
        labels += [bar.title for bar in shown.right if hasattr(bar, "color_mapper")]
    said = "error barrier D2" if (name, quantity) == ("transitivity", "accuracy") else quantity
    said = "loss barrier D2" if (name, quantity) == ("transitivity", "loss") else said
    wanted = "examples of a label that are given another" if name == "inspection" else f"train {said} {unit}"
    assert any(wanted in str(label) for label in labels), labels
    assert all(labels), labels


@every
def test_one_strength_needs_no_slider(name):
    dataset = RESULTS[name]()
    if "strength" in dataset.dims and name != "perturbation":
        dataset = dataset.sel(strength=0.5, drop=True)
    assert not getattr(mc, f"plot_{name}")(dataset).traverse(lambda part: part, [hv.HoloMap])


def test_plane_is_an_image_with_its_marks():
    overlay = mc.plot_plane(synthetic.plane().sel(strength=0.5, drop=True))
    image, points, labels = overlay.values()
    assert isinstance(image, hv.Image)
    np.testing.assert_allclose(
        image.dimension_values(2, flat=False), synthetic.plane().loss.sel(strength=0.5, split="test")
    )
    assert len(points) == len(labels) == 3


def test_segment_names_its_barrier():
    assert mc.plot_segment(synthetic.segment("identity")).label == "naive: D2 barrier 1"


def test_groups_perturbed_alone_are_grey_lines_under_the_mean_of_draws():
    groups, band, mean, *_ = mc.plot_perturbation(synthetic.perturbation_of_draws())
    assert (groups.label, len(groups.split())) == ("one group alone", 2)
    assert mean.label == "perturbed draws"
    np.testing.assert_allclose(mean["loss"], [0.25, 0.8, 1.35])
    assert len(band) == 3


@every
def test_bad_arguments_are_explained(name):
    plot, dataset = getattr(mc, f"plot_{name}"), RESULTS[name]()
    with explains("quantity must be 'loss' or 'accuracy'", "'error'"):
        plot(dataset, quantity="error")
    with explains("split must be one of test, train", "'dev'"):
        plot(dataset, split="dev")
    other = synthetic.segment() if name != "segment" else synthetic.plane()
    with explains(f"plot_{name} draws the result of sweep_{name}", "comes from sweep_"):
        plot(other)
    with explains("no 'recipe' attribute", "sweep_plane"):
        plot(dataset.drop_attrs())


def test_a_slider_names_the_segment_at_every_strength():
    plots = mc.plot_segment(synthetic.segment())
    assert plots[0.0].label.startswith("aligned")
    assert plots[0.5].label.startswith("perturbed")


def test_transitivity_shows_every_pair_on_its_routes():
    barriers, strays = mc.plot_transitivity(at(synthetic.transitivity()))
    kinds = ["naive", "direct", "universe", "through a third network"]
    assert [layer.label for layer in barriers] == [layer.label for layer in strays] == kinds
    assert [len(layer) for layer in barriers] == [3, 3, 3, 3]
    (direct,) = (layer for layer in barriers if layer.label == "direct")
    np.testing.assert_allclose(direct["barrier"], 0.02)
    np.testing.assert_allclose(direct["position"], np.arcsinh(2))
    left, right = figures_of(barriers + strays)
    assert left.xaxis[0].axis_label == "test loss barrier D2 [nats per example], logarithmic above 0.01"
    assert right.xaxis[0].axis_label == "units brought elsewhere [fraction]"
    error = mc.plot_transitivity(at(synthetic.transitivity()), quantity="accuracy", definition="D4")
    assert figures_of(error)[0].xaxis[0].axis_label.startswith("test error barrier D4 [fraction]")
    dataset = at(synthetic.transitivity()).copy(deep=True)
    dataset.loss[0, 0, 1, 2] = np.nan
    assert [layer.label for layer in mc.plot_transitivity(dataset).values()[0]][-1] == "not finite"
    with explains("definition must be one of D1, D2, D3, D4"):
        mc.plot_transitivity(dataset, definition="E")


def test_similarity_shows_diversity_against_accuracy_an_embedding_ensembles_and_measures():
    plane, together, table, ensemble = mc.plot_similarity(synthetic.similarity())
    names = {"draws", "A", "B", "other networks", "midpoint", "ensemble of A and B"}
    assert {layer.label for layer in plane if layer.label} == {*names, "what the error rates allow"}
    assert {layer.label for layer in together if layer.label} == names
    (draws,) = (layer for layer in plane if layer.label == "draws")
    assert list(draws["network"]) == ["draw 0", "draw 1", "draw 2", "draw 3"]
    left, _, right = figures_of(plane + together + ensemble)
    assert left.xaxis[0].axis_label == "disagreement [fraction], from A"
    assert left.yaxis[0].axis_label == right.yaxis[0].axis_label == "test accuracy [fraction]"
    rows = dict(zip(zip(table["measure"], table["networks (pairs)"], strict=True), table["mean (range)"], strict=True))
    assert rows["examples with different labels [fraction]", "draws – A (4)"] == "0.65 (0.5 to 0.8)"
    assert ("cosine of the weights [fraction]", "ensemble – A, B (2)") not in rows
    with explains("measure must be one of disagreement"):
        mc.plot_similarity(synthetic.similarity(), measure="cka")


def test_layers_pick_out_those_that_move_most():
    changes, slopes, curves = mc.plot_layers(at(synthetic.layers()))
    labels = [layer.label for layer in curves]
    assert labels == ["2 other layers", *(f"block.{k}.conv" for k in range(2, 8))]
    _, spread, change, barrier = changes
    np.testing.assert_allclose(change["change"], np.arange(1, 9) / 10)
    np.testing.assert_allclose(barrier["change"], 0, atol=1e-12)
    assert len(spread) == 8
    np.testing.assert_allclose(slopes.values()[2]["slope"], np.arange(8) - 2.0)
    few = mc.plot_layers(at(synthetic.layers(2))).values()[2]
    assert [layer.label for layer in few] == ["block.0.conv", "block.1.conv"]


def test_points_stand_in_rows_by_kind():
    values, distances = mc.plot_points(at(synthetic.points(2)))
    line, *kinds = values
    assert line.data.iloc[:, 0].tolist() == pytest.approx([np.log10(0.3)])
    found = {kind.label: (10 ** kind["x"]).round(6).tolist() for kind in kinds}
    assert found["A"] == [0.1]
    assert found["A with one layer of π(B)"] == [0.7, 0.8]
    assert found["best and worst draw"] == [1.0, 1.1]
    assert distances["distance"].tolist() == [0.5] * 2 + [0.1] * 8
    lost = at(synthetic.points(2)).copy(deep=True)
    lost.loss[0, 5] = np.nan
    *_, crosses = mc.plot_points(lost).values()[0]
    assert (crosses.label, crosses["point"].tolist()) == ("not finite", ["block.0.conv of B"])


def test_the_worse_end_is_drawn_only_at_strengths_where_it_is_known():
    dataset = synthetic.points(2).copy(deep=True)
    dataset.loss[1, 0, 0] = np.nan
    plot = hv.renderer("bokeh").get_plot(mc.plot_points(dataset).values()[0])
    line, *_, crosses = plot.state.renderers
    shown = []
    for strength in dataset.strength.values.tolist():
        plot.update((strength,))
        shown.append((len(line.data_source.data["x"]), crosses.visible))
    assert shown == [(1, False), (0, True), (1, False)]


def test_a_search_is_a_trace_and_its_coefficients():
    trace, image = mc.plot_search(at(synthetic.search()))
    assert [curve.label for curve in trace] == ["A 0.1", "B 0.3", "best so far", "training examples searched"]
    np.testing.assert_allclose(trace.values()[2]["value"], 0.5 - 0.4 * np.linspace(0, 1, 11))
    assert image.bounds.lbrt() == (-0.5, -3.5, 10.5, 0.5)
    assert image[10.0, 0.0] == 0
    assert image[10.0, -3.0] == 1
    assert [curve.label for curve in mc.plot_search(at(synthetic.search()), quantity="accuracy").values()[0]][2:] == [
        "best so far"
    ]


def test_laws_are_a_map_or_a_curve():
    overlay = mc.plot_laws(at(synthetic.laws()), epsilon=0.15)
    cells, line = overlay.values()[:2]
    assert isinstance(cells, hv.Rectangles)
    np.testing.assert_allclose(cells["value"].reshape(3, 5)[:, 0], [0, 0.09, 0.18], atol=1e-12)
    assert len(line) == 5
    share = mc.plot_laws(at(synthetic.laws("beta")), statistic="share").values()[0]
    assert np.isnan(share["value"]).sum() == 12
    curve = mc.plot_laws(at(synthetic.laws("bernoulli")))
    assert [layer.label for layer in curve] == ["draws", "95 % interval over draws", "mean", "ε = 0.1 nat"]
    assert [layer.label for layer in mc.plot_laws(at(synthetic.laws("bernoulli")), statistic="share")] == [
        "95 % interval over draws",
        "share",
    ]
    with explains("statistic must be one of mean, share", "'median'"):
        mc.plot_laws(at(synthetic.laws()), statistic="median")


_SETTINGS = {
    "similarity": {"n": 3},
    "layers": {"points": 3},
    "laws": {"n": 2, "means": (0.25, 0.75), "deviations": (0.0, 0.5)},
    "points": {"n": 3, "train_examples": 100, "fisher_examples": 20},
    "search": {"n": 2, "granularity": "unit", "train_examples": 100},
}


@pytest.mark.parametrize("name", [pytest.param("transitivity", marks=pytest.mark.slow), *_SETTINGS])
def test_real_results_are_drawn(digits, name):
    settings = _SETTINGS.get(name, {"points": 3})
    dataset = last_dataset(make_sweep(name, settings).steps(digits))
    assert figures_of(plots.PLOTS[name](dataset))


@pytest.mark.parametrize("sweep", ["plane", "segment", "samples", "laws", "layers", "transitivity", "points", "search"])
def test_one_strength_of_many_is_drawn(sweep):
    dataset = getattr(synthetic, sweep)()
    hv.render(plots.PLOTS[mc.recipe(dataset)["sweep"]](dataset.isel(strength=1)), backend="bokeh")
