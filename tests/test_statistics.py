"""Barriers and summaries against values worked out by hand."""

import itertools

import numpy as np
import pytest
import synthetic
import xarray as xr
from explained import explains
from scipy.stats import binom, bootstrap, norm
from scipy.stats import t as student

from modecomb_viz.statistics import (
    BARRIER_OF,
    barriers,
    d2_barrier,
    diversity,
    expanded_level,
    is_draw,
    low_loss_share,
    summary,
    tolerance,
    transitivity,
)


def test_barriers_of_a_parabola():
    """L = 0.1 + 0.2 t + 4 t (1 − t): the ends are 0.1 and 0.3, the midpoint 1.2 is the highest of nine points."""
    curve = synthetic.segment("identity").sel(split="test")
    found = barriers(curve).barrier.to_series()
    assert found["D1"] == pytest.approx(1.2 - 0.2)
    assert found["D2"] == pytest.approx(1.0)
    assert found["D3"] == pytest.approx(1.2 - 0.2)
    assert found["D4"] == pytest.approx(1.2 - 0.3)


def test_barriers_follow_the_definitions_on_any_curve():
    rng = np.random.default_rng(0)
    loss = rng.random((2, 7))
    t = np.linspace(-1, 2, 7)
    dataset = xr.Dataset({"loss": (("split", "t"), loss), "accuracy": (("split", "t"), 1 - loss)}, {"t": t})
    dataset["split"] = ["test", "train"]
    found = barriers(dataset)
    for i, curve in enumerate(loss):
        a, b, p = curve[0], curve[-1], np.linspace(0, 1, 7)
        expected = [
            curve.max() - (a + b) / 2,
            (curve - ((1 - p) * a + p * b)).max(),
            curve[3] - (a + b) / 2,
            curve.max() - max(a, b),
        ]
        np.testing.assert_allclose(found.barrier.isel(split=i), expected)
    np.testing.assert_allclose(found.error_barrier, found.barrier)
    assert found.barrier.attrs["units"] == "nats per example"
    assert found.attrs["default"] == "D2"


@pytest.mark.parametrize("quantity", ["loss", "accuracy"])
def test_the_one_barrier_is_that_of_all_four(quantity):
    loss, accuracy = np.random.default_rng(0).random((2, 1, 9))
    values = {"loss": (("split", "t"), loss), "accuracy": (("split", "t"), accuracy)}
    curve = xr.Dataset(values, {"t": np.linspace(-0.1, 1.1, 9), "split": ["test"]})
    expected = barriers(curve)[BARRIER_OF[quantity]].sel(split="test", definition="D2")
    assert d2_barrier(curve, quantity, "test") == expected.item()


def test_other_dimensions_are_kept():
    assert set(barriers(synthetic.segment()).barrier.dims) == {"strength", "split", "definition"}


def test_an_even_number_of_points_has_no_midpoint():
    found = barriers(synthetic.segment("identity").isel(t=slice(0, 8))).barrier.sel(split="test").to_series()
    assert np.isnan(found["D3"])
    assert found[["D1", "D2", "D4"]].notna().all()


def test_a_nan_is_not_hidden():
    dataset = synthetic.segment("identity")
    dataset.loss[0, 2] = np.nan
    found = barriers(dataset).barrier
    assert found.sel(split="test", definition=["D1", "D2", "D4"]).isnull().all()
    assert found.sel(split="train").notnull().all()


def test_summary_of_known_draws():
    """Draws 0.2 … 0.4 at strength 0, ends at most 0.3: excess −0.1 … 0.1, all within 0.1 nat."""
    found = summary(synthetic.samples(41)).sel(split="test")
    at_0, at_1 = found.sel(strength=0), found.sel(strength=1)
    assert at_0.mean_excess.item() == pytest.approx(0.0)
    assert at_0.worst_excess.item() == pytest.approx(0.1)
    assert at_0.excess_quantile.values == pytest.approx([-0.09, 0.0, 0.09])
    assert summary(synthetic.samples(41), epsilon=0.0025).low_loss_share.sel(split="test", strength=0) == 21 / 41
    assert at_1.low_loss_share.item() == 0.0


