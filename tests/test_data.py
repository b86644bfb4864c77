"""Data sets as tensors."""

import pytest
import torch
from explained import explains

import modecomb_viz as mc
from modecomb_viz.data import split_hash, stratified


def test_digits_are_embedded_and_split_once():
    splits = mc.load_dataset("digits")
    assert splits["train"].x.shape == (1437, 1, 8, 8)
    assert splits["test"].x.shape == (360, 1, 8, 8)
    assert (splits["train"].x.min(), splits["train"].x.max()) == (0, 1)
    rows = {tuple(x.flatten().tolist()) for x in splits["train"].x}
    assert sum(tuple(x.flatten().tolist()) in rows for x in splits["test"].x) == 0
    assert torch.bincount(splits["test"].y).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]


def test_hash_follows_the_content(digits):
    changed = digits.test._replace(y=digits.test.y.flip(0))
    assert split_hash(digits.test) == split_hash(digits.test) != split_hash(changed)


def test_mnist_is_normalised(mnist_root):
    splits = mc.load_dataset("mnist", mnist_root)
    assert splits["train"].x.shape == (60_000, 1, 28, 28)
    assert splits["test"].y.shape == (10_000,)
    assert splits["train"].x.mean().item() == pytest.approx(0, abs=1e-3)
    assert splits["train"].x.std().item() == pytest.approx(1, abs=1e-3)


def test_missing_data_is_explained(tmp_path, monkeypatch):
    with explains("no data set 'cats'", "digits, mnist"):
        mc.load_dataset("cats")
    monkeypatch.delenv("MODECOMB_DATA", raising=False)
    with explains("'MNIST' is not embedded", "MODECOMB_DATA"):
        mc.load_dataset("mnist")
    with explains("'CIFAR10' is not in", str(tmp_path), "download=True"):
        mc.load_dataset("cifar10", tmp_path)


def test_a_stratified_sample_has_every_class_in_proportion():
    y = torch.tensor([0] * 600 + [1] * 300 + [2] * 100 + [3])[torch.randperm(1001)]
    index = stratified(y, 100)
    assert index.tolist() == sorted(set(index.tolist()))
    counts = torch.bincount(y[index], minlength=4)
    assert (counts[:3] - torch.tensor([60, 30, 10])).abs().max() <= 1
    assert torch.equal(index, stratified(y, 100))
    assert not torch.equal(index, stratified(y, 100, seed=1))
    assert stratified(y, 1001).tolist() == list(range(1001))
