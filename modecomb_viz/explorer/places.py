"""What is looked at on the map: one of its points, a cut through it."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import panel as pn
import xarray as xr

from modecomb_viz.checkpoints import ModeSet
from modecomb_viz.explorer.explained import Button, FileDownload
from modecomb_viz.explorer.notices import download
from modecomb_viz.explorer.pictures import PictureView
from modecomb_viz.state import ExplorerState, Results
from modecomb_viz.sweep import INSPECTED, export_point

__all__ = ["CutView", "InspectionView"]


class CutView(PictureView):
    """The curve along a cut through the map."""

    title, sentence = "Cut through the map", "Drag through the map to cut it."
    name_of_view = sweep = "cut"
    formula = "L(Θ(u(t), v(t))) with (u, v)(t) = (1 − t)·start + t·end."

    def _tools(self) -> list[pn.viewable.Viewable]:
        return [Button("Close", "Take the cut off the map.", on_click=self._close)]

    def _close(self, event: object):
        self.state.cut = None


class InspectionView(PictureView):
    """The inspector: a point of the map, looked at closely.

    Attributes:
        checkpoint: the download of the point's weights.
    """

    title, sentence = "One point", "Tap the map to look at a point."
    name_of_view = sweep = "inspection"
    panel = 380
    formula = (
        "Disagreement: share of examples with another argmax. Jensen–Shannon: ½KL(P‖M) + ½KL(Q‖M), M = ½(P + Q). "
        "Distance: ‖Θ − Θ′‖ / ‖A − π(B)‖ over the matched weights."
    )

    def __init__(self, state: ExplorerState, results: Results):
        self.checkpoint = FileDownload(
            "Save as checkpoint",
            "The weights of this point for the plain architecture, with their recipe, as safetensors.",
            filename="point.safetensors",
            callback=download(state, self._checkpoint),
            disabled=True,
        )
        super().__init__(state, results)

    def _tools(self) -> list[pn.viewable.Viewable]:
        return [
            Button("Use as centre", "Move the map so that this point is in its middle.", on_click=self._centre),
            self.checkpoint,
            Button("Close", "Look at no point any more.", on_click=self._close),
        ]

    def _draw(self, datasets: dict[str, xr.Dataset]):
        super()._draw(datasets)
        self.checkpoint.disabled = False

    def _close(self, event: object):
        self.state.inspected = None

    def _centre(self, event: object):
        """Move the map so that the point is in its middle."""
        plane = self.results.datasets.get("plane")
        if plane is None or self.state.inspected is None:
            return
        region: list[float] = []
        for axis, at in zip((plane.u, plane.v), self.state.inspected, strict=True):
            half = (axis.attrs["high"] - axis.attrs["low"]) / 2
            region += [round(at - half, 6), round(at + half, 6)]
        self.state.region = tuple(region)

    def _checkpoint(self) -> Callable[[], bytes]:
        if (dataset := self.results.current("inspection")) is None:
            wait = "the point is still being computed for these choices. Save it once it is complete."
            raise ValueError(self.results.error or wait)
        return partial(_exported, dataset, self.state.modes)


def _exported(dataset: xr.Dataset, modes: ModeSet) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = export_point(dataset, modes, Path(folder) / "point.safetensors", model=INSPECTED)
        return path.read_bytes()
