"""Tracing: the groups that a network has, and the proof that permuting them changes nothing."""

from dataclasses import dataclass, replace

import pytest
import torch
from cases import CASES
from explained import explains
from hypothesis import HealthCheck, given, settings
from networks import Tied, kinds, networks
from torch import nn
from torch.func import functional_call

import modecomb_viz as mc
from modecomb_viz.architectures import build, params_of
from modecomb_viz.hypercube import sample_coefficients
from modecomb_viz.permutation import random_permutation
from modecomb_viz.tracing import prove
from modecomb_viz.tracing.layout import Symmetry, fresh, is_fixed, resolve

KINDS = {kind.name: kind for kind in kinds()}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_layer_has_the_groups_it_has(name):
    kind = KINDS[name]
    spec = mc.trace_permutation_spec(kind.module.eval(), kind.example())
    assert sorted(spec.sizes.values()) == sorted(kind.groups), f"\n{spec}"
    assert spec.permuted_share > 0.5 or not kind.groups


@pytest.mark.parametrize("name", KINDS)
def test_tracing_leaves_the_network_as_it_was(name):
    model, x = KINDS[name].module.eval(), KINDS[name].example()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    attributes = [dict(module.__dict__) for module in model.modules()]
    mc.trace_permutation_spec(model, x)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert [list(module.__dict__) for module in model.modules()] == [list(kept) for kept in attributes]
    assert all(module.__dict__.get("seen") is None for module in model.modules())


def test_rows_that_the_example_does_not_read_stay():
    kind = KINDS["positions, of which the example reads some"]
    spec = mc.trace_permutation_spec(kind.module.eval(), kind.example())
    assert spec.axes_to_perm["1.positions"] == (None, "P_0")
    assert "1.fixed" not in spec.axes_to_perm
    longer = torch.randn(2, 9, 4)
    permuted = mc.apply_permutation(spec, random_permutation(spec, 1), params_of(kind.module))
    for x in (kind.example(), longer):
        torch.testing.assert_close(functional_call(kind.module, permuted, (x,)), kind.module(x), rtol=1e-4, atol=1e-5)


def test_the_units_of_a_matrix_stored_as_in_out_lie_along_its_second_axis():
    kind = KINDS["stored as (in, out)"]
    spec = mc.trace_permutation_spec(kind.module.eval(), kind.example())
    assert spec.unit_axes == {"0.weight": 1}
    assert {spec.layers[name] for name in ("0.weight", "0.bias", "1.weight")} == {"0"}
    assert spec.writers == {"P_0": ["0"]}


def test_a_trained_variance_and_a_masked_output_can_be_proven():
    network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 4, 1), Masked()).eval()
    network[1].running_var = torch.randn(64, generator=torch.Generator().manual_seed(0)).mul(2).exp()
    assert mc.trace_permutation_spec(network, torch.randn(2, 3, 5, 5)).sizes == {"P_0": 64}


class Masked(nn.Module):
    """Minus infinity for one class, and a dataclass around."""

    def forward(self, x):
        return Answer(x.masked_fill(torch.arange(4)[:, None, None] == 1, -torch.inf), "text")


@dataclass
class Answer:
    logits: torch.Tensor
    text: str


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_our_architectures_are_permuted_almost_whole(case):
    spec = case.spec()
    assert spec.permuted_share > 0.98
    assert not spec.notes


def test_a_mlp_has_the_table_of_git_rebasin():
    spec = mc.trace_permutation_spec(build("mlp", widths=[4, 6, 5, 3]), torch.rand(2, 1, 2, 2))
    assert spec.axes_to_perm == {
        "fc1.weight": ("P_0", None),
        "fc1.bias": ("P_0",),
        "fc2.weight": ("P_1", "P_0"),
        "fc2.bias": ("P_1",),
        "fc3.weight": (None, "P_1"),
        "fc3.bias": (None,),
    }
    assert spec.sizes == {"P_0": 6, "P_1": 5}


def test_a_flattened_channel_is_a_block():
    spec = mc.trace_permutation_spec(KINDS["flatten"].module, KINDS["flatten"].example())
    assert spec.axes_to_perm["3.weight"] == (None, (("P_0", 9),))


