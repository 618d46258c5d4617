"""What is exported ranks as what was trained."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.backbones import write_backbone
from support.l2rec import USER_SIZE, TrainedL2Rec, random_cf

from models.contract.bundle import hash_files
from models.contract.errors import BundleError
from models.contract.l2rec import EXPERTS_CONFIG, PART, L2RecLayout
from models.contract.probe import BASE, load_probe
from models.contract.prompts import TitleTokens
from models.contract.specs import L2RecSpec
from models.papers.l2rec.export import export_part
from models.papers.l2rec.scoring import L2RecScorer
from models.types import Sequences


@pytest.fixture(scope="module")
def part(trained: TrainedL2Rec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("part") / PART
    spec = export_part(trained.directory, directory)
    start = len(TitleTokens.load(directory).start)
    assert spec == L2RecSpec(Path(trained.config.backbone).name, 4, USER_SIZE, 4, start + 4 * 3)
    return directory


@pytest.fixture(scope="module")
def scorer(part: Path, trained: TrainedL2Rec) -> L2RecScorer:
    return L2RecScorer.load(part, trained.data.cf)


def test_the_exported_model_scores_as_the_trained_one(scorer: L2RecScorer, trained: TrainedL2Rec) -> None:
    histories = trained.data.dataset.examples("test").histories
    np.testing.assert_allclose(scorer.scores(histories), trained.model.scores(histories), atol=0.02)  # bfloat16
    np.testing.assert_allclose(np.linalg.norm(scorer.states(histories), axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(scorer.item_rows, axis=1), 1, atol=1e-5)


def test_scores_do_not_depend_on_who_else_is_asked_for(scorer: L2RecScorer, trained: TrainedL2Rec) -> None:
    histories = trained.data.dataset.full
    one = scorer.scores(Sequences.of([histories[3][:1]]))[0]
    among = scorer.scores(Sequences.of([histories[0], histories[3][:1], histories[5]]))[1]
    np.testing.assert_allclose(one, among, atol=1e-5)


def test_after_nothing_there_is_nothing(scorer: L2RecScorer) -> None:
    scores = scorer.scores(Sequences.of([np.empty(0, np.int32), np.asarray([1], np.int32)]))
    assert np.isneginf(scores[0]).all()
    assert np.isfinite(scores[1]).all()


def test_the_checkpoint_tells_how_prompts_are_read(part: Path) -> None:
    described = json.loads((part / "checkpoint/config.json").read_text())["l2rec"]
    titles = TitleTokens.load(part)
    assert L2RecLayout.of_config(described) == L2RecLayout(len(titles.start), int(titles.ids[-1]))
    assert described["history_length"] == 4


def test_checkpoints_differ_where_the_base_models_answers_do(part: Path, trained: TrainedL2Rec, tmp_path: Path) -> None:
    other = Path(shutil.copytree(trained.directory, tmp_path / "trained"))
    experts = other / EXPERTS_CONFIG
    pooling = json.loads(experts.read_text())["pooling"]
    experts.write_text(experts.read_text().replace(f'"{pooling}"', '"mean"' if pooling == "last" else '"last"'))
    export_part(other, tmp_path / PART)
    given, changed = hash_files(part / "checkpoint"), hash_files(tmp_path / PART / "checkpoint")
    assert {name for name in given if given[name] != changed[name]} == {"config.json"}


def test_the_probe_holds_the_user_and_both_lists(part: Path, scorer: L2RecScorer) -> None:
    probe = load_probe(part, [PART])
    assert probe.embedding is not None
    expected = scorer.cf.fold_in(probe.history).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(probe.embedding, expected)
    assert probe.prompt.tolist() == scorer.reader.prompts.prompt(probe.history)
    assert probe.complaint(PART, probe.lists[PART]) == ""
    assert "the base model" in probe.complaint(PART, probe.lists[BASE])


def test_an_unfinished_training_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no L2Rec that is trained"):
        export_part(tmp_path, tmp_path / "part")


@pytest.mark.parametrize("cf", [random_cf(19), random_cf(20, user_size=5)])
def test_users_of_another_model_are_refused(part: Path, cf: object) -> None:
    with pytest.raises(BundleError, match="knows 20 items, and users by 6 numbers; the CF model has"):
        L2RecScorer.load(part, cf)  # type: ignore[arg-type]


def test_what_is_no_part_is_refused(part: Path, tmp_path: Path, trained: TrainedL2Rec) -> None:
    TitleTokens.load(part).save(tmp_path)
    write_backbone(tmp_path / "checkpoint")
    with pytest.raises(BundleError, match="no L2Rec: KeyError"):
        L2RecScorer.load(tmp_path, trained.data.cf)
