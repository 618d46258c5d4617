"""The offline ranker with local models of the title form: what the workers' answers can name, and nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.bundles import make_bundle
from support.titles import HISTORY_LENGTH, TitleFiles, write_title_files

from models.contract.cf import CFModel
from models.contract.types import item_numbers
from models.llm.next_item import NextItemScorer
from models.llm.title import TitleModel
from models.ranking.ranker import LocalRanker
from models.ranking.system import LocalSystem
from models.types import Sequences

N_ITEMS = 40
HISTORIES = Sequences.of([item_numbers(row) for row in ([3, 1], [5, 9, 2, 7], [11])])


@pytest.fixture(scope="module")
def files(backbone_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> TitleFiles:
    return write_title_files(tmp_path_factory.mktemp("title"), backbone_directory, N_ITEMS, ("global", "c00", "c01"))


@pytest.fixture(scope="module")
def system(files: TitleFiles, tmp_path_factory: pytest.TempPathFactory) -> LocalSystem:
    bundle = make_bundle(tmp_path_factory.mktemp("cf"), n_items=N_ITEMS, communities=2)
    cf = CFModel.load(bundle.path("cf.safetensors"))
    return LocalSystem(
        cf=cf,
        anchors=np.stack([cf.fold_in(item_numbers([number])) for number in (3, 5)]),
        bandwidth=1.0,
        kernel="epanechnikov",
        popularity=np.ones(N_ITEMS, np.float32),
        checkpoint=files.checkpoint,
        adapters={name: files.adapter(name) for name in files.adapters},
        history_length=HISTORY_LENGTH,
        form="title",
    )


def test_lists_end_where_the_words_begin(system: LocalSystem, files: TitleFiles) -> None:
    lists = LocalRanker(system, candidates=N_ITEMS).answers(HISTORIES).lists
    model = TitleModel.load(files.checkpoint, files.adapter("global"))
    scores = NextItemScorer(model, HISTORY_LENGTH, torch.device("cpu")).scores(HISTORIES)
    for row, values in enumerate(scores):
        order = [item for item in np.argsort(-values) if values[item] > values.mean()]
        expected = [int(item) for item in order if item not in HISTORIES[row]]
        ranking = lists.get(row, "global")
        assert ranking.items.tolist() == expected
        np.testing.assert_allclose(ranking.scores, values[expected], atol=1e-5)
        assert 5 < len(expected) < N_ITEMS - 5


def test_among_allowed_items_all_are_ranked(system: LocalSystem) -> None:
    allowed = np.tile(np.arange(20, 40, dtype=np.int32), (3, 1))
    lists = LocalRanker(system, candidates=N_ITEMS).answers(HISTORIES, allowed).lists
    assert sorted(lists.get(1, "global").items.tolist()) == list(range(20, 40))
