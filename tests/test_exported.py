"""Any point of a result as weights of the plain architecture: it answers as the result says."""

import copy
import json
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

import modecomb_viz as mc
from modecomb_viz.cli import app
from modecomb_viz.sweep import last_dataset, make_sweep

#: Sweep, settings, and points of the result: with grid entries, so that the loss is known.
CASES = {
    "segment": ("segment", {"points": 5, "start": -0.5}, [{"t": -0.5}, {"t": 0.25}]),
    "segment, strengths": ("segment", {"points": 3, "strength": [0.0, 0.5]}, [{"t": 0.5, "strength": 0.5}]),
    "split": ("plane", {"resolution": 3, "margin": 0.1}, [{"u": 0.5, "v": -0.1}, {"u": 1.1, "v": 0.5}]),
    "split, best": ("plane", {"resolution": 2, "z": "best", "n": 4, "strength": [0.0, 0.5]}, [{"u": 1, "v": 0}]),
    "split, fisher": ("plane", {"resolution": 2, "z": "fisher", "fisher_examples": 8}, [{"u": 1, "v": 0}]),
    "random": ("plane", {"plane": "random", "resolution": 3, "granularity": "weight"}, [{"u": 1, "v": -1}]),
    "three modes": ("plane", {"plane": "three_modes", "resolution": 3}, [{"u": 0.5, "v": 1}]),
    "samples": ("samples", {"n": 12, "distribution": "uniform"}, [{"sample": 3}, {"sample": 11}]),
    "layers": ("layers", {"points": 3, "base": 0.5}, [{"layer": 1, "t": 0.5}, {"layer": 0, "t": 1}]),
    "perturbation": ("perturbation", {"strength": (0.0, 1.0), "repeats": 2}, [{"strength": 1, "repeat": 1}]),
    "perturbation, groups and draws": (
        "perturbation",
        {"strength": 0.5, "repeats": 2, "per_group": True, "distribution": "uniform", "n": 3},
        [{"repeat": 1, "group": 1, "sample": 2}, {"repeat": 0, "sample": 1}],
    ),
    "laws": ("laws", {"n": 2, "means": (0.0, 0.5), "deviations": (0.0, 0.3)}, [{"mean": 0.5, "deviation": 0.3}]),
    "laws, bernoulli": ("laws", {"n": 2, "distribution": "bernoulli", "means": (0.2, 0.5)}, [{"mean": 0.2}]),
    "points": (
        "points",
        {"n": 4, "fisher_examples": 8, "strength": 0.3},
        [{"point": name} for name in ("A", "π(B)", "midpoint", "magnitude", "sign", "Fisher", "best", "worst", 5)],
    ),
    "search of layers": ("search", {"n": 3, "train_examples": 50}, [{}, {"step": 0}, {"step": 2}]),
    "search of units": ("search", {"n": 2, "train_examples": 50, "granularity": "unit"}, [{}]),
    "transitivity": (
        "transitivity",
        {"points": 3},
        [{"pair": "A–C", "route": r, "t": 0.5} for r in ("naive", "direct", "through B", "universe")],
    ),
    "similarity": (
        "similarity",
        {"n": 3},
        [{"model": name} for name in ("A", "B", "midpoint", "C", "draw 2")],
    ),
}


@pytest.fixture(scope="module")
def small(digits):
    """Three networks so small that aligning them takes no time."""
    return own_modes(nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10)), digits)


def own_modes(network, data):
    """Three networks with random weights."""
    generator = torch.Generator().manual_seed(0)
    ends = {
        mode: {name: torch.randn(t.shape, generator=generator) / 3 for name, t in network.state_dict().items()}
        for mode in "ABC"
    }
    return mc.ModeSet(name="own", model=network.eval(), params=ends, test=data.test, train=data.train)


def numbered(dataset, where):
    """The point, with names for numbers of the entries of a dimension that has names."""
    names = {name for name in where if dataset[name].dtype.kind in "UOT"}
    return {k: str(dataset[k].values[v]) if k in names and isinstance(v, int) else v for k, v in where.items()}


def at(dataset, where):
    """The losses of the result there."""
    for name, value in where.items():
        if name in dataset.dims:
            exact = dataset[name].dtype.kind in "UOT"
            dataset = (
                dataset.sel({name: value}) if exact else dataset.sel({name: value}, method="nearest", tolerance=1e-6)
            )
    return dataset


def loss_of(modes, params, split="test"):
    stacked = {name: tensor[None] for name, tensor in params.items()}
    return mc.evaluate(modes.model, stacked, getattr(modes, split))["loss"].item()


