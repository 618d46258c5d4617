"""The model's device and number format, and arrays of the processor on it."""

from typing import Literal

import torch
from torch import Tensor

from models.contract.types import Array

DType = Literal["auto", "float32", "bfloat16"]


def device_of(name: str) -> torch.device:
    """``auto``: CUDA where there is one."""
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype_of(name: DType, device: torch.device) -> torch.dtype:
    """``auto`` is float32 on a CPU (exact) and bfloat16 elsewhere."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def on_device(values: Array, device: torch.device) -> Tensor:
    """An array as a tensor; the copy to another device goes on beside other work."""
    tensor = torch.from_numpy(values)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