def test_a_concatenation_is_made_of_pieces():
    spec = mc.trace_permutation_spec(KINDS["dense block"].module, KINDS["dense block"].example())
    assert spec.axes_to_perm["1.weight"][:2] == ("P_1", ((None, 3), ("P_0", 1)))


def test_heads_are_blocks_of_all_three_projections():
    kind = KINDS["attention"]
    spec = mc.trace_permutation_spec(kind.module.eval(), kind.example())
    heads, stream = spec.axes_to_perm["2.attention.in_proj_weight"]
    assert [block for _, block in heads] == [2, 2, 2]
    assert len({group for group, _ in heads}) == 1
    assert stream == "P_0"
    assert any("whole blocks of 2, 4 of them" in note for note in spec.notes)


def test_norms_belong_to_the_one_layer_that_feeds_them():
    spec = mc.trace_permutation_spec(build("resnet", depth=8, base=4, norm="batch"), torch.randn(1, 3, 8, 8))
    assert spec.layers["norm1.running_var"] == "conv1"
    assert spec.layers["blocks.s2b1.shortcut_norm.weight"] == "blocks.s2b1.shortcut"
    assert spec.statistics == {name for name in spec.shapes if "running" in name}
    after_a_sum = nn.Sequential(KINDS["projected residual"].module[0], nn.LayerNorm(6), nn.Linear(6, 2)).eval()
    assert mc.trace_permutation_spec(after_a_sum, torch.randn(2, 4)).layers["1.weight"] == "1"


def test_the_units_of_a_transposed_convolution_lie_along_its_second_axis():
    kind = KINDS["transposed"]
    spec = mc.trace_permutation_spec(kind.module, kind.example())
    assert spec.unit_axes == {"0.weight": 1, "2.weight": 1}
    assert spec.layers["0.bias"] == "0"
    draw = sample_coefficients(spec, "uniform", granularity="unit", n=2)
    assert draw["0.weight"].shape == (2, 1, 6, 1, 1)
    assert torch.equal(draw["0.weight"].flatten(1), draw["0.bias"])


def test_tied_weights_share_axes_layer_and_coefficients():
    spec = mc.trace_permutation_spec(Tied().eval(), KINDS["tied weights"].example())
    assert spec.tied == {"head.weight": "embed.weight"}
    assert spec.axes_to_perm["head.weight"] == spec.axes_to_perm["embed.weight"] == (None, "P_0")
    for granularity in ("layer", "unit", "weight"):
        draw = sample_coefficients(spec, "uniform", granularity=granularity, n=2)
        assert torch.equal(draw["head.weight"], draw["embed.weight"])


def test_what_is_unknown_stays_and_is_named():
    kind = KINDS["unknown operation"]
    spec = mc.trace_permutation_spec(kind.module.eval(), kind.example())
    assert spec.permuted_share == 0
    assert any("sort" in note and "'fc1'" in note for note in spec.notes)


def test_weights_without_a_part_stay_and_are_named():
    spec = mc.trace_permutation_spec(WithUnused().eval(), torch.randn(2, 4))
    assert spec.axes_to_perm["unused.weight"] == (None, None)
    assert any("'unused.weight' and 1 more" in note for note in spec.notes)


@pytest.mark.parametrize("case", CASES[:6], ids=lambda case: case.name)
def test_the_proof_finds_every_wrong_line_of_a_table(case):
    spec, model, x = case.spec(), case.model(), (case.inputs(2),)
    prove(spec, model, x)
    for name, axes in spec.axes_to_perm.items():
        for axis, entry in enumerate(axes):
            if entry is not None:
                broken = {**spec.axes_to_perm, name: (*axes[:axis], None, *axes[axis + 1 :])}
                with explains("changes its function", "permuting P_", "layers"):
                    prove(replace(spec, axes_to_perm=broken, group_sizes=spec.sizes), model, x)


def test_a_wrong_rule_is_never_returned(monkeypatch):
    from modecomb_viz.tracing import trace

    monkeypatch.setitem(trace._RULES, "cumsum", lambda reading, call: [call["self"]])
    network = nn.Sequential(nn.Linear(4, 5), Cumulated(), nn.Linear(5, 2)).eval()
    with explains("Sequential changes its function", "P_0", "'0', '2'"):
        mc.trace_permutation_spec(network, torch.randn(2, 4))


