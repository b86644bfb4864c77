"""Plain Bokeh figures that are updated in place: live in the explorer, from JavaScript in a report."""

from modecomb_viz.figures.base import Figure, Frame, Panels, Property
from modecomb_viz.figures.cuts import CutFigure
from modecomb_viz.figures.differences import DifferenceFigure
from modecomb_viz.figures.inspection import InspectionFigure
from modecomb_viz.figures.laws import LawsFigure
from modecomb_viz.figures.layers import LayersFigure
from modecomb_viz.figures.maps import MapFigure, color_range, estimate_note
from modecomb_viz.figures.perturbation import PerturbationFigure
from modecomb_viz.figures.points import PointsFigure
from modecomb_viz.figures.samples import SamplesFigure
from modecomb_viz.figures.search import SearchFigure
from modecomb_viz.figures.segments import SegmentFigure
from modecomb_viz.figures.similarity import SimilarityFigure
from modecomb_viz.figures.transitivity import TransitivityFigure

__all__ = [
    "CutFigure",
    "DifferenceFigure",
    "Figure",
    "Frame",
    "InspectionFigure",
    "LawsFigure",
    "LayersFigure",
    "MapFigure",
    "Panels",
    "PerturbationFigure",
    "PointsFigure",
    "Property",
    "SamplesFigure",
    "SearchFigure",
    "SegmentFigure",
    "SimilarityFigure",
    "TransitivityFigure",
    "color_range",
    "estimate_note",
]
