"""``localrec reproduce ulmrec`` on data that are learned in seconds."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result
from support.backbones import COLOURS, LAYERS, THINGS, walk_dataset, write_llama, write_walks

from localrec.reproducing.ulmrec import ulmrec
from models.contract.errors import ConfigError
from models.contract.ulmrec import LETTERS
from models.papers.ulmrec.config import TASKS
from models.papers.ulmrec.ratings import ratings_of
from models.papers.ulmrec.study import ULMStudy
from models.papers.ulmrec.study_config import (
    ALIGNED,
    CHANCE,
    INDEX_ONLY,
    LLAMAREC,
    LLAMAREC_VOTED,
    OTHERS_INDEX,
    PUBLISHED,
    SUMMARIES,
    TITLES,
    ULMREC,
    ULMREC_VOTED,
    UNALIGNED,
    load_study,
    reads_table,
    rows_of,
    slug,
)
from models.papers.ulmrec.study_report import measure_study

ROOT = Path(__file__).parents[4]
CONFIG = """
name = "walks"

[data]
source = "table"
interactions = "{interactions}"
items = "{items}"

[study]
users = "{users}"
test_examples = 30

[retriever]
model = "SASRec"
text_encoder = "{backbone}"
text_size = 8

[sasrec]
embedding_size = 8
epochs = 1

[ulmrec]
backbone = "{backbone}"
text_encoder = "{backbone}"
user_texts = "{users}"
candidates = 6
history_length = 3
title_tokens = 4
preference_tokens = 4
index_levels = 2
index_codes = 16
index_size = 8
index_hidden = [8]
index_epochs = 1
lora_dropout = 0.0
batch_size = 4
steps = 2
evaluate_every = 2
valid_examples = 8
layers = 1
"""


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the walks."""
    directory = tmp_path_factory.mktemp("study")
    files, backbone = write_walks(directory), directory / "backbone"
    write_llama(backbone, [*COLOURS, *THINGS, *LETTERS], 16, LAYERS, 400, pads=True)
    users = directory / "users.parquet"
    write_users(users, [f"<a_{row % 16}> <b_{row // 16}>" for row in range(40)])
    path = directory / "walks.toml"
    path.write_text(CONFIG.format(interactions=files.interactions, items=files.items, backbone=backbone, users=users))
    return path


def write_users(path: Path, indices: list[str]) -> None:
    ids = walk_dataset().user_ids
    texts = [f"likes {COLOURS[row % 2]}" for row in range(len(ids))]
    pl.DataFrame({"user_id": ids, "preference": texts, "user_index": indices}).write_parquet(path)


def reproduce(config_file: Path, *arguments: object) -> Result:
    directory = config_file.parent
    options = ["--run", directory / "run", "--out", directory / "out" / "walks", *arguments]
    return CliRunner().invoke(ulmrec, [str(config_file), *map(str, options)], catch_exceptions=False)


