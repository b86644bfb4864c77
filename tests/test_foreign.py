"""Other people's files: every format and wrapping is read, every mismatch explained, nothing in a file is run."""

import argparse
import copy
import io
import pickle
import pickletools
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from explained import explains
from safetensors.torch import save_file
from torch import nn

import modecomb_viz as mc
from modecomb_viz.architectures import build, params_of
from modecomb_viz.checkpoints import Recipe, add_modes, described, open_modes, params_hash, read_recipe

OPTIONS = {"channels": [4, "M", 6], "norm": "batch", "inputs": 1}


@pytest.fixture(scope="module")
def model():
    return build("convnet", seed=1, **OPTIONS)


@pytest.fixture(scope="module")
def params(model):
    return params_of(model)


def on_cuda(state: dict, path: Path):
    """A checkpoint that says of all its storages that they lived on a GPU."""
    original = torch.serialization.location_tag
    torch.serialization.location_tag = lambda storage: "cuda:0"
    try:
        torch.save(state, path)
    finally:
        torch.serialization.location_tag = original


FORMATS = {
    "state dict": lambda model, path: torch.save(model.state_dict(), path),
    "legacy": lambda model, path: torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False),
    "on CUDA": lambda model, path: on_cuda(model.state_dict(), path),
    "wrapped": lambda model, path: torch.save({"state_dict": model.state_dict(), "epoch": 3}, path),
    "under model": lambda model, path: torch.save({"model": model.state_dict(), "lr": 0.1, "args": {"a": 1}}, path),
    "with optimiser": lambda model, path: torch.save(trained(model), path),
    "DataParallel": lambda model, path: torch.save(nn.DataParallel(model).state_dict(), path),
    "compiled": lambda model, path: torch.save({f"_orig_mod.{k}": v for k, v in model.state_dict().items()}, path),
    "both": lambda model, path: torch.save({f"_orig_mod.module.{k}": v for k, v in model.state_dict().items()}, path),
    "beside a metric": lambda model, path: torch.save(
        {"epoch": 3, "best_acc1": torch.tensor(71.2), "state_dict": model.state_dict()}, path
    ),
    "averaged": lambda model, path: torch.save({"ema": {"module": model.state_dict()}}, path),
    "with a loss": lambda model, path: torch.save(
        {f"model.{k}": v for k, v in model.state_dict().items()} | {"criterion.weight": torch.ones(3)}, path
    ),
    "with an average": lambda model, path: torch.save(
        {f"{who}.{k}": v for who in ("ema", "model") for k, v in model.state_dict().items()}, path
    ),
    "with an averaged table": lambda model, path: torch.save(
        {"state_dict_ema": {k: v + 1 for k, v in model.state_dict().items()}, "state_dict": model.state_dict()}, path
    ),
    "a compiled part": lambda model, path: torch.save(
        {k.replace("conv1.", "conv1._orig_mod.module."): v for k, v in model.state_dict().items()}, path
    ),
    "under a name of its own": lambda model, path: torch.save(
        {f"body.{k}": v for k, v in model.state_dict().items()}, path
    ),
    "Lightning": lambda model, path: torch.save(
        {"state_dict": {f"model.{k}": v for k, v in model.state_dict().items()}, "hyper_parameters": {}}, path
    ),
}


