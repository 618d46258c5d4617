"""CoLLM: a language model whose prompts have two tokens more, the user's and the item's (sections IV-A2 and IV-A3)."""

from typing import Protocol

import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn

from models.cf.pointwise.types import CollaborativeModel, Pairs
from models.contract.collm import CoLLMPrompts
from models.llm.backbone import Backbone, first_layers
from models.llm.item_token import lora_config
from models.papers.collm.config import ADAPTED, CoLLMConfig
from models.training.device import full_precision


class Features(Protocol):
    """What gives users and items vectors in the language model's embedding space; a ``torch.nn.Module``."""

    def __call__(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """The users' and the items' vectors e_u and e_i, (b, hidden) each."""
        ...


class MappedFeatures(nn.Module):
    """The CIE module (equation 3): g_φ(f_ψ(·)), one multi-layer perceptron for users and items.

    Vectors enter the perceptron divided by ``scales``, so that one step size does for all collaborative models.

    Args:
        cf: f_ψ.
        scales: (2,) typical entry of its users' and of its items' vectors.
        hidden_size: d2, of the language model.
        factor: width of the hidden layer, in widths of the input.
    """

    scales: Tensor

    def __init__(self, cf: CollaborativeModel, scales: Tensor, hidden_size: int, factor: int) -> None:
        super().__init__()
        size = cf.embedding_size
        self.cf = cf
        self.mapping = nn.Sequential(nn.Linear(size, factor * size), nn.ReLU(), nn.Linear(factor * size, hidden_size))
        self.register_buffer("scales", scales)

    def forward(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """See :class:`Features`. In float32: it is little work."""
        with full_precision(pairs.users.device):
            users, items = self.cf.represent(pairs)
            return self.mapping(users / self.scales[0]), self.mapping(items / self.scales[1])


class TokenFeatures(nn.Module):
    """The ablation "w/ UI-token": a free vector in the embedding space for each user and item.

    Args:
        n_users: rows of users.
        n_items: item numbers.
        hidden_size: d2, of the language model.
        std: of the initial vectors' entries.
    """

    def __init__(self, n_users: int, n_items: int, hidden_size: int, std: float) -> None:
        super().__init__()
        self.users = nn.Embedding(n_users, hidden_size)
        self.items = nn.Embedding(n_items, hidden_size)
        for embedding in (self.users, self.items):
            nn.init.normal_(embedding.weight, std=std)

    def forward(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """See :class:`Features`."""
        return self.users(pairs.users), self.items(pairs.items)


class CoLLM(nn.Module):
    """h of section IV-A3: the logit of the answer, from words and features.

    A part whose parameters are all frozen stays in evaluation mode, so that it drops nothing out.

    Args:
        language_model: causal, with an adapter.
        features: see :class:`Features`; None: prompts are text alone.
        prompts: say which tokens are users' and which are items'.
        answer: the token whose logit is the prediction.
    """

    def __init__(
        self, language_model: PeftModel, features: nn.Module | None, prompts: CoLLMPrompts, answer: int
    ) -> None:
        super().__init__()
        self.language_model = language_model
        self.features = features
        self._n_words, self._n_users, self._answer = prompts.n_words, len(prompts.users), answer

    @property
    def cf_history(self) -> int:
        """Items of a history that the collaborative model in it reads, at most."""
        return self.features.cf.history_length if isinstance(self.features, MappedFeatures) else 0

    def forward(self, tokens: Tensor, where: Tensor, pairs: Pairs) -> Tensor:
        """Logits (b,) of the label 1.

        Args:
            tokens: (b, t) token ids, padded on the right.
            where: (b, t) bool, true at each prompt's last token.
            pairs: what the prompts are about.
        """
        base = self.language_model.get_base_model()
        states = base.model(inputs_embeds=self.encode(tokens, pairs), use_cache=False).last_hidden_state[where]
        row = base.get_output_embeddings().weight[self._answer]
        with full_precision(states.device):
            logits: Tensor = states.float() @ row.float()
        return logits

    def encode(self, tokens: Tensor, pairs: Pairs) -> Tensor:
        """Equation 2: embeddings (b, t, hidden) of words and features."""
        embedding = self.language_model.get_base_model().get_input_embeddings()
        words: Tensor = embedding(tokens.clamp(max=self._n_words - 1))
        if self.features is None:
            return words
        users, items = self.features(pairs)
        first_item = self._n_words + self._n_users
        is_item = tokens >= first_item
        is_user = (tokens >= self._n_words) & ~is_item
        for is_feature, vectors in ((is_user, users), (is_item, items)):
            rows, places = is_feature.nonzero(as_tuple=True)
            words[rows, places] = vectors[rows].to(words.dtype)
        return words

    def train(self, mode: bool = True) -> "CoLLM":
        """See the class."""
        super().train(mode)
        for module in self.modules():
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()
        return self


def adapted(backbone: Backbone, config: CoLLMConfig) -> PeftModel:
    """The backbone's first layers with a new adapter, whose parameters alone require a gradient."""
    torch.manual_seed(config.seed)
    lora = lora_config(config.lora_rank, config.lora_alpha, config.lora_dropout, ADAPTED)
    return get_peft_model(first_layers(backbone, config.layers or backbone.n_layers), lora)
