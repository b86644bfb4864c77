"""Laws of coefficients, segments and planes."""

import math

import pytest
import reference
import torch
from cases import CASES, SMALL
from hypothesis import given, settings
from hypothesis import strategies as st

from modecomb_viz.hypercube import (
    GRANULARITIES,
    LAWS,
    combine,
    expand,
    layer_mask,
    random_plane,
    sample_coefficients,
    slots,
    split_plane,
    three_modes_plane,
)

CASE = SMALL[1]
SPEC, A, B, C = CASE.spec(), *(CASE.params(seed, torch.float32) for seed in (0, 1, 2))
granularities = pytest.mark.parametrize("granularity", list(GRANULARITIES))


def equal(p, q):
    return all(torch.equal(p[name], q[name]) for name in p)


def at(plane, *points):
    return plane.at(torch.tensor(points, dtype=torch.float64))


def point(stacked, i=0):
    return {name: tensor[i] for name, tensor in stacked.items()}


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
@granularities
def test_ends_are_exact_and_a_network_with_itself_is_itself(case, granularity):
    spec, a, b = case.spec(), case.params(0, torch.float32), case.params(1, torch.float32)
    zeros, ones = (sample_coefficients(spec, "constant", granularity=granularity, value=v) for v in (0, 1))
    assert equal(point(combine(a, b, zeros)), a)
    assert equal(point(combine(a, b, ones)), b)
    any_point = sample_coefficients(spec, "normal", granularity=granularity, std=2.0, n=3)
    assert all(equal(point(combine(a, a, any_point), i), a) for i in range(3))


