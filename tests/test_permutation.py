"""Laws of permutations, on every architecture of the table."""

import pytest
import reference
import torch
from cases import CASES, SMALL
from explained import explains
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call

from modecomb_viz.permutation import (
    PermutationSpec,
    apply_permutation,
    churn,
    compose,
    identity_permutation,
    invert,
    random_permutation,
    shuffle,
)

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
seeds = st.integers(0, 2**31 - 1)
strengths = st.floats(0, 1)


@by_name
@pytest.mark.parametrize("seed", [0, 1])
def test_permuted_network_computes_the_same_function(case, seed):
    model, params, x = case.model().double(), case.params(seed), case.inputs()
    permuted = apply_permutation(case.spec(), random_permutation(case.spec(), seed), params)
    assert any(not torch.equal(permuted[name], params[name]) for name in params)
    with torch.no_grad():
        expected, got = (functional_call(model, p, (x,)) for p in (params, permuted))
    assert expected.std() > 1e-3
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)


@by_name
def test_float32_stays_within_1e_5(case):
    model, params, x = case.model(), case.params(3, torch.float32), case.inputs(dtype=torch.float32)
    permuted = apply_permutation(case.spec(), random_permutation(case.spec(), 5), params)
    with torch.no_grad():
        expected, got = (functional_call(model, p, (x,)) for p in (params, permuted))
    assert (got - expected).abs().max() <= 1e-5 * max(1, expected.abs().max())


@by_name
def test_table_covers_every_tensor_and_permutes_every_hidden_axis(case):
    spec, params = case.spec(), case.params(0)
    assert list(spec.axes_to_perm) == list(params)
    assert sum(n for n in spec.sizes.values()) > 0
    for name, axes in spec.axes_to_perm.items():
        is_head = name.startswith("fc") and axes[0] is None
        assert axes[0] is not None or is_head, name


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_apply_agrees_with_plain_indexing(case):
    spec, params = case.spec(), case.params(0)
    permutation = random_permutation(spec, 4)
    expected = reference.permute(params, spec.axes_to_perm, permutation)
    got = apply_permutation(spec, permutation, params)
    assert all(torch.equal(got[name], expected[name]) for name in params)


@given(seed=seeds, other=seeds)
@settings(max_examples=25, deadline=None)
def test_group_laws(seed, other):
    case = SMALL[0]
    spec, params = case.spec(), case.params(0)
    p, q = random_permutation(spec, seed), random_permutation(spec, other)
    one_by_one = apply_permutation(spec, p, apply_permutation(spec, q, params))
    at_once = apply_permutation(spec, compose(p, q), params)
    assert all(torch.equal(one_by_one[name], at_once[name]) for name in params)
    assert churn(compose(p, invert(p)), identity_permutation(spec)) == 0.0
    assert churn(compose(invert(p), p), identity_permutation(spec)) == 0.0


@given(seed=seeds, small=strengths, large=strengths)
@settings(max_examples=50, deadline=None)
def test_shuffled_sets_are_nested_and_of_the_right_size(seed, small, large):
    small, large = sorted((small, large))
    p = {"P": torch.randperm(37, generator=torch.Generator().manual_seed(seed))}
    moved = [set(torch.nonzero(shuffle(p, s, seed)["P"] != p["P"])[:, 0].tolist()) for s in (small, large)]
    assert moved[0] <= moved[1]
    for units, s in zip(moved, (small, large), strict=True):
        assert len(units) == (0 if round(37 * s) == 1 else round(37 * s))


@given(seed=seeds, n=st.integers(2, 60))
@settings(max_examples=50, deadline=None)
def test_shuffle_is_a_permutation_that_leaves_none_in_place_at_strength_1(seed, n):
    p = {"P": torch.arange(n)}
    shuffled = shuffle(p, 1.0, seed)
    assert churn(p, shuffled) == 1.0
    assert sorted(shuffled["P"].tolist()) == list(range(n))
    assert torch.equal(shuffle(p, 0.0, seed)["P"], p["P"])


def test_spec_prints_as_a_table(digits):
    lines = str(digits.spec).splitlines()
    assert lines[0].split() == ["tensor", "shape", "axes", "layer"]
    assert any(line.split() == ["fc2.weight", "512×512", "P_1,", "P_0", "fc2"] for line in lines)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shapes": {"w": (4,)}}, ["2 axes", "'w'", "(4,)"]),
        ({"shapes": {"w": (4, 6)}, "axes_to_perm": {"w": ("P", "P")}}, ["axis 1", "6 entries", "'P'"]),
        ({"layers": {}}, ["is missing 'w'"]),
    ],
)
def test_bad_tables_are_refused(change, words):
    table = {"axes_to_perm": {"w": ("P", None)}, "shapes": {"w": (4, 3)}, "layers": {"w": "l"}}
    with explains(*words):
        PermutationSpec(**{**table, **change})


@pytest.mark.parametrize(
    ("permutation", "words"),
    [
        ({"P_9": torch.arange(3)}, ["'P_9'", "P_0"]),
        ({"P_0": torch.zeros(512, dtype=torch.int64)}, ["'P_0'", "0 … 511 once"]),
        ({"P_0": torch.arange(5)}, ["'P_0'", "(5,)"]),
    ],
)
def test_bad_permutations_are_refused(digits, permutation, words):
    with explains(*words):
        apply_permutation(digits.spec, permutation, digits.params["A"])


def test_wrong_weights_are_named(digits):
    params = dict(digits.params["A"])
    del params["fc2.bias"]
    with pytest.raises(ValueError, match=r"is missing 'fc2.bias'"):
        apply_permutation(digits.spec, {}, params)
    with pytest.raises(ValueError, match=r"'fc2.bias' is \(3,\), expected \(512,\)"):
        apply_permutation(digits.spec, {}, {**params, "fc2.bias": torch.zeros(3)})
