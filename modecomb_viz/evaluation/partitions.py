"""Which points have which weights in common."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from modecomb_viz.hypercube import Points

__all__ = ["Partitions", "partitions_of"]

#: Coefficients of a tensor, per point, beyond which points are taken to differ without a look.
_MANY = 1 << 16


class Partitions:
    """Partitions of the points, numbered in the order in which they are found.

    Number 0 is that of what no weight of any point enters; every other has at least one part, even where its one part
    holds all points.
    """

    def __init__(self, points: int):
        self.ids = [np.zeros(points, dtype=np.int64)]
        self._known: dict[bytes, int] = {}
        self._joined: dict[tuple[int, int], int] = {}

    def add(self, rows: Iterable[bytes]) -> int:
        """The partition into equal rows."""
        seen: dict[bytes, int] = {}
        return self._number(np.array([seen.setdefault(row, len(seen)) for row in rows], dtype=np.int64))

    def add_finest(self) -> int:
        """Every point by itself."""
        return self._number(np.arange(len(self.ids[0])))

    def join(self, partitions: Iterable[int]) -> int:
        """The coarsest that is as fine as all."""
        result = 0
        for other in partitions:
            result = self._join(result, other)
        return result

    def _join(self, p: int, q: int) -> int:
        if p == q or not p or not q:
            return max(p, q)
        key = (min(p, q), max(p, q))
        if key not in self._joined:
            rows = np.stack([self.ids[p], self.ids[q]], 1)
            self._joined[key] = self.add(row.tobytes() for row in rows)
        return self._joined[key]

    def parts(self, partition: int) -> int:
        """Number of parts."""
        return int(self.ids[partition].max(initial=0)) + 1

    def _number(self, ids: np.ndarray) -> int:
        number = self._known.setdefault(ids.tobytes(), len(self.ids))
        if number == len(self.ids):
            self.ids.append(ids)
        return number


def partitions_of(points: Points, names: Sequence[str]) -> tuple[Partitions, dict[str, int]]:
    """The partition of every tensor: points with equal coefficients have equal tensors."""
    found, of = Partitions(len(points)), {}
    seen: dict[tuple[Any, ...], int] = {}
    for name in names:
        blocks = [] if name in points.given else [table[name] for table in points.coefficients]
        if not blocks or sum(block[0].numel() for block in blocks) > _MANY:
            of[name] = found.add_finest()
            continue
        key = tuple((block.data_ptr(), block.numel(), block.dtype) for block in blocks)
        if key not in seen:
            rows = np.concatenate([block.reshape(len(points), -1).cpu().numpy() for block in blocks], 1)
            seen[key] = found.add(row.tobytes() for row in rows)
        of[name] = seen[key]
    return found, of
