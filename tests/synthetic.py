"""Results with a known shape, made without a network: for the rooms that draw."""

import json

import numpy as np
import xarray as xr

from modecomb_viz.results import label

STRENGTHS = [0.0, 0.5, 1.0]
REFERENCES = ["A", "B", "midpoint", "naive midpoint"]
SPLITS = ["test", "train"]


def at(dataset, strength=0.0):
    """The result at one strength, without the dimension."""
    return dataset.sel(strength=strength, drop=True)


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
    law = {"distribution": "bernoulli", "parameters": {"p": 0.5}, "granularity": "unit", "seed": 0, "n": 64}
    settings = {"plane": "split", "resolution": resolution, "margin": 0.0, "z": "draw", "coordinates": "affine", **law}
    return _finish(dataset, "plane", axes, **settings)


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


def retold(dataset, **settings):
    """The result as if it came from another recipe."""
    return dataset.assign_attrs(recipe=json.dumps(json.loads(dataset.attrs["recipe"]) | settings))


def families():
    """Draws by p and granularity, a plane by granularity: a loss higher by p, and by ten with weights."""
    raised = {"unit": 0.0, "weight": 10.0}
    draws = [
        retold(samples(8).assign(loss=samples(8).loss + p + more), parameters={"p": p}, granularity=granularity)
        for granularity, more in raised.items()
        for p in (0.9, 0.1, 0.5)
    ]
    maps = [retold(plane(5).assign(loss=plane(5).loss + more), granularity=name) for name, more in raised.items()]
    return [*draws, *maps]


def perturbation_of_draws(draws=4, repeats=3):
    """As perturbation, for draws 0.1 apart around it, and for two groups alone that rise half and a quarter as much."""
    dataset = perturbation(repeats)
    around = xr.DataArray(0.1 * (np.arange(draws) - (draws - 1) / 2), dims="sample")
    shares = xr.DataArray([1.0, 0.5, 0.25], dims="group")
    loss = 0.25 + (dataset.loss - 0.25) * shares + around
    variables = {"loss": loss, "accuracy": np.exp(-loss)}
    moved = {name: dataset[name] * shares for name in ("churn", "objective_lost")}
    dims = ("split", "group", "strength", "repeat", "sample")
    shown = dataset.drop_vars([*variables, *moved]).assign(
        {k: v.transpose(*dims) for k, v in variables.items()} | moved
    )
    shown = shown.assign_coords(group=["all groups", "<b>fc1</b>", "fc2"], sample=np.arange(draws))
    settings = {"distribution": "bernoulli", "parameters": {"p": 0.5}, "per_group": True, "n": draws}
    return _finish(shown, "perturbation", **settings)


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
    return _finish(dataset, "perturbation", distribution="constant", parameters={"value": 0.5})


def transitivity():
    """Three pairs; barriers 1 naive, 0.02 direct, 0.05 through a third network, more with the strength."""
    pairs, third = ["A–B", "A–C", "B–C"], {"A–B": "C", "A–C": "B", "B–C": "A"}
    routes = ["naive", "direct", "through A", "through B", "through C", "universe"]
    heights = {"naive": 1.0, "direct": 0.02, "universe": 0.03}
    t = np.linspace(0, 1, 5)
    loss = np.full((3, 3, 6, 5), np.nan)
    errors = np.full((3, 3, 6), np.nan)
    for i, pair in enumerate(pairs):
        for j, route in enumerate(routes):
            if route in heights or route == f"through {third[pair]}":
                height = heights.get(route, 0.05) + np.array(STRENGTHS) * (route != "naive")
                loss[:, i, j] = 0.1 + 4 * height[:, None] * t * (1 - t)
                errors[:, i, j] = 0.0 if route == "direct" else 0.9
    both, accuracy = _pair(loss)
    dims = ("strength", "split", "pair", "route", "t")
    dataset = xr.Dataset(
        {"loss": (dims, both), "accuracy": (dims, accuracy), "cycle_error": (("strength", "pair", "route"), errors)},
        {"strength": STRENGTHS, "split": SPLITS, "pair": pairs, "route": routes, "t": t},
    )
    return _finish(dataset, "transitivity", members=[])


