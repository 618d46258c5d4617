"""``localrec reproduce l2rec`` on data that are learned in seconds."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.backbones import COLOURS, HIDDEN, LAYERS, THINGS, write_backbone, write_llama, write_walks

from localrec.reproducing.l2rec import l2rec
from models.contract.errors import ConfigError
from models.data import prepare
from models.papers.l2rec.study import L2Study
from models.papers.l2rec.study_config import BASELINES, L2REC, PRETRAINED, SINGLE, load_study
from models.papers.l2rec.study_report import measure_study

ROOT = Path(__file__).parents[4]
COUNTS = {"scientific": (8_442, 4_385, 59_427), "beauty": (22_363, 12_101, 198_502)}
CONFIG = """
name = "walks"

[data]
source = "table"
interactions = "{interactions}"
items = "{items}"

[study]
text_encoder = "{encoder}"
text_size = 8
shares = [0.5, 0.1]

[cf]
embedding_size = 8
epochs = 5

[sasrec]
embedding_size = 8
epochs = 2

[unisrec]
embedding_size = 8
epochs = 2

[l2rec]
backbone = "{backbone}"
layers = 2
instruction = "red"
history_length = 4
title_tokens = 4
view_experts = 3
lora_rank = 2
router_size = 4
negatives = 2
steps = 4
evaluate_every = 2
batch_size = 8
"""


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the walks."""
    directory = tmp_path_factory.mktemp("study")
    files, backbone = write_walks(directory), write_backbone(directory / "backbone")
    encoder = write_llama(directory / "encoder", [*COLOURS, *THINGS], HIDDEN, 1, 64, pads=True)
    path = directory / "walks.toml"
    paths = {"interactions": files.interactions, "items": files.items, "backbone": backbone, "encoder": encoder}
    path.write_text(CONFIG.format(**paths))
    return path


def reproduce(config_file: Path, *arguments: object) -> Result:
    directory = config_file.parent
    options = ["--run", directory / "run", "--out", directory / "out" / "walks", *arguments]
    return CliRunner().invoke(l2rec, [str(config_file), *map(str, options)], catch_exceptions=False)


