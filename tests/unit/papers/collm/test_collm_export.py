"""The part of a bundle answers as the model that was tuned."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest
import torch
from support.collm import colour_data, tiny_collm, write_reader

from models.contract.collm import PART, CoLLMPrompts
from models.contract.errors import BundleError, ConfigError
from models.contract.probe import BASE, load_probe
from models.contract.specs import CoLLMSpec
from models.data.labelled import LabelledPairs
from models.papers.collm.config import CoLLMConfig
from models.papers.collm.export import SPEC, CoLLMScorer, export_part, histories_after, train_collm
from models.papers.collm.task import scores_of
from models.papers.collm.tuning import Inputs, feature_model
from models.types import Sequences

DATA = colour_data()


@pytest.fixture(scope="module", params=["mf", "sasrec", "lightgcn"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[CoLLMConfig, Path]:
    config = replace(tiny_collm(write_reader(tmp_path_factory.mktemp("reader"))), cf=request.param)
    directory = tmp_path_factory.mktemp("trained")
    train_collm(config, DATA, directory, print)
    return config, directory


def test_plain_transformers_and_peft_give_the_models_logits(trained: tuple[CoLLMConfig, Path], tmp_path: Path) -> None:
    config, directory = trained
    spec = export_part(directory, tmp_path / PART)
    scorer = CoLLMScorer(tmp_path / PART, spec.answer_token)
    inputs = Inputs.read(config, DATA)
    model = feature_model(config, inputs, directory / "cf", directory / "text", directory / "features")
    pairs = DATA.test if config.cf != "sasrec" else _after_training()
    expected = scores_of(model, inputs.prompted(pairs, model), torch.device("cpu"), exact=True)
    found = [
        scorer.scores(pairs.histories[row], pairs.items[row : row + 1], scorer.prompts.user_row(f"u{user}"))[0]
        for row, user in enumerate(pairs.users.tolist())
    ]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_candidates_score_as_they_do_alone(trained: tuple[CoLLMConfig, Path]) -> None:
    scorer = _scorer(trained[1])
    history, candidates = [0, 1, 2], [*range(scorer.prompts.n_items)] * 3  # more than are scored at once
    for user in (0, None):
        alone = [scorer.scores(history, [item], user)[0] for item in candidates]
        np.testing.assert_allclose(scorer.scores(history, candidates, user), alone, atol=1e-5)
    assert len(scorer.scores(history, [], 0)) == 0


def test_the_history_is_read_once(trained: tuple[CoLLMConfig, Path]) -> None:
    scorer = _scorer(trained[1])
    read: list[int] = []
    decoder = scorer._model.get_base_model().model
    decoder.embed_tokens.register_forward_hook(lambda _, arguments, __: read.append(arguments[0].numel()))
    prompts = scorer.prompts.prompts([0, 1, 2], range(8), 0)
    scorer.scores([0, 1, 2], range(8), 0)
    whole = sum(map(len, prompts))
    assert sum(read) <= read[0] + 8 * (max(map(len, prompts)) - read[0])
    assert sum(read) < whole / 2


def test_the_spec_says_what_workers_must_know(trained: tuple[CoLLMConfig, Path], tmp_path: Path) -> None:
    config, directory = trained
    spec = export_part(directory, tmp_path / PART)
    prompts = CoLLMPrompts.load(tmp_path / PART)
    assert (spec.cf, spec.lora_rank, spec.answer, spec.max_tokens) == (config.cf, 2, "Yes", prompts.longest)
    assert len(prompts.users) == len(DATA.user_ids) - 1
    assert prompts.known_items.tolist() == [True] * (len(DATA.catalogue) - 1) + [False]


def test_the_part_takes_no_room_twice(trained: tuple[CoLLMConfig, Path], tmp_path: Path) -> None:
    export_part(trained[1], tmp_path / PART)
    weights = Path("checkpoint/model.safetensors")
    assert (tmp_path / PART / weights).samefile(trained[1] / "part" / weights)


def test_the_probe_tells_the_adapter_from_the_base_model(trained: tuple[CoLLMConfig, Path], tmp_path: Path) -> None:
    _, directory = trained
    spec = export_part(directory, tmp_path / PART)
    probe = load_probe(tmp_path / PART, [PART])
    assert probe.user is not None
    assert not set(probe.lists[PART].items) & set(probe.history)
    scorer = CoLLMScorer(tmp_path / PART, spec.answer_token)
    answers = scorer.scores(probe.history, probe.lists[PART].items, probe.user)
    np.testing.assert_allclose(answers, probe.lists[PART].scores, atol=1e-5)
    assert not probe.complaint(PART, probe.lists[PART])
    assert probe.complaint(PART, probe.lists[BASE])


def test_training_again_does_nothing_again(trained: tuple[CoLLMConfig, Path]) -> None:
    config, directory = trained
    before = (directory / "features" / "tuned.safetensors").stat().st_mtime_ns
    said: list[str] = []
    train_collm(config, DATA, directory, said.append)
    assert len(said) == 1
    assert (directory / "features" / "tuned.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("tuning", ["T2", "UI-token"])
def test_what_needs_no_pretrained_model_trains_none(
    tuning: Literal["T2", "UI-token"], trained: tuple[CoLLMConfig, Path], tmp_path: Path
) -> None:
    train_collm(replace(trained[0], tuning=tuning), DATA, tmp_path, print)
    assert {path.name for path in tmp_path.iterdir()} == {"text", "features", "part", "spec.json"}


def test_din_is_not_served(tmp_path: Path) -> None:
    config = replace(tiny_collm(tmp_path), cf="din")
    with pytest.raises(ConfigError, match=r"collm\.cf: 'din' cannot be served"):
        train_collm(config, DATA, tmp_path, print)


def test_an_unfinished_training_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no CoLLM that is trained"):
        export_part(tmp_path, tmp_path / PART)


def _scorer(directory: Path) -> CoLLMScorer:
    spec = msgspec.json.decode((directory / SPEC).read_bytes(), type=CoLLMSpec)
    return CoLLMScorer(directory / "part", spec.answer_token)


def _after_training() -> LabelledPairs:
    """Test pairs whose histories are what the users had liked after the training pairs: SASRec's served vectors."""
    histories, test = histories_after(DATA), DATA.test
    known = test.take(np.flatnonzero([user in histories for user in test.users.tolist()]))
    of_rows = [histories[user] for user in known.users.tolist()]
    return LabelledPairs(known.users, known.items, known.labels, Sequences.of(of_rows))


def test_the_last_liked_item_counts_whatever_pairs_follow_it() -> None:
    pairs = LabelledPairs(
        users=np.asarray([0, 0, 0, 0, 1], np.int64),
        items=np.asarray([1, 5, 2, 6, 7], np.int32),
        labels=np.asarray([1, 0, 1, 0, 0], np.int8),
        histories=Sequences.of([np.asarray(h, np.int32) for h in ([], [], [1], [1], [])]),
    )

    histories = histories_after(replace(DATA, train=pairs))

    assert {user: items.tolist() for user, items in histories.items()} == {0: [1, 2], 1: []}