def document(config_file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((config_file.parent / "out" / "walks.json").read_text())
    return found


def names(group: dict[str, Any]) -> list[str]:
    return [row["name"] for row in group["rows"]]


def test_tables_and_figures_of_all_rows(config_file: Path) -> None:
    result = reproduce(config_file, "--seeds", "0")
    assert result.exit_code == 0, result.output
    found, out = document(config_file), config_file.parent / "out"
    groups = found["groups"]
    main = ["SASRec", "SASRec + text", LLAMAREC, LLAMAREC_VOTED, ULMREC, ULMREC_VOTED]
    assert names(groups["main"]) == main
    ablations = ["w/o pref", "w/o intention", "w/o history", "w/o turnpref", UNALIGNED]
    assert names(groups["ablation"]) == [ULMREC, *ablations]  # the data have no ratings
    kinds = [f"{kind} {how}" for kind in ("N-ID", "O-ID", "P-ID") for how in ("w/o align", "w/ align")]
    assert names(groups["index"]) == [LLAMAREC, *kinds, PUBLISHED, TITLES]
    assert names(groups["index-only"]) == [INDEX_ONLY, OTHERS_INDEX, CHANCE]
    assert found["facts"]["tasks without data"] == "rating"
    assert "drawn from 40" in found["facts"]["test users"]
    told = found["facts"]["rows that may be told what is predicted"].partition(":")[0].split("; ")
    assert {ULMREC, "N-ID w/ align", PUBLISHED} <= set(told)  # the settings name a table of summaries
    assert not {LLAMAREC, "N-ID w/o align", TITLES, CHANCE, "SASRec"} & set(told)
    text = (out / "walks.md").read_text()
    assert "Retriever and rankers (Table 2): overall" in text
    assert "gain over LlamaRec, paired" in text
    assert "Tokens of test prompts" in text
    assert list(found["similarity"]) == [ULMREC, PUBLISHED, TITLES]
    assert [shared["shared"] for shared in found["similarity"][ULMREC]] == [0, 1]
    assert f"Users whose indices begin alike: {PUBLISHED}" in text
    for picture in ("main", "ablation", "index", "index-only"):
        assert (out / "walks" / f"{picture}.png").exists()
        assert (out / "walks" / f"{picture}.svg").exists()


def test_what_a_row_says_fits_together(config_file: Path) -> None:
    reproduce(config_file, "--seeds", "0", "--only", f"main, {ALIGNED}")
    found = document(config_file)
    share = found["n_found"] / found["n_test"]
    rows = {row["name"]: row for group in found["groups"].values() for row in group["rows"]}
    assert 0 < found["n_found"] < found["n_test"] == 30
    for name in (LLAMAREC, ULMREC, ULMREC_VOTED, "SASRec"):
        for metric in ("M@5", "N@10", "R@5"):
            assert rows[name]["overall"][metric]["mean"] == pytest.approx(share * rows[name]["rank"][metric]["mean"])
        assert rows[name]["rank"]["R@10"]["mean"] == 1.0  # there are six candidates
    assert rows[ALIGNED]["rank"] == rows[ULMREC]["rank"]
    assert rows[LLAMAREC]["gains"] == {}
    gain = rows[ULMREC]["gains"]["overall"]["N@10"]["interval"]["mean"]
    difference = rows[ULMREC]["overall"]["N@10"]["mean"] - rows[LLAMAREC]["overall"]["N@10"]["mean"]
    assert gain == pytest.approx(difference)
    assert rows[ULMREC]["tokens"]["common"] >= rows[ULMREC]["tokens"]["cached"] > 0
    assert rows[ULMREC]["tokens"]["mean"] > rows[LLAMAREC]["tokens"]["mean"]


def test_rows_that_are_there_are_not_tuned_again(config_file: Path) -> None:
    reproduce(config_file, "--seeds", "0", "--only", f"{LLAMAREC},{ULMREC}")
    result = reproduce(config_file, "--seeds", "0", "--only", f"{LLAMAREC},{ULMREC},{ALIGNED},index-only")
    assert "epoch" not in result.output
    assert names(document(config_file)["groups"]["main"]) == [LLAMAREC, ULMREC]


def test_without_what_a_row_is_compared_with_there_are_no_gains(config_file: Path, tmp_path: Path) -> None:
    study = ULMStudy(tmp_path, load_study(config_file), lambda _: None)
    report = measure_study(study, [0], ["SASRec"], {"command": "none"})
    (row,) = report.groups["main"].rows
    assert row.gains == {}
    assert "index" not in report.facts
    assert report.facts["rows that may be told what is predicted"] == "none"
    assert not {"rows", "index"} & {path.name for path in tmp_path.iterdir()}


def test_a_row_that_was_stopped_while_it_scored_is_not_tuned_again(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    study = ULMStudy(tmp_path, load_study(config_file), said.append)
    row = next(row for row in study.rows if row.name == LLAMAREC)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("models.papers.ulmrec.study.ULMStudy._scored", killed)
        with pytest.raises(KeyboardInterrupt):
            study.values(row, 0)
    assert not study.finished(row, 0)
    said.clear()
    study.values(row, 0)
    assert study.finished(row, 0)
    assert not any("epoch" in line for line in said)


def test_rows_of_the_same_language_model_share_it(config_file: Path) -> None:
    rows = {row.name: row for row in rows_of(load_study(config_file), frozenset(("rating",)))}
    models = {name: slug(row) for name, row in rows.items() if row.model is not None}
    assert models[ULMREC] == models[ULMREC_VOTED] == models[ALIGNED] == models[INDEX_ONLY] == models[OTHERS_INDEX]
    assert models[LLAMAREC] == models[LLAMAREC_VOTED] == "none-ni"
    assert models[UNALIGNED] == models["P-ID w/o align"]
    assert len(set(models.values())) == 2 + 5 + 4 + 2
    assert rows[LLAMAREC].model is not None
    assert rows[LLAMAREC].model.hidden_histories == 0


def test_with_ratings_their_task_is_one_more_row(config_file: Path, tmp_path: Path) -> None:
    config = load_study(config_file)
    assert "w/o rating" in {row.name for row in rows_of(config, frozenset())}
    files = write_walks(tmp_path)
    first, *others = files.interactions.read_text().splitlines()
    rated = [f"{first},rating", *(f"{line},{number % 5 + 1}" for number, line in enumerate(others))]
    files.interactions.write_text("\n".join(rated) + "\n")
    dataset = walk_dataset()
    ratings = ratings_of(replace(config.data, interactions=str(files.interactions)), dataset)
    assert ratings is not None
    assert ratings.shape == dataset.train.items.shape
    assert ratings[:6].tolist() == [1, 2, 3, 4, 5, 1]
    assert ratings_of(config.data, dataset) is None
    assert len(np.unique(ratings)) == 5


@pytest.mark.parametrize(
    ("section", "line", "told"),
    [
        ("[ulmrec]", 'index = "none"', "ulmrec.index: 'none'; expected 'personal'"),
        ("[ulmrec]", "task_weights = [0, 1, 1, 1, 1, 1]", "ulmrec.task_weights: the first is 0"),
        ("[study]", "retrieved_negatives = 101", "study.retrieved_negatives: 101 is out of range"),
        ("[retriever]", 'model = "LRURec"', "retriever.model: 'LRURec': expected one of SASRec, SASRec"),
        ("[ulmrek]", "", "ulmrek: unknown section"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(tmp_path: Path, section: str, line: str, told: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f"{section}\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        load_study(path)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"), [({"layers": LAYERS + 1}, "ulmrec.layers: "), ({"text_encoder": "/nowhere"}, "text_encoder: ")]
)
def test_models_that_are_not_there_are_refused_before_anything_is_tuned(
    config_file: Path, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    config = load_study(config_file)
    lacking = replace(config, ulmrec=replace(config.ulmrec, **change))
    with pytest.raises(ConfigError, match=f"^{told}"):
        measure_study(ULMStudy(tmp_path, lacking, print), [0], [], {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("section", "key"), [("study", "users"), ("ulmrec", "user_texts")])
def test_tables_that_are_not_there_are_refused_before_anything_is_tuned(
    config_file: Path, tmp_path: Path, section: str, key: str
) -> None:
    config = load_study(config_file)
    lacking = replace(config, **{section: replace(getattr(config, section), **{key: "/nowhere.csv"})})
    with pytest.raises(ConfigError, match=rf"^{section}\.{key}: /nowhere.csv is not a file"):
        measure_study(ULMStudy(tmp_path, lacking, print), [0], [], {})
    assert not list(tmp_path.iterdir())


def test_summaries_are_told_of_where_they_are_read() -> None:
    rows = rows_of(load_study(ROOT / "deploy" / "beauty-ulmrec.toml"), frozenset())
    assert {row.name for row in rows if reads_table(row)} == {PUBLISHED, SUMMARIES}


def test_an_unknown_row_is_refused(config_file: Path) -> None:
    result = reproduce(config_file, "--only", "ULMRek")
    assert result.exit_code == 2
    assert "'ULMRek'; expected of main, ablation, index, index-only, SASRec" in result.output


@pytest.mark.parametrize("name", ["beauty-ulmrec", "beauty-ulmrec-cpu"])
def test_settings_that_come_with_the_project_have_all_rows(name: str) -> None:
    config = load_study(ROOT / "deploy" / f"{name}.toml")
    rows = rows_of(config, frozenset(("rating",)))
    assert {PUBLISHED, SUMMARIES, ULMREC} <= {row.name for row in rows}
    assert not any("," in row.name for row in rows)  # commas stand between the names of --only
    assert config.ulmrec.user_texts == ""  # summaries may tell of what is to be predicted
    assert all(len(row.model.task_weights) == len(TASKS) for row in rows if row.model is not None)
