"""Timed by pytest-benchmark, on demand: ``pytest tests/benchmarks --benchmark-only``."""

import pytest

import modecomb_viz as mc
from modecomb_viz.checkpoints import catalogue


@pytest.fixture(params=list(catalogue()))
def modes(request):
    return mc.open_modes(request.param)


def test_align(benchmark, modes):
    benchmark(mc.align, modes.spec, modes.params["A"], modes.params["B"])


def test_combine_unit_wise(benchmark, modes):
    draws = mc.sample_coefficients(modes.spec, "bernoulli", n=8)
    benchmark(mc.combine, modes.params["A"], modes.params["B"], draws)


def test_map(benchmark, modes):
    benchmark.pedantic(mc.sweep_plane, (modes,), {"resolution": 9}, rounds=3)
