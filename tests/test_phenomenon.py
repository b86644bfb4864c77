"""What the paper claims, seen on the embedded MLP; test split, all seeds stated."""

import numpy as np
import pytest

import modecomb_viz as mc


def midpoint_accuracy(modes, **settings):
    return mc.sweep_segment(modes, points=3, **settings).accuracy.values[0, 1]


@pytest.fixture(scope="module")
def table(digits):
    ends = mc.sweep_segment(digits, points=2).accuracy.values[0]
    random = [midpoint_accuracy(digits, alignment="random", alignment_seed=seed) for seed in range(10)]
    shuffled = [midpoint_accuracy(digits, strength=0.5, perturbation_seed=seed) for seed in range(10)]
    bernoulli = mc.sweep_samples(digits, "bernoulli", p=0.5, granularity="unit", n=64, seed=0)
    measured = {
        "A": ends[0],
        "B": ends[1],
        "mean of the ends": ends.mean(),
        "naive midpoint": midpoint_accuracy(digits, alignment="identity"),
        "aligned midpoint": midpoint_accuracy(digits),
        "Bernoulli(1/2) per unit, 64 draws": bernoulli.accuracy.mean().item(),
        "random matching, 10 seeds": np.mean(random),
        "half of the matching shuffled, 10 seeds": np.mean(shuffled),
    }
    for name, accuracy in measured.items():
        print(f"{name:42s} {accuracy:.4f}")
    return measured


def test_aligned_midpoint_is_nearly_as_good_as_the_ends(table):
    assert table["mean of the ends"] - table["aligned midpoint"] <= 0.015


def test_naive_midpoint_is_visibly_worse(table):
    assert table["mean of the ends"] - table["naive midpoint"] >= 0.02


def test_unit_wise_coin_flips_are_within_two_points(table):
    assert table["mean of the ends"] - table["Bernoulli(1/2) per unit, 64 draws"] <= 0.02


def test_half_of_the_matching_keeps_half_of_its_gain(table):
    gain = table["aligned midpoint"] - table["random matching, 10 seeds"]
    kept = table["half of the matching shuffled, 10 seeds"] - table["random matching, 10 seeds"]
    assert gain > 0.02
    assert kept >= 0.5 * gain


def test_batchnorm_network_fails_without_repair_and_shows_it(batchnorm):
    segment = mc.sweep_segment(batchnorm, points=3)
    assert segment.accuracy.values[0, 1] < 0.9 < segment.accuracy.values[0, [0, 2]].min()
