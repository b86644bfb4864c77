"""Datasets to HoloViews objects, for notebooks and for everything that HoloViews composes.

All plots have one signature: the Dataset first, ``quantity`` and ``split`` by keyword. A dimension ``strength`` becomes
a slider. The looks are those of :mod:`modecomb_viz.figures`.
"""

from collections.abc import Callable

import holoviews as hv

from modecomb_viz.plots.laws import plot_laws
from modecomb_viz.plots.layers import plot_layers
from modecomb_viz.plots.named import plot_points, plot_search
from modecomb_viz.plots.networks import plot_similarity, plot_transitivity
from modecomb_viz.plots.planes import plot_cut, plot_inspection
from modecomb_viz.plots.points import plot_perturbation, plot_plane, plot_samples, plot_segment

__all__ = [
    "PLOTS",
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
]

#: The plot of every sweep, by the name of the sweep.
PLOTS: dict[str, Callable[..., hv.core.Dimensioned]] = {
    "segment": plot_segment,
    "plane": plot_plane,
    "samples": plot_samples,
    "perturbation": plot_perturbation,
    "laws": plot_laws,
    "layers": plot_layers,
    "transitivity": plot_transitivity,
    "similarity": plot_similarity,
    "points": plot_points,
    "search": plot_search,
    "cut": plot_cut,
    "inspection": plot_inspection,
}
