"""How HatLLM is built and trained: layers, masks, prompt, head, and the paper's schedule (section 5.1.4)."""

from dataclasses import dataclass
from typing import Literal

from models.config import option
from models.contract.affinity import LARGEST_DISTANCE
from models.contract.errors import ConfigError
from models.contract.hatllm import Mask
from models.llm.backbone import BACKBONE_HELP, DEFAULT_BACKBONE, layer_count
from models.llm.item_token import LORA_TARGETS

Kind = Literal["IN", "OR", "CR"]
ORDER: tuple[Kind, ...] = ("IN", "OR", "CR")


@dataclass(frozen=True)
class HatLLMConfig:
    """How HatLLM is built and trained. Without intra and cross layers it is BIGRec with an item head: no masks.

    Raises:
        ConfigError: ``order`` is none of the three kinds of layers, or ``lora_targets`` names what is no projection.
    """

    backbone: str = option(DEFAULT_BACKBONE, BACKBONE_HELP)
    layers: int | None = option(None, "Layers of the backbone that are used, the first ones; unset: all.", low=1)
    intra_layers: int = option(4, "Layers in which an item's tokens see no other item (IN).", low=0)
    cross_layers: int = option(2, "Layers in which items see each other by their last tokens (CR).", low=0)
    cross_mask: Literal["cross", "cross-pre"] = option(
        "cross", "Mask of the CR layers: the paper's, equation 5, or its first version, equation 4."
    )
    order: tuple[Kind, ...] = option(ORDER, "Order of the three kinds of layers, shallow first.")
    item: str = option("item", "What the instruction calls one item, such as movie.")
    items: str = option("items", "What the instruction calls several items, such as movies.")
    verb: str = option("bought", "What the instruction says that users do with items, such as watched.")
    title_tokens: int = option(32, "Tokens of a title that are read, at most, the separator included.", low=2)
    history_length: int = option(10, "Items of a history that are read, at most, the newest.", low=1)
    text_encoder: str = option(
        "", "Hub id or directory of a sentence encoder for the head's text vectors. Empty: the backbone's first layers."
    )
    text_layers: int = option(
        4, "Layers of the backbone that make the text vectors where text_encoder is empty.", low=1
    )
    text_tokens: int = option(48, "Tokens of an item's text that its vector is made of, at most.", low=1)
    text_size: int = option(128, "Directions of the item text that are kept, whitened.", low=1)
    embedding_size: int = option(128, "Width of the head's item table.", low=1)
    lora_rank: int = option(8, "Rank of the adapter.", low=1)
    lora_alpha: float = option(16.0, "Scale of the adapter, over the rank.", low=0)
    lora_dropout: float = option(0.05, "Dropout before the adapter.", low=0, high=0.9)
    lora_targets: tuple[str, ...] = option(
        ("q_proj", "v_proj"), f"Projections that have adapters, of {', '.join(LORA_TARGETS)}."
    )
    answers: Literal["every", "last"] = option(
        "every", "Which items of a window are predicted: every one, by the item before it, or the last (the paper's)."
    )
    train_windows: int | None = option(
        None, "Windows that are trained on, at most, drawn from all; unset: all of them.", low=1
    )
    steps: int = option(1600, "Updates, at most.", low=1)
    evaluate_every: int = option(100, "Updates between two looks at validation.", low=1)
    patience: int = option(2, "Looks without a better validation NDCG after which training stops.", low=1)
    valid_examples: int = option(5000, "Validation examples that are looked at, at most.", low=1)
    valid_cutoff: int = option(10, "Cutoff of the validation NDCG; 0: none, which is less noisy.", low=0)
    batch_size: int = option(32, "Windows in an update.", low=1)
    learning_rate: float = option(5e-4, "Step size of the adapter.", low=0)
    head_learning_rate: float = option(3e-3, "Step size of the head.", low=0)
    weight_decay: float = option(0.01, "Of the head.", low=0)
    dropout: float = option(
        0.2, "Share of the predicting states' entries that are dropped in training.", low=0, high=0.9
    )
    seed: int = option(0, "Seed of initial weights, windows, order and dropout.", low=0)

    def __post_init__(self) -> None:
        if sorted(self.order) != sorted(ORDER):
            raise ConfigError(f"order: {', '.join(self.order)}; expected {', '.join(ORDER)}, each once")
        if not self.lora_targets or not set(self.lora_targets) <= set(LORA_TARGETS):
            raise ConfigError(f"lora_targets: {self.lora_targets}; expected one or more of {', '.join(LORA_TARGETS)}")


@dataclass(frozen=True)
class LocalConfig:
    """How HatLLM's local models are trained and fused: L3Rec's communities, each with an adapter that begins as
    HatLLM's and shares its head."""

    n_communities: int = option(5, "Communities, q in L3Rec; each trains one adapter.", low=1)
    bandwidth: float = option(
        1.0,
        "Distance below which a sequence belongs to an anchor, h in L3Rec; 1 is a right angle.",
        low=0.01,
        high=LARGEST_DISTANCE,
    )
    steps: int = option(100, "Updates of a community's adapter, at most.", low=1)
    evaluate_every: int = option(50, "Updates between two looks at the community's validation examples.", low=1)
    patience: int = option(2, "Looks without a better validation NDCG after which training stops.", low=1)
    learning_rate: float = option(3e-4, "Step size of a community's adapter.", low=0)
    fusion_examples: int = option(5000, "Validation examples that fusions are tried on, at most.", low=1)


def check_layers(config: HatLLMConfig) -> None:
    """Check that the backbone is there and has the layers that are asked for, without reading its weights.

    Raises:
        ConfigError: it is not, or has fewer.
    """
    try:
        masks(config, layer_count(config.backbone))
    except ConfigError as exc:
        raise ConfigError(f"hatllm.{exc}") from exc


def masks(config: HatLLMConfig, n_layers: int) -> tuple[Mask, ...]:
    """One mask a layer of a backbone with ``n_layers``; the layers that are neither IN nor CR are OR, causal.

    Raises:
        ConfigError: there are fewer layers than are asked for.
    """
    depth = n_layers if config.layers is None else config.layers
    if depth > n_layers:
        raise ConfigError(
            f"layers: {depth} is out of range; expected at most {n_layers}, which is what the backbone has"
        )
    between = depth - config.intra_layers - config.cross_layers
    if between < 0:
        raise ConfigError(
            f"intra_layers, cross_layers: {config.intra_layers} + {config.cross_layers};"
            f" expected at most {depth} in all, which is how many layers there are"
        )
    counts: dict[Kind, int] = {"IN": config.intra_layers, "OR": between, "CR": config.cross_layers}
    of_kind: dict[Kind, Mask] = {"IN": "intra", "OR": "causal", "CR": config.cross_mask}
    return tuple(of_kind[kind] for kind in config.order for _ in range(counts[kind]))
