"""How L2Rec is built and trained: experts, routers, fusion, losses, and the paper's schedule (section 3.1)."""

from dataclasses import dataclass

from models.config import option
from models.contract.errors import ConfigError
from models.llm.backbone import BACKBONE_HELP, DEFAULT_BACKBONE, layer_count
from models.networks.l2rec_config import TARGETS, VIEWS, ExpertsConfig, Pooling, Target, View


@dataclass(frozen=True)
class L2RecConfig:
    """How L2Rec is built and trained; defaults as in the paper's section 3.1 where it says.

    The two phases are two trainings: the first on one data set, the second with ``initial`` on another.

    Raises:
        ConfigError: ``views`` or ``lora_targets`` name what there is not, or none, or more experts are to fire than
            there are.
    """

    backbone: str = option(DEFAULT_BACKBONE, BACKBONE_HELP)
    layers: int | None = option(None, "Layers of the backbone that are used, the first ones; unset: all.", low=1)
    instruction: str = option("The user has bought:", "Text that begins every prompt, an item's too.")
    history_length: int = option(20, "Items of a history that are read, at most, the newest.", low=1)
    title_tokens: int = option(32, "Tokens of an item that are read, at most, the separator included.", low=2)
    views: tuple[View, ...] = option(VIEWS, f"Views of a history that are read, of {', '.join(VIEWS)}.")
    personal: bool = option(True, "Whether routers are told the user's embedding; no: by what is read alone.")
    shared_experts: int = option(1, "Experts that always fire, those of both views.", low=0)
    view_experts: int = option(8, "Experts of each view, of which routers choose.", low=1)
    top_k: int = option(2, "Experts of a view that fire.", low=1)
    router_size: int = option(32, "Width of the routers' hidden layers.", low=1)
    lora_rank: int = option(8, "Rank of an expert.", low=1)
    lora_alpha: float = option(16.0, "Scale of an expert, over the rank.", low=0)
    lora_targets: tuple[Target, ...] = option(TARGETS, f"Projections that have experts, of {', '.join(TARGETS)}.")
    pooling: Pooling = option("mean", "Which states stand for a view: the last token's (last), or all of them (mean).")
    initial: str = option("", "Directory of an earlier training that this one begins with (phase 2). Empty: none.")
    negatives: int = option(10, "Sampled negatives of an example; its batch's other items are negatives, too.", low=0)
    temperature: float = option(0.07, "Of the contrastive losses' inner products.", low=0.001, high=10)
    bpc_weight: float = option(0.1, "Of the loss that makes a user's views agree (BPC).", low=0)
    balance_weight: float = option(0.01, "Of the loss that makes routers use all experts.", low=0)
    prefixes: int = option(1, "Earlier items of a user that are targets in a pass, beside the last one.", low=0)
    steps: int = option(3000, "Updates, at most.", low=1)
    evaluate_every: int = option(250, "Updates between two looks at validation.", low=1)
    patience: int = option(3, "Looks without a better validation NDCG after which training stops.", low=1)
    valid_examples: int = option(5000, "Validation examples that are looked at, at most.", low=1)
    valid_cutoff: int = option(10, "Cutoff of the validation NDCG; 0: none, which is less noisy.", low=0)
    batch_size: int = option(32, "Examples in an update.", low=2)
    learning_rate: float = option(2e-4, "Step size; the paper's first phase, its second one's is 1e-4.", low=0)
    weight_decay: float = option(0.01, "Of routers, projector and fusion.", low=0)
    seed: int = option(0, "Seed of initial weights, prefixes, negatives and order.", low=0)

    def __post_init__(self) -> None:
        self.experts(size=1, user_size=1)

    def experts(self, size: int, user_size: int) -> ExpertsConfig:
        """The network's settings on a decoder of that hidden size, for users of so many numbers.

        Raises:
            ConfigError: a setting is impossible; names the settings of this class.
        """
        for name, given, known in (("views", self.views, VIEWS), ("lora_targets", self.lora_targets, TARGETS)):
            if not given or len(set(given)) < len(given) or not set(given) <= set(known):
                raise ConfigError(f"{name}: {', '.join(given)!r}; expected some of {', '.join(known)}, each once")
        if self.top_k > self.view_experts:
            raise ConfigError(f"top_k: {self.top_k}; expected at most view_experts, {self.view_experts}")
        return ExpertsConfig(
            size=size,
            user_size=user_size,
            rank=self.lora_rank,
            alpha=self.lora_alpha,
            shared=self.shared_experts,
            experts=self.view_experts,
            top_k=self.top_k,
            targets=self.lora_targets,
            router_size=self.router_size,
            pooling=self.pooling,
            personal=self.personal,
            views=self.views,
        )


def check_layers(config: L2RecConfig) -> None:
    """Check that the backbone is there and has the layers that are asked for, without reading its weights.

    Raises:
        ConfigError: it is not, or has fewer.
    """
    try:
        depth_of(config, layer_count(config.backbone))
    except ConfigError as exc:
        raise ConfigError(f"l2rec.{exc}") from exc


def depth_of(config: L2RecConfig, n_layers: int) -> int:
    """Layers that are used of a backbone with ``n_layers``. Raises ConfigError where there are fewer than asked for."""
    depth = n_layers if config.layers is None else config.layers
    if depth > n_layers:
        raise ConfigError(
            f"layers: {depth} is out of range; expected at most {n_layers}, which is what the backbone has"
        )
    return depth
