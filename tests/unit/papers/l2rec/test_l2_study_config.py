"""Rows of L2Rec's tables, and the settings of a study."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.contract.errors import ConfigError
from models.papers.l2rec.config import L2RecConfig
from models.papers.l2rec.study_config import (
    BASELINES,
    L2REC,
    PRETRAINED,
    SINGLE,
    L2StudyConfig,
    StudyConfig,
    load_study,
    rows_of,
    single_pathway,
)

SMALL = L2StudyConfig("small", study=StudyConfig(shares=(0.5, 0.1)))


def names_of(config: L2StudyConfig, group: str) -> list[str]:
    return [row.name for row in rows_of(config) if row.group == group]


def test_rows_are_those_of_the_papers_tables() -> None:
    assert names_of(SMALL, "main") == [*BASELINES, SINGLE, L2REC]
    assert names_of(SMALL, "ablation") == ["w/o Adapt", "w/o Semantic", "w/o Behavioral", "w/o BPC", "w/o PR"]
    assert names_of(SMALL, "limited") == [
        f"{model} on {share} %" for share in (10, 50) for model in ("UniSRec", SINGLE, L2REC)
    ]


def test_a_row_can_be_asked_for_by_its_name() -> None:
    """Commas stand between the names of --only."""
    names = [row.name for row in rows_of(with_initial(SMALL))]
    assert not any("," in name for name in names)
    assert len(set(names)) == len(names)


def test_a_pre_trained_row_is_there_where_there_is_a_first_phase() -> None:
    config = with_initial(SMALL)
    assert names_of(config, "main") == [*BASELINES, SINGLE, L2REC, PRETRAINED]
    begun = {row.name: row.config.initial for row in rows_of(config) if row.config is not None}
    assert {name for name, initial in begun.items() if initial} == {PRETRAINED}


def with_initial(config: L2StudyConfig) -> L2StudyConfig:
    return replace(config, l2rec=replace(config.l2rec, initial="elsewhere"))


def test_each_ablation_differs_from_l2rec_in_one_thing() -> None:
    whole = vars(SMALL.l2rec)
    changed = {
        row.name: {key: value for key, value in vars(row.config).items() if whole[key] != value}
        for row in rows_of(SMALL)
        if row.config is not None and row.group == "ablation"
    }
    assert changed == {
        "w/o Semantic": {"views": ("behavioural",)},
        "w/o Behavioral": {"views": ("semantic",)},
        "w/o BPC": {"bpc_weight": 0.0},
        "w/o PR": {"personal": False},
    }


def test_the_single_pathway_is_one_lora_of_all_experts_rank() -> None:
    whole = L2RecConfig(lora_rank=4, lora_alpha=8.0, shared_experts=1, view_experts=8)
    single = single_pathway(whole)
    assert single.lora_rank == 4 * (1 + 2 * 8)
    assert single.lora_alpha == whole.lora_alpha
    assert (single.views, single.shared_experts, single.view_experts) == (("semantic",), 1, 0)
    kept = ("backbone", "layers", "steps", "batch_size", "learning_rate", "negatives", "temperature", "seed")
    assert all(getattr(single, name) == getattr(whole, name) for name in kept)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.0, 2.0])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=f"shares: {share}; expected shares above 0 and below 1"):
        StudyConfig(shares=(0.5, share))


def test_settings_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    for text, reason in {
        "[l2rek]\n": "l2rek: unknown section; expected name, data, study",
        "[study]\nshares = [1.5]\n": r"study\.shares: 1\.5; expected shares above 0",
        "[unisrec]\nexperts = 0\n": r"unisrec\.experts: 0 is out of range",
        "[l2rec]\ntop_k = 9\n": r"l2rec\.top_k: 9; expected at most view_experts, 8",
        "[study\n": "wrong.toml",
    }.items():
        path.write_text(text)
        with pytest.raises(ConfigError, match=reason):
            load_study(path)
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        load_study(tmp_path / "missing.toml")