def test_interval_of_the_share_is_wilsons():
    found = summary(synthetic.samples(41), epsilon=0.0025).sel(split="test", strength=0)
    n, p, z = 41, 21 / 41, norm.ppf(0.975)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert found.share_interval.values == pytest.approx([centre - half, centre + half])


def test_a_draw_that_is_nan_counts_as_not_low():
    dataset = synthetic.samples(40)
    dataset.loss[0, 0, 0] = np.nan
    found = summary(dataset, epsilon=1.0).sel(split="test", strength=0)
    assert found.low_loss_share.item() == 39 / 40
    assert np.isnan(found.mean_excess)


def test_wrong_results_are_refused():
    with explains("sweep_segment", "'t'", "sample"):
        barriers(synthetic.samples())
    with explains("sweep_samples", "'sample'"):
        summary(synthetic.plane())


def _draws(excess):
    """A result with A and B at loss 0 and draws of this excess."""
    result = synthetic.samples(len(excess)).sel(strength=0.0, drop=True).copy(deep=True)
    result["loss"] = result.loss.copy(data=np.broadcast_to(excess, result.loss.shape))
    result["reference_loss"] = 0 * result.reference_loss
    return result


def test_bootstrap_intervals_are_those_of_scipy_and_keep_what_is_no_number():
    excess = np.random.default_rng(1).gamma(2.0, 0.1, 25)
    found = summary(_draws(excess)).sel(split="test")
    level = expanded_level(25)
    options = {"n_resamples": 2000, "method": "percentile", "rng": 0, "confidence_level": level}
    expected = bootstrap((excess,), np.mean, **options).confidence_interval
    assert 0.95 < level < 0.97
    assert found.mean_interval.values.tolist() == pytest.approx([expected.low, expected.high])
    excess[3] = np.nan
    assert summary(_draws(excess)).mean_interval.isnull().all()
    assert summary(_draws(excess)).quantile_interval.isnull().all()
    assert summary(_draws(excess[:3])).mean_interval.isnull().all(), "three values say too little"
    assert summary(_draws(excess[4:8])).mean_interval.notnull().all()


@pytest.mark.parametrize(("n", "expected"), [(2, 1.0), (4, 0.999762), (8, 0.988525), (10**6, 0.95)])
def test_the_level_makes_a_bootstrap_as_wide_as_students_interval(n, expected):
    """The half width z·σ·√((n − 1)/n) of the resampled mean is t·σ."""
    assert expanded_level(n) == pytest.approx(expected, abs=5e-6)
    half = norm.ppf((1 + expanded_level(n)) / 2) * np.sqrt((n - 1) / n)
    assert n == 2 or half == pytest.approx(student.ppf(0.975, n - 1))
    with explains("at least 2 values", "got 1"):
        expanded_level(1)


def test_intervals_of_quantiles_are_order_statistics():
    """The widest ranks whose binomial tails are at most 2.5 %; none where even the outermost draw is too likely."""
    excess = np.random.default_rng(1).gamma(2.0, 0.1, 100)
    found = summary(_draws(excess)).quantile_interval.sel(split="test")
    ordered = np.sort(excess)
    for level, bounds in zip((0.05, 0.5, 0.95), found.values, strict=True):
        ranks = np.arange(101)
        below = ranks[binom.cdf(ranks - 1, 100, level) <= 0.025].max()
        above = ranks[binom.sf(ranks - 1, 100, level) <= 0.025].min()
        assert bounds.tolist() == [ordered[below - 1], ordered[above - 1]]
    few = summary(_draws(excess[:71])).quantile_interval.sel(split="test")
    assert few.sel(quantile=0.05, bound="low").isnull()
    assert few.sel(quantile=0.95, bound="high").isnull()
    assert few.sel(quantile=0.5).notnull().all()
    assert summary(_draws(excess[:72])).quantile_interval.notnull().all()


