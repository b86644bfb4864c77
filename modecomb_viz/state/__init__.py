"""What the explorer shows: every choice as a parameter, and the results that follow from the choices.

:class:`ExplorerState` knows which sweeps its choices ask for; :class:`Results` has them computed by an
executor and holds what has arrived. Neither knows a widget, so both are driven and tested from Python.
"""

from modecomb_viz.state.choices import (
    AGAINST,
    MIX_BOUNDS,
    ON_DEMAND,
    PAGES,
    RESOLUTIONS,
    TOPICS,
    UPLOADED,
    ExplorerState,
    open_shared,
)
from modecomb_viz.state.history import History
from modecomb_viz.state.requests import law_parameter
from modecomb_viz.state.results import Results
from modecomb_viz.state.visits import Visit, Visits

__all__ = [
    "AGAINST",
    "MIX_BOUNDS",
    "ON_DEMAND",
    "PAGES",
    "RESOLUTIONS",
    "TOPICS",
    "UPLOADED",
    "ExplorerState",
    "History",
    "Results",
    "Visit",
    "Visits",
    "law_parameter",
    "open_shared",
]
