"""L2Rec's losses (2026, section 2.3), reconstructed from the prose; sim is the cosine, τ the temperature.

(8)  L_rec = −1/b Σ_u log exp(sim(h_u, h_{i⁺})/τ) / Σ_{j ∈ {i⁺} ∪ N_u} exp(sim(h_u, h_j)/τ)
     N_u: the other users' targets in the batch, and items that were drawn
(9)  L_BPC = −1/(2b) Σ_u [ log exp(sim(s_u, b_u)/τ) / Σ_w exp(sim(s_u, b_w)/τ)
                         + log exp(sim(b_u, s_u)/τ) / Σ_w exp(sim(b_u, s_w)/τ) ]
     s and b: the two views of a user, as the decoder gives them, before fusion
     L_bal = mean over blocks and views of E Σ_k f_k P_k
     f_k: expert k's share of all choices, P_k: its mean probability (Fedus et al., "Switch Transformers", 2022,
     equations 4 to 6, for top-k as Dai et al., "DeepSeekMoE", 2024, section 3.3)
     L = L_rec + λ₁ L_BPC + λ₂ L_bal
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from models.networks.l2rec import Routes
from models.networks.l2rec_experts import Route


def recommendation_loss(
    users: Tensor, rows: Tensor, targets: Tensor, items: Tensor, temperature: float, seen: Tensor
) -> Tensor:
    """Equation 8.

    An item that is a user's target stands once in his softmax, however often it is in the batch; what ``seen`` names
    does not stand there at all, but for the target.

    Args:
        users: (b, size) fused vectors of length 1.
        rows: (m, size) the items' vectors of length 1: the batch's targets, and what was drawn.
        targets: (b,) which of the rows is each user's.
        items: (m,) the rows' item numbers.
        temperature: τ, above 0.
        seen: (b, k) item numbers that are no negatives of a user, such as his history; padded with -1.
    """
    logits = users.float() @ rows.float().T / temperature
    own = items[targets]
    excluded = (items == own[:, None]) | (items == seen[:, :, None]).any(dim=1)
    excluded = excluded.scatter(1, targets[:, None], False)
    return F.cross_entropy(logits.masked_fill(excluded, -torch.inf), targets)


def preference_loss(semantic: Tensor, behavioural: Tensor, temperature: float, users: Tensor) -> Tensor:
    """Equation 9, bidirectional preference contrast.

    Args:
        semantic, behavioural: (b, size) of the same users.
        temperature: τ, above 0.
        users: (b,) who they are: one who is in a batch twice is not separated from himself.
    """
    logits = F.normalize(semantic.float(), dim=-1) @ F.normalize(behavioural.float(), dim=-1).T / temperature
    own = torch.arange(len(logits), device=logits.device)
    same = (users == users[:, None]).fill_diagonal_(False)
    logits = logits.masked_fill(same, -torch.inf)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def balancing_loss(routes: Iterable[Routes]) -> Tensor:
    """Load balancing: 1 where all experts are chosen alike, up to E / top-k where always the same are.

    Args:
        routes: of the views, at least one.
    """
    return torch.stack([_of_block(block, view.real) for view in routes for block in view.blocks]).mean()


def _of_block(block: Route, real: Tensor) -> Tensor:
    probabilities, chosen = block.probabilities[real], block.chosen[real].float()
    share = chosen.sum(dim=0) / chosen.sum()
    return probabilities.shape[1] * (share * probabilities.mean(dim=0)).sum()
