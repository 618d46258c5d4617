"""HatLLM, small and untrained: random titles on random backbones."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from models.contract.hatllm import Mask
from models.contract.prompts import TitleTokens
from models.llm.backbone import Backbone
from models.llm.item_token import lora_config
from models.llm.title import ItemHead
from models.papers.hatllm.config import HatLLMConfig
from models.papers.hatllm.model import HatModel
from models.papers.hatllm.prompts import layout_of

N_ITEMS, SEPARATOR, START = 6, 15, (5, 15, 7)  # the instruction holds the separator, too


def hat_titles_of(n_words: int, seed: int = 0) -> TitleTokens:
    """Titles of 0 to 3 random words, each ended by the separator."""
    rng = np.random.default_rng(seed)
    parts = [np.append(rng.integers(3, SEPARATOR, length), SEPARATOR) for length in (0, 1, 2, 3, 2, 1)]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return TitleTokens(START, offsets, np.concatenate(parts).astype(np.int32), n_words)


def hat_model(
    backbone: Backbone, masks: tuple[Mask, ...], *, fast: bool = True, vectors: np.ndarray | None = None
) -> HatModel:
    """A model whose adapter is random, the same in every call, without dropout."""
    titles = hat_titles_of(int(backbone.model.get_input_embeddings().weight.shape[0]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = ItemHead(torch.randn(N_ITEMS, 4), 8, backbone.hidden_size)
        lora = lora_config(8, 16.0, 0.0, ("q_proj", "v_proj"))
        model = HatModel(backbone, layout_of(titles, masks), titles, head, lora, item_vectors=vectors, fast=fast)
        for parameter in model.adapter_parameters():
            nn.init.normal_(parameter, std=0.1)
    return model.eval()


def small_hatllm(backbone: Path) -> HatLLMConfig:
    """Settings with which the walks of ``support.backbones`` are learned."""
    return HatLLMConfig(
        backbone=str(backbone),
        intra_layers=1,
        cross_layers=1,
        history_length=4,
        title_tokens=4,
        text_size=16,
        embedding_size=16,
        lora_dropout=0.0,
        dropout=0.0,
        steps=150,
        evaluate_every=50,
        patience=5,
        batch_size=8,
        learning_rate=3e-3,
        head_learning_rate=1e-2,
    )


def batch_of(titles: TitleTokens, histories: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Prompts (b, n) padded on the right with the separator, the worst of paddings, and where items end in them."""
    prompts = [torch.from_numpy(titles.prompt(history).astype(np.int64)) for history in histories]
    tokens = pad_sequence(prompts, batch_first=True, padding_value=SEPARATOR)
    where = torch.zeros(tokens.shape, dtype=torch.bool)
    for row, history in enumerate(histories):
        where[row, titles.ends(history)] = True
    return tokens, where
