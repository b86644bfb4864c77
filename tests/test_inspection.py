"""A point of a plane looked at closely, a cut through it, a part of it, and layers mixed: against the slow way."""

import numpy as np
import pytest
import torch
import xarray as xr
from explained import explains

import modecomb_viz as mc
from modecomb_viz.figures import CutFigure, DifferenceFigure, InspectionFigure, MapFigure
from modecomb_viz.figures.differences import difference
from modecomb_viz.figures.inspection import coefficient_words
from modecomb_viz.figures.maps import region_of, seen
from modecomb_viz.sweep import make_sweep


@pytest.fixture(scope="module")
def point(digits):
    """A point near the corner z, where the networks differ."""
    return mc.sweep_inspection(digits, 0.875, 0.125, splits=("test", "train"), seed=2)


def logits(modes, params, split):
    model = modes.model
    with torch.no_grad():
        return torch.func.functional_call(model, dict(params), (split.x,))


def test_the_point_is_that_of_the_map(digits, point):
    plane = mc.sweep_plane(digits, resolution=9, seed=2, splits=("test", "train"))
    there = plane.sel(u=0.875, v=0.125)
    for quantity in ("loss", "accuracy"):
        np.testing.assert_allclose(point[quantity].sel(model="point"), there[quantity], rtol=1e-5)
        np.testing.assert_allclose(point[quantity].sel(model="A"), plane[quantity].sel(u=0, v=0), rtol=1e-5)
        np.testing.assert_allclose(point[quantity].sel(model="π(B)"), plane[quantity].sel(u=1, v=1), rtol=1e-5)


@pytest.mark.parametrize("split", ["test", "train"])
def test_answers_are_those_of_the_networks(digits, point, split):
    """Weights as they are exported, run through the plain architecture."""
    here, data = point.sel(split=split), digits.split(split)
    answers = {
        name: logits(digits, mc.point_params(point, digits, model=name), data).argmax(-1).numpy()
        for name in point.model.values.tolist()
    }
    y, mine = data.y.numpy(), answers["point"]
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (y, mine), 1)
    np.testing.assert_array_equal(here.confusion, confusion)
    for name, theirs in answers.items():
        assert here.disagreement.sel(model=name).item() == pytest.approx((theirs != mine).mean())
    others = sum((theirs != mine).astype(int) for name, theirs in answers.items() if name != "point")
    assert here.differing.item() == (others > 0).sum() > 0
    listed = here.example.values[here.example.values >= 0]
    assert len(listed) == min(15, here.differing.item()) == len(set(listed))
    assert (np.diff(others[listed]) <= 0).all(), "those first that differ from more networks"
    np.testing.assert_array_equal(here.true_label.values[: len(listed)], y[listed])
    for column, name in enumerate(answers):
        np.testing.assert_array_equal(here.prediction.values[: len(listed), column], answers[name][listed])
    np.testing.assert_allclose(here.image.values[: len(listed)], data.x[listed], atol=1e-6)
    assert (here.example.values[len(listed) :] == -1).all()


def test_of_what_the_point_is_made(digits, point):
    spec = digits.spec
    z = mc.sample_coefficients(spec, "bernoulli", granularity="unit", n=1, seed=2, p=0.5)
    for layer, found in zip(point.layer.values, point.coefficient.sel(toward="π(B)").values, strict=True):
        own = [name for name in spec.shapes if spec.layers[name] == layer]
        whole = torch.cat([z[name][0].expand(spec.shapes[name]).reshape(-1) for name in own]).double()
        assert found == pytest.approx((0.875 * whole + 0.125 * (1 - whole)).mean().item())
    a, b = (mc.point_params(point, digits, model=name) for name in ("A", "π(B)"))
    mine = mc.point_params(point, digits, model="point")
    norm = lambda p, q: sum((p[k] - q[k]).double().square().sum().item() for k in p) ** 0.5  # noqa: E731
    distances = [norm(mine, a) / norm(a, b), norm(mine, b) / norm(a, b), 0.0]
    np.testing.assert_allclose(point.weight_distance, distances, rtol=1e-4, atol=1e-6)


