"""Statistics of results: Dataset in, Dataset out.

Barriers along a segment with ends L_A = L(t₀) and L_B = L(t₁), all from one curve; p is the position from 0 to 1:

* **D1** max L − ½(L_A + L_B): Ainsworth et al., "Git Re-Basin", 2023.
* **D2** max [L − ((1 − p)·L_A + p·L_B)]: Entezari et al., "The Role of Permutation Invariance in Linear Mode
  Connectivity", 2022. The default.
* **D3** L(½) − ½(L_A + L_B): Jordan et al., "REPAIR", 2023.
* **D4** max L − max(L_A, L_B).

Intervals are 95 % expanded percentile bootstrap intervals (Hesterberg, "What Teachers Should Know About the Bootstrap",
2015): of n values the levels are Φ(∓√(n/(n − 1))·t), t the 97.5 % quantile of Student's distribution with n − 1 degrees
of freedom, as plain percentiles are too narrow for few values. For the mean of nearly normal values they cover 92 to
97 % from six values on in simulation, 87 % of four; less of skewed ones. Fewer than four values have no interval.

Intervals of quantiles over draws are those of order statistics, which cover at least 95 % whatever the law (Conover,
"Practical Nonparametric Statistics", 1999, section 3.2): a bootstrap never leaves the sample.
"""

from collections.abc import Callable

import numpy as np
import xarray as xr
from scipy.stats import binomtest, bootstrap, norm, quantile_test
from scipy.stats import t as student

from modecomb_viz.results import label

__all__ = [
    "BARRIERS",
    "BARRIER_OF",
    "barriers",
    "diversity",
    "embedding",
    "expanded_level",
    "is_draw",
    "low_loss_share",
    "route_kind",
    "summary",
    "tolerance",
    "transitivity",
]

#: Values that a bootstrap holds at once.
_AT_ONCE = 10**6

#: A strength beyond all, for curves that never pass a threshold.
_NEVER = 2.0

BARRIERS = ("D1", "D2", "D3", "D4")

#: The variable of :func:`barriers` that belongs to a quantity.
BARRIER_OF = {"loss": "barrier", "accuracy": "error_barrier"}

_ATTRIBUTES = {
    "barrier": {"units": "nats per example", "long_name": "loss barrier"},
    "error_barrier": {"units": "fraction", "long_name": "error barrier"},
    "definition": {"units": "", "long_name": "definition of the barrier"},
    "mean_excess": {"units": "nats per example", "long_name": "mean excess loss"},
    "mean_interval": {"units": "nats per example", "long_name": "95 % bootstrap interval of the mean excess loss"},
    "quantile_interval": {
        "units": "nats per example",
        "long_name": "95 % interval of every quantile",
    },
    "excess_quantile": {"units": "nats per example", "long_name": "quantiles of the excess loss"},
    "mean_interval_examples": {
        "units": "nats per example",
        "long_name": "95 % bootstrap interval over examples of the mean excess loss",
    },
    "quantile_interval_examples": {
        "units": "nats per example",
        "long_name": "95 % bootstrap interval over examples of every quantile",
    },
    "share_interval_examples": {
        "units": "fraction",
        "long_name": "95 % bootstrap interval over examples of the share of low loss",
    },
    "parents_disagreement": {"units": "fraction", "long_name": "disagreement of A and B"},
    "nearest_disagreement": {"units": "fraction", "long_name": "disagreement of a draw with its nearer parent, mean"},
    "draws_disagreement": {"units": "fraction", "long_name": "disagreement of two draws, mean"},
    "diversity": {"units": "fraction", "long_name": "disagreement with the nearer parent, of that of the parents"},
    "diversity_interval": {"units": "fraction", "long_name": "95 % bootstrap interval over draws of that share"},
    "ensemble_gain": {"units": "fraction", "long_name": "accuracy of all draws' ensemble less their mean accuracy"},
    "barrier_at": {"units": "nats per example", "long_name": "loss above the mean of the ends"},
    "tolerated_strength": {"units": "fraction", "long_name": "strength at which the barrier passes the threshold"},
    "tolerated_interval": {"units": "fraction", "long_name": "95 % bootstrap interval of that strength"},
    "tolerated_churn": {"units": "fraction", "long_name": "units moved at that strength"},
    "worst_excess": {"units": "nats per example", "long_name": "largest excess loss"},
    "low_loss_share": {"units": "fraction", "long_name": "share of draws of low loss"},
    "share_interval": {"units": "fraction", "long_name": "95 % Wilson interval of that share"},
    "route_barrier": {"units": "nats per example", "long_name": "loss barrier of a route, mean over pairs"},
    "lowest_barrier": {"units": "nats per example", "long_name": "lowest loss barrier of a route"},
    "highest_barrier": {"units": "nats per example", "long_name": "highest loss barrier of a route"},
    "cost_of_third": {"units": "nats per example", "long_name": "barrier through a third mode less the direct one"},
    "share_kept": {"units": "fraction", "long_name": "share of the gain of alignment kept through a third mode"},
    "kind": {"units": "", "long_name": "kind of route"},
    "x": {"units": "fraction", "long_name": "first coordinate of the embedding"},
    "y": {"units": "fraction", "long_name": "second coordinate of the embedding"},
    "explained": {"units": "fraction", "long_name": "share of the squared distances that the embedding shows"},
    "quantile": {"units": "fraction", "long_name": "quantile"},
    "bound": {"units": "", "long_name": "bound of the interval"},
}


