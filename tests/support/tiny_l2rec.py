"""L2Rec's network on a tiny random decoder."""

from typing import Any

import torch
from support.families import FAMILIES, random_backbone
from torch import Tensor, nn

from models.contract.l2rec import L2RecLayout
from models.networks.l2rec import L2RecNetwork
from models.networks.l2rec_config import ExpertsConfig

WORDS, USER_SIZE = 16, 5
SEPARATOR, START = 1, 2
LAYOUT = L2RecLayout(START, SEPARATOR)


def decoder(family: str = "llama") -> Any:
    """One of :data:`support.families.FAMILIES`, without a head, random."""
    return random_backbone(FAMILIES[family]()).model.model


def network(family: str = "llama", **settings: Any) -> L2RecNetwork:
    """Random, and as if trained: nothing in it is zero."""
    frozen = decoder(family)
    defaults = {"size": frozen.config.hidden_size, "user_size": USER_SIZE, "rank": 2, "experts": 3, "router_size": 4}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = L2RecNetwork(frozen, LAYOUT, ExpertsConfig(**(defaults | settings)))
        for parameter in made.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    return made.eval()


def prompts() -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, lengths and users of three histories: of 3, 1 and 2 items, what pads among them separators, too."""
    rows = [[3, 4, 5, 6, 1, 7, 1, 8, 9, 1], [3, 4, 5, 1], [3, 4, 10, 1, 11, 12, 1]]
    padded = [row + [1, 5, 1, 7, 1, 1][: 10 - len(row)] for row in rows]
    users = torch.randn(3, USER_SIZE, generator=torch.Generator().manual_seed(1))
    return torch.tensor(padded), torch.tensor([len(row) for row in rows]), users
