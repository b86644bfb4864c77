"""What is loaded: networks, data, symmetry, matching, and what to beware of."""

from collections.abc import Mapping, Sequence
from json import loads

import panel as pn
import panel_material_ui as pmui
import xarray as xr
from markupsafe import Markup

from modecomb_viz.checkpoints import ModeSet
from modecomb_viz.explorer.notebook import Words
from modecomb_viz.explorer.notices import say
from modecomb_viz.explorer.upload import OwnNetworks
from modecomb_viz.explorer.views import View, folded
from modecomb_viz.figures.looks import number
from modecomb_viz.report import TABLE_STYLE, Table
from modecomb_viz.results import recipe
from modecomb_viz.state import ExplorerState, Results
from modecomb_viz.training import cautions

__all__ = ["ModesView"]


class ModesView(View):
    """The mode set: recipe, networks with their hashes, cautions, the objective of the matching, the symmetry.

    Attributes:
        about, symmetry: the tables.
        own: where networks of one's own come in.
    """

    title = "Modes"
    name_of_view = "modes"
    options = ("modes_name", "a", "b", "alignment", "split")
    sentence = (
        "What is loaded, and what the alignment does with it: the networks, the data, which axes of which tensors move "
        "together (the permutation symmetry), and how much closer the weights of B come to those of A."
    )
    formula = "Objective F = Σ⟨A, π(B)⟩ over all trained tensors; the larger F, the smaller ‖A − π(B)‖."

    def __init__(self, state: ExplorerState, results: Results):
        self.about, self.symmetry = (
            Words("", sizing_mode="stretch_width", margin=(4, 10), stylesheets=[TABLE_STYLE]) for _ in range(2)
        )
        self.own = OwnNetworks(state)
        self._cautions = pmui.Alert(object="", severity="info", sizing_mode="stretch_width", margin=(6, 10))
        super().__init__(state, results)
        self._show_modes()
        state.param.watch(self._show_modes, ["modes_name"])

    def _body(self) -> list[pn.viewable.Viewable]:
        symmetry = folded("Permutation symmetry: which axes move together", self.symmetry)
        return [self.about, self.status, self._cautions, symmetry, folded("Your own networks", self.own)]

    def _show_modes(self, *events: object):
        modes = self.state.modes
        self.about.object = str(_networks(modes) + Markup("<br>") + _facts(modes))
        self.symmetry.object = str(Markup("<pre>{}</pre>").format(str(modes.spec)))
        say(self._cautions, *cautions(modes))

    def _draw(self, datasets: Mapping[str, xr.Dataset]):
        """There is no figure: the numbers are in the line below."""

    def _numbers(self, datasets: Mapping[str, xr.Dataset]) -> str:
        (dataset,) = datasets.values()
        ends, made_by = dataset.sel(split=self.state.split).isel(t=[0, -1]), recipe(dataset)
        words = [
            f"{name}: {self.state.split} loss {number(loss)}, accuracy {number(accuracy)}"
            for name, loss, accuracy in zip(
                (made_by["a"], made_by["b"]), ends.loss.values, ends.accuracy.values, strict=True
            )
        ]
        for which, found in loads(dataset.attrs["matching_objective"]).items():
            before, after = found["naive"], found["aligned"]
            words.append(f"objective Σ⟨A, B⟩ of the matching ({which}): {number(before)} before, {number(after)} after")
        return " · ".join(words)


def _networks(modes: ModeSet) -> Markup:
    """One row per mode."""
    seeds: Mapping[str, object] = modes.recipe.seeds if modes.recipe else {}
    rows: list[tuple[str, ...]] = []
    for name, params in modes.params.items():
        trained = sum(tensor.numel() for key, tensor in params.items() if key not in modes.spec.statistics)
        rows.append((name, str(seeds.get(name, "–")), f"{trained:,}", modes.hashes[name]))
    return Table(("network", "seed", "trained weights", "hash of the weights"), rows).html()


def _facts(modes: ModeSet) -> Markup:
    """What the set is made of."""
    recipe, spec = modes.recipe, modes.spec
    shape = "×".join(map(str, modes.test.x.shape[1:]))
    rows: list[Sequence[str]] = [
        ("name", modes.name),
        ("networks", recipe.description if recipe else "given as tensors, without a recipe"),
        ("architecture", recipe.architecture_text if recipe else type(modes.model).__name__),
        ("data", f"{recipe.data_text if recipe else 'given as tensors'}, examples of {shape}"),
        ("train, test examples", f"{len(modes.train.y):,}, {len(modes.test.y):,}"),
        ("hashes of train, test", f"{modes.hashes['train']}, {modes.hashes['test']}"),
        ("training", ", ".join(f"{k} {v}" for k, v in recipe.training.items()) if recipe else "not recorded"),
        ("symmetry", f"{len(spec.sizes)} groups of units; {spec.permuted_share:.1%} of the weights on a permuted axis"),
        *(("note of the tracing", note) for note in spec.notes),
    ]
    return Table(("entry", "value"), [(name, text or "not recorded") for name, text in rows]).html()
