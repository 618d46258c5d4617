"""What dashboards and rules of deploy/ ask of Prometheus."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
RULES = sorted((DEPLOY / "prometheus/rules").glob("*.yml"))
RULE_TESTS = sorted((DEPLOY / "prometheus/tests").glob("*.yml"))
ANY = ".*"
_VARIABLE = re.compile(r"label_values\((.+), (\w+)\)")
# Ours, vLLM's, those of processes, and Prometheus' own.
_SELECTOR = re.compile(r"\b(?:localrec[_:][\w:]+|vllm:\w+|process_\w+|up\b|ALERTS\b)(?:\{[^}]*\})?")


def panels(path: Path) -> list[dict[str, Any]]:
    """Panels of a dashboard, without the headings of its rows."""
    return [panel for panel in json.loads(path.read_text())["panels"] if panel["type"] != "row"]


def dashboard_queries(path: Path, rate_interval: str = "5m") -> dict[str, str]:
    """Queries of a dashboard's panels and variables by what asks them, as Grafana sends them where all is chosen."""
    asked = {
        f"{path.stem} {panel['id']}: {panel['title']}, {target['refId']}": target["expr"]
        for panel in panels(path)
        for target in panel["targets"]
    }
    for variable in json.loads(path.read_text())["templating"]["list"]:
        found = _VARIABLE.fullmatch(variable["definition"])
        assert found is not None, variable["definition"]
        asked[f"{path.stem}: ${variable['name']}"] = f"count by ({found[2]}) ({found[1]})"
    variables = re.compile(r"\$\{?(?:instance|pipeline|pool|experiment)\b\}?")
    return {who: variables.sub(ANY, q.replace("$__rate_interval", rate_interval)) for who, q in asked.items()}


def rules() -> list[dict[str, Any]]:
    """All rules, those that record and those that alert."""
    groups = (group for path in RULES for group in yaml.safe_load(path.read_text())["groups"])
    return [rule for group in groups for rule in group["rules"]]


def selectors(expression: str) -> list[str]:
    """Metrics of a query, with what of their labels is asked for."""
    return _SELECTOR.findall(expression)


def metrics(expression: str) -> set[str]:
    """Names of the metrics of a query."""
    return {selector.partition("{")[0] for selector in selectors(expression)}
