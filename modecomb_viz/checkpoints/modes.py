"""Mode sets: networks of one architecture with their data, in folders, and the catalogue of them.

A mode set is a folder: ``recipe.toml`` (architecture, data, and how it was trained if that is known) and one checkpoint
per mode.
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import tomli_w
from torch import nn

from modecomb_viz.architectures import build
from modecomb_viz.checkpoints.files import SUFFIXES, load_params, params_hash, save_params
from modecomb_viz.data import Split, load_dataset, split_hash
from modecomb_viz.permutation import Params, PermutationSpec, check_params
from modecomb_viz.tracing import trace_permutation_spec

__all__ = [
    "ModeSet",
    "Recipe",
    "add_modes",
    "catalogue",
    "described",
    "mode_files",
    "open_checkpoints",
    "open_modes",
    "read_recipe",
    "user_catalogue",
]

_CATALOGUE = Path(__file__).parent.parent / "modes"


@dataclass(frozen=True)
class Recipe:
    """How a mode set was made; the contents of ``recipe.toml``.

    Attributes:
        description: one line.
        architecture: ``{"name": …, **options}``, see :func:`modecomb_viz.architectures.build`.
        data: the name of a data set, or a table of files, see :func:`modecomb_viz.data.load_dataset`.
        training: keyword arguments of :class:`modecomb_viz.training.Training`, where that is known.
        seeds: one seed per mode, ``{"A": 0, …}``; it gives the initial weights and the order of the data.
        files: the checkpoint of every mode, in the same folder; by default ``MODE.safetensors`` for every seed, and
            without seeds every checkpoint that is there, under its own name.
    """

    description: str
    architecture: Mapping[str, Any]
    data: str | Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def build(self, seed: int = 0, *, trust_code: bool = False) -> nn.Module:
        """A freshly initialised network."""
        if "name" not in self.architecture:
            raise ValueError(f"[architecture] needs a name; it has {', '.join(self.architecture) or 'nothing'}.")
        return build(seed=seed, trust_code=trust_code, **self.architecture)

    @property
    def architecture_text(self) -> str:
        """The architecture as a call, for tables."""
        options = ", ".join(f"{key}={value}" for key, value in self.architecture.items() if key != "name")
        return f"{self.architecture['name']}({options})"

    @property
    def data_text(self) -> str:
        """The data set in a word, for tables."""
        return self.data if isinstance(self.data, str) else Path(self.data.get("file") or self.data["test"]).name


def read_recipe(path: str | Path) -> Recipe:
    """Parse a ``recipe.toml``.

    Raises:
        ValueError: for a file that is missing, is not TOML, or has missing or unknown entries.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"cannot read the recipe '{path}': {error}") from error
    kinds = {"description": str, "data": (str, dict)}
    fields = Recipe.__dataclass_fields__
    needed = [name for name, of in fields.items() if of.default_factory is MISSING]
    wrong = [name for name, value in table.items() if not isinstance(value, kinds.get(name, dict))]
    if not set(needed) <= table.keys() <= fields.keys() or wrong:
        raise ValueError(
            f"the recipe '{path}' has the entries {', '.join(table)}; it needs {', '.join(needed)} and may have "
            f"{', '.join(fields.keys() - set(needed))}"
            f"{'; ' + ', '.join(wrong) + ' must be a table' if wrong else ''}."
        )
    return Recipe(**table)


@dataclass(frozen=True, eq=False)
class ModeSet:
    """Networks of one architecture, trained on the same data, and the data to evaluate them on.

    Args:
        name: shown in titles and recipes.
        model: the architecture, in eval mode; its own weights are not used.
        params: the modes, ``{"A": {...}, "B": {...}}``; every floating-point entry of a state dict.
        test, train: the splits, normalised as in training.
        spec: the permutation symmetry; by default traced and proven on two examples of the test split.
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
            object.__setattr__(self, "spec", trace_permutation_spec(self.model, self.test.x[:2]))
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


def user_catalogue() -> Path:
    """The folder of the user's own mode sets: ``MODECOMB_MODES``, or ``modecomb/modes`` among the user's data."""
    data_home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(os.environ.get("MODECOMB_MODES") or Path(data_home) / "modecomb" / "modes")


def catalogue() -> dict[str, Path]:
    """The embedded mode sets and the user's own: name and folder."""
    folders = [path.parent for root in (_CATALOGUE, user_catalogue()) for path in sorted(root.glob("*/recipe.toml"))]
    found: dict[str, Path] = {}
    for folder in folders:
        found.setdefault(folder.name, folder)
    return found


def open_modes(
    name: str | Path,
    root: str | Path | None = None,
    *,
    architecture: Mapping[str, Any] | None = None,
    data: str | Mapping[str, Any] | None = None,
    trust_code: bool | None = None,
) -> ModeSet:
    """A mode set of the catalogue by name, or any folder of checkpoints.

    Args:
        name: a name in :func:`catalogue`, or a folder with ``recipe.toml`` and checkpoints, as ``modecomb train``
            writes it; or a folder of checkpoints alone, when ``architecture`` and ``data`` are given.
        root: where data other than digits is looked for (default: ``MODECOMB_DATA``).
        architecture, data: instead of those of the recipe.
        trust_code: allows an architecture ``package.module:factory``; by default only in the user's own catalogue.

    Raises:
        ValueError: for a name that is neither, a bad recipe, code that is not trusted, missing or wrong weights, or
            missing data.
    """
    folder = catalogue().get(str(name), Path(name))
    recipe = _recipe_of(folder, architecture, data)
    if trust_code is None:
        trust_code = folder.parent == user_catalogue()
    return _assemble(folder.resolve().name, recipe, mode_files(folder, recipe), root, folder, trust_code)


