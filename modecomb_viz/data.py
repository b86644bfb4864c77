"""Data sets as whole tensors, already normalised: an evaluation reads slices, never a loader.

``digits`` (scikit-learn) is embedded. Others are torchvision's, or arrays of your own in ``.npz`` or ``.pt`` files,
looked for in the folder that ``root`` or the environment variable ``MODECOMB_DATA`` names; nothing is downloaded.
"""

import gzip
import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from modecomb_viz.untrusted import check_archive, import_torchvision, is_file, read_torch

__all__ = ["DATASETS", "Split", "as_split", "check_files", "load_dataset", "located", "split_hash", "stratified"]

Pixels = float | Sequence[float]

#: What a damaged archive raises.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error)


class Split(NamedTuple):
    """Inputs and class labels of one split, on one device.

    ``x``: ``[example, …]``, normalised floats, or token numbers. ``y``: ``[example]``, int64 class indices.
    """

    x: Shaped[Tensor, "example *shape"]
    y: Int[Tensor, " example"]

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Split":
        """The split on another device; ``dtype`` is that of an x of floats."""
        return Split(self.x.to(device, dtype if self.x.is_floating_point() else None), self.y.to(device))


def stratified(y: Int[Tensor, " example"], n: int, seed: int = 0) -> Int[Tensor, " chosen"]:
    """Numbers of n examples, ascending, every class in proportion to its size; with any labels, also a class of one."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed)).to(y.device)
    order = order[torch.argsort(y[order], stable=True)]  # class after class, shuffled within each
    places = torch.arange(n, device=y.device, dtype=torch.float64) + 0.5
    return order[(places * len(y) / n).long()].sort().values


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
            split: _torchvision_split(_torchvision_dataset(name, _data_root(name, root), split == "train"), mean, std)
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
    datasets = import_torchvision().datasets
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


def _torchvision_split(dataset, mean: tuple[float, ...], std: tuple[float, ...]) -> Split:
    images = torch.as_tensor(dataset.data)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return as_split((images, torch.as_tensor(dataset.targets)), mean=mean, std=std)


#: Loaders by name. Normalisation: digits pixel/16; the others (pixel/255 − mean)/std per channel.
DATASETS: dict[str, Callable[[Path | None], dict[str, Split]]] = {
    "digits": _digits,
    "mnist": _torchvision("MNIST", (0.1307,), (0.3081,)),
    "fashion-mnist": _torchvision("FashionMNIST", (0.2860,), (0.3530,)),
    "cifar10": _torchvision("CIFAR10", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": _torchvision("CIFAR100", (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}


def as_split(source: Any, *, mean: Pixels | None = None, std: Pixels | None = None) -> Split:
    """A split from a pair of arrays, a ``Dataset`` or list of (input, label) pairs, or a ``DataLoader`` of batches.

    With ``mean`` and ``std``, numbers or one per channel, x becomes (x − mean)/std, where uint8 is pixels and divided
    by 255 first. Without them, floats are taken as normalised already, and integers as tokens.

    Args:
        source: ``(x, y)`` of tensors or arrays, x ``[example, channel, …]``, y ``[example]`` class indices; or a
            Dataset or list whose inputs are tensors or numbers; or a DataLoader of such pairs.

    Raises:
        ValueError: for integer images without ``mean`` and ``std``, integers other than uint8 with them, x and y of
            different lengths, labels that are not class indices, values that are not finite, or a source of another
            kind.
    """
    x, y = _pair(source)
    x, y = _tensor(x, "x"), _tensor(y, "y")
    if y.ndim != 1 or not x.ndim or len(x) != len(y) or not len(y):
        raise ValueError(
            f"x and y must have one entry per example and y one axis; x is {tuple(x.shape)}, y is {tuple(y.shape)}."
        )
    if y.is_floating_point() or y.is_complex() or y.to(torch.int64).min() < 0:
        raise ValueError(f"y must hold class indices 0, 1, 2 …; it is {y.dtype}, beginning with {y[:5].tolist()}.")
    if (mean is None) != (std is None):
        raise ValueError("mean and std belong together: give both or none.")
    x = _normalised(x, mean, std)
    if x.is_floating_point() and not x.isfinite().all():
        raise ValueError("x has values that are not finite. Remove those examples, or fill in what is missing.")
    return Split(x.contiguous(), y.to(torch.int64))


def _pair(source: Any) -> tuple[Any, Any]:
    """x and y of whatever holds them."""
    if isinstance(source, DataLoader):
        parts = [_pair(batch) for batch in _items(source)]
        if not parts:
            raise ValueError("the DataLoader gives no batch.")
        return tuple(torch.cat([torch.as_tensor(part[i]) for part in parts]) for i in (0, 1))  # type: ignore[return-value]
    if isinstance(source, Dataset) or (isinstance(source, list) and all(isinstance(item, tuple) for item in source)):
        return _stack(source)
    if not isinstance(source, tuple | list) or len(source) != 2:
        raise ValueError(
            f"the source must be a pair (x, y), a Dataset or list of pairs, or a DataLoader; it is a "
            f"{type(source).__name__}."
        )
    return source[0], source[1]


def _tensor(values: Any, name: str) -> Tensor:
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{name} must be an array of numbers: {error}") from error
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_nested or tensor.is_complex():
        raise ValueError(f"{name} must be a dense tensor of real numbers; it is {tensor.layout}, {tensor.dtype}.")
    return tensor


def _items(source: Any) -> list[Any]:
    """Everything that a Dataset or DataLoader gives."""
    try:
        return list(source) if isinstance(source, DataLoader) else [source[i] for i in range(len(source))]
    except Exception as error:  # a data set is anybody's code and may raise anything
        raise ValueError(
            f"{type(source).__name__} cannot be read from its first to its last example: {type(error).__name__}: "
            f"{error} It needs a length, and one pair for every index."
        ) from error


def _stack(dataset: Any) -> tuple[Tensor, Tensor]:
    items = _items(dataset)
    try:
        pairs = [
            (torch.as_tensor(np.asarray(x) if not isinstance(x, Tensor) else x), torch.as_tensor(y)) for x, y in items
        ]
        return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{type(dataset).__name__} must give pairs of an input, all of one shape, and a class index: {error} "
            "A transform such as torchvision.transforms.ToTensor() makes tensors of images."
        ) from error


def _normalised(x: Tensor, mean: Pixels | None, std: Pixels | None) -> Tensor:
    if mean is None or std is None:
        return _as_it_is(x)
    if not x.is_floating_point() and x.dtype != torch.uint8:
        raise ValueError(
            f"x is {x.dtype}; with mean and std, only uint8 is taken as pixels and divided by 255. Make it floats in "
            "the scale of training, or uint8."
        )
    scaled = x.float() if x.is_floating_point() else x.float() / 255
    channels = x.shape[1] if x.ndim > 1 else 1
    try:
        centre, spread = (torch.as_tensor(value, dtype=torch.float32).reshape(-1) for value in (mean, std))
        fit = all(len(value) in (1, channels) and value.isfinite().all() for value in (centre, spread))
    except (TypeError, ValueError, RuntimeError):
        fit = False
    if not fit or not (spread > 0).all():
        raise ValueError(
            f"mean and std must be one number or one per channel ({channels}), std positive; got mean {mean} and "
            f"std {std}."
        )
    shape = (1, -1, *[1] * (x.ndim - 2)) if x.ndim > 1 else (-1,)
    return (scaled - centre.view(shape)) / spread.view(shape)


def _as_it_is(x: Tensor) -> Tensor:
    """Floats that are normalised already, or tokens."""
    if x.dtype == torch.uint8 or (not x.is_floating_point() and x.ndim >= 4):
        raise ValueError(
            f"x holds pixels ({str(x.dtype).removeprefix('torch.')}) and no normalisation is stated. Give uint8 with "
            "mean and std of pixel/255, as in training (mean=0, std=1 for pixel/255 itself), or floats."
        )
    if x.is_floating_point():
        return x.float()
    return x if x.dtype in (torch.int32, torch.int64) else x.to(torch.int64)


def check_files(table: Mapping[str, Any]):
    """Raise a ValueError unless a table describes data files, as :func:`load_dataset` takes it."""
    known = {"file", "train", "test", "mean", "std", *_FIRST.values()}
    if table.keys() - known or not ("file" in table) ^ ({"train", "test"} <= table.keys()):
        raise ValueError(
            "data of your own needs either file (with x_train, y_train, x_test, y_test) or train and test (files with "
            "x and y), mean and std for pixels, and may have train_examples and test_examples; got "
            f"{', '.join(map(str, table)) or 'nothing'}."
        )
    for key in _FIRST.values():
        if key in table and not (type(table[key]) is int and table[key] >= 1):
            raise ValueError(f"{key} of the data must be a whole number ≥ 1, got {table[key]!r}.")
    for key, value in table.items():
        numbers = value if isinstance(value, Sequence) else [value]
        if key in _FILES and not isinstance(value, str | Path):
            raise ValueError(f"{key} of the data must be the name of a file, got {value!r}.")
        if key not in _FILES and not all(isinstance(number, int | float) for number in numbers):
            raise ValueError(f"{key} of the data must be a number or a list of them, got {value!r}.")


#: The entries of a table of data that take the first examples of a split alone.
_FIRST = {"train": "train_examples", "test": "test_examples"}

#: The entries of a table of data that name files.
_FILES = ("file", "train", "test")


def located(
    data: str | Mapping[str, Any], root: str | Path | None = None, folder: str | Path | None = None
) -> str | dict[str, Any]:
    """The same data with its files under their absolute paths, so that it is found from anywhere.

    Arguments and errors as in :func:`load_dataset`.
    """
    if isinstance(data, str):
        return data
    check_files(data)
    root, folder = (None if path is None else Path(path) for path in (root, folder))
    return {key: str(_find(v, root, folder).resolve()) if key in _FILES else v for key, v in data.items()}


def _file_dataset(table: Mapping[str, Any], root: Path | None, folder: Path | None) -> dict[str, Split]:
    check_files(table)
    scale = {key: table[key] for key in ("mean", "std") if key in table}
    splits = {}
    for split in ("train", "test"):
        path = _find(table.get("file") or table[split], root, folder)
        names = (f"x_{split}", f"y_{split}") if "file" in table else ("x", "y")
        try:
            x, y = _read_arrays(path, names)
            first = table.get(_FIRST[split])
            splits[split] = as_split((x[:first], y[:first]), **scale)
        except ValueError as error:
            raise ValueError(f"'{path}', {split} split: {error}") from error
    return splits


def _find(name: str | Path, root: Path | None, folder: Path | None) -> Path:
    """The file as it is named, or in the mode set's folder, or in the data folder."""
    environment = os.environ.get("MODECOMB_DATA")
    places = [folder, root, Path(environment) if environment else None, Path()]
    paths = [place / name for place in places if place is not None]
    for path in paths:
        if is_file(path):
            return path
    looked = ", ".join(f"'{str(path.parent)[:200]}'" for path in dict.fromkeys(paths))
    raise ValueError(
        f"there is no data file '{str(name)[:200]}' in {looked}. Set MODECOMB_DATA to its folder, or pass root=…."
    )


