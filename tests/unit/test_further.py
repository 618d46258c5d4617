"""The stages of further models, which are trained in no time."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.further import COLLM, HATLLM, ULMREC, Trainer, with_both, with_ulmrec
from support.runs import FinishedRun

from models import further
from models.contract.bundle import Bundle, verify_bundle
from models.contract.errors import ConfigError
from models.pipeline import Pipeline
from models.run import RunConfig

BOTH = ("collm", "parts/collm", "hatllm", "parts/hatllm")


@pytest.fixture(autouse=True)
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    made = Trainer()
    monkeypatch.setattr(further, "MODELS", made.models())
    return made


@pytest.fixture
def directory(finished_run: FinishedRun, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return shutil.copytree(finished_run.directory, tmp_path / "run")


@pytest.fixture
def config(finished_run: FinishedRun, backbone_directory: Path) -> RunConfig:
    """Its settings, with both models."""
    return with_both(finished_run.config, backbone_directory)


def run(directory: Path, config: RunConfig) -> tuple[list[str], Bundle]:
    """Stages that worked, and the bundle."""
    lines: list[str] = []
    bundle = Pipeline(directory, config, lines.append).run()
    return [line.removesuffix(": done") for line in lines if line.endswith(": done")], bundle


def test_a_run_with_their_sections_trains_them_and_its_bundle_has_them(
    directory: Path, config: RunConfig, finished_run: FinishedRun
) -> None:
    worked, bundle = run(directory, config)

    assert worked == list(BOTH)
    manifest = verify_bundle(bundle.directory).manifest
    assert (manifest.collm, manifest.hatllm) == (COLLM, HATLLM)
    assert bundle.path("hatllm/weights").read_text().endswith("on 40 users")
    assert bundle.id != finished_run.bundle.id


def test_a_second_run_reuses_them(directory: Path, config: RunConfig) -> None:
    first = run(directory, config)[1]
    worked, second = run(directory, config)
    assert worked == []
    assert second.id == first.id


def test_a_changed_key_trains_its_model_alone(directory: Path, config: RunConfig) -> None:
    first = run(directory, config)[1]
    assert config.collm is not None
    worked, second = run(directory, replace(config, collm=replace(config.collm, seed=1)))
    assert worked == ["collm", "parts/collm"]
    assert second.id != first.id


def test_a_changed_key_of_the_local_models_trains_neither(directory: Path, config: RunConfig) -> None:
    run(directory, config)
    worked, _ = run(directory, replace(config, local=replace(config.local, local_learning_rate=0.02)))
    assert not set(worked) & set(BOTH)


def test_another_backbone_file_trains_both(
    directory: Path, config: RunConfig, backbone_directory: Path, tmp_path: Path
) -> None:
    assert config.collm is not None
    assert config.hatllm is not None
    own = shutil.copytree(backbone_directory, tmp_path / "backbone")
    models = {part: replace(getattr(config, part), backbone=str(own)) for part in further.wanted(config)}
    config = replace(config, **models)
    run(directory, config)
    (own / "generation_config.json").write_text("{}")
    assert run(directory, config)[0] == list(BOTH)


def test_a_run_that_has_them_no_more_has_the_bundle_of_before(
    directory: Path, config: RunConfig, finished_run: FinishedRun
) -> None:
    run(directory, config)
    worked, bundle = run(directory, finished_run.config)
    assert worked == []
    assert bundle.id == finished_run.bundle.id


def test_one_is_trained_from_the_data_on(directory: Path, config: RunConfig) -> None:
    shutil.rmtree(directory / "cf")
    lines: list[str] = []
    Pipeline(directory, config, lines.append).further("hatllm")
    assert [line for line in lines if line.endswith(("done", "reused", "trained"))] == [
        "data: unchanged, reused",
        "  hatllm: trained",
        "hatllm: done",
        "parts/hatllm: done",
    ]


def test_ulmrec_is_trained_from_the_cf_model_on(
    directory: Path, finished_run: FinishedRun, backbone_directory: Path
) -> None:
    config = with_ulmrec(finished_run.config, backbone_directory)
    shutil.rmtree(directory / "communities")
    lines: list[str] = []
    Pipeline(directory, config, lines.append).further("ulmrec")
    stages = [line for line in lines if line.endswith(("done", "reused", "trained"))]
    assert stages == [
        "data: unchanged, reused",
        "cf: unchanged, reused",
        "  ulmrec: trained",
        "ulmrec: done",
        "parts/ulmrec: done",
    ]
    assert further.exported(directory, "ulmrec").spec == ULMREC


def test_another_table_of_texts_trains_ulmrec_again(
    directory: Path, finished_run: FinishedRun, backbone_directory: Path, tmp_path: Path
) -> None:
    texts = tmp_path / "texts.csv"
    texts.write_text("user_id,text\nu00,red\n")
    config = with_ulmrec(finished_run.config, backbone_directory)
    assert config.ulmrec is not None
    config = replace(config, ulmrec=replace(config.ulmrec, user_texts=str(texts)))
    for trained in (True, False):
        lines: list[str] = []
        Pipeline(directory, config, lines.append).further("ulmrec")
        assert ("ulmrec: done" in lines) is trained
    texts.write_text("user_id,text\nu00,blue\n")
    Pipeline(directory, config, lines.append).further("ulmrec")
    assert "ulmrec: done" in lines


def test_interrupted_training_goes_on_from_its_files(directory: Path, config: RunConfig, trainer: Trainer) -> None:
    trainer.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        Pipeline(directory, config, lambda line: None).further("collm")
    Pipeline(directory, config, lambda line: None).further("collm")
    assert trainer.found == [[], ["half"]]


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("collm", {"layers": 5}, r"collm\.layers: 5 is out of range; expected at most 4"),
        ("collm", {"backbone": "/nowhere"}, "backbone: '/nowhere'"),
        ("collm", {"cf": "din"}, r"collm\.cf: 'din' cannot be served"),
        ("hatllm", {"layers": 5}, r"hatllm\.layers: 5 is out of range; expected at most 4"),
        ("hatllm", {"intra_layers": 4}, r"hatllm\.intra_layers, cross_layers: 4 \+ 1"),
        ("hatllm", {"text_encoder": "/nowhere"}, "/nowhere"),
        ("ulmrec", {"layers": 5}, r"ulmrec\.layers: 5 is out of range; expected at most 4"),
        ("ulmrec", {"index": "none"}, r"ulmrec\.index: 'none' is there to be compared with"),
        ("ulmrec", {"text_encoder": "/nowhere"}, "/nowhere"),
    ],
)
def test_what_the_backbone_has_not_is_said_before_any_stage(
    directory: Path,
    config: RunConfig,
    backbone_directory: Path,
    part: str,
    changes: dict[str, object],
    message: str,
) -> None:
    lines: list[str] = []
    config = with_ulmrec(config, backbone_directory)
    wrong = replace(config, **{part: replace(getattr(config, part), **changes)})
    with pytest.raises(ConfigError, match=message):
        Pipeline(directory, wrong, lines.append).run()
    assert lines == []