def trained(model):
    copied = copy.deepcopy(model).train()
    optimizer = torch.optim.Adam(copied.parameters())
    copied(torch.rand(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    copied.load_state_dict(model.state_dict())
    return {"model": copied.state_dict(), "optimizer": optimizer.state_dict()}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("suffix", [".pt", ".PTH.TAR"])
def test_every_wrapping_gives_the_same_weights(model, params, tmp_path, form, suffix):
    FORMATS[form](model, tmp_path / f"x{suffix}")
    assert params_hash(mc.load_params(tmp_path / f"x{suffix}", model)) == params_hash(params)


def test_safetensors_of_other_tools_are_read(model, params, tmp_path):
    save_file({f"module.{k}": v.contiguous() for k, v in params.items()}, tmp_path / "x.safetensors", {"format": "pt"})
    assert params_hash(mc.load_params(tmp_path / "x.safetensors", model)) == params_hash(params)


class Masked(nn.Module):
    """A linear layer with a constant of −∞ in its state."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.register_buffer("mask", torch.triu(torch.full((3, 3), -torch.inf), 1))


def test_a_constant_of_the_network_may_be_infinite(tmp_path):
    model = Masked()
    torch.save(model.state_dict(), tmp_path / "x.pt")
    assert torch.equal(mc.load_params(tmp_path / "x.pt", model)["mask"], model.mask)
    torch.save(model.state_dict() | {"mask": torch.full((3, 3), -torch.inf)}, tmp_path / "x.pt")
    with explains("not finite in 'mask'"):
        mc.load_params(tmp_path / "x.pt", model)


def test_a_network_without_weights_loads_nothing(tmp_path):
    torch.save({}, tmp_path / "x.pt")
    with explains("Flatten has no weights"):
        mc.load_params(tmp_path / "x.pt", nn.Flatten())


def test_a_tied_tensor_may_be_there_once(tmp_path):
    tied = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False)).eval()
    tied[2].weight = tied[0].weight
    save_file({"0.weight": tied[0].weight.detach()}, tmp_path / "x.safetensors")
    loaded = mc.load_params(tmp_path / "x.safetensors", tied)
    assert torch.equal(loaded["0.weight"], loaded["2.weight"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: {k: v for k, v in p.items() if "running" not in k}, ["is missing", "no statistics of BatchNorm"]),
        (lambda p: p | {"norm9.weight": torch.ones(3)}, ["does not know 'norm9.weight'", "another norm"]),
        (lambda p: p | {"fc.weight": torch.ones(7, 6), "fc.bias": torch.ones(7)}, ["(7, 6)", "number of classes"]),
        (lambda p: p | {"fc.weight": torch.ones(6, 10)}, ["'fc.weight' is (6, 10)", "expected (10, 6)"]),
        (lambda p: {f"{k}.x": v for k, v in p.items()}, ["No name fits", "'conv1.weight.x'"]),
        (lambda p: p | {"subnet.weight": torch.ones(3)}, ["does not know 'subnet.weight' (", "same architecture?"]),
        (
            lambda p: {"fc.bias": torch.ones(3), "y": torch.ones(3)},
            ["missing 'conv1.weight'", "not know 'y'", "'fc.bias' is (3,)"],
        ),
        (lambda p: p | {"fc.weight": p["fc.weight"].char()}, ["'fc.weight' is int8", "dense floating-point"]),
        (lambda p: p | {"fc.weight": p["fc.weight"].cfloat()}, ["'fc.weight' is complex64"]),
        (lambda p: p | {"fc.weight": p["fc.weight"].to_sparse()}, ["'fc.weight' is sparse_coo"]),
        (lambda p: p | {"fc.weight": p["fc.weight"].to("meta")}, ["'fc.weight' is without data"]),
        (
            lambda p: {f"{who}.{k}": v for k, v in p.items() for who in ("teacher", "student")},
            ["holds the network several times", "'teacher.', 'student.'"],
        ),
        (lambda p: params_of(build("convnet", **{**OPTIONS, "channels": [8, "M", 12]})), ["2 times as wide"]),
        (lambda p: p | {"conv1.weight": p["conv1.weight"] * torch.nan}, ["not finite in 'conv1.weight'", "diverge"]),
        (lambda p: p | {"fc.bias": torch.full((10,), torch.inf)}, ["not finite in 'fc.bias'"]),
    ],
)
def test_what_does_not_fit_is_named_with_a_guess_why(model, params, tmp_path, change, words):
    torch.save(change(dict(params)), tmp_path / "x.pt")
    with explains("x.pt", *words):
        mc.load_params(tmp_path / "x.pt", model)


@pytest.mark.parametrize(
    "content", [[1, 2], {"epoch": 3}, {}, {"x" * 5000: 1}, torch.ones(3), {1: torch.ones(2)}, "text"]
)
def test_what_is_no_state_dict_is_said_to_be_none(model, tmp_path, content):
    torch.save(content, tmp_path / "x.pt")
    with explains("x.pt", "holds no state dict"):
        mc.load_params(tmp_path / "x.pt", model)


class Bomb:
    """Leaves a trace when a pickle of it is opened."""

    trace: Path

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def repacked(whole: bytes | None, change) -> bytes:
    """A torch file, by default an empty one, whose pickle is changed, packed as small as it goes."""
    contents = {"archive/data.pkl": b""}
    if whole is not None:
        with zipfile.ZipFile(io.BytesIO(whole)) as source:
            contents = {name: source.read(name) for name in source.namelist()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in contents.items():
            target.writestr(name, change(content) if name.endswith("/data.pkl") else content)
    return packed.getvalue()


def scripted() -> bytes:
    """What torch.jit.save writes, as far as its names tell."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}, 2))
        archive.writestr("x/constants.pkl", pickle.dumps((), 2))
    return packed.getvalue()


#: The three pickles that a legacy file begins with.
LEGACY = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))

