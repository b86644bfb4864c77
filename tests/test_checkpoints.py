"""Checkpoints are untrusted: round trips, and a message for everything that does not fit."""

import os
import pickle
import shutil

import pytest
import torch
from explained import explains

import modecomb_viz as mc
from modecomb_viz.architectures import build, build_from
from modecomb_viz.checkpoints import catalogue, mode_metadata, params_hash, read_recipe
from modecomb_viz.data import Split


@pytest.fixture
def model():
    return build("mlp", widths=[64, 16, 10])


@pytest.fixture
def params(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_safetensors_round_trip(model, params, tmp_path):
    path = mc.save_params(params, tmp_path / "a.safetensors", {"seed": 3, "name": "x"})
    loaded = mc.load_params(path, model)
    assert params_hash(loaded) == params_hash(params)
    assert mode_metadata(path).values == {"seed": 3, "name": "x"}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_torch_round_trip(model, params, tmp_path, suffix, legacy):
    path = tmp_path / f"a{suffix}"
    torch.save(params, path, _use_new_zipfile_serialization=not legacy)
    assert params_hash(mc.load_params(path, model)) == params_hash(params)


def test_batchnorm_counter_is_left_out(tmp_path):
    model = build("convnet", inputs=1)
    torch.save(model.state_dict(), tmp_path / "a.pt")
    loaded = mc.load_params(tmp_path / "a.pt", model)
    assert not any("num_batches" in name for name in loaded)
    assert "norm1.running_var" in loaded


def test_hash_sees_names_values_and_shapes(params):
    base = params_hash(params)
    changed = {**params, "fc1.bias": params["fc1.bias"] + 1e-7}
    renamed = {name.replace("fc1", "fc9"): tensor for name, tensor in params.items()}
    assert len({base, params_hash(changed), params_hash(renamed)}) == 3


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (os.environ["BOMB"],)


def test_a_pickle_that_holds_code_is_refused_and_not_run(model, tmp_path, monkeypatch):
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    for path in (tmp_path / "a.pt", tmp_path / "b.pt"):
        torch.save({"fc1.weight": Bomb()}, path)
    (tmp_path / "c.pt").write_bytes(pickle.dumps(Bomb()))
    torch.save(model, tmp_path / "d.pt")
    for name in "abcd":
        with explains(f"{name}.pt", "holds more than tensors", "convert it", ".state_dict()"):
            mc.load_params(tmp_path / f"{name}.pt", model)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_damaged_files_are_said_to_be_so(model, params, tmp_path, suffix):
    whole = tmp_path / f"whole{suffix}"
    mc.save_params(params, whole) if suffix == ".safetensors" else torch.save(params, whole)
    content = whole.read_bytes()
    for cut in (0, 1, 8, len(content) // 2, len(content) - 1):
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(content[:cut])
        with explains(f"cut{suffix}"):
            mc.load_params(path, model)


def test_checkpoints_of_another_network(model, params, tmp_path):
    def load(changed):
        return mc.load_params(mc.save_params(changed, tmp_path / "x.safetensors"), model)

    without = {name: tensor for name, tensor in params.items() if name != "fc2.bias"}
    with explains("x.safetensors' is missing 'fc2.bias'", "4 tensors", "3", "same architecture?"):
        load(without)
    with explains("does not know 'fc3.bias'"):
        load({**params, "fc3.bias": torch.zeros(2)})
    with explains("'fc1.weight' is (8, 64), expected (16, 64)", "another width"):
        load({**params, "fc1.weight": torch.zeros(8, 64)})


def test_oversized_missing_and_unknown_files(model, params, tmp_path):
    mc.save_params({**params, "optimiser": torch.zeros(10**6)}, tmp_path / "big.safetensors")
    with explains("big.safetensors", "bytes, more than", "another network"):
        mc.load_params(tmp_path / "big.safetensors", model)
    with explains("no checkpoint at", "none.pt"):
        mc.load_params(tmp_path / "none.pt", model)
    with explains("must end in .safetensors, .pt, .pth", "a.onnx"):
        mc.load_params(tmp_path / "a.onnx", model)
    torch.save([1, 2], tmp_path / "list.pt")
    with explains("holds no state dict"):
        mc.load_params(tmp_path / "list.pt", model)


def test_unwritable_paths(params):
    with explains("cannot write '/proc/x.safetensors'", "Choose a folder"):
        mc.save_params(params, "/proc/x.safetensors")
    with explains("must end in '.safetensors'", "x.bin"):
        mc.save_params(params, "x.bin")


def test_catalogue_is_small_and_complete():
    assert set(catalogue()) == {"digits-mlp", "digits-resnet", "digits-convnet"}
    files = [path for folder in catalogue().values() for path in folder.glob("*.safetensors")]
    assert len(files) == 9
    assert sum(path.stat().st_size for path in files) <= 12 * 10**6


@pytest.mark.parametrize(
    "name", ["digits-mlp", *(pytest.param(n, marks=pytest.mark.slow) for n in ("digits-convnet", "digits-resnet"))]
)
def test_embedded_accuracies_are_what_the_files_say(name):
    modes = mc.open_modes(name)
    assert list(modes.params) == ["A", "B", "C"]
    for mode, params in modes.params.items():
        stated = mode_metadata(catalogue()[name] / f"{mode}.safetensors").values
        stacked = {key: tensor[None] for key, tensor in params.items()}
        for split in ("test", "train"):
            measured = mc.evaluate(modes.model, stacked, modes.split(split))
            assert measured["accuracy"].item() == pytest.approx(stated[f"{split}_accuracy"], abs=0.003)
            assert measured["loss"].item() == pytest.approx(stated[f"{split}_loss"], rel=1e-3)
        assert stated["seed"] == modes.recipe.seeds[mode]
        assert stated["test_accuracy"] > 0.97


def test_unknown_names_list_the_catalogue(tmp_path):
    with explains("no modes called 'digit'", "digits-mlp, digits-resnet", "folder of checkpoints"):
        mc.open_modes("digit")
    with explains(str(tmp_path), "no recipe.toml", "--architecture"):
        mc.open_modes(tmp_path)


def test_a_folder_with_weights_of_another_architecture(tmp_path):
    shutil.copytree(catalogue()["digits-mlp"], tmp_path / "mixed")
    shutil.copy(catalogue()["digits-resnet"] / "B.safetensors", tmp_path / "mixed" / "B.safetensors")
    with explains("B.safetensors", "is missing 'fc1.bias'", "does not know", "same architecture?"):
        mc.open_modes(tmp_path / "mixed")


def test_bad_recipes(tmp_path):
    path = tmp_path / "recipe.toml"
    with explains("cannot read the recipe", "recipe.toml"):
        read_recipe(path)
    path.write_text("not toml")
    with explains("cannot read the recipe"):
        read_recipe(path)
    path.write_text('description = "x"\n')
    with explains("has the entries description", "needs description, architecture, data", "seeds"):
        read_recipe(path)
    head, net = 'description = "x"\ndata = "digits"\n', '[architecture]\nname = "mlp"\n'
    for text, words in {
        head + "[architecture]\nwidth = 3\n": "needs a name",
        head + "[architecture]\nname = 3\n": "needs a name",
        head + net + '[seeds]\n"../escaped" = 0\n': "got '../escaped'",
        head + net + '[seeds]\nA = "one"\n': "[seeds] must give one int per mode",
        head + net + '[files]\n"../../pwn" = "a.pt"\n': "got '../../pwn'",
        head + net + "[files]\nA = 3\n": "[files] must give one str per mode",
        'description = "x"\n' + net + "[data]\n": "got nothing",
        'description = "x"\n' + net + "[data]\nfile = 3\n": "must be the name of a file, got 3",
        'description = "x"\n' + net + '[data]\nfile = "a.npz"\nmean = {a = 1}\n': "mean of the data must be a number",
    }.items():
        path.write_text(text)
        with explains(str(path), words):
            read_recipe(path)


class Sequence(torch.nn.Module):
    """A network whose output has an axis too many."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.eval()

    def forward(self, x):
        return self.network(x)[..., None]


class Table(Sequence):
    """A network that gives a table of outputs."""

    def forward(self, x):
        return {"logits": self.network(x)}


def test_mode_sets_check_their_parts(digits):
    a, split = digits.params["A"], digits.test
    with explains("at least two modes", "'one'"):
        mc.ModeSet(name="one", model=digits.model, params={"A": a}, test=split, train=split)
    with explains("mode B of 'x'", "is missing 'fc1.bias'"):
        broken = {name: tensor for name, tensor in a.items() if name != "fc1.bias"}
        mc.ModeSet(name="x", model=digits.model, params={"A": a, "B": broken}, test=split, train=split)
    with explains("'x' is in training mode"):
        mc.ModeSet(name="x", model=build("mlp").train(), params={"A": a, "B": a}, test=split, train=split)
    for mode in ("../esc", "run1/last", ".hidden", "", "x" * 65):
        with explains("the name of a mode has letters, digits"):
            mc.ModeSet(name="x", model=digits.model, params={"A": a, mode: a}, test=split, train=split)
    with explains("mode B of 'x' has values that are not finite in 'fc1.bias'"):
        broken = a | {"fc1.bias": a["fc1.bias"] * torch.nan}
        mc.ModeSet(name="x", model=digits.model, params={"A": a, "B": broken}, test=split, train=split)
    with explains("the train split of 'x' has the label 10", "10 classes"):
        beyond = split._replace(y=split.y + 1)
        mc.ModeSet(name="x", model=digits.model, params={"A": a, "B": a}, test=split, train=beyond)
    for wrapped, words in {Sequence: "it is float32 (2, 10, 1)", Table: "it is dict"}.items():
        model = wrapped(digits.model)
        own = {f"network.{name}": tensor for name, tensor in a.items()}
        with explains("must be one tensor of floats [example, class]", words):
            mc.ModeSet(name="x", model=model, params={"A": own, "B": own}, test=split, train=split)
    with explains("Linear cannot be traced", "(2, 1, 8, 8)", "PermutationSpec"):
        linear = torch.nn.Linear(64, 10).eval()
        own = dict(linear.state_dict())
        mc.ModeSet(name="x", model=linear, params={"A": own, "B": own}, test=split, train=split)
    with explains("'train' or 'test'", "'dev'"):
        digits.split("dev")


def test_architectures_explain_themselves():
    with explains("no architecture 'mpl'", "mlp, convnet, resnet"):
        build("mpl")
    with explains("'mlp' does not take", "depth"):
        build("mlp", depth=3)
    with explains("6n + 2", "21"):
        build("resnet", depth=21)
    with explains("norm must be one of batch, layer, none", "'group'"):
        build("convnet", norm="group")
    with explains("'mlp' does not take", "seed"):
        build_from({"name": "mlp", "seed": 3})
    with explains("'mlp' does not take", "trust_code"):
        build_from({"name": "mlp", "trust_code": True})
    with explains("'mlp' cannot be built with widths=[-1, 2]: RuntimeError"):
        build("mlp", widths=[-1, 2])
    with explains("'torchvision:resnet18' cannot be built with depth=3: TypeError"):
        build("torchvision:resnet18", depth=3)


def test_splits_move(digits):
    moved = digits.test.to("cpu", torch.float64)
    assert isinstance(moved, Split)
    assert (moved.x.dtype, moved.y.dtype) == (torch.float64, torch.int64)
