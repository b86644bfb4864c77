"""The sidebar: one control per choice, each in one place; what would change nothing on the page is hidden."""

from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

from modecomb_viz.explorer.notebook import NotebookViewer
from modecomb_viz.hypercube import LAWS
from modecomb_viz.state import PAGES, ExplorerState, law_parameter

__all__ = ["Controls"]

#: Widgets by kind of parameter.
_WIDGETS: dict[type[param.Parameter], type] = {
    param.Boolean: pmui.Switch,
    param.Selector: pmui.Select,
    param.Integer: pmui.IntSlider,
    param.Number: pmui.FloatSlider,
}

_LAW_PARAMETERS = tuple(law_parameter(law, name) for law in LAWS for name in LAWS[law].parameters)

#: The controls, from top to bottom.
_SECTIONS: dict[str, tuple[str, ...]] = {
    "Networks": ("modes_name", "a", "b", "c", "alignment", "repair"),
    "Matching perturbation": ("perturbation", "strength", "perturbation_seed", "repeats", "per_group", "perturbed"),
    "Distribution of the coefficients": ("distribution", *_LAW_PARAMETERS, "granularity", "draws", "seed"),
    "Map": ("plane", "z_kind", "z_layers", "coordinates", "resolution", "margin", "tolerance"),
    "Comparison": ("against", "other_alignment", "other_strength", "other_repair"),
    "Shown": ("quantity", "split", "log_scale", "contours", "keep_colors"),
}


def _widget(state: ExplorerState, name: str) -> pn.viewable.Viewable:
    declared = state.param[name]
    looks = {"description": declared.doc, "size": "small", "sizing_mode": "stretch_width"}
    if name.endswith("seed"):
        return _seed(state, name, **looks)
    kind = next(widget for kind, widget in _WIDGETS.items() if isinstance(declared, kind))
    return kind.from_param(declared, **looks)


def _seed(state: ExplorerState, name: str, **looks: Any) -> pmui.IntInput:
    """A field for a seed: what is none is refused in words, and the seed before comes back."""
    low, high = state.param[name].bounds
    field = pmui.IntInput(label=state.param[name].label, value=getattr(state, name), start=low, end=high, **looks)

    def chosen(event: param.parameterized.Event):
        if event.new != getattr(state, name):
            state.attempt(name, "" if event.new is None else str(event.new))
            field.value = getattr(state, name)

    field.param.watch(chosen, ["value"])
    state.param.watch(lambda event: field.param.update(value=event.new), [name])
    return field


#: Choices on which it depends what other choices matter.
_DECIDING = ["page", "shown", "distribution", "plane", "z_kind", "perturbed", "quantity", "against"]


def _relevant(state: ExplorerState) -> dict[str, bool]:
    """Which controls have an effect, on the page or on a picture that is displayed by itself."""
    pages = [page for page, views in PAGES.items() if page == state.page or set(views) & set(state.shown)]
    found = [_relevant_on(page, state) for page in pages]
    return {name: any(one[name] for one in found) for name in found[0]}


def _relevant_on(on: str, state: ExplorerState) -> dict[str, bool]:
    """Which controls have an effect on a page under the present choices."""
    networks = on != "Modes"
    split, draw = state.plane == "split", state.z_kind == "draw"
    law = {
        "Slice": split and draw,
        "Distribution": True,
        "Similarity": True,
        "Perturbation": state.perturbed == "draws",
    }.get(on, False)
    random = law or (on == "Slice" and state.plane == "random")
    relevant = dict.fromkeys(_SECTIONS["Networks"] + _SECTIONS["Matching perturbation"] + _SECTIONS["Shown"], networks)
    relevant |= dict.fromkeys(_SECTIONS["Map"], on == "Slice")
    relevant |= {name: law and name.startswith(f"{state.distribution}_") for name in _LAW_PARAMETERS}
    relevant |= dict.fromkeys(("repeats", "per_group", "perturbed"), on == "Perturbation")
    relevant |= dict.fromkeys(("a", "b"), on != "Transitivity")
    three = on == "Slice" and state.plane == "three_modes"
    return relevant | {
        "modes_name": True,
        "alignment": True,
        "split": True,
        "distribution": law,
        "granularity": random,
        "seed": random,
        "draws": on in ("Distribution", "Similarity"),
        "z_kind": on == "Slice" and split,
        "z_layers": on == "Slice" and split and not draw,
        "coordinates": three,
        "c": three,
        "against": on == "Slice",
        **{f"other_{what}": on == "Slice" and state.against == what for what in ("alignment", "strength", "repair")},
        "keep_colors": on == "Slice",
        "contours": on == "Slice",
        "log_scale": on == "Slice" and state.quantity == "loss",
    }


class Controls(NotebookViewer):
    """The sidebar: one widget per parameter; a control that would change nothing is hidden."""

    def __init__(self, state: ExplorerState):
        super().__init__()
        self.state = state
        self.widgets = {name: _widget(state, name) for names in _SECTIONS.values() for name in names}
        self.sections = {title: self._section(title, names) for title, names in _SECTIONS.items()}
        self._layout = pn.Column(*self.sections.values(), sizing_mode="stretch_width")
        state.param.watch(self._show_relevant, _DECIDING)
        self._show_relevant()

    def _section(self, title: str, names: tuple[str, ...]) -> pn.Column:
        heading = pmui.Typography(title, variant="subtitle2", margin=(8, 10, 0, 10))
        return pn.Column(heading, *(self.widgets[name] for name in names), sizing_mode="stretch_width")

    def _show_relevant(self, *events: param.parameterized.Event):
        relevant = _relevant(self.state)
        with pn.io.hold():
            for name, visible in relevant.items():
                self.widgets[name].visible = visible
            for title, section in self.sections.items():
                section.visible = any(relevant[name] for name in _SECTIONS[title])

    def __panel__(self) -> pn.Column:
        return self._layout
