"""Doors to what is not ours: files that may hold anything, and libraries that need care to import."""

import importlib.util
import pickle
import struct
import warnings
import zipfile
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

__all__ = ["import_torchvision", "read_torch"]

#: What torch's reader raises on files that are damaged or made to harm.
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
)

_CONVERT = (
    "Where you trust it, convert it: "
    "torch.save(torch.load(path, weights_only=False).state_dict(), 'weights.pt'), or save it as safetensors."
)


def read_torch(path: Path, largest: int | None = None) -> Any:
    """What ``torch.save`` wrote, tensors on the CPU and nothing but data: no code of the file is run.

    Args:
        path: a file in the zip or the legacy format, saved on any device.
        largest: bytes that its contents may have once unpacked.

    Raises:
        ValueError: for a file that is damaged, holds objects other than data, or unpacks to more than ``largest``.
    """
    if largest is not None and zipfile.is_zipfile(path):
        _check_unpacked(path, largest)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "nsupported" not in str(error):
            raise ValueError(f"'{path}' is not a whole torch file: {_first_line(error)}") from error
        raise ValueError(
            f"'{path}' holds more than tensors ({_first_line(error)}), such as a whole module; it is not opened, "
            f"because a pickle can run code. {_CONVERT}"
        ) from error
    except _READ_ERRORS as error:
        raise ValueError(f"'{path}' is not a whole torch file: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    text = str(error).replace("Weights only load failed.", "").strip()
    lines = [line.strip() for line in text.splitlines() if "nsupported" in line] or text.splitlines() or [repr(error)]
    return lines[0][:200]


def _check_unpacked(path: Path, largest: int):
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, NotImplementedError, struct.error, ValueError) as error:
        raise ValueError(f"'{path}' is not a whole torch file: {error}") from error
    if unpacked > largest:
        raise ValueError(
            f"'{path}' unpacks to {unpacked:,} bytes, more than the {largest:,} that this network can need."
        )


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
def _declare_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