def test_three_modes_and_examples_that_are_no_images(digits):
    point = mc.sweep_inspection(digits, 0.25, 0.5, plane="three_modes")
    assert point.model.values.tolist() == ["A", "π(B)", "π(C)", "point"]
    np.testing.assert_allclose(point.mean_coefficient, [0.25, 0.5])
    flat = mc.ModeSet(
        name="flat",
        model=digits.model,
        params=dict(digits.params),
        test=mc.Split(digits.test.x.flatten(1), digits.test.y),
        train=mc.Split(digits.train.x.flatten(1), digits.train.y),
    )
    without = mc.sweep_inspection(flat, 0.875, 0.125, seed=2)
    assert "image" not in without
    figure = InspectionFigure()
    figure.update(without)
    assert "no images" in figure.parts["examples"].figure.title.text


def test_what_is_no_number_is_counted_nowhere(digits):
    huge = {name: 1e30 * tensor for name, tensor in digits.params["B"].items()}
    modes = mc.ModeSet(
        name="huge", model=digits.model, params={"A": digits.params["A"], "B": huge},
        test=digits.test, train=digits.train, spec=digits.spec,
    )  # fmt: skip
    point = mc.sweep_inspection(modes, 0.5, 0.5, alignment="identity")
    assert point.confusion.sum() == 0
    assert np.isnan(point.disagreement.sel(model="A")).all()
    assert (point.prediction.sel(model="point").values[point.example.values >= 0] == -1).all()


def test_settings_of_places_are_checked(digits):
    with explains("region", "lowest u below the highest", "(0.2, 0.8, 0.2, 0.8)"):
        mc.sweep_plane(digits, region=(0.8, 0.2, 0.0, 1.0))
    with explains("u must be a finite number", "nan"):
        mc.sweep_inspection(digits, float("nan"), 0.0)
    with explains("one strength"):
        mc.sweep_inspection(digits, strength=(0.0, 0.5))
    with explains("start and end of a cut must differ"):
        mc.sweep_cut(digits, (0, 0), (0, 0))
    with explains("end must be u and v", "(0, 1)"):
        make_sweep("cut", {"end": (1.0, float("inf"))})
    with explains("one for each of the 3 layers", "fc1, fc2, fc3"):
        mc.sweep_layers(digits, base=(0.0, 1.0))


def test_a_region_has_the_values_of_the_plane(digits):
    whole = mc.sweep_plane(digits, resolution=9)
    part = mc.sweep_plane(digits, resolution=5, region=(0.25, 0.75, 0.5, 1.0))
    np.testing.assert_allclose(part.u, np.linspace(0.25, 0.75, 5))
    np.testing.assert_allclose(part.loss, whole.loss.sel(u=part.u, v=part.v, method="nearest"), rtol=1e-5)
    assert (part.u.attrs["low"], part.v.attrs["high"]) == (0.25, 1.0)
    assert region_of(*seen(part)) == pytest.approx((0.25, 0.75, 0.5, 1.0))


def test_a_cut_has_the_values_of_the_plane(digits):
    plane = mc.sweep_plane(digits, resolution=9)
    cut = mc.sweep_cut(digits, (0.0, 1.0), (1.0, 0.0), points=9, strength=[0.0, 0.5])
    diagonal = plane.loss.values[0][np.arange(8, -1, -1), np.arange(9)]
    np.testing.assert_allclose(cut.loss.sel(strength=0, split="test"), diagonal, rtol=1e-5)
    np.testing.assert_allclose(cut.v, cut.u.values[::-1])
    assert mc.barriers(cut).barrier.sel(strength=0, split="test", definition="D2").item() == pytest.approx(
        (diagonal - np.linspace(diagonal[0], diagonal[-1], 9)).max(), rel=1e-5
    )
    figure = CutFigure()
    figure.update(cut.sel(strength=0, drop=True))
    assert figure.figure.xaxis[0].axis_label == "t: from (u, v) = (0, 1) to (1, 0)"


