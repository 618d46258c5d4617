import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.commands import unknown_options

from service.gateway.settings import load_settings

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docker-compose.yml").read_text()
FURTHER = {name: (ROOT / f"deploy/compose.{name}.yml").read_text() for name in ("keys", "tracing")}
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
EXAMPLE = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
ONCE = {"trainer", "loadtest", "loadtest-sender"}
GRACE_SECONDS = 10  # service.gateway.server, for what is in flight


def dockerfile(service: str) -> str:
    return (ROOT / SERVICES[service]["build"]["dockerfile"]).read_text()


def interpolate(text: str) -> str:
    """Compose's own rule for ${NAME:-default}, with the values of .env.example."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: EXAMPLE[m[1]] or m[2], text)


def test_every_service_that_was_promised_is_there_with_its_profile() -> None:
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert profiles == {
        "redis": None,
        "gateway": None,
        "trainer": ["train"],
        "engine": ["cpu"],
        "vllm": ["gpu"],
        "loadtest": ["load"],
        "loadtest-sender": ["load"],
        "prometheus": ["observability"],
        "grafana": ["observability"],
    }


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_pinned_limited_unprivileged_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[\w/-]+:v?\d+\.\d+\.\d+(-\w+)?", service["image"])
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["tmpfs"][0].startswith("/tmp")  # noqa: S108 - the container's own
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    if service["image"].startswith("localrec-"):
        assert service["image"].endswith(f":{VERSION}")
        assert name == "loadtest-sender" or "HEALTHCHECK" in dockerfile(name)
    else:
        assert service["healthcheck"]["test"]
        assert not service["user"].startswith("0")


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_the_loopback_address_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


def test_redis_and_workers_are_on_a_network_that_leads_nowhere() -> None:
    assert FILE["networks"] == {"inside": {"internal": True}, "outside": None}
    alone = {name for name, service in SERVICES.items() if service["networks"] == ["inside"]}
    assert alone == {"redis", "engine", "vllm", "loadtest", "loadtest-sender"}
    for name, service in SERVICES.items():
        assert "outside" in service["networks"] or "ports" not in service, f"{name}: published from nowhere"


@pytest.mark.parametrize("name", SERVICES)
def test_only_the_trainer_writes_bundles(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        if ":/bundles" in volume:
            assert volume.endswith(":ro") == (name != "trainer")


def test_gpu_is_reserved_for_vllm() -> None:
    (device,) = SERVICES["vllm"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}


@pytest.mark.parametrize("text", [TEXT, *FURTHER.values()])
def test_every_variable_has_a_default(text: str) -> None:
    assert len(re.findall(r"\$\{?\w", text)) == len(re.findall(r"\$\{\w+:-", text))


def test_variables_are_in_the_example_with_the_same_defaults_and_no_others() -> None:
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT + "".join(FURTHER.values())))
    assert used["LOCALREC_BUNDLE"].startswith("set-")  # the one that has none: its default is a message
    assert used | {"LOCALREC_BUNDLE": ""} == EXAMPLE


def test_every_variable_of_the_example_is_explained() -> None:
    paragraphs = (ROOT / ".env.example").read_text().split("\n\n")[1:]
    assert sum(len(re.findall(r"^\w+=", each, re.MULTILINE)) for each in paragraphs) == len(EXAMPLE)
    for paragraph in paragraphs:
        assert paragraph.lstrip().startswith("# "), paragraph


@pytest.mark.parametrize("worker", ["engine", "vllm"])
def test_gateway_settings_accept_the_file_with_the_containers_environment(
    worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXAMPLE, "LOCALREC_WORKERS", worker)
    further = [yaml.safe_load(text)["services"]["gateway"]["environment"] for text in FURTHER.values()]
    for environment in (SERVICES["gateway"]["environment"], *further):
        for name, value in environment.items():
            monkeypatch.setenv(name, interpolate(value))
    settings = load_settings(ROOT / "deploy/gateway.toml")
    assert settings.redis_url == "redis://redis:6379/0"
    assert settings.bundle_root == Path("/bundles")
    (pool,) = settings.pools
    assert (pool.kind, pool.urls) == (worker, (f"http://{worker}:8001",))
    assert str(settings.security.keys_file) == "/etc/localrec/keys.toml"
    assert settings.tracing.otlp_endpoint == EXAMPLE["OTLP_ENDPOINT"]
    published = [port.rsplit(":", 1)[1] for port in SERVICES["gateway"]["ports"]]
    assert published == ["8080", str(settings.admin.port)]
    grace = float(SERVICES["gateway"]["stop_grace_period"].removesuffix("s"))
    assert grace >= settings.http.drain_s + GRACE_SECONDS + 5


@pytest.mark.parametrize("name", ["gateway", "engine", "trainer"])
def test_container_command_is_one_that_the_command_line_has(name: str) -> None:
    words = SERVICES[name].get("command") or json.loads(re.findall(r"^CMD (.*)$", dockerfile(name), re.MULTILINE)[-1])
    assert not unknown_options(words)
    if name == "trainer":
        assert (ROOT / EXAMPLE["LOCALREC_RUN_CONFIG"]).is_file()


def test_traced_engine_has_one_option_more() -> None:
    traced = yaml.safe_load(FURTHER["tracing"])["services"]["engine"]["command"]
    assert traced[:-1] == SERVICES["engine"]["command"]
    assert not unknown_options(traced)


def test_prometheus_is_given_its_directory_whole() -> None:
    """prometheus.yml and rules/, whose paths in it are relative to itself."""
    assert "./deploy/prometheus:/etc/prometheus:ro" in SERVICES["prometheus"]["volumes"]
    settings = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    for pattern in settings.get("rule_files", []):
        assert list((ROOT / "deploy/prometheus").glob(pattern)), pattern
    for job in settings["scrape_configs"]:
        for found in job["dns_sd_configs"]:
            for name in found["names"]:
                assert str(found["port"]) in re.findall(r"^EXPOSE (.*)$", dockerfile(name), re.MULTILINE)[0].split()
                assert set(SERVICES[name]["networks"]) & set(SERVICES["prometheus"]["networks"])


def test_grafanas_home_and_data_source_are_there() -> None:
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "deploy/grafana/dashboards" / Path(home).name).is_file()
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/localrec.yml").read_text())["providers"]
    assert provider["options"]["path"] == str(Path(home).parent)
