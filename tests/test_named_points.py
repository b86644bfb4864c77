"""Named points: their coefficients against slow ones, their places on maps, and what a sweep says of them."""

import math

import numpy as np
import pytest
import torch
from cases import SMALL
from explained import explains
from torch import nn

import modecomb_viz as mc
from modecomb_viz.evaluation import finish
from modecomb_viz.hypercube import (
    GRANULARITIES,
    averaged,
    combine,
    fisher_point,
    layer_mask,
    magnitude_point,
    mean_over_weights,
    sample_coefficients,
    sign_point,
    swapped_layer,
    three_modes_plane,
)
from modecomb_viz.permutation import random_permutation
from modecomb_viz.sweep import PointsSweep
from modecomb_viz.sweep.gradients import diagonal_fisher, training_part
from modecomb_viz.sweep.measurement import Measurement

cases = pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
RULES = {"fisher": fisher_point, "magnitude": magnitude_point, "sign": sign_point}
rules = pytest.mark.parametrize("name", list(RULES))


def ends(case, name):
    """Two networks; for Fisher two tables of squares, in which some are 0."""
    a, b = case.params(0), case.params(1)
    if name == "fisher":
        return tuple({k: torch.relu(w) ** 2 for k, w in p.items()} for p in (a, b))
    return a, b


def point(stacked):
    return {name: tensor[0] for name, tensor in stacked.items()}


@cases
@rules
def test_exchanging_the_networks_mirrors_the_point(case, name):
    a, b = ends(case, name)
    there, back = RULES[name](a, b), RULES[name](b, a)
    for tensor in a:
        torch.testing.assert_close(there[tensor] + back[tensor], torch.ones_like(a[tensor])[None], rtol=0, atol=1e-15)


@cases
@rules
@pytest.mark.parametrize("granularity", list(GRANULARITIES))
def test_permuting_units_permutes_the_point(case, name, granularity):
    spec, (a, b) = case.spec(), ends(case, name)
    permutation = random_permutation(spec, 3)

    def permuted(params):
        return mc.apply_permutation(spec, permutation, params)

    plain, moved = (averaged(spec, RULES[name](*pair), granularity) for pair in ((a, b), (permuted(a), permuted(b))))
    expected = permuted({k: w[0].expand(spec.shapes[k]) for k, w in plain.items()})
    for tensor, shape in spec.shapes.items():
        torch.testing.assert_close(moved[tensor][0].expand(shape), expected[tensor], rtol=1e-12, atol=1e-12)


@cases
def test_magnitude_takes_the_larger_weight(case):
    a, b = case.params(0), case.params(1)
    merged = point(combine(a, b, magnitude_point(a, b)))
    for name in a:
        for got, *pair in zip(*(p[name].flatten().tolist() for p in (merged, a, b)), strict=True):
            assert got == max(pair, key=abs)


@cases
def test_sign_is_ties_of_two_networks(case):
    a, b = case.params(0), case.params(1)
    merged = point(combine(a, b, sign_point(a, b)))
    for name in a:
        for got, *pair in zip(merged[name].flatten().tolist(), a[name].flatten(), b[name].flatten(), strict=True):
            elected = math.copysign(1, sum(pair))
            assert got == pytest.approx(np.mean([w for w in pair if w * elected > 0]), rel=1e-12)


def test_ties_of_rules_are_the_midpoint():
    def one(*values):
        return {"w": torch.tensor(values)}

    assert magnitude_point(one(1.0, -1.0, 0.0), one(-1.0, -1.0, 0.0))["w"].tolist() == [[0.5, 0.5, 0.5]]
    assert sign_point(one(1.0, 2.0, 0.0, 0.0), one(-1.0, 1.0, 0.0, 3.0))["w"].tolist() == [[0.5, 0.5, 0.5, 1.0]]
    found = fisher_point(one(0.0, 1.0, 1e-40, torch.nan), one(0.0, 3.0, 0.0, 1.0))["w"][0].tolist()
    assert found[:3] == [0.5, 0.75, 0.0]
    assert math.isnan(found[3]), "what is no number stays none"