@pytest.mark.parametrize("level", [0.05, 0.5, 0.95])
def test_the_interval_of_a_quantile_covers_it_as_often_as_it_says(level):
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        found = summary(_draws(rng.exponential(0.1, 80)), quantiles=(level,)).quantile_interval
        low, high = found.sel(split="test", quantile=level).values
        hits += low <= -0.1 * np.log(1 - level) <= high
    assert 0.92 <= hits / 200 <= 0.995


@pytest.mark.parametrize("n", [8, 40])
def test_the_interval_of_the_mean_covers_it_as_often_as_it_says(n):
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        low, high = summary(_draws(rng.normal(0.3, 0.1, n))).mean_interval.sel(split="test").values
        hits += low <= 0.3 <= high
    assert 0.91 <= hits / 200 <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("repeats", [6, 10])
def test_the_interval_of_a_tolerance_covers_it_as_often_as_it_says(repeats):
    """Where the mean curve passes 0.1 is known: between 0.4 and 0.6 at (0.1 − 0.06)/(0.15 − 0.06) of the way."""
    rng, hits, mean = np.random.default_rng(0), 0, np.array([0.0, 0.02, 0.06, 0.15, 0.3, 0.5])[:, None]
    for _ in range(200):
        barrier = mean * rng.normal(1, 0.2, repeats) + rng.normal(0, 0.005, (6, repeats))
        low, high = tolerance(_perturbed(barrier)).tolerated_interval.sel(split="test").values
        hits += low <= 0.4 + 0.2 * 4 / 9 <= high
    assert 0.9 <= hits / 200 <= 0.995


