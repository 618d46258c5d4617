"""The user index: unique, read again, the same at run time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from support.backbones import walk_dataset, walks, write_backbone
from transformers import AutoTokenizer, BertConfig, BertModel

from models.contract.errors import ConfigError, DataError
from models.contract.user_index import UserIndexer
from models.papers.ulmrec import index as module
from models.papers.ulmrec.config import ULMRecConfig
from models.papers.ulmrec.index import UserIndex, build_index, index_words, published_indices, unique_indices
from models.types import Sequences

LEVELS, CODES = 3, 4


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny untrained sentence encoder that knows the words of the titles."""
    directory = write_backbone(tmp_path_factory.mktemp("encoder"))
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    (directory / "config.json").unlink()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=32,
                initializer_range=0.5,
                pad_token_id=0,
            )
        ).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return str(directory)


@pytest.fixture(scope="module")
def config(encoder: str) -> ULMRecConfig:
    return ULMRecConfig(
        text_encoder=encoder,
        index_levels=LEVELS,
        index_codes=CODES,
        index_size=4,
        index_hidden=(8,),
        index_epochs=3,
        index_batch=16,
    )


@pytest.fixture(scope="module")
def built(config: ULMRecConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[UserIndex, Path]:
    directory = tmp_path_factory.mktemp("index") / "index"
    return build_index(config, walk_dataset(), directory, lambda _: None), directory


def test_every_user_has_an_index_of_his_own(built: tuple[UserIndex, Path]) -> None:
    index, _ = built
    assert index.indices.shape == (40, LEVELS)
    assert index.indices.dtype == np.int32
    assert len(np.unique(index.indices, axis=0)) == 40
    assert 0 <= index.indices.min() <= index.indices.max() < CODES
    assert index.indexer.taken.tolist() == index.indices.tolist()
    assert index.description.source == "titles of train items"
    assert "40 users by titles of train items; codes used by level" in str(index.description)


def test_a_second_call_only_reads(
    built: tuple[UserIndex, Path], config: ULMRecConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, directory = built
    monkeypatch.setattr(module, "sentence_states", None)
    monkeypatch.setattr(module, "train_rqvae", None)
    lines: list[str] = []
    again = build_index(
        replace(config, lora_rank=3) if hasattr(config, "lora_rank") else config,
        walk_dataset(),
        directory,
        lines.append,
    )
    assert again.indices.tolist() == index.indices.tolist()
    assert again.description == index.description
    assert lines == [f"user index: {index.description}"]


def test_vectors_that_were_made_before_an_interruption_are_kept(
    config: ULMRecConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "train_rqvae", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build_index(config, walk_dataset(), tmp_path / "index", lambda _: None)
    monkeypatch.setattr(module, "sentence_states", None)
    assert len(build_index(config, walk_dataset(), tmp_path / "index", lambda _: None).indices) == 40


def test_other_data_are_indexed_anew(built: tuple[UserIndex, Path], config: ULMRecConfig, tmp_path: Path) -> None:
    build_index(config, walk_dataset(), tmp_path / "index", lambda _: None)
    fewer = build_index(config, walk_dataset(walks(12)), tmp_path / "index", lambda _: None)
    assert fewer.indices.shape == (12, LEVELS)


def test_known_users_would_get_their_index_again_were_it_free(built: tuple[UserIndex, Path], tmp_path: Path) -> None:
    index, directory = built
    indexer = replace(UserIndexer.load(directory), taken=np.empty((0, LEVELS), np.int32))
    dataset = walk_dataset()
    same = [
        index.indices[user].tolist() == indexer.index(user_id, dataset.train[user]).tolist()
        for user, user_id in enumerate(dataset.user_ids)
    ]
    assert sum(same) == 40 - index.description.moved


def test_nobody_gets_a_known_users_index(built: tuple[UserIndex, Path]) -> None:
    index, _ = built
    known = set(map(tuple, index.indices.tolist()))
    for user in range(40):
        history = walk_dataset().train[user]
        assert tuple(index.indexer.index(f"new {user}", history).tolist()) not in known


def test_hundreds_of_users_who_are_the_same_have_different_indices() -> None:
    rng = np.random.default_rng(0)
    codebooks = rng.standard_normal((4, 8, 5)).astype(np.float32)
    latent = np.repeat(rng.standard_normal((2, 5)).astype(np.float32), 300, axis=0)
    indices, nearest = unique_indices(codebooks, latent)
    assert len(np.unique(indices, axis=0)) == 600
    assert len(np.unique(nearest, axis=0)) == 2
    assert indices[0].tolist() == nearest[0].tolist()  # of equals the first
    assert len(np.unique(indices[:300, :2], axis=0)) == 5  # 64 indices are below two codes
    assert indices.tolist() == unique_indices(codebooks, latent)[0].tolist()


def test_of_two_users_with_the_same_codes_the_nearer_one_has_them() -> None:
    codebooks = np.asarray([[[0.0], [10.0]], [[0.0], [3.0]]], np.float32)
    indices, nearest = unique_indices(codebooks, np.asarray([[0.5], [0.1], [9.0]], np.float32))
    assert nearest.tolist() == [[0, 0], [0, 0], [1, 0]]
    assert indices.tolist() == [[0, 1], [0, 0], [1, 0]]


def test_a_moved_user_takes_nobodys_nearest_codes() -> None:
    codebooks = np.asarray([[[0.0], [10.0]], [[0.0], [3.0]]], np.float32)
    indices, _ = unique_indices(codebooks, np.asarray([[0.1], [0.2], [3.1]], np.float32))
    assert indices.tolist() == [[0, 0], [1, 0], [0, 1]]


def test_more_users_than_indices_are_refused() -> None:
    with pytest.raises(DataError, match=r"index_codes, index_levels: 2\^1 indices for 3 users"):
        unique_indices(np.zeros((1, 2, 1), np.float32), np.zeros((3, 1), np.float32))


def test_users_without_train_items_are_indexed_as_nobody_in_particular(config: ULMRecConfig, tmp_path: Path) -> None:
    dataset = walk_dataset(walks(6))
    silent = Sequences.of([np.empty(0, np.int32) if user in (1, 4) else dataset.train[user] for user in range(6)])
    object.__setattr__(dataset, "train", silent)
    index = build_index(config, dataset, tmp_path / "index", lambda _: None)
    assert index.description.silent == 2
    assert len(np.unique(index.indices, axis=0)) == 6
    assert index.indices[1, : LEVELS - 1].tolist() == index.indices[4, : LEVELS - 1].tolist()


def test_an_encoder_that_is_not_there_is_named(config: ULMRecConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        build_index(replace(config, text_encoder=str(tmp_path / "nowhere")), walk_dataset(), tmp_path / "index", print)


def test_words_that_stand_for_an_index() -> None:
    assert index_words("numerical", ["A1", "B2"]) == ("1", "2")
    assert index_words("original", ["A1", "B2"]) == ("A1", "B2")


def test_published_indices_are_read(tmp_path: Path) -> None:
    dataset, path = walk_dataset(walks(2)), tmp_path / "users.parquet"
    pl.DataFrame({"user_id": ["u01", "u00"], "user_index": ["<a_1> <b_2>", "<a_30> <b_4>"]}).write_parquet(path)
    assert published_indices(path, dataset, 256).tolist() == [[30, 4], [1, 2]]


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (["<a_1> <b_2>", "<a_1> <b_2>"], "two users have the same index"),
        (["<a_1> <b_2>", "<a_1>"], "not every user has 2 codes from 0 to 255"),
        (["<a_1> <b_2>", "<a_1> <b_256>"], "not every user has 2 codes from 0 to 255"),
        (["<a_1> <b_2>", None], "not every user has 2 codes from 0 to 255"),
    ],
)
def test_published_indices_that_are_none_are_refused(tmp_path: Path, indices: list[str], message: str) -> None:
    path = tmp_path / "users.parquet"
    pl.DataFrame({"user_id": ["u00", "u01"], "user_index": indices}).write_parquet(path)
    with pytest.raises(DataError, match=f"column 'user_index': {message}"):
        published_indices(path, walk_dataset(walks(2)), 256)
