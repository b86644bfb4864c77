"""Data sets as whole tensors, already normalised: an evaluation reads slices, never a loader.

``digits`` (scikit-learn) is embedded. The others are torchvision's, read from the folder that ``root`` or
the environment variable ``MODECOMB_DATA`` names; nothing is downloaded.
"""

import gzip
import hashlib
import os
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["DATASETS", "Split", "load_dataset", "split_hash"]


class Split(NamedTuple):
    """Inputs and class labels of one split, on one device.

    ``x``: ``[example, …]``, normalised floats. ``y``: ``[example]``, int64 class indices.
    """

    x: Float[Tensor, "example *shape"]
    y: Int[Tensor, " example"]

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Split":
        """The split on another device; ``dtype`` is that of x."""
        return Split(self.x.to(device, dtype), self.y.to(device))


def split_hash(split: Split) -> str:
    """SHA-256 of the bytes, shapes and types of x and y (first 16 hex digits)."""
    digest = hashlib.sha256()
    for tensor in split:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


@cache
def _digits(root: Path | None) -> dict[str, Split]:
    """1,437 train and 360 test images of 8×8 handwritten digits, x = pixel/16, a stratified split with a fixed seed."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    x = torch.tensor(bunch.images / 16, dtype=torch.float32)[:, None]
    y = torch.tensor(bunch.target, dtype=torch.int64)
    train, test = train_test_split(range(len(y)), test_size=0.2, stratify=bunch.target, random_state=0)
    return {"train": Split(x[train], y[train]), "test": Split(x[test], y[test])}


def _torchvision(
    name: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> Callable[[Path | None], dict[str, Split]]:
    def load(root: Path | None) -> dict[str, Split]:
        return {
            split: _as_split(_torchvision_dataset(name, _data_root(name, root), split == "train"), mean, std)
            for split in ("train", "test")
        }

    return load


def _data_root(name: str, root: Path | None) -> Path:
    root = root or os.environ.get("MODECOMB_DATA")
    if not root:
        raise ValueError(
            f"the data set '{name}' is not embedded. Set MODECOMB_DATA to the folder that holds it in "
            "torchvision's layout, or pass root=…; torchvision.datasets can download it there."
        )
    return Path(root)


def _torchvision_dataset(name: str, root: Path, train: bool):
    """torchvision's data set; a folder that holds only MNIST's compressed files is read through an unpacked copy."""
    datasets = _import_torchvision_datasets()
    with TemporaryDirectory() as unpacked:
        source = root / name / "raw"
        if not list(source.glob("*-ubyte")) and (packed := list(source.glob("*-ubyte.gz"))):
            root = Path(unpacked)
            (root / name / "raw").mkdir(parents=True)
            for path in packed:
                (root / name / "raw" / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        try:
            return getattr(datasets, name)(root, train=train, download=False)
        except RuntimeError as error:
            raise ValueError(
                f"the data set '{name}' is not in '{root}' ({error}). Download it there once with "
                f"torchvision.datasets.{name}('{root}', download=True)."
            ) from error


def _as_split(dataset, mean: tuple[float, ...], std: tuple[float, ...]) -> Split:
    images = torch.as_tensor(dataset.data)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    shape = (1, -1, 1, 1)
    x = (images.float() / 255 - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    return Split(x.contiguous(), torch.as_tensor(dataset.targets, dtype=torch.int64))


def _import_torchvision_datasets():
    """torchvision.datasets, also where torchvision's compiled operators do not fit the installed torch.

    A CUDA wheel of torchvision beside a CPU torch fails at import because the schemas of its operators
    were never registered; data sets do not need them, so the schemas are declared without a kernel.
    """
    import importlib.util

    folder = Path(importlib.util.find_spec("torchvision").origin).parent
    try:
        torch.ops.load_library(folder / "_C.so")
    except OSError:
        _declare_torchvision_operators()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to load image Python extension")
        import torchvision.datasets
    return torchvision.datasets


@cache
def _declare_torchvision_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


#: Loaders by name. Normalisation: digits pixel/16; the others (pixel/255 − mean)/std per channel.
DATASETS: dict[str, Callable[[Path | None], dict[str, Split]]] = {
    "digits": _digits,
    "mnist": _torchvision("MNIST", (0.1307,), (0.3081,)),
    "fashion-mnist": _torchvision("FashionMNIST", (0.2860,), (0.3530,)),
    "cifar10": _torchvision("CIFAR10", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": _torchvision("CIFAR100", (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}


def load_dataset(name: str, root: str | Path | None = None) -> dict[str, Split]:
    """The splits "train" and "test" of a data set, as float32 tensors in memory.

    Raises:
        ValueError: for an unknown name, or a data set that is not where it was looked for.
    """
    if name not in DATASETS:
        raise ValueError(f"there is no data set {name!r}. Choose one of {', '.join(DATASETS)}.")
    return DATASETS[name](None if root is None else Path(root))
