"""The sequential baseline; what it shares with others is in ``test_next_item_networks``."""

import pytest

from models.cf.sasrec import SASRecConfig
from models.contract.errors import ConfigError


def test_heads_must_divide_the_embedding_size() -> None:
    with pytest.raises(ConfigError, match="heads: 3; expected a divisor of embedding_size, 8"):
        SASRecConfig(embedding_size=8, heads=3)
