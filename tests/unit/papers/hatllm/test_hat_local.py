"""Local models over a HatLLM of the walks: red items and blue items are two communities; see ``support.backbones``."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.backbones import walk_dataset, write_backbone
from support.hats import small_hatllm

from models.cf.multvae import MultVAEConfig
from models.cf.training import silent
from models.communities.anchors import CommunityConfig
from models.contract.fusion import FusionMethod
from models.contract.selection import GLOBAL_VOTER, FusionSettings
from models.contract.types import Membership, Profile, RankedList, item_numbers
from models.evaluation.ranked import rank
from models.papers.hatllm.config import HatLLMConfig, LocalConfig
from models.papers.hatllm.data import WindowedData
from models.papers.hatllm.local import (
    Answered,
    Communities,
    LocalModels,
    asked_rows,
    best_of,
    find_communities,
    part_of,
    train_local,
    try_fusions,
    use_adapter,
)
from models.papers.hatllm.study_config import LOCAL_ROWS
from models.papers.hatllm.training import Prepared, fit_hatllm, load_hatllm
from models.ranking.answers import Answers, VoterLists
from models.types import Examples, Sequences

COMMUNITIES = CommunityConfig(n_communities=2, bandwidth=0.9)
LOCAL = LocalConfig(n_communities=2, steps=30, evaluate_every=15, learning_rate=3e-3)


@pytest.fixture(scope="module")
def data() -> WindowedData:
    return WindowedData.of(walk_dataset())


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> HatLLMConfig:
    config = small_hatllm(write_backbone(tmp_path_factory.mktemp("backbone")))
    return replace(config, steps=40, evaluate_every=40, valid_cutoff=0)


@pytest.fixture(scope="module")
def prepared(config: HatLLMConfig, data: WindowedData) -> Prepared:
    return Prepared.of(config, data.catalogue)


@pytest.fixture(scope="module")
def hatllm(
    config: HatLLMConfig, data: WindowedData, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    directory = tmp_path_factory.mktemp("hatllm")
    fit_hatllm(config, data, directory, print, prepared)
    return directory


@pytest.fixture(scope="module")
def communities(data: WindowedData, tmp_path_factory: pytest.TempPathFactory) -> Communities:
    directory = tmp_path_factory.mktemp("communities")
    find_communities(data, data.valid, MultVAEConfig(embedding_size=8, epochs=40), COMMUNITIES, directory, silent)
    return Communities.load(directory, COMMUNITIES)


@pytest.fixture(scope="module")
def models(
    config: HatLLMConfig,
    data: WindowedData,
    prepared: Prepared,
    hatllm: Path,
    communities: Communities,
    tmp_path_factory: pytest.TempPathFactory,
) -> LocalModels:
    adapters: dict[str, Path] = {GLOBAL_VOTER: hatllm}
    for number, name in enumerate(("c00", "c01")):
        adapters[name] = tmp_path_factory.mktemp(name)
        model = load_hatllm(config, hatllm, prepared.backbone)
        train_local(config, LOCAL, model, *part_of(data, communities, number), adapters[name], print)
    model = load_hatllm(config, hatllm, prepared.backbone)
    return LocalModels(model, config.history_length, communities, adapters, 10)


def test_colours_are_communities_and_a_history_is_asked_of_its_own(
    communities: Communities, data: WindowedData
) -> None:
    profiles = communities.profiles(data.test.histories)
    nearest = np.asarray([profile.memberships[0].community for profile in profiles])
    red = nearest[0]
    np.testing.assert_array_equal(nearest == red, data.test.users % 2 == 0)
    assert set(np.flatnonzero(nearest == red)) <= set(asked_rows(profiles, red))
    trained = communities.affinities(data.train).argmax(axis=1)
    np.testing.assert_array_equal(trained == red, np.arange(len(data.train)) % 2 == 0)


def test_a_local_model_begins_as_the_global_one_and_is_better_for_its_members(
    models: LocalModels, data: WindowedData
) -> None:
    answered = next(models.answered(data.test))
    everyone, local = (
        rank(answered.fused(FusionSettings(FusionMethod.RRF, 0.0, 10, others)), data.test).ranks
        for others in (((GLOBAL_VOTER, 1000.0),), ())
    )
    assert np.mean(1 / local) > np.mean(1 / everyone)


def test_without_updates_an_adapter_says_what_the_global_one_does(
    models: LocalModels, config: HatLLMConfig, data: WindowedData, tmp_path: Path
) -> None:
    use_adapter(models.model, models.adapters[GLOBAL_VOTER])
    still = replace(LOCAL, steps=1, evaluate_every=1, learning_rate=0.0)
    train_local(config, still, models.model, data, np.ones(len(data.train), np.float32), tmp_path, print)
    unmoved = replace(models, adapters=dict.fromkeys(models.adapters, tmp_path))
    test = data.test.take(np.arange(6))
    ours, global_ones = (next(m.answered(test)).scores for m in (unmoved, models))
    np.testing.assert_array_equal(ours, global_ones)


def test_the_fusion_is_chosen_on_validation_examples(models: LocalModels, data: WindowedData) -> None:
    answered = list(models.answered(data.valid))
    tried = try_fusions(answered, None)
    values = {t.settings: t.ndcg for t in tried}
    chosen = {name: best_of(tried, admits) for name, admits in LOCAL_ROWS.items()}
    assert values[chosen["HatLLM + L3Rec: chosen"]] == max(values.values())
    assert not chosen["HatLLM + L3Rec: RRF"].others
    assert chosen["HatLLM + L3Rec: wRRF(CF) with HatLLM"].method is FusionMethod.WRRF_CF
    assert chosen["HatLLM + L3Rec: wRRF(CF) with HatLLM"].has_vote(GLOBAL_VOTER)


def test_fused_items_come_first_and_the_others_as_for_everyone() -> None:
    """User 0's community ranks 3, 2; user 1 has none."""
    scores = np.asarray([[9, 8, 7, 6, 5]] * 2, np.float32)
    lists = VoterLists.empty(("c00", GLOBAL_VOTER), 2, 2)
    lists.put(0, 0, RankedList(item_numbers([3, 2]), np.asarray([2, 1], np.float32)))
    histories = Sequences.of([item_numbers([0])] * 2)
    profiles = [Profile(np.zeros(1, np.float32), (Membership(0, 0.5),)), Profile(np.zeros(1, np.float32), ())]
    examples = Examples(np.arange(2), histories, item_numbers([4, 4]))
    answered = Answered(examples, Answers(histories, ("c00",), profiles, lists), scores)
    found = rank(answered.fused(FusionSettings()), examples)
    assert found.lists[:, :4].tolist() == [[3, 2, 1, 4], [1, 2, 3, 4]]
    assert found.ranks.tolist() == [4, 4]


def test_a_part_of_the_data_keeps_its_timestamps(data: WindowedData) -> None:
    part = data.part(np.asarray([3, 1]), np.asarray([0]))
    assert part.train[1].tolist() == data.train[1].tolist()
    offsets = data.train.offsets
    assert (
        part.train_timestamps[: len(part.train[0])].tolist() == data.train_timestamps[offsets[3] : offsets[4]].tolist()
    )
    assert len(part.valid) == 1
