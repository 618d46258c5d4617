"""The experiments' settings, and the script that runs them."""

import re
import subprocess
from pathlib import Path

import pytest

from models.fetch import CARRIED
from models.run import load_config

ROOT = Path(__file__).parents[3]
EXPERIMENTS = ("ml-100k", "beauty", "beauty-top-n")
SOURCE = re.compile(r"runs/source/([^/]+)(?:/(.+))?")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_settings_name_what_the_script_fetches(name: str) -> None:
    config = load_config(ROOT / "deploy" / f"{name}.toml")
    script = (ROOT / "scripts" / "experiment").read_text()
    (fetched,) = re.findall(rf"{name}\) sources=\((.+?)\)", script)

    assert config.name == name
    paths = (config.data.interactions, config.data.items, config.local.backbone, config.local.text_encoder)
    found = [match.groups() for path in paths if (match := SOURCE.fullmatch(path))]
    assert {carried for carried, _ in found} == set(fetched.split())
    for carried, file in found:
        assert file is None or file in CARRIED[carried].sha256


def test_an_unknown_experiment_is_refused_before_any_work() -> None:
    answer = subprocess.run([ROOT / "scripts" / "experiment", "netflix"], capture_output=True, text=True, check=False)

    assert answer.returncode == 2
    known = "ml-100k, beauty, beauty-top-n, collm, hatllm, ulmrec or l2rec"
    assert answer.stderr == f"experiment: 'netflix'; expected {known}\n"
