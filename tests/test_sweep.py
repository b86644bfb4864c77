"""Sweeps: the right values under the right labels, coarse to fine, with everything needed to compute them again."""

import copy
import json

import numpy as np
import pytest
import torch
import xarray as xr
from explained import explains

import modecomb_viz as mc
from modecomb_viz.executor import Progress
from modecomb_viz.hypercube import LAWS, check_law, grid_axis, with_moments
from modecomb_viz.sweep import SWEEPS, PlaneSweep, SegmentSweep, differences, make_sweep
from modecomb_viz.sweep.refinement import growing, levels
from modecomb_viz.sweep.surrogate import coarsest

QUICK = {
    "segment": {"points": 9},
    "plane": {"resolution": 9},
    "inspection": {"u": 0.25, "v": 0.75},
    "cut": {"points": 5},
    "samples": {"n": 12},
    "perturbation": {"strength": (0.0, 0.5, 1.0), "repeats": 2},
    "layers": {"points": 3},
    "laws": {"n": 2, "means": (0.0, 0.5), "deviations": (0.0, 0.3)},
    "points": {"n": 4, "fisher_examples": 8},
    "search": {"n": 3, "train_examples": 100},
    "transitivity": {"points": 3},
    "similarity": {"n": 3},
}
sweeps = pytest.mark.parametrize("name", list(SWEEPS))


def last(steps):
    return [step for step in steps if isinstance(step, xr.Dataset)][-1]


@sweeps
def test_dimensions_units_and_provenance(digits, name):
    dims = {
        "segment": ("split", "t"),
        "plane": ("split", "v", "u"),
        "inspection": ("split", "model"),
        "cut": ("split", "t"),
        "samples": ("split", "sample"),
        "perturbation": ("split", "strength", "repeat"),
        "layers": ("split", "layer", "t"),
        "laws": ("split", "deviation", "mean", "sample"),
        "points": ("split", "point"),
        "search": ("split", "step"),
        "transitivity": ("split", "pair", "route", "t"),
        "similarity": ("split", "model"),
    }[name]
    dataset = last(make_sweep(name, {**QUICK[name], "splits": ("test", "train")}).steps(digits))
    assert dataset.loss.dims == dataset.accuracy.dims == dims
    assert list(dataset.split.values) == ["test", "train"]
    assert dataset.loss.attrs["units"] == "nats per example"
    assert dataset.accuracy.attrs["units"] == "fraction"
    assert all("units" in dataset[v].attrs and dataset[v].attrs["long_name"] for v in dataset.variables)
    there = 4 / 6 if name == "transitivity" else 1  # every pair has four of the six routes
    assert np.isfinite(dataset.loss).mean() == pytest.approx(there)
    assert {"recipe", "modes_hash", "data_hash", "device", "dtype", "versions", "wall_time", "plan"} <= set(
        dataset.attrs
    )
    assert json.loads(dataset.attrs["modes_hash"])["A"] == digits.hashes["A"]
    assert dataset.attrs["wall_time"] > 0


@pytest.mark.parametrize("name", [name for name in SWEEPS if name not in ("similarity", "inspection")])
def test_a_list_of_strengths_adds_a_dimension(digits, name):
    both = last(make_sweep(name, {**QUICK[name], "strength": [0.0, 0.6]}).steps(digits))
    assert both.strength.values.tolist() == [0.0, 0.6]
    for strength in (0.0, 0.6):
        one = last(make_sweep(name, {**QUICK[name], "strength": strength}).steps(digits))
        expected = one.isel(strength=0) if name == "perturbation" else one
        np.testing.assert_array_equal(both.loss.sel(strength=strength), expected.loss)


@sweeps
def test_the_recipe_computes_the_same_values(digits, name):
    dataset = last(make_sweep(name, QUICK[name]).steps(digits))
    settings = mc.recipe(dataset)
    assert settings.pop("sweep") == name
    assert settings.pop("modes") == "digits-mlp"
    again = last(make_sweep(name, settings).steps(digits))
    xr.testing.assert_identical(again.drop_attrs(), dataset.drop_attrs())


