"""Adapters that carry an item table of their own, on a checkpoint whose vocabulary is empty: small and untrained."""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch
from safetensors.torch import load_file, save_file
from support.checkpoints import PROJECTIONS, adapter_config, write_adapter, write_bundle, write_checkpoint
from transformers import LlamaConfig

from models.contract.bundle import Bundle, hash_files, write_manifest

RANK, TABLE_RANK = 4, 12
SCALE = 2.0  # α / r of every module, as in ``checkpoints.adapter_config``


def write_empty_checkpoint(directory: Path, n_items: int, hidden: int = 64) -> Path:
    """As ``write_checkpoint``, but token ids have neither an input vector nor a row of the head."""
    write_checkpoint(directory, n_items, hidden)
    _empty_vocabulary(directory / "model.safetensors")
    return directory


def write_table_adapter(directory: Path, checkpoint: Path, seed: int, first_layer: int = 0) -> Path:
    """An adapter of rank ``RANK`` on the projections and ``TABLE_RANK`` on the vocabulary, a random table in it.

    Where layers below ``first_layer`` have none, the others' modules are named in full, as training writes them.
    """
    write_adapter(directory, checkpoint, seed, RANK, first_layer=first_layer)
    weights = directory / "adapter_model.safetensors"
    of_layers = load_file(weights)
    save_file(of_layers | _table(checkpoint, seed), weights)
    modules = sorted({name.removeprefix("base_model.model.").partition(".lora_")[0] for name in of_layers})
    config = adapter_config(checkpoint, TABLE_RANK) | {
        "target_modules": [*(modules if first_layer else PROJECTIONS), "embed_tokens", "lm_head"],
        "rank_pattern": dict.fromkeys(PROJECTIONS, RANK),
        "alpha_pattern": dict.fromkeys(PROJECTIONS, SCALE * RANK),
    }
    (directory / "adapter_config.json").write_text(json.dumps(config))
    return directory


def write_table_bundle(
    directory: Path, n_items: int, adapters: Sequence[str], hidden: int = 64, last_only: Sequence[str] = ()
) -> Bundle:
    """A bundle of such a checkpoint and such adapters; see ``checkpoints.write_bundle``."""
    bundle = write_bundle(directory, n_items, (), RANK, hidden)
    checkpoint = directory / "checkpoint"
    _empty_vocabulary(checkpoint / "model.safetensors")
    for seed, name in enumerate(adapters, start=1):
        write_table_adapter(bundle.adapter_path(name), checkpoint, seed, first_layer=int(name in last_only))
    model = msgspec.structs.replace(bundle.manifest.model, adapters=tuple(adapters), table_rank=TABLE_RANK)
    return write_manifest(directory, msgspec.structs.replace(bundle.manifest, model=model, files=hash_files(directory)))


def _empty_vocabulary(weights: Path) -> None:
    tensors = load_file(weights)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = torch.zeros_like(tensors[name])
    save_file(tensors, weights, {"format": "pt"})


def _table(checkpoint: Path, seed: int) -> dict[str, torch.Tensor]:
    """The tensors on the vocabulary: rows (n_items + 1, TABLE_RANK) at the input and at the output, projected."""
    config = LlamaConfig.from_pretrained(checkpoint)
    generator = torch.Generator().manual_seed(100 + seed)
    rows = torch.randn(config.vocab_size, TABLE_RANK, generator=generator)
    inputs = torch.randn(config.hidden_size, TABLE_RANK, generator=generator) * 0.1
    outputs = torch.randn(TABLE_RANK, config.hidden_size, generator=generator) * 0.1
    return {
        "base_model.model.model.embed_tokens.lora_embedding_A": rows.T.contiguous(),
        "base_model.model.model.embed_tokens.lora_embedding_B": inputs,
        "base_model.model.lm_head.lora_A.weight": outputs,
        "base_model.model.lm_head.lora_B.weight": rows.clone(),
    }
