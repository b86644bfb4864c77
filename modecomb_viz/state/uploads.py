"""Networks that a browser sends: counted as they come, and opened as a folder of checkpoints is."""

import json
import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from modecomb_viz.architectures import ARCHITECTURES, build_from, params_of
from modecomb_viz.checkpoints import SUFFIXES, ModeSet, described, open_modes
from modecomb_viz.data import DATASETS
from modecomb_viz.state.choices import UPLOADED
from modecomb_viz.untrusted import is_file

__all__ = ["LARGEST", "Arriving", "offered_data", "offered_options", "open_uploaded"]

#: Bytes that a file may have, and the float32 weights of an architecture that the page asks for.
LARGEST = 2**28

#: Characters of options, and the largest number in them.
_LONGEST, _HIGHEST = 300, 2**14

#: Hexadecimal digits of the digest in a name: one of 2³² others has the same.
_DIGITS = 8

#: Characters of a file's name that are shown.
_SHOWN = 80


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


class Arriving:
    """A file that comes in pieces; nothing beyond ``limit`` bytes is kept.

    Attributes:
        name: as the browser gives it, cut to 80 characters; it is shown, and never a path.
        size: bytes that are there.
    """

    def __init__(self, limit: int = LARGEST):
        self.limit = limit
        self.begin()

    def begin(self):
        """Forget what was there; a new file comes."""
        self.name, self.size, self._total, self._ended = "", 0, 0, False
        self._pieces: list[bytes] = []

    def take(self, name: str, number: int, total: int, data: bytes):
        """The next piece, of which there are ``total``, numbered from 1.

        Raises:
            ValueError: for a piece out of order, or one that makes the file too large; all of it is forgotten.
        """
        if number != len(self._pieces) + 1:
            self.begin()
            raise ValueError("a piece of the file is missing. Choose the file again.")
        self.name, self._total = name[:_SHOWN], total
        self.size += len(data)
        if self.size > self.limit:
            self.begin()
            raise ValueError(
                f"'{name[:_SHOWN]}' has more than {_mebibytes(self.limit)}, which is the most that the page takes. "
                "Start the explorer with --modes and a folder for larger ones."
            )
        self._pieces.append(bytes(data))

    def end(self):
        """All has been sent."""
        self._ended = True

    @property
    def begun(self) -> bool:
        """Whether a file was chosen, be it here or not."""
        return self._ended or bool(self._pieces)

    @property
    def ending(self) -> str:
        """The ending of the name, the longest that checkpoints have; empty for another."""
        return max((suffix for suffix in SUFFIXES if self.name.lower().endswith(suffix)), key=len, default="")

    def check(self, mode: str):
        """Raise a ValueError unless the file is whole and ends as a checkpoint does."""
        if not self._ended or len(self._pieces) < self._total:
            raise ValueError(
                f"the file for {mode} is still on its way, {_mebibytes(self.size)} are here. Wait until its name "
                "stands on the button."
            )
        if not self.size:
            raise ValueError(f"the file for {mode} is empty.")
        if not self.ending:
            raise ValueError(
                f"the file for {mode} must end in {', '.join(SUFFIXES)}, got '{self.name}'. Rename it if it is a "
                "checkpoint."
            )

    def write(self, path: Path):
        """Put the bytes into a new file."""
        with path.open("xb") as file:
            file.writelines(self._pieces)

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes that are there, in hexadecimal."""
        digest = sha256()
        for piece in self._pieces:
            digest.update(piece)
        return digest.hexdigest()


def offered_data() -> list[str]:
    """What networks from a browser can be evaluated on: data sets by name, and data files in ``MODECOMB_DATA``."""
    root = Path(os.environ.get("MODECOMB_DATA") or os.devnull)
    files = sorted(path for path in root.iterdir() if is_file(path)) if root.is_dir() else []
    return [*DATASETS, *(path.name for path in files if path.suffix.lower() in (".npz", ".pt", ".pth"))]


def offered_options(architecture: str) -> str:
    """The options of an architecture with their defaults, as they are written."""
    parameters = signature(ARCHITECTURES[architecture]).parameters.values()
    return ", ".join(f"{parameter.name}={json.dumps(parameter.default)}" for parameter in parameters)


def open_uploaded(
    files: Mapping[str, Arriving],
    *,
    architecture: str,
    options: str = "",
    data: str = "digits",
    mean: str = "",
    std: str = "",
) -> ModeSet:
    """The mode set of files from a browser, which are kept nowhere.

    They are written under fixed names into a folder that only this process can read, opened by
    :func:`~modecomb_viz.checkpoints.open_modes` as tensors alone, and removed. The name of the set is a digest of the
    files and of what they are opened with, so the same, sent again, have the same name.

    Args:
        files: the checkpoint of every mode.
        architecture: a name of :data:`~modecomb_viz.architectures.ARCHITECTURES`.
        options: its options, ``NAME=VALUE`` a line, values as in TOML.
        data: one of :func:`offered_data`.
        mean, std: of the pixels of a data file, numbers with spaces or commas between them.

    Raises:
        ValueError: for files that are not whole, too large or hold anything else than weights that fit; an architecture
            that is not registered or is too large; data that are not there; or one network given twice.
    """
    for mode, file in files.items():
        file.check(mode)
    table = _table(architecture, options, data, mean, std)
    _check_size(table["architecture"])
    name = _name(files, table)
    with TemporaryDirectory(prefix="modecomb-") as private:
        folder = Path(private).resolve() / name
        folder.mkdir()
        try:
            for mode, file in files.items():
                file.write(folder / f"{mode}{file.ending}")
            modes = open_modes(folder, **table, trust_code=False)
        except ValueError as error:
            raise ValueError(str(error).replace(f"{folder}{os.sep}", "").replace(str(folder), "the upload")) from error
    _check_different(modes)
    return modes


def _name(files: Mapping[str, Arriving], table: Mapping[str, Any]) -> str:
    """Told from all that the set is made of."""
    told: list[Any] = [{mode: file.digest for mode, file in files.items()}, table]
    if isinstance(table["data"], Mapping):
        about = Path(table["data"]["file"]).stat()
        told.append([about.st_size, about.st_mtime_ns])
    return f"{UPLOADED}{sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:_DIGITS]}"


def _table(architecture: str, options: str, data: str, mean: str, std: str) -> dict[str, Any]:
    """The arguments of :func:`open_modes`, from nothing but what the page offers."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, got '{architecture[:_SHOWN]}'.")
    if data not in offered_data():
        raise ValueError(f"data must be one of {', '.join(offered_data())}, got '{data[:_SHOWN]}'.")
    if len(options) > _LONGEST:
        raise ValueError(f"the options have {len(options)} characters; {_LONGEST} are read.")
    lines = [line.strip() for line in options.splitlines() if line.strip()]
    place = data if data in DATASETS else str(Path(os.environ["MODECOMB_DATA"], data).resolve())
    return described(architecture, lines, place, _numbers("mean", mean), _numbers("std", std))


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        raise ValueError(f"{name} must be one number, or one per channel, got '{text[:_SHOWN]}'.") from None


