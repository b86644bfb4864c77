"""The search for the best and the worst point: gradients against differences, bounds, and what it says it found."""

import itertools
from itertools import islice

import numpy as np
import pytest
import torch
import xarray as xr
from cases import CASES
from explained import explains

import modecomb_viz as mc
from modecomb_viz.evaluation import finish
from modecomb_viz.executor import Progress
from modecomb_viz.hypercube import Combinations, combine, expand
from modecomb_viz.sweep import SearchSweep, last_dataset
from modecomb_viz.sweep.gradients import loss_and_gradient, train_losses, training_part
from modecomb_viz.sweep.measurement import Measurement
from modecomb_viz.sweep.search import Space, _Evolution

QUICK = {"steps": 6, "train_examples": 150}
goals = pytest.mark.parametrize("goal", ["best", "worst"])
methods = pytest.mark.parametrize("method", ["gradient", pytest.param("evolution", marks=pytest.mark.slow)])
granularities = pytest.mark.parametrize("granularity", ["layer", "unit"])


def found_coefficients(modes, found):
    """Λ of the last step, per tensor, from what the result says."""
    if "unit_coefficient" not in found:
        values = found.coefficient.isel(step=-1)
        return expand(modes.spec, "layer", {s: torch.tensor([values.sel(slot=s).item()]) for s in values.slot.values})
    blocks = {}
    for unit, value in zip(found.unit.values, found.unit_coefficient.values, strict=True):
        blocks.setdefault(unit.rpartition(" ")[0], []).append(value)
    return expand(modes.spec, "unit", {layer: torch.tensor([block]) for layer, block in blocks.items()})


@pytest.mark.parametrize("name", ["digits-mlp", "digits-convnet"])
@granularities
def test_the_gradient_is_that_of_finite_differences(name, granularity):
    modes = mc.open_modes(name)
    run = Measurement(SearchSweep(granularity=granularity, precision="float64"), modes)
    space, part = Space(modes.spec, granularity), training_part(run, 300)
    aligned = run.placed(mc.align_modes(modes, "A", "B").params)
    family = Combinations(run.params_a, (aligned,), space.coefficients)
    rng = np.random.default_rng(0)
    at = torch.as_tensor(rng.uniform(0.2, 0.8, len(space.names)))
    loss, gradient = finish(loss_and_gradient(run, family, at, part))
    assert loss == pytest.approx(finish(train_losses(run, family, at[None], part)).item(), rel=1e-12)
    h, chosen = 1e-7, rng.permutation(len(at))[:12]
    directions = [torch.eye(len(at), dtype=torch.float64)[i] for i in chosen] + [
        torch.as_tensor(rng.normal(size=len(at)))
    ]
    points = torch.stack([at + side * h * d for d in directions for side in (-1, 1)])
    below, above = finish(train_losses(run, family, points, part)).reshape(-1, 2).T
    for direction, slope in zip(directions, (above - below) / (2 * h), strict=True):
        assert (gradient @ direction).item() == pytest.approx(slope.item(), rel=1e-5, abs=1e-8)
    assert gradient.abs().max() > 1e-4


@pytest.mark.parametrize("case", CASES[:6], ids=lambda case: case.name)
def test_points_and_coefficients_are_the_same_numbers(case):
    """Units that share a coefficient move together: the vector of a point, put out over the network, is found in it."""
    spec = case.spec()
    for granularity in ("layer", "unit"):
        space = Space(spec, granularity)
        points = torch.rand(2, len(space.names), dtype=torch.float64)
        (coefficients,) = space.coefficients(points)
        for name, layer in spec.layers.items():
            owned = [i for i, slot in enumerate(space.names) if slot.rpartition(" ")[0] == layer or slot == layer]
            whole = coefficients[name].expand(2, *spec.shapes[name])
            rows = whole.movedim(1 + spec.unit_axes.get(name, 0), 1).reshape(
                2, whole.shape[1 + spec.unit_axes.get(name, 0)], -1
            )
            assert torch.equal(rows[..., :1].expand_as(rows), rows)
            assert torch.equal(rows[..., 0], points[:, owned].expand(2, rows.shape[1]))
            layers = space.of_layers(points)[:, spec.layer_names.index(layer)]
            torch.testing.assert_close(layers, points[:, owned].mean(1))


