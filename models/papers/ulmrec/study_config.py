"""What a study of ULMRec on one data set consists of: its configuration, and the rows of the paper's tables."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from models.cf.sasrec import SASRecConfig
from models.config import load, option
from models.contract.errors import ConfigError
from models.data.prepare import DataConfig
from models.papers.ulmrec.config import TASKS, Task, ULMRecConfig
from models.papers.ulmrec.retriever import LISTED, RETRIEVERS, RetrieverConfig

LLAMAREC, ULMREC = "LlamaRec", "ULMRec"
LLAMAREC_VOTED, ULMREC_VOTED = "LlamaRec + retriever", "ULMRec + retriever"
INDEX_ONLY, OTHERS_INDEX, CHANCE = "ULMRec-uid", "ULMRec-uid (another user's index)", "chance"
ALIGNED, PUBLISHED = "P-ID w/ align", "P-ID w/ align (published index)"
SUMMARIES, TITLES = "P-ID w/ align (summaries)", "P-ID w/ align (titles alone)"  # where the others have not the same
ABLATIONS: dict[str, Task] = {
    "w/o pref": "index-preference",
    "w/o intention": "intent",
    "w/o rating": "rating",
    "w/o history": "history-index",
    "w/o turnpref": "preference-index",
}
"""The rows of Figure 8 that leave out one task."""
UNALIGNED = "w/o all-align"

Group = Literal["main", "ablation", "index", "index-only"]
GROUPS: tuple[Group, ...] = get_args(Group)
AGAINST: dict[Group, str] = {"main": LLAMAREC, "ablation": ULMREC, "index": LLAMAREC, "index-only": OTHERS_INDEX}
"""The row that a group's others are compared with."""
Index = Literal["built", "published", "none"]


@dataclass(frozen=True)
class ProtocolConfig:
    """What is measured on."""

    test_examples: int | None = option(
        None, "Test users, drawn once for all rows; those whose target was retrieved are re-ranked. Unset: all.", low=1
    )
    users: str = option(
        "",
        "Table with columns user_id, user_index (codes that somebody else made) and preference (summaries of reviews),"
        " each of which makes a row of its own. Empty: no such rows.",
    )
    retrieved_negatives: int = option(
        50,
        "First items of the retriever's list for a user from which candidates are drawn in training, where"
        " ulmrec.negatives says so.",
        low=1,
        high=LISTED,
    )
    counted_examples: int = option(200, "Test prompts whose tokens are counted, at most.", low=1)


@dataclass(frozen=True)
class ULMStudyConfig:
    """A study: one TOML section each, and the data set's ``name``.

    Raises:
        ConfigError: there are more candidates than a retriever's list has items, or section ulmrec leaves out the
            index or a task, which the rows do.
    """

    name: str
    data: DataConfig = field(default_factory=DataConfig)
    study: ProtocolConfig = field(default_factory=ProtocolConfig)
    retriever: RetrieverConfig = field(default_factory=RetrieverConfig)
    sasrec: SASRecConfig = field(default_factory=SASRecConfig)
    ulmrec: ULMRecConfig = field(default_factory=ULMRecConfig)

    def __post_init__(self) -> None:
        if self.ulmrec.index != "personal":
            raise ConfigError(f"ulmrec.index: {self.ulmrec.index!r}; expected 'personal', the rows have the others")
        if self.ulmrec.history_length < 1:
            raise ConfigError("ulmrec.history_length: 0; expected at least 1, the rows leave out the history")
        if not self.ulmrec.task_weights[0]:
            raise ConfigError(f"ulmrec.task_weights: the first is 0; expected a share of {TASKS[0]} above")


@dataclass(frozen=True)
class RowSpec:
    """A row of a table.

    Args:
        name: as it is shown.
        group: of rows that are shown together.
        model: of a row that a language model is tuned for, or that reads another's scores, its configuration; None for
            the retrievers and for chance.
        index: where the users' indices come from.
    """

    name: str
    group: Group
    model: ULMRecConfig | None = None
    index: Index = "none"


def load_study(path: Path) -> ULMStudyConfig:
    """Read a TOML file. Raises ConfigError where it cannot be read or used."""
    return load(ULMStudyConfig, path)


