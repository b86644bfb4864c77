"""modecomb_viz: explore the hypercube between two trained, permutation-aligned networks.

    >>> import modecomb_viz as mc
    >>> modes = mc.open_modes("digits-mlp")
    >>> dataset = mc.sweep_segment(modes, points=5)
    >>> dict(dataset.loss.sizes)
    {'split': 1, 't': 5}

Every name is imported on first use, so reading and plotting stored results never loads torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "permutation": ["PermutationSpec", "apply_permutation", "churn", "compose", "invert"],
    "tracing": ["trace_permutation_spec"],
    "data": ["Split", "as_split", "load_dataset"],
    "checkpoints": ["ModeSet", "catalogue", "load_params", "open_checkpoints", "open_modes", "save_params"],
    "hypercube": ["combine", "sample_coefficients"],
    "evaluation": ["evaluate"],
    "alignment": ["Alignment", "align", "align_many", "align_modes", "perturb_alignment"],
    "training": ["train_modes"],
    "sweep": [
        "export_point",
        "iter_cut",
        "iter_inspection",
        "iter_laws",
        "iter_layers",
        "iter_perturbation",
        "iter_plane",
        "iter_points",
        "iter_samples",
        "iter_search",
        "iter_segment",
        "iter_similarity",
        "iter_transitivity",
        "point_params",
        "rerun",
        "sweep_cut",
        "sweep_inspection",
        "sweep_laws",
        "sweep_layers",
        "sweep_perturbation",
        "sweep_plane",
        "sweep_points",
        "sweep_samples",
        "sweep_search",
        "sweep_segment",
        "sweep_similarity",
        "sweep_transitivity",
    ],
    "results": ["open", "recipe", "save"],
    "statistics": ["barriers", "diversity", "embedding", "summary", "tolerance", "transitivity"],
    "plots": [
        "plot_cut",
        "plot_inspection",
        "plot_laws",
        "plot_layers",
        "plot_perturbation",
        "plot_plane",
        "plot_points",
        "plot_samples",
        "plot_search",
        "plot_segment",
        "plot_similarity",
        "plot_transitivity",
    ],
    "report": ["save_gallery", "save_report"],
    "export.tables": ["save_table", "table", "tables"],
    "export.pictures": ["save_picture"],
    "explorer": ["Explorer"],
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'modecomb_viz' has no attribute {name!r}")
    return getattr(import_module(f"modecomb_viz.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
