"""The settings of the demo's further models."""

import pytest

from localrec.demo import CONFIG, FURTHER_CONFIG, _with_further
from localrec.stack import ROOT
from models.papers.ulmrec.export import check_served
from models.run import FURTHER, load_config


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_the_demo_has_settings_of_each_further_model() -> None:
    config = _with_further(load_config(CONFIG), FURTHER)
    assert {getattr(config, part).backbone for part in FURTHER} == {config.local.backbone}
    assert config.ulmrec is not None
    check_served(config.ulmrec)


def test_the_demo_is_what_it_was_without_them() -> None:
    assert _with_further(load_config(CONFIG), ()) == load_config(CONFIG)
    assert FURTHER_CONFIG.exists()
