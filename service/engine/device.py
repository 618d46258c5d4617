"""Arrays of the processor on the model's device."""

import torch
from torch import Tensor

from models.contract.types import Array


def on_device(values: Array, device: torch.device) -> Tensor:
    """An array as a tensor; the copy to another device goes on beside other work."""
    tensor = torch.from_numpy(values)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
