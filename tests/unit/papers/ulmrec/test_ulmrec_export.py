"""The part of a bundle answers as the model that was tuned."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.runs import FinishedRun
from support.ulmrec import CODES, LEVELS, ranking_data, tiny_ulmrec

from models.contract.errors import BundleError, ConfigError
from models.contract.probe import BASE, load_probe
from models.contract.specs import ULMRecSpec
from models.contract.types import Floats, Ints, item_numbers
from models.contract.ulmrec import PART, ULMRecPrompts
from models.evaluation.metrics import NO_ITEM
from models.llm.backbone import Backbone
from models.papers.ulmrec.config import ULMRecConfig
from models.papers.ulmrec.export import ULMRecScorer, cf_lists, export_part, train_ulmrec, valid_candidates, write_part
from models.papers.ulmrec.tuning import fit_ulmrec
from models.pipeline import Pipeline
from models.ranking.rerank import Reranker
from models.types import Sequences

DATA = ranking_data()
VALID = DATA.dataset.examples("valid")


@dataclass(frozen=True)
class Written:
    """A part, and what its model had said of validation candidates before."""

    directory: Path
    spec: ULMRecSpec
    scores: Floats


@pytest.fixture(scope="module")
def written(tiny: ULMRecConfig, ranker: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Of a model whose adapter has moved far."""
    assert DATA.index is not None
    directory = tmp_path_factory.mktemp("part") / PART
    model = fit_ulmrec(tiny, DATA, tmp_path_factory.mktemp("tuned"), lambda _: None, ranker)
    with torch.no_grad():
        for parameter in model.adapter_parameters():
            parameter.copy_(torch.linspace(-0.5, 0.5, parameter.numel()).view_as(parameter))
    scores = model.letter_scores(VALID.histories, DATA.valid.items, VALID.users, exact=True)
    spec = write_part(tiny, ranker, model, DATA.index.indexer, DATA.dataset, directory)
    return Written(directory, spec, scores)


def test_plain_transformers_and_peft_give_the_models_scores(written: Written) -> None:
    scorer = ULMRecScorer(written.directory)
    users = [DATA.dataset.user_ids[row] for row in VALID.users]
    found = [scorer.rate(VALID.histories[row], DATA.valid.items[row], user) for row, user in enumerate(users)]
    np.testing.assert_allclose(found, written.scores, atol=1e-4)


def test_who_was_not_there_has_the_index_that_the_history_gives(written: Written) -> None:
    assert DATA.index is not None
    scorer, one, candidates = ULMRecScorer(written.directory), item_numbers([4]), item_numbers([0, 1, 2])
    found = scorer.rate(one, candidates, "somebody")
    index = DATA.index.indexer.index("somebody", one)
    np.testing.assert_array_equal(found, scorer.scores(one, candidates, index))
    assert np.abs(found - scorer.scores(one, candidates, None)).max() > 1e-4
    assert scorer.rate(one, candidates, None).shape == (3,)


def test_an_empty_history_gives_no_index_and_still_ranks(written: Written) -> None:
    scorer, nothing, candidates = ULMRecScorer(written.directory), item_numbers([]), item_numbers([0, 1, 2])
    np.testing.assert_array_equal(
        scorer.rate(nothing, candidates, "somebody"), scorer.scores(nothing, candidates, None)
    )


def test_more_candidates_than_letters_are_refused_and_none_need_no_model(written: Written) -> None:
    scorer = ULMRecScorer(written.directory)
    with pytest.raises(ValueError, match="7 candidates; expected 1 to 6"):
        scorer.rate(item_numbers([0]), item_numbers(range(7)), "u00")
    assert len(scorer.rate(item_numbers([0]), item_numbers([]), "u00")) == 0


def test_the_spec_says_what_workers_must_know(written: Written, ranker_directory: Path) -> None:
    prompts = ULMRecPrompts.load(written.directory)
    assert written.spec == ULMRecSpec(ranker_directory.name, candidates=6, lora_rank=2, max_tokens=prompts.longest)
    assert (prompts.levels, prompts.codes, len(prompts.users)) == (LEVELS, CODES, 40)
    base = ULMRecScorer(written.directory)._model.get_base_model()
    assert base.get_input_embeddings().weight.shape[0] == prompts.vocabulary_size
    assert base.get_output_embeddings().weight is base.get_input_embeddings().weight


