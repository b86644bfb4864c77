"""Barriers of segments, and the strength at which one passes a threshold."""

import numpy as np
import xarray as xr
from scipy.stats import bootstrap

from modecomb_viz.results import label
from modecomb_viz.statistics.intervals import LEAST, expanded_level
from modecomb_viz.statistics.names import ATTRIBUTES, require

BARRIERS = ("D1", "D2", "D3", "D4")

#: The variable of :func:`barriers` that belongs to a quantity.
BARRIER_OF = {"loss": "barrier", "accuracy": "error_barrier"}

#: A strength beyond all, for curves that never pass a threshold.
_NEVER = 2.0


def barriers(dataset: xr.Dataset) -> xr.Dataset:
    """The four barriers of every curve of a segment, for loss and for error = 1 − accuracy.

    Returns:
        ``barrier`` (nats per example) and ``error_barrier`` (fraction), with the dimension ``definition`` instead
        of ``t``. A curve with a NaN has NaN barriers. D3 is NaN where no point of the curve is the midpoint, that
        is, for an even number of points.

    Raises:
        ValueError: for a dataset that is no segment.
    """
    require(dataset, "t", "segment")
    result = xr.Dataset({"barrier": _barriers(dataset.loss), "error_barrier": _barriers(1 - dataset.accuracy)})
    result.attrs = {**dataset.attrs, "default": "D2"}
    return label(result, ATTRIBUTES)


def d2_barrier(dataset: xr.Dataset, quantity: str, split: str) -> float:
    """The D2 barrier of the one curve of a segment, without the rest of :func:`barriers`: it is drawn again and again.

    Returns:
        nats per example for ``loss``; for ``accuracy``, of error = 1 − accuracy, a fraction.

    Raises:
        ValueError: for a dataset that is no segment, or that has several curves.
    """
    return barrier_values(dataset, quantity, split)[..., BARRIERS.index("D2")].item()


def barrier_values(dataset: xr.Dataset, quantity: str, split: str) -> np.ndarray:
    """The four barriers of every curve of a split, along the last axis behind the curves in the order of the dataset.

    Raises:
        ValueError: for a dataset that is no segment.
    """
    require(dataset, "t", "segment")
    curves = dataset[quantity].sel(split=split).transpose(..., "t").values
    return _barrier_values(_position(dataset), curves if quantity == "loss" else 1 - curves)


def _position(curve: xr.DataArray | xr.Dataset) -> np.ndarray:
    t = curve.t.values
    return (t - t[0]) / (t[-1] - t[0])


def _barriers(curve: xr.DataArray) -> xr.DataArray:
    position = _position(curve)
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
    require(dataset, "repeat", "perturbation")
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
    return label(result, ATTRIBUTES)


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
    if repeats < LEAST or np.isnan(barrier).any():
        return np.full(2, np.nan)

    def statistic(index: np.ndarray) -> float:
        return min(_crossing(strengths, barrier[:, index].mean(1), threshold), _NEVER)

    options = {"n_resamples": 2000, "method": "percentile", "vectorized": False, "rng": 0}
    found = bootstrap((np.arange(repeats),), statistic, **options).bootstrap_distribution
    tail = (1 - expanded_level(repeats)) / 2
    bounds = np.quantile(found, (tail, 1 - tail), method="inverted_cdf")
    return np.where(bounds == _NEVER, np.inf, bounds)
