"""Timed by pytest-benchmark, on demand: ``pytest tests/benchmarks --benchmark-only``."""

import pytest
import reference
from cases import CASES

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


@pytest.fixture(params=[case for case in CASES if case.name != "vgg11"], ids=lambda case: case.name)
def case(request):
    return request.param


@pytest.mark.parametrize("version", ["ours", "plain"])
def test_weight_matching_against_the_plain_algorithm(benchmark, case, version):
    """One run of each from the same weights; compare within an architecture (``--benchmark-group-by=param:case``)."""
    spec, a, b = case.spec(), case.params(0), case.params(1)
    match = mc.align if version == "ours" else reference.weight_matching
    benchmark.pedantic(match, (spec, a, b), rounds=3, warmup_rounds=1)