def similarity(draws=4):
    """Networks on a line, 0.1 apart, A first; disagreement is their distance."""
    names = ["A", "B", "midpoint", "C", "ensemble of A and B", *(f"draw {i}" for i in range(draws))]
    place = np.arange(len(names)) / 10
    table = np.abs(place[:, None] - place)
    both = np.stack([table, 0.5 * table])
    own = np.stack([0.1 + place / 2, 0.05 + place / 2])
    known = np.array(names) != "ensemble of A and B"
    weights = np.where(known[:, None] & known, table, np.nan)
    functional = ("disagreement", "disagreement_share", "jensen_shannon", "error_overlap", "cka")
    dims = ("split", "model", "other")
    angle = np.where((place > 0)[:, None] & (place > 0), 45 * weights, np.nan)
    together = np.stack([0.3 / np.arange(1, draws + 1)] * 2)
    dataset = xr.Dataset(
        {
            **dict.fromkeys((*functional, "least_disagreement", "most_disagreement"), (dims, both)),
            "weight_distance": (dims[1:], weights),
            "weight_cosine": (dims[1:], 1 - weights),
            "weight_angle": (dims[1:], angle),
            "loss": (dims[:2], own),
            "accuracy": (dims[:2], 1 - own),
            "ensemble_loss": (("split", "k"), together),
            "ensemble_accuracy": (("split", "k"), 1 - together),
        },
        {"split": SPLITS, "model": names, "other": names, "k": np.arange(1, draws + 1)},
    )
    settings = {"distribution": "bernoulli", "parameters": {"p": 0.5}, "granularity": "unit", "n": draws}
    return _finish(dataset, "similarity", strength=0.0, layer="", **settings)


def layers(count=8):
    """Layer k rises by (k + 1)/10 with the square of t, more with the strength; its slope at A is k − 2."""
    t = np.linspace(0, 1, 5)
    rise = (np.arange(count) + 1)[:, None] / 10 * t**2
    loss, accuracy = _pair(np.stack([0.1 + rise * (1 + s) for s in STRENGTHS]))
    dims = ("strength", "split", "layer", "t")
    slope = np.broadcast_to(np.arange(count) - 2.0, (3, 2, count)).copy()
    dataset = xr.Dataset(
        {"loss": (dims, loss), "accuracy": (dims, accuracy), "slope": (dims[:-1], slope)},
        {"strength": STRENGTHS, "split": SPLITS, "layer": [f"block.{k}.conv" for k in range(count)], "t": t},
    )
    return _finish(dataset, "layers", base=0.0, points=5)


def cut():
    """From (0, 1) to (1, 0): a parabola of height 1 that grows with the strength, between ends 0.1 and 0.3."""
    made = segment()
    places = {"u": ("t", made.t.values), "v": ("t", 1 - made.t.values)}
    attributes = {name: {"units": "coefficient", "long_name": f"{name}: coefficient"} for name in places}
    return _finish(made.assign(places), "cut", attributes, plane="split", start=[0.0, 1.0], end=[1.0, 0.0])


def inspection():
    """A point that gives label 0 for everything; A and π(B) are right but for π(B) on the last of four examples."""
    labels, networks = [0, 1], ["A", "π(B)", "point"]
    answers = np.array([[0, 0, 0], [1, 1, 0], [1, 1, 0], [1, 0, 0]])
    disagreement = (answers != answers[:, 2:]).mean(0)
    images = np.linspace(0, 1, 64).reshape(1, 1, 1, 8, 8).repeat(2, 0).repeat(3, 1).astype(np.float32)
    both = {
        "loss": ("model", [0.1, 0.2, 0.9]),
        "accuracy": ("model", [1.0, 0.75, 0.25]),
        "disagreement": ("model", disagreement),
        "jensen_shannon": ("model", disagreement / 2),
        "confusion": (("label", "predicted"), [[1, 0], [3, 0]]),
        "differing": ((), 3),
        "example": ("shown", [1, 2, 3]),
        "true_label": ("shown", [1, 1, 1]),
        "prediction": (("shown", "model"), answers[1:]),
        "certainty": (("shown", "model"), np.full((3, 3), 0.9)),
    }
    of_split = xr.Dataset(both).expand_dims(split=SPLITS)
    return _finish(
        of_split.assign(
            image=(("split", "shown", "channel", "row", "column"), images),
            coefficient=(("toward", "layer"), [[0.25, 0.75]]),
            mean_coefficient=("toward", [0.5]),
            weight_distance=("model", [0.4, 0.6, 0.0]),
        ).assign_coords(
            model=networks, label=labels, predicted=labels, shown=[0, 1, 2], toward=["π(B)"],
            layer=["fc1", "fc2"], u=0.25, v=0.75,
        ),
        "inspection", {name: {"units": "coefficient", "long_name": name} for name in "uv"},
        plane="split", z="draw", distribution="bernoulli", parameters={"p": 0.5}, granularity="unit", seed=0,
        strength=0.0, u=0.25, v=0.75,
    )  # fmt: skip


