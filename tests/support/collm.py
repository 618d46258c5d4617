"""Labelled pairs whose answer is known, and a tiny language model that reads CoLLM's prompts."""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from models.contract.catalogue import Catalogue, Item
from models.data.labelled import LabelledData, LabelledPairs
from models.papers.collm.config import CoLLMConfig
from models.types import Sequences
from tests.support.backbones import COLOURS, THINGS, titles

N_USERS, PAIRS_A_USER = 12, 14


def colour_data() -> LabelledData:
    """Even users like what is red, odd ones what is blue; the last user, and the last item, are not in training."""
    rng = np.random.default_rng(0)
    n_items = len(titles())
    items = rng.integers(n_items, size=(PAIRS_A_USER, N_USERS)).tolist()
    pairs = [(user, item) for round_ in items for user, item in enumerate(round_)]
    return LabelledData(
        user_ids=tuple(f"u{user}" for user in range(N_USERS)),
        catalogue=Catalogue(Item(f"item {number}", title) for number, title in enumerate(titles())),
        train=_pairs(pairs, [p for p in pairs if p[0] < N_USERS - 1 and p[1] < n_items - 1]),
        valid=_pairs(pairs, pairs[-3 * N_USERS :]),
        test=_pairs(pairs, [*pairs[-2 * N_USERS :], (0, n_items - 1), (N_USERS - 1, 0)]),
    )


def write_reader(directory: Path) -> Path:
    """A random Llama checkpoint of 3 layers whose tokenizer knows the words of the titles, and the answer."""
    words = ["<pad>", "<unk>", "<eos>", "Yes", "No", "user", "feature", ",", "?", '"', "none", *COLOURS, *THINGS]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))  # noqa: S106 - a word
    tokenizer.pre_tokenizer = Whitespace()
    special = {"unk_token": "<unk>", "eos_token": "<eos>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(directory)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(directory)
    return directory


def tiny_collm(backbone: Path) -> CoLLMConfig:
    """Settings under which something moves in a second."""
    return CoLLMConfig(
        backbone=str(backbone),
        layers=2,
        embedding_size=8,
        mapping_factor=2,
        lora_rank=2,
        history_length=3,
        title_tokens=6,
        learning_rate=1e-2,
        feature_learning_rate=1e-2,
        batch_size=8,
        iterations=3,
        warmup_iterations=1,
        text_epochs=2,
        feature_epochs=2,
        patience=2,
        valid_pairs=20,
    )


def _pairs(every: list[tuple[int, int]], chosen: list[tuple[int, int]]) -> LabelledPairs:
    users, items = np.asarray(chosen, np.int64).T
    labels = np.asarray([_likes(user, item) for user, item in chosen], np.int8)
    histories = [
        np.asarray([i for u, i in every[: 5 * N_USERS] if u == user and _likes(u, i)], np.int32) for user in users
    ]
    return LabelledPairs(users, items.astype(np.int32), labels, Sequences.of(histories))


def _likes(user: int, item: int) -> bool:
    return user % 2 == item // len(THINGS)
