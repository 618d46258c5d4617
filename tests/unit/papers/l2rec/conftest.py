from dataclasses import dataclass
from pathlib import Path

import pytest
from support.backbones import walk_dataset, write_backbone
from support.l2rec import random_cf, silent, small_l2rec

from models.papers.l2rec.config import L2RecConfig
from models.papers.l2rec.data import L2RecData
from models.papers.l2rec.training import L2RecModel, fit_l2rec


@dataclass(frozen=True)
class TrainedL2Rec:
    """A training that is over, and where its files are."""

    config: L2RecConfig
    data: L2RecData
    directory: Path
    model: L2RecModel


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> TrainedL2Rec:
    config = small_l2rec(write_backbone(tmp_path_factory.mktemp("backbone")))
    dataset = walk_dataset()
    data = L2RecData(dataset, random_cf(len(dataset.catalogue)))
    directory = tmp_path_factory.mktemp("l2rec")
    return TrainedL2Rec(config, data, directory, fit_l2rec(config, data, directory, silent))
