"""The settings of the demo's further models."""

import pytest

from localrec.demo import CONFIG, FURTHER_CONFIG, _with_further
from localrec.stack import ROOT
from models.run import FURTHER, load_config


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_the_demo_has_settings_of_each_further_model() -> None:
    config = _with_further(load_config(CONFIG), FURTHER)
    assert config.collm is not None
    assert config.hatllm is not None
    assert config.collm.backbone == config.hatllm.backbone == config.local.backbone


def test_the_demo_is_what_it_was_without_them() -> None:
    assert _with_further(load_config(CONFIG), ()) == load_config(CONFIG)
    assert FURTHER_CONFIG.exists()
