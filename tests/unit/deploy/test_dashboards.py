import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from support import vllm_metrics
from support.watching import DASHBOARDS, DEPLOY, dashboard_queries, metrics, panels, rules

from service.engine.telemetry import Telemetry as EngineTelemetry
from service.gateway.telemetry import Telemetry as GatewayTelemetry

SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",), "summary": ("_sum", "_count")}
VLLM = DEPLOY.parent / ".venv-vllm/lib"
PROMETHEUS_OWN = {"up", "ALERTS"}


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """deploy/grafana/build.py, which is part of no package."""
    spec = importlib.util.spec_from_file_location("grafana_build", DEPLOY / "grafana/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def exposed() -> set[str]:
    """Names of the samples that gateway and engine expose, and Prometheus makes."""
    engine, gateway = EngineTelemetry(), GatewayTelemetry()
    engine.watch(queue_length=lambda: 0, queue_calls=lambda: 0, loaded_adapters=lambda: 0, adapter_bytes=lambda: 0)
    gateway.watch_traffic(in_flight=lambda: 0, limit=lambda: 1, late_seconds=lambda: 0.0, quality=lambda: 1.0)
    gateway.watch_health(is_ready=lambda: True, hears_redis=lambda: True)
    text = (gateway.exposition() + engine.render()).decode()
    types = re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    return recorded | PROMETHEUS_OWN | {name + suffix for name, kind in types for suffix in SUFFIXES[kind]}


def of_vllm() -> set[str]:
    """Names of the samples of vLLM's metrics that we know of."""
    counters = {f"{name}_total" for name in (*vllm_metrics.COUNTERS, vllm_metrics.BY_REASON)}
    return counters | {*vllm_metrics.GAUGES} | {f"{name}_bucket" for name in vllm_metrics.HISTOGRAMS}


@pytest.mark.skipif(not VLLM.is_dir(), reason="no vLLM environment: run scripts/vllm --install")
def test_metrics_of_vllm_are_those_of_the_vllm_that_is_installed() -> None:
    (source,) = VLLM.glob("python*/site-packages/vllm/v1/metrics/loggers.py")
    assert set(vllm_metrics.NAMES) - set(re.findall(r'name="(vllm:\w+)"', source.read_text())) == set()


def test_five_dashboards_are_what_their_sources_say(build: ModuleType) -> None:
    sources = {path.stem: path for path in build.SOURCES.glob("*.toml")}
    assert {path.stem for path in DASHBOARDS} == sources.keys()
    assert len(sources) == 5
    for path in DASHBOARDS:
        assert path.read_text() == build.render(sources[path.stem]), "run: python deploy/grafana/build.py"


def test_panels_lie_beside_each_other_within_the_width(build: ModuleType) -> None:
    for path in DASHBOARDS:
        taken: set[tuple[int, int]] = set()
        for place in (panel["gridPos"] for panel in panels(path)):
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            assert not cells & taken
            assert max(x for x, _ in cells) < build.COLUMNS
            taken |= cells


def test_row_that_is_too_wide_is_refused(build: ModuleType) -> None:
    panel = {"title": "t", "text": "t.", "unit": "s", "width": 13, "queries": [["up", ""]]}
    source = {"title": "t", "text": "t.", "rows": [{"title": "wide", "panels": [panel, panel]}]}
    with pytest.raises(ValueError, match="row 'wide': widths add up to 26, expected at most 24"):
        build.dashboard(source, "t")


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_metric_of_a_dashboard_is_exposed(path: Path, exposed: set[str]) -> None:
    used = {name for query in dashboard_queries(path).values() for name in metrics(query)}
    assert len(used) > 3
    assert used - exposed - of_vllm() == set()


def test_every_metric_of_ours_is_shown_or_watched(exposed: set[str]) -> None:
    asked = [query for path in DASHBOARDS for query in dashboard_queries(path).values()]
    asked += [rule["expr"] for rule in rules()]
    shown = {re.sub("_(bucket|sum|count)$", "", name) for query in asked for name in metrics(query)}
    ours = {re.sub("_(bucket|sum|count)$", "", name) for name in exposed if name.startswith("localrec_")}
    assert {name for name in ours - shown if not name.endswith("_created")} == set()


def test_every_metric_of_a_rule_is_exposed(exposed: set[str]) -> None:
    for rule in rules():
        used = metrics(rule["expr"])
        assert used, rule
        assert used - exposed == set(), rule


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_says_what_it_shows_in_which_unit(path: Path) -> None:
    for panel in panels(path):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "prometheus"
        assert panel["targets"]
    ids = [panel["id"] for panel in panels(path)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_is_one_over_all_processes(path: Path) -> None:
    """With several processes each sample has the label ``process``: what is not aggregated would be drawn once each."""
    for who, query in dashboard_queries(path).items():
        if any(name.startswith(("localrec_", "process_", "vllm:")) for name in metrics(query)):
            assert re.search(r"\b(sum|max|min|avg|count)\b", query), who
            assert "process" not in re.findall(r"\b\w+\b", " ".join(re.findall(r"by \(([^)]*)\)", query))), who
