"""HoloViews plots by their structure, and the convention that they share."""

import inspect

import holoviews as hv
import numpy as np
import pytest
import synthetic
from explained import explains

import modecomb_viz as mc
from modecomb_viz import plots

RESULTS = {
    "plane": synthetic.plane,
    "segment": synthetic.segment,
    "samples": synthetic.samples,
    "perturbation": synthetic.perturbation,
}
every = pytest.mark.parametrize("name", list(RESULTS))


@every
def test_all_plots_have_one_signature(name):
    parameters = list(inspect.signature(getattr(mc, f"plot_{name}")).parameters.values())
    assert [p.name for p in parameters] == ["dataset", "quantity", "split"]
    assert [p.kind for p in parameters[1:]] == [inspect.Parameter.KEYWORD_ONLY] * 2
    assert f"plot_{name}" in plots.__all__


@every
@pytest.mark.parametrize("quantity", ["loss", "accuracy"])
def test_every_plot_renders_with_labels_and_units(name, quantity):
    plot = getattr(mc, f"plot_{name}")(RESULTS[name](), quantity=quantity, split="train")
    assert isinstance(plot, hv.HoloMap) == (name != "perturbation")
    figure = hv.render(plot, backend="bokeh")
    unit = {"loss": "[nats per example]", "accuracy": "[fraction]"}[quantity]
    bars = [bar.title for bar in figure.right if hasattr(bar, "color_mapper")]
    labels = [figure.xaxis[0].axis_label, figure.yaxis[0].axis_label, *bars]
    assert any(f"train {quantity} {unit}" in str(label) for label in labels), labels


@every
def test_one_strength_needs_no_slider(name):
    dataset = RESULTS[name]()
    if name != "perturbation":
        dataset = dataset.sel(strength=0.5, drop=True)
    assert not isinstance(getattr(mc, f"plot_{name}")(dataset), hv.HoloMap)


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


@pytest.fixture(scope="module")
def laboratory(digits):
    """Small results of the sweeps over many networks."""
    return {
        "transitivity": mc.sweep_transitivity(digits, points=3),
        "similarity": mc.sweep_similarity(digits, n=3),
    }


def test_transitivity_shows_every_pair_on_its_routes(laboratory):
    plot = mc.plot_transitivity(laboratory["transitivity"])
    assert [layer.label for layer in plot] == ["A–B", "A–C", "B–C"]
    assert [len(layer) for layer in plot] == [4, 4, 4]
    figure = hv.render(plot, backend="bokeh")
    assert "test loss barrier, D2 [nats per example]" in figure.yaxis[0].axis_label
    assert list(figure.x_range.factors)[:2] == ["naive", "direct"]
    assert (
        "error barrier"
        in hv.render(mc.plot_transitivity(laboratory["transitivity"], quantity="accuracy")).yaxis[0].axis_label
    )
    with explains("sweep_transitivity", "sweep_similarity"):
        mc.plot_transitivity(laboratory["similarity"])


def test_similarity_shows_diversity_against_accuracy_and_an_embedding(laboratory):
    plane, together = mc.plot_similarity(laboratory["similarity"])
    assert {layer.label for layer in plane} == {"draws", "A", "B", "C", "midpoint", "ensemble of A and B"}
    (draws,) = (layer for layer in plane if layer.label == "draws")
    assert len(draws) == 3
    figure = hv.render(plane, backend="bokeh")
    assert "from A [fraction]" in figure.xaxis[0].axis_label
    assert "test accuracy [fraction]" in figure.yaxis[0].axis_label
    assert len(list(together)) == len(list(plane))
    with explains("measure must be one of disagreement"):
        mc.plot_similarity(laboratory["similarity"], measure="cka")
