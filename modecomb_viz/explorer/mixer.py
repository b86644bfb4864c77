"""The layer mixer: one coefficient per layer, and how strongly the loss reacts to each."""

from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
import param
import xarray as xr

from modecomb_viz.explorer.explained import Button, FloatSlider
from modecomb_viz.explorer.notebook import Words, arrange
from modecomb_viz.explorer.views import View
from modecomb_viz.figures.looks import COLORS, lost_text, number, shortened, signed
from modecomb_viz.state import MIX_BOUNDS, ExplorerState, Results

__all__ = ["MixerView"]

#: Pixels of the longest bar.
_BAR = 110


class MixerView(View):
    """One slider per layer, with the slope of the loss beside it; all layers are moved together, drawn or put back.

    Attributes:
        sliders: of the layers, in the order of the network.
    """

    title = "Layer mixer"
    name_of_view = "mixer"
    options = ("quantity", "split", "mix")
    sentence = (
        "Every layer has a coefficient of its own: 0 is the layer of A, 1 that of π(B). Bars: how the loss reacts when "
        "that coefficient grows; orange makes it worse, blue better."
    )
    formula = "Θ_ℓ = (1 − λ_ℓ)·A_ℓ + λ_ℓ·π(B)_ℓ for every layer ℓ; bars ∂L/∂λ_ℓ, by a central difference of ±0.002."

    def __init__(self, state: ExplorerState, results: Results):
        self.sliders: list[FloatSlider] = []
        self._bars: list[Words] = []
        self._rows = pn.Column(sizing_mode="stretch_width", styles={"max-height": "340px", "overflow-y": "auto"})
        self._amount = pmui.FloatInput(
            label="Amount", value=0.1, step=0.1, width=100, size="small",
            description="What is added to all coefficients, or what they are multiplied by or set to.",
        )  # fmt: skip
        self._seed = pmui.IntInput(
            label="Seed", value=0, start=0, end=9999, width=100, size="small",
            description="Seed of the coefficients that Randomise draws, uniformly from 0 to 1.",
        )  # fmt: skip
        self._moving = False
        super().__init__(state, results)
        state.param.watch(self._make_rows, ["modes_name"])
        state.param.watch(self._follow, ["mix"])
        self._make_rows()

    @property
    def coefficients(self) -> np.ndarray:
        """The coefficient of every layer."""
        return np.array(self.state.mix or [0.0] * len(self.state.modes.spec.layer_names))

    def _body(self) -> list[pn.viewable.Viewable]:
        return [pn.FlexBox(*self._buttons(), align_items="center", margin=(4, 10)), self._rows, self.status]

    def _buttons(self) -> list[pn.viewable.Viewable]:
        amount, seed = partial(_number, self._amount), partial(_number, self._seed)

        def drawn(mix: np.ndarray) -> np.ndarray:
            return np.random.default_rng(seed()).uniform(size=len(mix)).round(2)

        return [
            self._amount,
            self._button("Add", "Add the amount to every coefficient.", lambda mix: mix + amount()),
            self._button("Multiply", "Multiply every coefficient by the amount.", lambda mix: mix * amount()),
            self._button("Set all", "Give every layer the amount.", lambda mix: np.full(len(mix), amount())),
            self._seed,
            self._button("Randomise", "Draw every coefficient from 0 to 1, by the seed.", drawn),
            self._button("Reset", "Put every layer back to that of A.", np.zeros_like),
        ]

    def _button(self, label: str, explanation: str, change: Callable[[np.ndarray], np.ndarray]) -> Button:
        def clicked(event: Any):
            self.state.refusal = ""
            try:
                self._set(change(self.coefficients))
            except ValueError as error:
                self.state.refusal = str(error)

        return Button(label, explanation, variant="outlined", margin=(4, 3), on_click=clicked)

    def _set(self, mix: np.ndarray):
        """Choose coefficients; they end at :data:`~modecomb_viz.state.MIX_BOUNDS`."""
        self.state.mix = [round(float(value), 4) for value in np.clip(mix, *MIX_BOUNDS)]

    def _make_rows(self, *events: param.parameterized.Event):
        """A slider and a bar for every layer of the networks."""
        names = self.state.modes.spec.layer_names
        low, high = MIX_BOUNDS
        self.sliders = [
            FloatSlider(
                label=shortened(name, 32), value=value, start=low, end=high, step=0.05, size="small",
                sizing_mode="stretch_width", margin=(0, 10), explanation=f"Coefficient of {name}: 0 is A, 1 is π(B).",
            )
            for name, value in zip(names, self.coefficients.tolist(), strict=True)
        ]  # fmt: skip
        self._bars = [Words("", width=2 * _BAR + 70, margin=(14, 4, 0, 4)) for _ in names]
        for slider in self.sliders:
            slider.param.watch(self._slid, ["value"])
        rows = [
            pn.Row(slider, bar, sizing_mode="stretch_width")
            for slider, bar in zip(self.sliders, self._bars, strict=True)
        ]
        arrange(self._rows, rows)
        self._drawn = {}, []  # the new bars are empty
        self._refresh()

    def _slid(self, event: param.parameterized.Event):
        if not self._moving:
            self._set(np.array([slider.value for slider in self.sliders]))

    def _follow(self, *events: param.parameterized.Event):
        self._moving = True
        try:
            for slider, value in zip(self.sliders, self.coefficients.tolist(), strict=False):
                slider.value = value
        finally:
            self._moving = False

    def _draw(self, datasets: Mapping[str, xr.Dataset]):
        (dataset,) = datasets.values()
        slopes = dataset.slope.sel(split=self.state.split).values
        largest = np.nanmax(np.abs(slopes), initial=0.0) or 1.0
        for bar, slope in zip(self._bars, slopes, strict=False):
            bar.object = _bar_html(float(slope), float(slope / largest))

    def _numbers(self, datasets: Mapping[str, xr.Dataset]) -> str:
        (dataset,) = datasets.values()
        here = dataset.sel(split=self.state.split)
        slopes = here.slope.values
        if not np.isfinite(slopes).any():
            return lost_text(len(slopes), "slope")
        steepest = int(np.nanargmax(np.abs(slopes)))
        return (
            f"at this mix: {self.state.split} loss {number(here.base_loss.item())}, accuracy "
            f"{number(here.base_accuracy.item())} · steepest: {here.layer.values[steepest]} {signed(slopes[steepest])} "
            "nats per coefficient"
        )


