from pathlib import Path

import pytest
from support.families import FAMILIES, random_backbone

from models.llm.backbone import Backbone, load_backbone


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    pass


@pytest.fixture(scope="session")
def backbone(backbone_directory: Path) -> Backbone:
    """The random Llama, loaded. Read only."""
    return load_backbone(str(backbone_directory))


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys())
def family(request: pytest.FixtureRequest) -> Backbone:
    """A small random model of each family. Read only."""
    return random_backbone(request.param())
