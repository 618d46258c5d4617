"""A tiny language model and a data set that it can learn: for tests of what trains, ranks and exports."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from models.contract.catalogue import Catalogue, Item
from models.data.dataset import Dataset
from models.data.splits import TEST, TRAIN, VALID
from models.papers.l3rec.config import L3RecConfig
from models.types import Sequences

HIDDEN, LAYERS = 64, 4
COLOURS = ("red", "blue")
THINGS = ("lamp", "boat", "fox", "drum", "rose", "coat", "ring", "leaf", "bell", "fish")
N_ITEMS = len(COLOURS) * len(THINGS)
ITEMS_A_USER = 8


def write_backbone(directory: Path, context: int = 64) -> Path:
    """A random Llama checkpoint whose tokenizer knows the words of the titles, as an ordinary directory.

    ``context`` tokens are the most that it reads.
    """
    return write_llama(directory, [*COLOURS, *THINGS], HIDDEN, LAYERS, context)


def write_llama(
    directory: Path, words: Sequence[str], hidden: int, layers: int, context: int, *, pads: bool = False
) -> Path:
    """A random Llama checkpoint with a tokenizer of these words; ``pads``: one that knows what pads."""
    words = ["<pad>", "<unk>", "<eos>", *words]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))  # noqa: S106 - a word
    tokenizer.pre_tokenizer = Whitespace()
    special = {"unk_token": "<unk>", "eos_token": "<eos>"} | ({"pad_token": "<pad>"} if pads else {})
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(directory)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=context,
        initializer_range=0.2,  # states of different texts must differ clearly
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(directory)
    return directory


def successor(item: int) -> int:
    """The item that follows in every sequence: the next of its colour."""
    colour, thing = divmod(item, len(THINGS))
    return colour * len(THINGS) + (thing + 1) % len(THINGS)


def walks(n_users: int = 40) -> Sequences:
    """Users walk through the items of their colour, even users the red ones, odd ones the blue, from random starts."""
    rng = np.random.default_rng(0)
    sequences = []
    for user in range(n_users):
        walk = [user % 2 * len(THINGS) + int(rng.integers(len(THINGS)))]
        while len(walk) < ITEMS_A_USER:
            walk.append(successor(walk[-1]))
        sequences.append(np.asarray(walk, np.int32))
    return Sequences.of(sequences)


def titles() -> list[str]:
    """Titles by item number."""
    return [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]


def walk_dataset(full: Sequences | None = None) -> Dataset:
    """The walks, split leave-one-out."""
    full = walks() if full is None else full
    n_users = len(full)
    labels = np.tile([TRAIN] * (ITEMS_A_USER - 2) + [VALID, TEST], n_users).astype(np.int8)
    return Dataset(
        user_ids=tuple(f"u{user:02d}" for user in range(n_users)),
        catalogue=Catalogue(Item(f"item {number}", title) for number, title in enumerate(titles())),
        full=full,
        full_timestamps=np.tile(np.arange(ITEMS_A_USER) * 86_400 + 10**9, n_users),
        labels=labels,
        targets=labels != TRAIN,
    )


def tiny_config(backbone: Path) -> L3RecConfig:
    """Settings under which the walks are learned in seconds."""
    return L3RecConfig(
        backbone=str(backbone),
        trunk_layers=2,
        top_layers=2,
        title_tokens=8,
        text_size=16,
        embedding_size=16,
        history_length=6,
        item_dropout=0.0,
        lora_rank=4,
        lora_alpha=8.0,
        lora_dropout=0.0,
        batch_size=8,
        epochs=5,
        patience=5,
        learning_rate=3e-3,
        item_learning_rate=1e-2,
        local_epochs=5,
        local_patience=5,
        local_learning_rate=1e-2,
    )


@dataclass(frozen=True)
class WalkFiles:
    """The walks as CSV files."""

    interactions: Path
    items: Path


def write_walks(directory: Path) -> WalkFiles:
    """The walks as tables with canonical column names."""
    dataset = walk_dataset()
    rows = ["user_id,item_id,timestamp"]
    for user, user_id in enumerate(dataset.user_ids):
        rows += [f"{user_id},item {item},{10**9 + day * 86_400}" for day, item in enumerate(dataset.full[user])]
    files = WalkFiles(directory / "interactions.csv", directory / "items.csv")
    files.interactions.write_text("\n".join(rows) + "\n")
    files.items.write_text("".join(["item_id,title\n", *(f"{i.item_id},{i.title}\n" for i in dataset.catalogue.items)]))
    return files
