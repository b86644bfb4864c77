"""Data of one's own: files, arrays, Datasets; what does not fit is explained."""

import numpy as np
import pytest
import torch
from explained import explains
from test_foreign import Bomb

import modecomb_viz as mc


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
