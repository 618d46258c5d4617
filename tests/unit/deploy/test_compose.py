import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from localrec.cli import cli
from service.gateway.settings import load_settings

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
DOCKERFILES = sorted((ROOT / "deploy").glob("*.Dockerfile"))
EXAMPLE = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))


def is_built(service: str) -> bool:
    return "build" in SERVICES[service]


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
        "prometheus": ["observability"],
        "grafana": ["observability"],
    }


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_pinned_limited_unprivileged_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[\w/-]+:v?\d+\.\d+\.\d+(-\w+)?", service["image"])
    assert service["restart"] == ("no" if name == "trainer" else "unless-stopped")
    assert service["cap_drop"] == ["ALL"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    if is_built(name):
        assert "HEALTHCHECK" in dockerfile(name)
    else:
        assert service["healthcheck"]["test"]
        assert not service["user"].startswith("0")


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_the_loopback_address_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", SERVICES)
def test_only_the_trainer_writes_bundles(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        if ":/bundles" in volume:
            assert volume.endswith(":ro") == (name != "trainer")


def test_gpu_is_reserved_for_vllm() -> None:
    (device,) = SERVICES["vllm"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}


def test_variables_are_in_the_example_with_the_same_defaults() -> None:
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))
    assert len(re.findall(r"\$\{?\w", TEXT)) == len(re.findall(r"\$\{\w+:-", TEXT)), "a variable has no default"
    assert used["LOCALREC_BUNDLE"].startswith("set-")  # the one that has none: its default is a message
    assert used | {"LOCALREC_BUNDLE": ""} == EXAMPLE


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_image_is_pinned_and_not_root(path: Path) -> None:
    text = path.read_text()
    for base in re.findall(r"^ARG \w+_IMAGE=(.*)$", text, re.MULTILINE):
        assert re.fullmatch(r"[\w/-]+:v?\d+\.\d+\.\d+(-[\w-]+)?", base)
    assert all(source.startswith("${") for source in re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    user = re.findall(r"^USER (\d+)", text, re.MULTILINE)[-1]
    assert int(user) == 10001  # safetensors files are readable by their owner alone


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_what_an_image_copies_travels_to_the_builder(path: Path) -> None:
    travels = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", path.read_text(), re.MULTILINE):
        for source in sources.split():
            assert any(source == name or source.startswith(f"{name}/") for name in travels)


def test_gateway_settings_accept_the_file_with_the_containers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICES["gateway"]["environment"].items():
        monkeypatch.setenv(name, interpolate(value))
    settings = load_settings(ROOT / "deploy/gateway.toml")
    assert settings.redis_url == "redis://redis:6379/0"
    assert settings.bundle_root == Path("/bundles")
    assert [pool.urls for pool in settings.pools] == [("http://engine:8001",)]


@pytest.mark.parametrize("name", ["gateway", "engine", "trainer"])
def test_container_command_is_one_that_the_command_line_has(name: str) -> None:
    command: click.Command = cli
    words = SERVICES[name].get("command") or json.loads(re.findall(r"^CMD (.*)$", dockerfile(name), re.MULTILINE)[-1])
    words = list(words)
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words.pop(0))
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= known
    if name == "trainer":
        assert (ROOT / EXAMPLE["LOCALREC_RUN_CONFIG"]).is_file()


@pytest.mark.parametrize(
    "path",
    [
        "prometheus/prometheus.yml",
        *("grafana/provisioning/" + p for p in ("datasources/prometheus.yml", "dashboards/localrec.yml")),
    ],
)
def test_yaml_files_parse(path: str) -> None:
    assert isinstance(yaml.safe_load((ROOT / "deploy" / path).read_text()), dict)
