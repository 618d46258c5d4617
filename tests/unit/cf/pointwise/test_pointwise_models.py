"""The four collaborative models: what each finds, represents, and how it is kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.labelled import labelled_board
from torch.nn import functional as F

from models.cf.pointwise.din import DIN, DINConfig
from models.cf.pointwise.lightgcn import LightGCN, LightGCNConfig
from models.cf.pointwise.mf import MF, MFConfig
from models.cf.pointwise.models import CONFIGS, Config, Kind, load, make_config, make_model, save
from models.cf.pointwise.sasrec import SASRec, SASRecConfig, from_start
from models.cf.pointwise.train import pairs_of, predict, train_pointwise
from models.cf.pointwise.types import Pairs
from models.contract.errors import ConfigError, DataError
from models.data.labelled import LabelledData
from models.evaluation.pointwise import auc

SMALL: dict[Kind, Config] = {
    "mf": MFConfig(embedding_size=8, learning_rate=0.02, batch_size=64, epochs=30, patience=3),
    "lightgcn": LightGCNConfig(embedding_size=8, learning_rate=0.02, batch_size=64, epochs=30, patience=3),
    "sasrec": SASRecConfig(
        embedding_size=16, layers=1, dropout=0.0, learning_rate=0.01, batch_size=64, epochs=30, patience=3
    ),
    "din": DINConfig(
        embedding_size=8, hidden_sizes=(16,), dropout=0.0, learning_rate=0.03, batch_size=64, epochs=30, patience=3
    ),
}
KINDS = sorted(CONFIGS)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> LabelledData:
    return labelled_board(tmp_path_factory.mktemp("board"))


def pairs(users: list[int], items: list[int], histories: list[list[int]]) -> Pairs:
    return Pairs(torch.tensor(users), torch.tensor(items), torch.tensor(histories))


@pytest.mark.parametrize("kind", KINDS)
def test_finds_the_colour(kind: Kind, board: LabelledData) -> None:
    model = make_model(SMALL[kind], board)
    assert train_pointwise(model, board, SMALL[kind]) == 1.0
    assert auc(predict(model, board.test, board.n_items), board.test.labels) == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_both_vectors_have_one_size_and_carry_gradients(kind: Kind, board: LabelledData) -> None:
    model = make_model(SMALL[kind], board)
    batch = pairs_of(board.valid, np.arange(5), board.n_items, model.history_length)
    for vectors in model.represent(batch):
        assert vectors.shape == (5, model.embedding_size)
        assert vectors.requires_grad
    assert model(batch).shape == (5,)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_predicts_the_same(kind: Kind, board: LabelledData, tmp_path: Path) -> None:
    model = make_model(SMALL[kind], board).eval()
    save(model, SMALL[kind], board, tmp_path / "cf")
    loaded = load(tmp_path / "cf")
    assert not loaded.training
    scores = (predict(m, board.test, board.n_items) for m in (model, loaded))
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_one_model(kind: Kind, board: LabelledData) -> None:
    def trained(seed: int) -> np.ndarray:
        config = replace(SMALL[kind], seed=seed, epochs=1)
        model = make_model(config, board)
        train_pointwise(model, board, config)
        return predict(model, board.test, board.n_items)

    np.testing.assert_array_equal(trained(0), trained(0))
    assert not np.array_equal(trained(0), trained(1))


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_what_is_no_saved_model_is_refused(file: str, board: LabelledData, tmp_path: Path) -> None:
    save(make_model(SMALL["mf"], board), SMALL["mf"], board, tmp_path)
    (tmp_path / file).write_bytes(b"{}")
    with pytest.raises(DataError, match="not a collaborative model"):
        load(tmp_path)


def test_a_saved_model_of_other_shapes_is_refused(board: LabelledData, tmp_path: Path) -> None:
    save(make_model(SMALL["mf"], board), replace(SMALL["mf"], embedding_size=9), board, tmp_path)
    with pytest.raises(DataError, match="size mismatch"):
        load(tmp_path)


def test_default_settings_take_the_seed() -> None:
    assert make_config("mf", 3) == MFConfig(seed=3)


def test_mf_is_an_inner_product() -> None:
    model = MF(2, 3, MFConfig(embedding_size=4))
    expected = (model.users.weight[1] * model.items.weight[2]).sum()
    torch.testing.assert_close(model(pairs([1], [2], [[]])), expected[None])


def test_lightgcn_spreads_over_liked_pairs_only() -> None:
    liked = torch.tensor([[0, 0, 0], [1, 2, 2]])  # one twice; user 1 and item 0 liked nothing
    model = LightGCN(2, 3, LightGCNConfig(embedding_size=4, layers=1), liked)
    users, items = model.represent(pairs([0, 1], [1, 0], [[], []]))
    own = model.embeddings
    torch.testing.assert_close(users[0], (own[0] + (own[3] + own[4]) / 2**0.5) / 2)
    torch.testing.assert_close(items[0], (own[3] + own[0] / 2**0.5) / 2)
    torch.testing.assert_close(users[1], own[1] / 2)
    torch.testing.assert_close(items[1], own[2] / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_the_same_under_mixed_precision(kind: Kind, board: LabelledData) -> None:
    """Whoever injects them may train its own network in bfloat16."""
    model = make_model(SMALL[kind], board).eval()
    batch = pairs_of(board.valid, np.arange(5), board.n_items, model.history_length)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        vectors = model.represent(batch)
        sum(v.sum() for v in vectors).backward()
    for half, full in zip(vectors, model.represent(batch), strict=True):
        torch.testing.assert_close(half.float(), full, rtol=0.05, atol=0.05)


def test_sasrec_sees_the_history_whatever_its_padding() -> None:
    model = SASRec(5, SASRecConfig(embedding_size=8, history_length=4)).eval()
    short, long = (model.represent(pairs([0], [1], [h]))[0] for h in ([3, 4], [5, 5, 3, 4]))
    torch.testing.assert_close(short, long)
    torch.testing.assert_close(short, model.network(torch.tensor([[5, 3, 4]]))[:, -1])


def test_sasrec_of_an_empty_history_is_the_start_tokens_state() -> None:
    model = SASRec(5, SASRecConfig(embedding_size=8, history_length=3)).eval()
    users, _ = model.represent(pairs([0, 1], [1, 2], [[5, 5, 5], [5, 5, 5]]))
    torch.testing.assert_close(users, model.network(torch.tensor([[5]]))[:, 0].expand(2, -1))


def test_sasrec_refuses_heads_that_do_not_divide() -> None:
    with pytest.raises(ConfigError, match="heads: 3"):
        SASRecConfig(heads=3)


def test_histories_begin_with_the_start_token() -> None:
    inputs, last = from_start(torch.tensor([[9, 9, 9], [9, 9, 1], [1, 2, 3]]), 9)
    assert inputs.tolist() == [[9, 9, 9, 9], [9, 1, 9, 9], [9, 1, 2, 3]]
    assert last.tolist() == [0, 1, 3]


def test_din_pools_the_history_by_what_it_says_of_the_candidate() -> None:
    model = DIN(2, 5, DINConfig(embedding_size=4, attention_size=3))
    user, item = model.represent(pairs([1], [0], [[5, 2, 3]]))
    candidate, expected = model.items.weight[0], model.users.weight[1].clone()
    for h in (model.items.weight[2], model.items.weight[3]):
        unit = model.attention
        hidden = unit.hidden(torch.cat([h, candidate, h - candidate, h * candidate]))
        expected = expected + unit.out(F.prelu(hidden, unit.activation.weight)) * h
    torch.testing.assert_close(user[0], expected)
    torch.testing.assert_close(item[0], candidate)


def test_din_of_an_empty_history_is_the_users_own_embedding() -> None:
    model = DIN(2, 5, DINConfig(embedding_size=4))
    torch.testing.assert_close(model.represent(pairs([1], [0], [[5, 5]]))[0], model.users.weight[1:])
