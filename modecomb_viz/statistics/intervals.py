"""95 % intervals of means, quantiles and shares of independent values."""

import numpy as np
from scipy.stats import binomtest, bootstrap, norm, quantile_test
from scipy.stats import t as student

#: Values that a bootstrap holds at once.
AT_ONCE = 10**6

#: Fewer values have no bootstrap interval: of two it covers 48 %, of three 74 % where it says 95 %.
LEAST = 4


def quantile_intervals(values: np.ndarray, levels: list[float]) -> np.ndarray:
    """95 % intervals ``[quantile, bound]`` of order statistics; NaN where no value is far enough out."""
    if not np.isfinite(values).all():
        return np.full((len(levels), 2), np.nan)
    found = [quantile_test(values, p=level).confidence_interval() for level in levels]
    return np.array([(bounds.low, bounds.high) for bounds in found]).reshape(-1, 2)


def bootstrap_interval(values: np.ndarray) -> np.ndarray:
    """95 % interval ``[bound]`` of the mean of independent values."""
    if len(values) < LEAST or not np.isfinite(values).all():
        return np.full(2, np.nan)
    batch = max(1, AT_ONCE // len(values))
    options = {"n_resamples": 2000, "batch": batch, "method": "percentile", "vectorized": True, "rng": 0}
    found = bootstrap((values,), np.mean, confidence_level=expanded_level(len(values)), **options).confidence_interval
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


def wilson_interval(successes: int, n: int) -> np.ndarray:
    """95 % interval ``[bound]`` of a share of n."""
    interval = binomtest(successes, n).proportion_ci(method="wilson")
    return np.array([interval.low, interval.high])