def rows_of(config: ULMStudyConfig, missing: frozenset[Task]) -> list[RowSpec]:
    """All rows, in the order of the tables.

    Args:
        config: of the study.
        missing: tasks whose data the data set does not have; a row that leaves one of them out is not shown.
    """
    ulmrec = without(config.ulmrec, *missing)
    return [*_main(ulmrec), *_ablations(ulmrec, missing), *_indices(config, ulmrec), *_index_only(ulmrec)]


def without(config: ULMRecConfig, *tasks: Task) -> ULMRecConfig:
    """The same without some of the tasks."""
    weights = zip(TASKS, config.task_weights, strict=True)
    return replace(config, task_weights=tuple(0.0 if task in tasks else weight for task, weight in weights))


def unaligned(config: ULMRecConfig) -> ULMRecConfig:
    """The same with the next-item task alone."""
    return without(config, *TASKS[1:])


def llamarec(config: ULMRecConfig) -> ULMRecConfig:
    """LlamaRec (Yue et al., 2023) on the same backbone: no index, so every prompt shows its history.

    It has as many updates as ULMRec, so more of the task that is measured.
    """
    return replace(unaligned(config), index="none", hidden_histories=0.0)


def slug(row: RowSpec) -> str:
    """Directory of the language model that a row is read from: rows of the same model have the same."""
    if row.model is None:
        raise ValueError(f"{row.name!r} has no language model")
    used = [task for task, weight in zip(TASKS, row.model.task_weights, strict=True) if weight]
    tasks = "-".join("".join(word[0] for word in task.split("-")) for task in used)
    index = "published" if row.index == "published" else row.model.index
    titles = "" if row.model.index != "personal" or row.model.user_texts else "-titles"
    return f"{index}{titles}-{tasks}"


def reads_table(row: RowSpec) -> bool:
    """Whether a row reads indices or texts of a table of users, which may tell of what is predicted."""
    if row.model is None or row.index == "published":
        return row.model is not None
    read = row.index == "built" or unaligned(row.model) != row.model
    return read and bool(row.model.user_texts)


def _main(ulmrec: ULMRecConfig) -> Iterator[RowSpec]:
    yield from (RowSpec(name, "main") for name in RETRIEVERS)
    for name in (LLAMAREC, LLAMAREC_VOTED):
        yield RowSpec(name, "main", llamarec(ulmrec))
    for name in (ULMREC, ULMREC_VOTED):
        yield RowSpec(name, "main", ulmrec, "built")


def _ablations(ulmrec: ULMRecConfig, missing: frozenset[Task]) -> Iterator[RowSpec]:
    """Figure 8."""
    for name, task in ABLATIONS.items():
        if task not in missing:
            yield RowSpec(name, "ablation", without(ulmrec, task), "built")
    yield RowSpec(UNALIGNED, "ablation", unaligned(ulmrec), "built")


def _indices(config: ULMStudyConfig, ulmrec: ULMRecConfig) -> Iterator[RowSpec]:
    """Figure 9, and two more sources of the index: codes that came with the data, and summaries or titles alone."""
    variants: tuple[tuple[str, ULMRecConfig, Index], ...] = (
        ("N-ID", replace(ulmrec, index="numerical"), "none"),
        ("O-ID", replace(ulmrec, index="original"), "none"),
        ("P-ID", ulmrec, "built"),
    )
    for name, model, index in variants:
        yield RowSpec(f"{name} w/o align", "index", unaligned(model), index)
        yield RowSpec(f"{name} w/ align", "index", model, index)
    if config.study.users:
        yield RowSpec(PUBLISHED, "index", ulmrec, "published")
    if ulmrec.user_texts:
        yield RowSpec(TITLES, "index", replace(ulmrec, user_texts=""), "built")
    elif config.study.users:
        yield RowSpec(SUMMARIES, "index", replace(ulmrec, user_texts=config.study.users), "built")


def _index_only(ulmrec: ULMRecConfig) -> Iterator[RowSpec]:
    """Table 4, and what it says without knowing the user: with somebody else's index, and at random."""
    yield RowSpec(INDEX_ONLY, "index-only", ulmrec, "built")
    yield RowSpec(OTHERS_INDEX, "index-only", ulmrec, "built")
    yield RowSpec(CHANCE, "index-only")