@goals
@methods
@granularities
def test_a_search_only_gets_better_and_says_what_it_found(digits, goal, method, granularity):
    found = mc.sweep_search(digits, goal, method, granularity=granularity, splits=("test", "train"), **QUICK)
    sign = 1 if goal == "best" else -1
    assert (sign * np.diff(found.searched_loss) <= 0).all()
    assert sign * (found.searched_loss[-1] - found.searched_loss[0]) < 0
    assert (found.coefficient.isel(step=0) == 0.5).all()
    assert ((found.coefficient >= 0) & (found.coefficient <= 1)).all()
    np.testing.assert_allclose(
        found.loss.isel(step=0), found.reference_loss.sel(reference="midpoint"), rtol=1e-5, atol=1e-7
    )
    a, b = digits.params["A"], mc.align_modes(digits, "A", "B").params
    network = combine(a, b, {name: w.float() for name, w in found_coefficients(digits, found).items()})
    for split in ("test", "train"):
        measured = mc.evaluate(digits.model, network, digits.split(split))
        last = found.isel(step=-1).sel(split=split)
        assert last.loss.item() == pytest.approx(measured["loss"].item(), rel=1e-4)
        assert last.accuracy.item() == pytest.approx(measured["accuracy"].item(), abs=0.004)
        ends = [mc.evaluate(digits.model, {k: w[None] for k, w in p.items()}, digits.split(split)) for p in (a, b)]
        losses = [end["loss"].item() for end in ends]
        for end, expected in (("better", min(losses)), ("worse", max(losses))):
            assert last.excess.sel(end=end).item() == pytest.approx(last.loss.item() - expected, abs=1e-5)


@methods
@pytest.mark.parametrize("bounds", [(0.3, 0.6), (-0.5, 1.5)])
def test_bounds_are_kept(digits, method, bounds):
    found = mc.sweep_search(digits, "worst", method, granularity="unit", bounds=bounds, rate=0.3, **QUICK)
    low, high = found.unit_coefficient.min().item(), found.unit_coefficient.max().item()
    assert bounds[0] <= low < 0.5 < high <= bounds[1]
    assert method == "evolution" or (low, high) == bounds


@pytest.mark.slow
@goals
@methods
def test_no_neighbouring_corner_beats_what_a_search_of_layers_ends_at(digits, goal, method):
    a, b, spec = digits.params["A"], mc.align_modes(digits, "A", "B").params, digits.spec
    corners = list(itertools.product((0, 1), repeat=len(spec.layer_names)))
    values = torch.tensor(corners, dtype=torch.float32).T
    every = combine(a, b, expand(spec, "layer", dict(zip(spec.layer_names, values, strict=True))))
    losses = dict(zip(corners, mc.evaluate(digits.model, every, digits.train)["loss"].tolist(), strict=True))
    found = mc.sweep_search(digits, goal, method, steps=40).isel(step=-1)
    nearest = tuple(found.coefficient.values.round().astype(int).tolist())
    assert found.searched_loss.item() == pytest.approx(losses[nearest], rel=1e-2)
    neighbours = [loss for corner, loss in losses.items() if sum(np.not_equal(corner, nearest)) == 1]
    worse = losses[nearest] < min(neighbours) if goal == "best" else losses[nearest] > max(neighbours)
    assert worse


@pytest.mark.parametrize("size", [3, 150])
def test_evolution_finds_the_minimum_of_a_function_that_is_known(monkeypatch, digits, size):
    """f(Λ) = Σ (Λ_i − c_i)²; also across restarts, and where some losses are no numbers."""
    aim = torch.linspace(0.2, 0.7, size, dtype=torch.float64)
    evaluated, populations = [0], []

    def known(run, family, points, part):
        evaluated[0] += 1
        losses = (points - aim).square().sum(1)
        yield Progress(0, 1)
        return losses if evaluated[0] % 5 else losses * torch.nan

    def step():
        before = evaluated[0]
        loss = finish(search.step())[1]
        populations.append(evaluated[0] - before)
        return loss

    monkeypatch.setattr("modecomb_viz.sweep.search.train_losses", known)
    sweep = SearchSweep(method="evolution")
    run = Measurement(sweep, digits)
    family = Combinations(run.params_a, (run.params_a,), Space(digits.spec, "layer").coefficients)
    search = _Evolution(run, sweep, family, digits.train, size)
    losses = [step() for _ in range(250)]
    assert np.nanmin(losses) < 0.02 * losses[0]
    assert populations[0] == 1
    restarted = [b / a for a, b in itertools.pairwise(populations[1:]) if b != a]
    assert restarted == [2.0] * len(restarted)
    monkeypatch.setattr(search._strategy, "should_stop", lambda: True)
    step()
    assert populations[-1] == 2 * populations[-2]