def test_fisher_minimises_the_two_quadratic_losses():
    generator = torch.Generator().manual_seed(0)
    a, b, *f = (torch.randn(50, generator=generator, dtype=torch.float64) for _ in range(4))
    f = [one.square() for one in f]
    merged = point(combine({"w": a}, {"w": b}, fisher_point({"w": f[0]}, {"w": f[1]})))["w"]
    slope = 2 * f[0] * (merged - a) + 2 * f[1] * (merged - b)
    assert slope.abs().max() < 1e-12


@cases
@pytest.mark.parametrize("granularity", list(GRANULARITIES))
def test_averages_are_means_over_the_trained_weights_that_share(case, granularity):
    spec = case.spec()
    draw = sample_coefficients(spec, "uniform", granularity="weight")
    found = averaged(spec, draw, granularity)
    trained = [n for n in spec.shapes if n not in spec.statistics]

    def share(name, place, at="unit"):
        return {"model": (), "layer": spec.layers[name], "unit": (spec.layers[name], place[0] if place else 0)}[at]

    groups = {}
    for name in trained:
        for place in np.ndindex(spec.shapes[name]):
            for at in ("model", "layer", "unit"):
                groups.setdefault(share(name, place, at), []).append(draw[name][0][place].item())
    for name, shape in spec.shapes.items():
        for place in np.ndindex(shape):
            at = "unit" if granularity == "weight" else granularity
            expected = np.mean(groups[share(name, place, at)])
            if granularity == "weight" and name in trained:
                expected = draw[name][0][place].item()
            assert found[name][0].expand(shape)[place].item() == pytest.approx(expected, rel=1e-9)
    every = np.concatenate([draw[name].numpy().ravel() for name in trained])
    assert mean_over_weights(spec, draw).item() == pytest.approx(every.mean(), rel=1e-6)
    assert mean_over_weights(spec, found).item() == pytest.approx(every.mean(), rel=1e-6)


def test_layers_without_trained_weights_are_at_the_midpoint():
    model = nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Linear(4, 3)).eval()
    spec = mc.trace_permutation_spec(model, torch.randn(2, 4))
    ones = {name: torch.ones(1, *shape) for name, shape in spec.shapes.items()}
    assert averaged(spec, ones, "weight")["0.running_mean"].tolist() == [[0.5] * 4]
    assert averaged(spec, ones, "weight")["1.weight"].unique().tolist() == [1.0]


def test_a_swapped_layer_is_recognised():
    spec = SMALL[1].spec()
    for layer in spec.layer_names:
        mask = layer_mask(spec, [layer])
        assert swapped_layer(spec, mask) == layer
        assert swapped_layer(spec, {name: w.expand(1, *spec.shapes[name]) for name, w in mask.items()}) == layer
        assert swapped_layer(spec, {name: 0.5 * w for name, w in mask.items()}) is None
    assert swapped_layer(spec, layer_mask(spec, 2)) is None


def run_of(modes, **settings):
    return Measurement(PointsSweep(precision="float64", **settings), modes)


def test_fisher_is_the_mean_square_of_finite_differences(batchnorm):
    run = run_of(batchnorm)
    part = training_part(run, 5)
    fisher = finish(diagonal_fisher(run, run.params_a, part))
    rng, h = np.random.default_rng(0), 1e-5
    for name in run.params_a:
        if name in batchnorm.spec.statistics:
            assert not fisher[name].any()
            continue
        place = tuple(rng.integers(size) for size in run.params_a[name].shape)
        losses = []
        for step in (-h, h):
            moved = {k: w.clone() for k, w in run.params_a.items()}
            moved[name][place] += step
            logits = torch.func.functional_call(run.model, moved, (part.x,))
            losses.append(nn.functional.cross_entropy(logits, part.y, reduction="none"))
        expected = ((losses[1] - losses[0]) / (2 * h)).square().mean().item()
        assert fisher[name][place].item() == pytest.approx(expected, rel=1e-5, abs=1e-16)


