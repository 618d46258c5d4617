"""Products with a weight that stays: laid out once for the processor, where there is a layout for it."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Product = Callable[[Tensor], Tensor]
"""Rows (n, n_in) to rows (n, n_out)."""

ROWS = 64  # that the layout is chosen for; any number can be multiplied


def product(weight: Tensor, bias: Tensor | None = None) -> Product:
    """The product with a weight (n_out, n_in), plus a bias (n_out,).

    On a CPU oneDNN keeps a blocked copy: with few rows the product takes half the time, with many nine tenths.
    """
    if weight.device.type == "cpu" and _has_layouts(weight.dtype):
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return lambda x: F.linear(x, weight, bias)


def _has_layouts(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
