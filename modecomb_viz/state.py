"""What the explorer shows: every choice as a parameter, and the results that follow from the choices.

:class:`ExplorerState` knows which sweeps its choices ask for; :class:`Results` has them computed by an
executor and holds what has arrived. Neither knows a widget, so both are driven and tested from Python.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from json import dumps
from threading import Lock
from typing import Any

import param
import xarray as xr

from modecomb_viz.alignment import METHODS, PERTURBATIONS
from modecomb_viz.checkpoints import ModeSet, catalogue, described, open_modes
from modecomb_viz.executor import Job, Progress, Queue
from modecomb_viz.hypercube import GRANULARITIES, LAWS, PLANES
from modecomb_viz.repair import REPAIRS, has_batch_norm
from modecomb_viz.sweep import PlaneSweep, SamplesSweep, SegmentSweep, Sweep

__all__ = ["RESOLUTIONS", "TOPICS", "ExplorerState", "Results", "law_parameter", "open_shared"]

#: The pictures of the explorer, and what is computed for each.
TOPICS: dict[str, tuple[str, ...]] = {
    "map": ("plane",),
    "distribution": ("samples",),
    "segment": ("naive", "aligned", "perturbed"),
}

#: Points per side that the explorer offers; 2^k + 1, so that every coarser level reaches all edges.
RESOLUTIONS = (9, 17, 33, 65, 129)

#: Points of every curve: 2^k + 1, so that the midpoint is there at every level.
_SEGMENT_POINTS = 33

#: Seconds between two reports of progress of one topic.
_REPORT_EVERY = 0.1

#: How many final results are kept to be shown again at once.
_KEPT = 64

_SEED = {"default": 0, "bounds": (0, 9999)}


def law_parameter(distribution: str, name: str) -> str:
    """The name of the state's parameter that holds a parameter of a law, for instance ``normal_mean``."""
    return f"{distribution}_{name}"


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
    return open_modes(name, **described(architecture, options, data, mean, std), trust_code=trust_code)


