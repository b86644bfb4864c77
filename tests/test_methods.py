"""Every method of alignment: it keeps the function, recovers what was planted, and says what it cannot do."""

import itertools
import sys

import pytest
import reference
import torch
from cases import CASES, SMALL
from explained import explains
from networks import kinds

import modecomb_viz as mc
from modecomb_viz.alignment import METHODS, align_modes, find_universe, takes, unit_correlation
from modecomb_viz.alignment.soft import apply_matrices, harden, matrix_of
from modecomb_viz.alignment.universe import UniverseSearch
from modecomb_viz.executor import Cancelled, Job
from modecomb_viz.permutation import apply_permutation, identity_permutation, invert, random_permutation

by_name = pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)

KINDS = {kind.name: kind for kind in kinds()}


def data_for(method, case):
    """What a method needs beside the weights."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(96, *case.shape, generator=generator)
    y = torch.randint(0, 5, (96,), generator=generator)
    everything = {"model": case.model(), "x": x, "y": y, "steps": 10}
    return {name: value for name, value in everything.items() if name in takes(method)}


@by_name
@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_function(case, method):
    a, b = case.params(0, torch.float32), case.params(1, torch.float32)
    found = mc.align(case.spec(), a, b, method, **data_for(method, case))
    model, x = case.model(), case.inputs(dtype=torch.float64)
    as_it_was, aligned = (
        reference.loss_and_accuracy(model.double(), {k: v.double() for k, v in params.items()}, x, torch.arange(6) % 5)
        for params in (b, found.params)
    )
    assert aligned == pytest.approx(as_it_was, rel=1e-9)
    assert found.method == method
    assert len(found.objective) >= 1


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.slow] * (case.name in ("vgg11", "resnet20x2")), id=case.name)
        for case in CASES
    ],
)
def test_weight_matching_reaches_the_plain_algorithm_of_git_rebasin(case):
    """The best of a few restarts against the best of as many runs of the plain algorithm, on every architecture."""
    spec, a, b = case.spec(), case.params(0), case.params(1)
    runs = 1 if case.name == "vgg11" else 3
    plain = max(reference.weight_matching(spec, a, b, seed) for seed in range(runs))
    ours = mc.align(spec, a, b, restarts=2 if case.name == "vgg11" else 24)
    assert max(ours.restarts) == ours.objective[-1]
    assert ours.objective[-1] >= plain * (1 - 1e-9)


@by_name
@pytest.mark.parametrize("seed", [0, 1])
def test_activation_matching_recovers_a_planted_permutation(case, seed):
    spec, a = case.spec(), case.params(0, torch.float32)
    planted = random_permutation(spec, seed)
    data = data_for("activation_matching", case)
    found = mc.align(spec, a, apply_permutation(spec, planted, a), "activation_matching", **data)
    alive = _alive(spec, a, data)
    expected = invert(planted)
    for group, p in found.permutation.items():
        assert torch.equal(p[alive[group]], expected[group][alive[group]]), group
    assert found.objective[-1] > found.objective[0]


def _alive(spec, params, data):
    """Units that ever change: a unit that never does looks like any other such unit."""
    same = unit_correlation(spec, params, params, data["model"], data["x"])
    return {group: matrix.diagonal() > 0.5 for group, matrix in same.items()}


def test_activation_matching_does_not_depend_on_the_batches(digits):
    data = {"model": digits.model, "x": digits.train.x}
    a, b = digits.params["A"], digits.params["B"]
    small, large = (unit_correlation(digits.spec, a, b, **data, batch=n) for n in (50, 1437))
    for group in small:
        assert torch.allclose(small[group], large[group], atol=1e-4)
        by_hand = torch.corrcoef(torch.cat([_hidden(digits, a, group), _hidden(digits, b, group)], 1).T)
        n = digits.spec.sizes[group]
        known = by_hand[:n, n:].nan_to_num()
        assert torch.allclose(large[group], known.double(), atol=1e-4)


def _hidden(digits, params, group):
    x = digits.train.x.flatten(1)
    for layer in ("fc1", "fc2")[: int(group[-1]) + 1]:
        x = torch.relu(x @ params[f"{layer}.weight"].T + params[f"{layer}.bias"])
    return x


@pytest.mark.parametrize("name", ["attention", "transformer layer", "glu", "dense block", "grouped", "tied weights"])
def test_activations_are_seen_in_every_kind_of_network(name):
    kind = KINDS[name]
    model, x = kind.module.eval(), kind.example()
    spec = mc.trace_permutation_spec(model, x)
    params = {k: v.detach() for k, v in model.state_dict().items() if v.is_floating_point()}
    similarity = unit_correlation(spec, params, params, model, x)
    assert {group: matrix.shape for group, matrix in similarity.items()} == {
        group: (size, size) for group, size in spec.sizes.items()
    }
    assert all((matrix.diagonal() > 0.99).any() for matrix in similarity.values())


# the universe


@by_name
def test_a_universe_is_cycle_consistent_to_the_letter(case):
    spec = case.spec()
    models = {name: case.params(seed) for seed, name in enumerate("ABCD")}
    found = find_universe(spec, models, seed=3)
    for a, b, c in itertools.permutations(models, 3):
        through = mc.compose(found.onto(b, c), found.onto(a, b))
        assert all(torch.equal(through[group], p) for group, p in found.onto(a, c).items())
    assert found.objective[-1] > found.objective[0]


def test_a_search_for_a_universe_pauses_and_goes_on(digits):
    whole = find_universe(digits.spec, digits.params, max_steps=3)
    search = UniverseSearch(digits.spec, digits.params, max_steps=3)
    taken = sum(search.advance() for _ in range(5))
    assert taken == 5
    found = search.finish()
    assert not search.advance()
    assert found.objective == whole.objective
    assert all(mc.churn(found.permutations[m], whole.permutations[m]) == 0 for m in digits.params)


def test_a_job_that_is_cancelled_leaves_the_search_where_it_is(digits):
    search = UniverseSearch(digits.spec, digits.params, max_steps=2)
    job = Job(lambda: iter([search.finish()]), lambda value: None, lambda error: None)
    job.cancelled = True
    job.advance()
    assert job.ended
    assert search.advance(), "there is more to do"
    assert search.finish().objective == find_universe(digits.spec, digits.params, max_steps=2).objective


@pytest.mark.slow
def test_a_search_whose_step_was_cancelled_begins_anew(digits, monkeypatch):
    search = UniverseSearch(digits.spec, digits.params, max_steps=1)

    def cancelled(*args):
        raise Cancelled

    with monkeypatch.context() as patched:
        patched.setattr(sys.modules[UniverseSearch.__module__], "coordinate_ascent", cancelled)
        with pytest.raises(Cancelled):
            search.finish()
    assert search.finish().objective == find_universe(digits.spec, digits.params, max_steps=1).objective


def test_align_many_brings_all_models_to_one_of_them(digits):
    aligned = mc.align_many(digits.spec, digits.params, max_steps=5)
    assert list(aligned) == ["A", "B", "C"]
    assert mc.churn(aligned["A"].permutation, identity_permutation(digits.spec)) == 0
    others = mc.align_many(digits.spec, digits.params, max_steps=5, reference="C")
    from_c = mc.compose(invert(aligned["C"].permutation), aligned["B"].permutation)
    assert mc.churn(from_c, others["B"].permutation) == 0
    pairwise = mc.align_many(digits.spec, digits.params, "weight_matching")
    direct = mc.align(digits.spec, digits.params["A"], digits.params["B"])
    assert mc.churn(pairwise["B"].permutation, direct.permutation) == 0


def test_a_universe_undoes_planted_permutations(digits):
    spec, a = digits.spec, digits.params["A"]
    planted = {name: random_permutation(spec, seed) for seed, name in enumerate("BCD")}
    models = {"A": a} | {name: apply_permutation(spec, p, a) for name, p in planted.items()}
    aligned = mc.align_many(spec, models, max_steps=20)
    for name, p in planted.items():
        assert mc.churn(aligned[name].permutation, invert(p)) < 0.02


@by_name
def test_matrices_of_permutations_act_as_permutations(case):
    spec, a = case.spec(), case.params(0)
    permutation = random_permutation(spec, 1)
    matrices = {group: matrix_of(p) for group, p in permutation.items()}
    mixed, permuted = apply_matrices(spec, matrices, a), apply_permutation(spec, permutation, a)
    assert all(torch.equal(mixed[name], permuted[name]) for name in a)
    assert mc.churn(harden(matrices), permutation) == 0


@pytest.mark.slow
def test_the_universe_finds_at_least_what_pairwise_rounding_keeps(digits):
    """Its objective over all pairs is no worse than that of matching everything to A."""
    spec, models = digits.spec, digits.params
    found = find_universe(spec, models)
    star = {name: mc.align(spec, models["A"], params).params for name, params in models.items() if name != "A"}
    names = [name for name in spec.axes_to_perm if name not in spec.statistics]
    through_a = sum(
        reference.objective(p, q, names) for p, q in itertools.combinations([models["A"], *star.values()], 2)
    )
    assert found.objective[-1] >= through_a


# sinkhorn


@pytest.mark.slow
def test_sinkhorn_lowers_the_loss_of_the_midpoint(digits):
    half = {name: torch.full((1, *[1] * p.ndim), 0.5) for name, p in digits.params["A"].items()}
    losses = {}
    for method in ("weight_matching", "sinkhorn"):
        aligned = align_modes(digits, "A", "B", method)
        middle = mc.combine(digits.params["A"], aligned.params, half)
        losses[method] = mc.evaluate(digits.model, middle, digits.train)["loss"].item()
    assert losses["sinkhorn"] < losses["weight_matching"]
    assert aligned.objective[-1] < aligned.objective[0]


@pytest.mark.parametrize("method", METHODS)
def test_where_nothing_is_free_every_method_gives_the_identity(method):
    model, x = torch.nn.Sequential(torch.nn.Linear(4, 3)).eval(), torch.randn(8, 4)
    spec, params = mc.trace_permutation_spec(model, x), dict(model.state_dict())
    data = {"model": model, "x": x, "y": torch.arange(8) % 3}
    needed = {name: value for name, value in data.items() if name in takes(method)}
    assert mc.align(spec, params, params, method, **needed).permutation == {}


@pytest.mark.parametrize("method", ["weight_matching", "activation_matching", "sinkhorn", "universe"])
def test_an_alignment_stops_when_its_job_is_cancelled(digits, method):
    heard = []

    def steps():
        job.cancelled = True
        yield align_modes(digits, "A", "B", method, seed=99)

    job = Job(steps, heard.append, heard.append)
    job.advance()
    assert job.ended
    assert heard == []


# what is refused


def test_widths_must_agree(digits):
    wide = {name: torch.ones([2 * n for n in p.shape]) for name, p in digits.params["B"].items()}
    with explains("params_b has tensors of another shape", "equal widths can be aligned"):
        mc.align(digits.spec, digits.params["A"], wide)
    with explains("model B has tensors of another shape", "equal widths"):
        mc.align_many(digits.spec, {"A": digits.params["A"], "B": wide})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s, a, m: mc.align(s, a, a, "magic"), ["method must be one of weight_matching", "'magic'"]),
        (lambda s, a, m: mc.align(s, a, a, "activation_matching"), ["needs model, x"]),
        (lambda s, a, m: mc.align(s, a, a, "weight_matching", x=1), ["does not take x", "restarts"]),
        (lambda s, a, m: mc.align(s, a, a, "universe", restarts=0), ["restarts must be at least 1"]),
        (lambda s, a, m: mc.align_modes(m, "A", "B", "activation_matching", batch=0), ["batch must be at least 1"]),
        (
            lambda s, a, m: mc.align(s, a, a, "sinkhorn", model=m.model, x=m.test.x, y=m.test.y[:5]),
            ["a label for every example", "360 examples, 5 labels"],
        ),
        (lambda s, a, m: mc.align(s, a, a | {"fc1.bias": a["fc1.bias"] / 0}), ["not finite", "persistent=False"]),
        (lambda s, a, m: mc.align_many(s, {"A": a}), ["at least two models", "got A"]),
        (lambda s, a, m: mc.align_many(s, {"A": a, "B": a}, reference="Z"), ["reference 'Z'"]),
        (lambda s, a, m: align_modes(m, "A", "Z"), ["no mode 'Z'"]),
        (
            lambda s, a, m: mc.perturb_alignment(mc.align(s, a, a, "universe", max_steps=1), 0.5, "noise"),
            ["'universe' maximised none", "'activation_matching'"],
        ),
    ],
)
def test_bad_calls_are_explained(digits, call, words):
    with explains(*words):
        call(digits.spec, digits.params["A"], digits)


def test_noise_disturbs_the_correlations_of_an_activation_matching(digits):
    aligned = align_modes(digits, "A", "B", "activation_matching")
    churns = [mc.perturb_alignment(aligned, s, "noise", seed=1).churn for s in (1e-6, 0.3, 1.0)]
    assert churns[0] < 0.1 < churns[1] < churns[2]