#: Pickles that take memory or time out of proportion although all of their classes are allowed.
PICKLES = {
    "bytearray": b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "tensor of a size": b"\x80\x02ctorch\nFloatTensor\nJ\xff\xff\xff\x7f\x85R.",
    "called in turn": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nTensor\nNJ\xff\xff\xff\x7f\x85NtR.",
    "unfolding key": b"\x80\x02})" + b"q\x01h\x01h\x01\x87" * 40 + b"Ns.",
    "deep key": b"\x80\x02})" + b"\x85" * 10**6 + b"Ns.",
    "call of a table": b"\x80\x02})R.",
}


def bombs(model, trace: Path) -> dict[str, bytes]:
    """Files that run code when they are unpickled carelessly, or unpack to far more than they are."""
    bomb = Bomb()
    bomb.trace = trace
    files = {}
    for name, content in {"alone": bomb, "in a table": {"fc.bias": bomb}, "module": model}.items():
        for zipped in (True, False):
            buffer = io.BytesIO()
            torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
            files[f"{name}, {'zip' if zipped else 'legacy'}"] = buffer.getvalue()
    files["plain pickle"] = pickle.dumps(bomb)
    files["os.system"] = b"cos\nsystem\n(S'touch " + str(trace).encode() + b"'\ntR."
    files["zip bomb"] = repacked(None, lambda pickled: b"\0" * 200_000_000)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    padded = repacked(buffer.getvalue(), lambda pickled: pickled + b"\0" * 200_000_000)
    files |= {"padded": padded, "padded, with an end": padded + b"PK\x05\x06", "hidden": b"PK\x03\x04" + padded}
    files["long pickle"] = repacked(buffer.getvalue(), lambda pickled: pickled + b"\0" * 2**25)
    for name, pickled in PICKLES.items():
        files[name] = repacked(buffer.getvalue(), lambda _, made=pickled: made)
        files[f"{name}, legacy"] = LEGACY + pickled
    files["script"] = scripted()
    files["pointer"] = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    files["page"] = b"<!doctype html><html>Not found</html>"
    itself = {}
    itself["model"] = itself
    buffer = io.BytesIO()
    torch.save(itself, buffer)
    files["cycle"] = buffer.getvalue()
    buffer = io.BytesIO()
    torch.save({k: v.expand(10**6, *v.shape) for k, v in params_of(model).items()}, buffer)
    files["endless views"] = buffer.getvalue()
    files["deep nesting"] = b"\x80\x02" + b"]" * 100_000 + b"."
    return files


def test_no_bomb_goes_off(model, tmp_path):
    trace = tmp_path / "exploded"
    for name, content in bombs(model, trace).items():
        path = tmp_path / "bomb.pt"
        path.write_bytes(content)
        with explains("bomb.pt"):
            mc.load_params(path, model)
        assert not trace.exists(), name


def test_a_pickled_module_is_refused_with_the_way_to_convert_it(model, tmp_path):
    torch.save(model, tmp_path / "x.pt")
    with explains("more than tensors", "ConvNet", "can run code", "state_dict(), 'weights.pt')", "safetensors"):
        mc.load_params(tmp_path / "x.pt", model)
    torch.save({"state_dict": model.state_dict(), "args": argparse.Namespace(lr=1)}, tmp_path / "x.pt")
    with explains("an object of argparse.Namespace", "content['state_dict'], 'weights.pt')"):
        mc.load_params(tmp_path / "x.pt", model)


