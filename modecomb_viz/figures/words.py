"""Laws and points of planes in words."""

from collections.abc import Mapping
from typing import Any

import xarray as xr

from modecomb_viz.figures.looks import shortened
from modecomb_viz.results import recipe

__all__ = ["law_words", "place_template"]

#: How the points of a plane are written.
_PLACES = {
    "split": "Λ = {u} where z = 1 and {v} where z = 0: so much of π(B), the rest of A. z is ",
    "random": "Λ = ½ + {u}·D₁ + {v}·D₂, two random directions of root mean square ½.",
    "affine": "Θ = A + {u}·(π(B) − A) + {v}·(π(C) − A).",
    "orthonormal": "{u} along A → π(B) and {v} across it, in Euclidean distances of the weights from A.",
}

_Z = {"fisher": "the Fisher point", "magnitude": "the magnitude point", "sign": "the sign point"}


def law_words(of: xr.Dataset | Mapping[str, Any]) -> str:
    """The law of a result or a recipe and its parameters, for instance ``bernoulli, p 0.5``."""
    settings = recipe(of) if isinstance(of, xr.Dataset) else of
    return ", ".join([settings["distribution"], *(f"{name} {v:g}" for name, v in settings["parameters"].items())])


def place_template(settings: Mapping[str, Any]) -> str:
    """What a point of the plane of a recipe is, in words, with ``{u}`` and ``{v}`` for its coordinates."""
    plane = settings["plane"]
    if plane != "split":
        return _PLACES[settings["coordinates"] if plane == "three_modes" else plane]
    z, law = settings["z"], f"{law_words(settings)}, one per {settings['granularity']}"
    if z == "draw":
        return _PLACES[plane] + f"a draw of {law} (seed {settings['seed']})."
    if z in ("best", "worst"):
        return _PLACES[plane] + f"the {z} of {settings['n']} draws of {law}."
    if isinstance(z, int):
        return _PLACES[plane] + f"1 on the first {z} layers."
    return _PLACES[plane] + (f"{_Z[z]}." if isinstance(z, str) else f"1 on {', '.join(map(shortened, z))}.")
