"""Laws of alignment and of its perturbation."""

import math

import pytest
import reference
import torch
from cases import SMALL
from explained import explains

import modecomb_viz as mc
from modecomb_viz.alignment import matching_objective, unit_similarity
from modecomb_viz.permutation import identity_permutation, invert, random_permutation

by_name = pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)


@pytest.fixture(scope="module")
def alignment(digits):
    return mc.align(digits.spec, digits.params["A"], digits.params["B"])


@by_name
def test_a_network_is_aligned_to_itself_by_the_identity(case):
    params = case.params(0)
    found = mc.align(case.spec(), params, params)
    assert mc.churn(found.permutation, identity_permutation(case.spec())) == 0.0
    assert len(found.objective) == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_permutation_is_found(digits, seed):
    planted = random_permutation(digits.spec, seed)
    permuted = mc.apply_permutation(digits.spec, planted, digits.params["A"])
    found = mc.align(digits.spec, digits.params["A"], permuted, seed=seed)
    assert mc.churn(found.permutation, invert(planted)) == 0.0
    assert all(torch.equal(found.params[name], digits.params["A"][name]) for name in permuted)


@by_name
@pytest.mark.parametrize("seed", [0, 1])
def test_objective_never_decreases_and_is_what_it_says(case, seed):
    a, b = case.params(0), case.params(1)
    found = mc.align(case.spec(), a, b, seed=seed)
    assert all(late > early for early, late in zip(found.objective, found.objective[1:], strict=False))
    assert len(found.objective) > 1
    names = [name for name in a if not name.endswith(("running_mean", "running_var"))]
    assert found.objective[0] == pytest.approx(reference.objective(a, b, names))
    assert found.objective[-1] == pytest.approx(reference.objective(a, found.params, names))


@by_name
def test_the_best_restart_reaches_what_the_plain_algorithm_reaches_on_average(case):
    spec, a, b = case.spec(), case.params(0), case.params(1)
    plain = sum(reference.weight_matching(spec, a, b, seed) for seed in range(4)) / 4
    ours = mc.align(spec, a, b, restarts=6)
    assert max(ours.restarts) == ours.objective[-1]
    assert ours.objective[-1] >= plain * (1 - 1e-9)
    assert len(ours.restarts) == 6


def test_similarity_adds_up_to_the_objective(digits):
    a, b = digits.params["A"], digits.params["B"]
    one_layer = unit_similarity(digits.spec, a, b, "P_0").trace() + (a["fc3.weight"].double() * b["fc3.weight"]).sum()
    rest = sum((a[n].double() * b[n]).sum() for n in ("fc2.bias", "fc3.bias"))
    assert matching_objective(digits.spec, a, b) == pytest.approx((one_layer + rest).item(), rel=1e-9)


def test_alignment_keeps_the_function(digits, alignment):
    stacked = {name: torch.stack([digits.params["B"][name], w]) for name, w in alignment.params.items()}
    loss = mc.evaluate(digits.model, stacked, digits.test)["loss"]
    assert loss[0].item() == pytest.approx(loss[1].item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["shuffle", "noise"])
def test_strength_0_is_the_matching_itself(alignment, kind):
    same = mc.perturb_alignment(alignment, 0.0, kind)
    assert all(torch.equal(same.params[name], alignment.params[name]) for name in same.params)
    assert (same.churn, same.objective_lost) == (0.0, 0.0)


@pytest.mark.parametrize("kind", ["shuffle", "noise"])
def test_churn_and_lost_objective_grow_with_the_strength(alignment, kind):
    perturbed = [mc.perturb_alignment(alignment, s, kind, seed=1) for s in (0.2, 0.5, 0.8, 1.0)]
    churns, lost = [p.churn for p in perturbed], [p.objective_lost for p in perturbed]
    assert churns == sorted(churns)
    assert lost == sorted(lost)
    assert churns[-1] > 0.98
    assert lost[-1] == pytest.approx(1, abs=0.1)


def test_shuffle_realises_its_strength(alignment):
    for strength in (0.25, 0.5, 1.0):
        assert mc.perturb_alignment(alignment, strength).churn == pytest.approx(strength, abs=1 / 512)


def test_noise_at_strength_1_forgets_the_matching(digits, alignment):
    other = mc.align(digits.spec, digits.params["A"], digits.params["C"])
    ours, theirs = (mc.perturb_alignment(a, 1.0, "noise", seed=4) for a in (alignment, other))
    steps = [mc.compose(p.permutation, invert(p.base.permutation)) for p in (ours, theirs)]
    assert mc.churn(*steps) == 0.0
    assert mc.churn(ours.permutation, mc.perturb_alignment(alignment, 1.0, "noise", seed=5).permutation) > 0.98


def test_noise_is_continuous_at_0(alignment):
    assert mc.perturb_alignment(alignment, 1e-6, "noise").churn < 0.05


def test_controls(digits):
    a, b = digits.params["A"], digits.params["B"]
    naive = mc.align(digits.spec, a, b, "identity")
    assert all(torch.equal(naive.params[name], b[name]) for name in b)
    control = mc.align(digits.spec, a, b, "random", seed=3)
    assert mc.churn(control.permutation, naive.permutation) > 0.98
    assert math.isnan(mc.perturb_alignment(naive, 0.5).objective_lost)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda m, a: mc.align(m.spec, m.params["A"], m.params["B"], "magic"),
            ["method", "weight_matching", "'magic'"],
        ),
        (lambda m, a: mc.align(m.spec, m.params["A"], m.params["B"], tries=3), ["'weight_matching'", "tries"]),
        (lambda m, a: mc.align(m.spec, m.params["A"], m.params["B"], restarts=0), ["restarts", "0"]),
        (lambda m, a: mc.align(m.spec, m.params["A"], {}), ["params_b is missing"]),
        (
            lambda m, a: mc.align(m.spec, m.params["A"], {k: v * torch.inf for k, v in m.params["B"].items()}),
            ["params_b", "not finite", "diverge"],
        ),
        (lambda m, a: mc.perturb_alignment(a, 1.5), ["strength", "[0, 1]", "1.5"]),
        (lambda m, a: mc.perturb_alignment(a, float("nan")), ["strength", "nan"]),
        (lambda m, a: mc.perturb_alignment(a, 0.5, "stir"), ["shuffle, noise", "'stir'"]),
        (
            lambda m, a: mc.perturb_alignment(mc.align(m.spec, m.params["A"], m.params["B"], "identity"), 0.5, "noise"),
            ["'noise'", "'identity'", "kind='shuffle'"],
        ),
    ],
)
def test_bad_arguments_are_explained(digits, alignment, call, words):
    with explains(*words):
        call(digits, alignment)