def test_fisher_of_a_permuted_network_is_permuted(digits):
    run = run_of(digits)
    part = training_part(run, 4)
    alignment = mc.align_modes(digits, "A", "B")
    before, after = (finish(diagonal_fisher(run, run.placed(p), part)) for p in (alignment.params_b, alignment.params))
    expected = mc.apply_permutation(digits.spec, alignment.permutation, before)
    for name in expected:
        torch.testing.assert_close(after[name], expected[name], rtol=1e-8, atol=1e-18)


def test_fisher_of_tied_weights_is_that_of_what_they_share():
    networks = []
    for seed in range(2):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False)).eval()
        network[2].weight = network[0].weight
        networks.append(network)
    params = {name: dict(network.state_dict()) for name, network in zip("AB", networks, strict=True)}
    split = mc.Split(torch.randn(6, 4), torch.arange(6) % 4)
    modes = mc.ModeSet("tied", networks[0], params, split, split)
    run = run_of(modes)
    found = finish(diagonal_fisher(run, run.params_a, training_part(run, 6)))
    weight = params["A"]["0.weight"].double().requires_grad_()
    squares = torch.zeros(4, 4, dtype=torch.float64)
    for x, y in zip(split.x.double(), split.y, strict=True):
        loss = nn.functional.cross_entropy((weight @ (weight @ x).relu())[None], y[None])
        squares += torch.autograd.grad(loss, weight)[0].square() / 6
    for name in ("0.weight", "2.weight"):
        torch.testing.assert_close(found[name], squares, rtol=1e-9, atol=1e-18)
    assert np.isfinite(mc.sweep_points(modes, n=2, fisher_examples=6).loss).all()


@pytest.fixture(scope="module")
def points(digits):
    return mc.sweep_points(digits, n=9, fisher_examples=16, granularity="layer", seed=4, splits=("test", "train"))


def test_points_are_what_they_are_called(digits, points):
    spec, a = digits.spec, digits.params["A"]
    b = mc.align_modes(digits, "A", "B").params
    run = Measurement(PointsSweep(), digits)
    part = training_part(run, 16)
    fishers = [finish(diagonal_fisher(run, params, part)) for params in (a, b)]
    draws = mc.sample_coefficients(spec, "bernoulli", granularity="layer", n=9, seed=4)
    losses = mc.evaluate(digits.model, combine(a, b, draws), digits.train)["loss"]
    chosen = {"best": int(losses.argmin()), "worst": int(losses.argmax())}
    expected = {
        "A": {name: torch.zeros(1, *w.shape) for name, w in a.items()},
        "π(B)": {name: torch.ones(1, *w.shape) for name, w in a.items()},
        "midpoint": {name: torch.full((1, *w.shape), 0.5) for name, w in a.items()},
        "magnitude": magnitude_point(a, b),
        "sign": sign_point(a, b),
        **{f"{layer} of B": layer_mask(spec, [layer]) for layer in spec.layer_names},
        "Fisher": fisher_point(*fishers),
        **{name: {k: w[i : i + 1] for k, w in draws.items()} for name, i in chosen.items()},
    }
    assert points.point.values.tolist() == list(expected)
    flat_a, flat_b = (np.concatenate([p[k].double().numpy().ravel() for k in a]) for p in (a, b))
    for name, coefficients in expected.items():
        found = points.sel(point=name)
        measured = mc.evaluate(digits.model, combine(a, b, coefficients), digits.test)
        assert found.loss.sel(split="test").item() == pytest.approx(measured["loss"].item(), rel=1e-4)
        assert found.accuracy.sel(split="test").item() == pytest.approx(measured["accuracy"].item(), abs=0.003)
        shares = np.concatenate([coefficients[k][0].double().expand(w.shape).numpy().ravel() for k, w in a.items()])
        assert found.mean_coefficient.item() == pytest.approx(shares.mean(), abs=1e-4)
        distance = np.linalg.norm((shares - 0.5) * (flat_b - flat_a)) / np.linalg.norm(flat_b - flat_a)
        assert found.midpoint_distance.item() == pytest.approx(distance, abs=1e-4)
        if name not in chosen:
            assert np.isnan([found.draw, found.chosen_loss]).all()
    for name, i in chosen.items():
        found = points.sel(point=name, split="train")
        assert found.draw.item() == i
        assert found.chosen_loss.item() == pytest.approx(losses[i].item(), rel=1e-4)
        assert found.loss.item() == pytest.approx(found.chosen_loss.item(), rel=1e-5)


