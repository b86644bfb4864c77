"""Evaluating many points at once gives what one network at a time gives."""

import json

import numpy as np
import pytest
import reference
import torch
from cases import SMALL
from explained import explains
from torch.func import functional_call

import modecomb_viz as mc
from modecomb_viz.data import Split
from modecomb_viz.evaluation import STRATEGIES, evaluate, make_plan, plans, resolve_device
from modecomb_viz.evaluation.plans import faster_strategy
from modecomb_viz.evaluation.program import program_of
from modecomb_viz.evaluation.settings import arithmetic
from modecomb_viz.hypercube import sample_coefficients


def problem(case, points=5, dtype=torch.float64):
    """Stacked networks and a split."""
    draws = sample_coefficients(case.spec(), "uniform", n=points)
    stacked = mc.combine(case.params(0, dtype), case.params(1, dtype), draws)
    x = case.inputs(11, dtype)
    return case.model().to(dtype), stacked, Split(x, torch.arange(11) % 5)


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_many_at_once_equal_one_by_one(case, strategy):
    model, stacked, split = problem(case)
    got = evaluate(model, stacked, split, ("loss", "accuracy", "logits"), strategy=strategy)
    for i in range(5):
        params = {name: tensor[i] for name, tensor in stacked.items()}
        loss, accuracy = reference.loss_and_accuracy(model, params, *split)
        assert got["loss"][i].item() == pytest.approx(loss, rel=1e-10)
        assert got["accuracy"][i].item() == pytest.approx(accuracy, abs=1e-12)
        with torch.no_grad():
            torch.testing.assert_close(
                got["logits"][i], functional_call(model, params, (split.x,)), rtol=1e-9, atol=1e-10
            )


def test_the_deviation_of_the_loss_is_that_over_examples():
    model, stacked, split = problem(SMALL[0])
    got = evaluate(model, stacked, split, ("loss_deviation", "example_loss", "logits"))
    losses = -got["logits"].log_softmax(-1)[:, torch.arange(11), split.y]
    torch.testing.assert_close(got["loss_deviation"], losses.std(1, correction=0))
    torch.testing.assert_close(got["example_loss"].double(), losses.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("strategy", ["loop", "vmap", "graphs"])
@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_chunking_does_not_matter(case, strategy):
    model, stacked, split = problem(case, dtype=torch.float32)
    whole = evaluate(model, stacked, split, strategy=strategy)
    one = {name: tensor[0] for name, tensor in stacked.items()}
    least = next(m for m in range(2000, 10**8, 2000) if fits(model, one, split, m, strategy))
    plan = make_plan(model, one, split, strategy=strategy, max_memory=least)
    assert (plan.points, plan.examples) < (1, 11)
    pieces = evaluate(model, stacked, split, strategy=strategy, max_memory=least)
    torch.testing.assert_close(pieces["loss"], whole["loss"], rtol=1e-6, atol=1e-9)
    assert torch.equal(pieces["accuracy"], whole["accuracy"])


def fits(model, params, split, memory, strategy):
    try:
        make_plan(model, params, split, strategy=strategy, max_memory=memory)
    except ValueError:
        return False
    return True


def test_a_plan_can_be_replayed_to_the_bit(digits):
    found = mc.sweep_plane(digits, resolution=5)
    again = mc.sweep_plane(digits, resolution=5, plan=json.loads(found.attrs["plan"]))
    assert np.array_equal(found.loss, again.loss)
    forced = mc.sweep_plane(digits, resolution=5, plan={"strategy": "vmap", "points": 3, "examples": 50})
    assert json.loads(forced.attrs["plan"])["points"] == 3
    np.testing.assert_allclose(forced.loss, found.loss, rtol=2e-6)


def test_order_of_the_data_does_not_matter(digits):
    stacked = {name: tensor[None] for name, tensor in digits.params["A"].items()}
    order = torch.randperm(len(digits.test.y), generator=torch.Generator().manual_seed(0))
    straight = evaluate(digits.model, stacked, digits.test)
    shuffled = evaluate(digits.model, stacked, Split(digits.test.x[order], digits.test.y[order]))
    torch.testing.assert_close(straight["loss"], shuffled["loss"], rtol=1e-6, atol=0)
    assert torch.equal(straight["accuracy"], shuffled["accuracy"])


def test_end_points_give_the_logits_of_the_ends(digits):
    aligned = mc.align(digits.spec, digits.params["A"], digits.params["B"]).params
    for value, params in ((0.0, digits.params["A"]), (1.0, aligned)):
        draw = sample_coefficients(digits.spec, "constant", value=value)
        got = evaluate(digits.model, mc.combine(digits.params["A"], aligned, draw), digits.test, ("logits",))["logits"]
        with torch.no_grad():
            assert torch.equal(got[0], functional_call(digits.model, params, (digits.test.x,)))


def test_nan_is_kept(digits):
    stacked = {name: torch.stack([t, t]) for name, t in digits.params["A"].items()}
    stacked["fc1.bias"][1, 0] = torch.nan
    got = evaluate(digits.model, stacked, digits.test)
    assert got["loss"][0].isfinite()
    assert got["loss"][1].isnan()
    assert got["accuracy"][1].isnan()


def test_nothing_is_changed(digits):
    before = {name: tensor.clone() for name, tensor in digits.model.state_dict().items()}
    rng = torch.get_rng_state()
    mc.sweep_plane(digits, resolution=3)
    assert torch.equal(rng, torch.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in digits.model.state_dict().items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"quantities": ("los",)}, ["los", "loss, accuracy, loss_deviation, example_loss, logits"]),
        ({"device": "gpu"}, ["'gpu'", "'cpu', 'cuda'"]),
        ({"strategy": "magic"}, ["'loop', 'vmap', 'graphs', 'module'", "'magic'"]),
        ({"max_memory": 10}, ["max_memory = 10 bytes", "which needs"]),
    ],
)
def test_bad_arguments_are_explained(digits, change, words):
    stacked = {name: tensor[None] for name, tensor in digits.params["A"].items()}
    with explains(*words):
        evaluate(digits.model, stacked, digits.test, **change)


