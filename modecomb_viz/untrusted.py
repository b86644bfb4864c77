"""Doors to what is not ours: files that may hold anything, and libraries that need care to import."""

import importlib.util
import io
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
import zlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import library

__all__ = ["check_archive", "import_torchvision", "is_file", "read_torch"]

#: What readers raise on files that are damaged or made to harm.
_READ_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    MemoryError,
    OverflowError,
    ImportError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

#: How a zip begins, and a file of torch's legacy format.
_ZIP, _LEGACY = b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

#: Pickles in a legacy file: magic number, version, system, content, keys of the storages.
_LEGACY_PICKLES = 5

#: Bytes of pickle that are read; names and shapes of 100,000 tensors need less.
_LONGEST = 2**24

#: How deep tuples may nest, and how many entries those that are used again may have, all uses together.
_DEEPEST, _UNFOLDED = 100, 2**20

#: Callables that take memory for a mere number.
_ALLOCATORS = re.compile(r"torch\.(\w+\.)?\w*(Tensor|Storage)|builtins\.bytearray")

#: It calls the first of its arguments.
_REBUILDS = "torch._tensor._rebuild_from_type_v2"

#: A file may unpack to so many times its bytes and this much more, up to the limit or its own size.
_RATIO, _MARGIN, _LIMIT = 100, 2**26, 2**34


def is_file(path: Path) -> bool:
    """Whether there is a file; a name that no file can have, such as one too long, is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_torch(path: Path, largest: int | None = None, advice: str = "Save a dict of tensors alone.") -> Any:
    """What ``torch.save`` wrote, tensors on the CPU and nothing but data: no code of the file is run.

    Before torch opens it, the pickles inside are gone through without making any of their objects, and refused where
    they would take memory or time out of proportion.

    Args:
        path: a file in the zip or the legacy format, saved on any device.
        largest: bytes that its contents may have once unpacked; by default the bound of :func:`check_archive`.
        advice: what to do about a file that holds more than data.

    Raises:
        ValueError: for a file that is damaged, holds objects other than data, or unpacks to more than ``largest``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with path.open("rb") as file:
                start = file.read(64)
                file.seek(0)
                _check_zip(path, file, largest) if start.startswith(_ZIP) else _check_legacy(file, start)
            return torch.load(path, map_location="cpu", weights_only=True)
    except _Refused as error:
        raise ValueError(f"'{path}' {error}") from error
    except _READ_ERRORS as error:
        raise ValueError(_explained(path, error, advice)) from error


class _Refused(Exception):
    """The rest of a sentence that begins with the file: what is wrong with it."""


def _explained(path: Path, error: BaseException, advice: str) -> str:
    if held := re.search(r"GLOBAL ([\w.<>]+)", str(error)):
        return (
            f"'{path}' holds more than tensors (an object of {held[1][:100]}), such as a whole module; it is not "
            f"opened, because a pickle can run code. {advice}"
        )
    reason = str(error).replace("Weights only load failed.", "").strip().partition("\n")[0] or type(error).__name__
    return f"'{path}' is not a whole torch file: {reason[:200]}"


def _check_zip(path: Path, file: io.BufferedIOBase, largest: int | None):
    try:
        entries = check_archive(path, largest)
    except ValueError as error:
        raise _Refused(f"is not a torch file that can be read: {error}") from error
    if any(entry.orig_filename.endswith("/constants.pkl") for entry in entries):
        raise _Refused(
            "is a TorchScript archive, which holds code. Where you trust it, convert it: "
            "torch.save(torch.jit.load(path).state_dict(), 'weights.pt')."
        )
    with zipfile.ZipFile(file) as archive:
        for entry in entries:
            if "data.pkl" in entry.orig_filename.lower():  # torch does not look at the case of names
                if entry.file_size > _LONGEST:
                    raise _Refused(_too_long(entry.file_size))
                _Outline().read(io.BytesIO(archive.read(entry)))


def _check_legacy(file: io.BufferedIOBase, start: bytes):
    if start.startswith(b"version https://git-lfs"):
        raise _Refused("is a pointer of Git LFS, not the file itself. Fetch it with git lfs pull.")
    whole = start.startswith(_LEGACY)
    called = [name for _ in range(_LEGACY_PICKLES if whole else 1) for name in _Outline().read(file)]
    if not whole:
        if called:
            raise pickle.UnpicklingError(f"GLOBAL {called[0]}")
        raise _Refused("is not a whole torch file: it was not written by torch.save.")


def check_archive(path: Path, largest: int | None = None) -> list[zipfile.ZipInfo]:
    """The entries of a zip that unpacks to no more than ``largest`` bytes.

    By default to no more than 100 times its own size and 64 MiB, and no more than 16 GiB unless it is larger itself.

    Raises:
        ValueError: when it unpacks to more, or is no zip that all readers read alike.
    """
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (*_READ_ERRORS, NotImplementedError) as error:
        raise ValueError(f"it is damaged: {error}") from error
    if not entries or archive.comment or min(entry.header_offset for entry in entries):
        raise ValueError("it is damaged: something stands before or after its contents.")
    if largest is None:
        largest = max(size, min(_LIMIT, _RATIO * size + _MARGIN))
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > largest:
        raise ValueError(f"it unpacks to {unpacked:,} bytes, more than the {largest:,} that it can need.")
    return entries


