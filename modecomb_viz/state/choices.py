"""Every choice of the explorer as a parameter, and the sweeps that the choices ask for."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import param

from modecomb_viz.alignment import METHODS, PERTURBATIONS
from modecomb_viz.checkpoints import ModeSet, catalogue, described, open_modes
from modecomb_viz.hypercube import GRANULARITIES, LAWS, PLANES
from modecomb_viz.repair import REPAIRS, has_batch_norm
from modecomb_viz.state.requests import law_parameter, sweeps_of
from modecomb_viz.state.texts import MIX_BOUNDS, as_text, as_texts, count_words, numbers_of
from modecomb_viz.sweep import Sweep

__all__ = [
    "AGAINST",
    "MIX_BOUNDS",
    "ON_DEMAND",
    "PAGES",
    "RESOLUTIONS",
    "TOPICS",
    "UPLOADED",
    "ExplorerState",
    "open_shared",
]

#: The pictures of the explorer, and what is computed for each.
TOPICS: dict[str, tuple[str, ...]] = {
    "map": ("plane",),
    "other": ("other",),
    "difference": ("plane", "other"),
    "inspection": ("inspection",),
    "cut": ("cut",),
    "segment": ("naive", "aligned", "perturbed"),
    "distribution": ("samples",),
    "laws": ("laws",),
    "perturbation": ("perturbation",),
    "transitivity": ("transitivity",),
    "similarity": ("similarity",),
    "mixer": ("layers",),
    "layers": ("layers",),
    "modes": ("matched",),
}

#: The pages of the explorer, and the pictures on each. Only what is on the page is computed.
PAGES: dict[str, tuple[str, ...]] = {
    "Slice": ("map", "other", "difference", "segment", "cut", "inspection"),
    "Distribution": ("distribution", "laws"),
    "Perturbation": ("perturbation",),
    "Transitivity": ("transitivity",),
    "Similarity": ("similarity",),
    "Layers": ("mixer", "layers"),
    "Modes": ("modes",),
}

#: Pictures that are on their page only while the choices ask for something in them.
ON_DEMAND = ("other", "difference", "cut", "inspection")

#: Points per side that the explorer offers; 2^k + 1, so that every coarser level reaches all edges.
RESOLUTIONS = (9, 17, 33, 65, 129)
#: Parameters that are no choices.
_INTERNAL = {"name", "refusal", "shown", "fits"}

#: With what a map can be compared: another matching, another strength, another repair, a view that was kept.
AGAINST = ("nothing", "alignment", "strength", "repair", "kept view")

#: How the names of mode sets begin that a browser sent: they live as long as their session.
UPLOADED = "uploaded-"

_SEED = {"default": 0, "bounds": (0, 9999)}


@lru_cache(maxsize=8)
def open_shared(
    name: str,
    architecture: str = "",
    options: tuple[str, ...] = (),
    data: str = "",
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    trust_code: bool = False,
) -> ModeSet:
    """A mode set by name or folder, opened once for all sessions of this process.

    Arguments as in :func:`~modecomb_viz.checkpoints.described`. Code of the user is run only where ``trust_code`` says
    so, which a choice in the page cannot.
    """
    table = described(architecture, options, data, mean, std)
    modes = open_modes(name, **table, trust_code=trust_code)
    given = [repr(name), *(f"{key}={value!r}" for key, value in table.items()), *["trust_code=True"] * trust_code]
    _CALLS[modes] = f"{name!r}," if len(given) == 1 else f"mc.open_modes({', '.join(given)}),"
    return modes


#: How the mode sets that were opened here are written as an argument.
_CALLS: WeakKeyDictionary[ModeSet, str] = WeakKeyDictionary()


class ExplorerState(param.Parameterized):
    """Every choice of the explorer.

    Args:
        modes: a mode set of your own, a folder of one, or a name of the catalogue, which is offered beside it.

    Attributes:
        first_modes: the name of the modes that it began with.

    Raises:
        ValueError: for a name that is neither in the catalogue nor a folder, or a folder that does not hold a mode set.
    """

    page = param.Selector(objects=list(PAGES), default="Slice", label="Page", doc="Which pictures are shown.")

    modes_name = param.Selector(objects=[], label="Modes", doc="Networks of one architecture, trained independently.")
    a = param.Selector(objects=[], label="A", doc="The network at coefficient 0.")
    b = param.Selector(
        objects=[], label="B", doc="The network at coefficient 1; its units are permuted onto those of A."
    )
    c = param.Selector(objects=[], label="C", doc="The third corner of the three-modes plane, aligned to A as well.")
    alignment = param.Selector(
        objects=list(METHODS),
        default="weight_matching",
        doc="How the units of B are matched to those of A; identity combines the networks as they are.",
    )
    repair = param.Selector(
        objects=list(REPAIRS), default="none", doc="Gives combined units their statistics back, measured on train data."
    )

    plane = param.Selector(objects=list(PLANES), default="split", doc="Which two-dimensional slice the map shows.")
    z_kind = param.Selector(
        objects=["draw", "layers"],
        default="draw",
        label="z",
        doc="Split plane: z is a draw of the distribution below, or 1 on the first layers and 0 on the others.",
    )
    z_layers = param.Integer(1, bounds=(1, 1), label="First layers in z", doc="Layers, from the input, with z = 1.")
    coordinates = param.Selector(
        objects=["affine", "orthonormal"],
        default="affine",
        doc="Three modes: corners at 0 and 1, or true distances.",
    )
    resolution = param.Selector(objects=list(RESOLUTIONS), default=17, doc="Points per side of the map.")
    margin = param.Number(0.0, bounds=(0.0, 2.0), step=0.05, doc="Extends every side by this share of its length.")

    tolerance = param.Number(
        0.0,
        bounds=(0.0, 0.2),
        step=0.005,
        label="Accepted error",
        doc="The map ends as an estimate once two standard errors are within this share of its range; 0: exact.",
    )

    distribution = param.Selector(objects=list(LAWS), default="bernoulli", doc="The law of the coefficients.")
    granularity = param.Selector(objects=list(GRANULARITIES), default="unit", doc="What shares one coefficient.")
    draws = param.Integer(32, bounds=(8, 512), doc="Number of draws in the distribution.")
    seed = param.Integer(**_SEED, label="Seed of the draws", doc="Seed of draws and of random planes.")

    perturbation = param.Selector(
        objects=list(PERTURBATIONS),
        default="shuffle",
        label="Perturbation",
        doc="shuffle: re-assigns a share of the units; noise: disturbs the similarities and matches again.",
    )
    strength = param.Number(
        0.0, bounds=(0.0, 1.0), step=0.01, label="Strength", doc="0 keeps the matching, 1 replaces all of it."
    )
    perturbation_seed = param.Integer(**_SEED, label="Seed of the perturbation", doc="Which units are moved.")

    repeats = param.Integer(5, bounds=(1, 20), label="Repeats", doc="Perturbations per strength, each of its own seed.")
    perturbed = param.Selector(
        objects=["midpoint", "draws"],
        default="midpoint",
        label="Combination",
        doc="What is combined by the perturbed matching: the midpoint, or eight draws of the distribution below.",
    )
    per_group = param.Boolean(
        False, label="Each group alone", doc="Perturbs every group of units alone as well, all others matched."
    )
    mix = param.List(default=[], item_type=float, doc="Coefficient of every layer in the mixer; empty: all at 0, A.")

    region = param.Tuple(
        default=None,
        length=4,
        doc="The part of the plane that is shown: lowest and highest u, lowest and highest v.",
    )
    inspected = param.Tuple(default=None, length=2, doc="u and v of the point of the map that is looked at.")
    cut = param.Tuple(default=None, length=4, doc="u and v of the start and of the end of the cut through the map.")

    against = param.Selector(
        objects=list(AGAINST),
        default="nothing",
        label="Compare with",
        doc="A second map beside the first, in the same colours, and their difference: all else is the same.",
    )
    other_alignment = param.Selector(
        objects=list(METHODS), default="identity", label="Alignment there", doc="How the other map's units are matched."
    )
    other_strength = param.Number(
        0.0, bounds=(0.0, 1.0), step=0.01, label="Strength there", doc="How far the other map's matching is perturbed."
    )
    other_repair = param.Selector(
        objects=list(REPAIRS), default="none", label="Repair there", doc="What is repaired in the other map's networks."
    )
    kept = param.String("", doc="The view that was kept to be compared with, as the query of a URL.")

    quantity = param.Selector(objects=["loss", "accuracy"], default="loss", doc="What the pictures show.")
    split = param.Selector(objects=["test", "train"], default="test", doc="The data it is measured on.")
    log_scale = param.Boolean(False, label="Logarithmic loss", doc="Logarithmic colours of the loss map.")

    contours = param.Boolean(False, label="Contours", doc="Lines of equal height over the map.")
    keep_colors = param.Boolean(
        True,
        label="Keep the colours",
        doc="The map's range of colours stays, so that maps can be compared, until 'Fit colours' is pressed; off: it "
        "follows every map.",
    )

    fits = param.Integer(0, doc="How often the colours of the map were asked to fit what it shows.")
    shown = param.List(default=[], doc="Pictures that are displayed by themselves, whatever the page.")
    refusal = param.String("", doc="Why what was asked for last is not done, in words; empty when it is.")

    def __init__(self, modes: ModeSet | str = "digits-mlp", **choices: Any):
        if isinstance(modes, str) and modes not in catalogue():
            modes = open_shared(modes)
        own = modes if isinstance(modes, ModeSet) else None
        self._own, self._mix = {own.name: own} if own else {}, []
        self._opened = self.first_modes = own.name if own else modes
        super().__init__()
        self.param.modes_name.objects = list(dict.fromkeys([*self._own, *catalogue()]))
        self.modes_name = self._opened
        self.param.watch(self._leave_places, ["plane", "coordinates", *_PLACES], onlychanged=False)
        self.param.watch(self._return, ["modes_name"], precedence=100)
        self.param.update(choices)

    @property
    def choices(self) -> dict[str, Any]:
        """Every choice by name."""
        return {name: getattr(self, name) for name in self.param if name not in _INTERNAL}

    def restore(self, choices: Mapping[str, Any]):
        """Set choices that were together before; the modes first, as others depend on them."""
        if "modes_name" in choices:
            self.modes_name = choices["modes_name"]
        self.param.update({name: value for name, value in choices.items() if name != "modes_name"})

    @property
    def defaults(self) -> dict[str, str]:
        """What :meth:`choose` takes to bring every choice back to what it was at first, and to the first networks."""
        first = {name: self.param[name].default for name in self.choices}
        return as_texts(first | self._first_modes() | {"modes_name": self.first_modes})

    @property
    def query(self) -> dict[str, str]:
        """What :meth:`choose` takes to make these choices again in a new page: those that differ from the defaults."""
        defaults = self.defaults
        differing = {name: text for name, text in as_texts(self.choices).items() if text != defaults.get(name)}
        return {name: differing[name] for name in sorted(differing, key="modes_name".__ne__)}

    def made_of(self, query: Mapping[str, str]) -> "ExplorerState":
        """Another state, of the same first networks, with the choices of a :attr:`query`.

        Raises:
            ValueError: when one of them cannot be made.
        """
        other = type(self)(self._open(self.first_modes))
        other._own, other.param.modes_name.objects = {**self._own, **other._own}, self.param.modes_name.objects
        if faults := other.choose(query):
            raise ValueError(" ".join(faults))
        return other

    @property
    def code(self) -> str:
        """Lines of Python that show this view in a notebook."""
        defaults = self.defaults
        differing = {name: value for name, value in self.choices.items() if as_text(value) != defaults[name]}
        differing.pop("modes_name", None)
        modes = self.modes
        called = _CALLS.get(modes, f"modes,  # the ModeSet '{modes.name}'")
        lines = [called, *(f"{name}={value!r}," for name, value in differing.items())]
        return "import modecomb_viz as mc\n\nexplorer = mc.Explorer(\n    " + "\n    ".join(lines) + "\n)\nexplorer"

    def _first_modes(self) -> dict[str, str]:
        """A, B and C as a mode set offers them at first."""
        names = list(self.modes.params)
        return {mode: names[min(i, len(names) - 1)] for i, mode in enumerate("abc")}

    def offer(self, modes: ModeSet):
        """Offer one more mode set, to this session alone, and choose it.

        Raises:
            ValueError: when another set has its name.
        """
        if modes.name in (taken := self.param.modes_name.objects):
            raise ValueError(f"there are modes called '{modes.name}' already. The names are {', '.join(taken)}.")
        self._own = {**self._own, modes.name: modes}
        self.param.modes_name.objects = [*self._own, *(name for name in taken if name not in self._own)]
        self.modes_name = modes.name

    @property
    def modes(self) -> ModeSet:
        """The chosen mode set; that before, while a choice is refused."""
        return self._open(self._opened)

    def _open(self, name: str) -> ModeSet:
        return self._own.get(name) or open_shared(name)

    @param.depends("modes_name", watch=True)
    def _offer_modes(self):
        """Offer what the chosen set has; a set that cannot be opened is refused."""
        try:
            names = list(self._open(self.modes_name).params)
        except ValueError as error:
            if self.modes_name == self._opened:
                raise
            self.refusal = str(error)
            return
        self._opened, self.refusal = self.modes_name, ""
        layers, first = len(self.modes.spec.layer_names), self._first_modes()
        repairs = [name for name in REPAIRS if name != "batchnorm" or has_batch_norm(self.modes.model)]
        offered = dict.fromkeys(first, names) | dict.fromkeys(("repair", "other_repair"), repairs)
        gone = {name for name, options in offered.items() if getattr(self, name) not in options}
        if gone & {"a", "b"}:  # the one that is there might be what the other becomes
            gone |= {"a", "b"}
        fitting: dict[str, Any] = {name: first.get(name, "none") for name in gone}
        self.param.z_layers.bounds = (1, max(1, layers - 1))
        fitting["z_layers"] = min(self.z_layers, max(1, layers - 1))
        if len(self.mix) != layers:
            fitting["mix"] = []
        if self.against == "kept view":  # of the networks before
            fitting["against"] = "nothing"
        for name in gone:  # still with what is chosen, or a widget would choose for itself
            self.param[name].objects = [*offered[name], getattr(self, name)]
        self.param.update(fitting)
        for name, options in offered.items():
            self.param[name].objects = options

    @param.depends("mix", watch=True)
    def _check_mix(self):
        """A mix of another network is refused; that before comes back."""
        layers, (low, high) = self.modes.spec.layer_names, MIX_BOUNDS
        if len(self.mix) in (0, len(layers)) and all(low <= value <= high for value in self.mix):
            self._mix = self.mix
            return
        given, self.mix = self.mix, self._mix
        raise ValueError(
            f"mix must be {count_words(self.param.mix)}; {self.modes_name} has {len(layers)}, "
            f"{', '.join(layers[:8])}{' …' * (len(layers) > 8)}. Got {given}."
        )

    def _leave_places(self, *events: param.parameterized.Event):
        """Another plane has other coordinates: what stood at those of the old one goes, unless it came along."""
        came = {event.name for event in events}
        if any(event.name not in _PLACES and event.new != event.old for event in events):
            self.param.update({name: None for name in _PLACES if name not in came})

    def _return(self, *events: param.parameterized.Event):
        """Last of all that listens to a choice of modes: where it was refused, the name of those before comes back."""
        if self.modes_name != self._opened:
            refusal, self.modes_name = self.refusal, self._opened
            self.refusal = refusal

    def choose(self, choices: Mapping[str, str]) -> list[str]:
        """Set parameters from text, as in the query of a URL: ``{"strength": "0.3", "plane": "random"}``.

        Returns one sentence for every choice that is not allowed or refused; those parameters keep their value.
        """
        faults, self.refusal = list[str](), ""
        for name in sorted(choices, key=_late):
            try:
                self._choose(name, choices[name])
            except ValueError as error:
                faults.append(str(error))
            if self.refusal:  # modes that cannot be opened; it goes on with the next choice
                faults.append(self.refusal)
                self.refusal = ""
        return faults

    def attempt(self, name: str, text: str):
        """Set one parameter from text; why that cannot be done is said in ``refusal``."""
        self.refusal = " ".join(self.choose({name: text}))

    def _choose(self, name: str, text: str):
        if name not in self.param or name in _INTERNAL:
            choices = ", ".join(sorted(set(self.param) - _INTERNAL))
            raise ValueError(f"there is no choice '{name}'. The choices are {choices}.")
        declared, kept = self.param[name], f"It stays at {getattr(self, name)}."
        try:
            if isinstance(declared, param.Selector):
                setattr(self, name, {str(option): option for option in declared.objects}[text])
            elif isinstance(declared, param.Tuple | param.List):
                setattr(self, name, numbers_of(text, declared))
            elif isinstance(declared, param.String):
                setattr(self, name, text)
            elif isinstance(declared, param.Boolean):
                setattr(self, name, {"true": True, "1": True, "false": False, "0": False}[text.lower()])
            else:
                setattr(self, name, int(text) if isinstance(declared, param.Integer) else float(text))
        except KeyError:
            if name == "modes_name" and text.startswith(UPLOADED):
                raise ValueError(
                    f"'{text}' were networks that a browser sent, which are kept only as long as their page is open. "
                    f"Send them again on the page Modes. {kept}"
                ) from None
            options = declared.objects if isinstance(declared, param.Selector) else ["true", "false"]
            raise ValueError(f"{name} must be one of {', '.join(map(str, options))}, got '{text}'. {kept}") from None
        except ValueError:
            if isinstance(declared, param.Selector | param.String):
                raise
            if isinstance(declared, param.Tuple | param.List):
                raise ValueError(f"{name} must be {count_words(declared)}, got '{text}'. {kept}") from None
            low, high = declared.bounds
            kind = "a whole number" if isinstance(declared, param.Integer) else "a number"
            raise ValueError(f"{name} must be {kind} from {low:g} to {high:g}, got '{text}'. {kept}") from None

    @property
    def warning(self) -> str:
        """What a reader of the pictures must know of the choices; empty when there is nothing."""
        if self.repair in ("batchnorm", "repair") or not has_batch_norm(self.modes.model):
            return ""
        return (
            f"{self.modes_name} has BatchNorm, and its running statistics are those of no combined network: what the "
            "pictures show is mostly that. Choose repair 'batchnorm' or 'repair' to measure them again."
        )

    def show(self, view: str):
        """Have a picture computed on whatever page: it is displayed by itself."""
        if view not in self.shown:
            self.shown = [*self.shown, view]

    @property
    def topics(self) -> list[str]:
        """The topics of the page and of the pictures that are displayed by themselves, with and without meaning."""
        return list(dict.fromkeys(topic for view in (*PAGES[self.page], *self.shown) for topic in TOPICS[view]))

    def sweeps(self, topics: Iterable[str] | None = None) -> dict[str, Sweep]:
        """The sweeps that the choices ask for, by topic.

        Args:
            topics: of which; by default those of the page and of the pictures that are displayed by themselves.

        A topic that the choices leave without meaning, such as the perturbed segment at strength 0, is not there.

        Raises:
            ValueError: when choices exclude each other, in words for the page.
        """
        return sweeps_of(self, self.topics if topics is None else topics)


#: Coordinates on the plane.
_PLACES = ("region", "inspected", "cut")


def _late(name: str) -> int:
    """Where a choice comes in the order in which they are made: after those that it depends on."""
    return {"modes_name": 0, "plane": 1, "coordinates": 1}.get(name, 2)


for _distribution, _law in LAWS.items():
    for _name, _parameter in _law.parameters.items():
        ExplorerState.param.add_parameter(
            law_parameter(_distribution, _name),
            param.Boolean(bool(_parameter.default), label="Clip to [0, 1]", doc=_parameter.doc)
            if _name == "clip"
            else param.Number(
                _parameter.default,
                bounds=_parameter.allowed,
                softbounds=_parameter.offered,
                step=0.01,
                label=_name,
                doc=_parameter.doc,
            ),
        )