def _require(dataset: xr.Dataset, dimension: str, sweep: str):
    if dimension not in dataset.dims:
        raise ValueError(
            f"this needs the result of sweep_{sweep}, with the dimension '{dimension}'; "
            f"the dataset has the dimensions {', '.join(map(str, dataset.dims))}."
        )


def barriers(dataset: xr.Dataset) -> xr.Dataset:
    """The four barriers of every curve of a segment, for loss and for error = 1 − accuracy.

    Returns:
        ``barrier`` (nats per example) and ``error_barrier`` (fraction), with the dimension ``definition`` instead
        of ``t``. A curve with a NaN has NaN barriers. D3 is NaN where no point of the curve is the midpoint, that
        is, for an even number of points.

    Raises:
        ValueError: for a dataset that is no segment.
    """
    _require(dataset, "t", "segment")
    result = xr.Dataset({"barrier": _barriers(dataset.loss), "error_barrier": _barriers(1 - dataset.accuracy)})
    result.attrs = {**dataset.attrs, "default": "D2"}
    return label(result, _ATTRIBUTES)


def _barriers(curve: xr.DataArray) -> xr.DataArray:
    position = ((curve.t - curve.t[0]) / (curve.t[-1] - curve.t[0])).values
    found = xr.apply_ufunc(
        lambda values: _barrier_values(position, values),
        curve,
        input_core_dims=[["t"]],
        output_core_dims=[["definition"]],
    )
    return found.assign_coords(definition=list(BARRIERS))