@sweeps
def test_a_result_is_computed_again_to_the_bit(digits, name, tmp_path):
    dataset = mc.open(mc.save(last(make_sweep(name, {**QUICK[name], "seed": 3}).steps(digits)), tmp_path / "x.nc"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    again = mc.rerun(dataset, digits)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(threads)
    assert json.loads(again.attrs["plan"])["threads"] == threads
    xr.testing.assert_identical(again.drop_attrs(), dataset.drop_attrs())
    assert set(differences(dataset, again).values()) == {0.0}


def test_an_estimate_is_computed_again_and_differences_are_found(digits):
    dataset = mc.sweep_plane(digits, resolution=17, tolerance=0.05, precision="bfloat16")
    again = mc.rerun(dataset, digits)
    xr.testing.assert_identical(again.drop_attrs(), dataset.drop_attrs())
    moved = again.copy(deep=True)
    moved["loss"] = moved.loss + 0.01 * moved.loss.max()
    assert differences(dataset, moved)["loss"] == pytest.approx(0.01)
    moved["accuracy"][0, 0, 0] = np.nan
    assert differences(dataset, moved)["accuracy"] == np.inf
    with explains("'loss_error'", "it has not"):
        differences(dataset, again.drop_vars("loss_error"))


def test_other_networks_than_those_of_a_result_are_refused(digits):
    dataset = mc.sweep_segment(digits, points=3)
    with explains("network A of digits-convnet is not that of the result", digits.hashes["A"]):
        mc.rerun(dataset, mc.open_modes("digits-convnet"))
    with explains("sweep must be one of", "segment, plane", "'nope'"):
        mc.rerun(dataset.assign_attrs(recipe=json.dumps({**mc.recipe(dataset), "sweep": "nope"})), digits)


@sweeps
def test_progress_counts_every_point_once(digits, name):
    steps = list(make_sweep(name, {**QUICK[name], "splits": ("test", "train")}).steps(digits))
    done = [step.done for step in steps if isinstance(step, Progress)]
    assert done == sorted(done)
    assert done[-1] == next(step.total for step in steps if isinstance(step, Progress))


@pytest.mark.parametrize("resolution", [9, 10, 17])
def test_planes_grow_from_an_estimate_to_the_exact_map(digits, resolution):
    datasets = list(mc.iter_plane(digits, "three_modes", resolution=resolution, margin=0.2))
    final = datasets[-1]
    assert final.sizes["u"] == final.sizes["v"] == resolution
    assert "loss_error" not in final
    evaluated = [(level.loss_error == 0).values for level in datasets[:-1]]
    counts = [int(points.sum()) for points in evaluated]
    assert counts[:2] == [0, coarsest(resolution).sum()], "a sample of the data, then the coarsest grid on all of it"
    assert counts == sorted(set(counts))
    for points, level in zip(evaluated, datasets, strict=False):
        for quantity in ("loss", "accuracy"):
            np.testing.assert_array_equal(level[quantity].values[points], final[quantity].values[points])
        assert level.sizes == final.sizes
        assert np.isfinite(level.loss).all()
        assert (level.u.attrs["low"], level.u.attrs["high"]) == pytest.approx((-0.2, 1.2))
    xr.testing.assert_identical(
        final.drop_attrs(), mc.sweep_plane(digits, "three_modes", resolution=resolution, margin=0.2).drop_attrs()
    )


@pytest.mark.parametrize("repair", ["none", pytest.param("batchnorm", marks=pytest.mark.slow)])
def test_the_first_picture_of_a_sample_is_within_its_error(batchnorm, repair):
    first, *_, final = mc.iter_plane(batchnorm, resolution=9, repair=repair, splits=("test", "train"))
    for quantity in ("loss", "accuracy"):
        error = abs(first[quantity] - final[quantity])
        assert (error <= 3 * first[f"{quantity}_error"]).mean() > 0.8
        assert first[f"{quantity}_error"].min() > 0
        assert (error.sel(u=slice(0.3, 0.7)) < 0.5).all()


def test_a_tolerance_ends_the_map_as_an_estimate_within_it(digits):
    exact = mc.sweep_plane(digits, "three_modes", resolution=33, margin=0.2)
    estimate = mc.sweep_plane(digits, "three_modes", resolution=33, margin=0.2, tolerance=0.02)
    spread = float(exact.loss.max() - exact.loss.min())
    evaluated = estimate.loss_error == 0
    assert evaluated.mean() < 0.2
    assert 2 * estimate.loss_error.max() <= 0.02 * spread
    error = abs(estimate.loss - exact.loss)
    assert error.max() <= 0.02 * spread
    assert (error <= 2 * estimate.loss_error).mean() >= 0.95
    np.testing.assert_allclose(estimate.loss.values[evaluated], exact.loss.values[evaluated], rtol=1e-5)


def test_samples_and_repeats_grow_without_changing(digits):
    for datasets, dim in (
        (list(mc.iter_samples(digits, n=20)), "sample"),
        (list(mc.iter_perturbation(digits, [0.5], repeats=3)), "repeat"),
    ):
        sizes = [d.sizes[dim] for d in datasets]
        assert sizes == sorted(set(sizes))
        for dataset in datasets:
            np.testing.assert_array_equal(dataset.loss, datasets[-1].loss.isel({dim: slice(dataset.sizes[dim])}))


@pytest.mark.parametrize("resolution", [2, 3, 5, 12, 33])
def test_levels_cover_the_line_once(resolution):
    points = np.concatenate([new for _, new in levels(resolution)])
    assert sorted(points.tolist()) == list(range(resolution))


def test_growing_covers_the_sequence_once():
    for n in (1, 8, 9, 100):
        assert [i for start, stop in growing(n) for i in range(start, stop)] == list(range(n))


def line_loss(modes, params_b, t):
    a = modes.params["A"]
    mixed = {name: ((1 - t) * w + t * params_b[name])[None] for name, w in a.items()}
    return mc.evaluate(modes.model, mixed, modes.test)["loss"].item()


def test_segment_is_the_line(digits):
    aligned = mc.align(digits.spec, digits.params["A"], digits.params["B"]).params
    segment = mc.sweep_segment(digits, -0.5, 1.5, points=5)
    assert segment.t.values.tolist() == [-0.5, 0.0, 0.5, 1.0, 1.5]
    for t, loss in zip(segment.t.values, segment.loss.sel(split="test").values, strict=True):
        assert loss == pytest.approx(line_loss(digits, aligned, t), rel=1e-4)
    naive = mc.sweep_segment(digits, points=3, alignment="identity")
    assert naive.loss.values[0, 1] == pytest.approx(line_loss(digits, digits.params["B"], 0.5), rel=1e-4)


def test_perturbed_segment_uses_the_perturbed_matching(digits):
    alignment = mc.align(digits.spec, digits.params["A"], digits.params["B"])
    for kind in ("shuffle", "noise"):
        perturbed = mc.perturb_alignment(alignment, 0.7, kind, seed=5).params
        segment = mc.sweep_segment(digits, points=3, strength=0.7, perturbation=kind, perturbation_seed=5)
        assert segment.loss.values[0, 1] == pytest.approx(line_loss(digits, perturbed, 0.5), rel=1e-4)


def test_split_plane_through_a_draw(digits):
    a, aligned = digits.params["A"], mc.align(digits.spec, digits.params["A"], digits.params["B"]).params
    plane = mc.sweep_plane(digits, resolution=3, p=0.3, seed=4).sel(split="test")
    z = mc.sample_coefficients(digits.spec, "bernoulli", p=0.3, seed=4)
    for u, v in ((1, 0), (0, 1), (0.5, 0.5), (0.5, 0)):
        lam = {name: u * w + v * (1 - w) for name, w in z.items()}
        expected = mc.evaluate(digits.model, mc.combine(a, aligned, lam), digits.test)["loss"].item()
        assert plane.loss.sel(u=u, v=v).item() == pytest.approx(expected, rel=1e-5)
    marks = dict(zip(plane.mark.values, zip(plane.mark_u.values, plane.mark_v.values, strict=True), strict=True))
    assert marks == {"A": (0, 0), "π(B)": (1, 1), "z": (1, 0), "1−z": (0, 1), "midpoint": (0.5, 0.5)}


@pytest.mark.parametrize("z", [1, ["fc1", "fc3"]])
def test_split_plane_through_layers(digits, z):
    plane = mc.sweep_plane(digits, resolution=3, z=z)
    ends = mc.sweep_segment(digits, points=3)
    np.testing.assert_allclose(np.diagonal(plane.loss.values[0]), ends.loss.values[0], rtol=1e-6)


def test_random_plane_meets_the_midpoint(digits):
    plane = mc.sweep_plane(digits, "random", resolution=3)
    assert plane.loss.sel(u=0, v=0).item() == mc.sweep_segment(digits, points=3).loss.values[0, 1]


@pytest.mark.parametrize("coordinates", ["affine", "orthonormal"])
def test_three_modes_plane_has_the_modes_at_its_marks(digits, coordinates):
    plane = mc.sweep_plane(digits, "three_modes", resolution=3, coordinates=coordinates)
    for mode, u, v in zip("ABC", plane.mark_u.values[:3], plane.mark_v.values[:3], strict=True):
        stacked = {name: w[None] for name, w in digits.params[mode].items()}
        expected = mc.evaluate(digits.model, stacked, digits.test)["loss"].item()
        if u in plane.u.values and v in plane.v.values:
            assert plane.loss.sel(u=u, v=v, split="test").item() == pytest.approx(expected, rel=1e-4)


def test_samples_are_the_draws_of_the_law(digits):
    samples = mc.sweep_samples(digits, "beta", n=3, alpha=0.5, beta=0.5, granularity="layer", seed=2)
    aligned = mc.align(digits.spec, digits.params["A"], digits.params["B"]).params
    draws = mc.sample_coefficients(digits.spec, "beta", n=3, alpha=0.5, beta=0.5, granularity="layer", seed=2)
    expected = mc.evaluate(digits.model, mc.combine(digits.params["A"], aligned, draws), digits.test)
    np.testing.assert_allclose(samples.loss.values[0], expected["loss"], rtol=1e-6)
    ends = mc.sweep_segment(digits, points=3)
    assert samples.reference_loss.sel(split="test").values[:3].tolist() == ends.loss.values[0][[0, 2, 1]].tolist()


def test_groups_are_perturbed_one_by_one(digits):
    options = {"strengths": [0.0, 0.6], "repeats": 2, "kind": "noise"}
    each, every = mc.sweep_perturbation(digits, per_group=True, **options), mc.sweep_perturbation(digits, **options)
    assert each.group.values.tolist() == ["all groups", *digits.spec.sizes]
    xr.testing.assert_identical(each.sel(group="all groups", drop=True).drop_attrs(), every.drop_attrs())
    alone = each.churn.isel(group=slice(1, None))
    np.testing.assert_allclose(alone.sum("group"), every.churn)
    assert (alone.sel(strength=0.6) > 0).all()
    one = mc.perturb_alignment(mc.align_modes(digits, "A", "B"), 0.6, "noise", 1)
    only = {g: p if g == "P_1" else one.base.permutation[g] for g, p in one.permutation.items()}
    params = mc.apply_permutation(digits.spec, only, digits.params["B"])
    half = {name: (0.5 * (a + params[name]))[None] for name, a in digits.params["A"].items()}
    expected = mc.evaluate(digits.model, half, digits.test)["loss"].item()
    assert each.loss.sel(group="P_1", strength=0.6, repeat=1).item() == pytest.approx(expected, rel=1e-5)


def test_a_law_is_drawn_alike_under_every_perturbation(digits):
    law = {"distribution": "bernoulli", "n": 3, "p": 0.3, "seed": 5}
    found = mc.sweep_perturbation(digits, [0.0, 0.7], repeats=2, **law)
    assert found.loss.dims == ("split", "strength", "repeat", "sample")
    for strength, repeat in ((0.0, 1), (0.7, 0)):
        draws = mc.sweep_samples(digits, strength=strength, perturbation_seed=repeat, **law)
        got = found.sel(strength=strength, repeat=repeat)
        np.testing.assert_allclose(got.loss, draws.loss, rtol=1e-6)


def test_perturbation_reports_what_it_did(digits):
    dataset = mc.sweep_perturbation(digits, [0.0, 0.5, 1.0], repeats=2, kind="shuffle")
    assert dataset.churn.values[:, 0].tolist() == [0.0, 0.5, 1.0]
    assert dataset.objective_lost.values[0].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(
        dataset.loss.sel(strength=0),
        dataset.reference_loss.sel(reference="midpoint").values[:, None].repeat(2, 1),
        rtol=1e-6,
    )


def test_other_coefficients_and_splits(digits):
    at_end = mc.sweep_perturbation(digits, [0.8], repeats=1, value=1.0, splits=("train",))
    assert at_end.loss.item() == pytest.approx(at_end.reference_loss.sel(reference="B").item(), rel=1e-5)


def test_float64_differs_little_from_float32(digits):
    single, double = (mc.sweep_plane(digits, resolution=5, precision=p) for p in ("float32", "float64"))
    np.testing.assert_allclose(single.loss, double.loss, rtol=1e-4)
    assert not np.array_equal(single.loss, double.loss)


def test_memory_bound_changes_nothing_but_the_plan(digits):
    free, bound = (mc.sweep_plane(digits, resolution=5, max_memory=m) for m in (None, 8_000_000))
    assert free.attrs["plan"] != bound.attrs["plan"]
    np.testing.assert_allclose(free.loss, bound.loss, rtol=1e-6)


def test_points_that_are_not_numbers_are_kept(batchnorm):
    plane = mc.sweep_plane(batchnorm, "three_modes", resolution=5, margin=0.5)
    assert plane.loss.isnull().any()
    assert (plane.loss.isnull() == plane.accuracy.isnull()).all()


def test_results_survive_a_file(digits, tmp_path):
    dataset = mc.sweep_samples(digits, "normal", n=4, strength=[0.0, 0.5])
    path = mc.save(dataset, tmp_path / "folder" / "x.nc")
    xr.testing.assert_identical(mc.open(path), dataset)


def test_grid_axis_extends_both_sides():
    assert grid_axis(0, 1, 3, 0.5).tolist() == [-0.5, 0.5, 1.5]


def test_settings_are_values():
    assert SegmentSweep(points=5) == SegmentSweep(points=5)
    assert make_sweep("plane", {"z": ["fc1"]}) == PlaneSweep(z=("fc1",))


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("plane", {"resolution": 0}, ["resolution", "from 2 to 1,025", "got 0"]),
        ("plane", {"resolution": 10_000}, ["resolution", "from 2 to 1,025", "got 10000"]),
        ("plane", {"margin": -1.0}, ["margin", "[0, 10]", "-1"]),
        ("plane", {"plane": "flat"}, ["plane", "split, random, three_modes", "'flat'"]),
        ("plane", {"z": "all"}, ["z must be 'draw'", "'all'"]),
        ("plane", {"coordinates": "polar"}, ["coordinates", "affine, orthonormal", "'polar'"]),
        ("plane", {"resoluton": 5}, ["bernoulli has no parameter resoluton", "it takes p"]),
        ("segment", {"points": 1}, ["points", "from 2", "got 1"]),
        ("segment", {"start": 1.0}, ["start and end must differ", "1.0"]),
        ("segment", {"end": float("nan")}, ["end must be a finite number", "nan"]),
        ("segment", {"p": 0.5}, ["a segment sweep takes no p", "points"]),
        ("samples", {"n": 0}, ["n must be a whole number from 1", "got 0"]),
        ("samples", {"p": 1.5}, ["bernoulli", "p (probability", "[0, 1]", "1.5"]),
        ("samples", {"distribution": "cauchy"}, ["distribution", "constant, uniform, bernoulli", "'cauchy'"]),
        ("samples", {"distribution": "normal", "std": -1.0}, ["normal", "std", "[0, inf]", "-1"]),
        ("samples", {"distribution": "normal", "mean": float("inf")}, ["mean", "finite", "inf"]),
        ("samples", {"distribution": "uniform", "low": 2.0}, ["low ≤ high", "low=2", "high=1"]),
        ("samples", {"granularity": "block"}, ["granularity", "model, layer, unit, weight", "'block'"]),
        ("segment", {"strength": 1.5}, ["strength", "[0, 1]", "1.5", "not a percentage"]),
        ("segment", {"strength": [0.0, -0.1]}, ["strength", "[0, 1]", "-0.1"]),
        ("segment", {"alignment": "magic"}, ["alignment", "weight_matching", "'magic'"]),
        ("segment", {"perturbation": "stir"}, ["perturbation", "shuffle, noise", "'stir'"]),
        ("segment", {"precision": "half"}, ["precision", "float32, float64", "'half'"]),
        ("segment", {"splits": ("validation",)}, ["splits", "train, test", "'validation'"]),
        ("segment", {"splits": ()}, ["splits must be a list"]),
        ("segment", {"seed": -1}, ["seed", "from 0", "-1"]),
        ("perturbation", {"strength": ()}, ["strengths is empty"]),
        ("sphere", {}, ["sweep must be one of segment, plane", "'sphere'"]),
    ],
)
def test_bad_settings_are_explained(name, settings, words):
    with explains(*words):
        make_sweep(name, settings)


