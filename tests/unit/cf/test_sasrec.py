"""The sequential baseline; what it shares with others is in ``test_next_item_networks``."""

import pytest
from support.checkerboard import checkerboard

from models.cf.sasrec import SASRecConfig, train_sasrec
from models.contract.errors import ConfigError


def test_heads_must_divide_the_embedding_size() -> None:
    board = checkerboard()
    with pytest.raises(ConfigError, match="heads: 3 does not divide embedding_size 8"):
        train_sasrec(board.train, board.valid, board.n_items, SASRecConfig(embedding_size=8, heads=3))
