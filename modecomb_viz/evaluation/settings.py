"""Where and in which precision networks are evaluated."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["PRECISIONS", "REDUCED", "arithmetic", "check_precision", "near", "place", "resolve_device"]

#: In which type the weights and data of an evaluation are held.
PRECISIONS: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "tf32": torch.float32,
    "bfloat16": torch.float32,
}

#: Precisions in which the factors of products are rounded: to 10 and to 7 bits of mantissa. Sums stay in float32.
REDUCED = ("tf32", "bfloat16")


def resolve_device(device: str | torch.device | None) -> torch.device:
    """The device asked for; by default the GPU if there is one, else the CPU.

    Raises:
        ValueError: for a name torch does not know, or a GPU that is not there.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"there is no device {device!r}; use 'cpu', 'cuda' or 'cuda:0'.") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for, but torch finds no GPU here. Use device='cpu'.")
    return resolved


def check_precision(precision: str, device: torch.device | None = None) -> torch.dtype:
    """The dtype of a precision.

    Raises:
        ValueError: for an unknown one, or "tf32" where the device has none.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}.")
    if precision == "tf32" and device is not None and device.type != "cuda":
        raise ValueError(f"precision 'tf32' is that of an NVIDIA GPU; the device is {str(device)!r}. Use 'float32'.")
    return PRECISIONS[precision]


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """While it lasts, products on a GPU are computed in TensorFloat-32 if that is the precision, and only then.

    PyTorch's own default lets convolutions use it, which is no float32.
    """
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        yield
    finally:
        for place, kept in zip(places, before, strict=True):
            place.fp32_precision = kept


def place(model: nn.Module, device: torch.device, dtype: torch.dtype | None = None) -> nn.Module:
    """A copy of the architecture on a device and in a type; the caller's model stays as it is."""
    return copy.deepcopy(model).to(device, dtype)


def near(tensor: Tensor) -> Tensor:
    """The tensor in the memory layout that convolutions prefer: images and their kernels with the channel last."""
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
