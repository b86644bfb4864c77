"""The explorer: thin Panel views on the state and its results.

``mc.Explorer(modes)`` is live in JupyterLab as the last expression of a cell; ``apps/explorer.py`` serves its
:meth:`Explorer.page`. Each picture is a view of its own: ``explorer.map``, ``explorer.segment``,
``explorer.distribution`` and so on.
"""

from modecomb_viz.explorer.controls import Controls
from modecomb_viz.explorer.maps import DifferenceView, MapView, OtherView
from modecomb_viz.explorer.mixer import MixerView
from modecomb_viz.explorer.modes import ModesView
from modecomb_viz.explorer.page import Explorer, error_page
from modecomb_viz.explorer.pictures import PictureView
from modecomb_viz.explorer.places import CutView, InspectionView
from modecomb_viz.explorer.views import DistributionView, SegmentView, View

__all__ = [
    "Controls",
    "CutView",
    "DifferenceView",
    "DistributionView",
    "Explorer",
    "InspectionView",
    "MapView",
    "MixerView",
    "ModesView",
    "OtherView",
    "PictureView",
    "SegmentView",
    "View",
    "error_page",
]
