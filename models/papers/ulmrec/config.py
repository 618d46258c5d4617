"""How ULMRec is built and trained: user index, alignment tasks, ranker."""

from dataclasses import dataclass

from models.config import option


@dataclass(frozen=True)
class ULMRecConfig:
    """How ULMRec is built and trained; defaults as in the paper's section 5.1.4 and in LlamaRec, its base."""

    backbone: str = option("HuggingFaceTB/SmolLM2-135M", "Hub id, checkpoint directory or .gguf file.")
    layers: int | None = option(None, "Layers of the backbone that are used, the first ones; unset: all.", low=1)
    text_encoder: str = option(
        "sentence-transformers/all-MiniLM-L6-v2", "Hub id or directory of the sentence encoder of users' texts."
    )
    user_texts: str = option(
        "",
        "Table (parquet or CSV) with columns user_id and text: reviews, or summaries of them. Empty: users are known"
        " by the titles of their items.",
    )
    history_length: int = option(20, "Items of a history that are read, at most, the newest.", low=1)
    title_tokens: int = option(32, "Tokens of a title that are read, at most.", low=1)
    candidates: int = option(20, "Candidates in a prompt, at most, each with a letter.", low=2, high=26)
    seed: int = option(0, "Seed of everything random.", low=0)
