"""A real Prometheus watches a whole service while things happen to it: what dashboards and rules ask has an answer."""

import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from redis import Redis
from support.http import request
from support.processes import wait_until
from support.runs import FinishedRun
from support.vllm_metrics import vllm_metrics
from support.watching import DASHBOARDS, dashboard_queries, rules, selectors

from localrec.processes import free_port, get, post
from localrec.prometheus import running_prometheus
from localrec.stack import Stack, running_stack, running_worker
from models.pipeline import Pipeline

pytestmark = [
    pytest.mark.redis,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="no prometheus on the PATH; Debian: apt-get install prometheus"
    ),
]

RATE_INTERVAL = "10s"
PAUSE_MS = 4_000
EXPERIMENTS = """
[[layers]]
name = "ranking"
[[layers.experiments]]
name = "local-against-cf"
[[layers.experiments.variants]]
name = "local"
weight = 1
pipeline = "local"
[[layers.experiments.variants]]
name = "cf"
weight = 1
pipeline = "cf"
parameters = {deadline_ms = 1000}
[[shadows]]
name = "popular-beside"
share = 1.0
pipeline = "cf"
"""


@dataclass(frozen=True)
class Prometheus:
    """Where it listens, and since when things have happened."""

    port: int
    started: float

    def get(self, path: str, **parameters: Any) -> Any:
        """``data`` of an answer of its API, which must be one."""
        status, body = get(self.port, f"/api/v1/{path}?{urlencode(parameters)}")
        assert status == 200, f"{parameters}: {body.decode()}"
        return json.loads(body)["data"]

    def has_data(self, query: str) -> bool:
        """Whether a panel with this query would show anything: a number, at any second since the start."""
        found = self.get("query_range", query=query, start=self.started, end=time.time(), step=1)["result"]
        return any(math.isfinite(float(value)) for series in found for _, value in series["values"])


@pytest.fixture(scope="module")
def prometheus(tiny_run: FinishedRun) -> Iterator[Prometheus]:
    """Prometheus, when everything has happened that it should have seen."""
    with ExitStack() as parts:
        directory = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="lr-")))
        (directory / "experiments.toml").write_text(EXPERIMENTS)
        variables = {"LOCALREC_EXPERIMENTS_FILE": str(directory / "experiments.toml")}
        admin_port, port, vllm_port = free_port(), free_port(), free_port()
        stack = parts.enter_context(
            running_stack(tiny_run.bundle, directory, admin_port=admin_port, environment=variables)
        )
        parts.enter_context(vllm_metrics(vllm_port))
        targets = {"gateway": [stack.gateway_port], "engine": [stack.worker_port], "vllm": [vllm_port]}
        parts.enter_context(running_prometheus(directory / "prometheus", port, targets, interval_seconds=1))
        seen = Prometheus(port, time.time())
        wait_until(lambda: seen.has_data('up{job="gateway"} == 1'), 30, "the first scrape")
        _live_through(stack, admin_port, tiny_run, directory, parts, seen)
        yield seen


def _live_through(
    stack: Stack, admin_port: int, run: FinishedRun, directory: Path, parts: ExitStack, seen: Prometheus
) -> None:
    """Users and callers of all kinds; then the worker is killed, and comes back; then Redis does not answer."""
    users = Pipeline(run.directory, run.config).results.dataset().user_ids
    port = stack.gateway_port

    def ask_until(condition: Callable[[], bool], what: str) -> None:
        def asked() -> bool:
            _everyday(port, users)
            return condition()

        wait_until(asked, 60, what)

    assert request(admin_port, "GET", "/admin/bundles", headers={"Origin": "http://elsewhere.example"}).status == 403
    ask_until(lambda: seen.has_data('rate(localrec_cache_total{outcome="hit"}[5s]) > 0'), "some traffic")
    stack.worker.kill()
    ask_until(lambda: seen.has_data('ALERTS{alertname="NoReplicaReady"}'), "an alert that is about to fire")
    ask_until(lambda: seen.has_data("rate(localrec_degraded_total[5s]) > 0"), "degraded answers")
    parts.enter_context(running_worker(run.bundle, directory, "engine", stack.worker_port))
    ask_until(lambda: seen.has_data('increase(localrec_adapter_load_seconds_count{outcome="ok"}[5s]) > 0'), "loads")
    with Redis.from_url(stack.redis_url) as redis:
        redis.execute_command("CLIENT", "PAUSE", PAUSE_MS)
    paused_until = time.monotonic() + PAUSE_MS / 1e3
    while time.monotonic() < paused_until:
        post(port, "/events", _events(users[0]))
    ask_until(lambda: seen.has_data("localrec:unavailable:ratio_rate5m > 0"), "a burn rate")


