"""UniSRec: items are texts; what it shares with SASRec is in ``test_next_item_networks``."""

import numpy as np
import pytest
import torch
from support.checkerboard import checkerboard, share_of_right_colour
from torch.nn import functional as F

from models.cf.unisrec import Adaptor, UniSRec, UniSRecConfig, train_unisrec
from models.contract.types import Floats
from models.types import Examples, Sequences

SMALL = UniSRecConfig(
    embedding_size=16,
    layers=1,
    heads=2,
    history_length=10,
    dropout=0.1,
    adaptor_dropout=0.0,
    experts=2,
    learning_rate=0.02,
    batch_size=10,
    epochs=25,
    patience=25,
)


def texts(n_items: int, size: int = 6) -> Floats:
    return np.random.default_rng(0).normal(size=(n_items, size)).astype(np.float32)


@pytest.mark.parametrize("item_ids", [True, False])
def test_finds_the_colour(item_ids: bool) -> None:
    board = checkerboard()
    config = UniSRecConfig(**{**vars(SMALL), "item_ids": item_ids})
    scorer = train_unisrec(board.train, board.valid, texts(board.n_items, 40), config)
    assert share_of_right_colour(scorer, board) == 1.0


def test_without_ids_items_of_the_same_text_are_one() -> None:
    same = texts(5)
    same[3] = same[1]
    torch.manual_seed(0)
    inductive = UniSRec(same, UniSRecConfig(**{**vars(SMALL), "item_ids": False})).eval().table()
    transductive = UniSRec(same, SMALL).eval().table()
    assert torch.equal(inductive[1], inductive[3])
    assert not torch.equal(inductive[1], inductive[2])
    assert not torch.equal(transductive[1], transductive[3])


def test_the_adaptor_mixes_projections_of_shifted_texts() -> None:
    """Equations 1 to 3, one text and one expert after the other."""
    torch.manual_seed(0)
    adaptor = Adaptor(6, SMALL).eval()
    for parameter in adaptor.parameters():
        torch.nn.init.normal_(parameter)
    given = torch.from_numpy(texts(4))
    for text, found in zip(given, adaptor(given), strict=True):
        gates = torch.softmax(text @ adaptor.gate, dim=-1)
        mixed = sum(gates[k] * ((text - adaptor.shift[k]) @ adaptor.experts[k]) for k in range(SMALL.experts))
        torch.testing.assert_close(found, mixed)


def test_the_gate_has_noise_while_it_is_trained() -> None:
    torch.manual_seed(0)
    adaptor, given = Adaptor(6, SMALL), torch.from_numpy(texts(4))
    torch.nn.init.normal_(adaptor.experts)
    assert not torch.equal(adaptor(given), adaptor(given))
    assert torch.equal(adaptor.eval()(given), adaptor(given))


def test_scores_are_cosines_over_the_temperature() -> None:
    network = UniSRec(texts(5), SMALL).eval()
    states = torch.randn(3, SMALL.embedding_size)
    expected = F.cosine_similarity(states[:, None], network.table()[None, :5], dim=-1) / SMALL.temperature
    torch.testing.assert_close(network.logits(states), expected)


def test_the_same_seed_gives_the_same_model() -> None:
    rows = Sequences.of([np.asarray([0, 1, 2, 3], np.int32)] * 4)
    valid = Examples(np.arange(4), rows, np.full(4, 4, np.int32))
    short = UniSRecConfig(**{**vars(SMALL), "epochs": 2})
    first, again = (train_unisrec(rows, valid, texts(5), short).scores(rows) for _ in range(2))
    np.testing.assert_array_equal(first, again)
