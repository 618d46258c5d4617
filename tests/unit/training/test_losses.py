import pytest
import torch
from torch.nn import functional as F

from models.training.losses import next_item_losses

NONE = -100


def test_seen_items_take_no_part_in_the_softmax() -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    losses = next_item_losses(logits, torch.tensor([[4, 1, 0, NONE]]))
    torch.testing.assert_close(losses[0], F.cross_entropy(logits[0], torch.tensor(4)))
    torch.testing.assert_close(losses[1], F.cross_entropy(logits[1, [0, 1, 2, 3]], torch.tensor(1)))
    torch.testing.assert_close(losses[2], F.cross_entropy(logits[2, [0, 2, 3]], torch.tensor(0)))


def test_an_item_that_comes_again_can_still_be_the_target() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    losses = next_item_losses(logits, torch.tensor([[2, 2]]))
    torch.testing.assert_close(losses, F.cross_entropy(logits, torch.tensor([2, 2]), reduction="none"))


def test_rows_do_not_see_each_other_and_places_without_a_target_are_skipped() -> None:
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    losses = next_item_losses(logits, torch.tensor([[NONE, 3, NONE], [0, NONE, 3]]))
    torch.testing.assert_close(losses[:2], F.cross_entropy(logits[:2], torch.tensor([3, 0]), reduction="none"))
    torch.testing.assert_close(losses[2], F.cross_entropy(logits[2, 1:], torch.tensor(2)))


@pytest.mark.parametrize("padding", [-100, 6, 9])
def test_any_number_that_is_no_item_is_padding(padding: int) -> None:
    logits = torch.randn(2, 6, generator=torch.Generator().manual_seed(2))
    assert next_item_losses(logits, torch.tensor([[1, padding], [padding, 2]])).shape == (2,)


def test_seen_items_get_no_gradient() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    next_item_losses(logits, torch.tensor([[0, 1]])).sum().backward()
    assert logits.grad is not None
    assert logits.grad[1, 0] == 0
    assert torch.isfinite(logits.grad).all()
