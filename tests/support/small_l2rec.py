"""A small, untrained L2Rec as a bundle's part, and what its network gives by itself."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from support.backbones import HIDDEN, write_backbone
from torch import nn
from transformers import AutoModel

from models.contract.index import top_n
from models.contract.l2rec import CONFIG_KEY, ITEM_ROWS, L2RecLayout
from models.contract.probe import BASE, Probe
from models.contract.prompts import TitleTokens
from models.contract.specs import L2RecSpec
from models.contract.types import Floats, Ints, item_numbers
from models.networks.l2rec import L2RecNetwork
from models.networks.l2rec_config import ExpertsConfig
from models.networks.l2rec_files import load_experts, read_experts_config, save_experts

LAYOUT = L2RecLayout(instruction_tokens=3, separator=2)
CONFIG = ExpertsConfig(size=HIDDEN, user_size=16, rank=4, experts=4, router_size=8)
N_WORDS, MAX_TOKENS, HISTORY_LENGTH = 15, 60, 8  # of the tiny backbone
PROBED = item_numbers(range(4))


def write_l2rec(directory: Path, n_items: int, config: ExpertsConfig = CONFIG, seed: int = 1) -> L2RecSpec:
    """Checkpoint, experts, title tokens, item rows, probe. Parts that differ in ``seed`` have the same checkpoint."""
    path = write_backbone(directory / "checkpoint") / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {CONFIG_KEY: LAYOUT.as_config()}))
    titles, experts = title_tokens(n_items), directory / "adapters/l2rec"
    titles.save(directory)
    save_experts(random_network(directory / "checkpoint", config, seed), experts)
    network = load_network(directory / "checkpoint", experts)
    rows = vectors(network, [titles.prompt([item]) for item in range(n_items)], np.zeros((n_items, 16), np.float32))
    np.save(directory / ITEM_ROWS, rows)
    prompt, user = titles.prompt(PROBED), random_users(1, seed)
    answers = {"l2rec": vectors(network, [prompt], user)[0], BASE: base_vectors(network, [prompt])[0]}
    lists = {name: top_n(rows @ vector, n_items, PROBED) for name, vector in answers.items()}
    Probe(PROBED, prompt, lists, embedding=user[0]).save(directory)
    return L2RecSpec("random", HISTORY_LENGTH, config.user_size, config.rank, MAX_TOKENS)


def title_tokens(n_items: int) -> TitleTokens:
    """Titles of up to 4 random words, each ended by the separator."""
    rng = np.random.default_rng(9)
    parts = [np.append(rng.integers(3, N_WORDS, item % 5), LAYOUT.separator) for item in range(n_items)]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return TitleTokens((5, 7, 9), offsets, np.concatenate(parts).astype(np.int32), N_WORDS)


def random_network(checkpoint: Path, config: ExpertsConfig, seed: int) -> L2RecNetwork:
    """A network all of whose parameters say something."""
    network = L2RecNetwork(AutoModel.from_pretrained(checkpoint), LAYOUT, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.1)
    return network.eval()


def load_network(checkpoint: Path, experts: Path) -> L2RecNetwork:
    """A part's network as it lies on the disk."""
    network = L2RecNetwork(AutoModel.from_pretrained(checkpoint), LAYOUT, read_experts_config(experts))
    load_experts(network, experts)
    return network.eval()


def experts(root: Path, name: str) -> Path:
    """Directory of the experts of a part that lies in ``root``."""
    return root / name / "adapters/l2rec"


def reference(root: Path, name: str) -> L2RecNetwork:
    """Such a part's network."""
    return load_network(root / name / "checkpoint", experts(root, name))


@torch.no_grad()
def vectors(network: L2RecNetwork, prompts: Sequence[Ints], users: Floats) -> Floats:
    """(prompts, size) by the network, one prompt a pass; ``users`` (prompts, user_size)."""
    rows = [
        network(torch.from_numpy(prompt).long()[None], torch.tensor([len(prompt)]), torch.from_numpy(user)[None]).fused
        for prompt, user in zip(prompts, users, strict=True)
    ]
    return torch.cat(rows).numpy()


@torch.no_grad()
def base_vectors(network: L2RecNetwork, prompts: Sequence[Ints]) -> Floats:
    """The same without experts."""
    rows = [network.base(torch.from_numpy(prompt).long()[None], torch.tensor([len(prompt)])) for prompt in prompts]
    return torch.cat(rows).numpy()


def random_users(n: int, seed: int = 0) -> Floats:
    """(n, user_size)."""
    return np.random.default_rng(seed).standard_normal((n, CONFIG.user_size), dtype=np.float32)


def random_histories(n: int, n_items: int, seed: int = 0) -> list[Ints]:
    """Prompts of 1 to HISTORY_LENGTH items."""
    rng, titles = np.random.default_rng(seed), title_tokens(n_items)
    return [titles.prompt(rng.integers(n_items, size=1 + k % HISTORY_LENGTH)) for k in range(n)]
