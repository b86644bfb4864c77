"""Weights on disk, mode sets, and the catalogue of embedded ones.

A mode set is a folder: ``recipe.toml`` (architecture, data, training, seeds) and one ``NAME.safetensors`` per
mode, whose metadata hold the accuracies measured when it was trained. A checkpoint is untrusted: only tensors
are read, and only those that the architecture expects.
"""

import hashlib
import json
import pickle
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from modecomb_viz.architectures import build, params_of, permutation_spec
from modecomb_viz.data import Split, load_dataset, split_hash
from modecomb_viz.permutation import Params, PermutationSpec, check_params
from modecomb_viz.results import check_path, write_whole

__all__ = [
    "ModeSet",
    "Recipe",
    "catalogue",
    "load_params",
    "mode_metadata",
    "open_modes",
    "params_hash",
    "read_recipe",
    "save_params",
]

_CATALOGUE = Path(__file__).parent / "modes"

#: A header or pickle larger than the tensors it should hold plus this many bytes is not read.
_SLACK = 2**20


def params_hash(params: Params) -> str:
    """SHA-256 of the names, types, shapes and bytes of all tensors (first 16 hex digits)."""
    digest = hashlib.sha256()
    for name in sorted(params):
        tensor = params[name].detach().cpu().contiguous()
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def save_params(params: Params, path: str | Path, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write tensors as safetensors; metadata values become JSON strings.

    Raises:
        ValueError: when the path does not end in ``.safetensors`` or cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in params.items()}
    texts = {key: json.dumps(value) for key, value in (metadata or {}).items()}
    return write_whole(check_path(path, ".safetensors"), lambda part: save_file(tensors, part, texts))


def load_params(path: str | Path, model: nn.Module) -> dict[str, Tensor]:
    """The weights in a checkpoint, checked against the architecture, on the CPU.

    Reads ``.safetensors`` and, with ``weights_only=True``, ``.pt`` / ``.pth`` that hold a state dict. Integer entries,
    such as BatchNorm's counter, are left out.

    Raises:
        ValueError: for a missing file, another format, a file too large for the architecture, one that holds
            more than tensors, or tensors that the architecture does not have.
    """
    path, expected = Path(path), params_of(model)
    _check_file(path, expected)
    tensors = _READERS[path.suffix](path)
    params = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    check_params({name: tuple(tensor.shape) for name, tensor in expected.items()}, params, f"'{path}'")
    return {name: params[name] for name in expected}


def _check_file(path: Path, expected: Params):
    if path.suffix not in _READERS:
        raise ValueError(f"a checkpoint must end in {', '.join(_READERS)}, got '{path}'.")
    if not path.is_file():
        raise ValueError(f"there is no checkpoint at '{path}'.")
    largest = 2 * sum(tensor.numel() * 8 for tensor in expected.values()) + _SLACK
    if path.stat().st_size > largest:
        raise ValueError(
            f"'{path}' has {path.stat().st_size:,} bytes, more than twice what float64 weights of this architecture "
            f"need ({largest:,} bytes). Does it hold another network, or optimiser state? Save the state dict alone."
        )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"'{path}' is not a whole safetensors file: {error}") from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        AttributeError,
    ) as error:
        raise ValueError(
            f"'{path}' is damaged or holds more than tensors, which is not read because a pickle can run code. "
            "Convert it where you trust it: torch.save(model.state_dict(), 'weights.pt'), or save it as safetensors."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"'{path}' holds no state dict (names to tensors). Save torch.save(model.state_dict(), …).")
    return dict(state)


_READERS = {".safetensors": _read_safetensors, ".pt": _read_torch, ".pth": _read_torch}


def mode_metadata(path: str | Path) -> dict[str, Any]:
    """What :func:`save_params` wrote beside the tensors, such as accuracies and seed."""
    with safe_open(path, framework="np") as file:
        return {key: json.loads(value) for key, value in (file.metadata() or {}).items()}


