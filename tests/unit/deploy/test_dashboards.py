import json
import re
from pathlib import Path
from typing import Any

import pytest

from service.engine.telemetry import Telemetry as EngineTelemetry
from service.gateway.telemetry import Telemetry as GatewayTelemetry

DASHBOARDS = sorted((Path(__file__).parents[3] / "deploy/grafana/dashboards").glob("*.json"))
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",), "summary": ("_sum", "_count")}


def panels(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return found


def exposed_names() -> set[str]:
    """Names of the samples that gateway and engine expose."""
    engine = EngineTelemetry()
    engine.watch(queue_length=lambda: 0, queue_calls=lambda: 0, loaded_adapters=lambda: 0, adapter_bytes=lambda: 0)
    text = (GatewayTelemetry().exposition() + engine.render()).decode()
    types = re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)
    return {name + suffix for name, kind in types for suffix in SUFFIXES[kind]}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_metric_of_a_dashboard_is_exposed(path: Path) -> None:
    expressions = " ".join(target["expr"] for panel in panels(path) for target in panel["targets"])
    used = set(re.findall(r"localrec_\w+", expressions))
    assert len(used) > 3
    assert used - exposed_names() == set()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_says_what_it_shows_in_which_unit(path: Path) -> None:
    for panel in panels(path):
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "prometheus"
    ids = [panel["id"] for panel in panels(path)]
    assert len(set(ids)) == len(ids)