def _read_arrays(path: Path, names: tuple[str, str]) -> tuple[Tensor, Tensor]:
    if path.suffix.lower() == ".npz":
        arrays = _read_npz(path, names)
    elif path.suffix.lower() in (".pt", ".pth"):
        arrays = read_torch(path, advice=f"Save torch.save({{'{names[0]}': …, '{names[1]}': …}}) of tensors alone.")
    else:
        raise ValueError("a data file must end in .npz, .pt or .pth.")
    if not isinstance(arrays, Mapping) or not set(names) <= arrays.keys():
        found = ", ".join(map(_shown, list(arrays)[:8])) if isinstance(arrays, Mapping) else type(arrays).__name__
        raise ValueError(f"it holds {found}; it needs {' and '.join(names)}.")
    x, y = (_tensor(arrays[name], name) for name in names)
    return x, y


def _shown(key: Any) -> str:
    return key[:60] if isinstance(key, str) else type(key).__name__


def _read_npz(path: Path, names: tuple[str, str]) -> dict[str, np.ndarray]:
    """The named arrays, and the names alone of the others; arrays of Python objects are refused."""
    try:
        check_archive(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] if name in names else np.empty(0) for name in file.files}
    except (OSError, ValueError, LookupError, TypeError, EOFError, MemoryError, RuntimeError, *_ZIP_ERRORS) as error:
        raise ValueError(f"it cannot be read as arrays of numbers: {error}") from error


def load_dataset(
    data: str | Mapping[str, Any], root: str | Path | None = None, folder: str | Path | None = None
) -> dict[str, Split]:
    """The splits "train" and "test" of a data set, in memory.

    Args:
        data: a name of :data:`DATASETS`; or a table of files of your own: ``{"file": "arrays.npz", "mean": [0.5],
            "std": [0.25]}`` with the arrays x_train, y_train, x_test, y_test, or ``{"train": …, "test": …}``, two files
            with x and y each. Normalisation as in :func:`as_split`; ``train_examples`` and ``test_examples`` take the
            first so many of a split alone.
        root: where data is looked for, before ``MODECOMB_DATA``.
        folder: the mode set's own folder, where files of your own are looked for first.

    Raises:
        ValueError: for an unknown name, or data that is not where it was looked for or does not fit.
    """
    root, folder = (None if path is None else Path(path) for path in (root, folder))
    if not isinstance(data, str):
        return _file_dataset(data, root, folder)
    if data not in DATASETS:
        raise ValueError(
            f"there is no data set {data!r}. Choose one of {', '.join(DATASETS)}, or state a file of your own."
        )
    return DATASETS[data](root)
