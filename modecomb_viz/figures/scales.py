"""A compressed axis: linear near zero, logarithmic far from it, so that zero and decades fit on one axis."""

import numpy as np

__all__ = ["LINEAR", "SCALE", "compressed", "compressed_ticks"]

#: Values up to about this size are spaced linearly; both for nats and for fractions.
LINEAR = 0.01

#: What the label of such an axis says.
SCALE = f"logarithmic above {LINEAR:g}"


def compressed(values: np.ndarray) -> np.ndarray:
    """Where values stand on the axis: arsinh(value / 0.01). What is not finite stays."""
    return np.arcsinh(np.asarray(values) / LINEAR)


def compressed_ticks(low: float, high: float) -> dict[float, str]:
    """Round values between two positions on the axis, by their position; about eight at most.

    >>> list(compressed_ticks(0.0, 4.0).values())
    ['0', '0.01', '0.02', '0.05', '0.1', '0.2']
    """
    found: list[float] = []
    for mantissas in ((1, 2, 5), (1, 3), (1,)):
        sizes = [round(m * LINEAR * 10.0**k, 12) for k in range(12) for m in mantissas]
        found = [v for v in (*(-s for s in reversed(sizes)), 0.0, *sizes) if low <= np.arcsinh(v / LINEAR) <= high]
        if len(found) <= 8:
            break
    return {float(np.arcsinh(value / LINEAR)): f"{value:g}" for value in found}
