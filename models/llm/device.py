"""Where models are trained, and in which number format."""

import torch


def training_device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mixed_precision(device: torch.device, enabled: bool = True) -> torch.autocast:
    """bfloat16 products where the hardware has them, float32 elsewhere."""
    supported = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()  # no public question exists
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled and supported)