def test_corners_of_the_cube_are_as_far_from_its_middle_as_the_ends(points):
    """|Λ − ½| = ½ for every weight."""
    for name in ("A", "π(B)", "magnitude", "fc1 of B", "best", "worst"):
        assert points.midpoint_distance.sel(point=name).item() == pytest.approx(0.5, abs=1e-5)
    assert 0 < points.midpoint_distance.sel(point="Fisher") < 0.5


def test_points_appear_one_after_another_without_changing(digits):
    datasets = list(mc.iter_points(digits, n=3, fisher_examples=4))
    final = datasets[-1]
    assert [d.sizes["point"] for d in datasets] == [8, 9, 11]
    for dataset in datasets:
        earlier = final.isel(point=slice(dataset.sizes["point"]))
        assert dataset.drop_attrs().identical(earlier.drop_attrs())


def test_points_at_coarser_granularities(digits):
    weight, unit, model = (
        mc.sweep_points(digits, n=1, fisher_examples=8, named_granularity=g).sel(point=["magnitude", "sign", "Fisher"])
        for g in ("weight", "unit", "model")
    )
    np.testing.assert_allclose(unit.mean_coefficient, weight.mean_coefficient, atol=1e-6)
    np.testing.assert_allclose(model.mean_coefficient, weight.mean_coefficient, atol=1e-6)
    assert (weight.midpoint_distance > unit.midpoint_distance).all()
    assert (unit.midpoint_distance > model.midpoint_distance).all()
    np.testing.assert_allclose(model.midpoint_distance, abs(model.mean_coefficient - 0.5), atol=1e-5)


def test_draws_that_are_no_numbers_are_not_chosen(batchnorm):
    law = {"distribution": "normal", "std": 1.0, "granularity": "layer", "n": 12, "seed": 1}
    losses = mc.sweep_samples(batchnorm, splits=("train",), **law).loss.values[0]
    assert np.isnan(losses).any()
    assert np.isfinite(losses).any()
    found = mc.sweep_points(batchnorm, fisher_examples=2, **law)
    assert found.draw.sel(point=["best", "worst"]).values.tolist() == [np.nanargmin(losses), np.nanargmax(losses)]
    far = mc.sweep_points(batchnorm, "constant", value=-3.0, n=2, fisher_examples=2).sel(point=["best", "worst"])
    assert np.isnan(far.loss).all()
    assert np.isnan(far.chosen_loss).all()


def marks(plane):
    places = zip(plane.mark_u.values.tolist(), plane.mark_v.values.tolist(), strict=True)
    return dict(zip(plane.mark.values.tolist(), places, strict=True))


