"""Laws of norm repair: what it leaves alone, what it restores, and that it does not depend on how it is computed."""

import pytest
import torch
from cases import SMALL
from explained import explains
from torch import nn
from torch.func import functional_call

import modecomb_viz as mc
from modecomb_viz.data import Split
from modecomb_viz.hypercube import Combinations, sample_coefficients, segment
from modecomb_viz.repair import REPAIRS, fit_temperature, has_batch_norm, make_repair, mean_coefficient

by_name = pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)


def batch_of(case, n=64):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(n, *case.shape, generator=generator, dtype=torch.float64)
    classes = case.model()(x[:1].float()).shape[1]
    return Split(x, torch.randint(0, classes, (n,), generator=generator))


def outputs(repair, params, x):
    """Logits of every point of repaired weights."""
    each = [{k: v[i] for k, v in params.items()} for i in range(len(next(iter(params.values()))))]
    return torch.stack([functional_call(repair.model, one, (x,)) for one in each])


def prepare(case, method, **options):
    batch = batch_of(case)
    return make_repair(method, case.model().double(), case.spec(), batch, **options), batch


@by_name
@pytest.mark.parametrize("method", ["repair", "temperature"])
def test_a_network_combined_with_itself_stays_as_it_is(case, method):
    repair, batch = prepare(case, method)
    a = case.params(0)
    repaired = repair.points(segment(a, a))(torch.tensor([0.0, 0.5, 1.7]))
    plain = functional_call(case.model().double(), a, (batch.x,))
    for logits in outputs(repair, repaired, batch.x):
        assert torch.allclose(logits, plain, rtol=1e-7, atol=1e-7 * plain.abs().max())


@by_name
def test_repair_leaves_both_ends_as_they_are(case):
    repair, batch = prepare(case, "repair")
    a, b = case.params(0), case.params(1)
    ends = outputs(repair, repair.points(segment(a, b))(torch.tensor([0.0, 1.0])), batch.x)
    for logits, params in zip(ends, (a, b), strict=True):
        plain = functional_call(case.model().double(), params, (batch.x,))
        assert torch.allclose(logits, plain, atol=1e-7 * plain.abs().max())


@by_name
def test_repaired_units_have_the_statistics_between_those_of_the_ends(case):
    """Measured from outside with hooks of our own: mean and deviation of every repaired unit, at a unit-wise draw."""
    repair, batch = prepare(case, "repair")
    a, b, spec = case.params(0), case.params(1), case.spec()
    draw = sample_coefficients(spec, "uniform", granularity="unit", n=1, seed=3)
    repaired = repair.points(Combinations(a, (b,), lambda index: (draw,)))(torch.arange(1))
    assert repair.model.places
    for place in repair.model.places:
        share = mean_coefficient(spec, draw, place.layer, place.units)[0].double()
        got = _seen(repair.model, {k: v[0] for k, v in repaired.items()}, f"network.{place.name}", place, batch.x)
        ends = [_seen(case.model().double(), params, place.name, place, batch.x) for params in (a, b)]
        for kind in range(2):
            wanted = ends[0][kind] + share * (ends[1][kind] - ends[0][kind])
            alive = got[1] > 1e-9
            assert torch.allclose(got[kind][alive], wanted[alive], rtol=1e-6, atol=1e-8)


def _seen(model, params, name, place, x):
    """Mean and deviation of a module's output, after the correction that its hook makes."""
    seen = []

    def note(module, given, made):
        others = [i for i in range(made.ndim) if i != place.axis % made.ndim]
        seen.append((made.mean(others), made.std(others, correction=0)))

    kept = model.get_submodule(name)
    original = kept.register_forward_hook

    def register(hook, **keywords):
        handle = original(hook, **keywords)
        last.append(original(note))
        return handle

    last = []
    kept.register_forward_hook = register
    try:
        if not name.startswith("network."):
            last.append(original(note))
        with torch.no_grad():
            functional_call(model, params, (x,))
    finally:
        del kept.register_forward_hook
        for handle in last:
            handle.remove()
    return seen[-1]


def test_batchnorm_repair_is_what_training_mode_measures(batchnorm):
    """One pass of torch's own BatchNorm in training mode with momentum 1 gives the same statistics."""
    batch = Split(batchnorm.train.x[:200], batchnorm.train.y[:200])
    repair = make_repair("batchnorm", batchnorm.model, batchnorm.spec, batch)
    family = segment(batchnorm.params["A"], batchnorm.params["B"])
    repaired = repair.points(family)(torch.tensor([0.5]))
    import copy

    theirs = copy.deepcopy(batchnorm.model)
    theirs.load_state_dict({k: v[0] for k, v in family(torch.tensor([0.5])).items()}, strict=False)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
            module.momentum = 1.0
    with torch.no_grad():
        theirs(batch.x)
    for name, tensor in theirs.state_dict().items():
        if "running_mean" in name:
            assert torch.allclose(repaired[f"network.{name}"][0], tensor, atol=1e-4)
        if "running_var" in name:
            assert torch.allclose(repaired[f"network.{name}"][0], tensor, rtol=1e-2)