@methods
def test_a_search_is_the_same_again_and_leaves_the_generators_alone(digits, method):
    torch.manual_seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    settings = {"granularity": "unit", **QUICK}
    one, two = (mc.sweep_search(digits, "worst", method, **settings) for _ in range(2))
    xr.testing.assert_identical(one.drop_attrs(), two.drop_attrs())
    assert torch.equal(states[0], torch.get_rng_state())
    np.testing.assert_array_equal(states[1], np.random.get_state()[1])
    other = mc.sweep_search(digits, "worst", method, seed=1, **settings)
    assert one.unit_coefficient.equals(other.unit_coefficient) == (method == "gradient")


@methods
def test_an_interrupted_search_goes_on_to_the_same_bits(digits, tmp_path, method):
    sweep = SearchSweep(goal="worst", method=method, granularity="unit", n=6, train_examples=150, plan={"block": 3})
    whole = list(sweep.steps(digits))
    for stopped in (len(whole) // 3, len(whole) // 2):
        steps = sweep.steps(digits, tmp_path / "x.journal")
        list(islice(steps, stopped))
        steps.close()
    result = last_dataset(sweep.steps(digits, tmp_path / "x.journal"))
    xr.testing.assert_identical(result.drop_attrs(), whole[-1].drop_attrs())


@methods
def test_a_search_shows_progress_often_and_leaves_autograd_as_it_was(digits, method):
    with torch.no_grad():
        kinds = []
        for step in SearchSweep(method=method, n=4, train_examples=1000).steps(digits):
            assert not torch.is_grad_enabled()
            kinds.append(type(step))
    assert kinds.count(Progress) >= (5 * 4 if method == "gradient" else 5)
    assert kinds.count(xr.Dataset) == 5


def test_pictures_grow_without_changing(digits):
    datasets = list(mc.iter_search(digits, "worst", granularity="unit", **QUICK))
    for dataset in datasets:
        for name in ("loss", "coefficient", "searched_loss"):
            np.testing.assert_array_equal(dataset[name], datasets[-1][name].isel(step=slice(dataset.sizes["step"])))


@pytest.mark.slow
def test_evolution_searches_repaired_networks(batchnorm):
    found = mc.sweep_search(batchnorm, "best", "evolution", repair="batchnorm", **QUICK)
    plain = mc.sweep_search(batchnorm, "best", "evolution", **QUICK)
    assert found.searched_loss[0] < plain.searched_loss[0]
    assert found.searched_loss[-1] <= found.searched_loss[0]


def test_outside_the_cube_losses_may_be_no_numbers(batchnorm):
    outside = {"bounds": (-9.0, 10.0), "granularity": "unit", "steps": 12, "train_examples": 50}
    found = mc.sweep_search(batchnorm, "worst", "evolution", **outside)
    assert np.isfinite(found.searched_loss).all()
    with explains("whose gradient is not finite", "(-9.0, 10.0)", "method='evolution'"):
        mc.sweep_search(batchnorm, "worst", "gradient", rate=2.0, **outside)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"goal": "median"}, ["goal must be one of best, worst", "'median'"]),
        ({"method": "guess"}, ["method must be one of gradient, evolution", "'guess'"]),
        ({"granularity": "weight"}, ["granularity must be one of layer, unit", "'weight'"]),
        ({"n": 0}, ["n must be a whole number from 1", "got 0"]),
        ({"train_examples": 0}, ["train_examples", "from 1", "got 0"]),
        ({"bounds": (0.6, 1.0)}, ["bounds must have ½", "(0.6, 1.0)"]),
        ({"bounds": (0.0, float("inf"))}, ["bounds must be a finite number", "inf"]),
        ({"rate": 0.0}, ["rate must be > 0", "0.0"]),
        ({"repair": "batchnorm"}, ["gradient of a repaired network", "method='evolution'"]),
    ],
)
def test_bad_settings_are_explained(settings, words):
    with explains(*words):
        SearchSweep(**settings)