class WithUnused(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(4, 5), nn.Linear(3, 4)

    def forward(self, x):
        return self.used(x)


class Cumulated(nn.Module):
    def forward(self, x):
        return x.cumsum(1)


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(x) + torch.rand(5)


class Raises(nn.Module):
    def forward(self, x):
        raise KeyError("no such key")


class Item(nn.Module):
    def forward(self, x):
        return x * x.max().item()


class Nothing(nn.Module):
    def forward(self, x):
        return "text"


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(x) if x.sum() > 0 else -self.fc(x)


@pytest.mark.parametrize(
    ("network", "x", "words"),
    [
        (nn.Linear(3, 2), torch.rand(2, 3), ["Linear is in training mode", "model.eval()"]),
        (nn.Linear(3, 2).eval(), torch.zeros(2, 3), ["the example input", "(2, 3)", "constant"]),
        (nn.Linear(3, 2).eval(), torch.rand(2, 4), ["Linear cannot be traced", "(2, 4)", "PermutationSpec"]),
        (Branching().eval(), torch.rand(2, 4), ["Branching cannot be traced", "branch on values"]),
        (Noisy().eval(), torch.rand(2, 4), ["outputs of Noisy are random"]),
        (Raises().eval(), torch.rand(2, 4), ["Raises cannot be traced", "no such key"]),
        (
            nn.Sequential(nn.Linear(4, 2), Item()).eval(),
            torch.rand(2, 4),
            ["cannot be traced", "numbers or sizes in Python"],
        ),
        (nn.Sequential(Nothing()).eval(), torch.rand(2, 4), ["it gives no tensor"]),
    ],
)
def test_what_cannot_be_traced_is_explained(network, x, words):
    with explains(*words):
        mc.trace_permutation_spec(network, x)


def test_the_table_says_which_groups_are_shared_and_how_much_is_permuted():
    spec = mc.trace_permutation_spec(KINDS["residual"].module, KINDS["residual"].example())
    text = str(spec)
    assert "2.weight         2×6    fixed, shared P_0" in text
    assert "P_0    6      shared    0, 1.body.2" in text
    assert "P_1    5      permuted  1.body.0" in text
    assert "of the weights lie on a permuted axis." in text


_FOUND = []


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(networks())
def test_random_networks_are_proven_and_all_their_groups_found(drawn):
    network, groups = drawn
    spec = mc.trace_permutation_spec(network, torch.randn(2, 2, 6, 6))
    assert sorted(spec.sizes.values()) == groups, f"\n{network}\n{spec}"
    _FOUND.append(len(groups))


def test_all_200_random_networks_were_tried():
    assert len(_FOUND) >= 200
    assert sum(_FOUND) > 400


@pytest.mark.parametrize("seed", range(20))
def test_constraints_commute_in_what_they_leave_free(seed):
    """Tying a to b and cutting both gives the same lengths of free pieces in either order."""
    generator = torch.Generator().manual_seed(seed)
    n, block = torch.randint(2, 6, (2,), generator=generator).tolist()
    at = torch.randint(1, n * block, (), generator=generator).item()
    outcomes = []
    for cut_first in (True, False):
        symmetry, fine, coarse = Symmetry(), fresh(n * block), fresh(n)
        scaled = tuple(piece._replace(block=block) for piece in coarse)
        if cut_first:
            symmetry.cut(fine, at)
        symmetry.tie(fine, scaled)
        symmetry.cut(fine, at)
        outcomes.append([(p.symbol.size if p.symbol else 0, p.block) for p in resolve(fine)])
        assert resolve(fine) == resolve(scaled)
    assert outcomes[0] == outcomes[1]


def test_a_product_is_left_open_until_one_side_is_fixed():
    for fixed_side in (0, 1):
        symmetry, flat, dims = Symmetry(), fresh(12), (fresh(3), fresh(4))
        symmetry.product(flat, dims, "here")
        symmetry.fix(dims[fixed_side])
        symmetry.settle()
        assert not symmetry.decided
        assert not is_fixed(flat)
        assert [(p.symbol.size, p.block) for p in resolve(flat)] == [[(4, 1)] * 3, [(3, 4)]][fixed_side]