@by_name
@pytest.mark.parametrize("method", ["repair", "batchnorm", "temperature"])
def test_points_repaired_together_are_those_repaired_alone(case, method):
    if method == "batchnorm" and not has_batch_norm(case.model()):
        pytest.skip("the network has no BatchNorm")
    a, b, t = case.params(0), case.params(1), torch.linspace(0, 1, 5)
    alone, batch = prepare(case, method)
    together, _ = prepare(case, method, strategy="vmap", points_at_once=2)
    one, many = (outputs(r, r.points(segment(a, b))(t), batch.x) for r in (alone, together))
    assert torch.allclose(one, many, atol=1e-9 * one.abs().max())


def test_batchnorm_networks_do_not_combine_without_repair(batchnorm):
    """What the field learned the hard way: alignment alone fails, a repair brings the midpoint back."""
    accuracy = {
        repair: mc.sweep_segment(batchnorm, points=3, repair=repair).accuracy.sel(split="test", t=0.5).item()
        for repair in ("none", "batchnorm", "repair")
    }
    assert accuracy["none"] < 0.8
    assert min(accuracy["batchnorm"], accuracy["repair"]) > 0.95


def test_every_sweep_takes_a_repair(digits, batchnorm):
    common = {"repair": "repair", "repair_examples": 100}
    for modes in (digits, batchnorm):
        plane = mc.sweep_plane(modes, "three_modes", resolution=3, **common)
        line = mc.sweep_segment(modes, points=3, **common)
        assert plane.loss[0, 0, 0].item() == pytest.approx(line.loss[0, 0].item(), rel=1e-5)
        assert plane.loss[0, 0, 1].item() == pytest.approx(line.loss[0, 1].item(), rel=1e-4)
        samples = mc.sweep_samples(modes, "constant", value=0.5, granularity="model", n=2, **common)
        assert samples.loss[0, 0].item() == pytest.approx(line.loss[0, 1].item(), rel=1e-4)
        robust = mc.sweep_perturbation(modes, [0.0, 0.5], repeats=1, **common)
        assert robust.loss[0, 0, 0].item() == pytest.approx(line.loss[0, 1].item(), rel=1e-4)
        assert mc.recipe(plane)["repair"] == "repair"


def test_outside_the_cube_new_statistics_bring_numbers_back(batchnorm):
    outside = {"start": -1.0, "end": 0.0, "points": 3}
    assert mc.sweep_segment(batchnorm, **outside).loss.isnull().any()
    assert mc.sweep_segment(batchnorm, **outside, repair="batchnorm").loss.notnull().all()


def test_the_temperature_is_the_best_one():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 400, 5, generator=generator, dtype=torch.float64)
    y = torch.distributions.Categorical(logits=logits[0] / 2.5).sample()
    found = fit_temperature(logits, y, torch.zeros((), dtype=torch.float64))
    grid = torch.linspace(0.05, 20, 4000, dtype=torch.float64)
    losses = torch.stack([nn.functional.cross_entropy(logits[0] / t, y) for t in grid])
    assert found[0].item() == pytest.approx(grid[losses.argmin()].item(), abs=0.01)
    assert found[0].item() == pytest.approx(2.5, rel=0.2)
    broken = logits.clone()
    broken[1, 3, 2] = torch.nan
    assert fit_temperature(broken, y, torch.zeros((), dtype=torch.float64)).isnan().tolist() == [False, True]


def test_a_temperature_never_sharpens_beyond_the_ends():
    logits = torch.eye(4, dtype=torch.float64)[None].repeat(1, 10, 1)
    y = torch.arange(4).repeat(10)
    enough = torch.tensor(0.5, dtype=torch.float64)
    sharpened = fit_temperature(logits, y, enough)
    assert nn.functional.cross_entropy(logits[0] / sharpened, y).item() == pytest.approx(0.5, rel=1e-6)
    assert fit_temperature(logits, y, torch.tensor(2.0, dtype=torch.float64)).item() == 1.0


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(torch.relu(self.fc(torch.relu(self.fc(x)))))


def test_what_cannot_be_repaired_is_explained(digits):
    split = digits.train
    with explains("repair must be one of none, batchnorm, repair, temperature", "'magic'"):
        make_repair("magic", digits.model, digits.spec, split)
    with explains("'batchnorm' needs a network with BatchNorm", "MLP has none"):
        mc.sweep_segment(digits, points=3, repair="batchnorm")
    with explains("repair must be one of", "'magic'"):
        mc.sweep_segment(digits, repair="magic")
    with explains("repair_examples", "2"):
        mc.sweep_segment(digits, repair_examples=1)
    twice, x = Twice().eval(), torch.randn(8, 4)
    with explains("'fc' runs 2 times"):
        make_repair("repair", twice, mc.trace_permutation_spec(twice, x), Split(x, torch.zeros(8, dtype=torch.int64)))
    single = nn.Sequential(nn.Linear(4, 3)).eval()
    with explains("'repair' needs modules whose output units", "Sequential has none"):
        make_repair("repair", single, mc.trace_permutation_spec(single, x), Split(x, torch.zeros(8, dtype=torch.int64)))
    assert set(REPAIRS) == {"none", "batchnorm", "repair", "temperature"}
