import shutil

import pytest
import yaml

from localrec.prometheus import CONFIG, find_prometheus, with_targets
from models.contract.errors import LocalRecError


def test_configuration_of_deploy_scrapes_ports_of_this_machine() -> None:
    config = yaml.safe_load(with_targets(CONFIG.read_text(), {"gateway": [8080], "engine": [8100, 8101]}, 1))
    assert config["global"] == {"scrape_interval": "1s", "evaluation_interval": "1s"}
    assert config["rule_files"] == [f"{CONFIG.parent}/rules/*.yml"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    assert targets == {"gateway": ["127.0.0.1:8080"], "engine": ["127.0.0.1:8100", "127.0.0.1:8101"], "vllm": []}


def test_everything_else_of_a_job_stays() -> None:
    ours, deployed = (yaml.safe_load(text) for text in (with_targets(CONFIG.read_text(), {}, 1), CONFIG.read_text()))
    for job in (*ours["scrape_configs"], *deployed["scrape_configs"]):
        for key in ("static_configs", "dns_sd_configs"):
            job.pop(key, None)
    assert ours["scrape_configs"] == deployed["scrape_configs"]


def test_job_that_is_not_there_is_named() -> None:
    with pytest.raises(LocalRecError, match="no job redis with dns_sd_configs"):
        with_targets(CONFIG.read_text(), {"redis": [6379]}, 1)


def test_missing_prometheus_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(LocalRecError, match="no prometheus on the PATH; Debian: apt-get install prometheus"):
        find_prometheus()
