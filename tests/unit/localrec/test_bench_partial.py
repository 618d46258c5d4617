from pathlib import Path

import numpy as np
import pytest
from support.runs import FinishedRun

from localrec.bench.gateway.partial import measure, partial_fusion
from models.contract.errors import LocalRecError
from models.contract.fusion import FusionMethod
from models.contract.selection import FusionSettings
from models.contract.types import Membership, Profile, item_numbers
from models.pipeline import Pipeline
from models.ranking.answers import Answers, VoterLists
from models.ranking.system import LocalSystem
from models.run import save_run
from models.stage import link_stages
from models.types import Sequences

RRF = FusionSettings(FusionMethod.RRF, 10.0, 2)


def answers_of(system: LocalSystem, lists: list[list[list[int]]], members: list[list[int]]) -> Answers:
    """Of users with the lists of two communities, and the numbers of the communities that they belong to."""
    embedding = np.zeros(system.cf.embedding_size, np.float32)
    profiles = [Profile(embedding, tuple(Membership(n, 1.0) for n in numbers)) for numbers in members]
    kept = VoterLists(("c00", "c01"), np.asarray(lists, np.int32), np.zeros((len(lists), 2, 2), np.float32))
    return Answers(Sequences.of([item_numbers([9]) for _ in lists]), ("c00", "c01"), profiles, kept)


@pytest.fixture
def system(finished_run: FinishedRun) -> LocalSystem:
    return Pipeline(finished_run.directory, finished_run.config, lambda line: None).results.system()


def test_each_community_is_left_out_in_turn(system: LocalSystem):
    """Both users want what c00 ranks first; c01 alone has it second, or not at all."""
    answers = answers_of(system, [[[1, 2], [3, 1]], [[4, 5], [6, 7]]], [[0, 1], [0, 1]])
    found = partial_fusion(system, answers, item_numbers([1, 4]), RRF)
    assert found["partial_full_ndcg"] == 1.0
    assert found["partial_worst_ndcg"] < found["partial_mean_ndcg"] < 1.0  # without c00
    assert found["partial_worst_over_full"] == found["partial_members_worst_over_full"] < 1.0


def test_members_of_a_community_lose_more_than_everybody(system: LocalSystem):
    """Each user belongs to one: whichever is left out, the CF model serves one of the two."""
    answers = answers_of(system, [[[1, 2], [3, 1]], [[4, 5], [6, 7]]], [[0], [1]])
    found = partial_fusion(system, answers, item_numbers([1, 6]), RRF)
    assert found["partial_members_worst_over_full"] < found["partial_worst_over_full"] < 1.0


def test_a_run_is_measured_from_its_rankings(finished_run: FinishedRun, tmp_path: Path):
    link_stages(finished_run.directory, tmp_path / "run")
    save_run(tmp_path / "run", finished_run.config)
    with pytest.raises(LocalRecError, match="no rankings"):
        measure(tmp_path / "run")
    Pipeline(tmp_path / "run", finished_run.config, lambda line: None).rank("test")
    found = measure(tmp_path / "run")
    assert 0 < found["partial_full_ndcg"] <= 1
    assert found["partial_worst_ndcg"] <= found["partial_mean_ndcg"]
