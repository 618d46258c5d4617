"""What a study of L2Rec on one data set consists of: its configuration, and the rows of the paper's tables.

The single-pathway model is what the paper's argument is about: the same frozen backbone with one plain LoRA a matrix,
which reads the semantic view alone. Its rank is that of all experts of L2Rec together, so that as many numbers adapt
the backbone; α is one expert's, by which LoRA's updates are as large at any rank. Both have the same losses but those
that need two views or a choice of experts. LEARN (Jia et al., AAAI 2025) adapts nothing: a Transformer over items reads
what the frozen backbone, the same again, makes of their texts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from models.cf.multvae import MultVAEConfig
from models.cf.sasrec import SASRecConfig
from models.cf.unisrec import UniSRecConfig
from models.config import load, option
from models.contract.errors import ConfigError
from models.data.prepare import DataConfig
from models.papers.l2rec.config import L2RecConfig

MULTVAE, SASREC, UNISREC, LEARN = "MultVAE", "SASRec", "UniSRec", "LEARN"
SINGLE, L2REC, PRETRAINED, UNADAPTED = "single pathway", "L2Rec", "L2Rec pre-trained", "w/o Adapt"
BASELINES = (MULTVAE, SASREC, UNISREC, LEARN)
LIMITED = (UNISREC, SINGLE, L2REC)
"""The models of Figure 2."""

Group = Literal["main", "ablation", "limited"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True)
class StudyConfig:
    """What all rows share. Raises ConfigError where a share is not between 0 and 1."""

    text_encoder: str = option(
        "sentence-transformers/all-MiniLM-L6-v2", "Hub id or directory of the encoder of UniSRec's texts."
    )
    text_size: int = option(128, "Directions of the whitened text vectors, of UniSRec and LEARN.", low=1)
    text_tokens: int = option(64, "Tokens of an item's text that become its vector, at most.", low=1)
    shares: tuple[float, ...] = option(
        (0.01, 0.1, 0.5), "Shares of the users that Figure 2 trains on, beside all; smaller ones are parts of larger."
    )
    valid_examples: int = option(5000, "Validation examples of the baselines, at most.", low=1)
    test_examples: int | None = option(None, "Test examples, drawn once for all rows; unset: all.", low=1)

    def __post_init__(self) -> None:
        for share in self.shares:
            if not 0 < share < 1:
                raise ConfigError(f"shares: {share}; expected shares above 0 and below 1")


@dataclass(frozen=True)
class L2StudyConfig:
    """A study: one TOML section each, and the data set's ``name``."""

    name: str
    data: DataConfig = field(default_factory=DataConfig)
    study: StudyConfig = field(default_factory=StudyConfig)
    cf: MultVAEConfig = field(default_factory=MultVAEConfig)
    sasrec: SASRecConfig = field(default_factory=SASRecConfig)
    unisrec: UniSRecConfig = field(default_factory=UniSRecConfig)
    l2rec: L2RecConfig = field(default_factory=L2RecConfig)

    @property
    def learn(self) -> UniSRecConfig:
        """LEARN's user tower: UniSRec's, whose adaptor is one projection, over texts alone."""
        return replace(self.unisrec, experts=1, item_ids=False)


@dataclass(frozen=True)
class RowSpec:
    """A row of a table, or a point of Figure 2.

    Args:
        model: its name, as it is shown.
        group: of rows that are shown together.
        share: of the users that it is trained on.
        config: of a language model that is trained, None for the other rows.
    """

    model: str
    group: Group
    share: float = 1.0
    config: L2RecConfig | None = None

    @property
    def name(self) -> str:
        """Of the row."""
        return self.model if self.share == 1 else f"{self.model} on {100 * self.share:.4g} %"


def load_study(path: Path) -> L2StudyConfig:
    """Read a TOML file. Raises ConfigError where it cannot be read or used."""
    return load(L2StudyConfig, path)


def rows_of(config: L2StudyConfig) -> list[RowSpec]:
    """All rows, in the order of the tables."""
    return [*_main(config.l2rec), *_ablations(from_scratch(config.l2rec)), *_limited(config)]


def single_pathway(config: L2RecConfig) -> L2RecConfig:
    """The same backbone with one plain LoRA a matrix, which adapts it for the semantic view; see the module."""
    rank = config.lora_rank * (config.shared_experts + len(config.views) * config.view_experts)
    return replace(
        from_scratch(config),
        views=("semantic",),
        personal=False,
        shared_experts=1,
        view_experts=0,
        top_k=0,
        lora_rank=rank,
    )


def from_scratch(config: L2RecConfig) -> L2RecConfig:
    """The same training without a first phase."""
    return replace(config, initial="")


def _main(l2rec: L2RecConfig) -> Iterator[RowSpec]:
    for model in BASELINES:
        yield RowSpec(model, "main")
    yield RowSpec(SINGLE, "main", config=single_pathway(l2rec))
    yield RowSpec(L2REC, "main", config=from_scratch(l2rec))
    if l2rec.initial:
        yield RowSpec(PRETRAINED, "main", config=l2rec)


def _ablations(l2rec: L2RecConfig) -> Iterator[RowSpec]:
    """Table 3."""
    yield RowSpec(UNADAPTED, "ablation")
    yield RowSpec("w/o Semantic", "ablation", config=replace(l2rec, views=("behavioural",)))
    yield RowSpec("w/o Behavioral", "ablation", config=replace(l2rec, views=("semantic",)))
    yield RowSpec("w/o BPC", "ablation", config=replace(l2rec, bpc_weight=0.0))
    yield RowSpec("w/o PR", "ablation", config=replace(l2rec, personal=False))


def _limited(config: L2StudyConfig) -> Iterator[RowSpec]:
    """Figure 2, but for its points of all users, which are rows of the main table."""
    models = {UNISREC: None, SINGLE: single_pathway(config.l2rec), L2REC: from_scratch(config.l2rec)}
    for share in sorted(config.study.shares):
        for model in LIMITED:
            yield RowSpec(model, "limited", share, models[model])
