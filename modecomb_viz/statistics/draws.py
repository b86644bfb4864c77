"""Losses of draws from a law, and how different the drawn networks are."""

import numpy as np
import xarray as xr
from scipy.stats import bootstrap

from modecomb_viz.results import label
from modecomb_viz.statistics.intervals import (
    AT_ONCE,
    LEAST,
    bootstrap_interval,
    expanded_level,
    quantile_intervals,
    wilson_interval,
)
from modecomb_viz.statistics.names import ATTRIBUTES, require


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
    require(dataset, "sample", "samples")
    excess = _excess(dataset)
    low = (excess <= epsilon).sum("sample")
    n, bounds, levels = dataset.sizes["sample"], ["low", "high"], list(quantiles)
    of_quantiles = xr.apply_ufunc(
        lambda values: quantile_intervals(values, levels),
        excess,
        input_core_dims=[["sample"]],
        output_core_dims=[["quantile", "bound"]],
        vectorize=True,
    )
    of_mean = xr.apply_ufunc(
        bootstrap_interval,
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
                lambda k: wilson_interval(int(k), n), low, output_core_dims=[["bound"]], vectorize=True
            ).assign_coords(bound=bounds),
        }
    )
    if any(f"example_loss_{split}" in dataset for split in dataset.split.values):
        result = result.merge(_over_examples(dataset, epsilon, levels))
    result.attrs = {**dataset.attrs, "epsilon": epsilon}
    return label(result, ATTRIBUTES)


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
    if draws.shape[1] < LEAST or not np.isfinite(networks).all():
        return np.full((2 + len(levels), 2), np.nan)
    batch = max(1, AT_ONCE // np.size(networks))
    options = {"n_resamples": 1000, "batch": batch, "method": "percentile", "vectorized": True, "rng": 0}
    options["confidence_level"] = expanded_level(draws.shape[1])
    found = bootstrap(networks, statistics, paired=True, **options).confidence_interval
    return np.stack([found.low, found.high], -1)


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
    require(dataset, "other", "similarity")
    names = dataset.model.values[is_draw(dataset)]
    table = dataset.disagreement
    parents = table.sel(model="A", other="B", drop=True)
    nearest = table.sel(model=names, other=["A", "B"]).min("other", skipna=False)
    among = table.sel(model=names, other=names)
    apart = xr.DataArray(~np.eye(len(names), dtype=bool), dims=("model", "other"))
    interval = xr.apply_ufunc(
        bootstrap_interval,
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
    return label(result, ATTRIBUTES)


def embedding(dataset: xr.Dataset, *, measure: str = "disagreement") -> xr.Dataset:
    """The networks in a plane whose distances are close to the measure: classical multidimensional scaling.

    The two largest eigenvalues of −½ J D² J, J the centring matrix, D the symmetric table of distances.

    Returns:
        ``x``, ``y`` by ``split`` and ``model``; ``explained``, the two eigenvalues' share of all positive ones.

    Raises:
        ValueError: for a dataset of another sweep, or a measure that is no distance.
    """
    require(dataset, "other", "similarity")
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
    return label(result, {**ATTRIBUTES, **{name: dict(dataset[name].attrs) for name in ("split", "model")}})


def _scaled(distances: np.ndarray) -> tuple[np.ndarray, float]:
    """Points ``[network, 2]`` and the share that they explain; NaN for networks whose distances are no numbers."""
    points, known = np.full((len(distances), 2), np.nan), ~np.isnan(distances).all(1)
    table = distances[np.ix_(known, known)]
    centring = np.eye(len(table)) - 1 / len(table)
    values, vectors = np.linalg.eigh(-0.5 * centring @ table**2 @ centring)
    values = np.clip(values[::-1], 0, None)
    points[known] = vectors[:, ::-1][:, :2] * np.sqrt(values[:2])
    return points, float(values[:2].sum() / values.sum()) if values.any() else 1.0
