"""Coarse to fine: which points are new at each level."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

__all__ = ["growing", "levels", "strides"]


def strides(resolution: int, least: int = 4) -> list[int]:
    """Powers of two, descending to 1; the first leaves at least so many points on a side, where there are as many.

    >>> strides(33), strides(25), strides(3)
    ([8, 4, 2, 1], [8, 4, 2, 1], [1])
    """
    stride = 1
    while (resolution - 1) // (2 * stride) + 1 >= least:
        stride *= 2
    return [2**k for k in range(stride.bit_length() - 1, -1, -1)]


def levels(points: int, least: int = 4) -> Iterator[tuple[int, Int[np.ndarray, " index"]]]:
    """Per level of a line its stride, and the indices that no earlier level has evaluated: every stride-th of them.

    The first level has at least ``least`` points, where there are as many.
    """
    before = None
    for stride in strides(points, least):
        index = np.arange(0, points, stride)
        yield stride, index if before is None else index[index % before > 0]
        before = stride


def growing(n: int, first: int = 8) -> Iterator[tuple[int, int]]:
    """Ranges of a sequence that doubles: (0, 8), (8, 16), (16, 32) … up to n.

    >>> list(growing(20))
    [(0, 8), (8, 16), (16, 20)]
    """
    start, stop = 0, min(first, n)
    while start < n:
        yield start, stop
        start, stop = stop, min(2 * stop, n)
