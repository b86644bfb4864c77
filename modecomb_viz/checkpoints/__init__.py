"""Checkpoints and mode sets: safe loading and saving, hashes, and the catalogue."""

from modecomb_viz.checkpoints.files import SUFFIXES, load_params, mode_metadata, params_hash, save_params
from modecomb_viz.checkpoints.modes import (
    ModeSet,
    Recipe,
    add_modes,
    catalogue,
    described,
    mode_files,
    open_checkpoints,
    open_modes,
    read_recipe,
    user_catalogue,
)

__all__ = [
    "SUFFIXES",
    "ModeSet",
    "Recipe",
    "add_modes",
    "catalogue",
    "described",
    "load_params",
    "mode_files",
    "mode_metadata",
    "open_checkpoints",
    "open_modes",
    "params_hash",
    "read_recipe",
    "save_params",
    "user_catalogue",
]