def _bar_html(slope: float, share: float) -> str:
    """A bar to the left or to the right of a line, and its number."""
    if np.isnan(slope):
        return "not finite"
    width, color = round(abs(share) * _BAR), COLORS["B"] if slope > 0 else COLORS["A"]
    left = _BAR if slope > 0 else _BAR - width
    bar = f"left:{left}px;width:{width}px;height:12px;top:2px;background:{color};position:absolute"
    axis = f"left:{_BAR}px;width:1px;height:16px;background:#888888;position:absolute"
    return (
        f'<div style="position:relative;height:16px;font-size:12px"><div style="{bar}"></div><div style="{axis}"></div>'
        f'<span style="position:absolute;left:{2 * _BAR + 6}px">{escape(signed(slope))}</span></div>'
    )


def _number(field: pmui.FloatInput | pmui.IntInput) -> float:
    """What stands in a field.

    Raises:
        ValueError: when that is nothing, or beyond its limits.
    """
    low, high = (-np.inf if field.start is None else field.start), (np.inf if field.end is None else field.end)
    if field.value is None or not low <= field.value <= high or not np.isfinite(field.value):
        limits = "" if field.start is None else f" from {low} to {high}"
        came = "nothing" if field.value is None else field.value
        raise ValueError(f"{field.label} must be a number{limits}, got {came}. The layers stay as they are.")
    return field.value
