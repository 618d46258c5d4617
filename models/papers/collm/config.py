"""How CoLLM is built and tuned."""

from dataclasses import dataclass
from typing import Literal

from models.cf.pointwise.models import Kind
from models.config import option
from models.contract.errors import ConfigError
from models.llm.backbone import BACKBONE_HELP, DEFAULT_BACKBONE, layer_count

Tuning = Literal["mapping", "T1", "T2", "T3", "UI-token"]

ADAPTED = ("q_proj", "v_proj")  # of every layer: TALLRec's, which the paper takes over


@dataclass(frozen=True)
class CoLLMConfig:
    """How CoLLM is built and tuned. Defaults are those of the paper and its public code.

    An epoch is ``iterations`` updates: what lies between two looks at the validation pairs.
    """

    backbone: str = option(DEFAULT_BACKBONE, BACKBONE_HELP)
    layers: int | None = option(
        None, "How many of the backbone's layers are used, the first ones, before its final norm. Unset: all.", low=1
    )
    cf: Kind = option("mf", "The collaborative model whose vectors are mapped into the prompt.")
    embedding_size: int | None = option(None, "Width of its vectors. Unset: as that model has it.", low=1)
    tuning: Tuning = option(
        "mapping",
        "What the second step tunes: the mapping alone; T1: the collaborative model too; T2: that, from scratch;"
        " T3: there is no first step, and adapter and mapping are tuned together; UI-token: free vectors, no mapping.",
    )
    mapping_factor: int = option(10, "Width of the mapping's hidden layer, in widths of its input.", low=1)
    lora_rank: int = option(8, "Rank of the adapter.", low=1)
    lora_alpha: float = option(16.0, "Scale of the adapter, over the rank.", low=0)
    lora_dropout: float = option(0.05, "Dropout before the adapter.", low=0, high=0.9)
    history_length: int = option(10, "Titles of a history, at most, the newest.", low=0)
    title_tokens: int = option(48, "Tokens of a title, at most, quotation marks aside.", low=1)
    learning_rate: float = option(
        1e-3, "Step size of the adapter; the public code has 1e-2 for small backbones.", low=0
    )
    feature_learning_rate: float = option(1e-3, "Step size of the mapping and what is tuned with it.", low=0)
    weight_decay: float = option(1e-3, "Of all that is tuned.", low=0)
    batch_size: int = option(16, "Pairs in an update.", low=1)
    iterations: int = option(50, "Updates in an epoch.", low=1)
    warmup_iterations: int = option(200, "Updates in which the step size rises; it falls as a cosine after.", low=0)
    text_epochs: int = option(200, "Epochs of the first step, at most; of T3's only step too.", low=1)
    feature_epochs: int = option(200, "Epochs of the second step, at most.", low=1)
    patience: int = option(20, "Epochs without a better validation AUC after which a step ends.", low=1)
    valid_pairs: int = option(5000, "Validation pairs that are looked at after every epoch, at most.", low=1)
    negatives: int = option(
        4, "Where data has no labels: items that a user has not met, drawn for each one that was liked.", low=1
    )
    seed: int = option(0, "Seed of initial weights, order, draws and dropout.", low=0)

    @property
    def pretrained(self) -> bool:
        """Whether the second step begins with a collaborative model that is trained."""
        return self.tuning not in ("T2", "UI-token")


def check_backbone(config: CoLLMConfig) -> None:
    """Check that the backbone is there and has the layers that are asked for, without reading its weights.

    Raises:
        ConfigError: it is not, or has fewer.
    """
    present = layer_count(config.backbone)
    if config.layers is not None and config.layers > present:
        raise ConfigError(
            f"collm.layers: {config.layers} is out of range; expected at most {present}, which is what backbone"
            f" {config.backbone!r} has"
        )
