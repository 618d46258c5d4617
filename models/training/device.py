"""Where models are trained, and in which number format."""

import resource
import sys
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def training_device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mixed_precision(device: torch.device, enabled: bool = True) -> torch.autocast:
    """bfloat16 products where the hardware has them, float32 elsewhere."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled and _has_bfloat16(device))


def full_precision(device: torch.device) -> torch.autocast:
    """float32 products again inside of :func:`mixed_precision`: eight bits give thousands of scores few values."""
    return torch.autocast(device.type, enabled=False)


def differentiated_attention(device: torch.device) -> AbstractContextManager[None]:
    """The attention to train with: on a CPU, the fused one's backward pass in bfloat16 takes thrice as long."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory this process has held so far: on a GPU as torch allocated it there, else in main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def _has_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are the hardware's own: older GPUs only imitate them, slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return torch.cpu._is_avx512_bf16_supported()  # no public question exists
