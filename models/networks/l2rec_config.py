"""The settings of L2Rec's experts, as ``experts.json`` holds them."""

from dataclasses import dataclass
from typing import Literal

from models.contract.errors import ConfigError

View = Literal["semantic", "behavioural"]
VIEWS: tuple[View, ...] = ("semantic", "behavioural")
Target = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TARGETS: tuple[Target, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
Pooling = Literal["last", "mean"]


@dataclass(frozen=True)
class ExpertsConfig:
    """Everything that decides the shapes of what is trained, and how it is computed.

    Args:
        size: of the decoder's states, and so of a fused vector.
        user_size: of a user's embedding.
        rank: of an expert.
        alpha: α: what experts add is multiplied by α / rank.
        shared: experts that are always on, of both views.
        experts: each view has of its own; 0: no router, one LoRA of rank ``shared`` · ``rank``.
        top_k: of them that read a token.
        targets: names of the linear layers that are adapted.
        router_size: of the router's inner layers.
        pooling: the state that stands for a view: the last token's, which has seen all of them, or the items' mean.
        personal: False: the user has no say in the routing ("w/o PR").
        views: that there are; one of them: "w/o Behavioral", "w/o Semantic".

    Raises:
        ConfigError: a number is impossible.
    """

    size: int
    user_size: int
    rank: int = 8
    alpha: float = 16.0
    shared: int = 1
    experts: int = 8
    top_k: int = 2
    targets: tuple[Target, ...] = TARGETS
    router_size: int = 32
    pooling: Pooling = "last"
    personal: bool = True
    views: tuple[View, ...] = VIEWS

    def __post_init__(self) -> None:
        for name in ("size", "user_size", "rank", "router_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)}; expected at least 1")
        if self.shared < 0 or self.experts < 0 or self.shared + self.experts == 0:
            raise ConfigError(f"{self.shared} shared and {self.experts} own experts; expected at least one")
        if not min(self.experts, 1) <= self.top_k <= self.experts:
            raise ConfigError(f"top_k: {self.top_k}; expected 1 to the {self.experts} experts of a view")
        for name, allowed in (("targets", TARGETS), ("views", VIEWS)):
            given = getattr(self, name)
            if not given or len(set(given)) != len(given) or not set(given) <= set(allowed):
                raise ConfigError(f"{name}: {given}; expected some of {', '.join(allowed)}, each once")