@pytest.mark.parametrize("z", ["fisher", "magnitude", "sign", "best", "worst"])
def test_a_split_plane_goes_through_the_named_point(digits, points, z):
    law = {"n": 9, "fisher_examples": 16, "granularity": "layer", "seed": 4}
    plane = mc.sweep_plane(digits, resolution=3, z=z, splits=("test", "train"), **law)
    name = {"fisher": "Fisher"}.get(z, z)
    corners = {"A": (0, 0), "π(B)": (1, 1), name: (1, 0), f"1−{name}": (0, 1), "midpoint": (0.5, 0.5)}
    found = marks(plane)
    if z in ("best", "worst"):  # of nine draws of three layers, some are swaps, which are called so
        found = dict(zip(corners, found.values(), strict=True))
        assert plane.draw.item() == points.draw.sel(point=z).item()
        assert plane.chosen_loss.item() == points.chosen_loss.sel(point=z).item()
    assert found == corners
    for mark, (u, v) in found.items():
        if not mark.startswith("1−"):
            np.testing.assert_allclose(plane.loss.sel(u=u, v=v), points.loss.sel(point=mark), rtol=1e-4)


def test_every_strength_has_its_best_draw(digits):
    both = mc.sweep_plane(digits, resolution=2, z="best", n=6, strength=[0.0, 0.9])
    assert both.draw.dims == ("strength",)
    for strength in (0.0, 0.9):
        one = mc.sweep_plane(digits, resolution=2, z="best", n=6, strength=strength)
        assert one.draw.item() == both.draw.sel(strength=strength).item()
        np.testing.assert_array_equal(one.loss, both.loss.sel(strength=strength))


@pytest.mark.parametrize(
    ("z", "names"),
    [
        (1, ["fc1 of B", "1−z"]),
        (2, ["z", "fc3 of B"]),
        (["fc2"], ["fc2 of B", "1−z"]),
        (["fc1", "fc3"], ["z", "fc2 of B"]),
    ],
)
def test_layer_swaps_are_marked_where_they_lie_on_the_plane(digits, points, z, names):
    plane = mc.sweep_plane(digits, resolution=3, z=z)
    assert list(marks(plane)) == ["A", "π(B)", *names, "midpoint"]
    for mark, (u, v) in marks(plane).items():
        if "z" not in mark:
            known = points.loss.sel(point=mark, split="test").item()
            assert plane.loss.sel(u=u, v=v).item() == pytest.approx(known, rel=1e-4)


@pytest.mark.parametrize("coordinates", ["affine", "orthonormal"])
def test_three_modes_mark_their_means(digits, coordinates):
    plane = mc.sweep_plane(digits, "three_modes", resolution=2, coordinates=coordinates)
    found = marks(plane)
    assert list(found) == ["A", "π(B)", "π(C)", "midpoint", "centroid"]
    modes = [digits.params["A"], *(mc.align_modes(digits, "A", m).params for m in "BC")]
    at = three_modes_plane(*modes, coordinates=coordinates).at
    middle, centre = (at(torch.tensor([found[m]], dtype=torch.float64)) for m in ("midpoint", "centroid"))
    for name in modes[0]:
        a, b, c = (params[name] for params in modes)
        torch.testing.assert_close(middle[name][0], (a + b) / 2, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(centre[name][0], (a + b + c) / 3, rtol=1e-4, atol=1e-5)


def test_a_random_plane_marks_its_midpoint_alone(digits):
    assert marks(mc.sweep_plane(digits, "random", resolution=2)) == {"midpoint": (0, 0)}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n": 0}, ["n must be a whole number from 1", "got 0"]),
        ({"fisher_examples": 0}, ["fisher_examples", "from 1", "got 0"]),
        ({"train_examples": 0}, ["train_examples", "from 1", "got 0"]),
        ({"named_granularity": "block"}, ["granularity", "model, layer, unit, weight", "'block'"]),
    ],
)
def test_bad_settings_are_explained(settings, words):
    with explains(*words):
        PointsSweep(**settings)


def test_unknown_points_are_explained(digits):
    with explains("z must be 'draw', 'fisher', 'magnitude', 'sign', 'best', 'worst', a number of layers", "'median'"):
        mc.sweep_plane(digits, z="median")