def laws(distribution="normal"):
    """Mean excess loss 0.36·deviation + strength over the worse end's 0.3; four draws 0.01 apart around it.

    Beta laws of too large a deviation are missing; Bernoulli laws have one deviation, NaN, and that of their mean.
    """
    means, deviations = np.linspace(0, 1, 5), np.array([np.nan] if distribution == "bernoulli" else [0.0, 0.25, 0.5])
    spread = 0.01 * np.array([-1.5, -0.5, 0.5, 1.5])
    of_mean = np.sqrt(means * (1 - means))
    sizes = of_mean[None] if distribution == "bernoulli" else np.repeat(deviations[:, None], 5, 1)
    loss = 0.3 + 0.36 * sizes[..., None] + spread + np.array(STRENGTHS)[:, None, None, None]
    if distribution == "beta":
        loss[:, ~((sizes > 0) & (sizes**2 < of_mean**2))] = np.nan
    test = np.stack([loss, loss], 1)
    dims = ("strength", "split", "deviation", "mean", "sample")
    ends = {"reference_loss": [0.1, 0.3, 0.25, 1.2], "reference_accuracy": [0.9, 0.7, 0.75, 0.3]}
    dataset = xr.Dataset(
        {
            "loss": (dims, test),
            "accuracy": (dims, np.exp(-test)),
            **{k: (("strength", "split", "reference"), np.broadcast_to(v, (3, 2, 4)).copy()) for k, v in ends.items()},
        },
        {
            "strength": STRENGTHS, "split": SPLITS, "deviation": deviations, "mean": means, "sample": np.arange(4),
            "reference": REFERENCES,
        },
    )  # fmt: skip
    settings = {"means": means.tolist(), "deviations": [0.0, 0.25, 0.5], "granularity": "unit", "n": 4}
    return _finish(dataset, "laws", distribution=distribution, **settings)


def points(layers=4):
    """A and π(B) at 0.1 and 0.3, what lies between higher by a tenth each, more with the strength."""
    names = ["A", "π(B)", "midpoint", "magnitude", "sign", *(f"block.{k}.conv of B" for k in range(layers))]
    names += ["Fisher", "best", "worst"]
    rise = np.array([0.1, 0.3, *(0.3 + 0.1 * np.arange(1, len(names) - 1))])
    between = np.arange(len(names)) > 1
    loss, accuracy = _pair(np.stack([rise + s * between for s in STRENGTHS]))
    dims = ("strength", "split", "point")
    drawn = np.isin(names, ["best", "worst"])
    details = {
        "mean_coefficient": np.linspace(0, 1, len(names)),
        "midpoint_distance": np.where(between, 0.1, 0.5),
        "draw": np.where(drawn, 3.0, np.nan),
        "chosen_loss": np.where(drawn, 0.4, np.nan),
    }
    dataset = xr.Dataset(
        {
            "loss": (dims, loss),
            "accuracy": (dims, accuracy),
            **{name: (("strength", "point"), np.stack([values] * 3)) for name, values in details.items()},
        },
        {"strength": STRENGTHS, "split": SPLITS, "point": names},
    )
    return _finish(dataset, "points", distribution="bernoulli", parameters={"p": 0.5}, granularity="unit")


def search(granularity="layer", layers=4):
    """From 0.5 down to a fifth of it, more with the strength, while layer k goes from ½ to k/(layers − 1)."""
    way = np.linspace(0, 1, 11)
    loss, accuracy = _pair(np.stack([0.5 - 0.4 * way + s for s in STRENGTHS]))
    goal = np.arange(layers) / (layers - 1)
    coefficient = np.stack([0.5 + way[:, None] * (goal - 0.5)] * 3)
    slots = [f"block.{k}.conv" for k in range(layers)]
    references = {k: (("strength", "split", "reference"), np.stack([v] * 3)) for k, v in _references().items()}
    excess = loss[..., -1, None] - np.stack([[0.1, 0.3], [0.08, 0.24]])
    dims = ("strength", "split", "step")
    variables = {
        "loss": (dims, loss),
        "accuracy": (dims, accuracy),
        **references,
        "searched_loss": (("strength", "step"), 0.9 * loss[:, 0]),
        "excess": (("strength", "split", "end"), excess),
        "coefficient": (("strength", "step", "slot"), coefficient),
    }
    coordinates = {
        "strength": STRENGTHS, "split": SPLITS, "step": np.arange(11), "reference": REFERENCES,
        "end": ["better", "worse"], "slot": slots,
    }  # fmt: skip
    if granularity == "unit":
        coordinates["unit"] = [f"{slot} {i}" for slot in slots for i in range(3)]
        spread = np.repeat(goal, 3) + np.tile([-0.1, 0.0, 0.1], layers)
        variables["unit_coefficient"] = ("strength", "unit"), np.stack([spread] * 3)
    settings = {"goal": "best", "method": "gradient", "granularity": granularity, "n": 10, "bounds": [0.0, 1.0]}
    return _finish(xr.Dataset(variables, coordinates), "search", **settings)


def all_sweeps():
    """A result of every sweep."""
    return [*everything(), laws(), layers(), transitivity(), similarity(), points(), search(), cut(), inspection()]


def everything():
    """What a standard report shows."""
    return [plane(), segment("identity"), segment(), samples(), perturbation()]