def document(config_file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((config_file.parent / "out" / "walks.json").read_text())
    return found


@pytest.fixture(scope="module")
def measured(config_file: Path) -> dict[str, Any]:
    """The document of all rows, which are there from now on."""
    result = reproduce(config_file, "--seeds", "0,1")
    assert result.exit_code == 0, result.output
    return document(config_file)


def test_tables_and_figures_of_all_rows(config_file: Path, measured: dict[str, Any]) -> None:
    found, out = measured, config_file.parent / "out"
    assert [row["name"] for row in found["main"]["rows"]] == [*BASELINES, SINGLE, L2REC]
    assert (found["main"]["seeds"], found["main"]["against"]) == ([0, 1], SINGLE)
    assert found["best_baseline"] in BASELINES
    assert set(found["over_best"]) == {*BASELINES, SINGLE, L2REC} - {found["best_baseline"]}
    assert found["ablation"]["against"] == L2REC
    assert len(found["ablation"]["rows"]) == 1 + 5
    text = (out / "walks.md").read_text()
    for words in ("Gain over single pathway", "the best baseline on test", "Figure 2", "Routers of L2Rec"):
        assert words in text
    for picture in ("metrics", "ablation", "limited"):
        assert (out / "walks" / f"{picture}.png").exists()


def test_limited_data_are_compared_with_the_single_pathway(measured: dict[str, Any]) -> None:
    points = {(point["model"], point["share"]): point for point in measured["limited"]}
    assert {share: n for (_, share), n in ((key, point["n_users"]) for key, point in points.items())} == {
        0.1: 4,
        0.5: 20,
        1.0: 40,
    }
    assert len(points) == 3 * 3
    for (model, share), point in points.items():
        assert bool(point["gain"]) == (model != SINGLE)
        assert bool(point["over_all"]) == ((model, share) != (SINGLE, 1.0))
        assert set(point["metrics"]) >= {"HR@10", "NDCG@10"}


def test_what_was_trained_is_told(measured: dict[str, Any]) -> None:
    trained = measured["trained"]
    assert trained["w/o Adapt"]["facts"]["parameters"] == 0
    assert trained["w/o PR"]["facts"]["parameters"] < trained[L2REC]["facts"]["parameters"]
    assert {row["facts"]["initial"] for row in trained.values()} == {""}
    views = {view["view"]: view for view in trained[L2REC]["facts"]["routing"]}
    assert set(views) == {"semantic", "behavioural"}
    for view in views.values():
        assert len(view["utilisation"]) == 3
        assert sum(view["utilisation"]) == pytest.approx(1)
        assert 0 <= view["load_entropy"] <= 1
    assert [view["view"] for view in trained["w/o Semantic"]["facts"]["routing"]] == ["behavioural"]
    assert trained[SINGLE]["facts"]["routing"] == []


@pytest.mark.usefixtures("measured")
def test_one_row_alone_is_measured(config_file: Path) -> None:
    result = reproduce(config_file, "--seeds", "0", "--only", L2REC)
    assert result.exit_code == 0, result.output
    found = document(config_file)
    assert [row["name"] for row in found["main"]["rows"]] == [L2REC]
    assert (found["ablation"], found["limited"], found["over_best"]) == (None, [], {})


@pytest.mark.usefixtures("measured")
def test_rows_that_are_there_are_not_trained_again(config_file: Path) -> None:
    result = reproduce(config_file, "--seeds", "0", "--only", f"{SINGLE},{L2REC},UniSRec on 10 %")
    assert "epoch" not in result.output
    assert "MultVAE" not in result.output


def test_rows_share_the_collaborative_model_of_their_share_and_seed(config_file: Path, tmp_path: Path) -> None:
    said: list[str] = []
    study = L2Study(tmp_path, load_study(config_file), said.append)
    wanted = ("MultVAE", L2REC, "L2Rec on 10 %", "single pathway on 10 %")
    for row in study.rows:
        if row.name in wanted:
            study.ranked(row, 0)
    trained = [line for line in said if line.startswith("walks: MultVAE on")]
    assert trained == ["walks: MultVAE on 1 of the users, seed 0", "walks: MultVAE on 0.1 of the users, seed 0"]


def test_a_row_that_was_stopped_while_it_ranked_is_not_trained_again(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    study = L2Study(tmp_path, load_study(config_file), said.append)
    row = next(row for row in study.rows if row.name == L2REC)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("models.papers.l2rec.study.ranked_by", killed)
        with pytest.raises(KeyboardInterrupt):
            study.ranked(row, 0)
    said.clear()
    study.ranked(row, 0)
    assert not any("epoch" in line for line in said)
    assert not list(tmp_path.rglob("fit_*"))


def test_a_setting_of_l2rec_does_not_train_a_baseline_again(config_file: Path, tmp_path: Path) -> None:
    said: list[str] = []
    config = load_study(config_file)
    for steps in (4, 2):
        changed = replace(config, l2rec=replace(config.l2rec, steps=steps))
        study = L2Study(tmp_path, changed, said.append)
        for row in study.rows:
            if row.name in ("SASRec", "LEARN", "w/o PR"):
                study.ranked(row, 0)
    started = [line for line in said if line.endswith("seed 0") and "MultVAE" not in line]
    assert started == [f"walks: {name}, seed 0" for name in ("SASRec", "LEARN", "w/o PR", "w/o PR")]


def test_layers_that_the_backbone_lacks_are_refused_before_anything_is_trained(
    config_file: Path, tmp_path: Path
) -> None:
    config = load_study(config_file)
    deep = replace(config, l2rec=replace(config.l2rec, layers=LAYERS + 1))
    with pytest.raises(ConfigError, match=rf"l2rec\.layers: {LAYERS + 1} is out of range"):
        measure_study(L2Study(tmp_path, deep, print), [0], [], {})
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("measured")
def test_a_first_phase_that_is_not_there_is_refused_where_a_row_begins_with_it(config_file: Path) -> None:
    directory = config_file.parent / "run"
    before = sorted(directory.rglob("*"))
    said: list[str] = []
    config = load_study(config_file)
    begun = replace(config, l2rec=replace(config.l2rec, initial=str(directory / "elsewhere")))
    with pytest.raises(ConfigError, match=r"l2rec\.initial: .*elsewhere: no L2Rec that is trained"):
        measure_study(L2Study(directory, begun, said.append), [0], [], {})
    measure_study(L2Study(directory, begun, said.append), [0], [L2REC, "ablation"], {})
    assert said == []
    assert sorted(directory.rglob("*")) == before


def test_a_pre_trained_row_begins_with_a_row_of_another_study(config_file: Path, tmp_path: Path) -> None:
    config = load_study(config_file)
    first = L2Study(tmp_path / "first", config, print)
    row = next(row for row in first.rows if row.name == L2REC)
    first.ranked(row, 0)
    initial = str(tmp_path / "first" / "rows" / "l2rec" / "seed-0")
    second = L2Study(tmp_path / "second", replace(config, l2rec=replace(config.l2rec, initial=initial)), print)
    found = measure_study(second, [0], [PRETRAINED], {})
    assert found.trained[PRETRAINED].facts.initial == initial


def test_an_unknown_row_is_refused(config_file: Path) -> None:
    result = reproduce(config_file, "--only", "L2Rek")
    assert result.exit_code == 2
    assert "'L2Rek'; expected of main, ablation, limited, MultVAE" in result.output


@pytest.mark.parametrize("settings", ["scientific-l2rec", "scientific-l2rec-cpu", "beauty-l2rec", "beauty-l2rec-cpu"])
def test_the_settings_read_the_data_sets_of_the_papers(
    settings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    config = load_study(ROOT / "deploy" / f"{settings}.toml")
    if not Path(config.data.interactions).exists():
        pytest.skip(f"{config.data.interactions}: the data set is not here")
    dataset = prepare.prepare(config.data, tmp_path)
    users, items, interactions = COUNTS[config.name]
    assert (len(dataset.user_ids), len(dataset.catalogue), len(dataset.full.items)) == (users, items, interactions)
    assert len(dataset.examples("valid")) == len(dataset.examples("test")) == users
    assert all(item.categories for item in dataset.catalogue.items[:20] if item.brand)
