"""Statistics of results: Dataset in, Dataset out.

Barriers along a segment with ends L_A = L(t₀) and L_B = L(t₁), all from one curve; p is the position from 0 to 1:

* **D1** max L − ½(L_A + L_B): Ainsworth et al., "Git Re-Basin", 2023.
* **D2** max [L − ((1 − p)·L_A + p·L_B)]: Entezari et al., "The Role of Permutation Invariance in Linear Mode
  Connectivity", 2022. The default.
* **D3** L(½) − ½(L_A + L_B): Jordan et al., "REPAIR", 2023.
* **D4** max L − max(L_A, L_B).
"""

import numpy as np
import xarray as xr
from scipy.stats import binomtest

from modecomb_viz.results import label

__all__ = ["BARRIERS", "barriers", "summary"]

BARRIERS = ("D1", "D2", "D3", "D4")

_ATTRIBUTES = {
    "barrier": {"units": "nats per example", "long_name": "loss barrier"},
    "error_barrier": {"units": "fraction", "long_name": "error barrier"},
    "definition": {"units": "", "long_name": "definition of the barrier"},
    "mean_excess": {"units": "nats per example", "long_name": "mean excess loss"},
    "excess_quantile": {"units": "nats per example", "long_name": "quantiles of the excess loss"},
    "worst_excess": {"units": "nats per example", "long_name": "largest excess loss"},
    "low_loss_share": {"units": "fraction", "long_name": "share of draws of low loss"},
    "share_interval": {"units": "fraction", "long_name": "95 % Wilson interval of that share"},
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
        ``mean_excess``, ``excess_quantile``, ``worst_excess`` (nats), ``low_loss_share`` and its 95 % Wilson interval
        ``share_interval`` (fraction). A draw that is not a number makes the first three NaN and counts as
        not low.

    Raises:
        ValueError: for a dataset that holds no draws.
    """
    _require(dataset, "sample", "samples")
    ends = dataset.reference_loss.sel(reference=["A", "B"]).max("reference", skipna=False)
    excess = dataset.loss - ends
    low = (excess <= epsilon).sum("sample")
    n = dataset.sizes["sample"]
    result = xr.Dataset(
        {
            "mean_excess": excess.mean("sample", skipna=False),
            "excess_quantile": excess.quantile(list(quantiles), "sample", skipna=False),
            "worst_excess": excess.max("sample", skipna=False),
            "low_loss_share": low / n,
            "share_interval": xr.apply_ufunc(
                lambda k: _wilson(int(k), n), low, output_core_dims=[["bound"]], vectorize=True
            ).assign_coords(bound=["low", "high"]),
        }
    )
    result.attrs = {**dataset.attrs, "epsilon": epsilon}
    return label(result, _ATTRIBUTES)


def _wilson(successes: int, n: int) -> np.ndarray:
    interval = binomtest(successes, n).proportion_ci(method="wilson")
    return np.array([interval.low, interval.high])
