"""Small untrained checkpoints whose vocabulary is a catalogue, and LoRA adapters: for engine, PEFT and vLLM."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from support.bundles import worker_bundle
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from models.contract.bundle import Bundle
from models.contract.specs import ModelSpec

HEAD_SIZE = 32  # the smallest that vLLM's attention knows
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def write_checkpoint(directory: Path, n_items: int, hidden: int = 64, layers: int = 2, seed: int = 0) -> Path:
    """A random Llama checkpoint, untied head, word-level tokenizer; token ``n_items`` starts a history.

    ``hidden`` must be a multiple of 64. Weights are large enough for logits to differ clearly between items.
    """
    heads = hidden // HEAD_SIZE
    config = LlamaConfig(
        vocab_size=n_items + 1,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        head_dim=HEAD_SIZE,
        max_position_embeddings=128,
        tie_word_embeddings=False,
        bos_token_id=n_items,
        eos_token_id=None,
        pad_token_id=None,
        initializer_range=0.2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(directory)
    vocabulary = {f"i{number}": number for number in range(n_items)} | {"<s>": n_items}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<s>"))  # noqa: S106 - a token of text, not a secret
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(directory)  # noqa: S106
    return directory


def write_adapter(
    directory: Path, checkpoint: Path, seed: int, rank: int = 4, scale: float = 0.1, first_layer: int = 0
) -> Path:
    """A PEFT LoRA adapter on every projection of the layers from ``first_layer`` on.

    ``scale`` is the standard deviation of both factors.
    """
    config, shapes = adapter_config(checkpoint, rank), projection_shapes(checkpoint)
    if first_layer:
        shapes = {module: shape for module, shape in shapes.items() if int(module.split(".")[2]) >= first_layer}
        config["layers_to_transform"] = sorted({int(module.split(".")[2]) for module in shapes})
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for module, (n_out, n_in) in shapes.items():
        prefix = f"base_model.model.{module}"
        tensors[f"{prefix}.lora_A.weight"] = torch.randn(rank, n_in, generator=generator) * scale
        tensors[f"{prefix}.lora_B.weight"] = torch.randn(n_out, rank, generator=generator) * scale
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / "adapter_model.safetensors")
    (directory / "adapter_config.json").write_text(json.dumps(config))
    return directory


def write_bundle(
    directory: Path, n_items: int, adapters: Sequence[str], rank: int, hidden: int = 64, last_only: Sequence[str] = ()
) -> Bundle:
    """A bundle that holds what workers need and nothing else: checkpoint, adapters, manifest.

    Adapters in ``last_only`` are on the second of the two layers alone.
    """
    checkpoint = write_checkpoint(directory / "checkpoint", n_items, hidden)
    for seed, name in enumerate(adapters, start=1):
        write_adapter(directory / "adapters" / name, checkpoint, seed, rank, first_layer=int(name in last_only))
    return worker_bundle(directory, ModelSpec("item-token", 20, n_items, rank, tuple(adapters), "random"))


def adapter_config(checkpoint: Path, rank: int) -> dict[str, object]:
    """The ``adapter_config.json`` that PEFT would write."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(checkpoint),
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(PROJECTIONS),
        "inference_mode": True,
    }


def projection_shapes(checkpoint: Path) -> dict[str, tuple[int, int]]:
    """Shape (outputs, inputs) of every adapted projection, by module name."""
    config = LlamaConfig.from_pretrained(checkpoint)
    queries = config.num_attention_heads * config.head_dim
    keys = config.num_key_value_heads * config.head_dim
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes = {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    layers = range(config.num_hidden_layers)
    return {f"model.layers.{layer}.{name}": shape for layer in layers for name, shape in shapes.items()}
