"""How ULMRec is built and trained: user index, alignment tasks, ranker."""

from dataclasses import dataclass
from typing import Literal

from models.config import option
from models.contract.errors import ConfigError
from models.contract.user_index import CODES, LEVELS
from models.llm.backbone import BACKBONE_HELP, DEFAULT_BACKBONE, layer_count
from models.llm.items import check_encoder

Task = Literal["next-item", "index-preference", "preference-index", "history-index", "rating", "intent"]
TASKS: tuple[Task, ...] = ("next-item", "index-preference", "preference-index", "history-index", "rating", "intent")
"""The tasks of section 4.2, in its order."""
ADAPTED = ("q_proj", "v_proj")  # of every layer, as LlamaRec has it


@dataclass(frozen=True)
class ULMRecConfig:
    """How ULMRec is built and trained; defaults as in the paper's section 5.1.4 and in LlamaRec, its base.

    LlamaRec itself is ``index = "none"`` with weights of 0 for all tasks but the first.

    Raises:
        ConfigError: the retriever's order is asked for and not its items; there is not one weight for each task, or
            none above zero; or preferences are to be asked of an endpoint, and its model or the file of its answers is
            not told.
    """

    backbone: str = option(DEFAULT_BACKBONE, BACKBONE_HELP)
    layers: int | None = option(None, "Layers of the backbone that are used, the first ones; unset: all.", low=1)
    text_encoder: str = option(
        "sentence-transformers/all-MiniLM-L6-v2", "Hub id or directory of the sentence encoder of users' texts."
    )
    user_texts: str = option(
        "",
        "Table (parquet, CSV or TSV) with a column user_id, and text (reviews), preference (summaries of them) or both."
        " It must tell of nothing that is to be predicted. Empty: users are known by the titles of their items.",
    )
    history_length: int = option(20, "Items of a history that are read, at most, the newest.", low=0)
    title_tokens: int = option(32, "Tokens of a title that are read, at most.", low=1)
    candidates: int = option(20, "Candidates in a prompt, at most, each with a letter.", low=2, high=26)
    seed: int = option(0, "Seed of everything random.", low=0)

    # User index (section 4.1) and preferences.
    text_tokens: int = option(128, "Tokens of a user's text that are read, at most; titles: title_tokens.", low=1)
    index_levels: int = option(LEVELS, "Codes of an index.", low=1, high=8)
    index_codes: int = option(CODES, "Codes that there are at a level.", low=2, high=4096)
    index_size: int = option(32, "Width of the codebooks.", low=1)
    index_hidden: tuple[int, ...] = option((256, 128), "Widths of RQ-VAE's inner layers, from the texts' side.", low=1)
    index_id: bool = option(True, "Whether a user's id asks for the texts (equation 1); else all count the same.")
    index_epochs: int = option(40, "Passes over the users in which RQ-VAE is trained.", low=1)
    index_batch: int = option(1024, "Users in an update of RQ-VAE.", low=1)
    index_step: float = option(1e-3, "Step size of RQ-VAE.", low=0)
    commitment: float = option(0.25, "Weight of the second term of equation 5, β.", low=0)
    preference_endpoint: str = option(
        "", "Base URL of an OpenAI-compatible server that extracts preferences from users' texts, such as …/v1."
    )
    preference_model: str = option("", "Name of the model that it is asked for.")
    preference_answers: str = option("", "File (JSON lines) in which its answers are kept; it is asked for no other.")
    preference_key: str = option("OPENAI_API_KEY", "Environment variable with the endpoint's key, if it wants one.")
    preference_calls: int = option(8, "Calls to the endpoint at a time.", low=1)

    # Prompts and tasks (section 4.2).
    index: Literal["personal", "numerical", "original", "none"] = option(
        "personal",
        "What stands for the user in a prompt: tokens of the index; the number of the user's row, or the id, as words"
        " (figure 9); nothing.",
    )
    preference_tokens: int = option(64, "Tokens of a preference text that are read and predicted, at most.", low=1)
    task_weights: tuple[float, ...] = option(
        (1.0, 0.1, 0.1, 0.1, 0.1, 0.2), f"Shares of the prompts of the tasks {', '.join(TASKS)}.", low=0
    )
    negatives: Literal["random", "retrieved"] = option(
        "random",
        "Where candidates beside the target come from in training: all items that the user has not met, or those of"
        " them that the retriever finds for the user.",
    )
    order: Literal["shuffled", "retrieved"] = option(
        "shuffled",
        "Order of candidates in training: at random (LlamaRec's); or the retriever's, with the target where the"
        " retriever puts the targets of validation, so that its order is learned from. It needs retrieved negatives.",
    )
    hidden_histories: float = option(
        0.0, "Share of the next-item prompts that show no history, so that the index alone must tell.", low=0, high=1
    )

    # Tuning (section 4.3).
    lora_rank: int = option(8, "Rank of the adapter.", low=1)
    lora_alpha: float = option(32.0, "Scale of the adapter, over the rank.", low=0)
    lora_dropout: float = option(0.05, "Dropout before the adapter.", low=0, high=0.9)
    learning_rate: float = option(1e-4, "Step size of the adapter.", low=0)
    index_learning_rate: float = option(1e-3, "Step size of the index tokens, which nobody has trained before.", low=0)
    weight_decay: float = option(0.01, "Of the adapter.", low=0)
    batch_size: int = option(16, "Prompts in an update.", low=1)
    steps: int = option(1600, "Updates, at most.", low=1)
    evaluate_every: int = option(100, "Updates between two looks at validation.", low=1)
    patience: int = option(20, "Looks without a better validation NDCG@10 after which training stops.", low=1)
    valid_examples: int = option(1000, "Validation examples that are looked at, at most.", low=1)

    def __post_init__(self) -> None:
        if self.order == "retrieved" and self.negatives != "retrieved":
            raise ConfigError(f"order: 'retrieved' with {self.negatives} negatives; expected retrieved ones")
        if len(self.task_weights) != len(TASKS):
            raise ConfigError(
                f"task_weights: {len(self.task_weights)} numbers; expected {len(TASKS)}, of {', '.join(TASKS)}"
            )
        if sum(self.task_weights) <= 0:
            raise ConfigError("task_weights: all are 0; expected at least one above")
        for name in ("preference_model", "preference_answers"):
            if self.preference_endpoint and not getattr(self, name):
                raise ConfigError(f"{name}: is empty; expected a value, for preference_endpoint is set")


def check_models(config: ULMRecConfig) -> None:
    """Check that the text encoder and the backbone are there, and this with its layers, without reading any weights.

    Raises:
        ConfigError: one is not, or the backbone has fewer.
    """
    check_encoder(config.text_encoder)
    n_layers = layer_count(config.backbone)
    if config.layers is not None and config.layers > n_layers:
        raise ConfigError(
            f"ulmrec.layers: {config.layers} is out of range; expected at most {n_layers}, which is what the backbone"
            " has"
        )