def _too_long(size: int) -> str:
    return (
        f"describes its contents in {size:,} bytes, more than the {_LONGEST:,} that are read. Save tensors instead of "
        "lists and tables of numbers."
    )


class _Held(NamedTuple):
    """What a pickle would put on its stack: a callable by name, or a value.

    Attributes:
        name: of a callable.
        size, depth: of a tuple unfolded.
        first: the name of a callable that a tuple begins with.
    """

    name: str = ""
    size: int = 1
    depth: int = 0
    first: str = ""


class _Outline:
    """Goes through one pickle without making its objects, by the operations that torch's own reader knows.

    Reading, hashing and comparing tuples takes as long as they are unfolded; those that are used again through the
    memo grow exponentially, so their sizes are added up.
    """

    def __init__(self):
        self.stack: list[_Held] = []
        self.marks: list[int] = []
        self.memo: dict[int, _Held] = {}
        self.texts: list[str] = []
        self.called: list[str] = []
        self.unfolded = 0

    def read(self, stream: io.BufferedIOBase) -> list[str]:
        """The names of all callables and classes in the pickle; the stream is left behind its end."""
        start = stream.tell()
        for operation, argument, place in pickletools.genops(stream):
            if (place or 0) - start > _LONGEST:
                raise _Refused(_too_long(place - start))
            self._step(operation.name, argument)
        return self.called

    def _step(self, name: str, argument: Any):
        if isinstance(argument, str) and name != "GLOBAL":
            self.texts = [*self.texts[-1:], argument]
        if name in _POPS:
            del self.stack[len(self.stack) - _POPS[name] :]
        if name in _PUSHED:
            self.stack.append(_Held())
        elif step := getattr(self, f"_{name.lower()}", None):
            step(argument)

    def _global(self, argument: str):
        self.called.append(argument.replace(" ", "."))
        if self.called[-1] == "builtins.bytearray":
            raise _Refused("is not read: it holds a bytearray, which no state dict needs.")
        self.stack.append(_Held(self.called[-1]))

    def _stack_global(self, argument: None):
        raise pickle.UnpicklingError(f"GLOBAL {'.'.join(self.texts[-2:])}")

    def _inst(self, argument: str):
        raise pickle.UnpicklingError(f"GLOBAL {argument.replace(' ', '.')}")

    def _reduce(self, argument: None):
        function, given = self._take(2)
        called = given.first if function.name == _REBUILDS else function.name
        if not called or _ALLOCATORS.fullmatch(called):
            raise _Refused(f"is not read: it makes an object by calling {called or 'what is no class'}.")
        self.stack.append(_Held(size=given.size))

    _newobj = _reduce

    def _mark(self, argument: None):
        self.marks.append(len(self.stack))

    def _take(self, count: int | None = None) -> list[_Held]:
        """So many values off the stack, or all above the last mark."""
        at = self.marks.pop() if count is None else len(self.stack) - count
        taken = self.stack[at:]
        del self.stack[at:]
        return taken

    def _appends(self, argument: None):
        self._take()

    _setitems = _appends

    def _tuple(self, argument: None):
        self._pack(self._take())

    def _tuple1(self, argument: None):
        self._pack(self._take(1))

    def _tuple2(self, argument: None):
        self._pack(self._take(2))

    def _tuple3(self, argument: None):
        self._pack(self._take(3))

    def _pack(self, parts: list[_Held]):
        size, depth = 1 + sum(part.size for part in parts), 1 + max((part.depth for part in parts), default=0)
        packed = _Held("", size, depth, parts[0].name if parts else "")
        if packed.depth > _DEEPEST:
            raise _Refused(f"is not read: it nests tuples more than {_DEEPEST} deep.")
        self.stack.append(packed)

    def _binput(self, argument: int):
        self.memo[argument] = self.stack[-1]

    _long_binput = _binput

    def _binget(self, argument: int):
        held = self.memo[argument]
        self.unfolded += held.size - 1
        if self.unfolded > _UNFOLDED:
            raise _Refused(f"is not read: its tuples unfold to more than {_UNFOLDED:,} entries.")
        self.stack.append(held)

    _long_binget = _binget


#: Operations that put a plain value on the stack, and how many values others take off it.
_PUSHED = {
    *("NONE", "NEWTRUE", "NEWFALSE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "EMPTY_TUPLE", "BININT", "BININT1"),
    *("BININT2", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "LONG1", "BINPERSID"),
}
_POPS = {"BINPERSID": 1, "APPEND": 1, "SETITEM": 2, "BUILD": 1}


@cache
def import_torchvision() -> ModuleType:
    """torchvision, also where its compiled operators do not fit the installed torch.

    A CUDA wheel of torchvision beside a CPU torch fails at import because the schemas of its operators
    were never registered; data sets and classification models do not need them, so the schemas are declared
    without a kernel.
    """
    folder = Path(importlib.util.find_spec("torchvision").origin).parent
    try:
        torch.ops.load_library(folder / "_C.so")
    except OSError:
        _declare_operators()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to load image Python extension")
        import torchvision.datasets
        import torchvision.models
    return torchvision


@cache
def _declare_operators() -> library.Library:
    declared = library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return declared