def open_checkpoints(
    name: str,
    files: Mapping[str, str | Path],
    *,
    architecture: Mapping[str, Any],
    data: str | Mapping[str, Any],
    root: str | Path | None = None,
    trust_code: bool = False,
) -> ModeSet:
    """A mode set from checkpoints anywhere: ``{"A": "run1/last.pt", "B": "run2/last.pt"}``.

    The other arguments and errors are those of :func:`open_modes`.
    """
    recipe = Recipe(description="", architecture=architecture, data=data)
    return _assemble(name, recipe, {mode: Path(path) for mode, path in files.items()}, root, None, trust_code)


def _assemble(
    name: str,
    recipe: Recipe,
    files: Mapping[str, Path],
    root: str | Path | None,
    folder: Path | None,
    trust_code: bool,
) -> ModeSet:
    model, splits = recipe.build(trust_code=trust_code), load_dataset(recipe.data, root, folder)
    params = {mode: load_params(path, model) for mode, path in files.items()}
    return ModeSet(name, model, params, splits["test"], splits["train"], recipe=recipe)


def described(
    architecture: str,
    options: Sequence[str] = (),
    data: str = "",
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> dict[str, Any]:
    """``architecture`` and ``data`` for :func:`open_modes` from the texts of a command line; empty ones are left out.

    Args:
        architecture: its name.
        options: ``NAME=VALUE`` each, the value as in TOML: ``num_classes=10``, ``widths=[784, 10]``, ``norm="batch"``.
        data: the name of a data set, or of a ``.npz`` or ``.pt`` file with x_train, y_train, x_test, y_test.
        mean, std: of the pixels of a file, one number or one per channel.

    Raises:
        ValueError: for an option that is no NAME=VALUE, or options without an architecture.
    """
    table: dict[str, Any] = {}
    if architecture:
        table["architecture"] = {"name": architecture} | dict(map(_option, options))
    elif options:
        raise ValueError("options belong to an architecture; give --architecture as well.")
    if data.endswith((".npz", ".pt", ".pth")):
        path = Path(data).resolve() if Path(data).is_file() else data
        table["data"] = {"file": str(path)} | {k: list(v) for k, v in (("mean", mean), ("std", std)) if v}
    elif data:
        table["data"] = data
    return table


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"] if equals else None
    except tomllib.TOMLDecodeError:
        parsed = value
    if not name or parsed is None:
        raise ValueError(f"an option is given as NAME=VALUE, such as num_classes=10, got '{text}'.")
    return name, parsed


def _recipe_of(folder: Path, architecture: Mapping[str, Any] | None, data: str | Mapping[str, Any] | None) -> Recipe:
    given = {key: value for key, value in {"architecture": architecture, "data": data}.items() if value is not None}
    if (folder / "recipe.toml").is_file():
        return replace(read_recipe(folder / "recipe.toml"), **given)
    if not folder.is_dir():
        raise ValueError(
            f"there are no modes called '{folder}'. The catalogue has {', '.join(catalogue())}; any other name must be "
            "a folder of checkpoints."
        )
    if len(given) < 2:
        raise ValueError(
            f"'{folder}' has no recipe.toml, so its architecture and data must be given (--architecture and --data), "
            "such as torchvision:resnet18 and cifar10."
        )
    return Recipe(description="", **given)


def mode_files(folder: Path, recipe: Recipe) -> dict[str, Path]:
    """The checkpoint of every mode; a name out of a recipe must stay inside the folder."""
    names = recipe.files or {mode: f"{mode}.safetensors" for mode in recipe.seeds}
    if not names:
        names = {path.stem: path.name for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES}
    for mode, name in names.items():
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"the file of mode {mode} must be a name inside the folder '{folder}', got {name!r}.")
    if len(names) < 2:
        raise ValueError(
            f"a mode set needs at least two checkpoints ({', '.join(SUFFIXES)}); '{folder}' has "
            f"{', '.join(names.values()) or 'none'}."
        )
    return {mode: folder / name for mode, name in names.items()}


def add_modes(name: str, modes: ModeSet, metadata: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """Register a mode set under a name in the user's catalogue; its weights are copied there as safetensors.

    ``metadata`` are written with each mode, such as its measured accuracy. Data files are not copied.

    Raises:
        ValueError: for a name that is taken or no file name, or modes without a recipe.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ValueError(f"a name in the catalogue has letters, digits, '.', '_' and '-' alone, got {name!r}.")
    if name in catalogue():
        raise ValueError(f"the catalogue has '{name}' already, in '{catalogue()[name]}'. Choose another name.")
    if modes.recipe is None:
        raise ValueError(f"'{modes.name}' has no recipe, so its architecture and data could not be found again.")
    folder = user_catalogue() / name
    for mode, params in modes.params.items():
        save_params(params, folder / f"{mode}.safetensors", (metadata or {}).get(mode))
    files = {mode: f"{mode}.safetensors" for mode in modes.params}
    table = {key: value for key, value in asdict(replace(modes.recipe, files=files)).items() if value != {}}
    (folder / "recipe.toml").write_text(tomli_w.dumps(table), encoding="utf-8")
    return folder