def test_unknown_modes_are_named(digits):
    with pytest.raises(ValueError, match="no mode 'Z'; it has A, B, C"):
        mc.sweep_segment(digits, b="Z")


def test_layers_are_swapped_one_at_a_time(digits):
    found = mc.sweep_layers(digits, points=5)
    layers = list(digits.spec.layer_names)
    assert found.layer.values.tolist() == layers
    a, b = digits.params["A"], mc.align(digits.spec, digits.params["A"], digits.params["B"]).params
    for layer in layers:
        swapped = {k: (b if digits.spec.layers[k] == layer else a)[k][None] for k in a}
        curve = found.loss.sel(split="test", layer=layer)
        assert curve[-1].item() == pytest.approx(
            mc.evaluate(digits.model, swapped, digits.test)["loss"].item(), rel=1e-4
        )
        assert curve[0].item() == pytest.approx(found.loss.sel(split="test", t=0)[0].item(), rel=1e-6)
    assert mc.barriers(found).barrier.dims == ("split", "layer", "definition")


def test_the_slope_of_a_layer_is_the_derivative(digits):
    found = mc.sweep_layers(digits, 0.5, points=2, precision="float64").slope.sel(split="test")
    a, b = digits.params["A"], mc.align(digits.spec, digits.params["A"], digits.params["B"]).params
    rates = {layer: torch.tensor(0.5, dtype=torch.float64, requires_grad=True) for layer in digits.spec.layer_names}
    mixed = {k: torch.lerp(w.double(), b[k].double(), rates[digits.spec.layers[k]]) for k, w in a.items()}
    model = copy.deepcopy(digits.model).double()
    logits = torch.func.functional_call(model, mixed, (digits.test.x.double(),))
    torch.nn.functional.cross_entropy(logits, digits.test.y).backward()
    for layer, rate in rates.items():
        assert found.sel(layer=layer).item() == pytest.approx(rate.grad.item(), rel=0.02, abs=5e-4)


