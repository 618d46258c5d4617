"""Products with weights that stay."""

import pytest
import torch
from torch.nn import functional as F

from service.engine import product as module
from service.engine.product import product

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("has_layouts", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_as_a_linear_layer(monkeypatch: pytest.MonkeyPatch, has_layouts: bool, dtype: torch.dtype, bias: bool) -> None:
    if not has_layouts:
        monkeypatch.setattr(module, "_has_layouts", lambda dtype: False)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(37, 16, generator=generator).to(dtype)
    added = torch.randn(37, generator=generator).to(dtype) if bias else None
    multiply = product(weight, added)
    for rows in (1, 5, 200):
        x = torch.randn(rows, 16, generator=generator).to(dtype)
        tolerance = 1e-5 if dtype == torch.float32 else 5e-2
        torch.testing.assert_close(multiply(x), F.linear(x, weight, added), atol=tolerance, rtol=tolerance)
