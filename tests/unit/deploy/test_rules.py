import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.watching import DASHBOARDS, DEPLOY, RULE_TESTS, dashboard_queries, metrics, panels, rules

INSTALL = "Debian: apt-get install prometheus"
RUNBOOKS = "docs/runbooks.md"
ROOT = DEPLOY.parent
ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
FIRING = re.compile(r'ALERTS\{alertname="(\w+)", alertstate="firing", severity="(\w+)"')


def expression_tests() -> list[dict[str, Any]]:
    files = (yaml.safe_load(path.read_text()) for path in RULE_TESTS)
    return [each for file in files for test in file["tests"] for each in test["promql_expr_test"]]


def asked_alerts(expression: str) -> set[str]:
    """Names of alerts whose state a test asks for."""
    found = re.search(r'alertname=(~?)"([^"]*)"', expression)
    if found is None:
        return set()
    pattern = found[2] if found[1] else re.escape(found[2])
    return {name for name in ALERTS if re.fullmatch(pattern, name)}


@pytest.mark.parametrize("name", ALERTS)
def test_alert_says_how_grave_it_is_what_it_means_and_where_help_is(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in {"page", "ticket"}
    notes = alert["annotations"]
    assert notes.keys() == {"summary", "description", "runbook_url"}
    assert "$value" in notes["description"]
    assert notes["description"].endswith(".")
    assert notes["runbook_url"] == f"{RUNBOOKS}#{name.lower()}"


def test_every_alert_has_its_section_of_the_runbooks_and_no_section_lacks_an_alert() -> None:
    text = (ROOT / RUNBOOKS).read_text()
    assert sorted(re.findall(r"^### (\w+)$", text, re.MULTILINE)) == sorted(ALERTS)
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    for name, section in sections.items():
        for part in ("Users:", "Confirm:", "First:", "Then:", "Escalate:"):
            assert f"**{part}**" in section, f"{name} lacks {part}"
        assert re.search(rf"\b{ALERTS[name]['labels']['severity']}\b", section.splitlines()[1]), name


def test_every_metric_of_the_runbooks_is_one_of_dashboards_or_rules() -> None:
    used = {name for path in DASHBOARDS for query in dashboard_queries(path).values() for name in metrics(query)}
    used |= {name for rule in rules() for name in metrics(rule["expr"])}
    assert metrics((ROOT / RUNBOOKS).read_text()) - used == set()


def test_panels_that_runbooks_name_are_there() -> None:
    titles = {panel["title"] for path in DASHBOARDS for panel in panels(path)}
    titles |= {json.loads(path.read_text())["title"] for path in DASHBOARDS}
    named = {" ".join(name.split()) for name in re.findall(r"«([^»]+)»", (ROOT / RUNBOOKS).read_text())}
    assert len(named) > 5
    assert named - titles - {"Restart"} == set()


def test_every_alert_is_tested_firing_with_its_severity_and_silent() -> None:
    fires, silent = {}, set()
    for test in expression_tests():
        if test["exp_samples"]:
            labels = " ".join(sample["labels"] for sample in test["exp_samples"])
            fires |= dict(FIRING.findall(labels))
        else:
            silent |= asked_alerts(test["expr"])
    assert fires == {name: alert["labels"]["severity"] for name, alert in ALERTS.items()}
    assert silent == ALERTS.keys()


def test_every_recorded_series_is_used() -> None:
    """By a dashboard, or by another rule."""
    used = {name for path in DASHBOARDS for query in dashboard_queries(path).values() for name in metrics(query)}
    used |= {name for rule in rules() for name in metrics(rule["expr"])}
    assert {rule["record"] for rule in rules() if "record" in rule} - used == set()


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool on the PATH; Debian: apt-get install prometheus"
)
def test_check_finds_a_rule_that_is_broken(tmp_path: Path) -> None:
    """``scripts/check-prometheus`` runs all of the rules' tests; here, that it can fail."""
    shutil.copytree(DEPLOY / "prometheus", tmp_path / "deploy/prometheus")
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for path in (tmp_path / "deploy/prometheus/tests").glob("*.yml"):
        if path.stem != "redis":
            path.unlink()

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run([tmp_path / "scripts/check-prometheus"], capture_output=True, text=True, check=False)

    assert check().returncode == 0
    alerts = tmp_path / "deploy/prometheus/rules/alerts.yml"
    alerts.write_text(alerts.read_text().replace("localrec_redis_up", "localrec_redis_gone"))
    broken = check()
    assert broken.returncode == 1
    assert "RedisDown" in broken.stderr
    alerts.write_text(alerts.read_text().replace("max(localrec_redis_gone)", "max(localrec_redis_gone"))
    assert check().returncode == 1
