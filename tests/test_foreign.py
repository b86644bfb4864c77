"""Other people's checkpoints: every format and wrapping is read, every mismatch explained, nothing in a file is run."""

import argparse
import copy
import io
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from explained import explains
from safetensors.torch import save_file
from torch import nn

import modecomb_viz as mc
from modecomb_viz.architectures import build, params_of
from modecomb_viz.checkpoints import params_hash

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
