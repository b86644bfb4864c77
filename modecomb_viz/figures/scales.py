"""Axes that are not linear: positions of values on them, and labels for positions.

The axis of a quantity is logarithmic for a loss, because networks and what lies between them may be decades apart. A
compressed axis is linear near zero and logarithmic far from it, so that zero and decades fit on one axis.
"""

import numpy as np

from modecomb_viz.figures.looks import quantity_label, ticks

__all__ = [
    "LINEAR",
    "SCALE",
    "compressed",
    "compressed_ticks",
    "position",
    "position_label",
    "position_ticks",
    "span",
]

#: Losses below this stand where it does.
_FLOOR = 1e-6


def position(values: np.ndarray, quantity: str) -> np.ndarray:
    """Where values stand on the axis of a quantity: log10 of a loss, an accuracy itself. What is not finite stays."""
    return np.log10(np.maximum(values, _FLOOR)) if quantity == "loss" else np.asarray(values)


def span(values: np.ndarray, quantity: str) -> tuple[float, float]:
    """Positions between which all finite values lie, with some space around them; (0, 1) where there are none."""
    positions = position(np.ravel(values), quantity)
    finite = positions[np.isfinite(positions)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    space = max(0.07 * (high - low), 0.01)
    return low - space, high + space


def position_ticks(low: float, high: float, quantity: str) -> dict[float, str]:
    """Round values between two positions on the axis of a quantity, by their position."""
    if quantity == "loss":
        return {float(np.log10(value)): f"{value:g}" for value in ticks(10**low, 10**high)}
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if (high - low) / step <= 8 or step == 1.0)
    return {
        round(k * step, 6): f"{k * step:.2f}" for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)
    }


def position_label(quantity: str, split: str) -> str:
    """Quantity, units and scale of the axis of a quantity."""
    return quantity_label(quantity, split) + (", logarithmic" if quantity == "loss" else "")


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
