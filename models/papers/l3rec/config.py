"""How L3Rec's local models are built and trained, and what that needs of the backbone."""

from dataclasses import dataclass
from typing import Literal

from models.config import option
from models.contract.errors import ConfigError
from models.contract.specs import Form
from models.llm.backbone import BACKBONE_HELP, DEFAULT_BACKBONE, layer_count
from models.llm.item_token import LORA_TARGETS
from models.llm.items import check_encoder


@dataclass(frozen=True)
class L3RecConfig:
    """How the local models are built and trained. Defaults were chosen on ml-100k's validation items (docs/LOG.md).

    Raises:
        ConfigError: ``lora_targets`` names what is no projection, or nothing; or more layers are ``adapted_layers``
            than there are.
    """

    form: Form = option(
        "item-token",
        "How the model reads the history: one vector an item, or title: the items' titles as text (the paper's).",
    )
    backbone: str = option(DEFAULT_BACKBONE, BACKBONE_HELP)
    text_encoder: str = option(
        "",
        "Hub id or directory of a sentence encoder that reads the items' texts. Empty: the backbone's shallow layers.",
    )
    trunk_layers: int = option(9, "Shallow layers, which read each item alone.", low=1)
    top_layers: int = option(1, "Layers after those, which read the history and carry the adapters.", low=1)
    adapted_layers: int | None = option(
        None,
        "How many of the top layers, the last ones, carry adapters; the others keep the backbone's weights, and what"
        " comes out of them is the same for all adapters. Unset: all of them.",
        low=1,
    )
    title_tokens: int = option(48, "Tokens of an item's text that are read, at most.", low=1)
    text_size: int = option(128, "Directions of the item text that are kept, whitened.", low=1)
    embedding_size: int = option(128, "Width of the item table.", low=1)
    history_length: int = option(50, "Items of a history that are read, at most, the newest.", low=1)
    item_dropout: float = option(0.2, "Share of the item vectors' entries dropped in training.", low=0, high=0.9)
    lora_rank: int = option(16, "Rank of the adapters.", low=1)
    lora_alpha: float = option(32.0, "Scale of the adapters, over the rank.", low=0)
    lora_dropout: float = option(0.05, "Dropout before the adapters.", low=0, high=0.9)
    lora_targets: tuple[str, ...] | None = option(
        None, f"Projections that have adapters, of {', '.join(LORA_TARGETS)}; unset: all of them."
    )
    newest_windows: int = option(
        4, "Title form: windows of a user's history that are trained on, at most, the newest.", low=1
    )
    batch_size: int = option(32, "Windows in an update.", low=1)
    epochs: int = option(12, "Passes over the data for the global adapter, at most.", low=1)
    patience: int = option(4, "Epochs without a better validation NDCG (no cutoff) after which training stops.", low=1)
    valid_examples: int = option(5000, "Validation examples that are looked at after every epoch, at most.", low=1)
    learning_rate: float = option(1e-3, "Step size for the global adapter.", low=0)
    item_learning_rate: float = option(3e-3, "Step size for the item table and its projections.", low=0)
    weight_decay: float = option(0.01, "Of the item table and its projections.", low=0)
    local_start: Literal["global", "scratch"] = option(
        "global",
        "Start of a community's adapter: the global adapter, whose item table it shares and from which it moves little;"
        " or scratch, an adapter and an item table of its own, trained as the global one is (the paper's).",
    )
    local_epochs: int = option(
        3, "With local_start global: passes over a community's data for its adapter, at most.", low=1
    )
    local_patience: int = option(2, "With local_start global: as patience, for a community's adapter.", low=1)
    local_learning_rate: float = option(3e-4, "With local_start global: step size for a community's adapter.", low=0)
    affinity_weighted: bool = option(True, "Weight each user's loss by the affinity to the community, as LOCA does.")
    seed: int = option(0, "Seed of initial weights, windows, order and dropout.", low=0)

    def __post_init__(self) -> None:
        if not self.adapted or not set(self.adapted) <= set(LORA_TARGETS):
            raise ConfigError(f"lora_targets: {self.lora_targets}; expected one or more of {', '.join(LORA_TARGETS)}")
        if self.adapted_layers is not None and self.adapted_layers > self.top_layers:
            raise ConfigError(
                f"adapted_layers: {self.adapted_layers} is out of range; expected at most top_layers, {self.top_layers}"
            )

    @property
    def table_rank(self) -> int:
        """Rank of what an adapter adds to the vocabulary: 0 where adapters share the checkpoint's item table."""
        return self.embedding_size if self.local_start == "scratch" else 0

    @property
    def adapted(self) -> tuple[str, ...]:
        """The projections that have adapters."""
        return LORA_TARGETS if self.lora_targets is None else self.lora_targets

    @property
    def unadapted_layers(self) -> int:
        """How many of the top layers, the first ones, carry no adapters."""
        return 0 if self.adapted_layers is None else self.top_layers - self.adapted_layers


def check_backbone(config: L3RecConfig) -> None:
    """Check that the backbone is there and has the layers that are asked for, without reading its weights.

    Raises:
        ConfigError: it is not, or has fewer; or there is no such text encoder.
    """
    if config.text_encoder:
        check_encoder(config.text_encoder)
    wanted, present = config.trunk_layers + config.top_layers, layer_count(config.backbone)
    if wanted > present:
        raise ConfigError(
            f"local.trunk_layers, local.top_layers: {config.trunk_layers} + {config.top_layers} layers;"
            f" expected at most {present} in all, which is what backbone {config.backbone!r} has"
        )