class ExplorerState(param.Parameterized):
    """Every choice of the explorer.

    Args:
        modes: a mode set of your own, a folder of one, or a name of the catalogue, which is offered beside it.

    Raises:
        ValueError: for a name that is neither in the catalogue nor a folder, or a folder that does not hold a mode set.
    """

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

    quantity = param.Selector(objects=["loss", "accuracy"], default="loss", doc="What the pictures show.")
    split = param.Selector(objects=["test", "train"], default="test", doc="The data it is measured on.")
    log_scale = param.Boolean(False, label="Logarithmic loss", doc="Logarithmic colours of the loss map.")

    refusal = param.String("", doc="Why the modes that were chosen last cannot be shown; empty when they can.")

    def __init__(self, modes: ModeSet | str = "digits-mlp", **choices: Any):
        if isinstance(modes, str) and modes not in catalogue():
            modes = open_shared(modes)
        own = modes if isinstance(modes, ModeSet) else None
        self._own = {own.name: own} if own else {}
        self._opened = own.name if own else modes
        super().__init__()
        self.param.modes_name.objects = list(dict.fromkeys([*self._own, *catalogue()]))
        self.modes_name = self._opened
        self.param.watch(self._return, ["modes_name"], precedence=100)
        self.param.update(choices)

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
        layers = len(self.modes.spec.layer_names)
        for i, mode in enumerate("abc"):
            self.param[mode].objects = names
            if getattr(self, mode) not in names:
                setattr(self, mode, names[min(i, len(names) - 1)])
        self.param.z_layers.bounds = (1, max(1, layers - 1))
        self.z_layers = min(self.z_layers, max(1, layers - 1))
        offered = [name for name in REPAIRS if name != "batchnorm" or has_batch_norm(self.modes.model)]
        self.param.repair.objects = offered
        if self.repair not in offered:
            self.repair = "none"

    def _return(self, *events: param.parameterized.Event):
        """Last of all that listens to a choice of modes: where it was refused, the name of those before comes back."""
        if self.modes_name != self._opened:
            refusal, self.modes_name = self.refusal, self._opened
            self.refusal = refusal

    def choose(self, choices: Mapping[str, str]) -> list[str]:
        """Set parameters from text, as in the query of a URL: ``{"strength": "0.3", "plane": "random"}``.

        Returns one sentence for every choice that is not allowed; those parameters keep their value.
        """
        faults = []
        for name, text in choices.items():
            try:
                self._choose(name, text)
            except ValueError as error:
                faults.append(str(error))
        return faults

    def _choose(self, name: str, text: str):
        if name not in self.param or name in ("name", "refusal"):
            choices = ", ".join(sorted(set(self.param) - {"name", "refusal"}))
            raise ValueError(f"there is no choice '{name}'. The choices are {choices}.")
        declared, kept = self.param[name], f"It stays at {getattr(self, name)}."
        try:
            if isinstance(declared, param.Selector):
                setattr(self, name, {str(option): option for option in declared.objects}[text])
            elif isinstance(declared, param.Boolean):
                setattr(self, name, {"true": True, "1": True, "false": False, "0": False}[text.lower()])
            else:
                setattr(self, name, int(text) if isinstance(declared, param.Integer) else float(text))
        except KeyError:
            options = declared.objects if isinstance(declared, param.Selector) else ["true", "false"]
            raise ValueError(f"{name} must be one of {', '.join(map(str, options))}, got '{text}'. {kept}") from None
        except ValueError:
            if isinstance(declared, param.Selector):
                raise
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

    @property
    def law(self) -> dict[str, Any]:
        """Distribution, parameters and granularity, as sweeps take them."""
        names = LAWS[self.distribution].parameters
        values = {name: float(getattr(self, law_parameter(self.distribution, name))) for name in names}
        return {"distribution": self.distribution, "parameters": values, "granularity": self.granularity}

    @property
    def _common(self) -> dict[str, Any]:
        return {"a": self.a, "b": self.b, "splits": (self.split,), "repair": self.repair}

    @property
    def _matching(self) -> dict[str, Any]:
        return {
            **self._common,
            "alignment": self.alignment,
            "perturbation": self.perturbation,
            "strength": self.strength,
            "perturbation_seed": self.perturbation_seed,
            "seed": self.seed,
        }

    def sweeps(self) -> dict[str, Sweep]:
        """The sweeps that the choices ask for, by topic.

        Raises:
            ValueError: when choices exclude each other, in words for the page.
        """
        if self.a == self.b:
            raise ValueError(f"A and B are both network '{self.a}'. Choose two different networks.")
        sweeps: dict[str, Sweep] = {
            "plane": PlaneSweep(
                plane=self.plane,
                resolution=self.resolution,
                margin=self.margin,
                tolerance=self.tolerance,
                coordinates=self.coordinates,
                c=self.c,
                z="draw" if self.z_kind == "draw" else self.z_layers,
                **self.law,
                **self._matching,
            ),
            "samples": SamplesSweep(n=self.draws, **self.law, **self._matching),
            "naive": SegmentSweep(**self._common, alignment="identity", points=_SEGMENT_POINTS),
        }
        if self.alignment != "identity":
            sweeps["aligned"] = SegmentSweep(**self._common, alignment=self.alignment, points=_SEGMENT_POINTS)
        if self.strength:
            sweeps["perturbed"] = SegmentSweep(**{**self._matching, "seed": 0}, points=_SEGMENT_POINTS)
        return sweeps


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


def _at_once(call: Callable[[], None]):
    call()


