"""Similarity of networks against independent computations, and the sweeps that measure it."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from explained import explains
from scipy.spatial.distance import jensenshannon, pdist, squareform
from torch.func import functional_call

import modecomb_viz as mc
from modecomb_viz import similarity
from modecomb_viz.hypercube import sample_coefficients
from modecomb_viz.sweep.similarity import ENSEMBLE
from modecomb_viz.sweep.transitivity import TransitivitySweep


def logits(seed, examples=200, labels=5):
    return torch.randn(examples, labels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


Y = torch.arange(200) % 5


def test_measures_of_function_are_what_other_libraries_compute():
    p, q = logits(0), logits(0) + 0.7 * logits(1)
    right_p, right_q = (set(np.flatnonzero(one.argmax(1) != Y)) for one in (p, q))
    assert similarity.disagreement(p, q) == np.mean(p.argmax(1).numpy() != q.argmax(1).numpy())
    assert similarity.error_overlap(p, q, Y) == len(right_p & right_q) / len(right_p | right_q)
    js = jensenshannon(p.softmax(1).numpy(), q.softmax(1).numpy(), axis=1) ** 2
    assert similarity.jensen_shannon(p, q) == pytest.approx(js.mean(), rel=1e-9)


def test_cka_is_that_of_the_centred_kernels():
    x, z = logits(2, labels=7), logits(3, labels=4)
    centring = np.eye(200) - 1 / 200
    k, m = (centring @ (one @ one.T).numpy() @ centring for one in (x, z))
    expected = (k * m).sum() / math.sqrt((k * k).sum() * (m * m).sum())
    assert similarity.linear_cka(x, z) == pytest.approx(expected, rel=1e-9)
    rotation = torch.linalg.qr(logits(4, 7, 7)).Q
    assert similarity.linear_cka(x, 3 * x @ rotation + 1) == pytest.approx(1)
    assert math.isnan(similarity.linear_cka(x, torch.ones(200, 2)))


def test_disagreement_has_the_bounds_that_errors_allow():
    for seed in range(20):
        p, q = (torch.nn.functional.one_hot(Y, 5) * s + logits(seed + i) for i, s in ((0, 2.0), (50, 3.0)))
        least, most = similarity.disagreement_bounds(p, q, Y)
        assert least <= similarity.disagreement(p, q) <= most
    one = torch.eye(5)[Y]
    first, second = one.clone(), one.clone()
    first[:20], second[20:50] = one[:20].roll(1, 1), one[20:50].roll(1, 1)
    assert similarity.disagreement_bounds(first, second, Y) == pytest.approx((0.05, 0.25))
    assert similarity.disagreement_share(first, second, Y) == pytest.approx(1)
    assert similarity.error_overlap(first, second, Y) == 0
    assert math.isnan(similarity.error_overlap(one, one, Y))
    assert math.isnan(similarity.disagreement_share(one, one, Y))


def test_what_is_no_number_is_like_nothing():
    broken = logits(0)
    broken[3, 1] = math.nan
    for measure in ("disagreement", "jensen_shannon"):
        assert math.isnan(similarity.FUNCTIONAL[measure](broken, logits(1), Y))


def test_measures_of_weights_are_those_of_the_flat_vectors(digits):
    a, b, c = (digits.params[mode] for mode in "ABC")
    names = list(a)
    flat = [torch.cat([params[name].double().flatten() for name in names]).numpy() for params in (a, b, c)]
    assert similarity.weight_distance(b, c, a, b, names) == pytest.approx(
        np.linalg.norm(flat[1] - flat[2]) / np.linalg.norm(flat[0] - flat[1])
    )
    cosine = 1 - pdist(np.stack(flat[1:]), "cosine")[0]
    assert similarity.weight_cosine(b, c, a, b, names) == pytest.approx(cosine)
    angle = 1 - pdist(np.stack([flat[1] - flat[0], flat[2] - flat[0]]), "cosine")[0]
    assert similarity.weight_angle(b, c, a, b, names) == pytest.approx(np.degrees(np.arccos(angle)))
    assert math.isnan(similarity.weight_angle(a, c, a, b, names))


def test_inner_products_give_the_measures_of_all_pairs(digits):
    a, b, c = (digits.params[mode] for mode in "ABC")
    near = {name: tensor.clone() for name, tensor in c.items()}
    names = list(a)
    near[names[0]].view(-1)[0] += 1e-3
    networks = [a, b, c, near, {name: tensor.clone() for name, tensor in c.items()}]
    flat = [similarity.flat_weights(params, names) for params in networks]
    products = similarity.InnerProducts(flat[0], flat[1])
    for part in (flat[:2], flat[2:]):
        assert list(products.add(part))[-1] == 1
    slow = {
        "weight_distance": similarity.weight_distance,
        "weight_cosine": similarity.weight_cosine,
        "weight_angle": similarity.weight_angle,
    }
    assert slow.keys() == similarity.WEIGHTS.keys()
    for measure, function in similarity.WEIGHTS.items():
        expected = [[slow[measure](p, q, a, b, names) for q in networks] for p in networks]
        np.testing.assert_allclose(function(products), expected, rtol=1e-9, atol=1e-5 * (measure == "weight_angle"))
    assert similarity.WEIGHTS["weight_distance"](products)[2, 4] == 0


@pytest.fixture(scope="module")
def found(digits):
    return mc.sweep_similarity(digits, "uniform", n=10, granularity="unit", seed=3)


def test_the_sweep_compares_the_networks_it_names(digits, found):
    names = ["A", "B", "midpoint", "C", ENSEMBLE, *(f"draw {i}" for i in range(10))]
    assert found.model.values.tolist() == found.other.values.tolist() == names
    aligned = mc.align(digits.spec, digits.params["A"], digits.params["B"]).params
    draw = sample_coefficients(digits.spec, "uniform", n=1, first=4, granularity="unit", seed=3)
    weights = {name: w[0] for name, w in mc.combine(digits.params["A"], aligned, draw).items()}
    with torch.no_grad():
        p, q = (functional_call(digits.model, params, (digits.test.x,)) for params in (weights, digits.params["A"]))
        mean = (q + functional_call(digits.model, aligned, (digits.test.x,))) / 2
    pair = found.sel(split="test", model="draw 4")
    assert pair.disagreement.sel(other="A").item() == pytest.approx(similarity.disagreement(p, q))
    assert pair.cka.sel(other=ENSEMBLE).item() == pytest.approx(similarity.linear_cka(p, mean), rel=1e-5)
    assert pair.accuracy.item() == pytest.approx((p.argmax(1) == digits.test.y).double().mean().item())
    assert pair.weight_distance.sel(other="midpoint").item() < pair.weight_distance.sel(other="C").item()


def test_one_network_twice_is_the_same_and_independent_ones_are_not(found):
    test = found.sel(split="test")
    for measure in ("disagreement", "jensen_shannon"):
        values = test[measure].values
        np.testing.assert_allclose(np.diagonal(values), 0, atol=1e-12)
        np.testing.assert_array_equal(values, values.T)
    assert test.disagreement.sel(model="A", other="C").item() > 0
    assert np.isnan(found.weight_cosine.sel(model=ENSEMBLE)).all()
    within = (test.least_disagreement <= test.disagreement + 1e-12) & (test.disagreement <= test.most_disagreement)
    assert within.all()


def test_ensembles_grow_with_the_draws(digits, found):
    assert found.k.values.tolist() == list(range(1, 11))
    first = found.sel(split="test", k=1)
    assert first.ensemble_accuracy.item() == found.accuracy.sel(split="test", model="draw 0").item()
    assert found.ensemble_loss.sel(split="test", k=10).item() < first.ensemble_loss.item()


def test_cka_of_a_layer_and_a_wrong_layer(digits):
    layer = next(name for name, _ in digits.model.named_modules() if name)
    deep = mc.sweep_similarity(digits, n=2, layer=layer)
    assert deep.cka.sel(split="test", model="A", other="A").item() == pytest.approx(1)
    assert np.isnan(deep.cka.sel(model=ENSEMBLE)).all()
    with explains("layer must be a module", "'nope'", layer):
        mc.sweep_similarity(digits, n=2, layer="nope")
    with explains("one strength"):
        mc.sweep_similarity(digits, n=2, strength=[0.0, 0.5])


def test_the_embedding_keeps_distances_that_fit_into_a_plane(found):
    points = np.random.default_rng(0).random((len(found.model), 2))
    planar = found.assign(disagreement=(("split", "model", "other"), squareform(pdist(points))[None]))
    shown = mc.embedding(planar).sel(split="test")
    np.testing.assert_allclose(pdist(np.stack([shown.x, shown.y], 1)), pdist(points), rtol=1e-9)
    assert shown.explained.item() == pytest.approx(1)
    assert 0 < mc.embedding(found).explained.item() <= 1
    with explains("measure must be one of disagreement", "'cka'"):
        mc.embedding(found, measure="cka")


@pytest.fixture(scope="module")
def routes(digits):
    return mc.sweep_transitivity(digits, points=5)


def test_every_pair_by_every_route(digits, routes):
    assert routes.pair.values.tolist() == ["A–B", "A–C", "B–C"]
    assert routes.route.values.tolist() == ["naive", "direct", "through A", "through B", "through C", "universe"]
    test = routes.sel(split="test")
    segment = mc.sweep_segment(digits, points=5, a="A", b="C").loss.sel(split="test")
    np.testing.assert_allclose(test.loss.sel(pair="A–C", route="direct"), segment, rtol=1e-5)
    a, b = (mc.align(digits.spec, digits.params["C"], digits.params[m]).params for m in "AB")
    middle = {name: ((a[name] + b[name]) / 2)[None] for name in a}
    expected = mc.evaluate(digits.model, middle, digits.test)["loss"].item()
    assert test.loss.sel(pair="A–B", route="through C", t=0.5).item() == pytest.approx(expected, rel=1e-4)
    assert np.isnan(test.loss.sel(pair="A–B", route="through A")).all()
    for pair, route in (("A–B", "naive"), ("A–C", "direct"), ("B–C", "through A"), ("A–B", "universe")):
        for t in (0.0, 1.0):
            params = mc.point_params(routes, digits, pair=pair, route=route, t=t)
            expected = mc.evaluate(digits.model, {n: p[None] for n, p in params.items()}, digits.test)["loss"].item()
            assert test.loss.sel(pair=pair, route=route, t=t).item() == pytest.approx(expected, rel=1e-4)


def test_ends_that_are_repaired_are_those_of_their_route(digits):
    repaired = mc.sweep_transitivity(digits, points=3, repair="repair").loss.sel(split="test", pair="A–B")
    ends = repaired.sel(t=[0.0, 1.0], route=["naive", "direct", "through C"]).values
    np.testing.assert_allclose(ends / ends[:1], 1, rtol=0.05)
    assert len(np.unique(ends)) > 2, "every route is repaired by itself"


def test_all_other_routes_are_there_before_the_universe(digits):
    levels = [step for step in TransitivitySweep(points=5).steps(digits) if isinstance(step, xr.Dataset)]
    lost = [bool(level.cycle_error.sel(route="universe").isnull().all()) for level in levels]
    assert lost == [True, True, False]
    assert [level.sizes["t"] for level in levels] == [3, 5, 5]
    first, last = levels[0], levels[-1]
    for level in levels[:2]:
        without = last.loss.drop_sel(route="universe").sel(t=level.t)
        xr.testing.assert_equal(level.loss.drop_sel(route="universe"), without)
    assert np.isnan(mc.transitivity(first).route_barrier.sel(kind="universe")).all()
    assert mc.transitivity(first).share_kept.notnull().all()


def test_cycle_errors_are_shares_of_units(digits, routes):
    error = routes.cycle_error
    assert (error.sel(route="direct") == 0).all()
    onto_c = {m: mc.align(digits.spec, digits.params["C"], digits.params[m]).permutation for m in "AB"}
    through = mc.compose(mc.invert(onto_c["A"]), onto_c["B"])
    direct = mc.align(digits.spec, digits.params["A"], digits.params["B"]).permutation
    assert error.sel(pair="A–B", route="through C").item() == pytest.approx(mc.churn(direct, through))
    universe = mc.sweep_transitivity(digits, points=2, alignment="universe")
    assert np.nanmax(universe.cycle_error.drop_sel(route="naive")) == 0, "a universe is cycle-consistent"


def test_transitivity_says_what_a_third_mode_costs(routes):
    found = mc.transitivity(routes)
    barrier = mc.barriers(routes).barrier.sel(definition="D2", split="test")
    through = [barrier.sel(pair=p, route=f"through {k}").item() for p, k in (("A–B", "C"), ("A–C", "B"), ("B–C", "A"))]
    direct = barrier.sel(route="direct").values
    assert found.route_barrier.sel(kind="through", split="test").item() == pytest.approx(np.mean(through))
    assert found.highest_barrier.sel(kind="through", split="test").item() == pytest.approx(max(through))
    assert found.cost_of_third.sel(split="test").item() == pytest.approx(np.mean(through - direct))
    naive = barrier.sel(route="naive").mean().item()
    kept = (naive - np.mean(through)) / (naive - direct.mean())
    assert found.share_kept.sel(split="test").item() == pytest.approx(kept)
    assert kept > 0.8, "the networks of digits-mlp are transitive"


def test_too_few_modes_are_explained(digits):
    with explains("at least three modes", "A, B", "digits-mlp has A, B, C"):
        mc.sweep_transitivity(digits, members=("A", "B"))
    with explains("different modes"):
        mc.sweep_transitivity(digits, members=("A", "A", "B"))
    with pytest.raises(ValueError, match="Z"):
        mc.sweep_transitivity(digits, members=("A", "B", "Z"))
    with explains("sweep_transitivity"):
        mc.transitivity(mc.sweep_segment(digits, points=3))