def test_training_mode_is_refused(digits):
    model = mc.open_modes("digits-mlp").model.train()
    stacked = {name: tensor[None] for name, tensor in digits.params["A"].items()}
    with pytest.raises(ValueError, match="training mode"):
        evaluate(model, stacked, digits.test)
    model.eval()


def test_no_point_is_refused(digits):
    stacked = {name: tensor[None][:0] for name, tensor in digits.params["A"].items()}
    with pytest.raises(ValueError, match="holds no point"):
        evaluate(digits.model, stacked, digits.test)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
def test_an_absent_gpu_is_said():
    with pytest.raises(ValueError, match="torch finds no GPU here"):
        resolve_device("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["digits-mlp", "digits-resnet", "digits-convnet"])
def test_gpu_agrees_with_cpu(name):
    modes = mc.open_modes(name)
    cpu, gpu = (mc.sweep_plane(modes, resolution=9, device=device) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(gpu.loss, cpu.loss, rtol=2e-3, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["digits-mlp", "digits-resnet", "digits-convnet"])
def test_strategies_agree_on_a_gpu(name):
    modes, plan = mc.open_modes(name), {"examples": 100}
    loop, *others = (
        mc.sweep_plane(modes, resolution=7, device="cuda", precision="float64", plan={**plan, "strategy": strategy})
        for strategy in ("loop", "vmap", "graphs")
    )
    for other in others:
        np.testing.assert_allclose(other.loss, loop.loss, rtol=1e-9)
        np.testing.assert_array_equal(other.accuracy, loop.accuracy)


@pytest.mark.parametrize("strategy", ["loop", "vmap", "graphs", "module"])
@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_bfloat16_rounds_products_and_nothing_else(case, strategy):
    model, stacked, split = problem(case, dtype=torch.float32)
    exact, rounded = (
        evaluate(model, stacked, split, ("logits",), strategy=strategy, precision=precision)["logits"]
        for precision in ("float32", "bfloat16")
    )
    assert rounded.dtype == torch.float32
    difference = (rounded - exact).norm() / exact.norm()
    assert 1e-5 < difference < 0.05


def test_the_error_of_a_reduced_precision_is_measured_and_stated(digits):
    exact, rounded = (mc.sweep_plane(digits, resolution=9, precision=p) for p in ("float32", "bfloat16"))
    stated = json.loads(rounded.attrs["precision_error"])
    largest = abs(rounded.loss - exact.loss).max().item()
    assert stated["points"] == 4
    assert 0 < stated["loss"] <= largest * (1 + 1e-6)
    assert stated["loss"] > largest / 10
    assert stated["accuracy"] <= abs(rounded.accuracy - exact.accuracy).max().item()
    assert "precision_error" not in exact.attrs
    assert json.loads(rounded.attrs["plan"])["precision"] == rounded.attrs["dtype"] == "bfloat16"


def test_tensorfloat32_is_used_when_asked_for_alone():
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [place.fp32_precision for place in places]
    for precision, expected in {"float32": "ieee", "float64": "ieee", "tf32": "tf32", "bfloat16": "ieee"}.items():
        with arithmetic(precision):
            assert [place.fp32_precision for place in places] == [expected] * 2
        assert [place.fp32_precision for place in places] == before
    with pytest.raises(RuntimeError), arithmetic("tf32"):
        raise RuntimeError
    assert [place.fp32_precision for place in places] == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_tensorfloat32_without_a_gpu_is_explained(digits):
    with explains("'tf32'", "NVIDIA GPU", "'cpu'", "'float32'"):
        mc.sweep_segment(digits, points=3, precision="tf32")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_reduced_precision_on_a_gpu_states_its_error(precision):
    modes = mc.open_modes("digits-convnet")
    exact, rounded = (mc.sweep_plane(modes, resolution=9, device="cuda", precision=p) for p in ("float32", precision))
    assert json.loads(rounded.attrs["precision_error"])["loss"] <= abs(rounded.loss - exact.loss).max() * (1 + 1e-6)


def test_the_faster_strategy_is_measured_once(digits, monkeypatch):
    model, x = digits.model, digits.test.x
    program = program_of(model, x)
    measured = []
    times = {"loop": 3.0, "vmap": 1.0}
    monkeypatch.setattr(
        plans, "_seconds", lambda works, device: measured.append({k: w() for k, w in works.items()}) or times
    )
    program.schedules.clear()
    assert [faster_strategy(program, digits.params["A"], x) for _ in range(2)] == ["vmap"] * 2
    assert len(measured) == 1
    with torch.no_grad():
        expected = functional_call(model, digits.params["A"], (x[:256],))
    for strategy in times:
        torch.testing.assert_close(measured[0][strategy][3], expected)
    program.schedules.clear()
