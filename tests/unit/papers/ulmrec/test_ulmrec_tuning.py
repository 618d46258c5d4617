"""What tuning moves, what its loss is of, and that it goes on where it was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.ulmrec import CODES, LEVELS, ranking_data
from torch.nn import functional as F

from models.contract.errors import ConfigError, DataError
from models.contract.types import Floats
from models.evaluation.metrics import NO_ITEM
from models.llm.backbone import Backbone
from models.llm.training import IGNORED, TARGETS
from models.papers.ulmrec import tuning
from models.papers.ulmrec.config import ULMRecConfig, check_models
from models.papers.ulmrec.data import Candidates
from models.papers.ulmrec.model import ULMRec, new_model
from models.papers.ulmrec.prompts import ulmrec_prompts
from models.papers.ulmrec.tasks import Prompted, TaskPrompts, Texts
from models.papers.ulmrec.tuning import (
    DESCRIPTION,
    RankingTask,
    as_batch,
    candidate_ranks,
    fit_ulmrec,
    indexed_users,
)
from models.training.device import full_precision

DATA = ranking_data()
VALID = DATA.dataset.examples("valid")


def untrained(backbone: Backbone, config: ULMRecConfig) -> tuple[ULMRec, TaskPrompts]:
    prompts = ulmrec_prompts(backbone, DATA.dataset.catalogue.items, config, indexed_users(config, DATA))
    texts = Texts.of(backbone, prompts, config, DATA)
    return new_model(backbone, prompts, texts.index, config), TaskPrompts(backbone, prompts, texts, DATA, config)


def scores(model: ULMRec) -> Floats:
    return model.letter_scores(VALID.histories, DATA.valid.items, VALID.users, exact=True)


def test_a_batch_predicts_the_responses_alone() -> None:
    letter = Prompted(np.asarray([5, 6, 7, 8], np.int32), 1, 3)
    text = Prompted(np.asarray([5, 9, 10, 11, 12], np.int32), 3)
    batch = as_batch([letter, text])
    assert batch["tokens"].tolist() == [[5, 6, 7, 0], [5, 9, 10, 11]]
    assert batch[TARGETS].tolist() == [[IGNORED, IGNORED, 8, IGNORED], [IGNORED, 10, 11, 12]]
    assert batch["letters"].tolist() == [3, 0]


def test_the_loss_is_each_responses_own(ranker: Backbone, tiny: ULMRecConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "mixed_precision", full_precision)
    config = replace(tiny, candidates=4)
    model, prompts = untrained(ranker, config)
    task = RankingTask(config, model, prompts, DATA)
    letter, text = prompts.prompt("next-item", 8, 0), prompts.prompt("history-index", 2, 1)

    def logits(prompted: Prompted) -> torch.Tensor:
        tokens = torch.from_numpy(prompted.tokens[:-1]).long()[None]
        return model.logits(model.states(tokens, torch.ones_like(tokens, dtype=torch.bool)))

    answers = torch.from_numpy(model.prompts.answers).long()
    place = (answers == int(letter.tokens[-1])).nonzero()
    of_letter = -F.log_softmax(logits(letter)[-1, answers], dim=0)[place].item()
    wanted = torch.from_numpy(text.tokens[-LEVELS:]).long()
    of_text = F.cross_entropy(logits(text)[-LEVELS:], wanted).item()
    assert int(wanted.min()) >= model.prompts.n_words

    with torch.no_grad():
        found = [task.loss(as_batch(each)).item() for each in ([letter], [text], [letter, text])]
    np.testing.assert_allclose(found, [of_letter, of_text, (of_letter + of_text) / 2], rtol=1e-4)


def test_letters_that_a_prompt_lacks_take_no_part(ranker: Backbone, tiny: ULMRecConfig) -> None:
    model, prompts = untrained(ranker, tiny)
    task = RankingTask(tiny, model, prompts, DATA)
    letter = prompts.prompt("next-item", 8, 0)
    only = replace(letter, tokens=np.append(letter.tokens[:-1], model.prompts.answers[0]), n_letters=1)
    with torch.no_grad():
        assert task.loss(as_batch([only])).item() == 0


def test_adapter_and_the_index_tokens_that_were_met_move_and_nothing_else(
    ranker: Backbone, tiny: ULMRecConfig, tmp_path: Path
) -> None:
    config = replace(tiny, steps=2, task_weights=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    before, prompts = untrained(ranker, config)
    task = RankingTask(config, before, prompts, DATA)
    told = {t for batch in task.batches(0) for t in batch["tokens"].flatten().tolist() if t >= before.prompts.n_words}
    start = {name: p.detach().clone() for name, p in before.named_parameters()}
    tuned = fit_ulmrec(config, DATA, tmp_path, lambda _: None, ranker)

    trained = [name for name, p in tuned.named_parameters() if p.requires_grad]
    assert trained[0] == "index_rows"
    assert all("q_proj.lora_" in name or "v_proj.lora_" in name for name in trained[1:])
    assert len(trained) == 1 + 2 * 2 * config.layers  # type: ignore[operator]
    for name, parameter in tuned.named_parameters():
        if name not in trained:
            assert torch.equal(parameter, start[name]), name
    rows = (tuned.index_rows.detach() != start["index_rows"]).any(dim=1)
    assert set((rows.nonzero()[:, 0] + before.prompts.n_words).tolist()) <= told
    assert 0 < len(told) < LEVELS * CODES


def test_tuning_learns_what_it_is_shown(ranker: Backbone, tiny: ULMRecConfig) -> None:
    model, prompts = untrained(ranker, replace(tiny, lora_dropout=0.0))
    task = RankingTask(tiny, model, prompts, DATA)
    batch = as_batch([prompts.prompt("next-item", place, place) for place in (8, 14, 20)])
    optimizer = torch.optim.AdamW(task.parameter_groups())
    losses = []
    for _ in range(25):
        loss = task.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_interrupted_tuning_ends_where_an_uninterrupted_one_does(
    ranker: Backbone, tiny: ULMRecConfig, tmp_path: Path
) -> None:
    lines: list[str] = []
    whole = fit_ulmrec(tiny, DATA, tmp_path / "whole", lines.append, ranker)
    assert lines[0] == "left out, for lack of data: rating"

    def interrupt(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_ulmrec(tiny, DATA, tmp_path / "cut", interrupt, ranker)
    again: list[str] = []
    resumed = fit_ulmrec(tiny, DATA, tmp_path / "cut", again.append, ranker)
    assert again == [lines[0], *lines[3:]]
    np.testing.assert_array_equal(scores(resumed), scores(whole))


def test_a_second_call_only_reads(ranker: Backbone, tiny: ULMRecConfig, tmp_path: Path) -> None:
    first = fit_ulmrec(tiny, DATA, tmp_path, lambda _: None, ranker)
    written = (tmp_path / DESCRIPTION).stat().st_mtime_ns
    lines: list[str] = []
    second = fit_ulmrec(tiny, DATA, tmp_path, lines.append, ranker)
    assert not lines
    assert (tmp_path / DESCRIPTION).stat().st_mtime_ns == written
    assert {path.name for path in tmp_path.iterdir()} == {"adapter", "index_rows.safetensors", DESCRIPTION}
    np.testing.assert_array_equal(scores(second), scores(first))


@pytest.mark.parametrize("index", ["numerical", "none"])
def test_variants_have_no_index_tokens(ranker: Backbone, tiny: ULMRecConfig, tmp_path: Path, index: str) -> None:
    config = replace(tiny, index=index, steps=2)
    model = fit_ulmrec(config, replace(DATA, index=None), tmp_path, lambda _: None, ranker)
    assert model.index_rows.shape[0] == 0
    known = scores(model)
    unknown = model.letter_scores(VALID.histories, DATA.valid.items, None, exact=True)
    assert (known == unknown).all() == (index == "none")


def test_scores_of_fewer_candidates(ranker: Backbone, tiny: ULMRecConfig) -> None:
    model, _ = untrained(ranker, tiny)
    three = DATA.valid.items[:, :3]
    padded = np.concatenate([three, np.full((len(three), 2), NO_ITEM, np.int32)], axis=1)
    found = model.letter_scores(VALID.histories, padded, VALID.users, exact=True)
    np.testing.assert_allclose(
        found[:, :3], model.letter_scores(VALID.histories, three, VALID.users, exact=True), atol=1e-5
    )
    assert np.isneginf(found[:, 3:]).all()


def test_the_index_tells_users_of_one_history_apart(ranker: Backbone, tiny: ULMRecConfig) -> None:
    model, _ = untrained(ranker, tiny)
    rows = np.zeros(2, np.int64)
    nothing = VALID.histories.take(rows).keep(np.zeros(20, np.bool_))
    one, other = model.letter_scores(nothing, DATA.valid.items[rows], np.asarray([0, 1]), exact=True)
    assert np.abs(one - other).max() > 1e-3


def test_ranks_among_candidates() -> None:
    candidates = np.asarray([[4, 7, 9], [4, 7, 9], [4, 7, NO_ITEM]], np.int32)
    scores = np.asarray([[1, 3, 2], [1, 1, 1], [1, 3, -np.inf]], np.float32)
    assert candidate_ranks(scores, candidates, np.asarray([9, 7, 9], np.int32)).tolist() == [2, 2, np.inf]


def test_no_validation_example_is_refused(ranker: Backbone, tiny: ULMRecConfig, tmp_path: Path) -> None:
    nothing = Candidates(np.empty(0, np.int64), np.empty((0, 6), np.int32))
    with pytest.raises(DataError, match="finds no validation example's target"):
        fit_ulmrec(tiny, replace(DATA, valid=nothing), tmp_path, print, ranker)


def test_more_layers_than_there_are_is_refused(tiny: ULMRecConfig) -> None:
    with pytest.raises(ConfigError, match=r"ulmrec\.layers: 4 is out of range; expected at most 3"):
        check_models(replace(tiny, layers=4))