def test_the_probe_tells_the_adapter_from_the_base_model(written: Written) -> None:
    probe, scorer = load_probe(written.directory, [PART]), ULMRecScorer(written.directory)
    assert probe.user is not None
    assert not set(probe.lists[PART].items) & set(probe.history)
    by_number = np.argsort(probe.lists[PART].items)
    shown = probe.lists[PART].items[by_number]
    answers = scorer.scores(probe.history, shown, scorer.prompts.indices[probe.user])
    np.testing.assert_allclose(answers, probe.lists[PART].scores[by_number], atol=1e-5)
    assert not probe.complaint(PART, probe.lists[PART])
    assert probe.complaint(PART, probe.lists[BASE])


@pytest.fixture(scope="module")
def run(finished_run: FinishedRun, ranker_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A run that has ULMRec, trained."""
    directory = shutil.copytree(finished_run.directory, tmp_path_factory.mktemp("whole") / "run")
    lines: list[str] = []
    pipeline = Pipeline(directory, replace(finished_run.config, ulmrec=tiny_ulmrec(ranker_directory)), lines.append)
    pipeline.further(PART)
    assert "  ulmrec: preferences: template of titles of train items and their categories" in lines
    return pipeline


def test_a_run_trains_and_exports_it(run: Pipeline, tmp_path: Path) -> None:
    export_part(run.directory / PART, tmp_path / PART)
    weights = Path("checkpoint/model.safetensors")
    assert (tmp_path / PART / weights).samefile(run.directory / PART / "part" / weights)
    scorer = ULMRecScorer(run.directory / "parts" / PART / "files")
    dataset = run.results.dataset()
    test = dataset.examples("test")
    lists = Reranker(run.results.system(), scorer.rate, 6).lists(test.histories, [dataset.user_ids[0]] * len(test), 6)
    found = cf_lists(run.results.cf_model(), test.histories, 6)
    assert [set(row) for row in lists.tolist()] == [set(row) for row in found.tolist()]
    assert lists.tolist() != found.tolist()


def test_training_again_does_nothing_again(run: Pipeline) -> None:
    directory = run.directory / PART
    before = (directory / "tuned" / "ulmrec.json").stat().st_mtime_ns
    assert run.config.ulmrec is not None
    dataset, cf = run.results.dataset(), run.results.cf_model()
    train_ulmrec(run.config.ulmrec, dataset, cf, directory, lambda _: None)
    assert (directory / "tuned" / "ulmrec.json").stat().st_mtime_ns == before


def test_validation_is_within_what_the_service_would_find(run: Pipeline) -> None:
    dataset, cf = run.results.dataset(), run.results.cf_model()
    found = valid_candidates(cf, dataset, 6)
    valid = dataset.examples("valid")
    assert 0 < len(found) < len(valid)
    for row, items in zip(found.rows.tolist(), found.items, strict=True):
        assert valid.targets[row] in items
        assert items.tolist() == _best(run, valid.histories[row])


def _best(run: Pipeline, history: Ints) -> list[int]:
    """The service's candidates of one user."""
    system = run.results.system()
    profile = system.profiles(Sequences.of([history]))[0]
    found: list[int] = system.cf.recommend(profile.embedding, 6, np.unique(history)).items.tolist()
    return found


def test_where_the_catalogue_ends_there_are_fewer_candidates(run: Pipeline) -> None:
    lists = cf_lists(run.results.cf_model(), Sequences.of([item_numbers(range(18))]), 6)
    assert sorted(lists[0].tolist()) == [NO_ITEM] * 4 + [18, 19]


@pytest.mark.parametrize("index", ["numerical", "original", "none"])
def test_what_has_no_index_tokens_is_not_served(run: Pipeline, index: str, tmp_path: Path) -> None:
    assert run.config.ulmrec is not None
    config, dataset, cf = replace(run.config.ulmrec, index=index), run.results.dataset(), run.results.cf_model()
    with pytest.raises(ConfigError, match=rf"ulmrec\.index: '{index}' is there to be compared with"):
        train_ulmrec(config, dataset, cf, tmp_path, print)


def test_a_training_that_is_not_over_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no ULMRec that is trained"):
        export_part(tmp_path, tmp_path / PART)
