"""Where models are trained."""

import torch
from torch.nn import functional as F

from models.training.device import differentiated_attention


def test_attention_to_train_with_has_the_same_gradients() -> None:
    states = torch.randn(2, 2, 9, 8, generator=torch.Generator().manual_seed(0))

    def gradient() -> torch.Tensor:
        inputs = states.clone().requires_grad_()
        F.scaled_dot_product_attention(inputs, inputs, inputs, is_causal=True).square().sum().backward()
        assert inputs.grad is not None
        return inputs.grad

    plain = gradient()
    with differentiated_attention(torch.device("cpu")):
        torch.testing.assert_close(gradient(), plain)
