"""LightGCN."""

import numpy as np
import pytest
import torch
from support.checkerboard import checkerboard, share_of_users_right

from models.cf.lightgcn import LightGCN, LightGCNConfig, _Trainer, train_lightgcn
from models.cf.matrix import interaction_matrix
from models.contract.types import item_numbers
from models.types import Sequences

SMALL = LightGCNConfig(embedding_size=16, layers=2, learning_rate=0.02, batch_size=64, passes=2, epochs=20, patience=20)
TRAIN = Sequences.of([item_numbers(row) for row in ([0, 1], [1, 2, 1], [])])


def short(seed: int) -> LightGCNConfig:
    return LightGCNConfig(embedding_size=4, batch_size=64, passes=1, epochs=2, seed=seed)


@pytest.fixture
def network() -> LightGCN:
    """Untrained, three users, four items; the last user and the last item know nobody."""
    torch.manual_seed(0)
    return LightGCN(interaction_matrix(TRAIN, 4), LightGCNConfig(embedding_size=3, layers=2))


def spreading() -> torch.Tensor:
    """The mean of the powers 0, 1, 2 of Â, written out (equations 6 to 8)."""
    adjacency = torch.zeros(7, 7)
    for user, item in [(0, 0), (0, 1), (1, 1), (1, 2)]:
        adjacency[user, 3 + item] = adjacency[3 + item, user] = 1.0
    scale = adjacency.sum(dim=1).clamp(min=1).rsqrt()
    graph = scale[:, None] * adjacency * scale
    return (torch.eye(7) + graph + graph @ graph) / 3


def test_finds_the_colour() -> None:
    board = checkerboard()
    score = train_lightgcn(board.train, board.valid, board.n_items, SMALL)
    assert share_of_users_right(score, board) == 1.0


def test_embeddings_spread_over_the_graph(network: LightGCN) -> None:
    torch.testing.assert_close(network(), spreading() @ network.embeddings)


def test_gradient_spreads_as_the_embeddings_do(network: LightGCN) -> None:
    weights = torch.randn(7, 3)
    (network() * weights).sum().backward()
    torch.testing.assert_close(network.embeddings.grad, spreading().T @ weights)


def test_scores_are_inner_products_of_users_and_items(network: LightGCN) -> None:
    scorer, final = network.export(), network().detach().numpy()
    np.testing.assert_allclose(scorer.user_factors @ scorer.item_factors.T, final[:3] @ final[3:].T, rtol=1e-5)


def test_items_that_were_met_are_no_negatives(network: LightGCN) -> None:
    trainer = _Trainer(network, interaction_matrix(TRAIN, 4), LightGCNConfig())
    users, items = (grid.flatten() for grid in torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij"))
    unmet = trainer._unmet(users, items).view(3, 4)
    assert unmet.tolist() == [[False, False, True, True], [True, False, False, True], [True] * 4]


def test_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    board = checkerboard()
    first, again, other = (
        train_lightgcn(board.train, board.valid, board.n_items, short(seed))(board.valid) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