def test_the_interval_over_examples_covers_as_often_as_it_says():
    """Draws cost 0.2 more than the worse end, on average over all examples that there might be."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(120):
        hard = rng.gamma(0.5, 1.0, 150)
        losses = hard + rng.normal([[0.0], [0.1], [0.3], [0.3]], 0.3, (4, 150))
        dataset = _draws(losses[2:].mean(1)).sel(split=["test"])
        dataset["example_loss_test"] = ("sample", "test_example"), losses[2:].astype(np.float32)
        ends = losses[[0, 1, 0, 0]].astype(np.float32)
        dataset["reference_example_loss_test"] = ("reference", "test_example"), ends
        low, high = summary(dataset).mean_interval_examples.sel(split="test").values
        hits += low <= 0.2 <= high
    assert 0.89 <= hits / 120 <= 0.99


def _perturbed(barrier):
    """A perturbation whose midpoint is this far ``[strength, repeat]`` above ends of loss 0.2 and 0.4."""
    strengths, repeats = np.shape(barrier)
    return xr.Dataset(
        {
            "loss": (("split", "strength", "repeat"), 0.3 + np.array(barrier)[None]),
            "reference_loss": (("split", "reference"), np.array([[0.2, 0.4, 0.3, 1.0]])),
            "churn": (("strength", "repeat"), np.linspace(0, 0.8, strengths)[:, None] + np.zeros(repeats)),
        },
        {
            "split": ["test"],
            "strength": np.linspace(0, 1, strengths),
            "repeat": np.arange(repeats),
            "reference": ["A", "B", "midpoint", "naive midpoint"],
        },
    )


@pytest.mark.parametrize(
    ("barrier", "strength", "churn"),
    [
        ([0.0, 0.05, 0.15, 0.9, 2.0], 0.375, 0.3),
        ([0.0, 0.05, 0.0, 0.3, 0.0], 0.5 + 0.25 / 3, 0.4 + 0.2 / 3),
        ([0.0, 0.0, 0.0, 0.0, 0.0999], np.inf, np.nan),
        ([0.2, 0.0, 0.0, 0.0, 0.0], 0.0, 0.0),
        ([0.0, 0.0, np.nan, 0.0, 1.0], np.nan, np.nan),
    ],
)
def test_the_strength_at_which_a_barrier_passes(barrier, strength, churn):
    found = tolerance(_perturbed(np.array(barrier)[:, None])).sel(split="test")
    assert found.tolerated_strength.item() == pytest.approx(strength, nan_ok=True)
    assert found.tolerated_churn.item() == pytest.approx(churn, nan_ok=True)
    assert found.tolerated_interval.isnull().all()
    np.testing.assert_allclose(found.barrier_at.values[:, 0], barrier, atol=1e-12)


def test_strengths_may_come_in_any_order():
    found = _perturbed(np.array([[0.0, 0.01], [0.3, 0.1], [0.6, 0.5]]))
    xr.testing.assert_allclose(tolerance(found.isel(strength=[2, 0, 1])), tolerance(found))


def test_the_interval_of_a_tolerance_is_that_of_all_resamples():
    """Five repeats have 5⁵ resamples of equal probability: the bootstrap draws from them."""
    heights = [[0.0, 0.2, 0.4], [0.0, 0.18, 0.3], [0.0, 0.05, 0.15], [0.0, 0.12, 0.3], [0.0, 0.0, 0.02]]
    repeats = np.array(heights).T
    found = tolerance(_perturbed(repeats)).sel(split="test").tolerated_interval.values
    crossings = []
    for index in itertools.product(range(5), repeat=5):
        mean = repeats[:, index].mean(1)
        at = 0.5 * 0.1 / mean[1] if mean[1] > 0.1 else 0.5 + 0.5 * (0.1 - mean[1]) / (mean[2] - mean[1] + 1e-12)
        crossings.append(at if at <= 1 else np.inf)
    tail = norm.cdf(-np.sqrt(5 / 4) * 2.776445)
    expected = np.quantile(crossings, (tail, 1 - tail), method="inverted_cdf")
    assert np.min(crossings) < expected[0] < np.median(crossings)
    assert expected[1] == np.inf
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_a_law_is_judged_by_the_mean_of_its_draws():
    one = _perturbed(np.array([0.0, 0.3, 0.6])[:, None])
    draws = one.assign(loss=one.loss + xr.DataArray([-0.1, 0.1], dims="sample"))
    xr.testing.assert_allclose(tolerance(draws), tolerance(one))


def test_intervals_over_examples_resample_all_networks_together():
    rng = np.random.default_rng(3)
    draws, examples = 6, 400
    hard = rng.gamma(0.3, 1.0, examples)
    of_draws = (hard + rng.normal(0.2, 0.3, (draws, examples))).astype(np.float32)
    of_ends = (hard + rng.normal([[0.0], [0.05], [0.0], [0.5]], 0.3, (4, examples))).astype(np.float32)
    dataset = _draws(of_draws.mean(1)).sel(split=["test"])
    dataset["reference_loss"] = dataset.reference_loss.copy(data=of_ends.mean(1)[None])
    dataset["example_loss_test"] = ("sample", "test_example"), of_draws
    dataset["reference_example_loss_test"] = ("reference", "test_example"), of_ends
    found = summary(dataset, epsilon=0.18).sel(split="test")
    weights = rng.multinomial(examples, np.full(examples, 1 / examples), 20_000) / examples
    excess = weights @ of_draws.T - np.maximum(*(weights @ of_ends[:2].T).T)[:, None]
    mean, share = (np.quantile(v, (0.025, 0.975)) for v in (excess.mean(1), (excess <= 0.18).mean(1)))
    np.testing.assert_allclose(found.mean_interval_examples, mean, atol=0.004)
    np.testing.assert_allclose(found.share_interval_examples, share, atol=1 / draws + 1e-9)
    middle = np.quantile(np.quantile(excess, 0.5, axis=1), (0.025, 0.975))
    np.testing.assert_allclose(found.quantile_interval_examples.sel(quantile=0.5), middle, atol=0.006)
    wide = np.quantile(weights @ of_draws.mean(0), (0.025, 0.975))
    assert np.ptp(mean) < np.ptp(wide), "networks on the same examples differ by less than each varies"
    alone = dataset.isel(test_example=[0])
    assert summary(alone).mean_interval_examples.isnull().all(), "one example has no interval"
    dataset.example_loss_test[0, 0] = np.nan
    assert summary(dataset).mean_interval_examples.isnull().all()


def test_diversity_by_hand():
    """Labels of eight examples; the parents differ in four, draw 0 from its nearer parent in one, draw 1 in two."""
    labels = {"A": "00001111", "B": "00000000", "draw 0": "00001110", "draw 1": "11001111", "midpoint": "01001111"}
    names = list(labels)
    table = [[sum(p != q for p, q in zip(labels[a], labels[b], strict=True)) / 8 for b in names] for a in names]
    dataset = xr.Dataset(
        {
            "disagreement": (("split", "model", "other"), np.array([table])),
            "accuracy": (("split", "model"), np.array([[0.9, 0.8, 0.6, 0.5, 0.4]])),
            "ensemble_accuracy": (("split", "k"), np.array([[0.6, 0.75]])),
        },
        {"split": ["test"], "model": names, "other": names, "k": [1, 2]},
    )
    found = diversity(dataset).sel(split="test")
    assert found.parents_disagreement.item() == 4 / 8
    assert found.nearest_disagreement.item() == pytest.approx((1 + 2) / 16)
    assert found.draws_disagreement.item() == 3 / 8
    assert found.diversity.item() == pytest.approx(3 / 8)
    assert found.diversity_interval.isnull().all(), "two draws have no interval"
    assert found.ensemble_gain.item() == pytest.approx(0.75 - 0.55)
    with explains("sweep_similarity", "'other'"):
        diversity(synthetic.plane())


def test_a_barrier_that_is_no_number_stays_in_what_a_third_mode_costs():
    dataset = synthetic.transitivity().sel(strength=0.0, drop=True).copy(deep=True)
    direct = dataset.route.values.tolist().index("direct")
    dataset.loss[0, 1, direct, 2] = np.nan
    found = transitivity(dataset).isel(split=0)
    assert found.route_barrier.sel(kind="direct").isnull()
    assert found.lowest_barrier.sel(kind="direct").isnull()
    assert found.route_barrier.sel(kind=["naive", "through", "universe"]).notnull().all()
    assert found.cost_of_third.isnull()
    assert found.share_kept.isnull()
    assert transitivity(dataset).isel(split=1).route_barrier.notnull().all()


def test_where_alignment_gains_nothing_nothing_is_kept():
    dataset = synthetic.transitivity().sel(strength=0.0, drop=True)
    worse = dataset.assign(
        loss=dataset.loss.where(dataset.route != "naive", dataset.loss.sel(route="direct", drop=True) / 2)
    )
    assert (barriers(worse).barrier.sel(route="naive", definition="D2") < 0.02).all()
    assert transitivity(worse).share_kept.isnull().all()
    assert transitivity(dataset).share_kept.notnull().all()


def test_a_disagreement_that_is_no_number_stays():
    dataset = synthetic.similarity().copy(deep=True)
    first, second = np.flatnonzero(is_draw(dataset))[:2]
    dataset.disagreement[0, first, second] = np.nan
    found = diversity(dataset)
    assert found.draws_disagreement[0].isnull()
    assert found.draws_disagreement[1:].notnull().all()


def test_the_share_alone_is_that_of_the_summary():
    draws = synthetic.samples(41)
    xr.testing.assert_equal(low_loss_share(draws, epsilon=0.0025), summary(draws, epsilon=0.0025).low_loss_share)
