"""Studies: many sweeps over many mode sets, from one file, resumable.

A study file is TOML::

    title = "…"

    [modes.digits-mlp]                          # a name in the catalogue
    [modes.mnist-mlp]
    recipe = "recipes/mnist-mlp.toml"           # trained into FOLDER/modes/mnist-mlp unless it is there
    settings = { repair = "batchnorm" }         # of all sweeps over these modes
    only = ["draws"]                            # these sweeps alone, by default all
    [modes.mnist-mlp.sweeps.draws]              # of one of them
    n = 16

    [sweeps.draws]
    sweep = "samples"                           # and any of its settings
    distribution = "bernoulli"
    p = 0.5

Results are written as ``FOLDER/MODES/SWEEP.nc``. What is there and whole is not computed again; what was interrupted
goes on from its journal.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from modecomb_viz.checkpoints import ModeSet, open_modes
from modecomb_viz.results import check_path, disagreement, recipe, save
from modecomb_viz.results import open as open_result
from modecomb_viz.sweep import Step, Sweep, check_origin, make_sweep
from modecomb_viz.training import train_modes

__all__ = ["Planned", "Study", "planned_result", "read_study", "run_planned"]

_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Planned:
    """One sweep over one mode set of a study, and where its result goes."""

    modes: str
    name: str
    sweep: Sweep
    path: Path

    @property
    def journal(self) -> Path:
        """Where evaluations are kept until the result is written."""
        return self.path.with_name(f"{self.path.name}.journal")


@dataclass(frozen=True)
class Study:
    """A study file, read and checked.

    Attributes:
        title: what it is about.
        recipes: of the mode sets that are trained for it.
        planned: its sweeps, mode set by mode set.
        folder: where its results go.
    """

    title: str
    recipes: Mapping[str, Path]
    planned: tuple[Planned, ...]
    folder: Path

    def open_modes(self, name: str, root: str | Path | None, on_step: Callable[[str, int, int], None]) -> ModeSet:
        """A mode set of the study, trained before if it has a recipe and is not there."""
        if name not in self.recipes:
            return open_modes(name, root)
        folder = self.folder / "modes" / name
        if not (folder / "recipe.toml").is_file():
            train_modes(self.recipes[name], out=folder, root=root, on_step=on_step)
        return open_modes(folder, root)


def read_study(path: str | Path, folder: str | Path) -> Study:
    """Read a study file; ``folder`` is where its results go.

    Raises:
        ValueError: for a file that cannot be read, or an entry that is not allowed.
    """
    path, folder = Path(path), Path(folder)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"the study '{path}' cannot be read: {error}") from error
    _check_keys(f"the study '{path}'", table, ("title", "modes", "sweeps"))
    modes, sweeps = (_tables(path, table, name) for name in ("modes", "sweeps"))
    for name in (*modes, *sweeps):
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"names in a study are made of letters, digits, - and _, as files are named after them; got {name!r}."
            )
    recipes = {name: path.parent / entry["recipe"] for name, entry in modes.items() if "recipe" in entry}
    planned = [
        Planned(name, sweep, _planned_sweep(path, name, sweep, entry, sweeps), folder / name / f"{sweep}.nc")
        for name, entry in modes.items()
        for sweep in sweeps
        if sweep in _chosen(path, name, entry, sweeps)
    ]
    return Study(str(table.get("title", path.stem)), recipes, tuple(planned), folder)


def _tables(path: Path, table: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    entries = table.get(name)
    if not isinstance(entries, dict) or not entries or not all(isinstance(e, dict) for e in entries.values()):
        raise ValueError(f"the study '{path}' needs tables [{name}.NAME], got {name} = {entries!r}.")
    return entries


def _chosen(path: Path, modes: str, entry: Mapping[str, Any], sweeps: Mapping[str, Any]) -> list[str]:
    """The sweeps over a mode set."""
    only = entry.get("only", list(sweeps))
    if not isinstance(only, list) or not set(only) <= sweeps.keys():
        raise ValueError(
            f"only of [modes.{modes}] of the study '{path}' must be a list of {', '.join(sweeps)}; got {only!r}."
        )
    return only


def _planned_sweep(path: Path, modes: str, name: str, entry: Mapping[str, Any], sweeps: Mapping[str, Any]) -> Sweep:
    _check_keys(f"[modes.{modes}] of the study '{path}'", entry, ("recipe", "settings", "only", "sweeps"))
    common, own = (entry.get(key, {}) for key in ("settings", "sweeps"))
    if not isinstance(common, dict) or not isinstance(own, dict) or not all(isinstance(e, dict) for e in own.values()):
        raise ValueError(f"settings and sweeps of [modes.{modes}] of the study '{path}' must be tables.")
    _check_keys(f"[modes.{modes}.sweeps] of the study '{path}'", own, tuple(sweeps))
    chosen = {**common, **sweeps[name], **own.get(name, {})}
    if "sweep" not in chosen:
        raise ValueError(f"[sweeps.{name}] of the study '{path}' has no sweep; give one, such as sweep = \"samples\".")
    kind = chosen.pop("sweep")
    try:
        return make_sweep(kind, chosen)
    except (ValueError, TypeError) as error:
        raise ValueError(f"sweep '{name}' over '{modes}' in the study '{path}': {error}") from error


def _check_keys(where: str, table: Mapping[str, Any], known: tuple[str, ...]):
    if unknown := table.keys() - set(known):
        raise ValueError(f"{where} has {', '.join(sorted(unknown))}; it takes {', '.join(known)}.")


def run_planned(planned: Planned, modes: ModeSet) -> Iterator[Step]:
    """The steps of one sweep of a study, its result written at the end; none where a whole result is there.

    Raises:
        ValueError: when the file holds another result, or one of other networks or data, or cannot be written.
    """
    if planned.path.exists():
        check_origin(planned_result(planned), modes)
        return
    check_path(planned.path, ".nc")
    last = None
    for step in planned.sweep.steps(modes, planned.journal):
        last = step
        yield step
    save(last, planned.path)
    planned.journal.unlink()


def planned_result(planned: Planned) -> xr.Dataset:
    """The result of one sweep of a study.

    Raises:
        ValueError: when there is none, or one of another recipe.
    """
    dataset = open_result(planned.path)
    asked = json.loads(json.dumps({"sweep": planned.sweep.name, "modes": planned.modes, **asdict(planned.sweep)}))
    if pairs := disagreement(recipe(dataset), asked):
        raise ValueError(f"'{planned.path}' holds another result ({pairs}). Move it away to compute it anew.")
    return dataset