@granularities
def test_combine_agrees_with_the_formula(granularity):
    draws = sample_coefficients(SPEC, "normal", granularity=granularity, n=4, std=1.0)
    stacked = combine(CASE.params(0), CASE.params(1), draws)
    for i in range(4):
        expected = reference.combine(CASE.params(0), CASE.params(1), draws, i)
        for name, tensor in expected.items():
            torch.testing.assert_close(stacked[name][i], tensor, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_unit_shares_one_coefficient_over_its_row_bias_and_norm(case):
    spec = case.spec()
    unit = sample_coefficients(spec, "uniform", granularity="unit")
    for name, layer in spec.layers.items():
        flat = unit[name][0].expand(spec.shapes[name]).reshape(spec.shapes[name][0], -1)
        assert (flat == flat[:, :1]).all()
        assert torch.equal(flat[:, 0], unit[f"{layer}.weight"][0].flatten())
    assert sum(math.prod(shape) for shape in slots(spec, "unit").values()) == sum(
        spec.shapes[f"{layer}.weight"][0] for layer in spec.layer_names
    )


def test_granularities_count_their_coefficients():
    counts = {g: sum(math.prod(shape) for shape in slots(SPEC, g).values()) for g in GRANULARITIES}
    weights = sum(math.prod(shape) for shape in SPEC.shapes.values())
    assert counts == {"model": 1, "layer": 4, "unit": 6 + 8 + 10 + 10, "weight": weights}


def moments(distribution, **parameters):
    draws = sample_coefficients(SPEC, distribution, granularity="weight", n=8, **parameters)
    values = torch.cat([tensor.flatten() for tensor in draws.values()]).double()
    return values, values.mean().item(), values.std().item(), 4 / math.sqrt(len(values))


@pytest.mark.parametrize(
    ("distribution", "parameters", "mean", "std"),
    [
        ("constant", {"value": 0.3}, 0.3, 0.0),
        ("uniform", {"low": -0.5, "high": 1.5}, 0.5, 2 / math.sqrt(12)),
        ("bernoulli", {"p": 0.3}, 0.3, math.sqrt(0.21)),
        ("normal", {"mean": 0.4, "std": 0.7}, 0.4, 0.7),
        ("beta", {"alpha": 2.0, "beta": 3.0}, 0.4, 0.2),
    ],
)
def test_laws_have_their_moments(distribution, parameters, mean, std):
    _, got_mean, got_std, tolerance = moments(distribution, **parameters)
    assert got_mean == pytest.approx(mean, abs=tolerance)
    assert got_std == pytest.approx(std, abs=tolerance)


def test_laws_have_their_support():
    assert set(moments("bernoulli", p=0.5)[0].tolist()) == {0.0, 1.0}
    uniform = moments("uniform", low=-0.5, high=1.5)[0]
    assert -0.5 <= uniform.min() < -0.45
    assert 1.45 < uniform.max() <= 1.5
    clipped = moments("normal", mean=0.5, std=1.0, clip=1.0)[0]
    assert (clipped.min(), clipped.max()) == (0.0, 1.0)
    assert moments("normal", mean=0.5, std=1.0)[0].max() > 1.0
    beta = moments("beta", alpha=0.5, beta=0.5)[0]
    assert 0 <= beta.min() < 0.01 < 0.99 < beta.max() <= 1


def test_bernoulli_draws_are_nested_in_p():
    low, high = (sample_coefficients(SPEC, "bernoulli", p=p, granularity="unit") for p in (0.3, 0.6))
    assert all((low[name] <= high[name]).all() for name in low)
    assert any((low[name] < high[name]).any() for name in low)


@pytest.mark.parametrize("distribution", list(LAWS))
def test_draws_do_not_depend_on_their_grouping(distribution):
    together = sample_coefficients(SPEC, distribution, n=5, seed=3)
    for i in range(5):
        alone = sample_coefficients(SPEC, distribution, n=1, first=i, seed=3)
        assert all(torch.equal(alone[name][0], together[name][i]) for name in alone)
    other = sample_coefficients(SPEC, distribution, n=5, seed=4)
    assert equal(together, other) == (distribution == "constant")


@given(st.floats(-1, 2), st.floats(-1, 2))
@settings(max_examples=30, deadline=None)
def test_split_plane_is_u_z_plus_v_one_minus_z(u, v):
    z = sample_coefficients(SPEC, "uniform", seed=1)
    got = at(split_plane(A, B, z), (u, v))
    expected = combine(A, B, {name: u * w.double() + v * (1 - w.double()) for name, w in z.items()})
    for name in got:
        torch.testing.assert_close(got[name], expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("z", ["draw", "mask"])
def test_corners_of_the_split_plane_are_exact(z):
    z = sample_coefficients(SPEC, "uniform", seed=1) if z == "draw" else layer_mask(SPEC, 2)
    corners = at(split_plane(A, B, z), (0, 0), (1, 1), (1, 0), (0, 1))
    assert equal(point(corners, 0), A)
    assert equal(point(corners, 1), B)
    assert equal(point(corners, 2), point(combine(A, B, z)))
    assert equal(point(corners, 3), point(combine(A, B, {name: 1 - w for name, w in z.items()})))


def test_layer_masks_take_whole_layers():
    assert SPEC.layer_names == ["conv1", "conv3", "conv4", "fc"]
    for chosen, layers in ((2, {"conv1", "conv3"}), (["conv3", "fc"], {"conv3", "fc"})):
        mask = layer_mask(SPEC, chosen)
        assert {SPEC.layers[name] for name, w in mask.items() if w.item() == 1} == layers
        assert {SPEC.layers[name] for name, w in mask.items() if w.item() == 0} == set(SPEC.layer_names) - layers
    for wrong in (0, 4, ["conv9"]):
        with pytest.raises(ValueError, match=r"conv9|leaves one side empty"):
            layer_mask(SPEC, wrong)


@pytest.mark.parametrize("granularity", ["layer", "unit", "weight"])
def test_random_plane_has_orthogonal_directions_of_rms_one_half(granularity):
    zeros = {name: torch.zeros_like(w, dtype=torch.float64) for name, w in A.items()}
    ones = {name: torch.ones_like(w) for name, w in zeros.items()}
    lam = at(random_plane(SPEC, zeros, ones, granularity=granularity, seed=2), (0, 0), (1, 0), (0, 1), (-1, 0.5))
    middle, d1, d2 = (point(lam, i) for i in range(3))
    assert all((w == 0.5).all() for w in middle.values())
    rows = {}
    for name in lam:
        slot = name if granularity == "weight" else SPEC.layers[name]
        values = torch.stack([d1[name] - 0.5, d2[name] - 0.5])
        if granularity == "unit":
            values = values.reshape(2, values.shape[1], -1)[..., 0]
        rows[slot] = values.reshape(2, -1)[:, :1] if granularity == "layer" else values.reshape(2, -1)
    first, second = torch.cat(list(rows.values()), 1)
    assert first.pow(2).mean().sqrt().item() == pytest.approx(0.5, abs=1e-6)
    assert second.pow(2).mean().sqrt().item() == pytest.approx(0.5, abs=1e-6)
    assert (first @ second).item() == pytest.approx(0, abs=1e-5)


def test_random_plane_is_refused_at_model_granularity():
    with pytest.raises(ValueError, match="at least two coefficients; granularity 'model' has one"):
        random_plane(SPEC, A, B, granularity="model")


def test_three_modes_are_the_exact_corners():
    corners = at(three_modes_plane(A, B, C), (0, 0), (1, 0), (0, 1))
    assert [equal(point(corners, i), mode) for i, mode in enumerate((A, B, C))] == [True] * 3


def test_orthonormal_coordinates_are_true_distances():
    a, b, c = (CASE.params(seed) for seed in (0, 1, 2))
    plane = three_modes_plane(a, b, c, coordinates="orthonormal")
    corners = [plane.marks[name] for name in ("A", "π(B)", "π(C)")]
    flat = [torch.cat([w.flatten() for w in p.values()]) for p in (a, b, c)]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert math.dist(corners[i], corners[j]) == pytest.approx((flat[i] - flat[j]).norm().item(), rel=1e-9)
    stacked = at(plane, *corners)
    for i, p in enumerate((a, b, c)):
        for name in p:
            torch.testing.assert_close(stacked[name][i], p[name], rtol=1e-9, atol=1e-9)


def test_modes_on_one_line_span_no_plane():
    middle = {name: (A[name] + B[name]) / 2 for name in A}
    with pytest.raises(ValueError, match="one line"):
        three_modes_plane(A, B, middle, coordinates="orthonormal")


def test_expand_broadcasts_against_every_tensor():
    values = {slot: torch.zeros(2, *shape) for slot, shape in slots(SPEC, "unit").items()}
    for name, block in expand(SPEC, "unit", values).items():
        assert block.ndim == 1 + len(SPEC.shapes[name])
