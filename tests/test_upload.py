"""Networks from a browser, without one: the messages of its button, then "Open"."""

import os
import pickle
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from alerts import said
from explained import explains
from safetensors.torch import load_file, save

import modecomb_viz as mc
from modecomb_viz.checkpoints import catalogue
from modecomb_viz.executor import InlineExecutor
from modecomb_viz.state import ExplorerState
from modecomb_viz.state.uploads import Arriving, offered_data, offered_options, open_uploaded

OPTIONS = "widths=[64, 512, 512, 10]"


def content(mode: str, modes: str = "digits-mlp") -> bytes:
    return (catalogue()[modes] / f"{mode}.safetensors").read_bytes()


def arrived(data: bytes, name: str = "run.safetensors") -> Arriving:
    file = Arriving()
    if data:
        file.take(name, 1, 1, data)
    file.end()
    return file


def digits_arrays() -> dict[str, np.ndarray]:
    """What a data file of digits holds."""
    digits = mc.open_modes("digits-mlp")
    splits = {"train": digits.train, "test": digits.test}
    return {f"{axis}_{name}": getattr(split, axis).numpy() for name, split in splits.items() for axis in "xy"}


class Page:
    """The section of the explorer, and what a browser sends to it."""

    def __init__(self):
        self.explorer = mc.Explorer("digits-mlp", executor=InlineExecutor(), page="Modes", resolution=9, draws=8)
        self.state, self.own = self.explorer.state, self.explorer.modes.own
        self.own.options.value = OPTIONS

    def send(self, mode: str, data: bytes, name: str = "run.safetensors", piece: int = 2**20):
        button = self.own.files[mode]
        button._handle_msg({"status": "initializing"})
        pieces = [data[i : i + piece] for i in range(0, len(data), piece)]
        for i, part in enumerate(pieces, start=1):
            message = {"status": "upload_event", "name": name, "chunk": i, "total_chunks": len(pieces), "data": part}
            button._handle_msg(message)
        button._handle_msg({"status": "finished"})

    def open(self) -> str:
        """What is said."""
        self.own.open.clicks += 1
        assert (self.own.open.label, self.own.open.disabled) == ("Open", False)
        return unescape(said(self.own.alert))


@pytest.fixture
def visit():
    return Page()


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Temporary folders are made here; none is left at the end."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.glob("modecomb-*")) == []


def test_two_networks_are_opened_chosen_and_computed(visit):
    visit.send("A", content("A"), "first <b>run.safetensors")
    visit.send("B", content("B"))
    told = visit.open()
    name = visit.state.modes_name
    assert re.fullmatch("uploaded-[0-9a-f]{8}", name)
    assert f"{name} is open: A is first <b>run.safetensors, B is run.safetensors" in told
    assert "<b>" not in said(visit.own.alert)
    assert visit.state.modes.hashes == {k: v for k, v in mc.open_modes("digits-mlp").hashes.items() if k != "C"}
    assert name in visit.explorer.modes.about.object
    assert "objective" in visit.explorer.modes.status.object
    visit.state.page = "Slice"
    assert mc.recipe(visit.explorer.results.datasets["plane"])["modes"] == name
    assert not any(button.file.begun for button in visit.own.files.values()), "what was sent is not kept"
    visit.explorer.keeping.undo.clicks += 1
    visit.explorer.keeping.undo.clicks += 1
    assert visit.state.modes_name == "digits-mlp"
    assert name in visit.explorer.controls.widgets["modes_name"].options


def test_three_networks_in_the_formats_of_torch(visit, tmp_path):
    for mode, ending in {"A": "pt", "B": "pth", "C": "CKPT"}.items():
        torch.save({"state_dict": load_file(catalogue()["digits-mlp"] / f"{mode}.safetensors")}, tmp_path / "saved")
        visit.send(mode, (tmp_path / "saved").read_bytes(), f"last.{ending}")
    assert "is open" in visit.open()
    assert list(visit.state.modes.params) == ["A", "B", "C"]
    assert visit.state.c == "C"


def test_a_name_is_that_of_what_was_sent(visit):
    names = []
    for second in ("B", "C", "B"):
        visit.send("A", content("A"))
        visit.send("B", content(second))
        assert "is open" in visit.open()
        names.append(visit.state.modes_name)
    assert names[0] == names[2] != names[1]
    assert visit.state.param.modes_name.objects[:2] == names[:2]
    state = ExplorerState("digits-mlp")
    (fault,) = state.choose(visit.state.query)
    assert f"'{names[2]}' were networks that a browser sent" in fault
    assert "It stays at digits-mlp" in fault
    assert state.page == "Modes"
    with explains(f"there are modes called '{names[2]}' already", "digits-mlp"):
        visit.state.offer(visit.state.modes)


