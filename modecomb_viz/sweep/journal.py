"""What a run has evaluated, durably written, so that a run that was killed goes on where it was.

A sweep is a fixed sequence of evaluations. The journal keeps their results in that order, in an SQLite file; a run that
goes on takes the first ones from the journal and computes from there on, with the recorded plan, cut and threads.
"""

import io
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from modecomb_viz.results import disagreement

__all__ = ["Journal", "journal_header"]

_TABLES = """
CREATE TABLE about (header TEXT NOT NULL);
CREATE TABLE evaluations (number INTEGER PRIMARY KEY, asked TEXT NOT NULL, found BLOB NOT NULL, seconds REAL NOT NULL);
"""

#: What must be the same for a run to go on, with what to say of it.
_SAME = {
    "recipe": "its settings are others",
    "modes_hash": "it is of other networks",
    "data_hash": "it is of other data",
    "versions": "it was computed by other versions",
    "device": "it was computed on another device",
}


class Journal:
    """Results of evaluations by their number.

    Attributes:
        path: the file.
        header: what the run is: recipe, hashes, versions, and as far as they are known plan, threads and block.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, header: dict[str, Any]):
        self.path, self.header, self._connection = path, header, connection
        self._next = 0

    @classmethod
    @contextmanager
    def opened(cls, path: str | Path, header: Mapping[str, Any]) -> Iterator["Journal"]:
        """The journal of a run, begun if there is none; closed at the end, and gone if nothing was evaluated.

        Raises:
            ValueError: when the file is no journal, is that of another run, or another process writes it.
        """
        path = Path(path)
        connection, journal = _connected(path), None
        try:
            known = _header(path, connection)
            begun = known is None
            if known is None:
                known = dict(header)
                with connection:
                    connection.execute("INSERT INTO about VALUES (?)", (json.dumps(known),))
            _check_same(path, known, header)
            journal = cls(path, connection, known)
            yield journal
        finally:
            unused = journal is not None and begun and not journal.count
            connection.close()
            if unused:
                path.unlink()

    @property
    def count(self) -> int:
        """Evaluations that are written."""
        return self._connection.execute("SELECT COUNT(*) FROM evaluations").fetchone()[0]

    def note(self, **entries: Any):
        """Add to the header."""
        self.header.update(entries)
        with self._connection:
            self._connection.execute("UPDATE about SET header = ?", (json.dumps(self.header),))

    def taken(self, asked: str, shape: tuple[int, ...]) -> tuple[dict[str, np.ndarray], float] | None:
        """The next evaluation and the seconds that it took, or None where the journal ends.

        Args:
            asked: what the run evaluates now.
            shape: that all its results begin with.

        Raises:
            ValueError: when the journal has something else in this place.
        """
        query = "SELECT asked, found, seconds FROM evaluations WHERE number = ?"
        if (row := self._connection.execute(query, (self._next,)).fetchone()) is None:
            return None
        found = _unpacked(self.path, row[1])
        if row[0] != asked or any(values.shape[: len(shape)] != shape for values in found.values()):
            raise ValueError(
                f"evaluation {self._next} of '{self.path}' is not what this run evaluates there, so the journal cannot "
                "be continued on this machine. Delete it to begin again."
            )
        self._next += 1
        return found, row[2]

    def put(self, asked: str, found: Mapping[str, np.ndarray], seconds: float):
        """Write the next evaluation; it is on the disk when this returns."""
        packed = io.BytesIO()
        np.savez(packed, **found)
        with self._connection:
            row = (self._next, asked, packed.getvalue(), seconds)
            self._connection.execute("INSERT INTO evaluations VALUES (?, ?, ?, ?)", row)
        self._next += 1


def journal_header(path: str | Path) -> dict[str, Any]:
    """What the run of a journal is: its recipe, hashes, versions, plan.

    Raises:
        ValueError: when there is no such file, it is no journal, or another process writes it.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no unfinished run at '{path}'.")
    connection = _connected(path)
    try:
        header = _header(path, connection)
    finally:
        connection.close()
    if header is None:
        raise ValueError(f"'{path}' is the journal of a run that had not begun. Delete it.")
    return header


def _connected(path: Path) -> sqlite3.Connection:
    """A connection that alone may write, every transaction of which is on the disk when it is committed."""
    try:
        connection = sqlite3.connect(path, timeout=0, check_same_thread=False)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN EXCLUSIVE")
        connection.commit()
    except sqlite3.OperationalError as error:
        reason = "another run writes it" if "locked" in str(error) else error
        raise ValueError(f"cannot use '{path}' as a journal: {reason}.") from error
    except sqlite3.DatabaseError as error:
        raise ValueError(_no_journal(path)) from error
    return connection


def _header(path: Path, connection: sqlite3.Connection) -> dict[str, Any] | None:
    """The header; None in a new file, which gets its tables."""
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            connection.executescript(f"BEGIN; {_TABLES} COMMIT;")
        row = connection.execute("SELECT header FROM about").fetchone()
        header = json.loads(row[0]) if row else None
    except (sqlite3.DatabaseError, json.JSONDecodeError) as error:
        raise ValueError(_no_journal(path)) from error
    if header is not None and (not isinstance(header, dict) or _SAME.keys() - header.keys()):
        raise ValueError(_no_journal(path))
    return header


def _check_same(path: Path, known: Mapping[str, Any], header: Mapping[str, Any]):
    for entry, text in _SAME.items():
        if pairs := disagreement(known[entry], header[entry]):
            raise ValueError(
                f"'{path}' is the journal of another run: {text} ({pairs}). Go on with what it was begun with, "
                "or delete it to begin again."
            )


def _no_journal(path: Path) -> str:
    return f"'{path}' is not a journal of a sweep. Choose another file, or delete it."


def _unpacked(path: Path, packed: bytes) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, TypeError) as error:
        raise ValueError(f"'{path}' holds an evaluation that cannot be read: {error}. Delete it.") from error
