"""What manifests say to programs is what the programs understand: settings, keys, commands."""

import base64
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as NoConnectionError
from support.commands import unknown_options
from support.kustomize import K8S, OVERLAYS, TARGETS, Resource, build, named, pods
from support.processes import free_port, wait_until

from localrec.redis_server import find_redis_server
from models.contract.errors import ConfigError
from service.gateway.security.keys_file import load_keyring
from service.gateway.settings import Settings, load_settings

ROOT = Path(__file__).parents[3]
PASSWORD = "replace-me"  # noqa: S105 - the example's


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, Resource]:
    """What `kubectl apply -k deploy/k8s/secrets` would bring, with the examples as they are."""
    folder = tmp_path / "secrets"
    shutil.copytree(K8S / "secrets", folder)
    for example in folder.glob("*.example"):
        example.rename(example.with_suffix(""))
    return {each["metadata"]["name"]: each for each in build(folder)}


def values(secret: Resource) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def gateways_settings(
    overlay: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, **further: str
) -> tuple[Settings, list[Resource]]:
    resources = build(overlay)
    variables = {**named(resources, "ConfigMap", "gateway")["data"], "LOCALREC_REDIS_URL": redis_url, **further}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings(ROOT / "deploy/gateway.toml"), resources


@pytest.mark.parametrize(("overlay", "worker"), [("overlays/cpu", "engine"), ("overlays/gpu", "vllm")])
def test_gateway_takes_the_settings_and_knows_every_worker(
    overlay: str, worker: str, secrets: dict[str, Resource], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = values(secrets["localrec-redis"])["url"]
    settings, resources = gateways_settings(overlay, url, monkeypatch)
    (pool,) = settings.pools
    workers = named(resources, "StatefulSet", worker)
    names = [f"{worker}-{i}.{workers['spec']['serviceName']}" for i in range(workers["spec"]["replicas"])]
    assert list(pool.urls) == [f"http://{name}:8001" for name in names]
    assert pool.kind == worker
    assert settings.admin.host == "127.0.0.1"  # by port-forward alone
    assert settings.redis_url == url
    (gateway,) = (pod for pod in pods(resources) if pod.name == "Deployment gateway")
    (container,) = gateway.spec["containers"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert settings.security.keys_file is not None
    assert {str(settings.bundle_root), str(settings.security.keys_file.parent)} <= mounts


def test_a_wrong_setting_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="LOCALREC_HTTP__DRAIN_S"):
        gateways_settings("overlays/cpu", "redis://redis", monkeypatch, LOCALREC_HTTP__DRAIN_S="soon")
    monkeypatch.delenv("LOCALREC_HTTP__DRAIN_S")
    with pytest.raises(ConfigError, match="LOCALREC_HTPP__DRAIN_S"):
        gateways_settings("overlays/cpu", "redis://redis", monkeypatch, LOCALREC_HTPP__DRAIN_S="5")


def test_secrets_have_the_names_and_keys_that_pods_ask_for(secrets: dict[str, Resource]) -> None:
    for pod in (pod for target in TARGETS for pod in pods(build(target))):
        for volume in (each for each in pod.spec.get("volumes", []) if "secret" in each):
            assert volume["secret"]["secretName"] in secrets
        for container in pod.spec["containers"]:
            for variable in container.get("env", []):
                if wanted := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert wanted["key"] in secrets[wanted["name"]]["data"]


def test_example_of_the_keys_is_a_keys_file(secrets: dict[str, Resource], tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(values(secrets["localrec-keys"])["keys.toml"])
    load_keyring(file)
    scopes = {scope for line in re.findall(r"scopes = \[(.*)\]", file.read_text()) for scope in line.split(", ")}
    assert scopes == {'"recommend"', '"events"', '"admin"'}


def test_secrets_are_not_in_version_control() -> None:
    for name in ("keys.toml", "redis.env"):
        path = K8S / "secrets" / name
        assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("target", [*OVERLAYS, "jobs/train", "jobs/publish"])
def test_arguments_are_those_of_a_command_and_their_variables_are_given(target: str) -> None:
    resources = build(target)
    config_maps = {each["metadata"]["name"]: each["data"] for each in resources if each["kind"] == "ConfigMap"}
    for pod in pods(resources):
        for container in pod.spec["containers"]:
            args = container.get("args", [])
            given = {
                name for each in container.get("envFrom", []) for name in config_maps[each["configMapRef"]["name"]]
            }
            given |= {variable["name"] for variable in container.get("env", [])}
            assert set(re.findall(r"\$\((\w+)\)", " ".join(args))) <= given
            if args:
                assert not unknown_options(args)


@pytest.mark.parametrize(("target", "name"), [("overlays/cpu", "engine"), ("jobs/train", "trainer")])
def test_torch_takes_the_containers_processors_not_the_nodes(target: str, name: str) -> None:
    (container,) = (c for pod in pods(build(target)) for c in pod.spec["containers"] if c["name"] == name)
    limits = [each["name"] for each in container["env"] if "resourceFieldRef" in each.get("valueFrom", {})]
    assert limits == ["OMP_NUM_THREADS"] or f"--threads=$({limits[0]})" in container["args"]


def test_ray_runs_a_command_and_mounts_what_it_names() -> None:
    job = named(build("ray"), "RayJob", "train")["spec"]
    program, *words = job["entrypoint"].split()
    assert program == "localrec"
    assert not unknown_options(words)
    assert words[words.index("--ray") + 1] == "auto"
    for pod in list(pods(build("ray")))[1:]:
        (container,) = pod.spec["containers"]
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts >= {"/runs", "/bundles", "/data", "/tmp", "/dev/shm"}  # noqa: S108 - the container's own
    wanted = re.findall(r'^ray = .*"ray>=([\d.]+),<(\d+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[0]
    version = job["rayClusterSpec"]["rayVersion"]
    assert tuple(map(int, wanted[0].split("."))) <= tuple(map(int, version.split("."))) < (int(wanted[1]),)


@contextmanager
def redis_as_in_the_manifest(directory: Path, port: int) -> Iterator[None]:
    (pod,) = (pod for pod in pods(build("overlays/cpu")) if pod.name == "StatefulSet redis")
    *shell, script = pod.spec["containers"][0]["command"]
    script = script.replace("--dir /data", f"--dir {directory} --bind 127.0.0.1 --port {port}")
    environment = {"PATH": f"{find_redis_server().parent}:/usr/bin:/bin", "REDISCLI_AUTH": PASSWORD}
    process = subprocess.Popen([*shell, script], env=environment, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(20) == 0  # the shell has become the server, and so it got the signal


@pytest.mark.redis
def test_redis_starts_with_its_password(secrets: dict[str, Resource], tmp_path: Path) -> None:
    port = free_port()
    secret = values(secrets["localrec-redis"])
    assert secret["password"] == PASSWORD
    url = secret["url"].replace("redis:6379", f"127.0.0.1:{port}")
    assert url != secret["url"]
    with redis_as_in_the_manifest(tmp_path, port), Redis.from_url(url) as redis, Redis(port=port) as nobody:
        wait_until(lambda: _answers(redis), what="redis")
        assert redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert redis.config_get("appendonly") == {"appendonly": "yes"}
        with pytest.raises(AuthenticationError):
            nobody.ping()


def _answers(redis: "Redis[Any]") -> bool:
    try:
        return bool(redis.ping())
    except NoConnectionError:
        return False