def check(modes, dataset, where, path):
    """The file of a point holds what the result says, for our own loader and for PyTorch."""
    where = numbered(dataset, where)
    mc.export_point(dataset, modes, path, **where)
    with safe_open(path, framework="pt") as file:
        metadata = {key: json.loads(text) for key, text in file.metadata().items()}
    params = mc.load_params(path, modes.model)
    assert loss_of(modes, params) == pytest.approx(metadata["test_loss"], rel=1e-5, abs=1e-7)
    found = at(dataset, metadata["point"]).loss.sel(split="test")
    assert metadata["test_loss"] == pytest.approx(float(found), rel=1e-12)
    assert metadata["recipe"] == mc.recipe(dataset)
    assert metadata["modes_hash"]["A"] == modes.hashes["A"]
    for name, value in where.items():
        assert metadata["point"][name] == (pytest.approx(value) if isinstance(value, float) else value)
    network = copy.deepcopy(modes.model)
    network.load_state_dict(load_file(path))
    with torch.no_grad():
        loss = nn.functional.cross_entropy(network(modes.test.x), modes.test.y)
    assert loss.item() == pytest.approx(metadata["test_loss"], rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("case", list(CASES))
def test_a_point_answers_as_the_result_says(digits, small, tmp_path, case):
    name, settings, points = CASES[case]
    modes = small if name in ("transitivity", "similarity") else digits  # they align many pairs
    dataset = last_dataset(make_sweep(name, settings).steps(modes))
    for where in points:
        if "strength" in dataset.dims and "strength" not in where:
            where = {**where, "strength": 0.5}
        if name == "laws":
            where = {**where, "sample": 1}
        check(modes, dataset, where, tmp_path / "p.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("repair", ["none", "batchnorm", "repair", "temperature"])
def test_a_repaired_point_is_held_by_the_plain_architecture(batchnorm, tmp_path, repair):
    dataset = mc.sweep_plane(batchnorm, resolution=2, repair=repair, repair_examples=100)
    check(batchnorm, dataset, {"u": 1, "v": 0}, tmp_path / "p.safetensors")


@pytest.mark.parametrize("repair", ["repair", "temperature"])
def test_so_it_is_without_batchnorm(digits, tmp_path, repair):
    check(digits, mc.sweep_segment(digits, points=3, repair=repair), {"t": 0.5}, tmp_path / "p.safetensors")


def test_between_grid_points_it_is_the_combination(digits, tmp_path):
    dataset = mc.sweep_segment(digits, points=3)
    params, a = mc.point_params(dataset, digits, t=0.3), digits.params["A"]
    b = mc.align(digits.spec, a, digits.params["B"]).params
    for name in a:
        torch.testing.assert_close(params[name], a[name] + 0.3 * (b[name] - a[name]), rtol=1e-5, atol=1e-6)
    mc.export_point(dataset, digits, tmp_path / "p.safetensors", t=0.3)
    with safe_open(tmp_path / "p.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["point"]) == {"strength": 0.0, "t": 0.3}
        assert "test_loss" not in file.metadata()


@pytest.mark.parametrize(
    ("name", "settings", "where", "words"),
    [
        ("plane", {"resolution": 2}, {"u": 0.5}, "needs v (any number; evaluated from 0 to 1)"),
        ("plane", {"resolution": 2}, {"u": 0.5, "v": 0, "t": 1}, "named by strength, v, u, got t"),
        ("plane", {"resolution": 2}, {"u": "x", "v": 0}, "u must be a number, got 'x'"),
        ("plane", {"resolution": 2}, {"u": float("nan"), "v": 0}, "u must be one of any number"),
        ("segment", {"points": 2, "strength": 0.3}, {"t": 0, "strength": 0.5}, "strength must be one of 0.3, got 0.5"),
        ("samples", {"n": 3}, {"sample": 3}, "sample must be one of 0, 1, 2, got 3"),
        ("points", {"n": 2, "fisher_examples": 2}, {"point": "fishy"}, "point must be one of A, π(B), midpoint"),
        ("similarity", {"n": 1}, {"model": "ensemble of A and B"}, "is no network"),
        ("transitivity", {"points": 2}, {"pair": "A–B", "route": "through A", "t": 0}, "has no route 'through A'"),
        (
            "laws",
            {"distribution": "beta", "n": 1, "means": (0.1,), "deviations": (0.1, 0.9)},
            {"deviation": 0.9},
            "no law",
        ),
        ("search", {"granularity": "unit", "n": 2, "train_examples": 20}, {"step": 0}, "Give step=2"),
    ],
)
def test_errors_teach(small, name, settings, where, words):
    dataset = last_dataset(make_sweep(name, settings).steps(small))
    with pytest.raises(ValueError, match=re.escape(words)):
        mc.point_params(dataset, small, **where)


def test_other_networks_are_refused(digits, batchnorm):
    with pytest.raises(ValueError, match="is not that of the result"):
        mc.point_params(mc.sweep_segment(digits, points=2), batchnorm, t=0)


def test_a_correction_that_no_weight_can_hold_is_refused(digits):
    layers = nn.Linear(64, 6, bias=False), nn.ReLU(), nn.Linear(6, 10), nn.Softplus()
    modes = own_modes(nn.Sequential(nn.Flatten(), *layers), digits)
    for repair, words in (("repair", "no weight and bias of its own"), ("temperature", "divides the logits")):
        with pytest.raises(ValueError, match=words):
            mc.point_params(mc.sweep_segment(modes, points=3, repair=repair), modes, t=0.5)


def test_a_point_from_the_command_line(digits, tmp_path):
    result, out = mc.save(mc.sweep_plane(digits, resolution=3), tmp_path / "x.nc"), tmp_path / "p.safetensors"
    arguments = ["point", str(result), "--out", str(out), "--at"]
    done = CliRunner().invoke(app, [*arguments, "u=0.5", "--at", "v=0.25"])
    assert (done.exit_code, done.output.strip()) == (0, f"wrote {out}")
    torch.testing.assert_close(
        mc.load_params(out, digits.model), mc.point_params(mc.open(result), digits, u=0.5, v=0.25)
    )
    assert "as NAME=VALUE, such as u=0.5" in str(CliRunner().invoke(app, [*arguments, "u"]).exception)
