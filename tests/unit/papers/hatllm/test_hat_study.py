"""``localrec reproduce hatllm`` on data that are learned in seconds."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.backbones import LAYERS, write_backbone, write_walks

from localrec.reproducing.hatllm import hatllm
from models.contract.errors import ConfigError
from models.papers.hatllm.study import HatStudy
from models.papers.hatllm.study_config import (
    FURTHER,
    HATLLM,
    LOCAL_ROWS,
    POPULARITY,
    UNMASKED,
    RowSpec,
    load_study,
    slug,
)
from models.papers.hatllm.study_report import measure_study

CONFIG = """
name = "walks"

[data]
source = "table"
interactions = "{interactions}"
items = "{items}"
split = "windows"
window = 5

[study]
train_windows = 60
sweep_intra = [0, 1, 2, 9]
sweep_cross = [1, 2]

[hatllm]
backbone = "{backbone}"
intra_layers = 1
cross_layers = 1
history_length = 4
title_tokens = 4
text_size = 8
embedding_size = 8
lora_dropout = 0.0
dropout = 0.0
learning_rate = 3e-3
head_learning_rate = 3e-2
steps = {steps}
evaluate_every = 20
patience = 9
batch_size = 8

[sasrec]
embedding_size = 8
epochs = 2

[multvae]
embedding_size = 8
epochs = 5

[local]
n_communities = 2
steps = 4
evaluate_every = 4
"""


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the walks."""
    directory = tmp_path_factory.mktemp("study")
    files, backbone = write_walks(directory), write_backbone(directory / "backbone")
    path = directory / "walks.toml"
    path.write_text(CONFIG.format(interactions=files.interactions, items=files.items, backbone=backbone, steps=20))
    return path


def reproduce(config_file: Path, *arguments: object) -> Result:
    directory = config_file.parent
    options = ["--run", directory / "run", "--out", directory / "out" / "walks", *arguments]
    return CliRunner().invoke(hatllm, [str(config_file), *map(str, options)], catch_exceptions=False)


def document(config_file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((config_file.parent / "out" / "walks.json").read_text())
    return found


def test_tables_and_figures_of_all_rows(config_file: Path) -> None:
    result = reproduce(config_file, "--seeds", "0,1")
    assert result.exit_code == 0, result.output
    found, out = document(config_file), config_file.parent / "out"
    main = [row["name"] for row in found["main"]["rows"]]
    assert main == ["popularity", "SASRec", "SASRec + text", "LLaRA", UNMASKED, HATLLM]
    assert found["main"]["seeds"] == [0, 1]
    assert len(found["ablation"]["rows"]) == 2 + 10
    assert {(point["intra"], point["cross"]) for point in found["sweep"]} == {(0, 1), (1, 1), (2, 1), (1, 2)}
    text = (out / "walks.md").read_text()
    assert "NDCG without a cutoff" in text
    assert f"NDCG@10 of {HATLLM} over {UNMASKED}" in text
    local = found["local"]
    assert [row["name"] for row in local["rows"]] == [HATLLM, FURTHER, *LOCAL_ROWS]
    assert local["against"] == HATLLM
    assert list(local["fusions"]) == list(LOCAL_ROWS)
    assert all(len(words) == 2 for words in local["fusions"].values())
    assert set(found["whole"]["local"]) == {HATLLM, FURTHER, *LOCAL_ROWS}
    assert "Gain over HatLLM" in text
    for picture in ("metrics", "ablation", "layers"):
        assert (out / "walks" / f"{picture}.png").exists()


def test_rows_that_are_there_are_not_trained_again(config_file: Path) -> None:
    reproduce(config_file, "--seeds", "0", "--only", f"{UNMASKED},{HATLLM},local")
    result = reproduce(config_file, "--seeds", "0", "--only", f"{UNMASKED},{HATLLM},local")
    assert "epoch" not in result.output
    assert [row["name"] for row in document(config_file)["main"]["rows"]] == [UNMASKED, HATLLM]


def test_a_row_that_was_stopped_while_it_ranked_is_not_trained_again(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    study = HatStudy(tmp_path, load_study(config_file), said.append)
    row = next(row for row in study.rows if row.name == HATLLM)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("models.papers.hatllm.study.ranked_by", killed)
        with pytest.raises(KeyboardInterrupt):
            study.ranked(row, 0)
    said.clear()
    study.ranked(row, 0)
    assert not any("epoch" in line for line in said)
    assert not list(tmp_path.rglob("fit_*"))


def test_a_baseline_is_trained_again_where_its_windows_are_others(config_file: Path, tmp_path: Path) -> None:
    said: list[str] = []
    config = load_study(config_file)
    row = RowSpec(POPULARITY, "main")
    for history_length in (4, 4, 3):
        changed = replace(config, hatllm=replace(config.hatllm, history_length=history_length))
        HatStudy(tmp_path, changed, said.append).ranked(row, 0)
    assert said == ["walks: popularity, seed 0"] * 2


def test_layers_that_the_backbone_lacks_are_refused_before_anything_is_trained(
    config_file: Path, tmp_path: Path
) -> None:
    config = load_study(config_file)
    deep = replace(config, hatllm=replace(config.hatllm, intra_layers=LAYERS))
    with pytest.raises(ConfigError, match=rf"hatllm\.intra_layers, cross_layers: {LAYERS} \+ 1; expected at most"):
        measure_study(HatStudy(tmp_path, deep, print), [0], [], {})
    assert not list(tmp_path.iterdir())


def test_an_unknown_row_is_refused(config_file: Path) -> None:
    result = reproduce(config_file, "--only", "HatLM")
    assert result.exit_code == 2
    assert "'HatLM'; expected of main, ablation, sweep, local, popularity" in result.output


def test_the_gain_is_averaged_with_other_data_sets(config_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"gains": {"elsewhere": {"percent": 50.0, "p_value": 0.01}}}))
    reproduce(config_file, "--seeds", "0", "--only", f"{UNMASKED},{HATLLM}", "--also", other)
    assert document(config_file)["gains"]["elsewhere"]["percent"] == 50.0


def test_rows_of_the_same_masks_are_one(config_file: Path) -> None:
    study = HatStudy(config_file.parent / "run", load_study(config_file), lambda _: None)
    of_name = {row.name: row for row in study.rows if row.model is not None}
    masks = {name: slug(row.model) for name, row in of_name.items() if row.model is not None}
    assert masks["w/o IN"] == masks["intra 0"]
    assert masks[HATLLM] == masks["intra 1"] == masks["cross 1"] == "intra1-cross1"
    assert masks["w/o OR"] == f"intra{LAYERS - 1}-cross1"
    assert masks["CR-IN-OR"] == "intra1-cross1-cr-in-or"
    assert len({masks[name] for name in masks if not name.startswith(("intra", "cross"))}) == 11


def test_a_configuration_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("[hatlm]\n")
    with pytest.raises(ConfigError, match="hatlm: unknown section"):
        load_study(path)
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        load_study(tmp_path / "missing.toml")
