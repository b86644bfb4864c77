"""Mode sets: networks of one architecture with their data, in folders, and the catalogue of them.

A mode set is a folder: ``recipe.toml`` (architecture, data, and how it was trained if that is known) and one checkpoint
per mode.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torch import Tensor, nn
from torch.func import functional_call

from modecomb_viz.architectures import build_from, is_own_code
from modecomb_viz.checkpoints.files import SUFFIXES, diverged, load_params, mode_stem, params_hash, save_params
from modecomb_viz.data import Split, check_files, load_dataset, located, split_hash
from modecomb_viz.permutation import Params, PermutationSpec, check_params
from modecomb_viz.tracing import trace_permutation_spec
from modecomb_viz.untrusted import is_file

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
        architecture: ``{"name": …, **options}``, see :func:`modecomb_viz.architectures.build`; or its name.
        data: the name of a data set, or a table of files, see :func:`modecomb_viz.data.load_dataset`.
        training: keyword arguments of :class:`modecomb_viz.training.Training`, where that is known.
        seeds: one seed per mode, ``{"A": 0, …}``; it gives the initial weights and the order of the data.
        files: the checkpoint of every mode, in the same folder; by default ``MODE.safetensors`` for every seed, and
            without seeds every checkpoint that is there, under its own name.
        code: the folder from which an architecture ``package.module:factory`` is imported; empty for the working one.

    Raises:
        ValueError: for an entry of another kind, or a name of a mode that is no file name.
    """

    description: str
    architecture: Any
    data: Any
    training: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""

    def __post_init__(self):
        if isinstance(self.architecture, str):
            object.__setattr__(self, "architecture", {"name": self.architecture})
        if not isinstance(self.architecture, Mapping) or not isinstance(self.data, str | Mapping):
            raise ValueError(
                f"architecture must be a name or a table with a name and options, and data the name of a data set or a "
                f"table of files; got {type(self.architecture).__name__} and {type(self.data).__name__}. Networks and "
                "tensors that are there already make a ModeSet(…)."
            )
        if not isinstance(self.architecture.get("name"), str):
            raise ValueError(
                f"[architecture] needs a name, which is a text; it has {', '.join(self.architecture) or 'nothing'}."
            )
        if not isinstance(self.data, str):
            check_files(self.data)
        for table, kind in (("seeds", int), ("files", str)):
            check_mode_names(getattr(self, table))
            if wrong := [mode for mode, value in getattr(self, table).items() if not isinstance(value, kind)]:
                raise ValueError(
                    f"[{table}] must give one {kind.__name__} per mode; {', '.join(wrong)} has another kind."
                )

    def build(self, seed: int = 0, *, trust_code: bool = False) -> nn.Module:
        """A freshly initialised network."""
        return build_from(self.architecture, seed, trust_code=trust_code, code=self.code)

    @property
    def architecture_text(self) -> str:
        """The architecture as a call, for tables."""
        options = ", ".join(f"{key}={value}" for key, value in self.architecture.items() if key != "name")
        return f"{self.architecture['name']}({options})"

    @property
    def data_text(self) -> str:
        """The data set in a word, for tables."""
        return self.data if isinstance(self.data, str) else Path(self.data.get("file") or self.data["test"]).name