def test_an_address_holds_once_its_networks_are_sent_again(visit):
    for mode in "AC":
        visit.send(mode, content(mode))
    visit.open()
    visit.state.param.update(strength=0.3, page="Slice", mix=[0.0, 0.5, 1.0])
    address = visit.state.query
    assert "uploaded-" in address["modes_name"]
    again = Page()
    again.explorer.choose({"modes_name": "uploaded-1", "strength": "0.1"})
    again.explorer.choose(address)
    assert "Send them again" in said(again.explorer.alert)
    again.state.param.update(strength=0.7, page="Modes", split="train")
    for mode in "AC":
        again.send(mode, content(mode))
    before = again.state.choices
    again.open()
    assert again.state.query == address
    assert not again.explorer.alert.visible
    for _ in range(2):
        again.explorer.keeping.undo.clicks += 1
    assert again.state.choices == before
    again.explorer.keeping.redo.clicks += 1
    again.state.modes_name = "digits-mlp"
    again.state.param.update(modes_name=address["modes_name"], strength=0.1)
    assert again.state.strength == 0.1, "it held once"


def test_what_is_chosen_while_others_are_opened_is_not_mixed_with_them(visit, monkeypatch):
    for mode in "AB":
        visit.send(mode, content(mode))
    given = {}
    monkeypatch.setattr("modecomb_viz.explorer.upload.open_uploaded", lambda files, **fields: given.update(files) or 1)
    monkeypatch.setattr(visit.own, "_offer", lambda modes, names: None)
    visit.own.open.clicks += 1
    assert all(button.disabled for button in visit.own.files.values())
    before = given["A"].digest
    visit.send("A", content("C"))
    assert given["A"].digest == before != visit.own.files["A"].file.digest
    visit.own._end("")
    assert not any(button.disabled for button in visit.own.files.values())


def test_other_examples_under_the_name_of_a_file_are_another_set(tmp_path, monkeypatch):
    arrays, names = digits_arrays(), []
    monkeypatch.setenv("MODECOMB_DATA", str(tmp_path))
    for order in (1, -1):
        arrays |= {f"{axis}_test": arrays[f"{axis}_test"][::order] for axis in "xy"}
        np.savez(tmp_path / "mine.npz", **arrays)
        os.utime(tmp_path / "mine.npz", ns=(0, 10**18 + order))
        files = {mode: arrived(content(mode)) for mode in "AB"}
        fields = {"architecture": "mlp", "options": OPTIONS, "data": "mine.npz", "mean": "0", "std": "1"}
        names.append(open_uploaded(files, **fields).name)
    assert names[0] != names[1]


class Evil:
    def __reduce__(self):
        return os.mkdir, (f"{os.environ['UPLOAD_TEST']}/code-ran",)


def broken(case: str, folder: Path) -> bytes:
    """A second file that cannot be opened, and why."""
    params = load_file(catalogue()["digits-mlp"] / "B.safetensors")
    if case == "pickle with code":
        torch.save({"state_dict": params, "extra": Evil()}, folder / "evil")
        return (folder / "evil").read_bytes()
    if case == "plain pickle with code":
        return pickle.dumps(Evil())
    if case == "NaN":
        params["fc2.weight"][3, 4] = float("nan")
        return save(params)
    return {
        "not a checkpoint": b"GIF89a" + bytes(5000),
        "empty": b"",
        "cut off": content("B")[:100_000],
        "other architecture": content("B", "digits-convnet"),
        "the same": content("A"),
    }[case]


@pytest.mark.parametrize(
    ("case", "name", "words"),
    [
        ("pickle with code", "b.pt", ["'B.pt'", "more than tensors", "a pickle can run code"]),
        ("plain pickle with code", "b.pt", ["'B.pt'", "a pickle can run code"]),
        ("NaN", "b.safetensors", ["'B.safetensors' has values that are not finite in 'fc2.weight'"]),
        ("not a checkpoint", "b.safetensors", ["'B.safetensors' is not a whole safetensors file"]),
        ("not a checkpoint", "b.pt", ["'B.pt' is not a whole torch file"]),
        ("not a checkpoint", "../../b<i>.gif", ["must end in .safetensors, .pt", "got '../../b<i>.gif'"]),
        ("empty", "b.pt", ["the file for B is empty"]),
        ("cut off", "b.safetensors", ["'B.safetensors' is not a whole safetensors file"]),
        ("other architecture", "b.safetensors", ["'B.safetensors' is missing 'fc1.bias'"]),
        ("the same", "b.safetensors", ["A and B are the same network", "two training runs"]),
    ],
)
def test_what_cannot_be_opened_is_said_and_nothing_is_lost(visit, tmp_path, monkeypatch, case, name, words):
    monkeypatch.setenv("UPLOAD_TEST", str(tmp_path))
    visit.send("A", content("A"))
    visit.send("B", broken(case, tmp_path), name)
    before = visit.explorer.results.datasets
    heard = visit.open()
    assert [word for word in words if word not in heard] == []
    assert str(tmp_path) not in heard
    assert "<i>" not in said(visit.own.alert)
    assert not (tmp_path / "code-ran").exists()
    assert visit.state.modes_name == "digits-mlp"
    assert visit.explorer.results.datasets is before
    visit.send("B", content("B"))
    assert "is open" in visit.open(), "the file of A is still there"