def _barrier_values(p: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """D1 … D4 along the last axis of curves over positions p from 0 to 1; NaN in a curve stays."""
    start, end, highest = loss[..., 0], loss[..., -1], loss.max(-1)
    line = (1 - p) * start[..., None] + p * end[..., None]
    (middle,) = np.nonzero(np.isclose(p, 0.5))
    at_middle = loss[..., middle[0]] if len(middle) else np.full_like(start, np.nan)
    mean = (start + end) / 2
    return np.stack([highest - mean, (loss - line).max(-1), at_middle - mean, highest - np.maximum(start, end)], -1)


def summary(
    dataset: xr.Dataset, *, epsilon: float = 0.1, quantiles: tuple[float, ...] = (0.05, 0.5, 0.95)
) -> xr.Dataset:
    """How combinable a law is: its excess loss L − max(L_A, L_B) over the draws.

    Args:
        epsilon: draws whose excess is at most this many nats count as low loss.

    Returns:
        ``mean_excess`` and ``excess_quantile`` (nats) with 95 % intervals over draws, ``mean_interval`` (bootstrap,
        2,000 resamples, seed 0) and ``quantile_interval`` (order statistics; a bound is NaN where no draw is far enough
        out: at 5 % and 95 % with fewer than 72 draws); ``worst_excess`` (nats); ``low_loss_share`` and its 95 % Wilson
        interval ``share_interval`` (fraction). A draw that is not a number makes all but the share NaN and counts as
        not low; fewer than four draws have no bootstrap interval. Where the losses of examples were kept,
        ``mean_interval_examples``, ``quantile_interval_examples`` and ``share_interval_examples``: the same draws on
        other examples (paired bootstrap, 1,000 resamples, seed 0).

    Raises:
        ValueError: for a dataset that holds no draws.
    """
    _require(dataset, "sample", "samples")
    excess = _excess(dataset)
    low = (excess <= epsilon).sum("sample")
    n, bounds, levels = dataset.sizes["sample"], ["low", "high"], list(quantiles)
    of_quantiles = xr.apply_ufunc(
        lambda values: _of_quantiles(values, levels),
        excess,
        input_core_dims=[["sample"]],
        output_core_dims=[["quantile", "bound"]],
        vectorize=True,
    )
    of_mean = xr.apply_ufunc(
        lambda values: _bootstrapped(values, np.mean),
        excess,
        input_core_dims=[["sample"]],
        output_core_dims=[["bound"]],
        vectorize=True,
    )
    result = xr.Dataset(
        {
            "mean_excess": excess.mean("sample", skipna=False),
            "mean_interval": of_mean.assign_coords(bound=bounds),
            "excess_quantile": excess.quantile(levels, "sample", skipna=False),
            "quantile_interval": of_quantiles.assign_coords(bound=bounds, quantile=levels),
            "worst_excess": excess.max("sample", skipna=False),
            "low_loss_share": low / n,
            "share_interval": xr.apply_ufunc(
                lambda k: _wilson(int(k), n), low, output_core_dims=[["bound"]], vectorize=True
            ).assign_coords(bound=bounds),
        }
    )
    if any(f"example_loss_{split}" in dataset for split in dataset.split.values):
        result = result.merge(_over_examples(dataset, epsilon, levels))
    result.attrs = {**dataset.attrs, "epsilon": epsilon}
    return label(result, _ATTRIBUTES)


def low_loss_share(dataset: xr.Dataset, *, epsilon: float = 0.1) -> xr.DataArray:
    """The share of draws of low loss alone, of :func:`summary`, at no cost."""
    return (_excess(dataset) <= epsilon).mean("sample")


def _excess(dataset: xr.Dataset) -> xr.DataArray:
    """L − max(L_A, L_B) of every draw; NaN where one of the three is."""
    return dataset.loss - dataset.reference_loss.sel(reference=["A", "B"]).max("reference", skipna=False)


def _over_examples(dataset: xr.Dataset, epsilon: float, levels: list[float]) -> xr.Dataset:
    """Intervals over the examples of every split: all networks on the same resampled examples."""
    found = []
    for split in dataset.split.values:
        draws, ends = dataset[f"example_loss_{split}"], dataset[f"reference_example_loss_{split}"]
        example = f"{split}_example"
        intervals = xr.apply_ufunc(
            lambda of_draws, of_ends: _excess_intervals(of_draws, of_ends, epsilon, levels),
            draws,
            ends.sel(reference=["A", "B"]).rename(reference="end"),
            input_core_dims=[["sample", example], ["end", example]],
            output_core_dims=[["statistic", "bound"]],
            vectorize=True,
        )
        found.append(intervals.assign_coords(bound=["low", "high"]))
    every = xr.concat(found, xr.DataArray(dataset.split.values, dims="split", name="split"))
    return xr.Dataset(
        {
            "mean_interval_examples": every.isel(statistic=0),
            "share_interval_examples": every.isel(statistic=1),
            "quantile_interval_examples": every.isel(statistic=slice(2, None))
            .rename(statistic="quantile")
            .assign_coords(quantile=levels),
        }
    )


def _excess_intervals(draws: np.ndarray, ends: np.ndarray, epsilon: float, levels: list[float]) -> np.ndarray:
    """95 % intervals ``[statistic, bound]`` of mean, share of low loss and quantiles of the draws' excess loss.

    Args:
        draws, ends: losses of examples, ``[draw, example]`` and ``[end, example]``.
    """

    def statistics(*networks: np.ndarray, axis: int) -> np.ndarray:
        loss = np.stack(networks[: len(draws)]).mean(axis)
        excess = loss - np.maximum(*(end.mean(axis) for end in networks[len(draws) :]))
        return np.stack([excess.mean(0), (excess <= epsilon).mean(0), *np.quantile(excess, levels, axis=0)])

    networks = (*draws.astype(float), *ends.astype(float))
    if draws.shape[1] < _LEAST or not np.isfinite(networks).all():
        return np.full((2 + len(levels), 2), np.nan)
    batch = max(1, _AT_ONCE // np.size(networks))
    options = {"n_resamples": 1000, "batch": batch, "method": "percentile", "vectorized": True, "rng": 0}
    options["confidence_level"] = expanded_level(draws.shape[1])
    found = bootstrap(networks, statistics, paired=True, **options).confidence_interval
    return np.stack([found.low, found.high], -1)


#: Fewer values have no bootstrap interval: of two it covers 48 %, of three 74 % where it says 95 %.
_LEAST = 4


def _of_quantiles(values: np.ndarray, levels: list[float]) -> np.ndarray:
    """95 % intervals ``[quantile, bound]`` of order statistics; NaN where no value is far enough out."""
    if not np.isfinite(values).all():
        return np.full((len(levels), 2), np.nan)
    found = [quantile_test(values, p=level).confidence_interval() for level in levels]
    return np.array([(bounds.low, bounds.high) for bounds in found])


def _bootstrapped(values: np.ndarray, statistic: Callable[..., np.ndarray]) -> np.ndarray:
    """95 % interval ``[bound]`` of a statistic of independent values."""
    if len(values) < _LEAST or not np.isfinite(values).all():
        return np.full(2, np.nan)
    batch = max(1, _AT_ONCE // len(values))
    options = {"n_resamples": 2000, "batch": batch, "method": "percentile", "vectorized": True, "rng": 0}
    found = bootstrap((values,), statistic, confidence_level=expanded_level(len(values)), **options).confidence_interval
    return np.stack([found.low, found.high], -1)


def expanded_level(n: int) -> float:
    """The level at which percentiles of the bootstrap of a mean are as wide as Student's 95 % interval.

    1 − 2·Φ(−√(n/(n − 1))·t), with Φ the normal distribution and t the 97.5 % quantile of Student's distribution with
    n − 1 degrees of freedom; 0.95 for many values. Source: Hesterberg, "What Teachers Should Know About the Bootstrap",
    2015 (the expanded percentile interval).

    Args:
        n: independent values that are resampled, at least 2.

    Raises:
        ValueError: for fewer than two values, which say nothing of their spread.
    """
    if n < 2:
        raise ValueError(f"a bootstrap interval needs at least 2 values, got {n}; measure more of them.")
    return float(1 - 2 * norm.cdf(-np.sqrt(n / (n - 1)) * student.ppf(0.975, n - 1)))


def _wilson(successes: int, n: int) -> np.ndarray:
    interval = binomtest(successes, n).proportion_ci(method="wilson")
    return np.array([interval.low, interval.high])


def tolerance(dataset: xr.Dataset, *, threshold: float = 0.1) -> xr.Dataset:
    """How much of the matching may be wrong: the strength at which the barrier passes a threshold. Our definition.

    The barrier at a strength is the loss of the combination (for a law, the mean of its draws) less ½(L_A + L_B): at
    the midpoint, D3. Its mean over repeats is taken to be linear between the strengths measured.

    Args:
        threshold: nats per example.

    Returns:
        ``barrier_at`` by strength and repeat; ``tolerated_strength``, infinite where the barrier never passes the
        threshold, the lowest strength where it begins above; ``tolerated_interval``, its 95 % interval over repeats
        (bootstrap, 2,000 resamples, seed 0; fewer than four repeats have none); ``tolerated_churn``, the share of units
        moved there. NaN where a loss is.

    Raises:
        ValueError: for a dataset of another sweep.
    """
    _require(dataset, "repeat", "perturbation")
    dataset = dataset.sortby("strength")
    loss = dataset.loss.mean("sample", skipna=False) if "sample" in dataset.dims else dataset.loss
    barrier = loss - dataset.reference_loss.sel(reference=["A", "B"]).mean("reference", skipna=False)
    strengths = dataset.strength.values
    crossing = xr.apply_ufunc(
        lambda values: _crossing(strengths, values, threshold),
        barrier.mean("repeat", skipna=False),
        input_core_dims=[["strength"]],
        vectorize=True,
    )
    interval = xr.apply_ufunc(
        lambda values: _crossing_interval(strengths, values, threshold),
        barrier,
        input_core_dims=[["strength", "repeat"]],
        output_core_dims=[["bound"]],
        vectorize=True,
    )
    churn = xr.apply_ufunc(
        lambda at, values: np.interp(at, strengths, values) if np.isfinite(at) else np.nan,
        crossing,
        dataset.churn.mean("repeat"),
        input_core_dims=[[], ["strength"]],
        vectorize=True,
    )
    result = xr.Dataset(
        {
            "barrier_at": barrier,
            "tolerated_strength": crossing,
            "tolerated_interval": interval.assign_coords(bound=["low", "high"]),
            "tolerated_churn": churn,
        }
    )
    result.attrs = {**dataset.attrs, "threshold": threshold}
    return label(result, _ATTRIBUTES)


def _crossing(strengths: np.ndarray, barrier: np.ndarray, threshold: float) -> float:
    """Where a piecewise linear curve first passes the threshold; infinite if nowhere, NaN if the curve has one."""
    if np.isnan(barrier).any():
        return np.nan
    above = np.flatnonzero(barrier > threshold)
    if not len(above):
        return np.inf
    if not (i := above[0]):
        return float(strengths[0])
    share = (threshold - barrier[i - 1]) / (barrier[i] - barrier[i - 1])
    return float(strengths[i - 1] + share * (strengths[i] - strengths[i - 1]))


def _crossing_interval(strengths: np.ndarray, barrier: np.ndarray, threshold: float) -> np.ndarray:
    """95 % interval ``[bound]`` of :func:`_crossing` over the repeats of a barrier ``[strength, repeat]``.

    Its bounds are values that were found, as there is no number between a strength and none.
    """
    repeats = barrier.shape[1]
    if repeats < _LEAST or np.isnan(barrier).any():
        return np.full(2, np.nan)

    def statistic(index: np.ndarray) -> float:
        return min(_crossing(strengths, barrier[:, index].mean(1), threshold), _NEVER)

    options = {"n_resamples": 2000, "method": "percentile", "vectorized": False, "rng": 0}
    found = bootstrap((np.arange(repeats),), statistic, **options).bootstrap_distribution
    tail = (1 - expanded_level(repeats)) / 2
    bounds = np.quantile(found, (tail, 1 - tail), method="inverted_cdf")
    return np.where(bounds == _NEVER, np.inf, bounds)


#: Kinds of routes between two networks.
_KINDS = ("naive", "direct", "through", "universe")


def route_kind(route: str) -> str:
    """naive, direct, universe, or through: all third networks together."""
    return "through" if route.startswith("through ") else route


def transitivity(dataset: xr.Dataset, *, definition: str = "D2") -> xr.Dataset:
    """What going through a third mode costs: barriers of all routes of a kind, over all pairs and third modes.

    Returns:
        ``route_barrier``, ``lowest_barrier``, ``highest_barrier`` by ``kind`` (naive, direct, through, universe);
        ``cost_of_third``, the mean over pairs and third modes of barrier(through) − barrier(direct); ``share_kept``,
        (naive − through) / (naive − direct): 1 means transitive, 0 that nothing of the alignment is left, NaN where
        alignment gains nothing. All are NaN where the barrier of a route is; routes that a pair has not, whose
        ``cycle_error`` is NaN, do not count.

    Raises:
        ValueError: for a dataset of another sweep, or another definition of the barrier.
    """
    _require(dataset, "route", "transitivity")
    if definition not in BARRIERS:
        raise ValueError(f"definition must be one of {', '.join(BARRIERS)}, got {definition!r}.")
    barrier = barriers(dataset).barrier.sel(definition=definition, drop=True)
    kinds = np.array([route_kind(str(route)) for route in dataset.route.values])
    of_kind = {kind: barrier.isel(route=kinds == kind) for kind in _KINDS}
    exists = {kind: dataset.cycle_error.isel(route=kinds == kind).notnull() for kind in _KINDS}
    statistics = {"route_barrier": "mean", "lowest_barrier": "min", "highest_barrier": "max"}
    kind = xr.DataArray(list(_KINDS), dims="kind", name="kind")
    result = xr.Dataset(
        {
            name: xr.concat([_over_routes(of_kind[one], exists[one], how) for one in _KINDS], kind)
            for name, how in statistics.items()
        }
    )
    naive, direct, through = (result.route_barrier.sel(kind=kind, drop=True) for kind in _KINDS[:3])
    cost = of_kind["through"] - of_kind["direct"].isel(route=0, drop=True)
    result["cost_of_third"] = _over_routes(cost, exists["through"], "mean")
    result["share_kept"] = ((naive - through) / (naive - direct)).where(naive > direct)
    result.attrs = {**dataset.attrs, "definition": definition}
    return label(result, _ATTRIBUTES)


def _over_routes(values: xr.DataArray, exists: xr.DataArray, how: str) -> xr.DataArray:
    """A statistic over the routes that there are; NaN where one of these is."""
    lost = (values.isnull() & exists).any(("pair", "route"))
    return getattr(values.where(exists), how)(("pair", "route")).where(~lost)


def is_draw(dataset: xr.Dataset) -> np.ndarray:
    """Which networks of a similarity result are draws of the law ``[model]``."""
    return np.array([str(name).startswith("draw ") for name in dataset.model.values])


def diversity(dataset: xr.Dataset) -> xr.Dataset:
    """How different draws are from their parents and from each other, as shares of examples. Our definition.

    Returns:
        ``parents_disagreement`` of A and B; ``nearest_disagreement``, the mean over draws of min over both parents;
        ``draws_disagreement``, the mean over pairs of draws; ``diversity``, nearest / parents, with
        ``diversity_interval`` over draws (bootstrap, 2,000 resamples, seed 0); ``ensemble_gain``, accuracy
        of the ensemble of all draws less the mean accuracy of one. A network evaluated twice has the diversity 0.

    Raises:
        ValueError: for a dataset of another sweep.
    """
    _require(dataset, "other", "similarity")
    names = dataset.model.values[is_draw(dataset)]
    table = dataset.disagreement
    parents = table.sel(model="A", other="B", drop=True)
    nearest = table.sel(model=names, other=["A", "B"]).min("other", skipna=False)
    among = table.sel(model=names, other=names)
    apart = xr.DataArray(~np.eye(len(names), dtype=bool), dims=("model", "other"))
    interval = xr.apply_ufunc(
        lambda values: _bootstrapped(values, np.mean),
        nearest,
        input_core_dims=[["model"]],
        output_core_dims=[["bound"]],
        vectorize=True,
    ).assign_coords(bound=["low", "high"])
    of_one = dataset.accuracy.sel(model=names).mean("model", skipna=False)
    result = xr.Dataset(
        {
            "parents_disagreement": parents,
            "nearest_disagreement": nearest.mean("model", skipna=False),
            "draws_disagreement": among.where(apart, 0).sum(("model", "other"), skipna=False) / apart.sum(),
            "diversity": nearest.mean("model", skipna=False) / parents,
            "diversity_interval": interval / parents,
            "ensemble_gain": dataset.ensemble_accuracy.isel(k=-1, drop=True) - of_one,
        }
    )
    result.attrs = dict(dataset.attrs)
    return label(result, _ATTRIBUTES)


def embedding(dataset: xr.Dataset, *, measure: str = "disagreement") -> xr.Dataset:
    """The networks in a plane whose distances are close to the measure: classical multidimensional scaling.

    The two largest eigenvalues of −½ J D² J, J the centring matrix, D the symmetric table of distances.

    Returns:
        ``x``, ``y`` by ``split`` and ``model``; ``explained``, the two eigenvalues' share of all positive ones.

    Raises:
        ValueError: for a dataset of another sweep, or a measure that is no distance.
    """
    _require(dataset, "other", "similarity")
    distances = ("disagreement", "disagreement_share", "jensen_shannon")
    if measure not in distances:
        raise ValueError(f"measure must be one of {', '.join(distances)}, got {measure!r}.")
    points, explained = zip(*(_scaled(table) for table in dataset[measure].transpose("split", ...).values), strict=True)
    x, y = np.moveaxis(np.stack(points), -1, 0)
    result = xr.Dataset(
        {"x": (("split", "model"), x), "y": (("split", "model"), y), "explained": ("split", np.array(explained))},
        {"split": dataset.split, "model": dataset.model},
    )
    result.attrs = {**dataset.attrs, "measure": measure}
    return label(result, {**_ATTRIBUTES, **{name: dict(dataset[name].attrs) for name in ("split", "model")}})


def _scaled(distances: np.ndarray) -> tuple[np.ndarray, float]:
    """Points ``[network, 2]`` and the share that they explain; NaN for networks whose distances are no numbers."""
    points, known = np.full((len(distances), 2), np.nan), ~np.isnan(distances).all(1)
    table = distances[np.ix_(known, known)]
    centring = np.eye(len(table)) - 1 / len(table)
    values, vectors = np.linalg.eigh(-0.5 * centring @ table**2 @ centring)
    values = np.clip(values[::-1], 0, None)
    points[known] = vectors[:, ::-1][:, :2] * np.sqrt(values[:2])
    return points, float(values[:2].sum() / values.sum()) if values.any() else 1.0