@dataclass(frozen=True)
class Recipe:
    """How a mode set was made; the contents of ``recipe.toml``.

    Attributes:
        description: one line.
        architecture: ``{"name": …, **options}``.
        data: the name of the data set.
        training: keyword arguments of :class:`modecomb_viz.training.Training`.
        seeds: one seed per mode, ``{"A": 0, …}``; it gives the initial weights and the order of the data.
    """

    description: str
    architecture: Mapping[str, Any]
    data: str
    training: Mapping[str, Any]
    seeds: Mapping[str, int]

    def build(self, seed: int = 0) -> nn.Module:
        """A freshly initialised network."""
        return build(seed=seed, **self.architecture)


def read_recipe(path: str | Path) -> Recipe:
    """Parse a ``recipe.toml``.

    Raises:
        ValueError: for a file that is missing, is not TOML, or has missing or unknown entries.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"cannot read the recipe '{path}': {error}") from error
    try:
        return Recipe(**table)
    except TypeError as error:
        raise ValueError(
            f"the recipe '{path}' has the entries {', '.join(table)}; it needs exactly "
            f"{', '.join(Recipe.__dataclass_fields__)}."
        ) from error


@dataclass(frozen=True, eq=False)
class ModeSet:
    """Networks of one architecture, trained on the same data, and the data to evaluate them on.

    Args:
        name: shown in titles and recipes.
        model: the architecture, in eval mode; its own weights are not used.
        params: the modes, ``{"A": {...}, "B": {...}}``; every floating-point entry of a state dict.
        test, train: the splits, normalised as in training.
        spec: the permutation symmetry; by default the table that the architecture states.
        recipe: how the modes were made, if that is known.

    Raises:
        ValueError: for fewer than two modes, weights that do not fit, or a model in training mode.
    """

    name: str
    model: nn.Module = field(repr=False)
    params: Mapping[str, Params] = field(repr=False)
    test: Split = field(repr=False)
    train: Split = field(repr=False)
    spec: PermutationSpec = field(default=None, repr=False)  # type: ignore[assignment]  # filled in below
    recipe: Recipe | None = field(default=None, repr=False)

    def __post_init__(self):
        if len(self.params) < 2:
            raise ValueError(f"a mode set needs at least two modes, '{self.name}' has {list(self.params)}.")
        if self.model.training:
            raise ValueError(f"the model of '{self.name}' is in training mode. Call model.eval() first.")
        if self.spec is None:
            object.__setattr__(self, "spec", permutation_spec(self.model))
        for mode, params in self.params.items():
            check_params(self.spec.shapes, params, f"mode {mode} of '{self.name}'")

    def split(self, name: str) -> Split:
        """The split "train" or "test".

        Raises:
            ValueError: for another name.
        """
        if name not in ("train", "test"):
            raise ValueError(f"split must be 'train' or 'test', got {name!r}.")
        return getattr(self, name)

    def mode(self, name: str) -> Params:
        """The weights of a mode.

        Raises:
            ValueError: for a mode that the set does not have.
        """
        if name not in self.params:
            raise ValueError(f"'{self.name}' has no mode {name!r}; it has {', '.join(self.params)}.")
        return self.params[name]

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Content hash of every mode and both splits."""
        modes = {mode: params_hash(params) for mode, params in self.params.items()}
        return {**modes, "train": split_hash(self.train), "test": split_hash(self.test)}


def catalogue() -> dict[str, Path]:
    """The embedded mode sets: name and folder."""
    return {path.parent.name: path.parent for path in sorted(_CATALOGUE.glob("*/recipe.toml"))}


def open_modes(name: str | Path, root: str | Path | None = None) -> ModeSet:
    """A mode set of the catalogue by name, or any folder with a recipe and its weights.

    ``root`` is where data sets other than digits are looked for (default: ``MODECOMB_DATA``).

    Raises:
        ValueError: for a name that is neither, a bad recipe, missing or wrong weights, or missing data.
    """
    folder = catalogue().get(str(name), Path(name))
    if not (folder / "recipe.toml").is_file():
        raise ValueError(
            f"there are no modes called '{name}'. The catalogue has {', '.join(catalogue())}; any other name must be a "
            "folder with recipe.toml and one .safetensors per mode, as `modecomb train` writes it."
        )
    recipe = read_recipe(folder / "recipe.toml")
    model, splits = recipe.build(), load_dataset(recipe.data, root)
    params = {mode: load_params(folder / f"{mode}.safetensors", model) for mode in recipe.seeds}
    return ModeSet(folder.name, model, params, splits["test"], splits["train"], recipe=recipe)
