"""What the page says of recipes: what tells results apart, and how to compute them again."""

import json
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from modecomb_viz.results import FORMATS, recipe

__all__ = ["file_name", "lead", "recipe_table", "recipe_tables", "told_apart"]


def lead(datasets: Sequence[xr.Dataset]) -> str:
    """Whose networks, how they are aligned, how the matching is perturbed; every value that occurs."""
    recipes = [recipe(dataset) for dataset in datasets]

    def every(text: str) -> str:
        return "; ".join(dict.fromkeys(text.format(**settings).replace("_", " ") for settings in recipes))

    return (
        f"Modes: {'; '.join(dict.fromkeys(map(_networks, recipes)))}. Alignment: {every('{alignment}')}. "
        f"Perturbation of the matching: {every('{perturbation}')}."
    )


def _networks(settings: dict[str, Any]) -> str:
    """The mode set and its networks that a recipe names; transitivity joins all pairs of its members."""
    if settings["sweep"] == "transitivity":
        members = ", ".join(settings["members"])
        return f"{settings['modes']}, networks {members}" if members else f"{settings['modes']}, all networks"
    return "{modes}, networks {a} and {b}".format(**settings)


def file_name(dataset: xr.Dataset) -> str:
    """The name of the file that a result came from; of one that came from none, what its command would write."""
    source = Path(str(dataset.encoding.get("source", "")))
    return source.name if source.suffix in FORMATS else f"{recipe(dataset)['sweep']}.nc"


def recipe_tables(datasets: Sequence[xr.Dataset]) -> list[dict[str, Any]]:
    """What the page shows of every recipe; those of one sweep are told apart."""
    tables = [recipe_table(dataset) for dataset in datasets]
    sweeps = [recipe(dataset)["sweep"] for dataset in datasets]
    for sweep in dict.fromkeys(sweeps):
        own = [i for i, other in enumerate(sweeps) if other == sweep]
        for i, apart in zip(own, told_apart([datasets[i] for i in own]), strict=True):
            tables[i]["heading"] = f"{sweep}: {apart}" if apart else sweep
    return tables


def recipe_table(dataset: xr.Dataset) -> dict[str, Any]:
    """Settings and provenance of one result, and the calls that compute it again; the heading is left out."""
    settings = recipe(dataset)
    sweep, modes = settings.pop("sweep"), settings.pop("modes")
    arguments = "".join(f",\n    {name}={value!r}" for name, value in settings.items())
    provenance = [
        (name.replace("_", " "), _readable(value)) for name, value in dataset.attrs.items() if name != "recipe"
    ]
    return {
        "rows": [("modes", modes), *((n.replace("_", " "), _readable(v)) for n, v in settings.items()), *provenance],
        "code": f"import modecomb_viz as mc\n\nmc.sweep_{sweep}(\n    mc.open_modes({modes!r}){arguments},\n)",
        "command": _command(sweep, modes, settings, file_name(dataset)),
    }


def _command(sweep: str, modes: str, settings: dict[str, Any], out: str) -> str:
    """The call of the command line that computes a recipe again."""
    words = ["modecomb", sweep, "--modes", modes, "--out", out]
    for name, value in settings.items():
        if isinstance(value, bool):
            words += [f"--{name.replace('_', '-')}"] * value
            continue
        if isinstance(value, dict):
            values = [f"{key}={v:g}" if isinstance(v, float) else f"{key}={v}" for key, v in value.items()]
        elif name in _TOGETHER and isinstance(value, list):
            words += [f"--{name}", *map(str, value)]
            continue
        elif name == "z" and isinstance(value, list):
            values = [",".join(value)]
        else:
            values = value if isinstance(value, list) else [] if value is None else [value]
        words += [word for v in values for word in (f"--{name.replace('_', '-')}", str(v))]
    return shlex.join(words)


#: Settings of several numbers that one option takes.
_TOGETHER = ("bounds", "region", "start", "end")


def _readable(value: Any) -> str:
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {_readable(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_readable, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


#: Settings that say how something was computed, not what; they tell results apart when nothing else does.
_MEANS = ("device", "plan", "max_memory", "precision", "perturbation_seed", "alignment_seed", "seed")
_PROVENANCE = ("modes_hash", "data_hash", "device")


def told_apart(datasets: Sequence[xr.Dataset], without: Collection[str] = ()) -> list[str]:
    """For every one of some results of a sweep, in what its recipe differs from the others'; of one alone nothing.

    Settings that all of them have are compared. Where these agree, what the results were computed from and on, and
    where that agrees too, their number.

    Args:
        without: settings that do not tell them apart, because the controls of a picture move them.
    """
    words = [""] * len(datasets)
    if len(words) < 2:
        return words
    recipes = [recipe(dataset) for dataset in datasets]
    telling = [{name: value for name, value in one.items() if name not in (*_MEANS, *without)} for one in recipes]
    means = [{name: value for name, value in one.items() if name in _MEANS} for one in recipes]
    provenance = [{name: dataset.attrs[name] for name in _PROVENANCE if name in dataset.attrs} for dataset in datasets]
    for told in (telling, means, provenance):
        shared = [name for name in told[0] if all(name in one for one in told)]
        differing = [name for name in shared if len({json.dumps(one[name], sort_keys=True) for one in told}) > 1]
        words = [
            _joined(word, *(_phrase(name, one[name]) for name in differing))
            for word, one in zip(words, told, strict=True)
        ]
        if len(set(words)) == len(words):
            return words
    return [_joined(word, f"result {i}") for i, word in enumerate(words, start=1)]


def _joined(*words: str) -> str:
    return ", ".join(word for word in words if word)


def _phrase(name: str, value: Any) -> str:
    """A setting and its value; some say of themselves what they are."""
    words = _readable(value).replace("_", " ") if name in ("alignment", "distribution") else _readable(value)
    if isinstance(value, list) and len(value) > 4:
        words = f"{_readable(value[0])} … {_readable(value[-1])}"
    return words if name in ("modes", "distribution", "parameters") else f"{name.replace('_', ' ')} {words}"