def test_what_else_a_file_may_be_is_said(model, tmp_path):
    every = bombs(model, tmp_path / "exploded")
    for name, words in {
        "script": "torch.jit.load(path).state_dict()",
        "pointer": "git lfs pull",
        "page": "is not a whole torch file",
        "zip bomb": "unpacks to 200,000,000 bytes",
        "padded": "unpacks to 200",
        "long pickle": "bytes, more than the",
        "bytearray": "holds a bytearray",
        "tensor of a size": "by calling torch.FloatTensor",
        "called in turn": "by calling torch.Tensor",
        "unfolding key": "unfold to more than",
        "deep key": "more than 100 deep",
    }.items():
        (tmp_path / "x.pt").write_bytes(every[name])
        with explains("x.pt", words):
            mc.load_params(tmp_path / "x.pt", build("mlp") if name == "long pickle" else model)


def damaged(whole: bytes, rng: np.random.Generator):
    """The file cut short, with bits turned, with a piece overwritten, with a piece left out."""
    for cut in rng.integers(0, len(whole), 40):
        yield whole[:cut]
    for _ in range(120):
        flipped = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 4000), rng.integers(1, 9)):
            flipped[place] ^= 1 << rng.integers(8)
        yield bytes(flipped)
    for _ in range(40):
        start = rng.integers(0, len(whole) - 1)
        yield whole[:start] + rng.bytes(min(64, len(whole) - start)) + whole[start + 64 :]
        yield whole[:start] + whole[start + 16 :]


def huge_headers(whole: bytes):
    """A safetensors file whose header says it is enormous, or describes tensors that are not there."""
    for length in (2**63, 2**40, 2**31, len(whole) * 2, 0):
        yield struct.pack("<Q", length) + whole[8:]
    for header in (
        b'{"w":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}',
        b"[]",
        b"{",
        b"{}",
    ):
        yield struct.pack("<Q", len(header)) + header
    overlapping = (
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
    )
    yield struct.pack("<Q", len(overlapping)) + overlapping + b"\0" * 16


def test_damaged_files_give_a_message_and_never_a_crash(model, params, tmp_path, capsys):
    """Truncated, bit-flipped, overwritten, huge-header and wrong-pickle files: a ValueError, or the right shapes."""
    rng, tried, messages = np.random.default_rng(0), 0, []
    sources = {}
    for name, save in {"zip.pt": "state dict", "legacy.pt": "legacy"}.items():
        FORMATS[save](model, tmp_path / name)
        sources[name] = (tmp_path / name).read_bytes()
    mc.save_params(params, tmp_path / "whole.safetensors")
    sources["whole.safetensors"] = (tmp_path / "whole.safetensors").read_bytes()
    for name, whole in sources.items():
        broken = [*damaged(whole, rng), *(huge_headers(whole) if name.endswith("safetensors") else [])]
        for content in broken:
            path = tmp_path / f"broken-{name}"
            path.write_bytes(content)
            tried += 1
            try:
                loaded = mc.load_params(path, model)
            except ValueError as error:
                messages.append((path.name, str(error)))
            else:
                assert {k: v.shape for k, v in loaded.items()} == {k: v.shape for k, v in params.items()}
                assert all(tensor.isfinite().all() for tensor in loaded.values())
    with capsys.disabled():
        print(f" {tried} damaged files tried, {len(messages)} refused, the others differ in a value")
    assert tried >= 700
    assert len(messages) > tried / 2
    assert all(name in text for name, text in messages)


def test_bytes_that_are_pickles_of_every_opcode(model, tmp_path):
    """One file per opcode of the pickle machine, each cut after it: a message for all."""
    for opcode in pickletools.opcodes:
        path = tmp_path / "opcode.pt"
        path.write_bytes(b"\x80\x02" + opcode.code.encode("latin-1") + b"\xff" * 9 + b".")
        with explains("opcode.pt"):
            mc.load_params(path, model)


# folders of checkpoints, and the catalogue


