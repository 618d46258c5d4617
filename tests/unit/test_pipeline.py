import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from support.runs import N_COMMUNITIES, FinishedRun

from models.contract.affinity import affinities
from models.contract.bundle import Bundle, verify_bundle
from models.contract.selection import FusionSettings
from models.data.prepare import DataConfig
from models.evaluation.metrics import NO_ITEM
from models.llm.training import FitState
from models.papers.l3rec.config import L3RecConfig
from models.pipeline import Pipeline
from models.ranking.answers import VoterLists
from models.run import RunConfig
from models.training.divergence import TrainingError, check_loss
from models.training.jobs import Executor, InProcess

LOCAL = tuple(f"local/c{number:02d}" for number in range(N_COMMUNITIES))
RANKINGS = ("rankings/before", "rankings/valid")
STAGES = ("data", "cf", "communities", "items", "global", *LOCAL, *RANKINGS, "serving", "probe")


@pytest.fixture
def directory(finished_run: FinishedRun, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return shutil.copytree(finished_run.directory, tmp_path / "run")


def run(directory: Path, config: RunConfig) -> tuple[list[str], list[str], Bundle]:
    """Stages that worked, stages that were reused, and the bundle."""
    lines: list[str] = []
    bundle = Pipeline(directory, config, lines.append).run()
    worked = [stage for stage in STAGES if f"{stage}: done" in lines]
    reused = [stage for stage in STAGES if f"{stage}: unchanged, reused" in lines]
    return worked, reused, bundle


def with_local(config: RunConfig, **changes: object) -> RunConfig:
    local: L3RecConfig = replace(config.local, **changes)
    return replace(config, local=local)


def test_a_run_goes_from_csv_files_to_a_verified_bundle(finished_run: FinishedRun) -> None:
    done = [line for line in finished_run.reports if line.endswith(": done")]
    assert done == [f"{stage}: done" for stage in STAGES]
    assert finished_run.reports[-1] == f"bundle {finished_run.bundle.id}"
    bundle = verify_bundle(finished_run.bundle.directory)
    assert bundle.manifest.model.adapters == ("global", "c00", "c01")
    assert bundle.manifest.data_statistics["n_users"] == 40
    assert bundle.manifest.config["local"]["text_size"] == 16
    tried = bundle.manifest.metrics["fusion on validation, NDCG@10"]
    best = max(tried, key=lambda t: t["ndcg"])["settings"]
    assert len([t for t in tried if not t["settings"]["others"]]) == 8
    assert bundle.manifest.serving.fusion() == msgspec.convert(best, FusionSettings)


def test_a_second_run_reuses_every_stage(finished_run: FinishedRun, directory: Path) -> None:
    worked, reused, bundle = run(directory, finished_run.config)
    assert worked == []
    assert reused == list(STAGES)
    assert bundle.id == finished_run.bundle.id
    assert [path.name for path in (directory / "bundles").iterdir()] == [bundle.id]


def test_a_run_from_before_a_setting_existed_is_reused_until_somebody_sets_it(
    finished_run: FinishedRun, directory: Path
) -> None:
    for record in directory.rglob("stage.json"):
        document = json.loads(record.read_text())
        for config in (document["config"], document["config"].get("local", {})):
            config.pop("lora_targets", None)
            config.pop("adapted_layers", None)
        record.write_text(json.dumps(document))
    assert run(directory, finished_run.config)[0] == []
    pipeline = Pipeline(directory, with_local(finished_run.config, lora_targets=("q_proj",)), lambda line: None)
    pipeline.run_until(pipeline.global_model)
    assert json.loads((directory / "global" / "stage.json").read_text())["config"]["lora_targets"] == ["q_proj"]


def test_a_key_of_local_training_reruns_the_local_adapters_and_what_follows(
    finished_run: FinishedRun, directory: Path
) -> None:
    worked, reused, bundle = run(directory, with_local(finished_run.config, local_learning_rate=0.02))
    assert worked == [*LOCAL, *RANKINGS, "serving", "probe"]
    assert reused == ["data", "cf", "communities", "items", "global"]
    assert bundle.id != finished_run.bundle.id
    verify_bundle(bundle.directory)
    verify_bundle(directory / "bundles" / finished_run.bundle.id)  # the one before is still there


def test_affinity_weighting_is_a_matter_of_local_training(finished_run: FinishedRun, directory: Path) -> None:
    worked, _, _ = run(directory, with_local(finished_run.config, affinity_weighted=False))
    assert worked == [*LOCAL, *RANKINGS, "serving", "probe"]


def test_a_key_of_global_training_reruns_from_there(finished_run: FinishedRun, directory: Path) -> None:
    worked, reused, _ = run(directory, with_local(finished_run.config, learning_rate=1e-3))
    assert worked == ["global", *LOCAL, *RANKINGS, "serving", "probe"]
    assert reused == ["data", "cf", "communities", "items"]


def test_fusion_settings_rerun_their_choice_only(finished_run: FinishedRun, directory: Path) -> None:
    config = replace(finished_run.config, serving=replace(finished_run.config.serving, candidates=15))
    worked, _, bundle = run(directory, config)
    assert worked == ["serving"]  # what more candidates need is in the lists that are there
    assert bundle.manifest.serving.candidates == 15
    assert bundle.id != finished_run.bundle.id  # the same files, but served otherwise


def test_a_setting_of_a_baseline_reruns_nothing(finished_run: FinishedRun, directory: Path) -> None:
    config = replace(finished_run.config, sasrec=replace(finished_run.config.sasrec, epochs=3))
    worked, _, bundle = run(directory, config)
    assert worked == []
    assert bundle.id == finished_run.bundle.id


def with_communities(config: RunConfig, **changes: object) -> RunConfig:
    return replace(config, communities=replace(config.communities, **changes))


def test_the_bandwidth_of_inference_reruns_the_choice_of_fusion_only(
    finished_run: FinishedRun, directory: Path
) -> None:
    worked, _, bundle = run(directory, with_communities(finished_run.config, inference_bandwidth=0.5))
    assert worked == [*RANKINGS, "serving"]
    assert bundle.manifest.bandwidth == 0.5
    assert finished_run.bundle.manifest.bandwidth == finished_run.config.communities.bandwidth


def test_communities_of_users_and_items_leave_the_items_affinities(finished_run: FinishedRun, directory: Path) -> None:
    config = with_communities(
        replace(finished_run.config, task="top-n"), assignment="user-item", kernel="gaussian", bandwidth=1.0
    )
    pipeline = Pipeline(directory, config, lambda line: None)
    pipeline.run_until(pipeline.communities)
    anchors = load_file(directory / "communities" / "communities.safetensors")["anchors"]
    expected = affinities(anchors, pipeline.results.cf_model().item_factors, 1.0, "gaussian")
    np.testing.assert_array_equal(pipeline.results.item_affinities(), expected)
    bundle = pipeline.run()
    own = load_file(bundle.path("communities.safetensors"))["items"]
    np.testing.assert_array_equal(own, expected > 0)
    lists, column = VoterLists.load(directory / "rankings" / "valid"), 0
    best = lists.items[:, column][lists.items[:, column] != NO_ITEM]
    assert len(best)
    assert own[best, column].all()
    assert Pipeline(directory, finished_run.config, lambda line: None).results.item_affinities() is None


def test_a_stage_whose_training_diverges_keeps_the_batch(finished_run: FinishedRun, directory: Path) -> None:
    def work(_: Path) -> None:
        check_loss(float("nan"), "epoch 1 of a baseline", {"items": torch.arange(3)})

    pipeline = Pipeline(directory, finished_run.config, lambda line: None)
    with pytest.raises(TrainingError, match=r"epoch 1 of a baseline.*failed_batch\.safetensors$"):
        pipeline.stage("lists/sasrec", 1, {}, {}, work)
    kept = load_file(directory / "lists" / "sasrec" / "failed_batch.safetensors")
    assert kept["items"].tolist() == [0, 1, 2]


def test_changed_tables_rerun_everything(finished_run: FinishedRun, directory: Path, tmp_path: Path) -> None:
    data: DataConfig = finished_run.config.data
    changed = tmp_path / "changed.csv"
    changed.write_text(Path(data.interactions).read_text().replace("u01,", "u99,"))
    worked, _, _ = run(directory, replace(finished_run.config, data=replace(data, interactions=str(changed))))
    assert worked == list(STAGES)


def test_a_damaged_output_is_made_again(finished_run: FinishedRun, directory: Path) -> None:
    adapter = directory / "local" / "c01" / "adapter" / "adapter_model.safetensors"
    adapter.write_bytes(b"damaged")
    worked, _, bundle = run(directory, finished_run.config)
    assert worked == ["local/c01"]
    assert bundle.id == finished_run.bundle.id  # made again, it is what it was


def test_another_backbone_under_the_same_name_is_noticed(
    finished_run: FinishedRun, directory: Path, tmp_path: Path
) -> None:
    backbone = shutil.copytree(finished_run.config.local.backbone, tmp_path / "backbone")
    config = replace(finished_run.config, local=replace(finished_run.config.local, backbone=str(backbone)))
    run(directory, config)
    tokenizer = backbone / "tokenizer_config.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    worked, reused, _ = run(directory, config)
    assert worked[:2] == ["items", "global"]
    assert reused[:3] == ["data", "cf", "communities"]


def test_an_interrupted_local_training_goes_on_with_the_next_run(
    finished_run: FinishedRun, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(directory / "local")
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        if "c01: epoch 3" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pipeline(directory, finished_run.config, report).run()
    lines.clear()
    bundle = Pipeline(directory, finished_run.config, lines.append).run()
    assert "local/c00: unchanged, reused" in lines
    assert [line.split()[2] for line in lines if "c01: epoch" in line] == ["4/5", "5/5"]
    assert bundle.id == finished_run.bundle.id
    assert not list(directory.glob("local/*/fit_*"))


def test_a_worker_finds_the_backbone_from_any_directory_and_records_it_as_configured(
    finished_run: FinishedRun, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, found = Path(finished_run.config.local.backbone), []

    @contextmanager
    def elsewhere(n_jobs: int) -> Iterator[Executor]:
        monkeypatch.chdir(tmp_path)
        yield InProcess(lambda line: None)

    def train(config: L3RecConfig, *_: object, **__: object) -> FitState:
        found.append(Path(config.backbone))
        return FitState(best=0.5)

    monkeypatch.setattr("models.pipeline.forms.train_local", train)
    monkeypatch.chdir(backbone.parent)
    config = with_local(finished_run.config, backbone=backbone.name)
    Pipeline(directory, config, lambda line: None, open_executor=elsewhere).local()
    assert found == [backbone, backbone]
    for stage in LOCAL:
        assert (
            json.loads((directory / stage / "stage.json").read_text())["config"]["local"]["backbone"] == backbone.name
        )


def test_stages_of_the_system_are_inputs_of_what_ranks(finished_run: FinishedRun) -> None:
    inputs = Pipeline(finished_run.directory, finished_run.config, lambda line: None).ranking_inputs()
    assert set(inputs) == {"data", "cf", "communities", "global", "c00", "c01"}
    assert all((path / "stage.json").exists() for path in inputs.values())