def test_laws_by_mean_and_deviation_are_draws_of_those_laws(digits):
    found = mc.sweep_laws(digits, "normal", n=4, means=(0.25, 0.5), deviations=(0.0, 0.4), seed=5)
    draws = mc.sweep_samples(digits, "normal", mean=0.25, std=0.4, n=4, seed=5)
    np.testing.assert_allclose(found.loss.sel(mean=0.25, deviation=0.4), draws.loss, rtol=1e-6)
    calm = found.loss.sel(deviation=0.0, mean=0.5, split="test").values
    assert calm == pytest.approx([mc.sweep_segment(digits, points=3).loss.values[0, 1]] * 4, rel=1e-5)
    cells = mc.summary(found)
    assert cells.mean_excess.dims == ("split", "deviation", "mean")
    assert (cells.mean_excess.sel(deviation=0.4) > cells.mean_excess.sel(deviation=0.0)).all()


@pytest.mark.parametrize("name", ["uniform", "normal", "beta"])
def test_laws_have_the_moments_they_are_asked_for(name):
    law = with_moments(name, 0.4, 0.2)
    draw = LAWS[name].draw(torch.Generator().manual_seed(0), (200_000,), **{**check_law(name, law)})
    assert draw.mean().item() == pytest.approx(0.4, abs=0.003)
    assert draw.std().item() == pytest.approx(0.2, abs=0.003)


def test_laws_that_do_not_exist_are_no_numbers(digits):
    beta = mc.sweep_laws(digits, "beta", n=2, means=(0.5, 1.2), deviations=(0.3, 0.6))
    known = np.isfinite(beta.loss.sel(split="test")).all("sample")
    assert known.values.tolist() == [[True, False], [False, False]]
    flips = mc.sweep_laws(digits, "bernoulli", n=2, means=(0.0, 0.5, 1.5))
    assert flips.sizes["deviation"] == 1
    assert np.isfinite(flips.loss).all("sample").values.ravel().tolist() == [True, True, False]
    for settings, words in (
        ({"distribution": "constant"}, ("uniform, normal, beta, bernoulli", "'constant'")),
        ({"means": ()}, ("means is empty",)),
        ({"deviations": (-1.0,)}, ("deviations must be ≥ 0", "-1")),
    ):
        with explains(*words):
            mc.sweep_laws(digits, **settings)
