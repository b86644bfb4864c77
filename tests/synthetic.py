"""Results with a known shape, made without a network: for the rooms that draw."""

import json

import numpy as np
import xarray as xr

from modecomb_viz.results import label

STRENGTHS = [0.0, 0.5, 1.0]
REFERENCES = ["A", "B", "midpoint", "naive midpoint"]
SPLITS = ["test", "train"]


def _finish(dataset, sweep, attributes=None, **settings):
    common = {"a": "A", "b": "B", "alignment": "weight_matching", "perturbation": "shuffle", "strength": STRENGTHS}
    recipe = {"sweep": sweep, "modes": "synthetic <i>", **common, **settings}
    dataset.attrs = {"sweep": sweep, "recipe": json.dumps(recipe), "wall_time": 1.5, "versions": '{"torch": "0"}'}
    return label(dataset, attributes)


def _pair(loss):
    """Loss of test and train, and an accuracy that falls with it."""
    both = np.stack([loss, 0.8 * loss], 1)
    return both, np.exp(-both)


def segment(alignment="weight_matching"):
    """A parabola of height 1 between ends 0.1 and 0.3; strength raises the aligned one from a tenth of that."""
    t = np.linspace(0, 1, 9)
    height = np.ones(3) if alignment == "identity" else 0.1 + 0.9 * np.array(STRENGTHS)
    loss, accuracy = _pair(0.1 + 0.2 * t + 4 * height[:, None] * t * (1 - t))
    dims = ("strength", "split", "t")
    dataset = xr.Dataset(
        {"loss": (dims, loss), "accuracy": (dims, accuracy)}, {"strength": STRENGTHS, "split": SPLITS, "t": t}
    )
    if alignment == "identity":
        dataset = dataset.isel(strength=0, drop=True)
        return _finish(dataset, "segment", alignment=alignment, strength=0.0)
    return _finish(dataset, "segment", alignment=alignment)


def plane(resolution=17):
    """A hill over the anti-diagonal that grows with the strength."""
    axis = np.linspace(0, 1, resolution)
    u, v = np.meshgrid(axis, axis)
    hill = np.stack([0.05 + 0.1 * u + (0.1 + s) * (u - v) ** 2 for s in STRENGTHS])
    loss, accuracy = _pair(hill)
    dims = ("strength", "split", "v", "u")
    dataset = xr.Dataset(
        {
            "loss": (dims, loss),
            "accuracy": (dims, accuracy),
            "mark_u": ("mark", [0.0, 1.0, 1.0]),
            "mark_v": ("mark", [0.0, 1.0, 0.0]),
        },
        {"strength": STRENGTHS, "split": SPLITS, "v": axis, "u": axis, "mark": ["A", "π(B)", "z"]},
    )
    ends = {"low": 0.0, "high": 1.0, "units": "coefficient"}
    axes = {"u": {"long_name": "u: where z = 1", **ends}, "v": {"long_name": "v: where z = 0", **ends}}
    return _finish(dataset, "plane", axes, plane="split", resolution=resolution, margin=0.0)


def _references():
    test = np.array([0.1, 0.3, 0.25, 1.2])
    return {"reference_loss": np.stack([test, 0.8 * test]), "reference_accuracy": np.exp(-np.stack([test, 0.8 * test]))}


def samples(n=40):
    """Draws at 0.2 + a known spread, higher with the strength."""
    spread = np.linspace(0, 0.2, n)
    loss, accuracy = _pair(np.stack([0.2 + s + spread for s in STRENGTHS]))
    dims = ("strength", "split", "sample")
    references = {k: (("strength", "split", "reference"), np.stack([v] * 3)) for k, v in _references().items()}
    dataset = xr.Dataset(
        {"loss": (dims, loss), "accuracy": (dims, accuracy), **references},
        {"strength": STRENGTHS, "split": SPLITS, "sample": np.arange(n), "reference": REFERENCES},
    )
    return _finish(dataset, "samples", distribution="bernoulli", parameters={"p": 0.5}, granularity="unit", n=n)


def perturbation(repeats=3):
    """The midpoint rises from 0.25 to 1.25 with the strength, repeats a tenth apart."""
    rise = 0.25 + np.array(STRENGTHS)[:, None] * (1 + 0.1 * np.arange(repeats))
    loss = np.stack([rise, 0.8 * rise])
    churn = np.repeat(np.array(STRENGTHS)[:, None], repeats, 1)
    dims = ("split", "strength", "repeat")
    dataset = xr.Dataset(
        {
            "loss": (dims, loss),
            "accuracy": (dims, np.exp(-loss)),
            "churn": (dims[1:], churn),
            "objective_lost": (dims[1:], churn),
            **{k: (("split", "reference"), v) for k, v in _references().items()},
        },
        {"strength": STRENGTHS, "split": SPLITS, "repeat": np.arange(repeats), "reference": REFERENCES},
    )
    return _finish(dataset, "perturbation")


def everything():
    """What a standard report shows."""
    return [plane(), segment("identity"), segment(), samples(), perturbation()]
