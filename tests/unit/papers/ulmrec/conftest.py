"""A tiny backbone for ULMRec's prompts."""

from pathlib import Path

import pytest
from support.ulmrec import tiny_ulmrec, write_ranker

from models.llm.backbone import Backbone, load_backbone
from models.papers.ulmrec.config import ULMRecConfig


@pytest.fixture(scope="session")
def ranker_directory(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ranker(tmp_path_factory.mktemp("ranker"))


@pytest.fixture(scope="session")
def ranker(ranker_directory: Path) -> Backbone:
    return load_backbone(str(ranker_directory))


@pytest.fixture(scope="session")
def tiny(ranker_directory: Path) -> ULMRecConfig:
    return tiny_ulmrec(ranker_directory)