class Results(param.Parameterized):
    """What has been computed for a state, growing from coarse to fine.

    A change of the state starts only the sweeps that it changes; a newer request replaces the older one of its
    topic. What was shown stays until something newer has arrived, also after an error.

    Args:
        state: the choices.
        executor: where jobs run.
        publish: brings a call from the executor's thread to the thread that owns the pictures.
    """

    datasets = param.Dict(default={}, doc="The newest Dataset by topic.")
    progress = param.Dict(default={}, doc="Progress by topic, of those that are being computed.")
    stopped = param.List(default=[], doc="Topics whose computation was stopped before its end.")
    error = param.String("", doc="Why the last request could not be computed, in words; empty when it could.")

    def __init__(self, state: ExplorerState, executor: Queue, publish: Callable[[Callable[[], None]], None] = _at_once):
        super().__init__()
        self.state, self._executor, self._publish = state, executor, publish
        self._wanted: dict[str, str] = {}
        self._finished: OrderedDict[str, xr.Dataset] = OrderedDict()
        self._reported: dict[str, float] = {}
        self._lock, self._asked = Lock(), False
        self._arrived: dict[str, dict[str, Any]] = {}
        state.param.watch(lambda *events: self.request(), list(state.param))
        self.request()

    def request(self):
        """Start what the state asks for and is neither there nor under way."""
        try:
            modes, sweeps = self.state.modes, self.state.sweeps()
        except ValueError as error:
            self.error = str(error)
            return
        datasets, progress, jobs, stopped = dict(self.datasets), dict(self.progress), [], list(self.stopped)
        for topic in self._wanted.keys() - sweeps.keys():
            self._drop(topic)
            for table in (datasets, progress):
                table.pop(topic, None)
        for topic, sweep in reversed(sweeps.items()):
            key = dumps(sweep.recipe(modes), sort_keys=True)
            if self._wanted.get(topic) != key:
                self._wanted[topic] = key
                progress.pop(topic, None)
                stopped = [other for other in stopped if other != topic]
                if key in self._finished:
                    self._executor.cancel(id(self), topic)
                    self._finished.move_to_end(key)
                    datasets[topic] = self._finished[key]
                else:
                    progress[topic] = Progress(0, 1)
                    jobs.append((topic, key, modes, sweep))
        self.param.update(datasets=datasets, progress=progress, stopped=stopped, error="")
        for job in jobs:
            self._start(*job)

    def stop(self, topics: Iterable[str]):
        """End the work on topics as it stands; what has arrived stays shown."""
        ended = [topic for topic in topics if topic in self.progress]
        for topic in ended:
            self._executor.cancel(id(self), topic)
        progress = {topic: value for topic, value in self.progress.items() if topic not in ended}
        self.param.update(progress=progress, stopped=sorted({*self.stopped, *ended}))

    def resume(self, topics: Iterable[str]):
        """Start the work on stopped topics again."""
        for topic in topics:
            if topic in self.stopped:
                self._wanted.pop(topic, None)
        self.request()

    def cancel(self):
        """Stop all work; for the end of a session."""
        self._wanted.clear()
        self._executor.cancel(id(self))

    def _drop(self, topic: str):
        del self._wanted[topic]
        self._executor.cancel(id(self), topic)

    def _start(self, topic: str, key: str, modes: ModeSet, sweep: Sweep):
        job = Job(
            lambda: sweep.steps(modes),
            on_step=lambda step: self._on_step(topic, key, step),
            on_end=lambda error: self._arrive(topic, key, ended=error),
        )
        self._executor.submit(id(self), topic, job)

    def _arrive(self, topic: str, key: str, **news: Any):
        """In the executor's thread: note what is newest of a topic, and ask for it to be shown, once at a time.

        A page that is slow to draw skips intermediate pictures instead of falling behind.
        """
        with self._lock:
            noted = self._arrived.get(topic, {})
            self._arrived[topic] = {**(noted if noted.get("key") == key else {}), "key": key, **news}
            if self._asked:
                return
            self._asked = True
        self._publish(self._show)

    def _on_step(self, topic: str, key: str, step: Progress | xr.Dataset):
        """In the executor's thread: pass on every Dataset, and progress now and then."""
        if isinstance(step, xr.Dataset):
            self._arrive(topic, key, dataset=step)
        elif time.monotonic() - self._reported.get(topic, 0.0) > _REPORT_EVERY:
            self._reported[topic] = time.monotonic()
            self._arrive(topic, key, progress=step)

    def _show(self):
        """Show everything that has arrived and is still wanted, in one update."""
        with self._lock:
            arrived, self._arrived, self._asked = self._arrived, {}, False
        datasets, progress, error = dict(self.datasets), dict(self.progress), self.error
        for topic, news in arrived.items():
            if self._wanted.get(topic) != news["key"] or topic in self.stopped:
                continue
            if "dataset" in news:
                datasets[topic] = news["dataset"]
            if "progress" in news:
                progress[topic] = news["progress"]
            if "ended" in news:
                progress.pop(topic, None)
                error = self._end(topic, news["key"], news["ended"], datasets) or error
        self.param.update(datasets=datasets, progress=progress, error=error)

    def _end(self, topic: str, key: str, fault: Exception | None, datasets: Mapping[str, xr.Dataset]) -> str:
        """Keep a final result, or give the words for a failure."""
        if fault is not None:
            del self._wanted[topic]
            return str(fault) if isinstance(fault, ValueError) else f"{type(fault).__name__}: {fault}"
        self._finished[key] = datasets[topic]
        while len(self._finished) > _KEPT:
            self._finished.popitem(last=False)
        return ""
