"""How L2Rec is built and trained: experts, router, fusion, losses."""

from dataclasses import dataclass

from models.config import option


@dataclass(frozen=True)
class L2RecConfig:
    """How L2Rec is built and trained; defaults as in the paper's section 3.1 where it says."""

    backbone: str = option("HuggingFaceTB/SmolLM2-135M", "Hub id, checkpoint directory or .gguf file.")
    layers: int | None = option(None, "Layers of the backbone that are used, the first ones; unset: all.", low=1)
    history_length: int = option(20, "Items of a history that are read, at most, the newest.", low=1)
    title_tokens: int = option(32, "Tokens of an item that are read, at most, the separator included.", low=2)
    seed: int = option(0, "Seed of everything random.", low=0)
