"""How ULMRec is built and trained: user index, alignment tasks, ranker."""

from dataclasses import dataclass

from models.config import option
from models.contract.errors import ConfigError
from models.contract.ulmrec import CODES, LEVELS


@dataclass(frozen=True)
class ULMRecConfig:
    """How ULMRec is built and trained; defaults as in the paper's section 5.1.4 and in LlamaRec, its base.

    Raises:
        ConfigError: preferences are to be asked of an endpoint, and its model or the file of its answers is not told.
    """

    backbone: str = option("HuggingFaceTB/SmolLM2-135M", "Hub id, checkpoint directory or .gguf file.")
    layers: int | None = option(None, "Layers of the backbone that are used, the first ones; unset: all.", low=1)
    text_encoder: str = option(
        "sentence-transformers/all-MiniLM-L6-v2", "Hub id or directory of the sentence encoder of users' texts."
    )
    user_texts: str = option(
        "",
        "Table (parquet, CSV or TSV) with a column user_id, and text (reviews), preference (summaries of them) or both."
        " It must tell of nothing that is to be predicted. Empty: users are known by the titles of their items.",
    )
    history_length: int = option(20, "Items of a history that are read, at most, the newest.", low=1)
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

    def __post_init__(self) -> None:
        for name in ("preference_model", "preference_answers"):
            if self.preference_endpoint and not getattr(self, name):
                raise ConfigError(f"{name}: is empty; expected a value, for preference_endpoint is set")
