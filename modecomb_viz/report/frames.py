"""The frames of all pictures as the script of the page takes them: JSON, in which every value is there once.

What JSON has no word for is an object with one key: ``$array`` (base64 of little-endian numbers), ``$map``, ``$model``
(by its id) and ``$number`` (NaN and infinities). Numbers of columns are stored in single precision.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.core.property.vectorization import Value
from bokeh.model import Model

from modecomb_viz.figures import Frame

__all__ = ["Pool", "script_text"]


class Pool:
    """Values by their place; one that several frames show has one place.

    Attributes:
        models: all Bokeh models among the values.
    """

    def __init__(self):
        self._places: dict[str, int] = {}
        self.models: dict[str, Model] = {}

    def place(self, value: Any) -> int:
        """The place of a value, which is added if it is new."""
        return self._places.setdefault(json.dumps(self._encoded(value), separators=(",", ":")), len(self._places))

    def frame(self, frame: Frame) -> list[Any]:
        """The places of the properties of a frame, and of the columns of its sources."""
        columns = {
            source: {name: self.place(_slim(column)) for name, column in own.items()}
            for source, own in frame.columns.items()
        }
        return [[self.place(p.value) for p in frame.properties], columns]

    def text(self) -> str:
        """All values in JSON, in the order of their places."""
        return f"[{','.join(self._places)}]".replace("<", "\\u003c")

    def _encoded(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return _packed(value) if value.dtype in (np.float32, np.int32) else self._encoded(value.tolist())
        if isinstance(value, Model):
            self.models[value.id] = value
            return {"$model": value.id}
        if isinstance(value, Value):
            return {"value": self._encoded(value.value)}
        if isinstance(value, Mapping):
            return {"$map": [[self._encoded(k), self._encoded(v)] for k, v in value.items()]}
        if isinstance(value, (list, tuple)):
            return [self._encoded(entry) for entry in value]
        if isinstance(value, np.generic):
            return self._encoded(value.item())
        if isinstance(value, float) and not np.isfinite(value):
            return {"$number": "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
        return value


def _packed(array: np.ndarray) -> dict[str, Any]:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    data = base64.b64encode(little.tobytes()).decode()
    return {"$array": str(array.dtype), "shape": list(array.shape), "data": data}


def _slim(column: Any) -> Any:
    """A column with its numbers in single precision; whole numbers as such."""
    if isinstance(column, np.ndarray):
        kinds = {"f": np.float32, "i": np.int32, "u": np.int32}
        return column.astype(kinds[column.dtype.kind]) if column.dtype.kind in kinds else column
    if isinstance(column, list) and len(column) > 2 and all(isinstance(entry, float) for entry in column):
        return np.array(column, np.float32)
    if isinstance(column, list) and any(isinstance(entry, np.ndarray) for entry in column):
        return [_slim(entry) for entry in column]
    return column


def script_text(entries: Mapping[str, Any] | Sequence[Any]) -> str:
    """JSON that may stand in a script element: nothing in it ends one."""
    return json.dumps(entries, separators=(",", ":")).replace("<", "\\u003c")