@pytest.mark.parametrize(
    ("architecture", "options", "words"),
    [
        ("mlp", "widths=[64, 256, 256, 10]", ["fc1.weight", "2 times as wide"]),
        ("convnet", "", ["No name fits", "another network"]),
        ("mlp", "depth=3", ["does not take these options", "depth"]),
        ("mlp", "widths", ["NAME=VALUE", "'widths'"]),
        ("mlp", "widths=[64, 16000, 16000, 10]", ["of weights", "up to 256.0 MiB"]),
        ("mlp", "widths=[64, 9999999999, 10]", ["at most 16,384", "9999999999"]),
        ("resnet", "width=1e99", ["at most 16,384"]),
        ("mlp", "widths=" + "[" * 400, ["407 characters"]),
        ("mlp", "widths=" + "[" * 290, ["cannot be built"]),
        ("os:system", "", ["architecture must be one of mlp, convnet", "'os:system'"]),
    ],
)
def test_an_architecture_that_does_not_fit_is_said(visit, architecture, options, words):
    visit.send("A", content("A"))
    visit.send("B", content("B"))
    fields = {"architecture": architecture, "options": options}
    with explains(*words):
        open_uploaded({mode: visit.own.files[mode].file for mode in "AB"}, **fields)


def test_one_file_is_not_enough(visit):
    assert "at least two checkpoints" in visit.open()
    visit.send("B", content("B"))
    said = visit.open()
    assert "at least two checkpoints" in said
    assert "'the upload' has B.safetensors" in said


def test_a_file_on_its_way_is_waited_for(visit):
    button = visit.own.files["A"]
    button._handle_msg({"status": "initializing"})
    part = {"status": "upload_event", "name": "a.pt", "chunk": 1, "total_chunks": 2, "data": bytes(2**20)}
    button._handle_msg(part)
    assert "still on its way, 1.0 MiB are here" in visit.open()
    button._handle_msg(part)
    assert "A: a piece of the file is missing" in said(visit.own.alert)


def test_too_much_is_not_kept(visit):
    button = visit.own.files["A"]
    button.file.limit = 2**20
    for number in (1, 2):
        button._handle_msg(
            {"status": "upload_event", "name": "a.pt", "chunk": number, "total_chunks": 2, "data": bytes(2**20)}
        )
    assert "has more than 1.0 MiB" in said(visit.own.alert)
    assert (button.file.size, button.file.begun) == (0, False)
    button._handle_msg({"status": "error", "error": 'File "<u>.pt" exceeds maximum file size of 256 MB'})
    assert "File &quot;&lt;u&gt;.pt&quot; exceeds" in said(visit.own.alert)
    visit.send("B", content("B"))
    assert "exceeds" in said(visit.own.alert), "of another file"
    button.file.limit = button.max_file_size
    visit.send("A", content("A"))
    assert not visit.own.alert.visible
    assert button.max_file_size == 2**28


def test_data_that_are_missing_and_data_files(visit, tmp_path, monkeypatch):
    monkeypatch.delenv("MODECOMB_DATA", raising=False)
    files = {mode: arrived(content(mode)) for mode in "AB"}
    fields = {"architecture": "mlp", "options": OPTIONS}
    with explains("'MNIST' is not embedded", "Set MODECOMB_DATA"):
        open_uploaded(files, data="mnist", **fields)
    with explains("data must be one of digits, mnist", "'/etc/passwd'"):
        open_uploaded(files, data="/etc/passwd", **fields)
    np.savez(tmp_path / "mine.npz", **digits_arrays())
    monkeypatch.setenv("MODECOMB_DATA", str(tmp_path))
    assert offered_data()[-1] == "mine.npz"
    with explains("mean must be one number", "'half'"):
        open_uploaded(files, data="mine.npz", mean="half", std="1", **fields)
    same = open_uploaded(files, data="mine.npz", mean="0", std="1", **fields)
    assert same.hashes["test"] == mc.open_modes("digits-mlp").hashes["test"]
    assert Page().own.mean.visible is False
    (own := Page().own).data.value = "mine.npz"
    assert own.mean.visible


def test_options_are_told_as_they_are_written(visit):
    assert offered_options("mlp") == "widths=[784, 512, 512, 512, 10]"
    assert offered_options("resnet").startswith('depth=20, width=1, norm="layer"')
    visit.own.architecture.value = "convnet"
    assert "convnet takes channels=[16, &quot;M&quot;" in visit.own._offered.object


def test_what_nobody_expected_is_said_too(visit, monkeypatch, caplog):
    def fail(*arguments, **fields):
        raise RuntimeError("no <space> left")

    monkeypatch.setattr("modecomb_viz.explorer.upload.open_uploaded", fail)
    assert visit.open() == "RuntimeError: no <space> left"
    assert "&lt;space&gt;" in said(visit.own.alert)
    assert "could not be opened" in caplog.text
