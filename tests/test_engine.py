"""The engine computes what is shared once, and gives what one network at a time gives."""

from functools import cache

import numpy as np
import pytest
import reference
import torch
from cases import CASES, SMALL, WIDE
from held import Held
from networks import kinds
from torch import nn

import modecomb_viz as mc
from modecomb_viz.architectures import build, params_of
from modecomb_viz.data import Split
from modecomb_viz.evaluation import Plan, finish, make_engine, make_plan, near
from modecomb_viz.evaluation import engine as engine_module
from modecomb_viz.evaluation.partitions import Partitions, partitions_of
from modecomb_viz.evaluation.program import Unrecordable, program_of
from modecomb_viz.evaluation.schedule import make_schedule
from modecomb_viz.hypercube import (
    Combinations,
    layer_mask,
    random_plane,
    sample_coefficients,
    segment,
    split_plane,
    three_modes_plane,
)

by_name = pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)

GRID = torch.cartesian_prod(*[torch.linspace(-0.25, 1.25, 4, dtype=torch.float64)] * 2)


def families(case, dtype=torch.float64):
    """Every kind of family, with coordinates."""
    spec, (a, b, c) = case.spec(), (case.params(seed, dtype) for seed in range(3))
    for granularity in ("layer", "unit", "weight"):
        z = sample_coefficients(spec, "bernoulli", granularity=granularity, seed=1)
        yield f"split {granularity}", split_plane(a, b, z).at, GRID
    yield "random", random_plane(spec, a, b).at, GRID
    yield "random weight", random_plane(spec, a, b, granularity="weight").at, GRID
    yield "layers", split_plane(a, b, layer_mask(spec, len(spec.layer_names) // 2)).at, GRID
    yield "three modes", three_modes_plane(a, b, c).at, GRID
    yield "segment", segment(a, b), torch.linspace(0, 1, 7, dtype=torch.float64)
    for granularity in ("layer", "unit", "weight"):

        def draws(index, granularity=granularity):
            return (sample_coefficients(spec, "bernoulli", granularity=granularity, first=int(index[0]), n=len(index)),)

        yield f"draws {granularity}", Combinations(a, (b,), draws), torch.arange(6)


def split_for(case):
    x = case.inputs(11)
    return Split(x, torch.arange(11) % 5)


@cache
def model_for(case):
    """One network per case, so that it is recorded once."""
    return next(one for one in SMALL if one.name == case).model().double()


def engine_for(case, family, plan):
    return make_engine(model_for(case.name), family, split_for(case), plan)


def evaluated(engine, coordinates, quantities=("loss", "accuracy")):
    return finish(engine.steps(coordinates, quantities))


PLANS = {
    "loop": Plan("loop", 1, 4, 2**28),
    "nothing shared": Plan("loop", 1, 11, 2**28, share=False),
    "vmap": Plan("vmap", 5, 4, 2**28),
    "graphs": Plan("graphs", 1, 4, 2**28),
    "module": Plan("module", 1, 11, 2**28),
    "small blocks": Plan("loop", 1, 3, 1000),
    "small blocks, vmap": Plan("vmap", 3, 3, 1000),
}


def case_and_plan():
    for case in SMALL:
        for plan in PLANS:
            slow = plan == "small blocks, vmap" and case.name.startswith(("resnet", "convnet"))
            yield pytest.param(case, plan, id=f"{plan}-{case.name}", marks=[pytest.mark.slow] * slow)


@pytest.mark.parametrize(("case", "plan"), list(case_and_plan()))
def test_every_family_under_every_plan_is_what_one_network_at_a_time_gives(case, plan):
    model, split = model_for(case.name), split_for(case)
    for name, family, coordinates in families(case):
        got = evaluated(engine_for(case, family, PLANS[plan]), coordinates)
        stacked = family(coordinates)
        for i in range(0, len(coordinates), 3):
            params = {key: tensor[i] for key, tensor in stacked.items()}
            with np.errstate(invalid="ignore"):
                loss, accuracy = reference.loss_and_accuracy(model, params, *split)
            assert got["loss"][i].item() == pytest.approx(loss, rel=1e-9, nan_ok=True), name
            assert np.isnan(loss) or got["accuracy"][i].item() == pytest.approx(accuracy, abs=1e-12), name


@pytest.mark.parametrize("case", [*SMALL, CASES[-1]], ids=lambda case: case.name)
@pytest.mark.parametrize("strategy", ["loop", "vmap", "graphs"])
def test_the_layout_of_images_and_weights_does_not_matter(case, strategy):
    """With one channel images look the same in either layout, and what is made of them does not."""
    model, plain = case.model().double(), split_for(case)
    ends = case.params(0), case.params(1)
    points = torch.linspace(0, 1, 5, dtype=torch.float64)
    found = []
    for layout in (lambda tensor: tensor, near):
        laid = [{name: layout(tensor) for name, tensor in params.items()} for params in ends]
        engine = make_engine(model, segment(*laid), plain._replace(x=layout(plain.x)), Plan(strategy, 5, 4, 2**28))
        found.append(evaluated(engine, points, ("logits",))["logits"])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-10)


class _Strided(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 4, 3), nn.Linear(16, 5)

    def forward(self, x):
        made = self.conv(x)
        return self.out(made.as_strided((len(x), 16), (made.stride(0), 1)))


def test_what_reads_memory_by_strides_is_left_to_the_module():
    x = torch.randn(3, 1, 4, 4)
    with pytest.raises(Unrecordable, match="strides"):
        program_of(_Strided().eval(), x)


@by_name
def test_points_are_the_same_in_any_order_and_alone(case):
    for name, family, coordinates in families(case):
        if name.startswith("draws"):
            continue  # draws are described by the first number of a run
        engine = engine_for(case, family, PLANS["loop"])
        whole, mixed = evaluated(engine, coordinates), evaluated(engine, coordinates.flip(0))
        torch.testing.assert_close(mixed["loss"].flip(0), whole["loss"], rtol=1e-9, atol=0, equal_nan=True)
        alone = evaluated(engine, coordinates[2:3])
        torch.testing.assert_close(alone["loss"], whole["loss"][2:3], rtol=1e-9, atol=0, equal_nan=True)


def test_layers_that_do_not_change_run_once_per_row(monkeypatch):
    """A plane through the layers of an MLP: the first half is run for each of 5 u, the rest for each of 25 points."""
    case = SMALL[0]
    a, b, calls = case.params(0), case.params(1), {}
    family = split_plane(a, b, layer_mask(case.spec(), 1)).at
    original = engine_module._run

    def counted(group, chunk, *rest):
        calls[group.partition] = calls.get(group.partition, 0) + bool(group.gives)
        original(group, chunk, *rest)

    monkeypatch.setattr(engine_module, "_run", counted)
    grid = torch.cartesian_prod(*[torch.linspace(0, 1, 5, dtype=torch.float64)] * 2)
    evaluated(engine_for(case, family, Plan("loop", 1, 11, 2**28)), grid)
    assert sorted(count for count in calls.values() if count) == [1, 5, 25]


def schedule_of(model, family, coordinates, x, **options):
    program, points = program_of(model, x), family.points(coordinates)
    return make_schedule(program, points, *partitions_of(points, program.state), **options)


def test_products_with_the_ends_serve_a_whole_plane_and_all_unit_wise_draws():
    case = SMALL[0]
    shared = {
        name: schedule_of(case.model().double(), family, coordinates, case.inputs(3)).shared
        for name, family, coordinates in families(case)
    }
    assert len(shared["three modes"]) == len(shared["split unit"]) == len(shared["draws unit"]) == 1
    assert len(shared["layers"]) == 2, "the first layer of either half"
    assert len(shared["split weight"]) == len(shared["random weight"]) == 1, "three products serve the first layer"
    assert not shared["draws weight"]


def test_batch_norm_is_folded_into_the_convolution():
    case = next(case for case in SMALL if case.name == "resnet8-batch")
    a, b = case.params(0), case.params(1)
    schedule = schedule_of(case.model().double(), segment(a, b), torch.linspace(0, 1, 2), case.inputs(3))
    code = "".join(group.run.code for group in schedule.groups)
    assert code.count("convolution") >= 9
    assert "batch_norm" not in code


def test_what_is_constant_is_kept_from_call_to_call(monkeypatch):
    case, ran = SMALL[0], []
    engine = engine_for(case, segment(case.params(0), case.params(1)), Plan("loop", 1, 11, 2**28))
    original = engine_module._run
    monkeypatch.setattr(
        engine_module,
        "_run",
        lambda g, c, *rest: (
            ran.append(bool(g.gives) and not set(g.gives) <= set(c.values) and g.partition == 0),
            original(g, c, *rest),
        ),
    )
    for _ in range(3):
        evaluated(engine, torch.linspace(0, 1, 9, dtype=torch.float64))
    assert sum(ran) == 1


def test_what_is_kept_is_not_taken_for_that_of_other_points():
    """Points whose coefficients differ in other layers are cut otherwise: what was constant before is not now."""
    case = SMALL[0]
    a, b = case.params(0), case.params(1)
    layers = {name: i for i, name in enumerate(case.spec().layer_names)}

    def at(points):
        columns = {name: points[:, layers[case.spec().layers[name]] % 3] for name in a}
        return ({name: column.to(a[name]).reshape(-1, *[1] * a[name].ndim) for name, column in columns.items()},)

    late, early = ([[0.0, t, 0.5] if later else [t, 0.5, 0.5] for t in (0.1, 0.2, 0.3, 0.6)] for later in (True, False))
    plan = Plan("loop", 1, 11, 2**28)
    used = engine_for(case, Combinations(a, (b,), at), plan)
    for rows in (late, early, late):
        points = torch.tensor(rows, dtype=torch.float64)
        fresh = evaluated(engine_for(case, Combinations(a, (b,), at), plan), points)["loss"]
        torch.testing.assert_close(evaluated(used, points)["loss"], fresh, rtol=1e-12, atol=0)


def test_steps_say_how_far_they_are():
    case = SMALL[0]
    engine = engine_for(case, segment(case.params(0), case.params(1)), Plan("loop", 1, 2, 2**28))
    shares = list(engine.steps(torch.linspace(0, 1, 3, dtype=torch.float64), ("loss",)))
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert len(shares) == 3 * 6


@pytest.mark.parametrize(
    "kind", [k for k in kinds() if k.shape and k.name != "tied weights"], ids=lambda kind: kind.name
)
def test_every_kind_of_layer_is_recorded_for_any_number_of_examples(kind):
    model = kind.module.eval().double()
    params = params_of(model)
    other = {
        name: tensor + 0.1 * tensor.std(correction=0) for name, tensor in params.items() if tensor.isfinite().all()
    }
    x = torch.randn(7, *kind.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain = model(x)
    if plain.ndim != 2:
        pytest.skip("its output is no table of logits")
    split = Split(x, torch.zeros(7, dtype=torch.int64))
    family = segment(params, params | other)
    try:
        program_of(model, x)
    except Unrecordable:
        pytest.skip("its operations depend on the number of examples")
    for plan in (Plan("loop", 1, 3, 2**28), Plan("vmap", 2, 3, 2**28)):
        got = evaluated(
            make_engine(model, family, split, plan), torch.linspace(0, 1, 5, dtype=torch.float64), ("logits",)
        )
        torch.testing.assert_close(got["logits"][0], plain, rtol=1e-9, atol=1e-10)


class Counting(nn.Module):
    """Depends on the number of examples in a way that no list of operations shows."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        for _ in range(len(x)):
            x = torch.sin(x)
        return self.fc(x)


def test_what_cannot_be_recorded_is_run_by_the_module():
    model, x = Counting().eval(), torch.randn(7, 4)
    with pytest.raises(Unrecordable, match="number of examples"):
        program_of(model, x)
    stacked = {name: tensor[None] for name, tensor in params_of(model).items()}
    got = mc.evaluate(model, stacked, Split(x, torch.zeros(7, dtype=torch.int64)), ("logits",))
    torch.testing.assert_close(got["logits"][0], model(x).detach())


def test_partitions_join_to_the_coarsest_that_is_as_fine():
    found = Partitions(4)
    rows, columns = found.add([b"a", b"a", b"b", b"b"]), found.add([b"a", b"b", b"a", b"b"])
    both = found.join([rows, columns])
    assert found.ids[both].tolist() == [0, 1, 2, 3]
    assert found.join([rows, both]) == both == found.add_finest()
    assert found.join([]) == 0 == found.join([0])
    assert found.join([0, rows]) == rows == found.add([b"x", b"x", b"y", b"y"])
    assert found.add([b"x"] * 4) != 0, "what is the same for these points may differ for others"


def test_nan_stays_with_its_points(batchnorm):
    plane = mc.sweep_plane(batchnorm, resolution=5, margin=1.0)
    plain = mc.sweep_plane(batchnorm, resolution=5, margin=1.0, plan={"strategy": "module"})
    assert plain.loss.isnull().any()
    np.testing.assert_array_equal(plane.loss.isnull(), plain.loss.isnull())
    np.testing.assert_allclose(plane.loss, plain.loss, rtol=2e-5)


def test_a_conv_net_of_another_seed_does_not_share_weights_with_the_first():
    """Programs are kept per network; weights are always those of the points."""
    model, x = build("convnet", channels=[4, "M", 6], inputs=1), torch.randn(5, 1, 8, 8)
    split = Split(x, torch.zeros(5, dtype=torch.int64))
    results = []
    for seed in (1, 2):
        stacked = {
            k: v[None] for k, v in params_of(build("convnet", seed=seed, channels=[4, "M", 6], inputs=1)).items()
        }
        results.append(mc.evaluate(model, stacked, split)["loss"].item())
    assert results[0] != results[1]


@pytest.mark.parametrize("case", [*SMALL[::2], WIDE], ids=lambda case: case.name)
@pytest.mark.parametrize("strategy", ["loop", "vmap", "graphs"])
def test_what_is_held_at_once_stays_below_the_bound(case, strategy):
    x = case.inputs(60).float()
    split, model, a = Split(x, torch.arange(60) % 5), case.model(), case.params(0, torch.float32)
    with pytest.raises(ValueError, match="which needs") as refusal:
        make_plan(model, a, split, strategy=strategy, max_memory=1)
    needed = int(str(refusal.value).split()[-2].replace(",", ""))
    for name, family, coordinates in families(case, torch.float32):
        for memory in (3 * needed, 20 * needed):
            plan = make_plan(model, a, split, strategy=strategy, max_memory=memory)
            with Held() as held:
                evaluated(make_engine(model, family, split, plan), coordinates[:6])
            assert held.peak <= memory, (name, plan)
            assert held.peak > sum(w.nbytes for w in a.values())