def test_layers_are_mixed(digits):
    mix = (0.25, 1.0, 0.5)
    dataset = mc.sweep_layers(digits, base=mix, points=5)
    alignment = mc.align_modes(digits, "A", "B")
    layers = dict(zip(digits.spec.layer_names, mix, strict=True))
    params = {
        name: torch.lerp(a, alignment.params[name], layers[digits.spec.layers[name]])
        for name, a in digits.params["A"].items()
    }
    expected = torch.nn.functional.cross_entropy(logits(digits, params, digits.test), digits.test.y).item()
    assert dataset.base_loss.item() == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(dataset.loss.sel(layer="fc1", t=0.25).item(), expected, rtol=1e-5)
    np.testing.assert_allclose(dataset.loss.sel(layer="fc2", t=1.0).item(), expected, rtol=1e-5)
    step = 0.002
    moved = [mc.sweep_layers(digits, base=(0.25 + side, 1.0, 0.5), points=2).base_loss.item() for side in (-step, step)]
    assert dataset.slope.sel(layer="fc1").item() == pytest.approx((moved[1] - moved[0]) / (2 * step), rel=1e-3)


def test_the_difference_of_two_maps(digits):
    aligned, naive = (mc.sweep_plane(digits, resolution=9, alignment=a) for a in ("weight_matching", "identity"))
    found = difference(naive, aligned)
    np.testing.assert_allclose(found.loss, naive.loss - aligned.loss)
    figure = DifferenceFigure()
    figure.update(found)
    mapper = figure._linear
    assert mapper.low == -mapper.high < 0
    assert figure._bar.title == "difference of test loss [nats per example]"
    figure.update(difference(aligned, aligned))
    assert mapper.low < 0 < mapper.high
    estimates = (aligned.assign(loss_error=aligned.loss * 0 + 0.3), naive.assign(loss_error=naive.loss * 0 + 0.4))
    np.testing.assert_allclose(difference(*estimates).loss_error, 0.5)
    with explains("different axes", "affine"):
        difference(aligned, mc.sweep_plane(digits, resolution=5))
    with explains("different planes", "seed 0", "seed 1"):
        difference(aligned, mc.sweep_plane(digits, resolution=9, seed=1))
    with explains("different planes", "plane split", "plane random"):
        difference(aligned, mc.sweep_plane(digits, resolution=9, plane="random"))
    by_layers = [mc.sweep_plane(digits, resolution=5, z=1, seed=seed) for seed in (0, 1)]
    np.testing.assert_allclose(difference(*by_layers).loss, 0, atol=1e-6)


def test_maps_beside_each_other_share_their_colours(digits):
    aligned, naive = (mc.sweep_plane(digits, resolution=9, alignment=a) for a in ("weight_matching", "identity"))
    figures = [MapFigure(), MapFigure()]
    figures[0].update(aligned, beside=[naive])
    figures[1].update(naive, beside=[aligned])
    assert (figures[0]._linear.low, figures[0]._linear.high) == (figures[1]._linear.low, figures[1]._linear.high)
    assert figures[0]._linear.low == pytest.approx(min(aligned.loss.min().item(), naive.loss.min().item()))


def test_contours_are_at_equal_height(digits):
    plane = mc.sweep_plane(digits, resolution=17, alignment="identity")
    figure = MapFigure()
    figure.update(plane, contours=True)
    lines = figure.sources["contours"].data
    assert len(set(lines["level"])) >= 3
    for xs, ys, level in zip(lines["xs"], lines["ys"], lines["level"], strict=True):
        along = plane.loss.sel(split="test").interp(u=xr.DataArray(xs, dims="p"), v=xr.DataArray(ys, dims="p"))
        np.testing.assert_allclose(along, float(level), rtol=1e-4)
    figure.update(plane)
    assert figure.sources["contours"].data["xs"] == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {},
            "Λ = 0.875 where z = 1 and 0.125 where z = 0: so much of π(B), the rest of A. z is a draw of bernoulli",
        ),
        ({"z": 1}, "z is 1 on the first 1 layers"),
        ({"z": ("fc1", "fc3")}, "z is 1 on fc1, fc3"),
        ({"z": "sign"}, "z is the sign point"),
        ({"plane": "random"}, "½ + 0.875·D₁ + 0.125·D₂"),
        ({"plane": "three_modes"}, "On average 0.875 of π(B), 0.125 of π(C)."),
    ],
)
def test_the_coefficients_in_words(digits, settings, words):
    assert words in coefficient_words(mc.sweep_inspection(digits, 0.875, 0.125, **settings))
