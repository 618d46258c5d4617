"""The autoscaler's metrics: a gateway exposes them, and the adapter's queries make one value a pod of them."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.gateway import running_gateway
from support.kustomize import K8S, build, named

from service.gateway.settings import Settings

RULES: list[dict[str, Any]] = yaml.safe_load((K8S / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
PODS = 'namespace="localrec",pod=~"busy|idle"'
BUCKET = 'localrec_request_seconds_bucket{namespace="localrec",pod="%s",route="%s",le="%s"}'


def series(rule: dict[str, Any]) -> str:
    return str(rule["seriesQuery"].split("{")[0])


def queries() -> dict[str, str]:
    """PromQL by the metric's name, as the adapter fills it in for the pods of a Deployment."""
    filled = {}
    for rule in RULES:
        query = rule["metricsQuery"].replace("<<.Series>>", series(rule))
        name = rule.get("name", {}).get("as", series(rule))
        filled[name] = query.replace("<<.LabelMatchers>>", PODS).replace("<<.GroupBy>>", "pod")
    return filled


def test_autoscaler_asks_for_what_the_adapter_has() -> None:
    metrics = named(build("overlays/cpu"), "HorizontalPodAutoscaler", "gateway")["spec"]["metrics"]
    assert {each["pods"]["metric"]["name"] for each in metrics if each["type"] == "Pods"} == queries().keys()


def test_gateway_exposes_what_the_adapter_reads() -> None:
    with running_gateway(Settings(redis_url="unix:///nowhere")) as gateway:
        gateway.post({"user_id": "u"})
        lines = gateway.get("/metrics").body.decode().splitlines()
    for rule in RULES:
        found = [line for line in lines if line.startswith((f"{series(rule)} ", f"{series(rule)}{{"))]
        assert found, series(rule)
        if "route=" in rule["seriesQuery"]:
            assert any('route="/recommend"' in line for line in found)


def test_queries_give_one_value_a_pod(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on the PATH (Debian: prometheus)")
    rules = [{"record": name.replace("localrec_", "test:"), "expr": query} for name, query in queries().items()]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "adapter", "rules": rules}]}))
    (tmp_path / "test.yml").write_text(yaml.safe_dump(EXPECTED))
    result = subprocess.run(
        [promtool, "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def _flat(name: str, pod: str, labels: str, values: str) -> dict[str, str]:
    return {"series": f'{name}{{namespace="localrec",pod="{pod}"{labels}}}', "values": values}


# `busy` answers ten requests a second, half within 0.1 s and half within 0.2; its batches take long and are not asked
# about. `idle` has answered once.
EXPECTED: dict[str, Any] = {
    "rule_files": ["rules.yml"],
    "evaluation_interval": "10s",
    "tests": [
        {
            "interval": "10s",
            "input_series": [
                _flat("localrec_requests_in_flight", "busy", "", "50x5 5x6"),
                _flat("localrec_requests_in_flight", "idle", "", "0x12"),
                *(
                    {"series": BUCKET % (pod, route, le), "values": values}
                    for pod, route, le, values in [
                        ("busy", "/recommend", "0.1", "0+50x12"),
                        ("busy", "/recommend", "0.2", "0+100x12"),
                        ("busy", "/recommend", "+Inf", "0+100x12"),
                        ("busy", "/recommend/batch", "0.2", "0x12"),
                        ("busy", "/recommend/batch", "+Inf", "0+1000x12"),
                        ("idle", "/recommend", "0.1", "1x12"),
                        ("idle", "/recommend", "+Inf", "1x12"),
                    ]
                ),
            ],
            "promql_expr_test": [
                {
                    "expr": "test:requests_in_flight",
                    "eval_time": "2m",
                    "exp_samples": [
                        {"labels": 'test:requests_in_flight{pod="busy"}', "value": 5},
                        {"labels": 'test:requests_in_flight{pod="idle"}', "value": 0},
                    ],
                },
                {
                    "expr": "test:request_p95_seconds",
                    "eval_time": "2m",
                    "exp_samples": [
                        {"labels": 'test:request_p95_seconds{pod="busy"}', "value": 0.19},
                        {"labels": 'test:request_p95_seconds{pod="idle"}', "value": 0},
                    ],
                },
            ],
        }
    ],
}
