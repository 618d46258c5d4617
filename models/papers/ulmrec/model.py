"""ULMRec: a causal language model whose vocabulary goes on with the tokens of user indices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel, get_peft_model
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from models.contract.types import Floats, Ints
from models.contract.ulmrec import ULMRecPrompts
from models.evaluation.metrics import NO_ITEM
from models.llm.backbone import Backbone, first_layers
from models.llm.item_token import lora_config
from models.papers.ulmrec.config import ADAPTED, ULMRecConfig
from models.training.batching import shortest_first
from models.training.device import full_precision, mixed_precision
from models.types import Sequences

SCORING_BATCH = 32  # prompts


class ULMRec(nn.Module):
    """A ranker of candidates by their letters' logits, and a model of all words and index tokens.

    An index token's row is the same at input and output, one parameter; those of words stay as they are.

    Args:
        language_model: causal, with an adapter.
        prompts: whose tokens it reads.
        users: token ids that stand for each user of the data set, by row; None: prompts have no index.
    """

    answers: Tensor

    def __init__(self, language_model: PeftModel, prompts: ULMRecPrompts, users: Sequence[Ints] | None) -> None:
        super().__init__()
        self.language_model, self.prompts, self.users = language_model, prompts, users
        words = language_model.get_base_model().get_input_embeddings().weight
        rows = words.std() * torch.randn(prompts.vocabulary_size - prompts.n_words, words.shape[1])
        self.register_buffer("answers", torch.from_numpy(prompts.answers).long(), persistent=False)
        self.index_rows = nn.Parameter(rows + words.mean(dim=0), requires_grad=len(rows) > 0)

    @property
    def device(self) -> torch.device:
        return self.index_rows.device

    def states(self, tokens: Tensor, where: Tensor) -> Tensor:
        """States (m, hidden) after the final norm at the m tokens where ``where`` (b, t) is true.

        ``tokens`` (b, t) are padded on the right: attention is causal, so no state that is asked for sees the padding.
        """
        decoder: Any = self.language_model.get_base_model().model
        states: Tensor = decoder(inputs_embeds=self._embedded(tokens), use_cache=False).last_hidden_state[where]
        return states

    def logits(self, states: Tensor) -> Tensor:
        """Logits (m, vocabulary) of states (m, hidden): words, then index tokens."""
        base: Any = self.language_model.get_base_model()
        return torch.cat([base.get_output_embeddings()(states), F.linear(states, self.index_rows)], dim=1)

    def letters(self, states: Tensor) -> Tensor:
        """Logits (m, n_letters) float32 of the letters (the verbalizer of section 4.3)."""
        base: Any = self.language_model.get_base_model()
        rows = base.get_output_embeddings().weight[self.answers]
        with full_precision(states.device):
            logits: Tensor = states.float() @ rows.float().T
        return logits

    @torch.inference_mode()
    def letter_scores(
        self, histories: Sequences, candidates: Ints, users: NDArray[np.int64] | None, *, exact: bool = False
    ) -> Floats:
        """Scores of candidates by the logits of their letters.

        Args:
            histories: k sequences, oldest first. Empty ones make prompts of index and candidates alone (Table 4).
            candidates: (k, m) item numbers, m at most ``config.candidates``; ``NO_ITEM`` at a row's end: fewer.
            users: (k,) rows of the data set that it was tuned on; None: nobody has an index.
            exact: keep float32 throughout.

        Returns:
            (k, m) float32, higher is better, -inf where there is no candidate.
        """
        found = candidates != NO_ITEM
        prompts = [self._prompt(histories[row], candidates[row][found[row]], users, row) for row in range(len(found))]
        letters = np.empty((len(found), self.prompts.candidates), np.float32)
        for rows in shortest_first(np.asarray([len(ids) for ids in prompts], np.int64), SCORING_BATCH):
            tokens, where = padded([prompts[row] for row in rows], self.device)
            with mixed_precision(self.device, enabled=not exact):
                letters[rows] = self.letters(self.states(tokens, where)).cpu().numpy()
        scores: Floats = np.where(found, letters[:, : found.shape[1]], np.float32(-np.inf))
        return scores

    def adapter_parameters(self) -> list[nn.Parameter]:
        """LoRA parameters."""
        return [p for p in self.language_model.parameters() if p.requires_grad]

    def _prompt(self, history: Ints, candidates: Ints, users: NDArray[np.int64] | None, row: int) -> Ints:
        index = None if users is None or self.users is None else self.users[int(users[row])]
        return self.prompts.prompt_of(history, candidates, index)

    def _embedded(self, tokens: Tensor) -> Tensor:
        """(b, t, hidden) what the first layer is given."""
        embedding = self.language_model.get_base_model().get_input_embeddings()
        is_index = tokens >= self.prompts.n_words
        words: Tensor = embedding(tokens.masked_fill(is_index, 0))
        if not len(self.index_rows):
            return words
        rows = F.embedding((tokens - self.prompts.n_words).clamp(min=0), self.index_rows)
        return torch.where(is_index[..., None], rows, words)


def new_model(backbone: Backbone, prompts: ULMRecPrompts, users: Sequence[Ints] | None, config: ULMRecConfig) -> ULMRec:
    """An untrained model, drawn by the seed. Raises ConfigError where the backbone has fewer layers than asked for."""
    torch.manual_seed(config.seed)
    lora = lora_config(config.lora_rank, config.lora_alpha, config.lora_dropout, ADAPTED)
    language_model = get_peft_model(first_layers(backbone, config.layers or backbone.n_layers), lora)
    return ULMRec(language_model, prompts, users)


def padded(prompts: Sequence[Ints], device: torch.device) -> tuple[Tensor, Tensor]:
    """Prompts as (b, t) token ids, padded on the right, and where (b, t) each ends."""
    tokens = pad_sequence([torch.from_numpy(ids).long() for ids in prompts], batch_first=True)
    ends = torch.tensor([len(ids) - 1 for ids in prompts])
    where = torch.arange(tokens.shape[1]) == ends[:, None]
    return tokens.to(device), where.to(device)
