"""The items' texts as vectors, which both forms start their item table from."""

from pathlib import Path

from safetensors.torch import save_file

from models.data.dataset import Dataset
from models.llm.backbone import load_backbone
from models.llm.items import fit_whitening, item_states, item_text, sentence_states
from models.papers.l3rec.config import L3RecConfig
from models.papers.l3rec.files import ITEM_VECTORS


def embed_items(config: L3RecConfig, dataset: Dataset, directory: Path) -> None:
    """Write the whitened text vectors (n_items, text_size), and the whitening for items to come."""
    texts = [item_text(item) for item in dataset.catalogue.items]
    if config.text_encoder:
        states = sentence_states(config.text_encoder, texts, config.title_tokens)
    else:
        states = item_states(load_backbone(config.backbone), texts, config.trunk_layers, config.title_tokens)
    whitening = fit_whitening(states, config.text_size)
    tensors = {"text": whitening(states), "mean": whitening.mean, "components": whitening.components}
    save_file({name: value.contiguous() for name, value in tensors.items()}, directory / ITEM_VECTORS)