@pytest.fixture
def folder(tmp_path, model):
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
    from modecomb_viz.executor import InlineExecutor
    from modecomb_viz.state import ExplorerState, Results

    monkeypatch.setenv("MODECOMB_MODES", str(folder / "catalogue"))
    monkeypatch.chdir(folder)
    (folder / "mynets.py").write_text("from modecomb_viz.architectures import ConvNet\nmake = ConvNet\n")
    given = {"architecture": {"name": "mynets:make", **OPTIONS}, "data": "digits"}
    add_modes("own", open_modes(folder, **given, trust_code=True))
    monkeypatch.chdir(folder.parent)  # the recipe says where the code is
    assert list(open_modes("own").params) == ["one", "two"]
    state = ExplorerState("digits-mlp")
    results = Results(state, InlineExecutor())
    assert state.choose({"modes_name": "own"}) == []
    assert "would run the code of mynets" in state.refusal
    assert (state.modes_name, results.error) == ("digits-mlp", "")
    state.modes_name = "digits-convnet"
    assert state.refusal == ""


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


# data of one's own


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (20, 1, 8, 8), dtype=np.uint8),
        "y_train": np.arange(20, dtype=np.uint8) % 10,
        "x_test": rng.integers(0, 256, (8, 1, 8, 8), dtype=np.uint8),
        "y_test": np.arange(8) % 10,
    }


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_arrays_in_one_file(tmp_path, arrays, suffix):
    path = tmp_path / f"a{suffix}"
    np.savez(path, **arrays) if suffix == ".npz" else torch.save(
        {k: torch.as_tensor(v) for k, v in arrays.items()}, path
    )
    splits = mc.load_dataset({"file": path.name, "mean": [0.5], "std": [0.25]}, root=tmp_path)
    expected = (torch.as_tensor(arrays["x_test"]).float() / 255 - 0.5) / 0.25
    assert torch.allclose(splits["test"].x, expected)
    assert splits["train"].y.dtype == torch.int64


def test_arrays_in_two_files_beside_the_recipe(tmp_path, arrays):
    for split in ("train", "test"):
        np.savez(tmp_path / f"{split}.npz", x=arrays[f"x_{split}"] / 255.0, y=arrays[f"y_{split}"])
    splits = mc.load_dataset({"train": "train.npz", "test": "test.npz"}, folder=tmp_path)
    assert splits["train"].x.dtype == torch.float32
    assert len(splits["test"].y) == 8
    first = mc.load_dataset({"train": "train.npz", "test": "test.npz", "test_examples": 3}, folder=tmp_path)
    assert torch.equal(first["test"].x, splits["test"].x[:3])
    assert torch.equal(first["train"].y, splits["train"].y)


def test_pairs_and_datasets(arrays):
    x, y = torch.rand(5, 1, 8, 8), torch.arange(5)
    assert torch.equal(mc.as_split((x, y)).x, x)
    dataset = torch.utils.data.TensorDataset(x, y)
    assert torch.equal(mc.as_split(dataset).x, x)
    scaled = mc.as_split((arrays["x_test"], arrays["y_test"]), mean=0.0, std=1.0)
    assert scaled.x.max() <= 1
    for source in (list(dataset), torch.utils.data.DataLoader(dataset, batch_size=2)):
        split = mc.as_split(source)
        assert torch.equal(split.x, x)
        assert torch.equal(split.y, y)
    for dtype in (np.uint16, np.uint32, np.uint64):
        assert mc.as_split((x, np.arange(5, dtype=dtype))).y.tolist() == [0, 1, 2, 3, 4]
    assert mc.as_split((torch.ones(2, 3, dtype=torch.int16), y[:2])).x.dtype == torch.int64


