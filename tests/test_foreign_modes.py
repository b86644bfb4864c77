"""Folders of other people's checkpoints, and the catalogue of the user."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from alerts import said
from explained import explains
from test_foreign import OPTIONS
from torch import nn

import modecomb_viz as mc
from modecomb_viz.architectures import build, params_of
from modecomb_viz.checkpoints import Recipe, add_modes, described, open_modes, params_hash, read_recipe
from modecomb_viz.executor import InlineExecutor


@pytest.fixture
def folder(tmp_path):
    """Two checkpoints of a convnet for digits, without a recipe."""
    for seed, mode in enumerate(("one", "two")):
        torch.save(build("convnet", seed=seed, **OPTIONS).state_dict(), tmp_path / f"{mode}.pt")
    return tmp_path


ARCHITECTURE = {"name": "convnet", **OPTIONS}


def test_a_folder_of_checkpoints_opens_with_an_architecture(folder):
    modes = open_modes(folder, architecture=ARCHITECTURE, data="digits")
    assert list(modes.params) == ["one", "two"]
    assert mc.sweep_segment(modes, a="one", b="two", points=3, repair="batchnorm").loss.notnull().all()
    with explains("no recipe.toml", "--architecture"):
        open_modes(folder)


def test_a_recipe_may_name_its_files_but_none_outside(folder):
    recipe = (
        'description = "x"\ndata = "digits"\n[architecture]\nname = "convnet"\nchannels = [4, "M", 6]\ninputs = 1\n'
    )
    (folder / "recipe.toml").write_text(recipe + '[files]\nA = "two.pt"\nB = "one.pt"\n')
    assert params_hash(open_modes(folder).params["A"]) == params_hash(params_of(build("convnet", seed=1, **OPTIONS)))
    for outside in ("../x.pt", "/etc/passwd", "a/b.pt"):
        (folder / "recipe.toml").write_text(recipe + f'[files]\nA = "{outside}"\nB = "one.pt"\n')
        with explains("must be a name inside the folder", outside):
            open_modes(folder)


def test_code_is_run_only_where_it_is_trusted(folder, monkeypatch):
    (folder / "owncode.py").write_text(
        "from modecomb_viz.architectures import ConvNet\n"
        "from pathlib import Path\n"
        "Path('imported').touch()\n"
        "def make(): return ConvNet(channels=[4, 'M', 6], inputs=1)\n"
        "value = 3\n"
        "def text(): return 'x'\n"
        "def fails(): return {}['x']\n"
        "class Nets:\n"
        "    def half():\n"
        "        from sibling import nn\n"
        "        return nn.Linear(2, 2).bfloat16()\n"
    )
    monkeypatch.chdir(folder)
    given = {"architecture": {"name": "owncode:make"}, "data": "digits"}
    with explains("would run the code of owncode", "--trust-code", "trust_code=True"):
        open_modes(folder, **given)
    assert not Path("imported").exists()
    assert list(open_modes(folder, **given, trust_code=True).params) == ["one", "two"]
    (folder / "broken.py").write_text("def make(:\n")
    (folder / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    (folder / "sibling.py").write_text("from torch import nn\n")
    for name, words in {
        "owncode:none": "no 'none' in 'owncode'",
        "nowhere:make": "no 'make' in 'nowhere'",
        "owncode:value": "must be callable",
        "owncode:text": "gives a str",
        "owncode:fails": "cannot be built with no options: KeyError: 'x'",
        "broken:make": "no 'make' in 'broken': SyntaxError",
        "leaves:make": "no 'make' in 'leaves': SystemExit",
        ".owncode:make": "no 'make' in '.owncode': TypeError",
    }.items():
        with explains(words):
            open_modes(folder, **given | {"architecture": {"name": name}}, trust_code=True)
    assert build("owncode:Nets.half", trust_code=True).weight.dtype == torch.float32
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "owncode.py").write_text("make = None\n")
    monkeypatch.chdir(folder / "elsewhere")
    with explains("another 'owncode' is in use already", str(folder)):
        build("owncode:make", trust_code=True)


def test_the_page_runs_no_code_of_the_user_catalogue(folder, monkeypatch):
    monkeypatch.setenv("MODECOMB_MODES", str(folder / "catalogue"))
    monkeypatch.chdir(folder)
    (folder / "mynets.py").write_text("from modecomb_viz.architectures import ConvNet\nmake = ConvNet\n")
    given = {"architecture": {"name": "mynets:make", **OPTIONS}, "data": "digits"}
    add_modes("own", open_modes(folder, **given, trust_code=True))
    monkeypatch.chdir(folder.parent)  # the recipe says where the code is
    assert list(open_modes("own").params) == ["one", "two"]
    explorer = mc.Explorer("digits-mlp", executor=InlineExecutor(), resolution=9, draws=8)
    explorer.choose({"modes_name": "own", "strength": "0.5"})
    assert "would run the code of mynets" in said(explorer.alert)
    assert (explorer.state.modes_name, explorer.state.strength) == ("digits-mlp", 0.5)
    with explains("would run the code of mynets"):
        explorer.state.made_of({"modes_name": "own", "draws": "16"})
    explorer.state.strength = 0.3
    assert not explorer.alert.visible
    explorer.state.modes_name = "own"
    assert "would run the code of mynets" in said(explorer.alert)
    assert (explorer.state.modes_name, explorer.results.error) == ("digits-mlp", "")
    explorer.state.modes_name = "digits-convnet"
    assert not explorer.alert.visible


def test_a_folder_may_hold_a_mode_only_once_and_its_data(folder, arrays):
    numbers = {k: torch.as_tensor(v) for k, v in arrays.items()}
    torch.save(numbers, folder / "data.pt")
    given = {"architecture": ARCHITECTURE, "data": {"file": "data.pt", "mean": 0.5, "std": 0.5}}
    modes = open_modes(folder, **given)
    assert list(modes.params) == ["one", "two"]
    assert modes.recipe.data["file"] == str(folder / "data.pt")
    torch.save({}, folder / "one.pth")
    with explains("'one.pt' and 'one.pth'", "two checkpoints of mode one"):
        open_modes(folder, **given)


def test_what_a_recipe_cannot_hold_is_left_out_or_said_before_anything_is_written(folder, monkeypatch):
    monkeypatch.setenv("MODECOMB_MODES", str(folder / "catalogue"))
    modes = open_modes(folder, architecture=ARCHITECTURE | {"side": 0}, data="digits")
    recipe = modes.recipe
    for option, name in ((None, "none"), (Path("a"), "path")):
        object.__setattr__(modes, "recipe", replace(recipe, architecture=recipe.architecture | {"x": option}))
        add_modes(name, modes)
        table = read_recipe(folder / "catalogue" / name / "recipe.toml").architecture
        assert table.get("x") == (option and "a")
    object.__setattr__(modes, "recipe", replace(recipe, architecture=recipe.architecture | {"x": object()}))
    with explains("cannot be written as a recipe"):
        add_modes("object", modes)
    assert not (folder / "catalogue" / "object").exists()


def test_an_architecture_may_be_given_as_its_name_alone(folder):
    with explains("one.pt", "is missing 'fc1.bias'"):
        open_modes(folder, architecture="mlp", data="digits")
    with explains("must be a name or a table", "got Sequential", "make a ModeSet"):
        Recipe(description="", architecture=nn.Sequential(), data="digits")
    with explains("no modes called 'xxx"):
        open_modes("x" * 5000)


def test_modes_are_added_to_the_catalogue(folder, monkeypatch):
    monkeypatch.setenv("MODECOMB_MODES", str(folder / "catalogue"))
    modes = open_modes(folder, architecture=ARCHITECTURE, data="digits")
    add_modes("mine", modes, {"one": {"test_accuracy": 0.5}})
    again = open_modes("mine")
    assert again.hashes == modes.hashes
    assert "mine" in mc.catalogue()
    with explains("has 'mine' already"):
        add_modes("mine", modes)
    with explains("has 'digits-mlp' already"):
        add_modes("digits-mlp", modes)
    for name in ("../x", "a b", "", ".hidden", "x" * 65):
        with explains("letters, digits"):
            add_modes(name, modes)


def test_descriptions_are_read_from_texts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert described("torchvision:resnet18", ["num_classes=10", "x=[1, 2]", "norm=batch", 'y="z"'], "cifar10") == {
        "architecture": {"name": "torchvision:resnet18", "num_classes": 10, "x": [1, 2], "norm": "batch", "y": "z"},
        "data": "cifar10",
    }
    assert described("", [], "a.npz", [0.5], [0.25]) == {"data": {"file": "a.npz", "mean": [0.5], "std": [0.25]}}
    with explains("NAME=VALUE", "'classes'"):
        described("mlp", ["classes"])
    with explains("options belong to an architecture"):
        described("", ["a=1"])
    for option in (["name=mlp"], ["a=1", "a=2"]):
        with explains("is given twice"):
            described("resnet", option)
    for data in ("digits", ""):
        with explains("mean and std belong to a data file"):
            described("mlp", [], data, [0.5], [0.5])