def _everyday(port: int, users: tuple[str, ...]) -> None:
    """What callers do all day, for a second or two."""
    for user in users[:20]:
        assert post(port, "/recommend", {"user_id": user})[0] == 200
    requests = [{"user_id": user, "n": n} for user in (users[0], "new") for n in (3, 0)]
    assert post(port, "/recommend/batch", {"requests": requests})[0] == 200
    assert post(port, "/recommend", {"user_id": ""})[0] == 422
    assert post(port, "/events", _events("new"))[0] == 200
    assert get(port, "/nowhere")[0] == 404
    assert get(port, f"/users/{users[0]}")[0] == 200


def _events(user_id: str) -> dict[str, Any]:
    return {"events": [{"event_id": "e1", "type": "click", "user_id": user_id, "item_id": "i1"}]}


def _silent(prometheus: Prometheus, queries: dict[str, str]) -> list[str]:
    return [f"{who}: {query}" for who, query in queries.items() if not prometheus.has_data(query)]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_of_a_dashboard_returns_data(prometheus: Prometheus, path: Path) -> None:
    assert _silent(prometheus, dashboard_queries(path, RATE_INTERVAL)) == []


def test_every_rule_that_records_returns_data(prometheus: Prometheus) -> None:
    recorded = {rule["record"]: rule["record"] for rule in rules() if "record" in rule}
    assert _silent(prometheus, recorded) == []


def test_every_alert_looks_at_what_is_there(prometheus: Prometheus) -> None:
    """Its expression returns nothing while all is well; the metrics in it, with their labels, must return something."""
    looked_at = {f"{rule['alert']}, {s}": s for rule in rules() if "alert" in rule for s in selectors(rule["expr"])}
    assert len(looked_at) > 20
    assert _silent(prometheus, looked_at) == []


def test_rules_are_evaluated_without_an_error_and_say_values(prometheus: Prometheus) -> None:
    loaded = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert len(loaded) == len(rules())
    assert {rule["name"]: rule["lastError"] for rule in loaded if rule["health"] != "ok"} == {}
    active = [alert for rule in loaded if rule["type"] == "alerting" for alert in rule["alerts"]]
    assert {alert["labels"]["alertname"] for alert in active} >= {"EventsFailed"}
    for alert in active:
        notes = " ".join(alert["annotations"].values())
        assert "{{" not in notes
        assert "error" not in notes.replace("error budget", "").replace("no errors", ""), notes


def test_every_target_is_scraped(prometheus: Prometheus) -> None:
    targets = prometheus.get("targets")["activeTargets"]
    assert {(each["labels"]["job"], each["health"], each["lastError"]) for each in targets} == {
        (job, "up", "") for job in ("gateway", "engine", "vllm")
    }


def test_query_for_a_metric_that_is_no_more_is_found(prometheus: Prometheus) -> None:
    gone = {"a panel": "sum(rate(localrec_requests_forgotten_total[10s]))"}
    assert _silent(prometheus, gone) == ["a panel: sum(rate(localrec_requests_forgotten_total[10s]))"]