def _check_size(architecture: Mapping[str, Any]):
    """Raise a ValueError for a network that would take memory out of proportion; no memory is taken to find out."""
    if too_high := [number for number in _all_numbers(architecture.values()) if not abs(number) <= _HIGHEST]:
        raise ValueError(f"the numbers in the options must be at most {_HIGHEST:,}, got {too_high[0]}.")
    with torch.device("meta"):
        size = 4 * sum(tensor.numel() for tensor in params_of(build_from(architecture)).values())
    if size > LARGEST:
        raise ValueError(
            f"'{architecture['name']}' with these options has {_mebibytes(size)} of weights; the page opens networks "
            f"of up to {_mebibytes(LARGEST)}. Start the explorer with --modes and a folder for larger ones."
        )


def _all_numbers(values: Iterable[Any]) -> list[float]:
    found: list[float] = []
    for value in values:
        found += _all_numbers(value) if isinstance(value, list) else [value] if isinstance(value, int | float) else []
    return found


def _check_different(modes: ModeSet):
    """Raise a ValueError when two modes are one network: nothing between them would be a combination."""
    first: dict[str, str] = {}
    for mode in modes.params:
        if (other := first.setdefault(modes.hashes[mode], mode)) != mode:
            raise ValueError(
                f"{other} and {mode} are the same network (hash {modes.hashes[mode]}). Choose files of two "
                "training runs."
            )