def check_mode_names(names: Iterable[str]):
    """Raise a ValueError unless every name of a mode can be the name of a file inside a folder."""
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"(?!\.)[\w.+-]{1,64}", name):
            raise ValueError(
                f"the name of a mode has letters, digits, '.', '_', '+' and '-' alone, at most 64, and does not begin "
                f"with '.'; got {str(name)[:80]!r}."
            )


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
    kinds = {"description": str, "data": (str, dict), "code": str}
    fields = Recipe.__dataclass_fields__
    needed = [name for name, of in fields.items() if of.default_factory is MISSING and of.default is MISSING]
    wrong = [name for name, value in table.items() if not isinstance(value, kinds.get(name, dict))]
    if not set(needed) <= table.keys() <= fields.keys() or wrong:
        raise ValueError(
            f"the recipe '{path}' has the entries {', '.join(table)}; it needs {', '.join(needed)} and may have "
            f"{', '.join(fields.keys() - set(needed))}"
            f"{'; ' + ', '.join(wrong) + ' must be a table' if wrong else ''}."
        )
    try:
        return Recipe(**table)
    except ValueError as error:
        raise ValueError(f"the recipe '{path}': {error}") from error


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
        ValueError: for fewer than two modes or names that are no file names, weights that do not fit or are not
            finite, a model in training mode or whose output is not ``[example, class]``, or labels beyond its classes.
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
        check_mode_names(self.params)
        if self.model.training:
            raise ValueError(f"the model of '{self.name}' is in training mode. Call model.eval() first.")
        if not isinstance(self.test, Split) or not isinstance(self.train, Split):
            raise ValueError(f"test and train of '{self.name}' must be splits: mc.as_split((x, y)).")
        if self.spec is None:
            object.__setattr__(self, "spec", trace_permutation_spec(self.model, self.test.x[:2]))
        for mode, params in self.params.items():
            check_params(self.spec.shapes, params, f"mode {mode} of '{self.name}'")
            if broken := diverged(params, self.model):
                raise ValueError(
                    f"mode {mode} of '{self.name}' has values that are not finite in "
                    f"{', '.join(map(repr, broken[:5]))}. Did its training diverge?"
                )
        self._check_labels()

    def _check_labels(self):
        """Raise a ValueError unless the network gives one number per class, for every class that the labels name."""
        out = self._example_output()
        if (
            not isinstance(out, Tensor)
            or out.ndim != 2
            or len(out) != len(self.test.x[:2])
            or not out.is_floating_point()
        ):
            kind = (
                f"{str(out.dtype).removeprefix('torch.')} {tuple(out.shape)}"
                if isinstance(out, Tensor)
                else type(out).__name__
            )
            raise ValueError(
                f"the output of the model of '{self.name}' must be one tensor of floats [example, class]; on "
                f"{len(self.test.x[:2])} examples it is {kind}. Wrap the network in a module that gives its logits."
            )
        for name in ("test", "train"):
            if (highest := self.split(name).y.max().item()) >= out.shape[1]:
                raise ValueError(
                    f"the {name} split of '{self.name}' has the label {highest}, but the network tells "
                    f"{out.shape[1]} classes apart. Is it another data set or network?"
                )

    def _example_output(self) -> Any:
        x = self.test.x[:2]
        dtype = x.dtype if x.is_floating_point() else None
        params = {name: tensor.to(x.device, dtype) for name, tensor in next(iter(self.params.values())).items()}
        try:
            with torch.no_grad():
                return functional_call(self.model, params, (x,), tie_weights=False)
        except Exception as error:  # the forward pass is anybody's code and may raise anything
            raise ValueError(
                f"the model of '{self.name}' cannot be run on test examples of shape {tuple(x.shape)}: "
                f"{type(error).__name__}: {str(error).partition(chr(10))[0]} Do the data fit the network?"
            ) from error

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
    architecture: str | Mapping[str, Any] | None = None,
    data: str | Mapping[str, Any] | None = None,
    trust_code: bool | None = None,
) -> ModeSet:
    """A mode set of the catalogue by name, or any folder of checkpoints.

    Args:
        name: a name in :func:`catalogue`, or a folder with ``recipe.toml`` and checkpoints, as ``modecomb train``
            writes it; or a folder of checkpoints alone, when ``architecture`` and ``data`` are given.
        root: where data other than digits is looked for (default: ``MODECOMB_DATA``).
        architecture, data: instead of those of the recipe; the architecture is a name, or ``{"name": …, **options}``.
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
    architecture: str | Mapping[str, Any],
    data: str | Mapping[str, Any],
    root: str | Path | None = None,
    trust_code: bool = False,
) -> ModeSet:
    """A mode set from checkpoints anywhere: ``{"A": "run1/last.pt", "B": "run2/last.pt"}``.

    The other arguments and errors are those of :func:`open_modes`.
    """
    recipe = Recipe(description="", architecture=architecture, data=data)
    check_mode_names(files)
    return _assemble(name, recipe, {mode: Path(path) for mode, path in files.items()}, root, None, trust_code)


def _assemble(
    name: str,
    recipe: Recipe,
    files: Mapping[str, Path],
    root: str | Path | None,
    folder: Path | None,
    trust_code: bool,
) -> ModeSet:
    recipe = replace(recipe, data=located(recipe.data, root, folder))
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
        ValueError: for an option that is no NAME=VALUE, is given twice or is called name, options without an
            architecture, or mean and std without a file.
    """
    table: dict[str, Any] = {}
    if architecture:
        table["architecture"] = {"name": architecture} | _options(options)
    elif options:
        raise ValueError("options belong to an architecture; give --architecture as well.")
    if data.lower().endswith((".npz", ".pt", ".pth")):
        path = Path(data).resolve() if is_file(Path(data)) else data
        table["data"] = {"file": str(path)} | {k: list(v) for k, v in (("mean", mean), ("std", std)) if v}
    elif data:
        table["data"] = data
    if (mean or std) and "file" not in table.get("data", {}):
        raise ValueError(
            f"mean and std belong to a data file, .npz or .pt; {data or 'no data'} is given. Data sets that are "
            "known by name have their own."
        )
    return table


