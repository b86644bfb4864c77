"""What a map is between its points: exact where evaluated, near where it is smooth, and its error is what it says."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from modecomb_viz.sweep.growing import GrowingMap
from modecomb_viz.sweep.surrogate import coarsest, estimate, next_points


def plane(n, margin=0.3):
    axis = np.linspace(-margin, 1 + margin, n)
    return np.meshgrid(axis, axis)


def basin(u, v):
    """Two minima with a ridge, rising steeply outside, as losses of aligned networks do."""
    return 0.05 + 0.4 * (u - v) ** 2 + np.exp(3 * ((u - 0.5) ** 2 + (v - 0.5) ** 2)) * 0.05


def kinked(u, v):
    return 0.1 + abs(u - 0.43) + 0.5 * abs(u + v - 1.13)


def wall(u, v):
    """Flat, then a step."""
    return 0.1 + 2 / (1 + np.exp(-25 * (u + v - 1.4)))


def rippled(u, v):
    return 0.5 + 0.3 * np.sin(7 * u) * np.cos(9 * v)


MAPS = {function.__name__: function for function in (basin, kinked, wall, rippled)}


def rounds(truth, **options):
    """Masks of what is evaluated, from coarse to whole."""
    evaluated = coarsest(len(truth))
    while not evaluated.all():
        yield evaluated
        found = estimate(truth, evaluated, **options)
        new = next_points(found.roughness, evaluated, int(evaluated.sum()))
        assert new.any()
        assert not (new & evaluated).any()
        evaluated = evaluated | new


@pytest.mark.parametrize("resolution", [9, 10, 33, 51])
@pytest.mark.parametrize("name", MAPS)
def test_the_surrogate_is_exact_where_it_knows_and_says_how_wrong_it_is_elsewhere(name, resolution):
    truth = MAPS[name](*plane(resolution))
    for evaluated in rounds(truth, loss=True):
        found = estimate(np.where(evaluated, truth, -1e9), evaluated, loss=True)
        np.testing.assert_array_equal(found.values[evaluated], truth[evaluated])
        np.testing.assert_array_equal(found.errors == 0, evaluated)
        error = abs(found.values - truth)
        assert error.max() <= 4 * found.errors.max(), "features between the points are of the size of the error"
        covered = (error <= 2 * found.errors).mean()
        assert covered >= (0.9 if name == "basin" or evaluated.mean() > 0.4 else 0.65)


def test_smooth_maps_are_known_from_few_points():
    truth = basin(*plane(51))
    evaluated = [mask for mask in rounds(truth, loss=True) if mask.mean() < 0.15][-1]
    assert abs(estimate(truth, evaluated, loss=True).values - truth).max() < 0.001 * np.ptp(truth)


def test_refinement_goes_where_the_error_is():
    """A wall across a flat map: most of the next points stand near it."""
    u, v = plane(65)
    truth = wall(u, v)
    masks = list(rounds(truth, loss=True))
    near = abs(u + v - 1.4) < 0.35
    new = masks[2] & ~masks[1]
    assert near[new].mean() > 2 * near.mean()


def test_a_fraction_stays_one_and_steps_count_as_error():
    """Accuracy on 100 examples moves in steps."""
    truth = np.round(100 * np.clip(1 - 0.4 * basin(*plane(33)), 0, 1)) / 100
    covered = []
    for evaluated in rounds(truth, loss=False):
        found = estimate(truth, evaluated, loss=False)
        assert found.values.min() >= 0
        assert found.values.max() <= 1
        covered.append((abs(found.values - truth) <= 2 * found.errors).mean())
    assert min(covered) >= 0.9


def test_what_is_no_number_is_neither_filled_nor_forgotten():
    u, v = plane(33)
    truth = np.where(u + v > 1.3, np.nan, basin(u, v))
    for evaluated in rounds(truth, loss=True):
        found = estimate(truth, evaluated, loss=True)
        wrong = np.isnan(found.values) != np.isnan(truth)
        assert np.isinf(found.errors[wrong]).sum() >= 0.9 * wrong.sum()
        deep_inside = u + v > 2.1
        assert np.isnan(found.values[deep_inside]).all()
    nothing = estimate(np.full((9, 9), np.nan), coarsest(9), loss=True)
    assert np.isnan(nothing.values).all()


def test_infinite_values_stay_where_they_are():
    truth = basin(*plane(17))
    truth[0, 0] = np.inf
    found = estimate(truth, coarsest(17), loss=True)
    assert found.values[0, 0] == np.inf
    assert np.isfinite(found.values[8:, 8:]).all()


def test_a_constant_map_has_no_error_and_is_still_evaluated_whole():
    truth = np.full((17, 17), 0.7)
    found = estimate(truth, coarsest(17), loss=True)
    np.testing.assert_allclose(found.values, truth, rtol=1e-12)
    assert found.errors.max() < 1e-12
    assert next_points(found.roughness, coarsest(17), 25).any()
    assert next_points(0 * found.roughness, coarsest(17), 25).sum() == 17**2 - 25
    assert not next_points(found.roughness, coarsest(17), 25, accepted=0.01).any()


@pytest.mark.parametrize("resolution", [2, 3, 4, 5])
def test_small_maps_are_evaluated_in_one_or_two_rounds(resolution):
    truth = basin(*plane(resolution))
    assert len(list(rounds(truth, loss=True))) <= 1


def grow(grown, truth, sample=None):
    """Evaluate what a map wants until it wants nothing; how many points on all data and on the sample."""
    sampled = evaluated = 0
    while True:
        if (points := grown.wanted_of_sample()).any():
            sampled += points.sum()
            values = {"loss": sample[None, points], "accuracy": np.exp(-sample[None, points])}
            grown.put_sample(points, values, {q: 0.02 + 0 * v for q, v in values.items()})
        if not (points := grown.wanted()).any():
            return evaluated, sampled
        evaluated += points.sum()
        grown.put(points, {"loss": truth[None, points], "accuracy": np.exp(-truth[None, points])})


def test_a_map_grows_until_it_is_exact():
    truth = basin(*plane(33))
    grown = GrowingMap(33, 1)
    assert grow(grown, truth) == (33**2, 0)
    (found,) = grown.surfaces()["loss"]
    np.testing.assert_array_equal(found.values, truth)
    assert not found.errors.any()


def test_a_tolerance_ends_it_early_but_not_where_numbers_end():
    u, v = plane(33)
    grown = GrowingMap(33, 1, 0.02)
    count, _ = grow(grown, basin(u, v))
    assert count < 0.25 * 33**2
    assert 2 * grown.surfaces()["loss"][0].errors.max() <= 0.02 * np.ptp(basin(u, v))
    edge = np.where(u > 0.8, np.nan, basin(u, v))
    grown = GrowingMap(33, 1, 0.02)
    grow(grown, edge)
    np.testing.assert_array_equal(np.isnan(grown.surfaces()["loss"][0].values), np.isnan(edge))
    nothing = GrowingMap(33, 1, 0.02)
    assert grow(nothing, np.full((33, 33), np.nan))[0] < 33**2


def noisy(seed, n, scale):
    noise = np.random.default_rng(seed).standard_normal((n, n))
    return 0.5 * np.exp(scale * noise)


def test_a_sample_paints_the_first_picture_with_its_own_error():
    grown = GrowingMap(33, 1, sampled=True)
    sample = 1.05 * basin(*plane(33))
    points = grown.wanted_of_sample()
    assert points.sum() == 25
    values = dict.fromkeys(("loss", "accuracy"), sample[None, points])
    grown.put_sample(points, values, {q: np.full((1, 25), 0.03) for q in values})
    (found,) = grown.surfaces()["loss"]
    np.testing.assert_allclose(found.values[points], sample[points], rtol=1e-12)
    assert found.errors[points] == pytest.approx(0.03)
    assert (found.errors >= 0.03 - 1e-12).all()


def test_a_noisy_slice_is_known_from_the_sample_everywhere_and_the_difference_between():
    u, v = plane(33)
    base = noisy(0, 33, 0.5)
    truth = base * np.exp(0.1 * np.sin(3 * u) * v)
    grown = GrowingMap(33, 1, 0.05, sampled=True)
    evaluated, sampled = grow(grown, truth, base)
    assert sampled == 33**2
    assert evaluated < 0.2 * 33**2
    (found,) = grown.surfaces()["loss"]
    error = abs(found.values - truth)
    assert error.max() < 0.05 * np.ptp(truth)
    assert (error <= 2 * found.errors).mean() >= 0.95
    alone = GrowingMap(33, 1, 0.05)
    assert grow(alone, truth)[0] > 0.8 * 33**2


def test_smooth_slices_and_strange_samples_are_not_sampled_further():
    truth = basin(*plane(33))
    assert grow(GrowingMap(33, 1, sampled=True), truth, 1.1 * truth)[1] == 25
    other = noisy(1, 33, 0.5)
    assert grow(GrowingMap(33, 1, sampled=True), noisy(0, 33, 0.5), other)[1] == 25
    smoothed = gaussian_filter(other, 4)
    assert grow(GrowingMap(33, 1, sampled=True), smoothed, other)[1] == 25
