"""Plain Bokeh figures that are updated in place: live in the explorer, from JavaScript in a report."""

from modecomb_viz.figures.base import Figure, Frame, Property
from modecomb_viz.figures.maps import MapFigure, color_range, estimate_note
from modecomb_viz.figures.perturbation import PerturbationFigure
from modecomb_viz.figures.samples import SamplesFigure
from modecomb_viz.figures.segments import SegmentFigure

__all__ = [
    "Figure",
    "Frame",
    "MapFigure",
    "PerturbationFigure",
    "Property",
    "SamplesFigure",
    "SegmentFigure",
    "color_range",
    "estimate_note",
]
