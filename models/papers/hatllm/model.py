"""HatLLM (Cui et al., "HatLLM: Hierarchical Attention Masking …", 2025): a decoder under the paper's masks, with LoRA
on all its layers, and the item table as its head (the embedding-based strategy, section 5.1.4)."""

from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from models.contract.errors import ConfigError
from models.contract.hatllm import HatLayout
from models.contract.prompts import TitleTokens
from models.contract.types import Floats
from models.llm.backbone import Backbone, first_layers
from models.papers.hatllm.attention import asked_states, masked_states, segments_of
from models.training.device import full_precision

SDPA = "sdpa"


def cut_backbone(backbone: Backbone, depth: int) -> Any:
    """A causal language model of the backbone's words, its first ``depth`` layers and its final norm, frozen.

    The words are the head, too: an ordinary checkpoint with tied embeddings, whose head nobody asks.
    """
    model = first_layers(backbone, depth)
    model.config.tie_word_embeddings = True
    model.get_output_embeddings().weight = model.get_input_embeddings().weight
    model.set_attn_implementation(SDPA)
    return model


class ItemVectors(nn.Module):
    """Vectors of a collaborative model, mapped into the embedding (Liao et al., "LLaRA", 2024, section 3.2).

    Args:
        vectors: (n_items, d), not trained.
        hidden_size: of the language model.
        scale: standard deviation of the words' embeddings, so that both begin at the same size.
    """

    def __init__(self, vectors: Floats, hidden_size: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.from_numpy(vectors), persistent=False)
        size = vectors.shape[1]
        self.mapping = nn.Sequential(nn.Linear(size, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size))
        self.scale = scale

    def forward(self, items: Tensor) -> Tensor:
        """(m, hidden) embeddings of item numbers (m,)."""
        mapped: Tensor = self.mapping(self.vectors[items]) * self.scale  # type: ignore[index]  # a buffer is a tensor
        return mapped


class HatModel(nn.Module):
    """What is trained and scored: tokens to scores of all items.

    Args:
        backbone: a pretrained decoder with at least as many layers as ``layout`` has masks; those above are left out.
        layout: which layer attends how.
        titles: what items look like in prompts.
        head: scores items from states (m, hidden), such as an ItemHead.
        lora: the adapter.
        item_vectors: (n_items, d) float32 vectors of a collaborative model; with them, token id n_words + i stands for
            item i itself: prompts from :func:`models.papers.hatllm.prompts.with_placeholders`.
        dropout: share of the predicting states' entries that are dropped in training.
        fast: compute only what is needed; False: the reference, everything.
    """

    def __init__(
        self,
        backbone: Backbone,
        layout: HatLayout,
        titles: TitleTokens,
        head: nn.Module,
        lora: LoraConfig,
        item_vectors: Floats | None = None,
        dropout: float = 0.0,
        fast: bool = True,
    ) -> None:
        super().__init__()
        self.layout, self.titles, self.fast = layout, titles, fast
        self.language_model: PeftModel = get_peft_model(cut_backbone(backbone, len(layout.masks)), lora)
        self.head, self.dropout = head, nn.Dropout(dropout)
        self.item_vectors = None
        if item_vectors is not None:
            if len(item_vectors) != titles.n_items:
                raise ConfigError(f"item vectors: {len(item_vectors)} for {titles.n_items} items")
            scale = float(backbone.model.get_input_embeddings().weight.std())
            self.item_vectors = ItemVectors(item_vectors, backbone.hidden_size, scale)

    @property
    def n_items(self) -> int:
        return self.titles.n_items

    @property
    def decoder(self) -> Any:
        """The language model's layers with the adapter, without a head."""
        return self.language_model.get_base_model().model

    def logits(self, tokens: Tensor, where: Tensor) -> Tensor:
        """Scores (m, n_items) at the m tokens where ``where`` (b, n) is true.

        ``tokens`` (b, n) int64 are token ids of one prompt a row, padded on the right with any.
        """
        states = self.dropout(self.states(tokens, where))
        with full_precision(states.device):
            scores: Tensor = self.head(states)
        return scores

    def states(self, tokens: Tensor, where: Tensor) -> Tensor:
        """States (m, hidden) float32 after the final norm; arguments as in :meth:`logits`."""
        found, inputs = segments_of(tokens, self.layout), self.embedded(tokens)
        if self.fast:
            return asked_states(self.decoder, inputs, where, found, self.layout).float()
        return masked_states(self.decoder, inputs, found, self.layout)[where].float()

    def embedded(self, tokens: Tensor) -> Tensor:
        """(b, n, hidden) what the first layer is given."""
        if self.item_vectors is None:
            words: Tensor = self.decoder.embed_tokens(tokens)
            return words
        is_item = tokens >= self.titles.n_words
        words = self.decoder.embed_tokens(tokens.masked_fill(is_item, 0))
        mapped = self.item_vectors(tokens[is_item] - self.titles.n_words)
        return words.masked_scatter(is_item[:, :, None], mapped.to(words.dtype))

    def adapter_parameters(self) -> list[nn.Parameter]:
        """LoRA parameters."""
        return [p for p in self.language_model.parameters() if p.requires_grad]