class Fails(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise KeyError("gone")


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([])


class Ragged(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.rand(index + 1), 0


@pytest.mark.parametrize(
    ("source", "keywords", "words"),
    [
        ((np.zeros((2, 1, 2, 2), np.uint8), np.zeros(2, int)), {}, ["uint8", "no normalisation is stated", "mean=0"]),
        ((torch.rand(3, 4), torch.zeros(2, dtype=torch.int64)), {}, ["one entry per example", "(3, 4)", "(2,)"]),
        ((torch.rand(2, 4), torch.rand(2)), {}, ["class indices", "float32"]),
        ((torch.rand(2, 4), torch.tensor([0, -1])), {}, ["class indices", "-1"]),
        ((torch.full((2, 4), torch.nan), torch.zeros(2, dtype=torch.int64)), {}, ["x has values that are not finite"]),
        ((torch.rand(2, 4), torch.zeros(2, dtype=torch.int64)), {"mean": 0.5}, ["mean and std belong together"]),
        (
            (torch.rand(2, 3, 4), torch.zeros(2, dtype=torch.int64)),
            {"mean": [0.1, 0.2], "std": 1.0},
            ["per channel (3)"],
        ),
        ((torch.rand(2, 3, 4), torch.zeros(2, dtype=torch.int64)), {"mean": 0.0, "std": 0.0}, ["std positive"]),
        (Ragged(), {}, ["Ragged must give pairs", "one shape"]),
        (Fails(), {}, ["Fails cannot be read", "KeyError: 'gone'"]),
        (Stream(), {}, ["Stream cannot be read", "needs a length"]),
        ({"x": 1, "y": 2}, {}, ["must be a pair (x, y)", "dict"]),
        (torch.utils.data.TensorDataset(torch.rand(2, 4), torch.rand(2)), {}, ["class indices", "float32"]),
        ((torch.rand(2, 4), np.array(["a", "b"])), {}, ["y must be an array of numbers"]),
        ((torch.rand(2, 4).to_sparse(), torch.zeros(2, dtype=torch.int64)), {}, ["x must be a dense tensor"]),
        ((torch.ones(2, 1, 2, 2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)), {}, ["int64", "no norm"]),
        ((np.ones((2, 4), int), np.zeros(2, int)), {"mean": 0.5, "std": 1.0}, ["x is torch.int64", "only uint8"]),
    ],
)
def test_data_that_does_not_fit_is_explained(source, keywords, words):
    with explains(*words):
        mc.as_split(source, **keywords)


def test_data_files_that_do_not_fit_are_explained(tmp_path, arrays):
    np.savez(tmp_path / "part.npz", x_train=arrays["x_train"])
    np.savez(tmp_path / "objects.npz", **{k: np.array([{}, []], dtype=object) for k in arrays})
    (tmp_path / "text.npz").write_text("x")
    np.savez_compressed(tmp_path / "packed.npz", x_train=np.zeros(200_000_000, np.uint8))
    torch.save({"x_train": torch.ones(2), "y_train": ["a", "b"]}, tmp_path / "words.pt")
    torch.save(Bomb, tmp_path / "code.pt")
    scale = {"mean": [0.5], "std": [0.5]}
    for table, words in [
        ({"file": "none.npz", **scale}, ["no data file 'none.npz'", "MODECOMB_DATA"]),
        ({"file": "part.npz", **scale}, ["part.npz", "holds x_train", "needs x_train and y_train"]),
        ({"file": "objects.npz", **scale}, ["objects.npz", "cannot be read as arrays of numbers"]),
        ({"file": "text.npz", **scale}, ["text.npz", "cannot be read"]),
        ({"file": "code.pt", **scale}, ["code.pt", "holds more than tensors", "torch.save({'x_train': …"]),
        ({"train": "part.npz"}, ["needs either file", "got train"]),
        ({"file": "part.npz", "test_examples": 0}, ["test_examples", "whole number ≥ 1", "got 0"]),
        ({"file": "part.npz", "train_examples": 2.5}, ["train_examples", "whole number ≥ 1", "got 2.5"]),
        ({"file": "part.npz", "scale": 3}, ["got file, scale"]),
        ({"file": "packed.npz"}, ["packed.npz", "unpacks to 200,000"]),
        ({"file": "words.pt"}, ["words.pt", "y_train must be an array of numbers"]),
        ({"file": "x" * 5000 + ".npz"}, ["there is no data file 'xxx"]),
        ({"file": 3}, ["must be the name of a file, got 3"]),
        ({"file": "part.npz", "mean": {"a": 1}}, ["mean of the data must be a number"]),
    ]:
        with explains(*words):
            mc.load_dataset(table, root=tmp_path)