def _options(texts: Sequence[str]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in map(_option, texts):
        if name == "name" or name in table:
            raise ValueError(f"the option '{name}' is given twice: the architecture has a name, and every option once.")
        table[name] = value
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


def _recipe_of(
    folder: Path, architecture: str | Mapping[str, Any] | None, data: str | Mapping[str, Any] | None
) -> Recipe:
    given = {key: value for key, value in {"architecture": architecture, "data": data}.items() if value is not None}
    if is_file(folder / "recipe.toml"):
        return replace(read_recipe(folder / "recipe.toml"), **given)
    if not os.path.isdir(folder):
        raise ValueError(
            f"there are no modes called '{str(folder)[:200]}'. The catalogue has {', '.join(catalogue())}; any "
            "other name must be a folder of checkpoints."
        )
    if len(given) < 2:
        raise ValueError(
            f"'{folder}' has no recipe.toml, so its architecture and data must be given, such as torchvision:resnet18 "
            "and cifar10: here in Python or as --architecture and --data of the explorer and `modecomb modes add`, "
            "which puts the folder into the catalogue for every other command."
        )
    return Recipe(description="", **given)


def mode_files(folder: Path, recipe: Recipe) -> dict[str, Path]:
    """The checkpoint of every mode; a name out of a recipe must stay inside the folder."""
    names = recipe.files or {mode: f"{mode}.safetensors" for mode in recipe.seeds} or _checkpoints_in(folder, recipe)
    for mode, name in names.items():
        if Path(name).name != name:
            raise ValueError(f"the file of mode {mode} must be a name inside the folder '{folder}', got {name!r}.")
    if len(names) < 2:
        raise ValueError(
            f"a mode set needs at least two checkpoints ({', '.join(SUFFIXES)}); '{folder}' has "
            f"{', '.join(names.values()) or 'none'}."
        )
    return {mode: folder / name for mode, name in names.items()}


def _checkpoints_in(folder: Path, recipe: Recipe) -> dict[str, str]:
    """Every checkpoint in a folder under its own name, the recipe's data files left out."""
    data = set() if isinstance(recipe.data, str) else {Path(f).name for f in recipe.data.values() if isinstance(f, str)}
    names: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        mode = mode_stem(path)
        if not mode or path.name in data:
            continue
        if mode in names:
            raise ValueError(
                f"'{folder}' has '{names[mode]}' and '{path.name}', two checkpoints of mode {mode}. Remove one, or "
                "name the files in recipe.toml under [files]."
            )
        names[mode] = path.name
    check_mode_names(names)
    return names


def add_modes(name: str, modes: ModeSet, metadata: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """Register a mode set under a name in the user's catalogue; its weights are copied there as safetensors.

    ``metadata`` are written with each mode, such as its measured accuracy. Neither data files nor code of your own are
    copied; the recipe says where they are.

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
    files = {mode: f"{mode}.safetensors" for mode in modes.params}
    own = is_own_code(modes.recipe.architecture["name"])
    recipe = replace(modes.recipe, files=files, code=modes.recipe.code or str(Path.cwd()) if own else "")
    text = _toml(recipe)
    for mode, params in modes.params.items():
        save_params(params, folder / files[mode], (metadata or {}).get(mode))
    (folder / "recipe.toml").write_text(text, encoding="utf-8")
    return folder


def _toml(recipe: Recipe) -> str:
    """The text of a recipe; empty entries and options that are None are left out."""
    try:
        return tomli_w.dumps(
            {key: _plain(value) for key, value in asdict(recipe).items() if value not in ({}, "")}
            | {"description": recipe.description}
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"the architecture and data cannot be written as a recipe: {error}.") from error


def _plain(value: Any) -> Any:
    """A value as TOML can hold it: paths are texts, and what is None is left out."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value
